//! Every rule refuses its bad input with its text, in the API server and in the operator.

use std::collections::BTreeSet;

use holdfast::crd::cluster::rules::{RULES, broken};
use holdfast::crd::store::VaultStoreSegmentSpec;
use holdfast::crd::{VaultCluster, VaultClusterSpec, VaultStoreSegment, emit};
use kube::Api;
use serde_json::Value;

use crate::cases::{cases, good};
use crate::setup::{self, object};

/// The one rule of the other kinds.
const SEGMENT_RULE: &str = "a segment is immutable";

fn typed(name: &str, spec: &Value) -> VaultCluster {
    serde_json::from_value(object(name, spec)).unwrap()
}

#[test]
fn every_rule_has_a_bad_input_case() {
    let cases = cases();
    let covered: BTreeSet<&str> = cases.iter().map(|case| case.rule).collect();
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(covered, known);
}

/// What the API server is told to check, wherever it stands in a definition.
fn validations(value: &Value, out: &mut BTreeSet<(String, String)>) {
    if let Some(rules) = value.get("x-kubernetes-validations").and_then(Value::as_array) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        out.extend(rules.iter().map(|rule| (text(&rule["rule"]), text(&rule["message"]))));
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| validations(member, out)),
        Value::Array(items) => items.iter().for_each(|item| validations(item, out)),
        _ => {}
    }
}

#[test]
fn the_definitions_hold_no_rule_that_is_not_in_the_table() {
    let mut found = BTreeSet::new();
    for definition in emit::definitions().unwrap() {
        validations(&definition.value, &mut found);
    }
    let mut table: BTreeSet<_> =
        RULES.iter().map(|rule| (rule.cel.to_owned(), rule.message.to_owned())).collect();
    table.insert(("self.spec == oldSelf.spec".to_owned(), SEGMENT_RULE.to_owned()));
    assert_eq!(found, table);
}

#[tokio::test]
async fn a_segment_cannot_be_changed() {
    let client = setup::clients().await.watches;
    let place = setup::namespace(&client, "segments").await;
    let segments: Api<VaultStoreSegment> = Api::namespaced(client, &place);
    let spec = VaultStoreSegmentSpec { data: "YQ==".to_owned() };
    let mut segment = segments.create(&Default::default(), &VaultStoreSegment::new("s", spec)).await.unwrap();
    segment.spec.data = "Yg==".to_owned();
    let refusal = segments.replace("s", &Default::default(), &segment).await.unwrap_err().to_string();
    assert!(refusal.contains(SEGMENT_RULE), "{refusal}");
}

#[test]
fn the_operator_judges_like_the_api_server() {
    for case in cases() {
        let former = case.former.as_ref().map(|spec| typed(case.name, spec).spec);
        let cluster = typed(case.name, &case.spec);
        let ids: Vec<&str> = broken(&cluster, former.as_ref()).map(|rule| rule.id).collect();
        assert!(ids.contains(&case.rule), "{}: {} breaks {ids:?}", case.rule, case.spec);
    }
    for spec in good() {
        let cluster = typed("v", &spec);
        let ids: Vec<&str> = broken(&cluster, None::<&VaultClusterSpec>).map(|rule| rule.id).collect();
        assert!(ids.is_empty(), "{spec} breaks {ids:?}");
    }
}

#[tokio::test]
async fn the_api_server_refuses_bad_input_with_the_rules_text() {
    let client = setup::clients().await.watches;
    let place = setup::namespace(&client, "rules").await;
    for (n, case) in cases().into_iter().enumerate() {
        let name = if case.name == "v" { format!("v-{n}") } else { case.name.to_owned() };
        if let Some(former) = &case.former {
            setup::apply(&client, &place, &name, former)
                .await
                .unwrap_or_else(|why| panic!("{former}: {why}"));
        }
        let refusal = setup::apply(&client, &place, &name, &case.spec).await;
        let rule = RULES.iter().find(|rule| rule.id == case.rule).unwrap();
        let text = refusal.expect_err(&format!("{} was accepted: {}", case.rule, case.spec));
        assert!(text.contains(rule.message), "{}: {text}", case.rule);
        println!("{}", text.lines().next().unwrap_or_default());
    }
    for (n, spec) in good().into_iter().enumerate() {
        let name = format!("good-{n}");
        setup::apply(&client, &place, &name, &spec).await.unwrap_or_else(|why| panic!("{spec}: {why}"));
    }
}

#[tokio::test]
async fn a_young_object_does_not_look_finished() {
    let client = setup::clients().await.watches;
    let place = setup::namespace(&client, "young").await;
    setup::apply(&client, &place, "v", &serde_json::json!({})).await.unwrap();
    let object = setup::clusters(&client, &place).get("v").await.unwrap();
    assert_eq!(object.data["status"]["observedGeneration"], -1);
    assert_eq!(object.data["spec"]["replicas"], 3);
    assert_eq!(object.data["spec"]["storage"]["type"], "Kubernetes");
    let scale = setup::clusters(&client, &place).get_scale("v").await.unwrap();
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_accepted() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "samples").await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    let mut seen = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let sample: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let applied = setup::apply(&client, &place, &name, &sample["spec"]).await;
        applied.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        seen.insert(sample["spec"]["storage"]["type"].as_str().unwrap_or("Kubernetes").to_owned());
    }
    let types = ["Consul", "Etcd", "File", "Kubernetes", "Memory", "PostgreSQL", "ZooKeeper"];
    assert_eq!(seen, types.map(str::to_owned).into(), "one sample at least for each type");
}
