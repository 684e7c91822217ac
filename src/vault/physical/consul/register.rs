//! [`ConsulRegister`]: a key as a compare-and-swap register.
//!
//! No session of Consul takes part: the lease algorithm above needs nothing but compare-and-swap and a watch, and
//! decides itself when a holder has been silent for too long.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::client::{Call, Client, encoded};
use super::config::{KIND, LOCK, Layout};
use super::feed::{WAIT, WAIT_PATIENCE};
use super::transaction::{self, Outcome, Pair, Step, refusal_of, writing};
use crate::base::id;
use crate::base::random::{Random, SystemRandom};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    HaBackend, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};
use crate::vault::physical::wire;

/// The lock in a key of Consul. Clones share the connections.
#[derive(Clone)]
pub struct ConsulRegister {
    client: Arc<Client>,
    layout: Layout,
}

/// What is stored. A `cas` that stores the value that is there already succeeds without a new index, so that a second
/// one with the same index would succeed as well: no two writes are alike.
#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    record: &'a LockRecord,
    nonce: String,
}

impl ConsulRegister {
    pub(super) fn new(client: Arc<Client>, layout: Layout) -> Self {
        Self { client, layout }
    }

    /// Reads the key with `query` behind the path; `None` if it is absent. Also the index to wait from.
    async fn look(&self, call: &Call) -> Result<(Option<Versioned>, u64), RegisterError> {
        let answer = self.client.ask(call).await.map_err(|error| self.refine(error))?;
        match (answer.status, answer.index()) {
            (404, Some(index)) => Ok((None, index)),
            (200, Some(_)) => {
                let pair = transaction::pairs(&answer.body).and_then(|mut pairs| pairs.pop());
                let pair = pair.ok_or_else(|| self.unavailable(answer.text()))?;
                let index = pair.index;
                Ok((Some(self.versioned(&pair)?), index))
            }
            _ => Err(self.refine(refusal_of(&answer))),
        }
    }

    fn call(&self, query: &str) -> Call {
        Call::get(format!("/v1/kv/{}?consistent{query}", encoded(&self.layout.lock())))
    }

    fn versioned(&self, pair: &Pair) -> Result<Versioned, RegisterError> {
        let record = wire::lock(&pair.value).map_err(|reason| self.unavailable(reason))?;
        Ok(Versioned { version: Version(pair.index.to_string()), record })
    }

    fn refine(&self, error: StorageError) -> RegisterError {
        match error {
            StorageError::Denied { reason, .. } => {
                RegisterError::Denied { lock: self.name().to_string(), reason }
            }
            StorageError::Unavailable { reason, .. } => self.unavailable(reason),
            other => self.unavailable(other.to_string()),
        }
    }

    fn unavailable(&self, reason: String) -> RegisterError {
        RegisterError::Unavailable { lock: self.name().to_string(), reason }
    }

    fn content(record: &LockRecord) -> Bytes {
        let mut nonce = [0; 8];
        SystemRandom.fill(&mut nonce);
        let content = Content { record, nonce: id::hex(&nonce) };
        // A struct of texts and numbers always has a JSON form.
        Bytes::from(serde_json::to_vec(&content).unwrap_or_default())
    }
}

#[async_trait]
impl HaBackend for ConsulRegister {
    fn name(&self) -> LockName {
        let namespace = self.layout.path.trim_end_matches('/').to_owned();
        LockName { kind: KIND.to_owned(), namespace, name: LOCK.to_owned() }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        Ok(self.look(&self.call("")).await?.0)
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let index = match expected.map(|version| version.0.parse::<u64>()) {
            None => 0,
            // Zero would create the key.
            Some(Ok(index)) if index > 0 => index,
            Some(_) => return Swap::Conflict,
        };
        let key = self.layout.lock();
        let steps = [Step::swap(key.clone(), &Self::content(next), index)];
        let answer = match self.client.write(&writing(transaction::body(&steps))).await {
            Ok(answer) => answer,
            Err(reason) => return Swap::Unknown { reason },
        };
        match Outcome::read(&answer) {
            Some(Outcome::Done(pairs)) => match pairs.into_iter().find(|pair| pair.key == key) {
                Some(pair) => Swap::Swapped(Version(pair.index.to_string())),
                None => Swap::Unknown { reason: "the answer does not name the key".to_owned() },
            },
            Some(Outcome::Failed(objections)) if objections.iter().all(|said| said.is_stale()) => {
                Swap::Conflict
            }
            Some(Outcome::Failed(objections)) => Swap::Unknown { reason: transaction::listed(&objections) },
            None => Swap::Unknown { reason: answer.text() },
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        Ok(Box::new(ConsulWatch { register: self.clone(), seen: None, index: 0 }))
    }
}

/// Watches the key by blocking queries of a second each.
struct ConsulWatch {
    register: ConsulRegister,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
    /// The index to wait from; zero: answer at once.
    index: u64,
}

#[async_trait]
impl RegisterWatch for ConsulWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            let mut call = match self.index {
                0 => self.register.call(""),
                index => self.register.call(&format!("&index={index}&wait={}ms", WAIT.as_millis())),
            };
            if self.index > 0 {
                call.patience = WAIT_PATIENCE;
            }
            let (found, index) = match self.register.look(&call).await {
                Ok(found) => found,
                Err(error) => {
                    // Whatever happened meanwhile is to be told at once when Consul can be reached again.
                    self.index = 0;
                    return Err(error);
                }
            };
            // An index that has gone back belongs to a restored store: wait from where that one stands.
            self.index = index.max(1);
            if self.seen.as_ref() != Some(&found) {
                self.seen = Some(found.clone());
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writes_of_the_same_record_are_alike() {
        let record = LockRecord { holder: "h".to_owned(), renewals: 3, ..LockRecord::default() };
        let (one, two) = (ConsulRegister::content(&record), ConsulRegister::content(&record));
        assert_ne!(one, two);
        assert_eq!(wire::lock(&one), Ok(record.clone()));
        assert_eq!(wire::lock(&two), Ok(record));
    }
}
