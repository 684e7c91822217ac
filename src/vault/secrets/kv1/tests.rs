//! KV version 1 through its one door, [`Engine::handle`].

use serde_json::{Value, json};

use super::Kv1;
use crate::vault::logical::testing::{ManualSystem, MemoryView, request, untried};
use crate::vault::logical::{Engine, LogicalError, Operation, Response};

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
        Kv1.handle(&request(operation, path, data), &self.storage, &self.system).await
    }

    async fn write(&self, path: &str, data: Value) {
        assert!(self.call(Operation::Create, path, data).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_value_is_read_as_it_was_written_until_it_is_deleted() {
    let mount = Mount::default();
    let value = json!({"a": 1, "b": {"c": [true, null]}});
    mount.write("x/y", value.clone()).await;
    let response = mount.call(Operation::Read, "x/y", json!({})).await.unwrap().unwrap();
    assert_eq!(response.data.map(Value::Object), Some(value));
    assert_eq!(response.lease_duration_seconds, 2_764_800);
    assert!(!response.renewable && response.lease_id.is_empty());
    mount.call(Operation::Delete, "x/y", json!({})).await.unwrap();
    assert!(mount.call(Operation::Read, "x/y", json!({})).await.unwrap().is_none());
    mount.call(Operation::Delete, "x/y", json!({})).await.unwrap();
}

#[tokio::test]
async fn the_member_ttl_sets_the_lease_duration() {
    let mount = Mount::default();
    mount.write("x", json!({"ttl": "90s"})).await;
    assert_eq!(
        mount.call(Operation::Read, "x", json!({})).await.unwrap().unwrap().lease_duration_seconds,
        90
    );
}

#[tokio::test]
async fn lists_show_names_and_folders_of_one_level() {
    let mount = Mount::default();
    for path in ["a", "b/c", "b/d/e", "http://test.com"] {
        mount.write(path, json!({"v": 1})).await;
    }
    let keys = |response: Option<Response>| response.and_then(|r| r.data).map(|mut data| data.remove("keys"));
    let list = mount.call(Operation::List, "", json!({})).await.unwrap();
    assert_eq!(keys(list), Some(Some(json!(["a", "b/", "http:/"]))));
    let list = mount.call(Operation::List, "b", json!({})).await.unwrap();
    assert_eq!(keys(list), Some(Some(json!(["c", "d/"]))));
    assert!(mount.call(Operation::List, "none/", json!({})).await.unwrap().is_none());
    let value = mount.call(Operation::Read, "http://test.com", json!({})).await.unwrap();
    assert!(value.is_some());
}

#[tokio::test]
async fn a_write_to_nothing_is_a_create() {
    let mount = Mount::default();
    let ask = request(Operation::Update, "x", json!({"v": 1}));
    assert_eq!(Kv1.exists(&ask, &mount.storage).await, Ok(Some(false)));
    mount.write("x", json!({"v": 1})).await;
    assert_eq!(Kv1.exists(&ask, &mount.storage).await, Ok(Some(true)));
}

/// Each error that the engine can produce, with input that produces it.
#[tokio::test]
async fn bad_input_is_refused_with_its_text() {
    let mount = Mount::default();
    let mut texts = Vec::new();
    for (path, data, text) in [("x", json!({}), "missing data fields"), ("", json!({"v": 1}), "missing path")]
    {
        let error = mount.call(Operation::Update, path, data).await.unwrap_err();
        assert_eq!(error, LogicalError::Invalid(text.to_owned()), "{path:?}");
        texts.push(text.to_owned());
    }
    let error = mount.call(Operation::Patch, "x", json!({"v": 1})).await.unwrap_err();
    assert_eq!(error, LogicalError::UnsupportedOperation);
    assert!(mount.storage.keys().is_empty(), "a refused request stores nothing");
    assert_eq!(untried(&["vault/secrets/kv1"], &texts, &[]), [""; 0]);
}

#[test]
fn only_reads_may_be_repeated() {
    assert!(Kv1.route(Operation::Read, "x").repeatable && Kv1.route(Operation::List, "x").repeatable);
    assert!(!Kv1.route(Operation::Update, "x").repeatable && !Kv1.route(Operation::Delete, "x").repeatable);
}
