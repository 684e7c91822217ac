//! A node of the simulation: the election, the committer and the read lease of the program itself, carried by the
//! world's messages instead of a network. What the shipped driver does with tasks and sockets is done here with
//! events; nothing is decided here that the machines decide.

mod answers;
mod cache;
mod follow;
mod leading;
mod orders;
mod peers;
mod proofs;
mod requests;
mod segments;
mod standby;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use holdfast::base::clock::{Moment, UnixMillis};
use holdfast::vault::ha::committer::Committer;
use holdfast::vault::ha::election::{Context, Election, ElectionSettings, Event as News, Successor};
use holdfast::vault::ha::readlease::{ReadLease, WINDOW};
use holdfast::vault::physical::{Head, Limits, LockName};

use crate::storage::objects::Data;
use crate::variant::Variant;
use crate::world::event::{Ask, Effect, Event, NodeId, Reply, View};
use answers::Asked;
use cache::Cache;
pub use peers::Message;
use proofs::Proof;
pub use requests::Want;
use segments::Segments;
use standby::StandbyRead;

pub const FORMAT: u32 = 1;
/// A timer is never set for sooner.
const TICK: Duration = Duration::from_millis(1);

pub fn lock_name() -> LockName {
    LockName { kind: "inmem".into(), namespace: String::new(), name: "lock".into() }
}

fn limits() -> Limits {
    Limits { operations: 8, commit_bytes: 4096, value_bytes: 1024, data_bytes: None }
}

pub struct Node {
    pub id: NodeId,
    pub identity: String,
    /// Whether it serves as the active node.
    pub serving: bool,
    pub out: Vec<Effect<Message>>,
    variant: Variant,
    nodes: usize,
    election: Election,
    committer: Option<Committer>,
    lease: ReadLease,
    holding: bool,
    closing: bool,
    /// The claim to catch up with, and until when.
    catching_up: Option<(Head, Moment)>,
    successors: Option<(u64, Moment, Vec<Successor>)>,
    /// What memory holds, where nodes hold everything in memory.
    data: Data,
    /// Values that were read, where they do not.
    cache: Cache,
    /// The commit that memory has reached.
    position: u64,
    last_head: Option<Head>,
    segments: Segments,
    /// A page of the journal was asked for; more has been written meanwhile; when to ask again after silence.
    is_paging: bool,
    has_grown: bool,
    page_at: Option<Moment>,
    tag: u64,
    asked: HashMap<u64, Asked>,
    check_in_flight: bool,
    running: BTreeMap<u64, Reply>,
    proofs: Vec<Proof>,
    reads: BTreeMap<u64, (u32, StandbyRead)>,
    deposed_at: Option<Moment>,
    /// When the next timer fires. One is enough: otherwise every event would begin a chain of timers of its own.
    wake_at: Option<Moment>,
}

impl Node {
    pub fn new(id: NodeId, nodes: usize, incarnation: u64, variant: Variant) -> Self {
        let identity = format!("node-{id}_uid-{id}_{incarnation}");
        let settings = ElectionSettings {
            identity: identity.clone(),
            api_addr: format!("http://node-{id}"),
            cluster_addr: format!("{id}"),
            lease: Duration::from_secs(6),
            lock: Some(lock_name()),
            adopt: None,
            format: FORMAT,
        };
        Self {
            id,
            identity,
            variant,
            nodes,
            election: Election::new(settings),
            committer: None,
            lease: ReadLease::new(WINDOW),
            serving: false,
            holding: false,
            closing: false,
            catching_up: None,
            successors: None,
            data: Data::new(),
            cache: Cache::default(),
            position: 0,
            last_head: None,
            segments: Segments::new(variant),
            is_paging: false,
            has_grown: false,
            page_at: None,
            tag: 0,
            asked: HashMap::new(),
            check_in_flight: false,
            running: BTreeMap::new(),
            proofs: Vec::new(),
            reads: BTreeMap::new(),
            deposed_at: None,
            wake_at: None,
            out: Vec::new(),
        }
    }

    pub fn handle(&mut self, event: Event<Message>, view: &View<'_>, wants: &[Want]) {
        match event {
            Event::Started => {
                self.news(News::Able(true), view);
                self.news(News::Tick, view);
            }
            Event::Timer => {
                self.wake_at = self.wake_at.filter(|at| *at > view.now.plus(TICK));
                self.news(News::Tick, view);
            }
            Event::Fed => self.fed(view),
            // The world keeps these from nodes.
            Event::Said { .. } => {}
            Event::LockChanged(content) => self.news(News::Lock { number: 0, content }, view),
            Event::Answered { tag, answer } => self.answered(tag, answer, view),
            Event::Peer { from, message } => self.told(from, message, view, wants),
            Event::Client { op } => self.client(op, wants[op as usize], view),
        }
        self.work(view);
    }

    /// Takes part of the election; its orders are carried out at once.
    fn news(&mut self, news: News, view: &View<'_>) {
        let cx = Context { now: view.now, time: view.wall, random: view.random };
        let orders = self.election.step(news, cx);
        for order in orders {
            self.order(order, view);
        }
    }

    fn ask(&mut self, asked: Asked, ask: Ask) {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        self.out.push(Effect::Ask { tag: self.tag, ask });
    }

    /// What follows from whatever just happened.
    fn work(&mut self, view: &View<'_>) {
        self.catch_up(view);
        self.hand_over(view);
        self.commit(view);
        self.answer_proofs(view);
        self.answer_standby_reads(view);
        if view.semantics.is_object() {
            let segments = self.segments.write(self.position, &self.data, view.random);
            self.ask_objects(segments);
            let garbage = self.segments.tick(view.now);
            self.ask_objects(garbage);
        } else if self.page_at.is_some_and(|at| at <= view.now) {
            self.turn_page();
        }
        let due = [
            self.election.wake_at(),
            self.committer.as_ref().and_then(Committer::wake_at),
            self.segments.wake_at().filter(|_| view.semantics.is_object()),
            self.page_at,
            self.catching_up.as_ref().map(|(_, until)| *until),
        ];
        if let Some(at) = due.into_iter().flatten().min() {
            let at = at.max(view.now.plus(TICK));
            if self.wake_at.is_none_or(|before| at < before) {
                self.wake_at = Some(at);
                self.out.push(Effect::Wake { at });
            }
        }
    }
}

fn number(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |bytes| String::from_utf8_lossy(bytes).parse().unwrap_or(0))
}

/// The node in `node-<id>_…`.
pub fn node_of(identity: &str) -> Option<NodeId> {
    identity.strip_prefix("node-")?.split('_').next()?.parse().ok()
}

/// The wall clock as the head of a new cluster carries it.
pub fn founding_time() -> UnixMillis {
    UnixMillis(1_700_000_000_000)
}
