//! Percent-encoding, query strings and forms.

use serde_json::{Map, Value};

/// Decodes a path; `+` stays as it is. `None` if the result is not UTF-8.
pub(super) fn decode_path(raw: &str) -> Option<String> {
    decode(raw, false)
}

fn decode(raw: &str, is_form: bool) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).ok()?);
                at += 3;
            }
            (b'%', ..) => return None,
            (b'+', ..) if is_form => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// Reads a truth value as Go does.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A query string or form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// `None` if something in it is not encoded rightly.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name, true)?, decode(value, true)?))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Takes all values of `name` out and returns the first.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let first = self.get(name).map(str::to_owned);
        self.0.retain(|(key, _)| key != name);
        first
    }

    /// As input of a request: one value is a string, several are a list.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in self.0 {
            match fields.get_mut(&name) {
                None => drop(fields.insert(name, Value::String(value))),
                Some(Value::Array(values)) => values.push(Value::String(value)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_keep_what_is_not_encoded() {
        assert_eq!(decode_path("secret/http:%2F%2Fx+y%20z").as_deref(), Some("secret/http://x+y z"));
        assert_eq!(decode_path("secret//a").as_deref(), Some("secret//a"));
        assert_eq!(decode_path("%C3%A4").as_deref(), Some("ä"));
        assert_eq!(decode_path("%ff"), None);
        assert_eq!(decode_path("%zz"), None);
        assert_eq!(decode_path("100%"), None);
    }

    #[test]
    fn repeated_values_are_a_list() {
        let query = Query::parse("a=1&b=x+y&a=2&a=3&flag").unwrap();
        assert_eq!(Value::Object(query.into_fields()), json!({"a": ["1", "2", "3"], "b": "x y", "flag": ""}));
    }

    #[test]
    fn taking_a_value_removes_all_of_its_name() {
        let mut query = Query::parse("list=true&x=1&list=0").unwrap();
        assert_eq!(query.take("list").as_deref(), Some("true"));
        assert_eq!(query.get("list"), None);
        assert_eq!(query.get("x"), Some("1"));
    }
}
