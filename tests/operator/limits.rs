//! What the schema itself forbids: bad input is made from the schema, so that no limit can be without a case.

use holdfast::crd::emit;
use serde_json::{Value, json};

use crate::setup;

/// A bad value and where it stands.
struct Bad {
    path: Vec<String>,
    keyword: &'static str,
    value: Value,
}

/// Walks a schema and makes one bad value for each limit.
fn walk(schema: &Value, path: &[String], out: &mut Vec<Bad>) {
    let mut bad = |keyword, value| out.push(Bad { path: path.to_vec(), keyword, value });
    let size =
        |keyword: &str| schema.get(keyword).and_then(Value::as_u64).map(|n| usize::try_from(n).unwrap());
    if schema.get("enum").is_some() {
        bad("enum", json!("Nonsense"));
    }
    if let Some(most) = size("maxLength") {
        bad("maxLength", json!("x".repeat(most + 1)));
    }
    if let Some(most) = size("maxItems") {
        let is_text = schema["items"]["type"] == "string";
        let item = |n: usize| if is_text { json!(format!("i{n}")) } else { json!({"key": format!("k{n}")}) };
        bad("maxItems", (0..=most).map(item).collect());
    }
    if let Some(most) = size("maxProperties") {
        let entries = (0..=most).map(|n| (format!("k{n}"), json!("1"))).collect::<serde_json::Map<_, _>>();
        bad("maxProperties", Value::Object(entries));
    }
    if schema.get("required").is_some() && !path.is_empty() {
        bad("required", json!({}));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => bad("type", json!(7)),
        Some("integer" | "boolean" | "object" | "array") => bad("type", json!("text")),
        _ => {}
    }
    for (name, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut path = path.to_vec();
        path.push(name.clone());
        walk(below, &path, out);
    }
}

fn at(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, name| json!({name: inner}))
}

#[tokio::test]
async fn every_limit_of_the_schema_refuses_bad_input_and_names_the_field() {
    let definition = emit::definitions().unwrap().remove(0).value;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut bad = Vec::new();
    walk(schema, &[], &mut bad);
    let client = setup::clients().await.watches;
    let place = setup::namespace(&client, "limits").await;
    let mut count = 0;
    for (n, case) in bad.iter().enumerate().filter(|(_, case)| !case.path.is_empty()) {
        let spec = at(&case.path, case.value.clone());
        let field = case.path.join(".");
        // Merged, not applied: server-side apply reports a wrong type before the schema is asked.
        let mut object = setup::object(&format!("l-{n}"), &spec);
        object["apiVersion"] = json!("holdfast.dev/v1alpha1");
        let object: kube::api::DynamicObject = serde_json::from_value(object).unwrap();
        let answer = setup::clusters(&client, &place).create(&Default::default(), &object).await;
        let text = match answer {
            Err(kube::Error::Api(status)) => status.message,
            other => panic!("{} of spec.{field} accepted {}: {other:?}", case.keyword, case.value),
        };
        assert!(text.contains(&format!("spec.{field}")), "{} of spec.{field}: {text}", case.keyword);
        count += 1;
    }
    println!("{count} limits of the schema refuse bad input");
    assert!(count > 40, "{count}");
}
