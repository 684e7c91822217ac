//! What derive macros cannot say of the schema: the rules, the status's default, lists that are maps.

use serde_json::{Value, json};

use super::rules::RULES;

/// Completes the derived definition of `VaultCluster`, given as JSON.
pub fn complete(definition: &mut Value) {
    let Some(root) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") else { return };
    for rule in RULES {
        let place = rule.at.iter().fold(String::new(), |path, name| format!("{path}/properties/{name}"));
        let Some(Value::Object(schema)) = root.pointer_mut(&place) else { continue };
        let rules = schema.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        if let Value::Array(rules) = rules {
            rules.push(json!({"rule": rule.cel, "message": rule.message}));
        }
    }
    // Between its creation and the first visit an object must not look finished to kstatus and kubectl wait.
    insert(root, "/properties/status", "default", json!({"observedGeneration": -1}));
    for (list, key) in [("conditions", "type"), ("members", "pod")] {
        let place = format!("/properties/status/properties/{list}");
        insert(root, &place, "x-kubernetes-list-type", json!("map"));
        insert(root, &place, "x-kubernetes-list-map-keys", json!([key]));
    }
}

fn insert(root: &mut Value, place: &str, key: &str, value: Value) {
    if let Some(Value::Object(schema)) = root.pointer_mut(place) {
        schema.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::*;
    use crate::crd::VaultCluster;

    #[test]
    fn every_rule_finds_its_place() {
        let mut definition = serde_json::to_value(VaultCluster::crd()).unwrap();
        complete(&mut definition);
        let text = definition.to_string();
        for rule in RULES {
            let message = serde_json::to_string(rule.message).unwrap();
            assert!(text.contains(&message), "rule {} is not in the definition", rule.id);
        }
        let status = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(status["default"], json!({"observedGeneration": -1}));
        assert_eq!(status["properties"]["conditions"]["x-kubernetes-list-map-keys"], json!(["type"]));
        assert_eq!(status["properties"]["members"]["x-kubernetes-list-type"], json!("map"));
    }
}
