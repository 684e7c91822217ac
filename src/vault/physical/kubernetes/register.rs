//! [`LeaseRegister`]: a Lease as a compare-and-swap register.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Error;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};

use super::client::describe;
use crate::base::clock::Clock;
use crate::k8s::client::{Clients, TIMEOUT};
use crate::k8s::lease::{LeaseActive, LeaseHandover, LeaseRecord};
use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    ActiveRecord, HaBackend, HandoverWish, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};

/// How often the Lease is read when its watch says nothing.
const POLL: Duration = Duration::from_secs(1);
/// How long the API server keeps a watch before it asks for a new one, in seconds.
const WATCH_SECONDS: u32 = 290;

/// The lock in a Lease of `coordination.k8s.io/v1`, usable with any storage. Clones share the connection.
#[derive(Clone)]
pub struct LeaseRegister {
    requests: Api<Lease>,
    watches: Api<Lease>,
    namespace: String,
    name: String,
    clock: Arc<dyn Clock>,
}

impl LeaseRegister {
    /// The Lease `name` in `namespace`. It need not exist: the first swap creates it, if the account may. `clock` fills in the
    /// times that people read.
    pub fn new(clients: &Clients, namespace: &str, name: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            requests: Api::namespaced(clients.requests.clone(), namespace),
            watches: Api::namespaced(clients.watches.clone(), namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            clock,
        }
    }

    async fn lease(&self) -> Result<Option<Lease>, RegisterError> {
        let sent = self.requests.get_opt(&self.name);
        match tokio::time::timeout(TIMEOUT, sent).await {
            Err(_) => {
                Err(self.unavailable(format!("no answer from the API server within {} s", TIMEOUT.as_secs())))
            }
            Ok(result) => result.map_err(|error| self.refine(&error)),
        }
    }

    fn refine(&self, error: &Error) -> RegisterError {
        match error {
            Error::Api(status) if matches!(status.code, 401 | 403) => {
                RegisterError::Denied { lock: self.name().to_string(), reason: status.message.clone() }
            }
            other => self.unavailable(describe(other)),
        }
    }

    fn unavailable(&self, reason: String) -> RegisterError {
        RegisterError::Unavailable { lock: self.name().to_string(), reason }
    }
}

#[async_trait]
impl HaBackend for LeaseRegister {
    fn name(&self) -> LockName {
        LockName { kind: "kubernetes".to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        Ok(self.lease().await?.as_ref().and_then(versioned))
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        // The object as it is now, for the fields that the record does not cover; the version decides as ever.
        let found = match self.lease().await {
            Ok(found) => found,
            // Nothing was sent that writes.
            Err(error) => return Swap::Unknown { reason: error.to_string() },
        };
        let current = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone()).map(Version);
        if current.as_ref() != expected {
            return Swap::Conflict;
        }
        let is_new = found.is_none();
        let mut lease = found.unwrap_or_default();
        lease.metadata.name = Some(self.name.clone());
        lease.metadata.managed_fields = None;
        to_words(next).write(&mut lease, self.clock.unix());
        let params = PostParams::default();
        let sent = async {
            if is_new {
                self.requests.create(&params, &lease).await
            } else {
                self.requests.replace(&self.name, &params, &lease).await
            }
        };
        match tokio::time::timeout(TIMEOUT, sent).await {
            Err(_) => Swap::Unknown { reason: format!("no answer within {} s", TIMEOUT.as_secs()) },
            Ok(Ok(lease)) => match versioned(&lease) {
                Some(stored) => Swap::Swapped(stored.version),
                None => Swap::Unknown { reason: "the Lease came back without version".to_owned() },
            },
            Ok(Err(Error::Api(status))) if matches!(status.code, 404 | 409) => Swap::Conflict,
            Ok(Err(error)) => Swap::Unknown { reason: describe(&error) },
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        Ok(Box::new(LeaseWatch { register: self.clone(), events: None, seen: None, must_read: true }))
    }
}

/// Watches a Lease, and reads it every second when the watch says nothing.
struct LeaseWatch {
    register: LeaseRegister,
    events: Option<BoxStream<'static, Result<WatchEvent<Lease>, Error>>>,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
    /// Whether the Lease must be read before the watch is listened to.
    must_read: bool,
}

impl LeaseWatch {
    fn is_news(&mut self, found: &Option<Versioned>) -> bool {
        let is_news = self.seen.as_ref() != Some(found);
        if is_news {
            self.seen = Some(found.clone());
        }
        is_news
    }
}

#[async_trait]
impl RegisterWatch for LeaseWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            if self.must_read {
                let found = self.register.read().await?;
                self.must_read = false;
                if self.is_news(&found) {
                    return Ok(found);
                }
            }
            if self.events.is_none() {
                let version = self.seen.as_ref().and_then(Option::as_ref).map(|seen| seen.version.clone());
                self.events = open(&self.register, version).await;
            }
            let Some(events) = &mut self.events else {
                tokio::time::sleep(POLL).await;
                self.must_read = true;
                continue;
            };
            // An event may come from a server that lags: what it says is believed only if it is newer than what was read.
            match tokio::time::timeout(POLL, events.next()).await {
                Ok(Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)))) => {
                    let found = versioned(&lease);
                    let seen =
                        self.seen.as_ref().and_then(Option::as_ref).map_or(0, |seen| number(&seen.version));
                    let is_newer = found.as_ref().is_some_and(|found| number(&found.version) > seen);
                    if is_newer && seen != 0 && self.is_news(&found) {
                        return Ok(found);
                    }
                    self.must_read = !is_newer || seen == 0;
                }
                Ok(Some(Ok(WatchEvent::Bookmark(_)))) => {}
                Ok(Some(Ok(WatchEvent::Deleted(_)))) | Err(_) => self.must_read = true,
                Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None) => {
                    self.events = None;
                    self.must_read = true;
                }
            }
        }
    }
}

/// Begins to watch at the last report's version.
async fn open(
    register: &LeaseRegister,
    version: Option<Version>,
) -> Option<BoxStream<'static, Result<WatchEvent<Lease>, Error>>> {
    let version = version.map_or_else(|| "0".to_owned(), |version| version.0);
    let params =
        WatchParams::default().fields(&format!("metadata.name={}", register.name)).timeout(WATCH_SECONDS);
    match tokio::time::timeout(TIMEOUT, register.watches.watch(&params, &version)).await {
        Ok(Ok(stream)) => Some(stream.boxed()),
        // Reading goes on every second.
        _ => None,
    }
}

fn number(version: &Version) -> u128 {
    version.0.parse().unwrap_or(0)
}

fn versioned(lease: &Lease) -> Option<Versioned> {
    let version = Version(lease.metadata.resource_version.clone()?);
    Some(Versioned { version, record: from_words(LeaseRecord::read(lease)) })
}

fn from_words(words: LeaseRecord) -> LockRecord {
    LockRecord {
        holder: words.holder,
        duration_seconds: words.duration_seconds,
        renewals: words.renewals,
        transitions: words.transitions,
        released_epoch: words.released_epoch,
        active: words.active.map(|active| ActiveRecord {
            identity: active.identity,
            epoch: active.epoch,
            api_addr: active.api_addr,
            cluster_addr: active.cluster_addr,
        }),
        successor: words.successor,
        renounced_epoch: words.renounced_epoch,
        leaving: words.leaving,
        handover: words.handover.map(|wish| HandoverWish { nonce: wish.nonce, to: wish.to }),
        ended: words.ended,
    }
}

fn to_words(record: &LockRecord) -> LeaseRecord {
    LeaseRecord {
        holder: record.holder.clone(),
        duration_seconds: record.duration_seconds,
        renewals: record.renewals,
        transitions: record.transitions,
        released_epoch: record.released_epoch,
        active: record.active.as_ref().map(|active| LeaseActive {
            identity: active.identity.clone(),
            epoch: active.epoch,
            api_addr: active.api_addr.clone(),
            cluster_addr: active.cluster_addr.clone(),
        }),
        successor: record.successor.clone(),
        renounced_epoch: record.renounced_epoch,
        leaving: record.leaving.clone(),
        handover: record
            .handover
            .as_ref()
            .map(|wish| LeaseHandover { nonce: wish.nonce.clone(), to: wish.to.clone() }),
        ended: record.ended.clone(),
    }
}
