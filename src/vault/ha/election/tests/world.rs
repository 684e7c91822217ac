//! [`World`]: several machines over one store and one register, on a clock that the test moves.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::base::clock::{Moment, UnixMillis};
use crate::base::random::SeededRandom;
use crate::vault::physical::inmem::{Register, Store};
use crate::vault::physical::{BatchId, Head, LockName, LockRecord};

pub(super) const NAMES: [&str; 3] = ["a_1_x", "b_1_x", "c_1_x"];

pub(super) fn lock_name() -> LockName {
    LockName { kind: "inmem".into(), namespace: String::new(), name: "l".into() }
}

pub(super) fn settings(identity: &str) -> ElectionSettings {
    ElectionSettings {
        identity: identity.into(),
        api_addr: format!("http://{identity}"),
        cluster_addr: format!("https://{identity}"),
        lease: Duration::from_secs(6),
        lock: Some(lock_name()),
        adopt: None,
        format: 1,
    }
}

pub(super) struct Node {
    pub(super) election: Election,
    pub(super) is_dead: bool,
    /// Hears of the lock at all.
    pub(super) has_lock: bool,
    pub(super) is_lock_away: bool,
    pub(super) is_serving: bool,
    pub(super) is_suspended: bool,
    pub(super) is_deaf_to_prepare: bool,
    pub(super) handover: Option<Result<(), String>>,
    pub(super) probe_works: bool,
    pub(super) seen_version: Option<String>,
    pub(super) followed: Option<Head>,
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) register: Register,
    pub(super) nodes: Vec<Node>,
    pub(super) now: Duration,
    pub(super) random: SeededRandom,
    pub(super) queue: VecDeque<(usize, Event)>,
    /// Answers to claims that are lost after they were carried out.
    pub(super) lose_claims: usize,
    /// Whoever takes the lock next dies with it.
    pub(super) dies_with_lock: bool,
    pub(super) serving_epochs: BTreeSet<u64>,
}

pub(super) fn head(epoch: u64, seq: u64, random: &SeededRandom) -> Head {
    Head {
        cluster: "cluster".into(),
        lock: lock_name().into(),
        epoch,
        seq,
        batch_id: BatchId::new(random),
        node: "init".into(),
        format: 1,
        time: UnixMillis(1),
    }
}

impl World {
    pub(super) fn new() -> Self {
        let random = SeededRandom::new(7);
        let mut store = Store::new();
        store.commit(None, &head(0, 1, &random), &[]);
        let mut world = Self {
            store,
            register: Register::default(),
            nodes: Vec::new(),
            now: Duration::from_secs(100),
            random,
            queue: VecDeque::new(),
            lose_claims: 0,
            dies_with_lock: false,
            serving_epochs: BTreeSet::new(),
        };
        for name in NAMES {
            world.add(settings(name));
        }
        world
    }

    /// A storage whose vault uses no lock, and nobody there yet.
    pub(super) fn without_lock() -> Self {
        let mut world = Self::new();
        world.nodes.clear();
        world.queue.clear();
        world.store = Store::new();
        let first = Head { lock: LockName::none().into(), ..head(0, 1, &world.random) };
        world.store.commit(None, &first, &[]);
        world
    }

    pub(super) fn add(&mut self, settings: ElectionSettings) -> usize {
        self.nodes.push(Node {
            has_lock: settings.lock.is_some(),
            election: Election::new(settings),
            is_dead: false,
            is_lock_away: false,
            is_serving: false,
            is_suspended: false,
            is_deaf_to_prepare: false,
            handover: None,
            probe_works: true,
            seen_version: None,
            followed: None,
        });
        let at = self.nodes.len() - 1;
        self.send(at, Event::Able(true));
        at
    }

    /// Three nodes of which the first leads.
    pub(super) fn led() -> Self {
        let mut world = Self::new();
        world.settle();
        world.run_until(2000, |w| w.active().is_some());
        world
    }

    pub(super) fn moment(&self) -> Moment {
        Moment::from_origin(self.now)
    }

    pub(super) fn send(&mut self, at: usize, event: Event) {
        self.queue.push_back((at, event));
    }

    pub(super) fn active(&self) -> Option<usize> {
        let serving: Vec<_> =
            (0..self.nodes.len()).filter(|i| self.nodes[*i].is_serving && !self.nodes[*i].is_dead).collect();
        assert!(serving.len() <= 2, "{serving:?}");
        serving.into_iter().max_by_key(|i| self.epoch_of(*i))
    }

    pub(super) fn epoch_of(&self, at: usize) -> u64 {
        match self.nodes[at].election.phase() {
            Phase::Active(reign) => reign.epoch(),
            _ => 0,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.store.head().unwrap().epoch
    }

    pub(super) fn record(&self) -> LockRecord {
        self.register.read().map(|v| v.record).unwrap_or_default()
    }

    pub(super) fn edit(&mut self, change: impl FnOnce(&mut LockRecord)) {
        let mut content = self.register.read().unwrap();
        change(&mut content.record);
        self.register.swap(Some(&content.version), &content.record);
    }

    pub(super) fn successor(&self, at: usize) -> Successor {
        let election = &self.nodes[at].election;
        Successor {
            identity: NAMES[at].into(),
            head: self.store.head().cloned(),
            is_able: election.could_take_over(),
            is_resting: !election.could_stand(self.moment()),
            format: 1,
        }
    }

    /// Carries everything out that can happen without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..2000 {
            for at in 0..self.nodes.len() {
                let content = self.register.read();
                let version = content.as_ref().map(|c| c.version.0.clone());
                let head = self.store.head().cloned();
                let node = &mut self.nodes[at];
                if !node.is_dead && node.followed != head {
                    node.followed.clone_from(&head);
                    self.queue.extend(head.map(|head| (at, Event::Saw(head))));
                }
                if !node.is_dead && node.has_lock && !node.is_lock_away && node.seen_version != version {
                    node.seen_version = version;
                    self.queue.push_back((at, Event::Lock { number: 0, content }));
                }
            }
            let Some((at, event)) = self.queue.pop_front() else { return };
            if self.nodes[at].is_dead {
                continue;
            }
            let cx =
                Context { now: Moment::from_origin(self.now), time: UnixMillis(5), random: &self.random };
            for effect in self.nodes[at].election.step(event, cx) {
                self.carry_out(at, effect);
            }
        }
        panic!("the world does not come to rest");
    }

    pub(super) fn carry_out(&mut self, at: usize, effect: Effect) {
        let is_away = self.nodes[at].is_lock_away;
        let event = match effect {
            Effect::ReadLock { .. } if is_away => Event::LockAway,
            Effect::ReadLock { number } => Event::Lock { number, content: self.register.read() },
            Effect::Swap { number, .. } if is_away => Event::Swapped {
                number,
                outcome: crate::vault::physical::Swap::Unknown { reason: "away".into() },
            },
            Effect::Swap { number, expected, record } => {
                self.nodes[at].is_dead |= std::mem::take(&mut self.dies_with_lock);
                Event::Swapped { number, outcome: self.register.swap(expected.as_ref(), &record) }
            }
            Effect::Check { number } => {
                let floor = self.nodes[at].election.highest().cloned();
                Event::Checked { number, floor, head: Some(self.store.head().cloned()) }
            }
            Effect::Claim { expected, next } => {
                let batch = next.batch_id;
                let answer = self.store.commit(Some(&expected), &next, &[]);
                if self.lose_claims > 0 {
                    self.lose_claims -= 1;
                    Event::ClaimAnswered { batch, answer: Commit::Unknown { reason: "lost".into() } }
                } else {
                    Event::ClaimAnswered { batch, answer }
                }
            }
            Effect::CatchUp { claim } => Event::CaughtUp { epoch: claim.epoch, is_done: true },
            Effect::Promote { claim } => Event::Promoted { epoch: claim.epoch, is_done: true },
            Effect::Serve => {
                assert!(self.serving_epochs.insert(self.epoch_of(at)), "an epoch is served once");
                self.nodes[at].is_serving = true;
                return;
            }
            Effect::Renounce | Effect::Demote => {
                self.nodes[at].is_serving = false;
                return;
            }
            Effect::Suspend(on) => {
                self.nodes[at].is_suspended = on;
                return;
            }
            Effect::Probe { number } => Event::Probed { number, is_serving: self.nodes[at].probe_works },
            Effect::AskStorage { number } => {
                let by = (0..self.nodes.len())
                    .find(|i| *i != at && !self.nodes[*i].is_dead && self.nodes[*i].probe_works);
                Event::StorageReached { number, by: by.map(|i| NAMES[i].to_owned()) }
            }
            Effect::FindSuccessors { number } => {
                let nodes = (0..NAMES.len()).filter(|i| *i != at && !self.nodes[*i].is_dead);
                let nodes = nodes.map(|i| self.successor(i));
                Event::Successors { number, nodes: nodes.collect() }
            }
            Effect::Prepare { identity } => {
                let peer = NAMES.iter().position(|name| *name == identity).unwrap();
                Event::Prepared { identity, is_ready: !self.nodes[peer].is_deaf_to_prepare }
            }
            Effect::Hold => Event::Drained { commits: false },
            Effect::CloseCommits => Event::Drained { commits: true },
            Effect::HandoverEnded(result) => {
                self.nodes[at].handover = Some(result);
                return;
            }
            Effect::Resume | Effect::Tell { .. } | Effect::RolledBack { .. } => return,
        };
        self.send(at, event);
    }

    /// Lets time pass in steps of 10 ms until `done`, at most `millis`; says how long it took.
    pub(super) fn run_until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) -> u64 {
        for passed in (0..=millis).step_by(10) {
            self.settle();
            if done(self) {
                return passed;
            }
            self.now += Duration::from_millis(10);
            for at in 0..self.nodes.len() {
                let now = self.moment();
                if self.nodes[at].is_lock_away && passed % 500 == 0 {
                    self.send(at, Event::LockAway);
                }
                if self.nodes[at].election.wake_at().is_none_or(|wake| wake <= now) {
                    self.send(at, Event::Tick);
                }
            }
        }
        panic!("it did not happen within {millis} ms");
    }

    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        self.run_until(millis + 10, |w| w.now >= end);
    }

    pub(super) fn others(&self, at: usize) -> Vec<usize> {
        (0..NAMES.len()).filter(|i| *i != at).collect()
    }
}
