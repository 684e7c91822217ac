//! The world of a simulation: virtual time, one storage, one lock, nodes, links between them, and faults.
//!
//! Everything is driven by one queue of events ordered by virtual time and one seeded generator, so a seed is a whole
//! run. Messages may be late, lost or repeated; nodes may pause, crash and come back; links may be cut one way.

pub mod event;
mod faults;
mod network;
mod queue;
mod totals;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use holdfast::base::clock::{Moment, UnixMillis};
use holdfast::base::random::{Random, SeededRandom};
use holdfast::vault::physical::{Head, Versioned};

use crate::history::{Time, Violation};
use crate::storage::client::{Client, Pending};
use crate::storage::{Semantics, Storage};
use crate::variant::Variant;
use event::{Effect, Event, Fault, Link, NodeId, Reply, Step, View};
use queue::{Due, Queue};
pub use totals::Totals;

const WALL_START: u64 = 1_700_000_000_000;

/// Where a node runs.
struct Place<M> {
    incarnation: u64,
    up: bool,
    paused: bool,
    /// Events that arrived during a pause.
    kept: Vec<Event<M>>,
    /// How much of the log the node's watch has shown.
    fed: usize,
    /// What its backend remembers, and the commits that it is about, by their tags.
    client: Client,
    commits: HashMap<u64, Pending>,
}

pub struct World<M> {
    pub random: SeededRandom,
    pub storage: Storage,
    pub totals: Totals,
    pub now: Time,
    lock: Option<Versioned>,
    lock_count: u64,
    places: Vec<Place<M>>,
    cut: BTreeSet<Link>,
    /// Until then the storage has no leader.
    away_until: Time,
    queue: Queue<M>,
    fresh: Client,
}

impl<M: Clone + std::fmt::Debug> World<M> {
    pub fn new(seed: u64, nodes: usize, semantics: Semantics, variant: Variant) -> Self {
        let mut storage = Storage::new(semantics);
        storage.compares = variant != Variant::NoHeadCompare;
        storage.lags = variant == Variant::ReadsFromFollowers;
        let fresh = Client::new(semantics, variant == Variant::ResendsWithoutLooking);
        let place = |_| Place {
            incarnation: 1,
            up: true,
            paused: false,
            kept: Vec::new(),
            fed: 0,
            client: fresh.clone(),
            commits: HashMap::new(),
        };
        let mut world = Self {
            random: SeededRandom::new(seed),
            storage,
            totals: Totals { runs: 1, ..Totals::default() },
            now: 1,
            lock: None,
            lock_count: 0,
            places: (0..nodes).map(place).collect(),
            cut: BTreeSet::new(),
            away_until: 0,
            queue: Queue::new(),
            fresh,
        };
        for node in 0..nodes {
            let at = world.random.below(200_000);
            world.deliver_at(at, node, Event::Started);
        }
        world
    }

    pub fn nodes(&self) -> usize {
        self.places.len()
    }

    pub fn moment(&self) -> Moment {
        Moment::from_origin(Duration::from_micros(self.now))
    }

    pub fn wall(&self) -> UnixMillis {
        UnixMillis(WALL_START + self.now / 1000)
    }

    pub fn view<'a>(&'a self, node: NodeId) -> View<'a> {
        View {
            now: self.moment(),
            wall: self.wall(),
            random: &self.random,
            semantics: self.storage.semantics,
            objects: &self.storage.objects,
            log: &self.storage.log[..self.places[node].fed],
        }
    }

    pub fn incarnation(&self, node: NodeId) -> u64 {
        self.places[node].incarnation
    }

    /// Puts a fault on the calendar.
    pub fn plan(&mut self, at: Time, fault: Fault) {
        self.queue.put(at, Due::Fault(fault));
    }

    /// A client's operation arrives at a node.
    pub fn client(&mut self, at: Time, node: NodeId, op: u64) {
        self.deliver_at(at, node, Event::Client { op });
    }

    /// A person asks a node to step down.
    pub fn step_down_at(&mut self, at: Time, node: NodeId, message: M) {
        self.deliver_at(at, node, Event::Peer { from: node, message });
    }

    /// Initialises the storage, as init does.
    pub fn found(&mut self, head: Head) {
        self.storage.found(head);
        self.feed();
    }

    /// Takes what a node wants done.
    pub fn apply(&mut self, node: NodeId, effects: Vec<Effect<M>>) -> Vec<(u64, Reply)> {
        let mut replies = Vec::new();
        for effect in effects {
            match effect {
                Effect::Ask { tag, ask } => self.ask(node, tag, ask),
                Effect::Tell { to, message } => self.tell(node, to, message),
                Effect::Wake { at } => {
                    let at =
                        u64::try_from(at.since_origin().as_micros()).unwrap_or(u64::MAX).max(self.now + 1);
                    self.deliver_at(at, node, Event::Timer);
                }
                Effect::Reply { op, reply } => replies.push((op, reply)),
                Effect::Damage(what) => {
                    self.storage.objects.damage.get_or_insert(Violation(what));
                }
            }
        }
        replies
    }

    /// Runs until something is to be handled by a node, or `until`.
    pub fn step(&mut self, until: Time) -> Step<M> {
        while let Some((at, due)) = self.queue.take(until) {
            self.now = self.now.max(at);
            match due {
                Due::Deliver { to, incarnation, event } => {
                    if let Some(event) = self.arrive(to, incarnation, event) {
                        return Step::Handle { node: to, event };
                    }
                }
                Due::Arrive { sender, arrival } => self.serve(sender, arrival),
                Due::Row => self.move_row(),
                Due::Fault(fault) => {
                    let is_slander = matches!(fault, Fault::Usurp { .. });
                    if let Some(node) = self.strike(fault) {
                        return if is_slander { Step::Slander(node) } else { Step::Lost(node) };
                    }
                }
                Due::Resume(node) => self.resume(node),
                Due::Restart(node) => self.restart(node),
                Due::Heal(link) => {
                    self.cut.remove(&link);
                }
            }
        }
        self.now = self.now.max(until);
        Step::Idle
    }

    /// What a node is to handle of an event that arrives at it.
    fn arrive(&mut self, to: NodeId, incarnation: u64, event: Event<M>) -> Option<Event<M>> {
        let place = &mut self.places[to];
        if !place.up || place.incarnation != incarnation {
            return None;
        }
        if place.paused {
            place.kept.push(event);
            return None;
        }
        match event {
            Event::Fed => {
                place.fed = self.storage.log.len();
                if let Some(known) = self.storage.known().filter(|_| self.storage.semantics.is_object()) {
                    place.client.saw(known);
                }
                Some(Event::Fed)
            }
            Event::Said { tag, said } => self.said(to, tag, said),
            Event::Answered { tag, answer } => {
                self.places[to].commits.remove(&tag);
                Some(Event::Answered { tag, answer })
            }
            other => Some(other),
        }
    }

    fn deliver_at(&mut self, at: Time, to: NodeId, event: Event<M>) {
        let incarnation = self.places[to].incarnation;
        self.queue.put(at, Due::Deliver { to, incarnation, event });
    }
}
