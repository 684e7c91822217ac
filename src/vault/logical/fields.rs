//! Reading a request's input as loosely as Vault does: `"1"` is an integer, `"true"` a boolean, `"a,b"` a list.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::LogicalError;
use crate::base::duration;

/// The input of a request, read field by field. A field that is absent or null reads as `None`.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Reads from `data`.
    pub fn new(data: &'a Map<String, Value>) -> Self {
        Self(data)
    }

    /// The value as it came; `None` if absent or null.
    pub fn raw(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and null.
    pub fn is_null(self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
    }

    /// Text; numbers and booleans are taken as their text.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for lists and objects.
    pub fn text(self, name: &str) -> Result<Option<String>, LogicalError> {
        self.raw(name).map(|value| text_of(value).ok_or_else(|| mismatch(name, "a string"))).transpose()
    }

    /// Text that must be there and not be empty.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] with `message` if it is absent or empty, or if it is no text.
    pub fn required_text(self, name: &str, message: &str) -> Result<String, LogicalError> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| LogicalError::Invalid(message.to_owned()))
    }

    /// A boolean, also as text (`1`, `t`, `true`, `0`, `f`, `false`) or number.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn boolean(self, name: &str) -> Result<Option<bool>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let read = match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_i64().map(|n| n != 0),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "1" | "t" | "true" => Some(true),
                "0" | "f" | "false" | "" => Some(false),
                _ => None,
            },
            _ => None,
        };
        read.map(Some).ok_or_else(|| mismatch(name, "a boolean"))
    }

    /// An integer, also as text.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn integer(self, name: &str) -> Result<Option<i64>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        integer_of(value).map(Some).ok_or_else(|| mismatch(name, "an integer"))
    }

    /// A number that is not negative, also as text.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn count(self, name: &str) -> Result<Option<u64>, LogicalError> {
        let Some(value) = self.integer(name)? else { return Ok(None) };
        u64::try_from(value).map(Some).map_err(|_| mismatch(name, "a number that is not negative"))
    }

    /// A duration in whole seconds that is not negative (`90`, `"90"`, `"1h30m"`).
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn seconds(self, name: &str) -> Result<Option<u64>, LogicalError> {
        let Some(value) = self.signed_seconds(name)? else { return Ok(None) };
        u64::try_from(value).map(Some).map_err(|_| mismatch(name, "a duration that is not negative"))
    }

    /// A duration in whole seconds that may be negative.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn signed_seconds(self, name: &str) -> Result<Option<i64>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let read = match value {
            Value::String(text) if text.trim().is_empty() => Some(0),
            Value::String(text) => {
                let text = text.trim();
                let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
                duration::parse(rest).and_then(|span| i64::try_from(span.as_secs()).ok()).map(|n| sign * n)
            }
            Value::Number(number) => number
                .as_i64()
                .or_else(|| duration::from_json(value).and_then(|span| i64::try_from(span.as_secs()).ok())),
            _ => None,
        };
        read.map(Some).ok_or_else(|| mismatch(name, "a duration"))
    }

    /// A list of text: a JSON list, or text separated by commas. Blanks around items are dropped, empty items too.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn list(self, name: &str) -> Result<Option<Vec<String>>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let wrong = || mismatch(name, "a list of strings");
        let items = match value {
            Value::Array(items) => {
                items.iter().map(|item| text_of(item).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?
            }
            other => text_of(other).ok_or_else(wrong)?.split(',').map(str::to_owned).collect(),
        };
        Ok(Some(items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()))
    }

    /// A list of integers: a JSON list, text separated by commas, or one number.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn integers(self, name: &str) -> Result<Option<Vec<i64>>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let wrong = || mismatch(name, "a list of integers");
        let items = match value {
            Value::Array(items) => items.iter().map(integer_of).collect::<Option<Vec<_>>>(),
            Value::String(text) => text
                .split(',')
                .filter(|item| !item.trim().is_empty())
                .map(|item| item.trim().parse().ok())
                .collect::<Option<Vec<_>>>(),
            other => integer_of(other).map(|n| vec![n]),
        };
        items.map(Some).ok_or_else(wrong)
    }

    /// An object.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn object(self, name: &str) -> Result<Option<&'a Map<String, Value>>, LogicalError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| mismatch(name, "an object"))
    }

    /// An object whose values are text (numbers and booleans are taken as their text, null as empty).
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for anything else.
    pub fn text_map(self, name: &str) -> Result<Option<BTreeMap<String, String>>, LogicalError> {
        let Some(object) = self.object(name)? else { return Ok(None) };
        let wrong = || mismatch(name, "an object of strings");
        object
            .iter()
            .map(|(key, value)| match value {
                Value::Null => Ok((key.clone(), String::new())),
                other => Ok((key.clone(), text_of(other).ok_or_else(wrong)?)),
            })
            .collect::<Result<BTreeMap<_, _>, _>>()
            .map(Some)
    }

    /// A warning that names the fields that are not in `known`, or `None` if there are none.
    pub fn unrecognized(self, known: &[&str]) -> Option<String> {
        let unknown: Vec<_> = self.0.keys().filter(|name| !known.contains(&name.as_str())).cloned().collect();
        (!unknown.is_empty())
            .then(|| format!("Endpoint ignored these unrecognized parameters: [{}]", unknown.join(" ")))
    }
}

/// The text of a scalar value; `None` for null, lists and objects.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The integer in a number or in text; `None` if it is neither or has a fraction.
pub fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if text.trim().is_empty() => Some(0),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}

fn mismatch(name: &str, expected: &str) -> LogicalError {
    LogicalError::Invalid(format!(
        "Field validation failed: error converting input for field \"{name}\": expected {expected}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn reads_loosely_typed_input() {
        let data = map(json!({
            "n": "7", "b": "true", "c": "a, b,,c", "l": ["x", 1], "d": "1h", "m": "-5s", "v": "1,2", "v1": 3,
            "kv": {"a": 1, "b": null}, "nil": null,
        }));
        let fields = Fields::new(&data);
        assert_eq!(fields.integer("n"), Ok(Some(7)));
        assert_eq!(fields.boolean("b"), Ok(Some(true)));
        assert_eq!(fields.list("c"), Ok(Some(vec!["a".into(), "b".into(), "c".into()])));
        assert_eq!(fields.list("l"), Ok(Some(vec!["x".into(), "1".into()])));
        assert_eq!(fields.seconds("d"), Ok(Some(3600)));
        assert_eq!(fields.signed_seconds("m"), Ok(Some(-5)));
        assert_eq!(fields.integers("v"), Ok(Some(vec![1, 2])));
        assert_eq!(fields.integers("v1"), Ok(Some(vec![3])));
        assert_eq!(
            fields.text_map("kv"),
            Ok(Some([("a".into(), "1".into()), ("b".into(), String::new())].into()))
        );
        assert_eq!(fields.text("nil"), Ok(None));
        assert_eq!(fields.integer("absent"), Ok(None));
    }

    #[test]
    fn refuses_what_cannot_be_read() {
        let data = map(json!({"o": {}, "t": "x", "neg": "-1s", "f": 1.5, "l": [[]]}));
        let fields = Fields::new(&data);
        let refused = |result: Result<(), LogicalError>, expected: &str| {
            let text = result.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(text.starts_with("Field validation failed:") && text.ends_with(expected), "{text}");
        };
        refused(fields.text("o").map(|_| ()), "expected a string");
        refused(fields.boolean("t").map(|_| ()), "expected a boolean");
        refused(fields.integer("f").map(|_| ()), "expected an integer");
        refused(fields.count("neg").map(|_| ()), "expected an integer");
        refused(fields.seconds("neg").map(|_| ()), "expected a duration that is not negative");
        refused(fields.signed_seconds("t").map(|_| ()), "expected a duration");
        refused(fields.list("l").map(|_| ()), "expected a list of strings");
        refused(fields.integers("t").map(|_| ()), "expected a list of integers");
        refused(fields.object("t").map(|_| ()), "expected an object");
        refused(fields.text_map("t").map(|_| ()), "expected an object");
    }

    #[test]
    fn names_the_fields_it_does_not_know() {
        let data = map(json!({"a": 1, "x": 2, "y": 3}));
        assert_eq!(
            Fields::new(&data).unrecognized(&["a"]).as_deref(),
            Some("Endpoint ignored these unrecognized parameters: [x y]")
        );
        assert_eq!(Fields::new(&data).unrecognized(&["a", "x", "y"]), None);
    }
}
