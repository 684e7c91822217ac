//! [`EtcdRegister`]: the lock in one key, compared by the revision of its last change.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::answer::{Failure, KIND};
use super::client::{Client, Via};
use super::keys::Keys;
use super::proto::{Compare, RANGE, RangeRequest, RangeResponse, RequestOp, TXN, TxnRequest, TxnResponse};
use super::watch::{KeyWatch, POLL};
use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    HaBackend, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};
use crate::vault::physical::wire;

/// The lock in etcd. Clones share the connection.
#[derive(Clone)]
pub struct EtcdRegister {
    client: Arc<Client>,
    keys: Keys,
}

impl EtcdRegister {
    pub(super) fn new(client: Arc<Client>, keys: Keys) -> Self {
        Self { client, keys }
    }

    fn refine(&self, failure: &Failure) -> RegisterError {
        let (lock, reason) = (self.name().to_string(), failure.reason());
        if failure.is_denial() {
            RegisterError::Denied { lock, reason }
        } else {
            RegisterError::Unavailable { lock, reason }
        }
    }
}

#[async_trait]
impl HaBackend for EtcdRegister {
    fn name(&self) -> LockName {
        LockName { kind: KIND.to_owned(), namespace: self.keys.path().to_owned(), name: "lock".to_owned() }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        let request = RangeRequest::of(self.keys.lock());
        let found: RangeResponse =
            self.client.read(RANGE, request).await.map_err(|failure| self.refine(&failure))?;
        let Some(kv) = found.kvs.first() else { return Ok(None) };
        let record = wire::lock(&kv.value)
            .map_err(|reason| RegisterError::Unavailable { lock: self.name().to_string(), reason })?;
        Ok(Some(Versioned { version: Version(kv.mod_revision.to_string()), record }))
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let key = self.keys.lock();
        let compare = match expected.map(|version| version.0.parse::<i64>()) {
            None => Compare::absent(key.clone(), Bytes::new()),
            Some(Ok(revision)) if revision > 0 => Compare::changed_at(key.clone(), revision),
            // No version of this lock looks like that. (0 would mean that it is absent.)
            Some(_) => return Swap::Conflict,
        };
        let success = vec![RequestOp::put(key, Bytes::from(wire::lock_bytes(next)))];
        let request = TxnRequest { compare: vec![compare], success, failure: Vec::new() };
        match self.client.write::<_, TxnResponse>(Via::Shared, TXN, &request).await {
            Ok(answer) if !answer.succeeded => Swap::Conflict,
            Ok(answer) => match answer.header {
                Some(header) if header.revision > 0 => Swap::Swapped(Version(header.revision.to_string())),
                _ => Swap::Unknown { reason: "the answer lacks a revision".to_owned() },
            },
            Err(failure) => Swap::Unknown { reason: failure.reason() },
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        let watch = KeyWatch::start(Arc::clone(&self.client), self.keys.lock());
        let moved = watch.subscribe();
        Ok(Box::new(LockWatch { register: self.clone(), moved, _watch: watch, seen: None }))
    }
}

/// Reads the lock whenever it may have changed, and every second.
struct LockWatch {
    register: EtcdRegister,
    moved: watch::Receiver<()>,
    _watch: KeyWatch,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
}

#[async_trait]
impl RegisterWatch for LockWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            self.moved.mark_unchanged();
            let found = self.register.read().await?;
            if self.seen.as_ref() != Some(&found) {
                self.seen = Some(found.clone());
                return Ok(found);
            }
            // The watch lives as long as this: an error cannot happen.
            let _ = tokio::time::timeout(POLL, self.moved.changed()).await;
        }
    }
}
