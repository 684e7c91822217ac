//! What an instance knows of its store, and how it reads: the head and what else is asked for, of one and the same state.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::client::{Client, Request};
use super::config::{KIND, Settings};
use super::connection::Reply;
use super::index::Index;
use super::jute::Malformed;
use super::layout::{Layout, is_head_name};
use super::proto::{self, ANY_VERSION, Change, Code, Found, Question, opcode};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// How often a read begins anew because the head has moved to another node meanwhile.
const MOVES: usize = 8;

/// A head as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) head: Head,
    /// The name of its node.
    pub(super) name: String,
    /// The version of the node that has exactly this content.
    pub(super) version: i32,
}

/// A state of the store.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Its head; `None` if there is none.
    pub(super) stored: Option<Stored>,
    /// The answers to the questions, in their order.
    pub(super) found: Vec<Found>,
}

impl Snapshot {
    pub(super) fn head(self) -> Option<Head> {
        self.stored.map(|stored| stored.head)
    }
}

/// How current a state is known to be. Servers that follow may lag behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Whatever the server has.
    None,
    /// The server has what the leader had, as far as that was still the leader.
    Synced,
    /// A write of a quorum went before.
    Quorum,
}

/// One instance's view of a store.
pub(super) struct State {
    pub(super) client: Client,
    known: Mutex<Known>,
    /// The names of all keys of some state; `None` until they are needed.
    index: Mutex<Option<Index>>,
    /// Held by whoever brings the index up to date.
    pub(super) loading: tokio::sync::Mutex<()>,
    /// Records that the last page of the journal had.
    pub(super) page_len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest head that was shown to anybody: nothing older may be shown.
    newest: Option<Stored>,
    /// The name of the head's node, as far as it is known.
    name: Option<String>,
}

impl State {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            client: Client::new(settings),
            known: Mutex::default(),
            index: Mutex::new(None),
            loading: tokio::sync::Mutex::new(()),
            page_len: AtomicUsize::new(0),
        }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.client.settings().layout
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Option<Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest head that was shown.
    pub(super) fn newest(&self) -> Option<Stored> {
        self.known().newest.clone()
    }

    /// The node of the head that was read last.
    pub(super) fn head_node(&self) -> Option<String> {
        self.known().name.as_ref().map(|name| self.layout().named(name))
    }

    /// Notes a head that is about to be shown. False if something newer was shown before, so that it must not be.
    pub(super) fn admit(&self, stored: Option<&Stored>) -> bool {
        let mut known = self.known();
        if position(stored) < position(known.newest.as_ref()) {
            return false;
        }
        known.newest = stored.cloned();
        if let Some(stored) = stored {
            known.name = Some(stored.name.clone());
        }
        true
    }

    /// A state of the store that is no older than any that was shown before.
    pub(super) async fn read(&self, questions: &[Question]) -> Result<Snapshot, StorageError> {
        for proof in [Proof::None, Proof::Synced] {
            let snapshot = self.read_once(questions, proof).await?;
            if self.admit(snapshot.stored.as_ref()) {
                return Ok(snapshot);
            }
        }
        self.read_proven(questions).await
    }

    /// A state of the store that is no older than any commit which was acknowledged to anybody before the call.
    pub(super) async fn read_proven(&self, questions: &[Question]) -> Result<Snapshot, StorageError> {
        for _ in 0..MOVES {
            let before = self.known().newest.clone();
            let snapshot = self.read_once(questions, Proof::Quorum).await?;
            if self.admit(snapshot.stored.as_ref()) {
                return Ok(snapshot);
            }
            let mut known = self.known();
            // Not even a quorum has what was shown before this read began: the storage went back. Whoever asks must
            // see it.
            if position(snapshot.stored.as_ref()) < position(before.as_ref()) && known.newest == before {
                known.newest.clone_from(&snapshot.stored);
                return Ok(snapshot);
            }
        }
        Err(unavailable("the head moves faster than it can be read"))
    }

    async fn read_once(&self, questions: &[Question], proof: Proof) -> Result<Snapshot, StorageError> {
        for _ in 0..MOVES {
            let name = self.known().name.clone();
            let mut all = vec![Question::Data(self.layout().current())];
            all.extend(name.as_ref().map(|name| Question::Data(self.layout().named(name))));
            all.extend_from_slice(questions);
            let mut requests = self.proof(proof);
            requests.push((opcode::MULTI_READ, proto::multi_read(&all)));
            let mut replies =
                self.client.ask_again(requests).await.map_err(super::client::Failure::into_error)?;
            let read = replies.pop().ok_or_else(|| unavailable("there is no answer"))?;
            let refused = replies.pop().map_or(Code::OK, |proof| proof.code);
            // A refusal proves as much as a success, since a quorum agreed on it; but only this one is expected, of a
            // store that nobody prepared.
            if refused != Code::OK && refused != Code::NO_NODE {
                if refused.is_of_identity() && self.client.log_in_anew() {
                    continue;
                }
                return Err(self.error(refused, &self.layout().check()));
            }
            let found = answers(read)?;
            if let Some(refused) = found.iter().find_map(Found::refusal) {
                if self.client.log_in_anew() {
                    continue;
                }
                return Err(self.error(refused, self.layout().root()));
            }
            let mut found = found.into_iter();
            let current = match text(found.next())? {
                Some((current, _)) => current,
                None => {
                    // What the name stood for is not of interest.
                    let found = found.skip(usize::from(name.is_some())).collect();
                    return Ok(Snapshot { stored: None, found });
                }
            };
            let current = String::from_utf8_lossy(&current).into_owned();
            if !is_head_name(&current) {
                return Err(damaged(format!("{} holds {current:?}", self.layout().current())));
            }
            if name.as_ref() != Some(&current) {
                self.known().name = Some(current);
                continue;
            }
            let Some((bytes, version)) = text(found.next())? else {
                return Err(damaged(format!("{} is missing", self.layout().named(&current))));
            };
            let head = wire::head(&bytes).map_err(damaged)?;
            let stored = Some(Stored { head, name: current, version });
            return Ok(Snapshot { stored, found: found.collect() });
        }
        Err(unavailable("the head moves faster than it can be read"))
    }

    /// The request that goes before a read.
    fn proof(&self, proof: Proof) -> Vec<Request> {
        let layout = self.layout();
        match proof {
            Proof::None => Vec::new(),
            Proof::Synced => vec![(opcode::SYNC, proto::sync(&layout.current()))],
            Proof::Quorum => {
                let write = Change::Set { path: layout.check(), data: Bytes::new(), version: ANY_VERSION };
                vec![(write.opcode(), write.body(&self.client.settings().owner))]
            }
        }
    }

    /// What an error that a server names means.
    pub(super) fn error(&self, code: Code, path: &str) -> StorageError {
        if code.is_refusal() {
            let needed = self.client.settings().needed_acl();
            let reason = format!("{path}: {code}; {needed}");
            return StorageError::Denied { storage: KIND, reason };
        }
        unavailable(&format!("{path}: {code}"))
    }
}

/// The data of a node and its version; `None` if there is no such node.
pub(super) fn text(found: Option<Found>) -> Result<Option<(Bytes, i32)>, StorageError> {
    match found {
        Some(Found::Data(bytes, stat)) => Ok(Some((bytes, stat.version))),
        Some(Found::Failed(Code::NO_NODE)) => Ok(None),
        Some(Found::Failed(code)) => Err(unavailable(&format!("reading ends with {code}"))),
        Some(_) | None => Err(unavailable(&Malformed.to_string())),
    }
}

/// The answers that a reply to MULTI or MULTI_READ carries.
pub(super) fn answers(reply: Reply) -> Result<Vec<Found>, StorageError> {
    if reply.code != Code::OK {
        return Err(unavailable(&format!("reading ends with {}", reply.code)));
    }
    proto::found(reply.body).map_err(|error| unavailable(&error.to_string()))
}

fn position(stored: Option<&Stored>) -> Option<(u64, u64)> {
    stored.map(|stored| stored.head.position())
}

pub(super) fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { storage: KIND, reason }
}

pub(super) fn unavailable(reason: &str) -> StorageError {
    StorageError::Unavailable { storage: KIND, reason: reason.to_owned() }
}
