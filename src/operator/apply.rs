//! Writing: server-side apply under one name, creation, deletion with preconditions, patches.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::build::meta::{Child, Kind};
use super::error::{OperatorError, status_code};
use super::live;
use crate::base::id;

/// Our name as the owner of fields.
pub(crate) const MANAGER: &str = "holdfast-operator";

/// Writes to one cluster's namespace.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    namespace: String,
}

impl Writer {
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned() }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Applies `child` unless `found` is already as it shall be. True if something was written.
    pub(crate) async fn apply(&self, child: &Child, found: Option<&Value>) -> Result<bool, OperatorError> {
        let desired = stamped(child);
        if found.is_some_and(|found| live::is_applied(&desired, found)) {
            return Ok(false);
        }
        let params = PatchParams::apply(MANAGER).force();
        let applied = self
            .api(child.kind)
            .patch(&child.name, &params, &Patch::Apply(&desired))
            .await
            .map_err(OperatorError::api(format!("applying {child:?}")))?;
        // The server writes some values in another way (1000m as 1): then nothing has changed.
        let before =
            found.and_then(|found| found.pointer("/metadata/resourceVersion")).and_then(Value::as_str);
        let has_changed = before.is_none() || applied.metadata.resource_version.as_deref() != before;
        if has_changed {
            tracing::info!(child = ?child, "applied");
        }
        Ok(has_changed)
    }

    /// Creates `child`; one that is there already stays as it is. True if it was created.
    pub(crate) async fn create(&self, child: &Child) -> Result<bool, OperatorError> {
        let what = format!("creating {child:?}");
        let object: DynamicObject = serde_json::from_value(child.value.clone())
            .map_err(|error| OperatorError::Malformed { what: what.clone(), reason: error.to_string() })?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api(child.kind).create(&params, &object).await {
            Ok(_) => {
                tracing::info!(child = ?child, "created");
                Ok(true)
            }
            Err(error) if status_code(&error) == Some(409) => Ok(false),
            Err(error) => Err(OperatorError::api(what)(error)),
        }
    }

    /// Deletes an object if it is still the one with this UID.
    pub(crate) async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), OperatorError> {
        gone(self.api(kind).delete(name, &only(uid)).await.map(drop))
            .map_err(OperatorError::api(format!("deleting {} {name}", kind.word())))
    }

    /// Deletes a pod if it is still the one with this UID.
    pub(crate) async fn delete_pod(&self, name: &str, uid: &str) -> Result<(), OperatorError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), &self.namespace);
        gone(pods.delete(name, &only(uid)).await.map(drop))
            .map_err(OperatorError::api(format!("deleting pod {name}")))
    }

    /// Merges `patch` into an object, if its UID is still `uid`, and returns the object as it is then.
    pub(crate) async fn merge(
        &self,
        kind: Kind,
        name: &str,
        uid: &str,
        mut patch: Value,
    ) -> Result<Value, OperatorError> {
        patch["metadata"]["uid"] = json!(uid);
        let what = format!("patching {} {name}", kind.word());
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let object = self
            .api(kind)
            .patch(name, &params, &Patch::Merge(&patch))
            .await
            .map_err(OperatorError::api(what.clone()))?;
        serde_json::to_value(object)
            .map_err(|error| OperatorError::Malformed { what, reason: error.to_string() })
    }

    /// Sets labels of a pod, if it is still the one with this UID.
    pub(crate) async fn label_pod(&self, name: &str, uid: &str, labels: Value) -> Result<(), OperatorError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), &self.namespace);
        let patch = json!({"metadata": {"uid": uid, "labels": labels}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match pods.patch(name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            // Gone, or another pod of the same name: the next visit sees it.
            Err(error) if matches!(status_code(&error), Some(404 | 409 | 422)) => Ok(()),
            Err(error) => Err(OperatorError::api(format!("labelling pod {name}"))(error)),
        }
    }

    /// Reads an object again.
    pub(crate) async fn read(&self, kind: Kind, name: &str) -> Result<Value, OperatorError> {
        let what = format!("reading {} {name}", kind.word());
        let object = self.api(kind).get(name).await.map_err(OperatorError::api(what.clone()))?;
        serde_json::to_value(object)
            .map_err(|error| OperatorError::Malformed { what, reason: error.to_string() })
    }
}

fn only(uid: &str) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None })
}

/// An object that is gone, or has another UID by now, needs no deletion.
fn gone(result: Result<(), kube::error::Error>) -> Result<(), kube::error::Error> {
    match result {
        Err(error) if matches!(status_code(&error), Some(404 | 409)) => Ok(()),
        other => other,
    }
}

/// `child` with the hash of its content, so that a field that is no longer set is noticed. Objects that others write
/// as well, named by their UID, get none.
fn stamped(child: &Child) -> Value {
    let mut value = child.value.clone();
    if value.pointer("/metadata/uid").is_none() {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value.to_string().as_bytes());
        let hash: String = id::hex(hash.as_ref()).chars().take(16).collect();
        value["metadata"]["annotations"][live::APPLIED] = json!(hash);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_stamp() {
        let child = |value: Value| Child { kind: Kind::Service, name: "s".to_owned(), value };
        let stamp = |value: Value| stamped(&child(value))["metadata"]["annotations"][live::APPLIED].clone();
        assert_eq!(stamp(json!({"a": 1})), stamp(json!({"a": 1})));
        assert_ne!(stamp(json!({"a": 1})), stamp(json!({})));
        let kept = stamped(&child(json!({"metadata": {"uid": "u"}})));
        assert!(kept.pointer("/metadata/annotations").is_none());
    }
}
