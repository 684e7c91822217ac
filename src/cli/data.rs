//! Data on the command line: `key=value`, `key=@file`, `key=-`, `@file.json` and `-`.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::prompt;

/// The object that the arguments describe; a key given twice makes a list.
pub(super) fn object(arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    object_with(arguments, &mut prompt::input)
}

/// The same, with the standard input as an argument.
pub(super) fn object_with(
    arguments: &[String],
    input: &mut dyn FnMut() -> Result<String, Failure>,
) -> Result<Map<String, Value>, Failure> {
    let mut object = Map::new();
    for argument in arguments {
        if argument == "-" {
            object.extend(json(&input()?, "the standard input")?);
        } else if let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.is_empty()) {
            let text = match value.strip_prefix('@') {
                Some(file) => read(file)?,
                None if value == "-" => input()?,
                None => value.strip_prefix("\\@").map_or_else(|| value.to_owned(), |rest| format!("@{rest}")),
            };
            add(&mut object, key, Value::String(text));
        } else if let Some(file) = argument.strip_prefix('@') {
            object.extend(json(&read(file)?, file)?);
        } else {
            return Err(Failure::local(format!("{argument:?} is not key=value, @file or -")));
        }
    }
    Ok(object)
}

fn add(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key) {
        None => drop(object.insert(key.to_owned(), value)),
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::local(format!("file {file}: {e}")))
}

fn json(text: &str, name: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|e| Failure::local(format!("{name} is not a JSON object: {e}")))
}
