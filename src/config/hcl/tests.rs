//! What HCL1 accepts, what it refuses, and that nothing makes the parser panic.

use proptest::prelude::*;

use super::*;

fn text(body: &Body, key: &str) -> String {
    body.get(key).and_then(|item| item.value.as_text()).unwrap_or("(none)").to_owned()
}

fn value(source: &str) -> Value {
    parse(source).unwrap().get("a").unwrap().value.clone()
}

#[test]
fn both_forms_of_a_policy_are_the_same_blocks() {
    let spellings = [
        r#"path "secret/*" { capabilities = ["read", "list",] }"#,
        "path \"secret/*\"\n{\n  capabilities = [\n\"read\", \"list\"] # why\n}",
        r#""path" "secret/*" { "capabilities" = ["read", "list"] }"#,
        r#"path = { "secret/*" = { capabilities = ["read", "list"] } }"#,
        r#"path { "secret/*" { capabilities = ["read", "list"] } }"#,
        r#"{"path": {"secret/*": {"capabilities": ["read", "list"]}}}"#,
        r#" {"path": [{"secret/*": [{"capabilities": ["read", "list"]}]}]} "#,
    ];
    for spelling in spellings {
        let body = parse(spelling).unwrap_or_else(|e| panic!("{spelling}: {e}"));
        let blocks = body.blocks("path", 1).unwrap_or_else(|e| panic!("{spelling}: {e}"));
        assert_eq!(blocks.len(), 1, "{spelling}");
        assert_eq!(blocks[0].labels, ["secret/*"], "{spelling}");
        let list = &blocks[0].body.get("capabilities").unwrap().value;
        assert_eq!(
            *list,
            Value::List(vec![Value::Text("read".into()), Value::Text("list".into())]),
            "{spelling}"
        );
    }
}

#[test]
fn what_hcl2_refuses_is_read() {
    let body = parse(
        r#"
        /* two on one line, comma between items */ a = 1 b = 0x1F, c = -017
        listener "tcp" "x" { allowed_parameters { "foo" = [] } }
        path "${env}/x" {}
        path "{{identity.entity.id}}/*" {}
        list = [1, 2.5, true, "s", [1], { k = "v" },]
        "#,
    )
    .unwrap();
    assert_eq!(body.get("a").unwrap().value, Value::Integer(1));
    assert_eq!(body.get("b").unwrap().value, Value::Integer(31));
    assert_eq!(body.get("c").unwrap().value, Value::Integer(-15));
    assert_eq!(body.get("listener").unwrap().labels, ["tcp", "x"]);
    let labels: Vec<_> = body.blocks("path", 1).unwrap().iter().map(|b| b.labels[0].to_owned()).collect();
    assert_eq!(labels, ["${env}/x", "{{identity.entity.id}}/*"]);
    let Value::List(list) = &body.get("list").unwrap().value else { panic!("no list") };
    assert_eq!(list.len(), 6);
    assert_eq!(list[1], Value::Float(2.5));
}

#[test]
fn repeated_keys_stay_in_order_in_both_forms() {
    let native = parse("path \"a\" {}\npath \"b\" {}\npath \"a\" {}").unwrap();
    let json = parse(r#"{"path": {"a": {}}, "path": {"b": {}, "a": {}}}"#).unwrap();
    for body in [native, json] {
        let labels: Vec<_> = body.blocks("path", 1).unwrap().iter().map(|b| b.labels[0].to_owned()).collect();
        assert_eq!(labels, ["a", "b", "a"]);
    }
}

#[test]
fn escapes_heredocs_and_comments() {
    assert_eq!(value(r#"a = "\t\n\"\\\x41\101\u00e9\U0001F600""#), Value::Text("\t\n\"\\AAé😀".into()));
    assert_eq!(value(r#"{"a": "\ud83d\ude00\/"}"#), Value::Text("😀/".into()));
    assert_eq!(value("a = \"x ${f(\"y\")} z\""), Value::Text("x ${f(\"y\")} z".into()));
    assert_eq!(value("a = <<EOF\n one\ntwo EOF\nEOF\n"), Value::Text(" one\ntwo EOF\n".into()));
    assert_eq!(value("a = <<-EOF\n    one\n      two\n\n    EOF\n"), Value::Text("one\n  two\n\n".into()));
    assert_eq!(value("a = <<-EOF\n  one\n    EOF\n"), Value::Text("  one\n".into()));
    let body = parse("a = <<E\nx\nE\nb = \"y\" // end\n# c = \"z\"\n/* * / ** */ d = \"w\"").unwrap();
    assert_eq!(
        (text(&body, "a"), text(&body, "b"), text(&body, "d")),
        ("x\n".into(), "y".into(), "w".into())
    );
    assert!(body.get("c").is_none());
}

#[test]
fn numbers() {
    for (source, expected) in [
        ("0", Value::Integer(0)),
        ("-12", Value::Integer(-12)),
        ("0xff", Value::Integer(255)),
        ("0644", Value::Integer(420)),
        ("1.50", Value::Float(1.5)),
        ("1e3", Value::Float(1000.0)),
        ("-2.5E-1", Value::Float(-0.25)),
        ("9223372036854775807", Value::Integer(i64::MAX)),
    ] {
        assert_eq!(value(&format!("a = {source}")), expected, "{source}");
    }
    for source in
        ["-", "0x", "0xzz", "1.2.3", "08", "12ab", "--1", "0x-1", "9223372036854775808", "1e999", "1_000"]
    {
        assert!(parse(&format!("a = {source}")).is_err(), "{source}");
    }
}

#[test]
fn errors_name_the_place_and_the_fault() {
    let long = format!("a = \"{}\"", "x".repeat(MAX_TEXT_BYTES));
    let deep_native = format!("a = {}", "[".repeat(MAX_DEPTH + 1));
    let deep_json = format!("{{\"a\": {}", "[".repeat(MAX_DEPTH + 1));
    let cases: &[(&str, &str)] = &[
        ("a", r#"at line 1, column 2: expected = or { after "a", found the end of the text"#),
        ("a b = 1", r#"at line 1, column 5: expected { after the labels of "a", found '='"#),
        ("a =\n\n }", "at line 3, column 2: expected a value, found '}'"),
        ("a = yes", "at line 1, column 5: yes is not a value: put a string in quotes"),
        ("a = \"x\ny\"", "at line 1, column 7: a string ends on its own line: use \\n or a heredoc"),
        ("a = \"x", "at line 1, column 5: this string is not closed"),
        ("a = \"\\q\"", "at line 1, column 6: unknown escape in a string"),
        ("a = \"\\xff\"", "at line 1, column 5: the escapes of this string do not make valid UTF-8"),
        ("a = <<E\nx", "at line 1, column 5: this heredoc is not closed by E"),
        ("a = <<\nx", "at line 1, column 5: a heredoc begins with << or <<- and a word, then a new line"),
        ("a = 1x", "at line 1, column 5: \"1x\" is not a number"),
        ("a = [1 2]", "at line 1, column 8: expected , or ], found '2'"),
        ("a = [1", "at line 1, column 5: this [ is not closed"),
        ("a {\nb = 1", "at line 1, column 3: this { is not closed"),
        ("a {\n;", "at line 2, column 1: expected a key or }, found ';'"),
        ("a = 1\n}", "at line 2, column 1: this } closes nothing"),
        ("= 1", "at line 1, column 1: expected a key, found '='"),
        ("/* x", "at line 1, column 1: this comment is not closed"),
        ("{a: 1}", "at line 1, column 2: expected a quoted key, found 'a'"),
        ("{\"a\" 1}", "at line 1, column 6: expected : after \"a\", found '1'"),
        ("{\"a\": 1,}", "at line 1, column 9: expected a quoted key, found '}'"),
        ("{\"a\": 1 \"b\": 2}", "at line 1, column 9: expected , or }, found '\"'"),
        ("{\"a\": nope}", "at line 1, column 7: expected a JSON value, found 'n'"),
        ("{} x", "at line 1, column 4: expected the end of the JSON document, found 'x'"),
        (&long, "at line 1, column 1: the text is longer than 1048576 bytes"),
        (&deep_native, "at line 1, column 37: nested deeper than 32 levels"),
        (&deep_json, "at line 1, column 38: nested deeper than 32 levels"),
    ];
    for (source, expected) in cases {
        let shown = &source[..source.len().min(60)];
        assert_eq!(parse(source).map_err(|e| e.to_string()), Err((*expected).to_owned()), "{shown}");
    }
}

#[test]
fn blocks_refuse_what_is_not_one() {
    let wrong = |source: &str| parse(source).unwrap().blocks("path", 1).unwrap_err().to_string();
    assert_eq!(wrong("path = \"x\""), "at line 1, column 1: path must be a block, not a string");
    assert_eq!(wrong("path \"a\" \"b\" {}"), "at line 1, column 1: path has 2 labels, expected 1");
    assert_eq!(wrong("path { \"a\" = 1 }"), "at line 1, column 8: a must be a block, not a number");
    assert_eq!(wrong("path { \"a\" \"b\" {} }"), "at line 1, column 8: too many labels, expected 1");
}

/// Pieces that reach every branch of the grammar when they are strung together.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("=".to_owned()),
        Just(":".to_owned()),
        Just(",".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\\u".to_owned()),
        Just("${".to_owned()),
        Just("<<-E\n".to_owned()),
        Just("E".to_owned()),
        Just("\n".to_owned()),
        Just("/*".to_owned()),
        Just("#".to_owned()),
        Just("null".to_owned()),
        "[a-z0-9 .+-]{1,6}",
        "\\PC{1,4}",
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(pieces in proptest::collection::vec(piece(), 0..40), json in any::<bool>()) {
        let source = if json { format!("{{\"a\": {}", pieces.concat()) } else { pieces.concat() };
        if let Ok(body) = parse(&source) {
            let _ = body.blocks("a", 1);
        }
    }

    #[test]
    fn any_text_survives_quoting(original in "\\PC*") {
        let quoted = serde_json::to_string(&original).unwrap();
        prop_assume!(!original.contains("${"));
        for source in [format!("a = {quoted}"), format!("{{\"a\": {quoted}}}")] {
            prop_assert_eq!(value(&source), Value::Text(original.clone()));
        }
    }
}
