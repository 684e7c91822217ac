//! The names of all keys, in memory: ZooKeeper lists children unordered and all at once, so the list is loaded once and
//! kept by the journal. It also tells which nodes a commit must create and which it must set.

use std::collections::BTreeMap;

use super::config::KIND;
use super::feed::entries;
use super::layout::{Entry, key_of};
use super::proto::{Code, Found, Question};
use super::state::{State, damaged, unavailable};
use crate::vault::physical::backend::{Listing, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::inmem::page;

/// How many records are read to follow; loading the names anew is cheaper than more.
const FOLLOWED: u64 = 512;

/// The keys of one state.
#[derive(Debug)]
pub(super) struct Index {
    head: Head,
    names: BTreeMap<String, ()>,
}

impl Index {
    /// The keys whose nodes have these names; nodes that somebody else made are left out.
    fn loaded(head: Head, nodes: &[String]) -> Self {
        Self { head, names: nodes.iter().filter_map(|node| Some((key_of(node)?, ()))).collect() }
    }

    /// The head of the state that it stands at.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.names.contains_key(key)
    }

    fn set(&mut self, key: &str, is_there: bool) {
        if is_there {
            self.names.insert(key.to_owned(), ());
        } else {
            self.names.remove(key);
        }
    }

    /// Takes in a commit after `expected`.
    pub(super) fn commit(&mut self, expected: Option<&Head>, next: &Head, ops: &[Op]) {
        if expected != Some(&self.head) {
            return;
        }
        for op in ops {
            self.set(op.key(), matches!(op, Op::Put { .. }));
        }
        self.head = next.clone();
    }

    /// Takes in what follows; false if the entries do not prove that they do.
    fn follow(&mut self, entries: &[Entry]) -> bool {
        let Some(at) = entries.iter().position(|entry| entry.record.head == self.head) else { return false };
        for entry in &entries[at + 1..] {
            if entry.record.head.seq != self.head.seq + 1 {
                return false;
            }
            for (key, is_there) in entry.keys() {
                self.set(key, is_there);
            }
            self.head = entry.record.head.clone();
        }
        true
    }
}

impl State {
    /// Brings the index to the present.
    ///
    /// # Errors
    /// [`StorageError::Empty`] while there is no head.
    pub(super) async fn refresh_index(&self) -> Result<(), StorageError> {
        let _turn = self.loading.lock().await;
        let snapshot = self.read(&[]).await?;
        let Some(now) = snapshot.head() else {
            *self.index() = None;
            return Err(StorageError::Empty { storage: KIND });
        };
        let at = self.index().as_ref().map(|index| index.head.clone());
        if at.as_ref() == Some(&now) {
            return Ok(());
        }
        if let Some(at) = at
            && let Some(behind) = now.seq.checked_sub(at.seq)
            && behind <= FOLLOWED
        {
            let count = usize::try_from(behind + 1).unwrap_or(usize::MAX);
            let (_, entries) = entries(self, at.seq, count, count).await?;
            let mut index = self.index();
            let is_there =
                index.as_mut().is_some_and(|index| index.follow(&entries) && index.head.seq >= now.seq);
            if is_there {
                return Ok(());
            }
        }
        let snapshot = self.read(&[Question::Children(self.layout().data())]).await?;
        let nodes = match snapshot.found.first() {
            Some(Found::Children(nodes)) => nodes,
            Some(Found::Failed(Code::NO_NODE)) => {
                return Err(damaged(format!("{} is missing", self.layout().data())));
            }
            Some(Found::Failed(code)) => return Err(self.error(*code, &self.layout().data())),
            _ => return Err(unavailable("the keys cannot be listed")),
        };
        let Some(stored) = &snapshot.stored else { return Err(StorageError::Empty { storage: KIND }) };
        *self.index() = Some(Index::loaded(stored.head.clone(), nodes));
        Ok(())
    }

    /// Takes in what a feed has read.
    pub(super) fn note_entries(&self, entries: &[Entry]) {
        if let Some(index) = self.index().as_mut() {
            index.follow(entries);
        }
    }

    /// Loads the index if it is behind `seen`. Whoever follows keeps it so, because a node that becomes active needs it for
    /// its first commit, and loading it takes the longer the more keys there are.
    pub(super) async fn warm_index(&self, seen: &Head) {
        let is_behind = self.index().as_ref().is_none_or(|index| index.head.position() < seen.position());
        if is_behind && let Err(error) = self.refresh_index().await {
            tracing::debug!(%error, "the names of the keys cannot be loaded yet");
        }
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        self.refresh_index().await?;
        let index = self.index();
        let Some(index) = index.as_ref() else { return Err(unavailable("the list of keys was dropped")) };
        let (keys, more) = page(&index.names, prefix, after, limit);
        Ok(Listing { keys, more, head: index.head.clone() })
    }
}
