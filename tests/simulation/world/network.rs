//! Messages: between nodes, to the storage and the lock, and back.

use holdfast::base::random::Random;
use holdfast::vault::physical::{Commit, Swap};

use super::World;
use super::event::{Answer, Ask, Event, NodeId};
use super::queue::{Arrival, Due};
use crate::history::Time;
use crate::storage::client::{Pending, Turn};
use crate::storage::{Said, Semantics, Sender};

/// A client gives up after this whatever became of its packets.
const PATIENCE: Time = 2_000_000;

impl<M: Clone + std::fmt::Debug> World<M> {
    pub(super) fn store_place(&self) -> usize {
        self.places.len()
    }

    pub(super) fn lock_place(&self) -> usize {
        self.places.len() + 1
    }

    pub(super) fn latency(&self) -> Time {
        // Mostly quick, sometimes very slow: a slow one is what a held packet is.
        match self.random.below(100) {
            0 => 200_000 + self.random.below(3_000_000),
            1..=5 => 5_000 + self.random.below(100_000),
            _ => 300 + self.random.below(3_000),
        }
    }

    pub(super) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to)) && self.random.below(200) != 0
    }

    pub(super) fn ask(&mut self, node: NodeId, tag: u64, ask: Ask) {
        let silence = Event::Answered { tag, answer: Answer::Silence };
        self.deliver_at(self.now + PATIENCE, node, silence);
        let arrival = match ask {
            Ask::Commit { expected, change } => {
                let pending = Pending::new(expected, change);
                let turn = self.places[node].client.begin(&pending);
                self.places[node].commits.insert(tag, pending);
                // A commit begins with a request.
                let _ = self.take_turn(node, tag, turn);
                return;
            }
            Ask::Check => Arrival::Look { is_check: true },
            Ask::Get { key } => Arrival::Get(key),
            Ask::Page { after } => Arrival::Page(after),
            Ask::Objects(request) => Arrival::Objects(request),
            lock @ (Ask::ReadLock | Ask::Swap { .. }) => Arrival::Lock(lock),
        };
        self.send(node, tag, arrival);
    }

    /// Does what a backend does next for a commit; the outcome, if that is all.
    fn take_turn(&mut self, node: NodeId, tag: u64, turn: Turn) -> Option<Commit> {
        let arrival = match turn {
            Turn::Done(outcome) => return Some(outcome),
            Turn::Look => Arrival::Look { is_check: false },
            Turn::Write(compare) => {
                let change = self.places[node].commits.get(&tag).map(|pending| pending.change.clone())?;
                Arrival::Write(compare, change)
            }
        };
        self.send(node, tag, arrival);
        None
    }

    /// An answer to a request of a commit has arrived at its node.
    pub(super) fn said(&mut self, node: NodeId, tag: u64, said: Said) -> Option<Event<M>> {
        let place = &mut self.places[node];
        let pending = place.commits.get_mut(&tag)?;
        let turn = place.client.hears(pending, said);
        let outcome = self.take_turn(node, tag, turn)?;
        self.places[node].commits.remove(&tag);
        self.totals.fenced += u64::from(matches!(outcome, Commit::Fenced { .. }));
        Some(Event::Answered { tag, answer: Answer::Commit(outcome) })
    }

    fn send(&mut self, node: NodeId, tag: u64, arrival: Arrival) {
        let place = if matches!(arrival, Arrival::Lock(_)) { self.lock_place() } else { self.store_place() };
        if !self.passes(node, place) {
            return;
        }
        let sender = Sender { node, incarnation: self.places[node].incarnation, tag, is_mute: false };
        let mut at = self.now + self.latency();
        if self.random.below(400) == 0 {
            // Held until long after its sender has given up, and others have claimed.
            at += self.random.below(15_000_000);
        }
        if self.random.below(50) == 0 {
            // A repeated packet: executed once more, its answer seen by nobody.
            let again = at + self.latency();
            let sender = Sender { is_mute: true, ..sender };
            self.queue.put(again, Due::Arrive { sender, arrival: arrival.clone() });
        }
        self.queue.put(at, Due::Arrive { sender, arrival });
    }

    /// The storage or the lock takes a request.
    pub(super) fn serve(&mut self, sender: Sender, arrival: Arrival) {
        if self.now < self.away_until && !matches!(arrival, Arrival::Lock(_)) {
            self.serve_without_leader(sender, arrival);
            return;
        }
        let answer = match arrival {
            Arrival::Write(compare, change) => {
                let before = self.storage.log.len();
                if let Some(said) = self.storage.commit(sender, compare, change, self.now) {
                    self.answer(sender, said);
                }
                self.grown(before);
                self.move_row();
                return;
            }
            Arrival::Look { is_check: false } => return self.answer(sender, self.storage.look()),
            Arrival::Look { is_check: true } => Answer::Check(self.storage.head().cloned()),
            Arrival::Get(key) => match self.storage.get(&key, self.now, &self.random) {
                Some((value, head)) => Answer::Value(value, head),
                None => Answer::Silence,
            },
            Arrival::Page(after) => match self.storage.page(after, self.now, &self.random) {
                Some(page) => Answer::Page(page),
                None => Answer::Silence,
            },
            Arrival::Objects(request) => {
                let head = self.storage.head();
                let leads = head.is_some_and(|head| crate::node::node_of(&head.node) == Some(sender.node));
                Answer::Objects(self.storage.objects.serve(request, &self.storage.log, leads))
            }
            Arrival::Lock(Ask::Swap { expected, next }) => {
                let is_current = self.lock.as_ref().map(|lock| &lock.version) == expected.as_ref();
                Answer::Swap(if is_current {
                    Swap::Swapped(self.set_lock(Some(next)))
                } else {
                    Swap::Conflict
                })
            }
            Arrival::Lock(_) => {
                let content = self.lock.clone();
                return self.reply(
                    sender,
                    self.lock_place(),
                    Event::Answered { tag: sender.tag, answer: Answer::Lock(content) },
                );
            }
        };
        let place = if matches!(answer, Answer::Swap(_)) { self.lock_place() } else { self.store_place() };
        self.reply(sender, place, Event::Answered { tag: sender.tag, answer });
    }

    /// Without a leader nothing is vouched for. A write may be forgotten, or carried out once there is one again.
    fn serve_without_leader(&mut self, sender: Sender, arrival: Arrival) {
        let is_write = matches!(arrival, Arrival::Write(..));
        let is_kept =
            is_write && self.storage.semantics != Semantics::Postgresql && self.random.below(3) != 0;
        let is_told = !is_kept || self.random.below(2) == 0;
        if is_kept {
            let at = self.away_until + self.latency();
            let sender = Sender { is_mute: sender.is_mute || is_told, ..sender };
            self.queue.put(at, Due::Arrive { sender, arrival: arrival.clone() });
        }
        if !is_told {
            return;
        }
        match arrival {
            Arrival::Write(..) | Arrival::Look { is_check: false } => self.answer(sender, Said::Error),
            _ => {
                let error = Event::Answered { tag: sender.tag, answer: Answer::Silence };
                self.reply(sender, self.store_place(), error);
            }
        }
    }

    /// Statements go on that wait for the row of the head, or hold it.
    pub(super) fn move_row(&mut self) {
        let before = self.storage.log.len();
        let places = &self.places;
        let acts = |sender: &Sender| {
            let place = &places[sender.node];
            place.up && !place.paused && place.incarnation == sender.incarnation
        };
        let answers = self.storage.go_on(self.now, &self.random, acts);
        answers.into_iter().for_each(|(sender, said)| self.answer(sender, said));
        self.grown(before);
        if let Some(at) = self.storage.wakes(self.now) {
            self.queue.put(at.max(self.now + 1), Due::Row);
        }
    }

    /// Tells of the commits after the first `before`.
    fn grown(&mut self, before: usize) {
        for n in before..self.storage.log.len() {
            self.totals.claims += u64::from(self.storage.log[n].journal.replaced.is_some());
            self.feed();
        }
    }

    /// Answers a request of a commit.
    pub(super) fn answer(&mut self, sender: Sender, said: Said) {
        self.reply(sender, self.store_place(), Event::Said { tag: sender.tag, said });
    }

    fn reply(&mut self, sender: Sender, from: usize, event: Event<M>) {
        if sender.is_mute || !self.passes(from, sender.node) {
            return;
        }
        let at = self.now + self.latency();
        let (to, incarnation) = (sender.node, sender.incarnation);
        self.queue.put(at, Due::Deliver { to, incarnation, event });
    }

    pub(super) fn feed(&mut self) {
        for node in 0..self.nodes() {
            // A link that is cut delivers when it is whole again: the periodic look of every follower.
            let lost = !self.passes(self.store_place(), node);
            let at = self.now + self.latency() + if lost { 1_000_000 } else { 0 };
            self.deliver_at(at, node, Event::Fed);
        }
    }

    pub fn tell(&mut self, from: NodeId, to: NodeId, message: M) {
        if !self.passes(from, to) {
            return;
        }
        let at = self.now + self.latency();
        self.deliver_at(at, to, Event::Peer { from, message });
    }
}
