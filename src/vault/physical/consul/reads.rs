//! Reads: keys and listings, each with the head of the same state.

use bytes::Bytes;

use super::backend::Shared;
use super::client::{Call, damaged, denied, encoded, unavailable};
use super::config::KIND;
use super::connection::Answer;
use super::transaction::{self, Objection, Outcome, Pair, Step, refusal_of};
use crate::vault::physical::backend::{Listing, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// Rounds of a read that something changes under.
const ROUNDS: usize = 4;

/// The head with its index, by a quorum; `None` if there is none.
pub(super) async fn head(shared: &Shared) -> Result<Option<(Head, u64)>, StorageError> {
    let target = format!("/v1/kv/{}?consistent", encoded(&shared.layout.head()));
    let answer = shared.client.ask(&Call::get(target)).await?;
    head_of(shared, &answer)
}

/// The head in an answer to `GET /v1/kv/…/head`.
pub(super) fn head_of(shared: &Shared, answer: &Answer) -> Result<Option<(Head, u64)>, StorageError> {
    match (answer.status, answer.index()) {
        (200, Some(_)) => {
            let pair = transaction::pairs(&answer.body).and_then(|mut pairs| pairs.pop());
            let pair = pair.ok_or_else(|| unavailable(format!("the head came as {}", answer.text())))?;
            noted(shared, &pair).map(|head| Some((head, pair.index)))
        }
        (404, Some(index)) => {
            shared.observe(None, index);
            Ok(None)
        }
        _ => Err(refusal_of(answer)),
    }
}

/// The head in the first result of a transaction that read it first.
pub(super) fn first_head(shared: &Shared, pairs: &[Pair]) -> Result<Head, StorageError> {
    match pairs.iter().find(|pair| pair.key == shared.layout.head()) {
        Some(pair) => noted(shared, pair),
        // Consul leaves out of its answers what the token may not read.
        None => {
            shared.client.forget_token();
            Err(denied(format!("{} may not be read with this token", shared.layout.head())))
        }
    }
}

fn noted(shared: &Shared, pair: &Pair) -> Result<Head, StorageError> {
    let head = wire::head(&pair.value).map_err(damaged)?;
    shared.observe(Some(head.clone()), pair.index);
    Ok(head)
}

/// Whether objections to a transaction that read the head first say that there is none.
pub(super) fn is_empty(objections: &[Objection]) -> bool {
    objections.iter().any(|objection| objection.step == 0 && objection.is_absence())
}

fn empty() -> StorageError {
    StorageError::Empty { storage: KIND }
}

/// Reads one key.
pub(super) async fn get(shared: &Shared, key: &str) -> Result<Value, StorageError> {
    let (head_key, key) = (shared.layout.head(), format!("{}{key}", shared.layout.data()));
    // A transaction that reads an absent key fails as a whole: then one that wants it to be absent brings the head.
    for _ in 0..ROUNDS {
        let present = [Step::get(head_key.clone()), Step::get(key.clone())];
        match transaction::read(&shared.client, &present).await? {
            Outcome::Done(pairs) => {
                let head = first_head(shared, &pairs)?;
                let found = pairs.into_iter().find(|pair| pair.key == key);
                let found =
                    found.ok_or_else(|| denied("a key may not be read with this token".to_owned()))?;
                return Ok(Value { value: Some(found.value), head });
            }
            Outcome::Failed(objections) if is_empty(&objections) => return Err(empty()),
            Outcome::Failed(_) => {}
        }
        let absent = [Step::get(head_key.clone()), Step::absent(key.clone())];
        match transaction::read(&shared.client, &absent).await? {
            Outcome::Done(pairs) => return Ok(Value { value: None, head: first_head(shared, &pairs)? }),
            Outcome::Failed(objections) if is_empty(&objections) => return Err(empty()),
            Outcome::Failed(_) => {}
        }
    }
    Err(unavailable("a key came and went in every round of its reading".to_owned()))
}

/// Lists keys that start with `prefix` and are greater than `after`, at most `limit`.
///
/// A listing has no place in a transaction: the head is read before and after it, and if it was the same one, it was
/// the head of the listing as well, for no head ever comes back. After some rounds the values are read with the keys.
pub(super) async fn list(
    shared: &Shared,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Listing, StorageError> {
    let data = shared.layout.data();
    let full = format!("{data}{prefix}");
    let target = format!("/v1/kv/{}?keys&consistent", encoded(plain(&full)));
    let mut before = match shared.known().and_then(|known| known.head) {
        Some(head) => head,
        None => head(shared).await?.ok_or_else(empty)?.0,
    };
    for _ in 0..ROUNDS {
        let keys = keys(&shared.client.read(&Call::get(target.clone())).await?)?;
        let now = head(shared).await?.ok_or_else(empty)?.0;
        if now == before {
            return Ok(page(keys, &data, prefix, after, limit, now));
        }
        before = now;
    }
    let steps = [Step::get(shared.layout.head()), Step::get_tree(full.clone())];
    match transaction::read(&shared.client, &steps).await? {
        Outcome::Done(pairs) => {
            let head = first_head(shared, &pairs)?;
            let keys = pairs.into_iter().map(|pair| pair.key).collect();
            Ok(page(keys, &data, prefix, after, limit, head))
        }
        Outcome::Failed(objections) if is_empty(&objections) => Err(empty()),
        Outcome::Failed(objections) => Err(unavailable(transaction::listed(&objections))),
    }
}

/// The keys in an answer to `GET /v1/kv/…?keys`; none is no error.
pub(super) fn keys(answer: &Answer) -> Result<Vec<String>, StorageError> {
    match (answer.status, answer.index()) {
        (200, Some(_)) => serde_json::from_slice(&answer.body)
            .map_err(|error| unavailable(format!("a listing of keys cannot be read: {error}"))),
        (404, Some(_)) => Ok(Vec::new()),
        _ => Err(refusal_of(answer)),
    }
}

/// One page out of full keys in any order.
fn page(
    keys: Vec<String>,
    data: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    head: Head,
) -> Listing {
    let wanted = |key: &String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
    let stripped = keys.iter().filter_map(|key| key.strip_prefix(data)).map(str::to_owned);
    let mut keys: Vec<String> = stripped.filter(wanted).collect();
    keys.sort_unstable();
    let more = keys.len() > limit;
    keys.truncate(limit);
    Listing { keys, more, head }
}

/// The longest part of a prefix that a path of a URL can carry: agents redirect from one with empty segments or dots.
fn plain(prefix: &str) -> &str {
    let mut start = 0;
    for segment in prefix.split_inclusive('/') {
        let name = segment.trim_end_matches('/');
        // An empty end after the last slash is no segment.
        if matches!(name, "" | "." | "..") {
            return &prefix[..start];
        }
        start += segment.len();
    }
    prefix
}

/// The value of a key that was read, as bytes.
pub(super) fn value_of(pairs: &[Pair], key: &str) -> Option<Bytes> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cut_before_what_a_url_cannot_carry() {
        for (prefix, cut) in [
            ("vault/data/", "vault/data/"),
            ("vault/data/a", "vault/data/a"),
            ("vault/data/a//b", "vault/data/a/"),
            ("vault/data/a/../b", "vault/data/a/"),
            ("vault/data/a/./", "vault/data/a/"),
            ("vault/data/..", "vault/data/"),
            ("vault/data/.", "vault/data/"),
            ("vault/data/...", "vault/data/..."),
            ("vault/data//", "vault/data/"),
        ] {
            assert_eq!(plain(prefix), cut, "{prefix}");
        }
    }

    #[test]
    fn what_a_url_keeps_for_itself_is_encoded() {
        assert_eq!(encoded("a/b c?d#e%\u{fc}+"), "a/b%20c%3Fd%23e%25%C3%BC%2B");
    }
}
