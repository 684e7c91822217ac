//! What an agent takes, measured: what it says of itself needs a right of its own, and one limit makes up for another.

use bytes::Bytes;

use super::client::Call;
use super::config::Layout;
use super::connection::Answer;
use super::transaction::{self, BODY_BYTES, Outcome, Step, reading};
use crate::vault::physical::unusable::Unusable;

/// Tries while the connection breaks: an agent answers before it has read a body that is too large, and closes, so that
/// the answer may be lost.
pub(super) const TRIES: usize = 3;

/// Bytes of the value that is tried. In base64, three bytes are four letters; a commit's largest value leaves as much room
/// for heads and keys.
const VALUE_BYTES: usize = (BODY_BYTES - (1 << 10)) / 4 * 3;

/// A transaction that only reads, and so passes through no log, as large as the largest commit and with a value as large as
/// the largest one.
pub(super) fn largest(layout: &Layout) -> Call {
    let mut largest = transaction::body(&[Step::get_bearing(layout.head(), &[0; VALUE_BYTES])]).to_vec();
    // White space is part of a body, and of nothing else.
    largest.resize(BODY_BYTES, b' ');
    reading(Bytes::from(largest))
}

/// Judges the answer; the reason if it says nothing about limits.
pub(super) fn judge(address: &str, answer: &Answer) -> Result<Option<String>, Unusable> {
    match answer.status {
        413 => {
            let (said, most) = (answer.text(), BODY_BYTES);
            let reason = format!(
                "{address} does not take a commit of {most} bytes: {said}; set limits.txn_max_req_len and limits.kv_max_value_size of every agent to {most} or more, or leave them out"
            );
            Err(Unusable::Setting { key: "address", reason })
        }
        _ if Outcome::read(answer).is_some() => Ok(None),
        _ => Ok(Some(format!("{address}: {}", answer.text()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_is_as_large_as_anything_that_is_sent() {
        for path in ["v/".to_owned(), format!("{}/", "\"".repeat(255))] {
            let call = largest(&Layout { path });
            assert_eq!(call.body.len(), BODY_BYTES);
            let steps: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
            assert_eq!(steps.as_array().map(Vec::len), Some(1));
            assert_eq!(
                (&steps[0]["KV"]["Verb"], call.target.as_str()),
                (&"get".into(), "/v1/txn?consistent")
            );
        }
    }
}
