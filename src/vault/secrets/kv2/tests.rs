//! KV version 2 through its one door, [`Engine::handle`].

use serde_json::{Map, Value, json};

use super::Kv2;
use crate::vault::logical::testing::{ManualSystem, MemoryView, error_texts, is_instance, request};
use crate::vault::logical::{Engine, LogicalError, Operation, Response, SystemView};

#[derive(Default)]
struct Mount {
    storage: MemoryView,
    system: ManualSystem,
}

impl Mount {
    async fn call(
        &self,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Option<Response>, LogicalError> {
        Kv2.handle(&request(operation, path, data), &self.storage, &self.system).await
    }

    /// An answer with data.
    async fn data(&self, operation: Operation, path: &str, data: Value) -> Value {
        let response = self.call(operation, path, data).await.unwrap().unwrap();
        assert_eq!(response.status, None, "{operation:?} {path}");
        Value::Object(response.data.unwrap())
    }

    /// An answer of 404 with its envelope.
    async fn not_found(&self, operation: Operation, path: &str, data: Value) -> Response {
        let response = self.call(operation, path, data).await.unwrap().unwrap();
        assert_eq!(response.status, Some(404), "{operation:?} {path}");
        response
    }

    /// No answer: 204 for a write, 404 for a read.
    async fn nothing(&self, operation: Operation, path: &str, data: Value) {
        let response = self.call(operation, path, data).await.unwrap();
        assert!(response.is_none(), "{operation:?} {path}: {response:?}");
    }

    async fn refused(&self, operation: Operation, path: &str, data: Value) -> String {
        match self.call(operation, path, data).await.unwrap_err() {
            LogicalError::Invalid(text) => text,
            other => panic!("{operation:?} {path}: {other:?}"),
        }
    }

    async fn write(&self, path: &str, value: Value) -> Value {
        self.data(Operation::Update, &format!("data/{path}"), json!({"data": value})).await
    }

    async fn value(&self, path: &str) -> Value {
        self.data(Operation::Read, &format!("data/{path}"), json!({})).await["data"].clone()
    }

    fn versions_in_storage(&self) -> usize {
        self.storage.keys().iter().filter(|key| key.starts_with("versions/")).count()
    }
}

#[tokio::test]
async fn every_write_makes_a_version_that_can_be_read() {
    let mount = Mount::default();
    let first = mount.write("a/b", json!({"v": 1})).await;
    let time = mount.system.time().rfc3339();
    assert_eq!(
        first,
        json!({"version": 1, "created_time": time, "deletion_time": "", "destroyed": false, "custom_metadata": null})
    );
    assert_eq!(mount.write("a/b", json!({"v": 2})).await["version"], 2);
    let read = mount.data(Operation::Read, "data/a/b", json!({})).await;
    assert_eq!(read["data"], json!({"v": 2}));
    assert_eq!(read["metadata"]["version"], 2);
    assert_eq!(read["metadata"]["custom_metadata"], Value::Null);
    let read = mount.data(Operation::Read, "data/a/b", json!({"version": "1"})).await;
    assert_eq!((&read["data"], &read["metadata"]["version"]), (&json!({"v": 1}), &json!(1)));
    mount.nothing(Operation::Read, "data/a/b", json!({"version": "3"})).await;
    mount.nothing(Operation::Read, "data/none", json!({})).await;
}

#[tokio::test]
async fn check_and_set_guards_a_write() {
    let mount = Mount::default();
    let write = |cas: Value| json!({"data": {"v": 1}, "options": {"cas": cas}});
    let mismatch = "check-and-set parameter did not match the current version";
    assert_eq!(mount.refused(Operation::Update, "data/a", write(json!(1))).await, mismatch);
    assert_eq!(mount.data(Operation::Update, "data/a", write(json!(0))).await["version"], 1);
    assert_eq!(mount.refused(Operation::Update, "data/a", write(json!(0))).await, mismatch);
    assert_eq!(mount.data(Operation::Update, "data/a", write(json!("1"))).await["version"], 2);
    assert_eq!(
        mount.refused(Operation::Update, "data/a", write(json!([]))).await,
        "error parsing check-and-set parameter"
    );
    mount.nothing(Operation::Update, "config", json!({"cas_required": true})).await;
    assert_eq!(
        mount.refused(Operation::Update, "data/a", json!({"data": {}})).await,
        "check-and-set parameter required for this call"
    );
    assert_eq!(
        mount.refused(Operation::Patch, "data/a", json!({"data": {}})).await,
        "check-and-set parameter required for this call"
    );
    assert_eq!(mount.value("a").await, json!({"v": 1}));
}

#[tokio::test]
async fn the_settings_are_read_as_they_were_written() {
    let mount = Mount::default();
    let read = mount.data(Operation::Read, "config", json!({})).await;
    assert_eq!(read, json!({"max_versions": 0, "cas_required": false, "delete_version_after": "0s"}));
    let set = json!({"max_versions": "5", "cas_required": "true", "delete_version_after": "3h25m19s"});
    mount.nothing(Operation::Update, "config", set).await;
    mount.nothing(Operation::Update, "config", json!({"max_versions": 6})).await;
    let read = mount.data(Operation::Read, "config", json!({})).await;
    assert_eq!(read, json!({"max_versions": 6, "cas_required": true, "delete_version_after": "3h25m19s"}));
    mount.nothing(Operation::Update, "config", json!({"delete_version_after": "-1s"})).await;
    assert_eq!(mount.data(Operation::Read, "config", json!({})).await["delete_version_after"], "-1s");
}

#[tokio::test]
async fn old_versions_are_dropped_with_their_data() {
    let mount = Mount::default();
    mount.nothing(Operation::Update, "metadata/a", json!({"max_versions": 2})).await;
    for n in 1..=5 {
        mount.write("a", json!({"v": n})).await;
    }
    let read = mount.data(Operation::Read, "metadata/a", json!({})).await;
    assert_eq!((&read["current_version"], &read["oldest_version"]), (&json!(5), &json!(4)));
    assert_eq!(read["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["4", "5"]);
    mount.nothing(Operation::Read, "data/a", json!({"version": 3})).await;
    assert_eq!(mount.versions_in_storage(), 2);
}

#[tokio::test]
async fn a_deleted_version_answers_404_with_its_metadata_until_it_is_undeleted() {
    let mount = Mount::default();
    mount.write("a", json!({"v": 1})).await;
    mount.write("a", json!({"v": 2})).await;
    mount.system.advance(60);
    mount.nothing(Operation::Delete, "data/a", json!({})).await;
    let gone = mount.not_found(Operation::Read, "data/a", json!({})).await.data.unwrap();
    assert_eq!(gone["data"], Value::Null);
    assert_eq!(gone["metadata"]["version"], 2);
    assert_eq!(gone["metadata"]["deletion_time"], mount.system.time().rfc3339());
    mount.system.advance(60);
    mount.nothing(Operation::Delete, "data/a", json!({})).await;
    let again = mount.not_found(Operation::Read, "data/a", json!({})).await.data.unwrap();
    assert_eq!(again, gone, "a second deletion changes nothing");
    assert_eq!(mount.data(Operation::Read, "data/a", json!({"version": 1})).await["data"], json!({"v": 1}));
    mount.nothing(Operation::Update, "undelete/a", json!({"versions": [2]})).await;
    assert_eq!(mount.value("a").await, json!({"v": 2}));
    mount.nothing(Operation::Update, "delete/a", json!({"versions": "1,2,77,-1"})).await;
    mount.not_found(Operation::Read, "data/a", json!({"version": 1})).await;
    mount.not_found(Operation::Read, "data/a", json!({})).await;
    mount.nothing(Operation::Delete, "data/none", json!({})).await;
}

#[tokio::test]
async fn a_destroyed_version_never_comes_back() {
    let mount = Mount::default();
    mount.write("a", json!({"v": 1})).await;
    mount.write("a", json!({"v": 2})).await;
    mount.nothing(Operation::Update, "destroy/a", json!({"versions": ["1"]})).await;
    let gone = mount.not_found(Operation::Read, "data/a", json!({"version": 1})).await.data.unwrap();
    assert_eq!(gone["metadata"]["destroyed"], true);
    assert_eq!(mount.versions_in_storage(), 1);
    mount.nothing(Operation::Update, "undelete/a", json!({"versions": [1]})).await;
    mount.not_found(Operation::Read, "data/a", json!({"version": 1})).await;
    assert_eq!(mount.value("a").await, json!({"v": 2}));
    for path in ["delete/none", "undelete/none", "destroy/none"] {
        mount.nothing(Operation::Update, path, json!({"versions": [1]})).await;
    }
}

#[tokio::test]
async fn versions_delete_themselves_when_their_time_has_come() {
    let mount = Mount::default();
    mount.nothing(Operation::Update, "config", json!({"delete_version_after": "1h"})).await;
    let written = mount.write("a", json!({"v": 1})).await;
    assert_eq!(written["deletion_time"], mount.system.time().plus_seconds(3600).rfc3339());
    mount.system.advance(3599);
    assert_eq!(mount.value("a").await, json!({"v": 1}));
    mount.system.advance(1);
    mount.not_found(Operation::Read, "data/a", json!({})).await;
    mount.nothing(Operation::Update, "undelete/a", json!({"versions": [1]})).await;
    mount.system.advance(3599);
    assert_eq!(mount.value("a").await, json!({"v": 1}));
}

#[tokio::test]
async fn a_patch_changes_only_what_it_names() {
    let mount = Mount::default();
    let patch = json!({"data": {"a": null, "b": {"d": 4}, "e": 5}});
    assert!(mount.not_found(Operation::Patch, "data/a", patch.clone()).await.data.is_none());
    mount.write("a", json!({"a": 1, "b": {"c": 3}})).await;
    assert_eq!(mount.data(Operation::Patch, "data/a", patch.clone()).await["version"], 2);
    assert_eq!(mount.value("a").await, json!({"b": {"c": 3, "d": 4}, "e": 5}));
    let stale = json!({"data": {}, "options": {"cas": 1}});
    assert_eq!(
        mount.refused(Operation::Patch, "data/a", stale).await,
        "check-and-set parameter did not match the current version"
    );
    mount.nothing(Operation::Delete, "data/a", json!({})).await;
    let gone = mount.not_found(Operation::Patch, "data/a", patch.clone()).await.data.unwrap();
    assert_eq!(gone["version"], 2);
    mount.nothing(Operation::Update, "destroy/a", json!({"versions": [2]})).await;
    assert_eq!(
        mount.not_found(Operation::Patch, "data/a", patch.clone()).await.data.unwrap()["destroyed"],
        true
    );
    mount.nothing(Operation::Update, "metadata/empty", json!({"max_versions": 1})).await;
    assert!(mount.not_found(Operation::Patch, "data/empty", patch).await.data.is_none());
}

#[tokio::test]
async fn metadata_is_set_patched_and_shown() {
    let mount = Mount::default();
    mount.nothing(Operation::Read, "metadata/a", json!({})).await;
    mount.nothing(Operation::Update, "metadata/a", json!({})).await;
    assert!(mount.storage.keys().is_empty(), "an empty write makes no key");
    let set = json!({"max_versions": 3, "cas_required": true, "delete_version_after": "30m",
        "custom_metadata": {"owner": "ops", "tier": 1}});
    mount.nothing(Operation::Update, "metadata/a", set).await;
    let time = mount.system.time().rfc3339();
    assert_eq!(
        mount.data(Operation::Read, "metadata/a", json!({})).await,
        json!({"created_time": time, "updated_time": time, "current_version": 0, "oldest_version": 0,
            "max_versions": 3, "cas_required": true, "delete_version_after": "30m0s",
            "custom_metadata": {"owner": "ops", "tier": "1"}, "versions": {}})
    );
    let patch = json!({"cas_required": null, "custom_metadata": {"tier": null, "team": "x"}});
    mount.nothing(Operation::Patch, "metadata/a", patch).await;
    let read = mount.data(Operation::Read, "metadata/a", json!({})).await;
    assert_eq!(read["custom_metadata"], json!({"owner": "ops", "team": "x"}));
    assert_eq!((&read["cas_required"], &read["max_versions"]), (&json!(false), &json!(3)));
    let written = mount.write("a", json!({"v": 1})).await;
    assert_eq!(written["custom_metadata"], json!({"owner": "ops", "team": "x"}));
    assert_eq!(
        mount.data(Operation::Read, "data/a", json!({})).await["metadata"]["custom_metadata"]["team"],
        "x"
    );
    mount
        .nothing(
            Operation::Patch,
            "metadata/a",
            json!({"custom_metadata": null, "delete_version_after": "0s"}),
        )
        .await;
    let read = mount.data(Operation::Read, "metadata/a", json!({})).await;
    assert_eq!((&read["custom_metadata"], &read["delete_version_after"]), (&Value::Null, &json!("0s")));
    assert!(mount.not_found(Operation::Patch, "metadata/none", json!({})).await.data.is_none());
}

#[tokio::test]
async fn a_setting_that_the_mount_overrules_warns() {
    let mount = Mount::default();
    mount.nothing(Operation::Update, "config", json!({"cas_required": true})).await;
    let response =
        mount.call(Operation::Update, "metadata/a", json!({"cas_required": false})).await.unwrap().unwrap();
    assert_eq!(
        response.warnings,
        ["\"cas_required\" set to false, but is mandated by backend config. This value will be ignored."]
    );
}

#[tokio::test]
async fn deleting_metadata_removes_the_key_and_all_its_data() {
    let mount = Mount::default();
    mount.write("a", json!({"v": 1})).await;
    mount.write("a", json!({"v": 2})).await;
    mount.nothing(Operation::Delete, "metadata/a", json!({})).await;
    assert!(mount.storage.keys().is_empty());
    mount.nothing(Operation::Delete, "metadata/a", json!({})).await;
    assert_eq!(mount.write("a", json!({"v": 3})).await["version"], 1);
}

#[tokio::test]
async fn deleting_a_key_with_many_versions_takes_several_small_transactions() {
    let mount = Mount::default();
    mount.nothing(Operation::Update, "metadata/a", json!({"max_versions": 100})).await;
    for n in 0..70 {
        mount.write("a", json!({"v": n})).await;
    }
    mount.nothing(Operation::Delete, "metadata/a", json!({})).await;
    mount.nothing(Operation::Read, "data/a", json!({})).await;
    assert_eq!(mount.write("a", json!({"v": "new"})).await["version"], 1);
    let mut left = mount.versions_in_storage();
    assert!(left > 1, "one transaction must not remove them all");
    while left > 1 {
        mount.nothing(Operation::Update, "config", json!({})).await;
        let now = mount.versions_in_storage();
        assert!(now < left && left - now <= 32, "{left} then {now}");
        left = now;
    }
    mount.nothing(Operation::Update, "config", json!({})).await;
    assert!(!mount.storage.keys().iter().any(|key| key.starts_with("garbage/")));
    assert_eq!(mount.value("a").await, json!({"v": "new"}));
}

#[tokio::test]
async fn lists_show_names_and_folders_of_one_level() {
    let mount = Mount::default();
    for path in ["a", "b/c", "b/d/e"] {
        mount.write(path, json!({})).await;
    }
    assert_eq!(mount.data(Operation::List, "metadata/", json!({})).await, json!({"keys": ["a", "b/"]}));
    assert_eq!(mount.data(Operation::List, "metadata/b/", json!({})).await, json!({"keys": ["c", "d/"]}));
    assert_eq!(mount.data(Operation::List, "metadata/b", json!({"limit": 1})).await, json!({"keys": ["c"]}));
    assert_eq!(
        mount.data(Operation::List, "metadata/", json!({"after": "a"})).await,
        json!({"keys": ["b/"]})
    );
    mount.nothing(Operation::List, "metadata/none/", json!({})).await;
}

#[tokio::test]
async fn subkeys_show_structure_without_values() {
    let mount = Mount::default();
    mount.nothing(Operation::Read, "subkeys/a", json!({})).await;
    mount.write("a", json!({"x": "hush", "y": {"z": "hush"}})).await;
    let read = mount.data(Operation::Read, "subkeys/a", json!({})).await;
    assert_eq!(read["subkeys"], json!({"x": null, "y": {"z": null}}));
    assert_eq!(read["metadata"]["version"], 1);
    let read = mount.data(Operation::Read, "subkeys/a", json!({"depth": "1", "version": "1"})).await;
    assert_eq!(read["subkeys"], json!({"x": null, "y": null}));
    mount.nothing(Operation::Delete, "data/a", json!({})).await;
    let gone = mount.not_found(Operation::Read, "subkeys/a", json!({})).await.data.unwrap();
    assert_eq!(gone["subkeys"], Value::Null);
}

#[tokio::test]
async fn a_path_of_version_one_is_explained() {
    let mount = Mount::default();
    for (operation, path, word) in [
        (Operation::Read, "foo", "'vault kv get'"),
        (Operation::Update, "foo/bar", "'vault kv put'"),
        (Operation::Delete, "foo", "'vault kv delete'"),
        (Operation::List, "data/foo/", "'vault kv list'"),
        (Operation::Patch, "foo", "'vault kv patch'"),
    ] {
        let warning = mount.not_found(operation, path, json!({})).await.warnings.join("");
        assert!(warning.starts_with("Invalid path for a versioned K/V secrets engine."), "{warning}");
        assert!(warning.contains(word), "{warning}");
    }
    for path in ["data", "metadata", "delete", "undelete/", "destroy"] {
        let warning = mount.not_found(Operation::Read, path, json!({})).await.warnings.join("");
        assert_eq!(warning, "Non-listing operations on the root of a K/V v2 mount are not supported.");
    }
}

#[tokio::test]
async fn unknown_fields_are_named() {
    let mount = Mount::default();
    let ask = json!({"data": {}, "colour": "red", "cas": 1});
    let response = mount.call(Operation::Update, "data/a", ask).await.unwrap().unwrap();
    assert_eq!(response.warnings, ["Endpoint ignored these unrecognized parameters: [cas colour]"]);
}

#[tokio::test]
async fn keys_and_metadata_tell_create_from_update() {
    let mount = Mount::default();
    let exists =
        async |path: &str| Kv2.exists(&request(Operation::Update, path, json!({})), &mount.storage).await;
    assert_eq!(exists("data/a").await, Ok(Some(false)));
    assert_eq!(exists("metadata/a").await, Ok(Some(false)));
    mount.write("a", json!({})).await;
    mount.nothing(Operation::Delete, "data/a", json!({})).await;
    assert_eq!(exists("data/a").await, Ok(Some(true)), "a deleted version leaves its key");
    for path in ["config", "delete/a", "undelete/a", "destroy/a", "foo"] {
        assert_eq!(exists(path).await, Ok(None), "{path}");
    }
}

type Case = (Operation, &'static str, Value, String);

/// What a field of the wrong type gives.
fn wrong_field(name: &str, expected: &str) -> String {
    format!("Field validation failed: error converting input for field \"{name}\": expected {expected}")
}

fn data_cases() -> Vec<Case> {
    vec![
        (Operation::Update, "data/a", json!({}), "no data provided".to_owned()),
        (Operation::Update, "data/a", json!({"data": null}), "no data provided".to_owned()),
        (Operation::Patch, "data/a", json!({"options": {}}), "no data provided".to_owned()),
        (Operation::Update, "data/a", json!({"data": "x"}), wrong_field("data", "an object")),
        (Operation::Update, "data/a", json!({"data": {}, "options": 1}), wrong_field("options", "an object")),
        (
            Operation::Update,
            "data/a",
            json!({"data": {}, "options": {"cas": {}}}),
            "error parsing check-and-set parameter".to_owned(),
        ),
        (
            Operation::Update,
            "data/a",
            json!({"data": {}, "options": {"cas": 7}}),
            "check-and-set parameter did not match the current version".to_owned(),
        ),
        (
            Operation::Update,
            "data/strict",
            json!({"data": {}}),
            "check-and-set parameter required for this call".to_owned(),
        ),
        (Operation::Read, "data/a", json!({"version": "x"}), wrong_field("version", "an integer")),
        (
            Operation::Read,
            "subkeys/a",
            json!({"depth": "-1"}),
            wrong_field("depth", "a number that is not negative"),
        ),
        (Operation::Update, "delete/a", json!({}), "No version number provided".to_owned()),
        (Operation::Update, "undelete/a", json!({"versions": []}), "No version number provided".to_owned()),
        (Operation::Update, "destroy/a", json!({"versions": ""}), "No version number provided".to_owned()),
        (
            Operation::Update,
            "destroy/a",
            json!({"versions": "x"}),
            wrong_field("versions", "a list of integers"),
        ),
    ]
}

fn settings_cases() -> Vec<Case> {
    let max_versions = format!("max_versions must be between 0 and {}", u32::MAX);
    vec![
        (Operation::Update, "metadata/", json!({"max_versions": 1}), "missing path".to_owned()),
        (Operation::Patch, "metadata/", json!({"max_versions": 1}), "missing path".to_owned()),
        (Operation::Update, "metadata/a", json!({"max_versions": -1}), max_versions.clone()),
        (Operation::Update, "config", json!({"max_versions": 4_294_967_296_u64}), max_versions),
        (
            Operation::Update,
            "config",
            json!({"cas_required": "perhaps"}),
            wrong_field("cas_required", "a boolean"),
        ),
        (
            Operation::Update,
            "config",
            json!({"delete_version_after": "soon"}),
            wrong_field("delete_version_after", "a duration"),
        ),
        (
            Operation::Update,
            "metadata/a",
            json!({"delete_version_after": "-1s"}),
            wrong_field("delete_version_after", "a duration that is not negative"),
        ),
        (
            Operation::Update,
            "metadata/a",
            json!({"custom_metadata": "x"}),
            wrong_field("custom_metadata", "an object"),
        ),
        (Operation::List, "metadata/", json!({"limit": "x"}), wrong_field("limit", "an integer")),
    ]
}

fn custom_metadata_cases() -> Vec<Case> {
    let many: Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(513));
    let length = |of: &str, length: usize, which: &str, most: usize| {
        format!("length of {of} is {length} but must be 0 < len({which}) <= {most}")
    };
    let one =
        |key: &str, value: Value| -> Map<String, Value> { [(key.to_owned(), value)].into_iter().collect() };
    [
        (many, "payload must contain at most 64 keys, provided 65".to_owned()),
        (one("", json!("v")), length("key \"\"", 0, "key", 128)),
        (one(&long_key, json!("v")), length(&format!("key \"{long_key}\""), 129, "key", 128)),
        (one("k", json!("")), length("value for key \"k\"", 0, "value", 512)),
        (one("k", json!(long_value)), length("value for key \"k\"", 513, "value", 512)),
        (one("k\n", json!("v")), "key \"k\\n\" contains unprintable characters".to_owned()),
        (one("k", json!("\u{7}")), "value for key \"k\" contains unprintable characters".to_owned()),
        (one("k", json!([1])), "value for key \"k\" must be a string".to_owned()),
    ]
    .into_iter()
    .flat_map(|(custom, text)| {
        let text = format!("custom_metadata validation failed: {text}");
        [Operation::Update, Operation::Patch]
            .map(|operation| (operation, "metadata/a", json!({"custom_metadata": custom}), text.clone()))
    })
    .collect()
}

/// Each error that the engine can produce, with input that produces it.
#[tokio::test]
async fn bad_input_is_refused_with_its_text() {
    let mount = Mount::default();
    mount.write("a", json!({"v": 1})).await;
    mount.nothing(Operation::Update, "metadata/strict", json!({"cas_required": true})).await;
    let before = mount.storage.keys();
    let cases = [data_cases(), settings_cases(), custom_metadata_cases()].concat();
    for (operation, path, data, text) in &cases {
        assert_eq!(mount.refused(*operation, path, data.clone()).await, *text, "{operation:?} {path} {data}");
    }
    assert_eq!(mount.storage.keys(), before, "a refused request stores nothing");
    let untried: Vec<_> = error_texts(include_str!("error.rs"))
        .into_iter()
        .filter(|pattern| !cases.iter().any(|(_, _, _, text)| is_instance(text, pattern)))
        .collect();
    assert!(untried.is_empty(), "no case produces {untried:#?}");
}

#[tokio::test]
async fn wrong_operations_are_refused() {
    let mount = Mount::default();
    for (operation, path) in [
        (Operation::Delete, "config"),
        (Operation::List, "config"),
        (Operation::List, "data/a"),
        (Operation::Read, "delete/a"),
        (Operation::Patch, "undelete/a"),
        (Operation::Delete, "destroy/a"),
        (Operation::Update, "subkeys/a"),
    ] {
        let error = mount.call(operation, path, json!({})).await.unwrap_err();
        assert_eq!(error, LogicalError::UnsupportedOperation, "{operation:?} {path}");
    }
}

#[tokio::test]
async fn lost_version_data_is_our_fault() {
    let mount = Mount::default();
    mount.write("a", json!({"v": 1})).await;
    for key in mount.storage.keys().into_iter().filter(|key| key.starts_with("versions/")) {
        crate::vault::logical::StorageView::delete(&mount.storage, &key).await.unwrap();
    }
    let error = mount.call(Operation::Read, "data/a", json!({})).await.unwrap_err();
    assert_eq!(error, LogicalError::Internal("could not find version data".into()));
}

#[test]
fn only_reads_may_be_repeated() {
    assert!(
        Kv2.route(Operation::Read, "data/a").repeatable && Kv2.route(Operation::List, "metadata/").repeatable
    );
    for operation in [Operation::Create, Operation::Update, Operation::Patch, Operation::Delete] {
        assert!(!Kv2.route(operation, "data/a").repeatable, "{operation:?}");
    }
}
