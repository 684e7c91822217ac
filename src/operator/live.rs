//! Reading live objects, and telling whether one is already as it shall be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::base::secret::SecretString;

/// Annotation of applied children: a hash of what was applied, so that a field that we no longer set is noticed.
pub(crate) const APPLIED: &str = "holdfast.dev/applied";

/// A key of a Secret as text.
pub(crate) fn secret_text(secret: &Value, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret.get("data")?.get(key)?.as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// A key of a Secret as secret text.
pub(crate) fn secret(secret: &Value, key: &str) -> Option<SecretString> {
    secret_text(secret, key).map(SecretString::new)
}

/// An object's UID.
pub(crate) fn uid(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// An annotation of an object.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// Whether the object is on its way out.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether `live` says everything that `desired` says, and has its owner exactly if `desired` has one.
pub(crate) fn is_applied(desired: &Value, live: &Value) -> bool {
    let owner = |object: &Value| {
        object.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|o| !o.is_empty())
    };
    owner(desired) == owner(live) && is_part(desired, live)
}

/// Whether every field of `part` is in `whole`; lists must have the same length.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            whole.get(key).map_or_else(|| is_empty(value), |whole| is_part(value, whole))
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_part(a, b))
        }
        _ => part == whole,
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_do_not_count_as_a_difference() {
        let desired = json!({"spec": {"ports": [{"port": 1}], "publish": false, "empty": {}}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "clusterIP": "10.0.0.1"}});
        assert!(is_applied(&desired, &live));
    }

    #[test]
    fn differences_are_noticed() {
        let desired = json!({"spec": {"ports": [{"port": 1}]}});
        for live in [
            json!({"spec": {"ports": [{"port": 2}]}}),
            json!({"spec": {"ports": []}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            json!({}),
            json!({"metadata": {"ownerReferences": [{"uid": "x"}]}, "spec": {"ports": [{"port": 1}]}}),
        ] {
            assert!(!is_applied(&desired, &live), "{live}");
        }
    }

    #[test]
    fn secrets_are_decoded() {
        let object = json!({"data": {"a": "aGVsbG8=", "b": "!"}});
        assert_eq!(secret_text(&object, "a").as_deref(), Some("hello"));
        assert_eq!(secret_text(&object, "b"), None);
        assert_eq!(secret_text(&object, "c"), None);
    }
}
