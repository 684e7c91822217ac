//! The world of a simulation: virtual time, one store, one lock, nodes, links between them, and faults.
//!
//! Everything is driven by one queue of events ordered by virtual time and one seeded generator, so a seed is a whole
//! run. Messages may be late, lost or repeated; nodes may pause, crash and come back; links may be cut one way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use holdfast::base::clock::{Moment, UnixMillis};
use holdfast::base::random::{Random, SeededRandom};
use holdfast::vault::physical::inmem::Store;
use holdfast::vault::physical::{Commit, Head, Journal, LockRecord, Op, Swap, Version, Versioned};

use crate::history::{Time, Violation};
use crate::objects::{Counts, Entry, HeadObject, List, Objects, Request, Response};

pub type NodeId = usize;

/// A request from a node to the store or the lock, or the answer to it. `tag` is the node's own.
#[derive(Debug, Clone)]
pub enum Ask {
    /// `list` replaces what the head object lists, if the commit carries one.
    Commit {
        expected: Option<Head>,
        next: Head,
        ops: Vec<Op>,
        list: Option<List>,
    },
    Check,
    Objects(Request),
    ReadLock,
    Swap {
        expected: Option<Version>,
        next: LockRecord,
    },
}

#[derive(Debug, Clone)]
pub enum Answer {
    Commit(Commit),
    Check(Option<Head>),
    Objects(Response),
    Lock(Option<Versioned>),
    Swap(Swap),
    /// No answer within the client's time-out: it may have been carried out, now or later.
    Silence,
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Event<M> {
    Started,
    Timer,
    Answered {
        tag: u64,
        answer: Answer,
    },
    /// The head object has changed.
    Fed,
    LockChanged(Option<Versioned>),
    Peer {
        from: NodeId,
        message: M,
    },
    Client {
        op: u64,
    },
}

/// What a node wants done.
#[derive(Debug)]
pub enum Effect<M> {
    Ask {
        tag: u64,
        ask: Ask,
    },
    Tell {
        to: NodeId,
        message: M,
    },
    Wake {
        at: Moment,
    },
    /// The end of a client's operation, as the client sees it.
    Reply {
        op: u64,
        reply: Reply,
    },
    /// What was read makes no sense.
    Damage(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Written,
    Value(u64),
    Count(u64),
    /// Certainly not carried out.
    Refused,
    /// Perhaps carried out.
    Unknown,
}

/// What a node may look at while it handles an event.
pub struct View<'a> {
    pub now: Moment,
    pub wall: UnixMillis,
    pub random: &'a dyn Random,
    objects: &'a Objects,
    log: &'a [Arc<Entry>],
}

impl View<'_> {
    /// The head object as the node's watch told of it last.
    pub fn head_object(&self) -> Option<HeadObject> {
        self.objects.head(self.log, self.log.len())
    }
}

#[derive(Debug)]
enum Due<M> {
    Deliver { to: NodeId, incarnation: u64, event: Event<M> },
    AtStore { from: NodeId, incarnation: u64, tag: u64, ask: Ask, mute: bool },
    Fault(Fault),
    Resume(NodeId),
    Restart(NodeId),
    Heal(Link),
}

/// A direction between two places; the store is `nodes`, the lock `nodes + 1`.
pub type Link = (usize, usize);

#[derive(Debug, Clone)]
pub enum Fault {
    Pause {
        node: NodeId,
        span: Time,
    },
    Crash {
        node: NodeId,
        down: Time,
    },
    Cut {
        link: Link,
        span: Time,
    },
    EditLock,
    DeleteLock,
    /// The others get false evidence that the holder of the lock is gone, while it is cut off from the store and the
    /// lock: safety must not rest on evidence.
    Usurp {
        span: Time,
    },
}

struct Scheduled<M> {
    at: Time,
    order: u64,
    due: Due<M>,
}

impl<M> PartialEq for Scheduled<M> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<M> Eq for Scheduled<M> {}
impl<M> PartialOrd for Scheduled<M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M> Ord for Scheduled<M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What happened in a run, in numbers.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub operations: u64,
    pub claims: u64,
    pub fenced: u64,
    pub unknown: u64,
    pub faults: u64,
    pub segments: Counts,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.claims += other.claims;
        self.fenced += other.fenced;
        self.unknown += other.unknown;
        self.faults += other.faults;
        self.segments.add(&other.segments);
    }
}

struct Place {
    incarnation: u64,
    up: bool,
    paused: bool,
    /// Events that arrived during a pause.
    kept: Vec<(u64, usize)>,
    fed: usize,
}

pub struct World<M> {
    pub random: SeededRandom,
    pub store: Store,
    pub objects: Objects,
    /// All commits, for the judges: nodes see no more of it than a head object holds.
    pub log: Vec<Arc<Entry>>,
    pub totals: Totals,
    pub now: Time,
    lock: Option<Versioned>,
    lock_count: u64,
    places: Vec<Place>,
    cut: BTreeSet<Link>,
    queue: BinaryHeap<Reverse<Scheduled<M>>>,
    held: BTreeMap<usize, Event<M>>,
    order: u64,
    /// Whether the store compares the head; a wrong variant does not.
    pub compares_head: bool,
}

/// What the caller must do next.
pub enum Step<M> {
    Handle {
        node: NodeId,
        event: Event<M>,
    },
    /// The node's memory is gone.
    Lost(NodeId),
    /// Everybody else is to be told that this node is gone, which is not true.
    Slander(NodeId),
    Idle,
}

const WALL_START: u64 = 1_700_000_000_000;

impl<M: Clone + std::fmt::Debug> World<M> {
    pub fn new(seed: u64, nodes: usize) -> Self {
        let mut world = Self {
            random: SeededRandom::new(seed),
            store: Store::new(),
            objects: Objects::default(),
            log: Vec::new(),
            totals: Totals::default(),
            now: 1,
            lock: None,
            lock_count: 0,
            places: (0..nodes)
                .map(|_| Place { incarnation: 1, up: true, paused: false, kept: Vec::new(), fed: 0 })
                .collect(),
            cut: BTreeSet::new(),
            queue: BinaryHeap::new(),
            held: BTreeMap::new(),
            order: 0,
            compares_head: true,
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

    fn store_place(&self) -> usize {
        self.places.len()
    }

    fn lock_place(&self) -> usize {
        self.places.len() + 1
    }

    pub fn moment(&self) -> Moment {
        Moment::from_origin(Duration::from_micros(self.now))
    }

    pub fn wall(&self) -> UnixMillis {
        UnixMillis(WALL_START + self.now / 1000)
    }

    pub fn view<'a>(&'a self, node: NodeId) -> View<'a> {
        let place = &self.places[node];
        View {
            now: self.moment(),
            wall: self.wall(),
            random: &self.random,
            objects: &self.objects,
            log: &self.log[..place.fed],
        }
    }

    pub fn incarnation(&self, node: NodeId) -> u64 {
        self.places[node].incarnation
    }

    /// Puts a fault on the calendar.
    pub fn plan(&mut self, at: Time, fault: Fault) {
        self.schedule(at, Due::Fault(fault));
    }

    /// A client's operation arrives at a node.
    pub fn client(&mut self, at: Time, node: NodeId, op: u64) {
        self.deliver_at(at, node, Event::Client { op });
    }

    /// A person asks a node to step down.
    pub fn step_down_at(&mut self, at: Time, node: NodeId, message: M) {
        self.deliver_at(at, node, Event::Peer { from: node, message });
    }

    /// Initialises the store, as init does.
    pub fn found(&mut self, head: Head) {
        assert_eq!(self.store.commit(None, &head, &[]), Commit::Committed);
        self.append(Journal { head, replaced: None, keys: Vec::new() }, Vec::new(), None);
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
                    self.objects.damage.get_or_insert(Violation(what));
                }
            }
        }
        replies
    }

    /// Runs until something is to be handled by a node, or `until`.
    pub fn step(&mut self, until: Time) -> Step<M> {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = self.now.max(next.at);
            match next.due {
                Due::Deliver { to, incarnation, event } => {
                    if let Some(event) = self.arrive(to, incarnation, event) {
                        return Step::Handle { node: to, event };
                    }
                }
                Due::AtStore { from, incarnation, tag, ask, mute } => {
                    self.serve(from, incarnation, tag, ask, mute);
                }
                Due::Fault(fault) => {
                    let is_slander = matches!(fault, Fault::Usurp { .. });
                    if let Some(node) = self.strike(fault) {
                        return if is_slander { Step::Slander(node) } else { Step::Lost(node) };
                    }
                }
                Due::Resume(node) => self.resume(node),
                Due::Restart(node) => {
                    self.places[node].up = true;
                    self.places[node].fed = 0;
                    let at = self.now;
                    self.deliver_at(at, node, Event::Started);
                    let at = self.now + self.latency();
                    self.deliver_at(at, node, Event::Fed);
                }
                Due::Heal(link) => {
                    self.cut.remove(&link);
                }
            }
        }
        self.now = self.now.max(until);
        Step::Idle
    }

    fn arrive(&mut self, to: NodeId, incarnation: u64, event: Event<M>) -> Option<Event<M>> {
        let place = &mut self.places[to];
        if !place.up || place.incarnation != incarnation {
            return None;
        }
        if place.paused {
            let slot = self.order as usize;
            self.order += 1;
            place.kept.push((incarnation, slot));
            self.held.insert(slot, event);
            return None;
        }
        if matches!(event, Event::Fed) {
            place.fed = self.log.len();
        }
        Some(event)
    }

    fn resume(&mut self, node: NodeId) {
        self.places[node].paused = false;
        for (incarnation, slot) in std::mem::take(&mut self.places[node].kept) {
            if let Some(event) = self.held.remove(&slot) {
                let at = self.now;
                self.schedule(at, Due::Deliver { to: node, incarnation, event });
            }
        }
    }

    fn strike(&mut self, fault: Fault) -> Option<NodeId> {
        self.totals.faults += 1;
        match fault {
            Fault::Pause { node, span } => {
                if self.places[node].up && !self.places[node].paused {
                    self.places[node].paused = true;
                    let at = self.now + span;
                    self.schedule(at, Due::Resume(node));
                }
                None
            }
            Fault::Crash { node, down } => {
                let place = &mut self.places[node];
                if !place.up {
                    return None;
                }
                place.up = false;
                place.paused = false;
                place.incarnation += 1;
                for (_, slot) in std::mem::take(&mut place.kept) {
                    self.held.remove(&slot);
                }
                let at = self.now + down;
                self.schedule(at, Due::Restart(node));
                Some(node)
            }
            Fault::Cut { link, span } => {
                self.cut.insert(link);
                let at = self.now + span;
                self.schedule(at, Due::Heal(link));
                None
            }
            Fault::EditLock => {
                if let Some(lock) = &self.lock {
                    let record = LockRecord { holder: "nobody-we-know".to_owned(), ..lock.record.clone() };
                    self.set_lock(Some(record));
                }
                None
            }
            Fault::DeleteLock => {
                self.set_lock(None);
                None
            }
            Fault::Usurp { span } => {
                let holder = self.lock.as_ref().and_then(|lock| crate::node::node_of(&lock.record.holder))?;
                let (store, lock) = (self.store_place(), self.lock_place());
                for link in [(holder, store), (store, holder), (lock, holder)] {
                    self.cut.insert(link);
                    let at = self.now + span;
                    self.schedule(at, Due::Heal(link));
                }
                Some(holder)
            }
        }
    }

    fn set_lock(&mut self, record: Option<LockRecord>) -> Option<Version> {
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
        Some(version)
    }

    fn latency(&self) -> Time {
        // Mostly quick, sometimes very slow: a slow one is what a held packet is.
        match self.random.below(100) {
            0 => 200_000 + self.random.below(3_000_000),
            1..=5 => 5_000 + self.random.below(100_000),
            _ => 300 + self.random.below(3_000),
        }
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to)) && self.random.below(200) != 0
    }

    fn ask(&mut self, node: NodeId, tag: u64, ask: Ask) {
        let place = match ask {
            Ask::Commit { .. } | Ask::Check | Ask::Objects(_) => self.store_place(),
            Ask::ReadLock | Ask::Swap { .. } => self.lock_place(),
        };
        let incarnation = self.places[node].incarnation;
        // The client gives up after two seconds whatever became of the packet.
        let at = self.now + 2_000_000;
        self.schedule(
            at,
            Due::Deliver { to: node, incarnation, event: Event::Answered { tag, answer: Answer::Silence } },
        );
        if !self.passes(node, place) {
            return;
        }
        let at = self.now + self.latency();
        if self.random.below(50) == 0 {
            // A repeated packet: executed once more, its answer seen by nobody.
            let again = at + self.latency();
            self.schedule(again, Due::AtStore { from: node, incarnation, tag, ask: ask.clone(), mute: true });
        }
        self.schedule(at, Due::AtStore { from: node, incarnation, tag, ask, mute: false });
    }

    fn serve(&mut self, from: NodeId, incarnation: u64, tag: u64, ask: Ask, mute: bool) {
        let place = match ask {
            Ask::Commit { .. } | Ask::Check | Ask::Objects(_) => self.store_place(),
            _ => self.lock_place(),
        };
        let answer = match ask {
            Ask::Commit { expected, next, ops, list } => {
                Answer::Commit(self.commit(expected, next, ops, list))
            }
            Ask::Objects(request) => {
                let head = self.store.head();
                let leads = head.is_some_and(|head| crate::node::node_of(&head.node) == Some(from));
                Answer::Objects(self.objects.serve(request, &self.log, leads))
            }
            Ask::Check => Answer::Check(self.store.head().cloned()),
            Ask::ReadLock => Answer::Lock(self.lock.clone()),
            Ask::Swap { expected, next } => {
                let current = self.lock.as_ref().map(|l| l.version.clone());
                if current == expected {
                    Answer::Swap(self.set_lock(Some(next)).map_or(Swap::Conflict, Swap::Swapped))
                } else {
                    Answer::Swap(Swap::Conflict)
                }
            }
        };
        if mute || !self.passes(place, from) {
            return;
        }
        let at = self.now + self.latency();
        self.schedule(at, Due::Deliver { to: from, incarnation, event: Event::Answered { tag, answer } });
    }

    fn commit(&mut self, expected: Option<Head>, next: Head, ops: Vec<Op>, list: Option<List>) -> Commit {
        let (expected, next) = if self.compares_head {
            (expected, next)
        } else {
            let current = self.store.head().cloned();
            let seq = current.as_ref().map_or(1, |head| head.seq + 1);
            (current, Head { seq, ..next })
        };
        let outcome = self.store.commit(expected.as_ref(), &next, &ops);
        match &outcome {
            Commit::Committed => {
                let replaced = expected.filter(|head| head.epoch != next.epoch);
                if replaced.is_some() {
                    self.totals.claims += 1;
                }
                let keys = ops.iter().map(|op| op.key().to_owned()).collect();
                self.append(Journal { head: next, replaced, keys }, ops, list);
            }
            Commit::Fenced { .. } => self.totals.fenced += 1,
            _ => {}
        }
        outcome
    }

    fn append(&mut self, journal: Journal, ops: Vec<Op>, list: Option<List>) {
        self.log.push(Arc::new(Entry { journal, ops }));
        self.objects.committed(list);
        self.feed();
    }

    fn feed(&mut self) {
        for node in 0..self.nodes() {
            // A link that is cut delivers when it is whole again: the periodic poll of every follower.
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

    fn deliver_at(&mut self, at: Time, to: NodeId, event: Event<M>) {
        let incarnation = self.places[to].incarnation;
        self.schedule(at, Due::Deliver { to, incarnation, event });
    }

    fn schedule(&mut self, at: Time, due: Due<M>) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, due }));
    }
}
