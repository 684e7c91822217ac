//! Arguments, data and tables, without a server.

use serde_json::{Value, json};

use super::args::Cli;
use super::failure::Failure;
use super::{dashes, data, output};

#[test]
fn the_definitions_of_clap_hold_together() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn long_flags_may_have_one_dash() {
    let doubled = |text: &str| dashes::doubled(text.split(' ').map(str::to_owned)).join(" ");
    assert_eq!(
        doubled("holdfast status -address=http://x -format json"),
        "holdfast status --address=http://x --format json"
    );
    assert_eq!(
        doubled("holdfast kv put -cas=1 --mount=a b k=-v -"),
        "holdfast kv put --cas=1 --mount=a b k=-v -"
    );
    assert_eq!(doubled("holdfast -h -n 3 -f=1 -1"), "holdfast -h -n 3 -f=1 -1");
    assert_eq!(doubled("holdfast write p -- -data"), "holdfast write p -- -data");
}

fn object(arguments: &[&str], input: &str) -> Result<Value, Failure> {
    let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
    data::object_with(&arguments, &mut || Ok(input.to_owned())).map(Value::Object)
}

#[test]
fn data_comes_from_arguments_files_and_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.json");
    std::fs::write(&file, r#"{"n": 1}"#).unwrap();
    let whole = format!("@{}", file.display());
    let value = format!("file=@{}", file.display());
    let read = object(&["a=1", "b=x=y", "c=-", "d=\\@x", "e=1", "e=2", &whole, &value], "typed").unwrap();
    assert_eq!(
        read,
        json!({"a": "1", "b": "x=y", "c": "typed", "d": "@x", "e": ["1", "2"], "n": 1, "file": "{\"n\": 1}"})
    );
    assert_eq!(object(&["-"], r#"{"x": {"y": [1]}}"#).unwrap(), json!({"x": {"y": [1]}}));
}

#[test]
fn data_that_is_none_is_named() {
    let shown = |arguments: &[&str], input| object(arguments, input).unwrap_err();
    assert_eq!(shown(&["novalue"], ""), Failure::local("\"novalue\" is not key=value, @file or -"));
    assert_eq!(shown(&["=v"], "").message, "\"=v\" is not key=value, @file or -");
    assert!(shown(&["-"], "[1]").message.starts_with("the standard input is not a JSON object: "));
    assert!(shown(&["a=@/nowhere/x"], "").message.starts_with("file /nowhere/x: No such file"));
}

#[test]
fn tables_are_aligned() {
    let rows = [("a".to_owned(), "1".to_owned()), ("longer".to_owned(), "2".to_owned())];
    assert_eq!(output::table(&rows), "Key       Value\n---       -----\na         1\nlonger    2");
    assert_eq!(output::heading("Data", "Key    Value"), "=== Data ===");
}
