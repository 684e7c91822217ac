//! Does to the cluster what the plan says, one fault after the other, and waits for the recovery after each.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::audit::Audit;
use crate::crowd::{self, Deeds};
use crate::link::{Link, Way};
use crate::plan::{Directions, Kind, Step};
use crate::record::{Record, Time};
use crate::store::Store;
use crate::testbed::{NODES, PATIENCE, Testbed};
use crate::throttle;
use crate::writer::{Barrier, Stopped};

/// The node whose wall clock can be stepped.
pub const CLOCK_NODE: usize = 2;
/// How far it is stepped, seconds: what cluster time may follow, and further than the life of the tokens.
const STEPS: [i64; 4] = [20, -20, 18_000, -18_000];

/// How long a held write waits for the claim of a successor.
const CLAIM: Duration = Duration::from_secs(25);

/// How much later everything arrives, each way, at and from a slow storage.
const SLOW: Duration = Duration::from_millis(40);

/// A fault that was carried out.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: Kind,
    /// The longest time without an acknowledged write from its begin to the first one after its end; `None`: there must
    /// be none any more.
    pub longest_gap: Option<Time>,
}

/// The one who does it.
pub struct Nemesis<'a> {
    pub testbed: &'a mut Testbed,
    pub audit: &'a Audit,
    pub record: Arc<Record>,
    pub faults: Vec<Fault>,
    /// What does not come back.
    pub stuck: Vec<String>,
}

fn seconds(span: f64) -> Duration {
    Duration::from_secs_f64(span)
}

impl<'a> Nemesis<'a> {
    pub fn new(testbed: &'a mut Testbed, audit: &'a Audit, record: &Arc<Record>) -> Self {
        Self { testbed, audit, record: Arc::clone(record), faults: Vec::new(), stuck: Vec::new() }
    }

    /// Carries out one step, and does not wait for a recovery.
    pub async fn do_only(&mut self, step: &Step) -> String {
        let leader = match self.testbed.leader().await {
            Some(leader) => leader,
            None => step.choice % NODES,
        };
        let standby = (leader + 1 + step.choice % (NODES - 1)) % NODES;
        self.fault(step, leader, standby).await
    }

    /// Carries out one step and waits until the cluster works again.
    pub async fn carry_out(&mut self, step: &Step) {
        let (begin, first, epoch) = (self.record.now(), self.record.len(), self.audit.epoch());
        let slow = if step.slow { Way::Delay(SLOW) } else { Way::Pass };
        self.testbed.nodes.iter().flat_map(|node| &node.storage).for_each(|link| link.set(slow, slow));
        let did = self.do_only(step).await;
        self.testbed.nodes.iter().flat_map(|node| &node.storage).for_each(|link| link.heal(false));
        let healed = self.record.now();
        self.until_it_works(step, healed).await;
        let end = self.record.now();
        let longest_gap = self.record.longest_gap(begin, end);
        let [done, refused, unknown] = self.record.outcomes_since(first);
        println!(
            "{:7.1} s  {did}{}; healed after {:.1} s, works {:.1} s later, longest gap {:.1} s, epochs +{}, {done} done, {refused} refused, {unknown} unknown",
            begin as f64 / 1e6,
            if step.slow { ", slow storage" } else { "" },
            (healed - begin) as f64 / 1e6,
            (end - healed) as f64 / 1e6,
            longest_gap as f64 / 1e6,
            self.audit.epoch().saturating_sub(epoch),
        );
        self.faults.push(Fault { kind: step.kind, longest_gap: Some(longest_gap) });
        tokio::time::sleep(seconds(step.pause)).await;
    }

    async fn until_it_works(&mut self, step: &Step, healed: Time) {
        let begun = tokio::time::Instant::now();
        while !self.record.has_written_since(healed) {
            if begun.elapsed() > PATIENCE {
                self.stuck.push(format!("after {}: no write within {PATIENCE:?}", step.kind));
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (number, node) in self.testbed.nodes.iter_mut().enumerate() {
            if node.process.has_ended() {
                self.stuck.push(format!("node {number} has ended by itself:\n{}", node.process.log_tail(20)));
            }
        }
        let stuck = self.testbed.all_ready().await;
        self.stuck.extend(stuck.into_iter().map(|text| format!("after {}: {text}", step.kind)));
    }

    async fn fault(&mut self, step: &Step, leader: usize, standby: usize) -> String {
        let lasts = seconds(step.lasts);
        let kind = step.kind;
        match kind {
            Kind::PauseLeader | Kind::PauseStandby => {
                let node = if kind == Kind::PauseLeader { leader } else { standby };
                self.pause(node, step).await
            }
            Kind::KillLeader | Kind::KillStandby => {
                let node = if kind == Kind::KillLeader { leader } else { standby };
                self.kill(node, step).await
            }
            Kind::TerminateLeader => self.terminate(leader, step).await,
            Kind::StepDown => self.step_down(leader, step).await,
            Kind::CutLeaderFromStorage
            | Kind::CutStandbyFromStorage
            | Kind::CutLeaderFromPeers
            | Kind::CutStandbyFromPeers
            | Kind::CutOffLeader
            | Kind::CutLeaderFromLock => {
                let is_standby = matches!(kind, Kind::CutStandbyFromStorage | Kind::CutStandbyFromPeers);
                let node = if is_standby { standby } else { leader };
                cut(&self.links(kind, node), step, lasts).await;
                format!("{kind} (node {node}, {})", manner(step))
            }
            Kind::RefuseStorageToLeader | Kind::RefusePeersOfLeader => {
                refuse(&self.links(kind, leader), lasts).await;
                format!("{kind} (node {leader}) for {:.1} s", step.lasts)
            }
            Kind::DelayStorage => {
                let way = Way::Delay(Duration::from_millis(20 * (1 + step.choice as u64)));
                let all = || self.testbed.nodes.iter().flat_map(|node| &node.storage);
                all().for_each(|link| link.set(way, way));
                tokio::time::sleep(lasts).await;
                all().for_each(|link| link.heal(false));
                format!("{kind} of all nodes by {way:?} each way for {:.1} s", step.lasts)
            }
            Kind::HoldWritePastClaim => self.hold_write(leader, step).await,
            Kind::LoseStorageAnswers | Kind::LosePeerAnswers | Kind::LoseClientAnswers => {
                self.lose(kind, leader, lasts).await
            }
            Kind::KillMember | Kind::FreezeMember | Kind::KillLeadingMember => self.member(step).await,
            Kind::EditLock | Kind::DeleteLock => self.lock_by_hand(step).await,
            Kind::CrowdAtLock => {
                let seed = self.record.now();
                let members = self.testbed.lock_members();
                let Deeds { edits, deletes, conflicts, failures } =
                    crowd::disturb(members, &self.audit.lock, seed, lasts).await;
                format!(
                    "{kind} for {:.1} s ({edits} edits, {deletes} deletes, {conflicts} conflicts, {failures} failures)",
                    step.lasts
                )
            }
            Kind::RefuseLockToAll => {
                let links: Vec<&Link> = self.testbed.nodes.iter().flat_map(|node| &node.lock).collect();
                refuse(&links, lasts).await;
                format!("{kind} for {:.1} s", step.lasts)
            }
            Kind::KillLockMember | Kind::FreezeLockMember => self.member(step).await,
            Kind::StepClock => self.step_clock(step, leader).await,
            Kind::FreezeWriter | Kind::BlockWriter => self.stop_writer(step).await,
            Kind::ThrottleApiServer => self.throttle(step).await,
            // Not of a plan.
            Kind::RestoreOlderCopy => kind.to_string(),
        }
    }

    /// The links of a node that a fault of this kind concerns.
    fn links(&self, kind: Kind, node: usize) -> Vec<&Link> {
        let nodes = &self.testbed.nodes;
        let node = &nodes[node];
        match kind {
            Kind::CutOffLeader => node.storage.iter().chain(nodes.iter().map(|node| &node.peers)).collect(),
            Kind::CutLeaderFromPeers | Kind::CutStandbyFromPeers | Kind::RefusePeersOfLeader => {
                vec![&node.peers]
            }
            Kind::CutLeaderFromLock => node.lock.iter().collect(),
            _ => node.storage.iter().collect(),
        }
    }

    /// Steps the wall clock of one node, and back. If that node does not lead, the one that does steps down meanwhile.
    async fn step_clock(&self, step: &Step, leader: usize) -> String {
        let by = STEPS[step.choice % STEPS.len()];
        let node = &self.testbed.nodes[CLOCK_NODE];
        node.step_clock(&self.testbed.folder, by);
        let mut who = "which leads";
        tokio::time::sleep(seconds(step.lasts / 2.0)).await;
        if leader != CLOCK_NODE {
            self.step_down(leader, &Step { lasts: 0.0, ..*step }).await;
            who = "while the leader steps down";
        }
        tokio::time::sleep(seconds(step.lasts / 2.0)).await;
        let leads = self.testbed.leader().await;
        let health = node.direct.call("GET", "sys/health", None).await;
        let told = health.ok().and_then(|answer| answer.body["clock_skew_ms"].as_i64());
        let told =
            told.map_or_else(|| "it did not answer".to_owned(), |ms| format!("it told {} s", ms / 1000));
        node.step_clock(&self.testbed.folder, 0);
        format!(
            "{} of node {CLOCK_NODE}, {who}, by {by} s for {:.1} s; {told}; node {leads:?} led at the end",
            step.kind, step.lasts
        )
    }

    async fn stop_writer(&self, step: &Step) -> String {
        let Store::Postgresql(server) = self.testbed.members.store() else { return step.kind.to_string() };
        let barrier = Barrier::put(server).await;
        let number = match barrier.held_up().await {
            Ok(number) => number,
            Err(why) => return format!("{} (did not succeed: {why})", step.kind),
        };
        if step.kind == Kind::BlockWriter {
            tokio::time::sleep(seconds(step.lasts)).await;
            barrier.lift().await;
        } else {
            let stopped = Stopped::at(number);
            barrier.lift().await;
            tokio::time::sleep(seconds(step.lasts)).await;
            drop(stopped);
        }
        format!("{} (process {number}) for {:.1} s", step.kind, step.lasts)
    }

    async fn throttle(&self, step: &Step) -> String {
        let Some(server) = self.testbed.api_server() else { return step.kind.to_string() };
        match throttle::throttle(&server.kubeconfig(), seconds(step.lasts)).await {
            Ok(count) => format!("{} for {:.1} s ({count} requests refused)", step.kind, step.lasts),
            Err(why) => format!("{} (did not succeed: {why})", step.kind),
        }
    }

    async fn pause(&self, node: usize, step: &Step) -> String {
        self.testbed.nodes[node].process.signal(Signal::STOP);
        tokio::time::sleep(seconds(step.lasts)).await;
        self.testbed.nodes[node].process.signal(Signal::CONT);
        format!("{} (node {node}) for {:.1} s", step.kind, step.lasts)
    }

    async fn kill(&mut self, node: usize, step: &Step) -> String {
        self.testbed.nodes[node].process.kill();
        tokio::time::sleep(seconds(step.lasts)).await;
        self.testbed.revive(node);
        format!("{} (node {node}), started again after {:.1} s", step.kind, step.lasts)
    }

    async fn step_down(&self, leader: usize, step: &Step) -> String {
        let http = self.testbed.nodes[leader].direct.with_token(&self.testbed.token);
        let answer = http.call("PUT", "sys/step-down", None).await;
        let said = answer.map_or_else(|error| format!("{error:?}"), |answer| answer.status.to_string());
        tokio::time::sleep(seconds(step.lasts)).await;
        format!("{} (node {leader}: {said})", step.kind)
    }

    async fn lock_by_hand(&self, step: &Step) -> String {
        let done = match step.kind {
            Kind::EditLock => self.testbed.lock_members().edit_lock().await,
            _ => self.testbed.lock_members().delete_lock().await,
        };
        tokio::time::sleep(seconds(step.lasts)).await;
        match done {
            Ok(()) => step.kind.to_string(),
            Err(why) => format!("{} (did not succeed: {why})", step.kind),
        }
    }

    async fn terminate(&mut self, leader: usize, step: &Step) -> String {
        let process = &mut self.testbed.nodes[leader].process;
        process.signal(Signal::TERM);
        if !process.ended(PATIENCE).await {
            self.stuck.push(format!("node {leader} did not end within {PATIENCE:?} of SIGTERM"));
            process.kill();
        }
        tokio::time::sleep(seconds(step.lasts)).await;
        self.testbed.revive(leader);
        format!("{} (node {leader}), started again after {:.1} s", step.kind, step.lasts)
    }

    /// Holds everything that the leader sends to the storage until another has claimed, and some time more.
    async fn hold_write(&mut self, leader: usize, step: &Step) -> String {
        let epoch = self.audit.epoch();
        let links: Vec<&Link> = self.testbed.nodes[leader].storage.iter().collect();
        links.iter().for_each(|link| link.set(Way::Hold, Way::Pass));
        let begun = tokio::time::Instant::now();
        while self.audit.epoch() == epoch && begun.elapsed() < CLAIM {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let claimed = if self.audit.epoch() > epoch {
            format!("a claim after {:.1} s", begun.elapsed().as_secs_f64())
        } else {
            "nobody claimed".to_owned()
        };
        tokio::time::sleep(seconds(step.lasts)).await;
        links.iter().for_each(|link| link.heal(false));
        format!("{} (node {leader}, {claimed}, released {:.1} s later)", step.kind, step.lasts)
    }

    async fn lose(&mut self, kind: Kind, leader: usize, lasts: Duration) -> String {
        let nodes = &self.testbed.nodes;
        let links: Vec<&Link> = match kind {
            Kind::LoseStorageAnswers => nodes[leader].storage.iter().collect(),
            Kind::LosePeerAnswers => vec![&nodes[leader].peers],
            _ => nodes.iter().map(|node| &node.clients).collect(),
        };
        let lost = || links.iter().map(|link| link.lost()).sum::<u64>();
        let (before, begun) = (lost(), tokio::time::Instant::now());
        while begun.elapsed() < lasts {
            links.iter().for_each(|link| link.lose_next_answer());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        links.iter().for_each(|link| link.lose_nothing());
        format!("{kind} (node {leader}): {} lost", lost() - before)
    }

    async fn member(&mut self, step: &Step) -> String {
        let is_lock = matches!(step.kind, Kind::KillLockMember | Kind::FreezeLockMember);
        let lock = self.testbed.lock.as_mut().filter(|_| is_lock);
        let members = lock.unwrap_or(&mut self.testbed.members);
        let member = match step.kind {
            Kind::KillLeadingMember => members.leading().await,
            _ => step.choice % members.abilities().members,
        };
        if matches!(step.kind, Kind::FreezeMember | Kind::FreezeLockMember) {
            members.freeze(member);
            tokio::time::sleep(seconds(step.lasts)).await;
            members.thaw(member);
        } else {
            members.kill(member);
            tokio::time::sleep(seconds(step.lasts)).await;
            members.start(member);
        }
        members.ready().await;
        format!("{} (member {member}) for {:.1} s", step.kind, step.lasts)
    }
}

fn manner(step: &Step) -> String {
    let ways = match step.directions {
        Directions::Both => "both ways",
        Directions::Requests => "requests",
        Directions::Answers => "answers",
    };
    let end = if step.breaks { "then broken" } else { "then delivered" };
    format!("{ways}, {:.1} s, {end}", step.lasts)
}

async fn cut(links: &[&Link], step: &Step, lasts: Duration) {
    let (to, back) = match step.directions {
        Directions::Both => (Way::Hold, Way::Hold),
        Directions::Requests => (Way::Hold, Way::Pass),
        Directions::Answers => (Way::Pass, Way::Hold),
    };
    links.iter().for_each(|link| link.set(to, back));
    tokio::time::sleep(lasts).await;
    links.iter().for_each(|link| link.heal(step.breaks));
}

async fn refuse(links: &[&Link], lasts: Duration) {
    links.iter().for_each(|link| link.refuse());
    tokio::time::sleep(lasts).await;
    links.iter().for_each(|link| link.heal(false));
}
