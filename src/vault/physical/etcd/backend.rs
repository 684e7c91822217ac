//! [`EtcdBackend`]: the storage behind the public trait.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::answer::{Answer, Failure, KIND};
use super::client::{Client, Via};
use super::commit::{self, LIMITS};
use super::feed::{EtcdJournal, cut_short, head_in, reading};
use super::keys::Keys;
use super::proto::{
    RANGE, RangeRequest, RangeResponse, STATUS, StatusRequest, StatusResponse, TXN, TxnResponse,
};
use super::watch::KeyWatch;
use crate::vault::physical::backend::{Backend, Commit, Feed, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalFeed;
use crate::vault::physical::wire;

/// Most keys of a page of a listing; whoever asks for more gets this many and the word that more follow.
const LISTING_KEYS: usize = 10_000;

/// Storage in etcd. Clones share the connection.
#[derive(Clone)]
pub struct EtcdBackend {
    client: Arc<Client>,
    keys: Keys,
    /// The watch on the head that all feeds share, from the first one on.
    watch: Arc<OnceLock<Arc<KeyWatch>>>,
}

impl EtcdBackend {
    pub(super) fn new(client: Arc<Client>, keys: Keys) -> Self {
        Self { client, keys, watch: Arc::default() }
    }

    /// What became of a commit that was answered with "no space". A member that notices only while it applies a
    /// transaction says so *after* it has applied it; but it says so when all is over, so the head tells.
    async fn after_no_space(&self, reason: String, expected: Option<&Head>, next: &Head) -> Commit {
        match self.check().await {
            Ok(found) if found.as_ref() == Some(next) => Commit::Committed,
            Ok(found) if found.as_ref() == expected => Commit::Refused(self.full().await),
            Ok(_) | Err(_) => Commit::Unknown { reason },
        }
    }

    async fn full(&self) -> StorageError {
        let status = self.client.read(STATUS, StatusRequest {}).await;
        let status: StatusResponse = status.unwrap_or_default();
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        let used_bytes = bytes(status.db_size);
        // Before 3.6 a member does not tell its quota, which is reached.
        let limit_bytes = if status.db_size_quota > 0 { bytes(status.db_size_quota) } else { used_bytes };
        StorageError::Full { storage: KIND, used_bytes, limit_bytes }
    }
}

#[async_trait]
impl Backend for EtcdBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        let request = match commit::request(&self.keys, expected, next, ops) {
            Ok(request) => request,
            Err(error) => return Commit::Refused(error),
        };
        let failure = match self.client.write::<_, TxnResponse>(Via::Commits, TXN, &request).await {
            Ok(answer) => return commit::judge(&self.keys, expected, answer),
            Err(failure) => failure,
        };
        let reason = failure.reason();
        match failure {
            Failure::Answered { answer: Answer::Denied(_), .. } => {
                Commit::Refused(StorageError::Denied { storage: KIND, reason })
            }
            Failure::Answered { answer: Answer::TooManyOperations, .. } => {
                Commit::Refused(StorageError::TooManyOperations {
                    storage: KIND,
                    operations: request.success.len(),
                    limit: LIMITS.operations,
                })
            }
            Failure::Answered { answer: Answer::TooLarge, .. } => Commit::Refused(StorageError::TooLarge {
                storage: KIND,
                what: "a batch (this etcd takes less than its default; see --max-request-bytes)",
                bytes: prost::Message::encoded_len(&request),
                limit_bytes: LIMITS.commit_bytes,
            }),
            Failure::Answered { answer: Answer::NoSpace, .. } => {
                self.after_no_space(reason, expected, next).await
            }
            Failure::Answered { .. } | Failure::Lost { .. } | Failure::NotSent(_) => {
                Commit::Unknown { reason }
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let request = reading(&self.keys, Some(RangeRequest::of(self.keys.data(key))));
        let mut found: TxnResponse =
            self.client.read(TXN, request).await.map_err(Failure::into_storage_error)?;
        let head = head_in(&mut found)?.ok_or(StorageError::Empty { storage: KIND })?;
        let value = found.range(1).ok_or_else(|| cut_short("the value"))?;
        Ok(Value { value: value.kvs.into_iter().next().map(|kv| kv.value), head })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let limit = limit.min(LISTING_KEYS);
        let range = self.keys.listing(prefix, after, limit);
        let is_empty = range.is_none();
        let request = reading(&self.keys, range);
        let mut found: TxnResponse =
            self.client.read(TXN, request).await.map_err(Failure::into_storage_error)?;
        let head = head_in(&mut found)?.ok_or(StorageError::Empty { storage: KIND })?;
        if is_empty {
            return Ok(Listing { keys: Vec::new(), more: false, head });
        }
        let range = found.range(1).ok_or_else(|| cut_short("the keys"))?;
        let more = range.more || range.kvs.len() > limit;
        let name = |key: &[u8]| self.keys.data_name(key).map(str::to_owned);
        let keys = range.kvs.iter().take(limit).filter_map(|kv| name(&kv.key)).collect();
        Ok(Listing { keys, more, head })
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        let request = RangeRequest::of(self.keys.head());
        let found: RangeResponse =
            self.client.read(RANGE, request).await.map_err(Failure::into_storage_error)?;
        found.kvs.first().map(|kv| wire::head(&kv.value).map_err(super::answer::damaged)).transpose()
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        let start = || Arc::new(KeyWatch::start(Arc::clone(&self.client), self.keys.head()));
        let watch = Arc::clone(self.watch.get_or_init(start));
        let journal = EtcdJournal::new(Arc::clone(&self.client), self.keys.clone(), watch);
        Ok(Box::new(JournalFeed::new(Arc::new(journal), from)))
    }
}
