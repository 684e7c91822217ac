//! Test doubles of the two views, for the tests of engines.

mod sentences;

pub(crate) use sentences::untried;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::error::LogicalError;
use super::request::{Operation, Request};
use super::view::{SecretValue, StorageView, SystemView};
use crate::base::clock::UnixMillis;
use crate::base::random::{Random, SeededRandom};

/// A storage view over a map.
#[derive(Default)]
pub(crate) struct MemoryView(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryView {
    /// Puts `value` at `key`.
    pub(crate) fn insert(&self, key: &str, value: &[u8]) {
        self.0.lock().unwrap().insert(key.to_owned(), value.to_vec());
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

#[async_trait]
impl StorageView for MemoryView {
    async fn get(&self, key: &str) -> Result<Option<SecretValue>, LogicalError> {
        Ok(self.0.lock().unwrap().get(key).cloned().map(SecretValue::new))
    }

    async fn contains(&self, key: &str) -> Result<bool, LogicalError> {
        Ok(self.0.lock().unwrap().contains_key(key))
    }

    async fn put(&self, key: &str, value: SecretValue) -> Result<(), LogicalError> {
        self.insert(key, value.expose());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), LogicalError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LogicalError> {
        let map = self.0.lock().unwrap();
        let mut names: Vec<String> = Vec::new();
        for key in map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(key, _)| key) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let name = rest.find('/').map_or(rest, |at| &rest[..=at]);
            if after.is_none_or(|after| name > after) && names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
            if names.len() == limit {
                break;
            }
        }
        Ok(names)
    }

    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<String>, LogicalError> {
        Ok(self.keys().into_iter().filter(|key| key.starts_with(prefix)).take(limit).collect())
    }
}

/// A system view whose time is set by the test.
pub(crate) struct ManualSystem {
    time: Mutex<UnixMillis>,
    random: SeededRandom,
}

impl Default for ManualSystem {
    fn default() -> Self {
        Self { time: Mutex::new(UnixMillis(1_700_000_000_000)), random: SeededRandom::new(1) }
    }
}

impl ManualSystem {
    /// Lets `seconds` pass.
    pub(crate) fn advance(&self, seconds: u64) {
        let mut time = self.time.lock().unwrap();
        *time = time.plus_seconds(seconds);
    }
}

impl SystemView for ManualSystem {
    fn time(&self) -> UnixMillis {
        *self.time.lock().unwrap()
    }

    fn default_lease_ttl_seconds(&self) -> u64 {
        2_764_800
    }

    fn max_lease_ttl_seconds(&self) -> u64 {
        2_764_800
    }

    fn random(&self) -> &dyn Random {
        &self.random
    }
}

/// A request of `operation` at `path` with the members of the object `data` as input.
pub(crate) fn request(operation: Operation, path: &str, data: Value) -> Request {
    Request {
        id: "00000000-0000-4000-8000-000000000000".to_owned(),
        operation,
        path: path.to_owned(),
        mount_path: "secret/".to_owned(),
        mount_accessor: "kv_00000000".to_owned(),
        mount_options: BTreeMap::new(),
        data: data.as_object().cloned().unwrap_or_default(),
        principal: super::request::Principal::default(),
        client_token: "".into(),
        remote: None,
        wrap_ttl_seconds: None,
    }
}

/// The texts of all `#[error("…")]` in the source of an error type, with `{…}` where a value is filled in.
pub(crate) fn error_texts(source: &str) -> Vec<String> {
    source.split("#[error(").skip(1).filter_map(|rest| literal(rest.trim_start())).collect()
}

/// The string literal at the start of `source`.
fn literal(source: &str) -> Option<String> {
    let mut chars = source.strip_prefix('"')?.chars().peekable();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// Whether `text` can be what [`error_texts`] gave with its values filled in.
pub(crate) fn is_instance(text: &str, pattern: &str) -> bool {
    let mut fixed = pattern.split('{').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once('}').map_or(part, |(_, fixed)| fixed),
    });
    let Some(mut rest) = text.strip_prefix(fixed.next().unwrap_or_default()) else { return false };
    for part in fixed {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[test]
fn error_texts_are_found_and_recognised() {
    let source =
        "#[error(\"plain\")] A, #[error(\n \"at \\\n   {0:?}: \\\"x\\\"\")] B, #[error(transparent)] C";
    assert_eq!(error_texts(source), ["plain", "at {0:?}: \"x\""]);
    assert!(
        is_instance("at \"k\": \"x\"", "at {0:?}: \"x\"") && !is_instance("on k: \"x\"", "at {0:?}: \"x\"")
    );
}
