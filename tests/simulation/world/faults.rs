//! What befalls nodes, links, the storage and the lock.

use holdfast::vault::physical::{LockRecord, Version, Versioned};

use super::World;
use super::event::{Event, Fault, NodeId};
use super::queue::Due;
use crate::history::Time;
use crate::storage::Semantics;

impl<M: Clone + std::fmt::Debug> World<M> {
    pub(super) fn resume(&mut self, node: NodeId) {
        let place = &mut self.places[node];
        place.paused = false;
        let incarnation = place.incarnation;
        for event in std::mem::take(&mut place.kept) {
            self.queue.put(self.now, Due::Deliver { to: node, incarnation, event });
        }
    }

    pub(super) fn restart(&mut self, node: NodeId) {
        self.places[node].up = true;
        self.places[node].fed = 0;
        self.deliver_at(self.now, node, Event::Started);
        let at = self.now + self.latency();
        self.deliver_at(at, node, Event::Fed);
    }

    /// Ends a node's process, which starts again after `down`; false if it does not run.
    pub fn crash(&mut self, node: NodeId, down: Time) -> bool {
        let fresh = self.fresh.clone();
        let place = &mut self.places[node];
        if !place.up {
            return false;
        }
        place.up = false;
        place.paused = false;
        place.incarnation += 1;
        place.kept.clear();
        place.commits.clear();
        place.client = fresh;
        self.queue.put(self.now + down, Due::Restart(node));
        true
    }

    /// Lets a fault happen, and names the node that it is about.
    pub(super) fn strike(&mut self, fault: Fault) -> Option<NodeId> {
        self.totals.faults += 1;
        match fault {
            Fault::Pause { node, span } => {
                if self.places[node].up && !self.places[node].paused {
                    self.places[node].paused = true;
                    self.queue.put(self.now + span, Due::Resume(node));
                }
            }
            Fault::Crash { node, down } => return self.crash(node, down).then_some(node),
            Fault::Cut { link, span } => {
                self.cut.insert(link);
                self.queue.put(self.now + span, Due::Heal(link));
            }
            Fault::EditLock => {
                if let Some(lock) = &self.lock {
                    // By turns a stranger takes the lock, and somebody takes its holder for dead.
                    let mut record = lock.record.clone();
                    if self.lock_count.is_multiple_of(2) {
                        record.holder = "nobody-we-know".to_owned();
                    } else {
                        record.ended = Some(record.holder.clone());
                    }
                    self.set_lock(Some(record));
                }
            }
            Fault::DeleteLock => {
                self.set_lock(None);
            }
            Fault::Touch => {
                // Where the head is compared itself there is nothing to be touched.
                let _ = self.storage.touch();
            }
            Fault::Elect { span } => {
                self.away_until = self.away_until.max(self.now + span);
                if self.storage.semantics == Semantics::Postgresql {
                    let ended = self.storage.restart();
                    ended.into_iter().for_each(|(sender, said)| self.answer(sender, said));
                }
            }
            Fault::Usurp { span } => {
                let holder = self.lock.as_ref().and_then(|lock| crate::node::node_of(&lock.record.holder))?;
                let (store, lock) = (self.store_place(), self.lock_place());
                for link in [(holder, store), (store, holder), (lock, holder)] {
                    self.cut.insert(link);
                    self.queue.put(self.now + span, Due::Heal(link));
                }
                return Some(holder);
            }
        }
        None
    }

    pub(super) fn set_lock(&mut self, record: Option<LockRecord>) -> Version {
        self.lock_count += 1;
        let version = Version(self.lock_count.to_string());
        self.lock = record.map(|record| Versioned { version: version.clone(), record });
        for node in 0..self.nodes() {
            if self.passes(self.lock_place(), node) {
                let at = self.now + self.latency();
                let content = self.lock.clone();
                self.deliver_at(at, node, Event::LockChanged(content));
            }
        }
        version
    }
}
