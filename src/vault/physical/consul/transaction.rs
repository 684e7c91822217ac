//! Transactions of `PUT /v1/txn`: how they are written, and what their answers say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::client::{Call, Client, denied, unavailable};
use super::connection::Answer;
use crate::vault::physical::backend::StorageError;

/// Most operations of a transaction: what Consul before 1.13 takes (128 since then).
pub(super) const OPERATIONS: usize = 64;
/// Most bytes of a transaction's body, and of a value: `limits.txn_max_req_len` and `limits.kv_max_value_size`.
pub(super) const BODY_BYTES: usize = 512 << 10;

const WRITE: &str = "/v1/txn";
const READ: &str = "/v1/txn?consistent";

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    #[serde(rename = "KV")]
    kv: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Operation {
    verb: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

impl Step {
    fn new(verb: &'static str, key: String) -> Self {
        Self { kv: Operation { verb, key, value: None, index: None } }
    }

    /// Reads a key; the whole transaction fails if it is absent.
    pub(super) fn get(key: String) -> Self {
        Self::new("get", key)
    }

    /// Reads a key, and bears a value for nothing but its weight.
    pub(super) fn get_bearing(key: String, value: &[u8]) -> Self {
        let mut step = Self::set(key, value);
        step.kv.verb = "get";
        step
    }

    /// Reads every key that begins with `prefix`.
    pub(super) fn get_tree(prefix: String) -> Self {
        Self::new("get-tree", prefix)
    }

    /// The whole transaction fails if the key is there.
    pub(super) fn absent(key: String) -> Self {
        Self::new("check-not-exists", key)
    }

    pub(super) fn set(key: String, value: &[u8]) -> Self {
        let mut step = Self::new("set", key);
        step.kv.value = Some(BASE64.encode(value));
        step
    }

    /// Stores a value if the key was last changed at `index`; with zero: if it is absent.
    pub(super) fn swap(key: String, value: &[u8], index: u64) -> Self {
        let mut step = Self::set(key, value);
        step.kv.verb = "cas";
        step.kv.index = Some(index);
        step
    }

    pub(super) fn delete(key: String) -> Self {
        Self::new("delete", key)
    }
}

/// The body of a transaction.
pub(super) fn body(steps: &[Step]) -> Bytes {
    // Texts and numbers always have a JSON form.
    Bytes::from(serde_json::to_vec(steps).unwrap_or_default())
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Bytes,
    /// The index of the key's last change.
    pub(super) index: u64,
}

/// A key as Consul writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawPair {
    key: String,
    #[serde(default)]
    value: Option<String>,
    modify_index: u64,
}

#[derive(Debug, Deserialize)]
struct RawResult {
    #[serde(rename = "KV")]
    kv: Option<RawPair>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawOutcome {
    #[serde(default)]
    results: Option<Vec<RawResult>>,
    #[serde(default)]
    errors: Option<Vec<Objection>>,
}

/// Why a transaction was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Objection {
    /// The operation, counted from zero.
    #[serde(rename = "OpIndex")]
    pub(super) step: usize,
    pub(super) what: String,
}

impl Objection {
    /// The key is not there.
    pub(super) fn is_absence(&self) -> bool {
        self.what.ends_with("doesn't exist")
    }

    /// The key is there.
    pub(super) fn is_presence(&self) -> bool {
        self.what.ends_with("exists")
    }

    /// The key was changed at another index.
    pub(super) fn is_stale(&self) -> bool {
        self.what.ends_with("index is stale")
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was carried out. What was read, in order; of what was written, keys and indexes.
    Done(Vec<Pair>),
    /// It certainly was not carried out.
    Failed(Vec<Objection>),
}

impl Outcome {
    /// Reads an answer; `None` if it is not certain what it says.
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        if !matches!(answer.status, 200 | 409) {
            return None;
        }
        let raw: RawOutcome = serde_json::from_slice(&answer.body).ok()?;
        match (answer.status, raw.results, raw.errors.filter(|errors| !errors.is_empty())) {
            (200, Some(results), None) => {
                let pairs = results.into_iter().filter_map(|result| result.kv).map(pair);
                pairs.collect::<Option<Vec<_>>>().map(Self::Done)
            }
            (409, _, Some(errors)) => Some(Self::Failed(errors)),
            _ => None,
        }
    }
}

fn pair(raw: RawPair) -> Option<Pair> {
    let value = BASE64.decode(raw.value.unwrap_or_default()).ok()?;
    Some(Pair { key: raw.key, value: Bytes::from(value), index: raw.modify_index })
}

/// The keys in an answer to `GET /v1/kv/…`.
pub(super) fn pairs(body: &[u8]) -> Option<Vec<Pair>> {
    let raw: Vec<RawPair> = serde_json::from_slice(body).ok()?;
    raw.into_iter().map(pair).collect()
}

/// Whether what was read before is known from this: the text of `objections`.
pub(super) fn listed(objections: &[Objection]) -> String {
    let texts: Vec<_> = objections.iter().take(3).map(|objection| objection.what.as_str()).collect();
    texts.join("; ")
}

/// Runs a transaction that reads, at the leader and after it has made sure that it still leads.
pub(super) async fn read(client: &Client, steps: &[Step]) -> Result<Outcome, StorageError> {
    let answer = client.read(&reading(body(steps))).await?;
    match Outcome::read(&answer) {
        Some(Outcome::Failed(objections))
            if !objections.iter().all(|objection| objection.is_absence() || objection.is_presence()) =>
        {
            Err(refusal(listed(&objections)))
        }
        Some(outcome) => Ok(outcome),
        None => Err(refusal_of(&answer)),
    }
}

/// What an answer means that is not what was asked for.
pub(super) fn refusal_of(answer: &Answer) -> StorageError {
    match answer.status {
        401 | 403 => denied(answer.text()),
        _ => refusal(answer.text()),
    }
}

fn refusal(reason: String) -> StorageError {
    if reason.contains("ermission denied") { denied(reason) } else { unavailable(reason) }
}

/// The call that carries out a transaction that reads.
pub(super) fn reading(body: Bytes) -> Call {
    Call::put(READ, body)
}

/// The call that carries out a transaction that writes.
pub(super) fn writing(body: Bytes) -> Call {
    Call::put(WRITE, body)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn outcome(status: u16, body: &str) -> Option<Outcome> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Outcome::read(&Answer { status, headers: HeaderMap::new(), body })
    }

    #[test]
    fn a_transaction_is_written_as_consul_reads_it() {
        let steps = [
            Step::swap("v/head".to_owned(), b"h1", 7),
            Step::set("v/\"ü".to_owned(), b""),
            Step::delete("v/x".to_owned()),
        ];
        let text = String::from_utf8(body(&steps).to_vec()).unwrap();
        assert_eq!(
            text,
            r#"[{"KV":{"Verb":"cas","Key":"v/head","Value":"aDE=","Index":7}},{"KV":{"Verb":"set","Key":"v/\"ü","Value":""}},{"KV":{"Verb":"delete","Key":"v/x"}}]"#
        );
    }

    #[test]
    fn only_what_is_certain_is_an_outcome() {
        let done = r#"{"Results":[{"KV":{"LockIndex":0,"Key":"v/head","Flags":0,"Value":"aDE=","CreateIndex":8,"ModifyIndex":9}}],"Errors":null}"#;
        let pair = Pair { key: "v/head".to_owned(), value: Bytes::from_static(b"h1"), index: 9 };
        assert_eq!(outcome(200, done), Some(Outcome::Done(vec![pair])));
        let failed = r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"failed to set key \"v/head\", index is stale"},{"OpIndex":0,"What":"key \"v/m\" doesn't exist"}]}"#;
        let Some(Outcome::Failed(objections)) = outcome(409, failed) else { panic!("not read") };
        assert!(objections[0].is_stale() && objections[0].step == 1 && !objections[0].is_absence());
        assert!(objections[1].is_absence() && !objections[1].is_presence());
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (200, r#"{"Results":null,"Errors":null}"#),
            (200, failed),
            (409, done),
            (409, "conflict"),
            (409, r#"{"Results":null,"Errors":[]}"#),
            (500, done),
            (500, "leadership lost while committing log"),
            (500, "No cluster leader"),
            (403, "Permission denied"),
            (429, ""),
        ] {
            assert_eq!(outcome(status, body), None, "{status} {body}");
        }
    }
}
