//! The definitions of all our kinds as YAML: `holdfast crd`, `crds/` and the chart are made from it.

use kube::CustomResourceExt;
use serde_json::{Value, json};
use thiserror::Error;

use super::cluster;
use super::store::{VaultStoreHead, VaultStoreSegment};
use crate::base::class::ErrorClass;

/// Why the definitions cannot be written.
#[derive(Debug, Error)]
pub enum EmitError {
    /// A definition cannot be put into JSON.
    #[error("definition cannot be encoded: {0}")]
    Json(#[from] serde_json::Error),
    /// A definition cannot be put into YAML.
    #[error("definition cannot be written as YAML: {0}")]
    Yaml(String),
}

impl EmitError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

/// One definition with the name of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// `holdfast.dev_vaultclusters.yaml`.
    pub file: String,
    /// The definition.
    pub value: Value,
}

impl Definition {
    fn of<K: CustomResourceExt>() -> Result<Self, EmitError> {
        let mut value = serde_json::to_value(K::crd())?;
        // Deleting a definition deletes every object of its kind, and with them all data of all vaults.
        value["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
        tidy(&mut value);
        let resource = K::api_resource();
        Ok(Self { file: format!("{}_{}.yaml", resource.group, resource.plural), value })
    }

    /// The definition as YAML.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn yaml(&self) -> Result<String, EmitError> {
        serde_saphyr::to_string(&self.value).map_err(|error| EmitError::Yaml(error.to_string()))
    }
}

/// Joins the lines of descriptions, which `kubectl explain` wraps by itself, and takes away formats that Kubernetes does
/// not know and warns of.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text =
                    text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
            }
            let is_foreign =
                |format: &Value| format.as_str().is_some_and(|format| format.starts_with("uint"));
            if fields.get("format").is_some_and(is_foreign) {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// All definitions, in the order of their files.
///
/// # Errors
/// When one cannot be encoded.
pub fn definitions() -> Result<Vec<Definition>, EmitError> {
    let mut cluster = Definition::of::<cluster::VaultCluster>()?;
    cluster::complete(&mut cluster.value);
    Ok(vec![cluster, Definition::of::<VaultStoreHead>()?, Definition::of::<VaultStoreSegment>()?])
}

/// All definitions as one stream of YAML documents.
///
/// # Errors
/// When one cannot be written.
pub fn yaml() -> Result<String, EmitError> {
    let mut out = String::new();
    for definition in definitions()? {
        out.push_str("---\n");
        out.push_str(&definition.yaml()?);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_whole_paragraphs_and_formats_are_known() {
        for definition in definitions().unwrap() {
            let text = definition.value.to_string();
            assert!(!text.contains("\"uint"), "{}: a format that Kubernetes warns of", definition.file);
            let storage = definition.value.pointer(
                "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/storage/properties/type/description",
            );
            if let Some(storage) = storage {
                let storage = storage.as_str().unwrap();
                assert!(storage.len() > 120 && !storage.contains('\n'), "{storage}");
            }
        }
    }

    #[test]
    fn definitions_fit_a_client_side_apply() {
        for definition in definitions().unwrap() {
            assert!(definition.yaml().unwrap().len() < 120 << 10, "{} is large", definition.file);
            assert!(!definition.yaml().unwrap().contains("{{"), "the chart's templates would read it");
        }
    }
}
