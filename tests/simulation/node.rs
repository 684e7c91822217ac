//! A node of the simulation: the election, the committer and the read lease of the program itself, carried by the
//! world's messages instead of a network. What the shipped driver does with tasks and sockets is done here with
//! events; nothing is decided here that the machines decide.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use holdfast::base::clock::{Moment, UnixMillis};
use holdfast::vault::ha::committer::{Committer, CommitterSettings, Done, Send, Settled, Stopped};
use holdfast::vault::ha::election::{
    Cause, Context, Effect as Order, Election, ElectionSettings, Event as News, Sign, Successor,
};
use holdfast::vault::ha::readlease::{CheckNumber, ReadLease, WINDOW};
use holdfast::vault::physical::{Commit, Head, Limits, LockName, Stamp, Transaction};

use crate::objects::{Data, List};
use crate::segments::{self, Segments};
use crate::variant::Variant;
use crate::world::{Answer, Ask, Effect, Event, NodeId, Reply, View};

pub const FORMAT: u32 = 1;
/// A timer is never set for sooner.
const TICK: Duration = Duration::from_millis(1);

pub fn lock_name() -> LockName {
    LockName { kind: "inmem".into(), namespace: String::new(), name: "lock".into() }
}

fn limits() -> Limits {
    Limits { operations: 8, commit_bytes: 4096, value_bytes: 1024, data_bytes: None }
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Write { key: u32, value: u64 },
    Read { key: u32 },
    Increment { counter: u32 },
}

/// What nodes say to each other.
#[derive(Debug, Clone)]
pub enum Message {
    Forward { op: u64 },
    ReadIndex { op: u64 },
    ConfirmHead { op: u64, seq: u64 },
    Head { op: u64, head: Head },
    NotActive { op: u64 },
    WhoCan { number: u64 },
    Can { number: u64, successor: Successor },
    Prepare { head: Head },
    Prepared { identity: String, is_ready: bool },
    Renounced,
    Gone { identity: String },
    StepDown,
}

#[derive(Debug)]
pub enum Asked {
    Commit { send: Send, list: Option<List>, sent_at: Moment },
    Claim(Head),
    Check { number: u64, floor: Option<Head> },
    Probe { number: u64 },
    ReadCheck { check: CheckNumber, sent_at: Moment },
    ReadLock { number: u64 },
    Swap { number: u64 },
    Objects(segments::Asked),
}

/// A read at the active node, or a proof for a standby.
#[derive(Debug)]
struct Proof {
    newest: Stamp,
    begun: Stamp,
    min_seq: Option<u64>,
    needs: Option<CheckNumber>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Reply(u64, u64),
    Tell(NodeId, u64),
}

#[derive(Debug)]
enum StandbyRead {
    Index,
    Reach(Head),
    Confirm { value: u64 },
}

pub struct Node {
    pub id: NodeId,
    pub identity: String,
    pub variant: Variant,
    nodes: usize,
    election: Election,
    pub committer: Option<Committer>,
    lease: ReadLease,
    serving: bool,
    holding: bool,
    closing: bool,
    catching_up: Option<Head>,
    successors: Option<(u64, Moment, Vec<Successor>)>,
    pub data: Data,
    pub position: u64,
    pub last_head: Option<Head>,
    pub segments: Segments,
    tag: u64,
    asked: HashMap<u64, Asked>,
    check_in_flight: bool,
    running: BTreeMap<u64, Reply>,
    proofs: Vec<Proof>,
    reads: BTreeMap<u64, (u32, StandbyRead)>,
    deposed_at: Option<Moment>,
    /// When the next timer fires. One is enough: otherwise every event would begin a chain of timers of its own.
    wake_at: Option<Moment>,
    pub out: Vec<Effect<Message>>,
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
            position: 0,
            last_head: None,
            segments: Segments::new(variant),
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
            Event::Fed => view.head_object().into_iter().for_each(|object| self.follow(object, view)),
            Event::LockChanged(content) => self.news(News::Lock { number: 0, content }, view),
            Event::Answered { tag, answer } => self.answered(tag, answer, view),
            Event::Peer { from, message } => self.told(from, message, view, wants),
            Event::Client { op } => self.client(op, wants[op as usize]),
        }
        self.work(view);
    }

    /// Takes part of the election; its orders are carried out at once.
    pub fn news(&mut self, news: News, view: &View<'_>) {
        let cx = Context { now: view.now, time: view.wall, random: view.random };
        let orders = self.election.step(news, cx);
        for order in orders {
            self.order(order, view);
        }
    }

    pub fn ask(&mut self, asked: Asked, ask: Ask) {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        self.out.push(Effect::Ask { tag: self.tag, ask });
    }

    fn order(&mut self, order: Order, view: &View<'_>) {
        match order {
            Order::ReadLock { number } => self.ask(Asked::ReadLock { number }, Ask::ReadLock),
            Order::Swap { number, expected, record } => {
                self.ask(Asked::Swap { number }, Ask::Swap { expected, next: record });
            }
            Order::Check { number } => {
                let floor = self.election.highest().cloned();
                self.ask(Asked::Check { number, floor }, Ask::Check);
            }
            Order::Claim { expected, next } => {
                let ask =
                    Ask::Commit { expected: Some(expected), next: next.clone(), ops: Vec::new(), list: None };
                self.ask(Asked::Claim(next), ask);
            }
            Order::CatchUp { claim } => self.catching_up = Some(claim),
            Order::Promote { claim } => self.promote(claim, view),
            Order::Serve => {
                self.serving = true;
                self.holding = false;
            }
            Order::Demote => self.demote(),
            Order::Suspend(suspended) => {
                if let Some(committer) = &mut self.committer {
                    committer.suspend(suspended);
                }
            }
            Order::Probe { number } => self.ask(Asked::Probe { number }, Ask::Check),
            Order::AskStorage { number } => self.news(News::StorageReached { number, by: None }, view),
            Order::FindSuccessors { number } => {
                self.successors = Some((number, view.now.plus(Duration::from_millis(100)), Vec::new()));
                self.out.push(Effect::Wake { at: view.now.plus(Duration::from_millis(101)) });
                for to in (0..self.nodes).filter(|to| *to != self.id) {
                    self.out.push(Effect::Tell { to, message: Message::WhoCan { number } });
                }
            }
            Order::Prepare { identity } => {
                if let (Some(to), Some(committer)) = (node_of(&identity), &self.committer) {
                    let head = committer.acknowledged().clone();
                    self.out.push(Effect::Tell { to, message: Message::Prepare { head } });
                }
            }
            Order::Hold => self.holding = true,
            Order::Resume => {
                self.holding = false;
                self.closing = false;
                if let Some(committer) = &mut self.committer {
                    committer.resume();
                }
            }
            Order::CloseCommits => {
                self.closing = true;
                if let Some(committer) = &mut self.committer {
                    committer.stop(Stopped::HandingOver);
                }
            }
            Order::Renounce => self.lease.renounce(),
            Order::Tell { identity, .. } => {
                if let Some(to) = node_of(&identity) {
                    self.out.push(Effect::Tell { to, message: Message::Renounced });
                }
            }
            Order::HandoverEnded(_) | Order::RolledBack { .. } => {}
        }
    }

    fn promote(&mut self, claim: Head, view: &View<'_>) {
        let epoch = claim.epoch;
        self.committer = Some(Committer::new(CommitterSettings::default(), limits(), claim, view.now));
        self.lease = ReadLease::new(WINDOW);
        self.check_in_flight = false;
        self.deposed_at = None;
        self.news(News::Promoted { epoch, is_done: true }, view);
        if self.variant == Variant::NoWaitAfterClaim {
            let cx = Context {
                now: view.now.plus(Duration::from_millis(600)),
                time: view.wall,
                random: view.random,
            };
            for order in self.election.step(News::Tick, cx) {
                self.order(order, view);
            }
        }
    }

    fn demote(&mut self) {
        self.serving = false;
        self.holding = false;
        self.closing = false;
        if let Some(mut committer) = self.committer.take() {
            let mut done = committer.stop(Stopped::Deposed);
            done.extend(committer.give_up("demoted"));
            self.finish(done);
        }
        for proof in std::mem::take(&mut self.proofs) {
            self.refuse(proof);
        }
    }

    fn refuse(&mut self, proof: Proof) {
        match proof.then {
            Then::Reply(op, _) => self.out.push(Effect::Reply { op, reply: Reply::Refused }),
            Then::Tell(to, op) => self.out.push(Effect::Tell { to, message: Message::NotActive { op } }),
        }
    }

    pub fn finish(&mut self, done: Vec<Done>) {
        for Done { id, result } in done {
            let Some(reply) = self.running.remove(&id) else { continue };
            let reply = match result {
                Ok(_) => reply,
                Err(holdfast::vault::physical::SubmitError::Unknown { .. }) => Reply::Unknown,
                Err(_) => Reply::Refused,
            };
            if self.variant != Variant::AcknowledgeBeforeCommit {
                self.out.push(Effect::Reply { op: id, reply });
            }
        }
    }

    fn answered(&mut self, tag: u64, answer: Answer, view: &View<'_>) {
        let Some(asked) = self.asked.remove(&tag) else { return };
        match (asked, answer) {
            (Asked::Commit { send, list, sent_at }, answer) => {
                let answer = match answer {
                    Answer::Commit(commit) => commit,
                    _ => Commit::Unknown { reason: "silence".into() },
                };
                if answer == Commit::Committed {
                    self.segments.wrote(send.next.epoch);
                }
                self.committed(send, list, sent_at, answer, view);
            }
            (Asked::Claim(next), answer) => {
                let answer = match answer {
                    Answer::Commit(commit) => commit,
                    _ => Commit::Unknown { reason: "silence".into() },
                };
                if answer == Commit::Committed {
                    self.segments.wrote(next.epoch);
                }
                self.news(News::ClaimAnswered { batch: next.batch_id, answer }, view);
            }
            (Asked::Check { number, floor }, answer) => {
                let head = if let Answer::Check(head) = answer { Some(head) } else { None };
                self.news(News::Checked { number, floor, head }, view);
            }
            (Asked::Probe { number }, answer) => {
                let is_serving = matches!(answer, Answer::Check(_));
                self.news(News::Probed { number, is_serving }, view);
            }
            (Asked::ReadCheck { check, sent_at }, answer) => {
                self.check_in_flight = false;
                if let (Answer::Check(Some(head)), Some(committer)) = (answer, &self.committer)
                    && head.epoch == committer.acknowledged().epoch
                {
                    self.lease.check_succeeded(check, sent_at);
                }
            }
            (Asked::Objects(asked), answer) => {
                let response = if let Answer::Objects(response) = answer { Some(response) } else { None };
                self.objects_answered(asked, response, view);
            }
            (Asked::ReadLock { number }, Answer::Lock(content)) => {
                self.news(News::Lock { number, content }, view);
            }
            (Asked::ReadLock { .. }, _) => self.news(News::LockAway, view),
            (Asked::Swap { number }, Answer::Swap(outcome)) => {
                self.news(News::Swapped { number, outcome }, view)
            }
            (Asked::Swap { number }, _) => {
                let outcome = holdfast::vault::physical::Swap::Unknown { reason: "silence".into() };
                self.news(News::Swapped { number, outcome }, view);
            }
        }
    }

    fn committed(
        &mut self,
        send: Send,
        list: Option<List>,
        sent_at: Moment,
        answer: Commit,
        view: &View<'_>,
    ) {
        let Some(committer) = &mut self.committer else { return };
        if committer.acknowledged().epoch != send.next.epoch {
            return;
        }
        let is_applied = answer == Commit::Committed;
        let answer = match answer {
            Commit::Unknown { reason } if self.variant == Variant::UnknownTakenAsNotApplied => {
                Commit::Refused(holdfast::vault::physical::StorageError::Unavailable {
                    storage: "sim",
                    reason,
                })
            }
            other => other,
        };
        if let Commit::Fenced { current } = &answer {
            let current = current.clone();
            let done = committer.on_commit(send.next.batch_id, answer, view.now, view.random);
            self.finish(done);
            self.news(News::Fenced { current }, view);
            return;
        }
        let done = committer.on_commit(send.next.batch_id, answer, view.now, view.random);
        if is_applied {
            self.stored(&send, list);
            self.lease.committed(sent_at);
            self.news(News::Saw(send.next), view);
        }
        self.finish(done);
    }

    fn told(&mut self, from: NodeId, message: Message, view: &View<'_>, wants: &[Want]) {
        match message {
            Message::Forward { op } => {
                if self.serving && self.committer.is_some() {
                    self.serve(op, wants[op as usize]);
                } else {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                }
            }
            Message::ReadIndex { op } => self.prove(None, Then::Tell(from, op)),
            Message::ConfirmHead { op, seq } => self.prove(Some(seq), Then::Tell(from, op)),
            Message::Head { op, head } => self.standby_head(op, head),
            Message::NotActive { op } => {
                if self.reads.remove(&op).is_some() {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                }
            }
            Message::WhoCan { number } => {
                let successor = Successor {
                    identity: self.identity.clone(),
                    head: self.last_head.clone(),
                    is_able: self.election.could_stand(view.now),
                    format: FORMAT,
                };
                self.out.push(Effect::Tell { to: from, message: Message::Can { number, successor } });
            }
            Message::Can { number, successor } => {
                if let Some((wanted, _, nodes)) = &mut self.successors
                    && *wanted == number
                {
                    nodes.push(successor);
                }
            }
            Message::Prepare { head } => {
                let is_ready = self.position >= head.seq && self.election.could_stand(view.now);
                let message = Message::Prepared { identity: self.identity.clone(), is_ready };
                self.out.push(Effect::Tell { to: from, message });
            }
            Message::Prepared { identity, is_ready } => {
                self.news(News::Prepared { identity, is_ready }, view)
            }
            Message::Renounced => self.news(News::Tick, view),
            Message::Gone { identity } => {
                for sign in [Sign::Answered, Sign::Closed, Sign::Refused] {
                    self.news(News::Peer { identity: identity.clone(), sign }, view);
                }
            }
            Message::StepDown => self.news(News::HandOver { cause: Cause::StepDown }, view),
        }
    }

    fn client(&mut self, op: u64, want: Want) {
        if self.serving && !self.holding && self.committer.is_some() {
            self.serve(op, want);
            return;
        }
        let leader = self.leader();
        match (want, leader) {
            (_, None) => self.out.push(Effect::Reply { op, reply: Reply::Refused }),
            (Want::Read { key }, Some(to)) => {
                self.reads.insert(op, (key, StandbyRead::Index));
                self.out.push(Effect::Tell { to, message: Message::ReadIndex { op } });
            }
            (_, Some(to)) => self.out.push(Effect::Tell { to, message: Message::Forward { op } }),
        }
    }

    fn leader(&self) -> Option<NodeId> {
        let active = self.election.lock().record()?.active.as_ref()?;
        node_of(&active.identity).filter(|id| *id != self.id)
    }

    fn serve(&mut self, op: u64, want: Want) {
        let Some(committer) = &mut self.committer else { return };
        let mut transaction = Transaction::default();
        let reply = match want {
            Want::Read { key } => {
                let Some(newest) = committer.stamp_at(self.position) else {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                    return;
                };
                let begun = committer.newest_stamp();
                let value = number(self.data.get(&format!("k{key}")));
                if self.variant == Variant::NoReadLease {
                    self.out.push(Effect::Reply { op, reply: Reply::Value(value) });
                    return;
                }
                let then = Then::Reply(op, value);
                self.proofs.push(Proof { newest, begun, min_seq: None, needs: None, then });
                return;
            }
            Want::Write { key, value } => {
                transaction.writes.insert(format!("k{key}"), Some(Bytes::from(value.to_string())));
                Reply::Written
            }
            Want::Increment { counter } => {
                let key = format!("c{counter}");
                let pending = committer.pending(&key).filter(|_| self.variant != Variant::CommittedStateOnly);
                let local =
                    committer.stamp_at(self.position).map(|stamp| (self.data.get(&key).cloned(), stamp));
                let Some((value, stamp)) = pending.or(local) else {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                    return;
                };
                let count = number(value.as_ref()) + 1;
                if self.variant != Variant::CommittedStateOnly {
                    transaction.note_read(&key, stamp);
                }
                transaction.writes.insert(key, Some(Bytes::from(count.to_string())));
                Reply::Count(count)
            }
        };
        match committer.submit(op, transaction) {
            Ok(_) => {
                self.running.insert(op, reply);
                if self.variant == Variant::AcknowledgeBeforeCommit {
                    self.out.push(Effect::Reply { op, reply });
                }
            }
            Err(_) => self.out.push(Effect::Reply { op, reply: Reply::Refused }),
        }
    }

    /// Notes a proof of leadership that somebody waits for.
    fn prove(&mut self, min_seq: Option<u64>, then: Then) {
        let proof = Proof { newest: Stamp(0), begun: Stamp(0), min_seq, needs: None, then };
        if self.serving && self.committer.is_some() {
            self.proofs.push(proof);
        } else {
            self.refuse(proof);
        }
    }

    fn standby_head(&mut self, op: u64, head: Head) {
        match self.reads.remove(&op) {
            Some((key, StandbyRead::Index)) => {
                self.reads.insert(op, (key, StandbyRead::Reach(head)));
            }
            Some((_, StandbyRead::Confirm { value })) => {
                self.out.push(Effect::Reply { op, reply: Reply::Value(value) });
            }
            Some((key, waiting)) => {
                self.reads.insert(op, (key, waiting));
            }
            None => {}
        }
    }

    /// What follows from whatever just happened.
    fn work(&mut self, view: &View<'_>) {
        self.catch_up(view);
        self.hand_over(view);
        self.commit(view);
        self.answer_proofs(view);
        self.answer_standby_reads();
        let segments = self.segments.write(self.position, &self.data, view.random);
        self.ask_objects(segments);
        let garbage = self.segments.tick(view.now);
        self.ask_objects(garbage);
        let due = [
            self.election.wake_at(),
            self.committer.as_ref().and_then(Committer::wake_at),
            self.segments.wake_at(),
        ];
        if let Some(at) = due.into_iter().flatten().min() {
            let at = at.max(view.now.plus(TICK));
            if self.wake_at.is_none_or(|before| at < before) {
                self.wake_at = Some(at);
                self.out.push(Effect::Wake { at });
            }
        }
    }

    fn catch_up(&mut self, view: &View<'_>) {
        if let Some(claim) = &self.catching_up
            && self.position >= claim.seq
        {
            let epoch = claim.epoch;
            self.catching_up = None;
            self.news(News::CaughtUp { epoch, is_done: true }, view);
        }
    }

    fn hand_over(&mut self, view: &View<'_>) {
        if let Some((number, until, _)) = &self.successors
            && *until <= view.now
        {
            let number = *number;
            let nodes = self.successors.take().map(|(_, _, nodes)| nodes).unwrap_or_default();
            self.news(News::Successors { number, nodes }, view);
        }
        if self.holding {
            let commits_done = self.committer.as_ref().is_some_and(|c| c.queue_len() == 0);
            if self.closing && commits_done {
                self.news(News::Drained { commits: true }, view);
            } else if !self.closing && self.proofs.is_empty() {
                self.news(News::Drained { commits: false }, view);
            }
        }
    }

    fn commit(&mut self, view: &View<'_>) {
        let Some(committer) = &mut self.committer else { return };
        if committer.stopped() == Some(Stopped::Deposed) && committer.is_in_flight() {
            // The journal tells soon, or nobody will.
            let since = *self.deposed_at.get_or_insert(view.now);
            if view.now.since(since) > Duration::from_secs(2) {
                let done = committer.give_up("no proof");
                self.finish(done);
                return;
            }
        }
        if let Some(send) = committer.poll(view.now, view.wall, view.random) {
            let list = self.segments.draft(send.expected.seq);
            let ask = Ask::Commit {
                expected: Some(send.expected.clone()),
                next: send.next.clone(),
                ops: send.ops.clone(),
                list: list.clone(),
            };
            self.ask(Asked::Commit { send, list, sent_at: view.now }, ask);
        }
    }

    fn answer_proofs(&mut self, view: &View<'_>) {
        let Some(committer) = &self.committer else { return };
        let mut wants_check = false;
        let mut still = Vec::new();
        let mut effects = Vec::new();
        for mut proof in std::mem::take(&mut self.proofs) {
            let head = committer.acknowledged();
            match committer.settled(proof.begun, proof.newest) {
                Settled::Failed => {
                    effects.push(proof.then.refusal());
                    continue;
                }
                Settled::Pending => {
                    still.push(proof);
                    continue;
                }
                Settled::Committed => {}
            }
            if proof.min_seq.is_some_and(|seq| head.seq < seq) {
                still.push(proof);
                continue;
            }
            let confirmed =
                self.lease.is_valid(view.now) || proof.needs.is_some_and(|n| self.lease.is_confirmed(n));
            if confirmed {
                effects.push(match proof.then {
                    Then::Reply(op, value) => Effect::Reply { op, reply: Reply::Value(value) },
                    Then::Tell(to, op) => {
                        Effect::Tell { to, message: Message::Head { op, head: head.clone() } }
                    }
                });
                continue;
            }
            if proof.needs.is_none() {
                proof.needs = Some(self.lease.check_needed());
            }
            wants_check = true;
            still.push(proof);
        }
        self.proofs = still;
        self.out.extend(effects);
        if wants_check && !self.check_in_flight && !self.lease.is_renounced() {
            let check = self.lease.send_check();
            self.check_in_flight = true;
            self.ask(Asked::ReadCheck { check, sent_at: view.now }, Ask::Check);
        }
    }

    fn answer_standby_reads(&mut self) {
        let ready: Vec<(u64, u32, Head)> = self
            .reads
            .iter()
            .filter_map(|(op, (key, state))| match state {
                StandbyRead::Reach(head) if self.position >= head.seq => Some((*op, *key, head.clone())),
                _ => None,
            })
            .collect();
        for (op, key, head) in ready {
            let value = number(self.data.get(&format!("k{key}")));
            let is_confirmed = self.position <= head.seq || self.variant == Variant::StandbyServesUnconfirmed;
            match (is_confirmed, self.leader()) {
                (true, _) => {
                    self.reads.remove(&op);
                    self.out.push(Effect::Reply { op, reply: Reply::Value(value) });
                }
                (false, Some(to)) => {
                    self.reads.insert(op, (key, StandbyRead::Confirm { value }));
                    self.out
                        .push(Effect::Tell { to, message: Message::ConfirmHead { op, seq: self.position } });
                }
                (false, None) => {
                    self.reads.remove(&op);
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                }
            }
        }
    }
}

impl Then {
    fn refusal(self) -> Effect<Message> {
        match self {
            Self::Reply(op, _) => Effect::Reply { op, reply: Reply::Refused },
            Self::Tell(to, op) => Effect::Tell { to, message: Message::NotActive { op } },
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
