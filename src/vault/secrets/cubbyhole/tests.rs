//! The cubbyhole through its one door, [`Engine::handle`].

use serde_json::{Value, json};

use super::{Cubbyhole, prefix_of};
use crate::vault::logical::testing::{ManualSystem, MemoryView, request, untried};
use crate::vault::logical::{Engine, LogicalError, Operation, Request, Response};

fn asked_by(cubbyhole: &str, operation: Operation, path: &str, data: Value) -> Request {
    let mut request = request(operation, path, data);
    request.principal.cubbyhole_id = cubbyhole.to_owned();
    request
}

async fn call(
    storage: &MemoryView,
    cubbyhole: &str,
    operation: Operation,
    path: &str,
    data: Value,
) -> Result<Option<Response>, LogicalError> {
    Cubbyhole.handle(&asked_by(cubbyhole, operation, path, data), storage, &ManualSystem::default()).await
}

#[tokio::test]
async fn each_token_sees_only_its_own_values() {
    let storage = MemoryView::default();
    call(&storage, "one", Operation::Create, "a/b", json!({"v": 1})).await.unwrap();
    call(&storage, "two", Operation::Create, "c", json!({"v": 2})).await.unwrap();
    let read = call(&storage, "one", Operation::Read, "a/b", json!({})).await.unwrap().unwrap();
    assert_eq!(read.data.map(Value::Object), Some(json!({"v": 1})));
    assert!(call(&storage, "two", Operation::Read, "a/b", json!({})).await.unwrap().is_none());
    for (token, keys) in [("one", json!(["a/"])), ("two", json!(["c"]))] {
        let list = call(&storage, token, Operation::List, "", json!({})).await.unwrap().unwrap();
        assert_eq!(list.data.and_then(|mut data| data.remove("keys")), Some(keys));
    }
    call(&storage, "two", Operation::Delete, "c", json!({})).await.unwrap();
    assert_eq!(storage.keys(), [prefix_of("one") + "a/b"]);
}

#[tokio::test]
async fn a_write_to_nothing_is_a_create() {
    let storage = MemoryView::default();
    let ask = asked_by("one", Operation::Update, "x", json!({"v": 1}));
    assert_eq!(Cubbyhole.exists(&ask, &storage).await, Ok(Some(false)));
    call(&storage, "one", Operation::Create, "x", json!({"v": 1})).await.unwrap();
    assert_eq!(Cubbyhole.exists(&ask, &storage).await, Ok(Some(true)));
}

#[tokio::test]
async fn reading_a_wrapped_response_directly_warns() {
    let storage = MemoryView::default();
    call(&storage, "one", Operation::Create, "response", json!({"response": "{}"})).await.unwrap();
    let read = call(&storage, "one", Operation::Read, "response", json!({})).await.unwrap().unwrap();
    assert!(read.warnings[0].starts_with("Reading from 'cubbyhole/response' is deprecated."));
}

/// Each error that the engine can produce, with input that produces it.
#[tokio::test]
async fn bad_input_is_refused_with_its_text() {
    let storage = MemoryView::default();
    let no_service_token = "cubbyhole operations are only supported by \"service\" type tokens";
    let mut texts = Vec::new();
    for (cubbyhole, operation, path, data, text) in [
        ("", Operation::Read, "x", json!({}), no_service_token),
        ("", Operation::Update, "x", json!({"v": 1}), no_service_token),
        ("", Operation::Delete, "x", json!({}), no_service_token),
        ("", Operation::List, "x", json!({}), no_service_token),
        ("one", Operation::Update, "x", json!({}), "missing data fields"),
        ("one", Operation::Update, "", json!({"v": 1}), "missing path"),
    ] {
        let error = call(&storage, cubbyhole, operation, path, data).await.unwrap_err();
        assert_eq!(error, LogicalError::Invalid(text.to_owned()), "{operation:?} {path:?}");
        texts.push(text.to_owned());
    }
    let error = call(&storage, "one", Operation::Patch, "x", json!({"v": 1})).await.unwrap_err();
    assert_eq!(error, LogicalError::UnsupportedOperation);
    assert!(storage.keys().is_empty(), "a refused request stores nothing");
    let silent = [(super::paths_data::UNWRAP_WARNING, "a warning")];
    assert_eq!(untried(&["vault/secrets/cubbyhole"], &texts, &silent), [""; 0]);
}

#[test]
fn only_reads_may_be_repeated() {
    assert!(Cubbyhole.route(Operation::Read, "x").repeatable);
    assert!(!Cubbyhole.route(Operation::Update, "x").repeatable);
}
