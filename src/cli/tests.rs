//! Arguments, data and tables, without a server.

use serde_json::{Value, json};

use clap::Parser;

use super::args::{Cli, Command, OperatorArgs, OperatorCommand};
use super::failure::Failure;
use super::{dashes, data, operator, output};
use crate::config::Environment;
use crate::k8s::client::Source;

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

fn operator(arguments: &[&str]) -> OperatorArgs {
    let cli = Cli::try_parse_from(["holdfast", "operator"].iter().chain(arguments)).unwrap();
    match cli.command {
        Command::Operator { args, command: None } => args,
        Command::Operator { command: Some(OperatorCommand::Run(args)), .. } => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_operator_is_told_by_flags_then_environment() {
    let environment = Environment::fixed([
        ("HOLDFAST_IMAGE", "registry/holdfast:1"),
        ("HOLDFAST_PULL_POLICY", "Never"),
        ("HOLDFAST_WATCH_NAMESPACE", "apps"),
        ("HOLDFAST_PROBE_ADDRESS", "off"),
        ("POD_NAME", "holdfast-0"),
    ]);
    let settings = operator::settings(&operator(&[]), &environment).unwrap();
    assert_eq!((settings.image.as_str(), settings.instance.as_str()), ("registry/holdfast:1", "holdfast-0"));
    assert_eq!((settings.pull_policy.word(), settings.probe_address), ("Never", None));
    assert_eq!(settings.namespace.as_deref(), Some("apps"));
    let flags = operator(&["run", "--image=other:2", "--probe-address=127.0.0.1:9", "--pull-policy=Always"]);
    let settings = operator::settings(&flags, &environment).unwrap();
    assert_eq!((settings.image.as_str(), settings.pull_policy.word()), ("other:2", "Always"));
    assert_eq!(settings.probe_address.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9"));
    let settings = operator::settings(&operator(&["--image=a", "--ipv6"]), &Environment::fixed([])).unwrap();
    assert_eq!(settings.probe_address.map(|address| address.to_string()).as_deref(), Some("[::]:8202"));

    let wrong =
        |arguments: &[&str]| operator::settings(&operator(arguments), &Environment::fixed([])).unwrap_err();
    assert_eq!(
        wrong(&[]).message,
        "the image of the clusters is not known: set -image=IMAGE or HOLDFAST_IMAGE"
    );
    assert_eq!(
        wrong(&["--image=a", "--pull-policy=Maybe"]).message,
        "HOLDFAST_PULL_POLICY (or its flag) is \"Maybe\", expected Always, IfNotPresent or Never"
    );
}

#[test]
fn the_api_server_is_named_or_that_of_the_pod_or_of_the_user() {
    let source = |arguments: &[&str], variables: &[(&'static str, &'static str)]| {
        operator::source(&operator(arguments), &Environment::fixed(variables.iter().copied()))
    };
    let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_eq!(
        source(&["--kubeconfig=/a"], &[("KUBECONFIG", "/b"), pod]),
        Ok(Source::Kubeconfig("/a".into()))
    );
    assert_eq!(source(&[], &[("KUBECONFIG", "/b"), pod]), Ok(Source::Kubeconfig("/b".into())));
    assert_eq!(source(&[], &[pod, ("HOME", "/h")]), Ok(Source::InCluster));
    assert_eq!(source(&[], &[("HOME", "/h")]), Ok(Source::Kubeconfig("/h/.kube/config".into())));
    assert!(source(&[], &[]).unwrap_err().message.contains("-kubeconfig=FILE"));
}
