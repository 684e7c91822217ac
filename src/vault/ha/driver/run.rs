//! The task that owns the election.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::member::{Shared, View, lock};
use crate::base::task::spawn;
use crate::vault::ha::election::{Context, Election, ElectionSettings, Event, Phase};
use crate::vault::ha::status::{HaStatus, Role};
use crate::vault::physical::ActiveRecord;
use crate::vault::physical::head::FORMAT;

/// Longest time between two steps.
const TICK: Duration = Duration::from_secs(1);

/// Starts all tasks of a node.
pub(in crate::vault::ha) fn start(shared: &Arc<Shared>, events: mpsc::Receiver<Event>) {
    spawn("ha-election", elect(Arc::clone(shared), events));
    spawn("ha-follow", Arc::clone(shared).follow());
    spawn("ha-greet", Arc::clone(shared).greet());
    if let Some(lock) = shared.parts.lock.clone() {
        spawn("ha-watch-lock", Arc::clone(shared).watch_lock(lock));
    }
}

async fn elect(shared: Arc<Shared>, mut events: mpsc::Receiver<Event>) {
    let settings = &shared.parts.settings;
    let mut election = Election::new(ElectionSettings {
        identity: settings.identity.clone(),
        api_addr: settings.api_addr.clone(),
        cluster_addr: settings.cluster_addr.clone(),
        lease: settings.lease(),
        lock: shared.parts.lock.as_ref().map(|lock| lock.name()),
        adopt: settings.adopt.clone(),
        format: FORMAT,
    })
    .accepting(settings.accept_rollback.clone());
    if let Some(accepted) = &settings.accept_rollback {
        tracing::warn!(%accepted, "one rollback of the storage would be accepted: remove accept_rollback once a node leads");
    }
    let mut event = Event::Able(shared.parts.candidate.is_unsealed());
    loop {
        let (now, unix) = (shared.now(), shared.unix());
        let (is_skewed, time) = {
            let mut wall = lock(&shared.wall);
            (wall.is_skewed(now, unix), wall.advance(now, unix))
        };
        let cx = Context { now, time, random: &*shared.parts.random };
        let mut effects = Vec::new();
        if is_skewed != election.is_skewed() {
            let skew_ms = shared.clock_skew_ms();
            if is_skewed {
                tracing::warn!(
                    skew_ms,
                    "this node's wall clock is off: it does not stand until that is mended"
                );
            } else {
                tracing::info!(skew_ms, "this node's wall clock is believed again");
            }
            effects.extend(election.step(Event::Skewed(is_skewed), cx));
        }
        effects.extend(election.step(event, cx));
        refresh(&shared, &election);
        for effect in effects {
            shared.carry_out(effect);
        }
        publish(&shared, &election);
        let pause = election.wake_at().map_or(TICK, |at| at.since(shared.now()).min(TICK));
        event = tokio::select! {
            event = events.recv() => match event {
                Some(event) => event,
                None => return,
            },
            () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => Event::Tick,
            () = shared.parts.shutdown.wait() => break,
        };
    }
    shared.carry_out(crate::vault::ha::election::Effect::Renounce);
    shared.carry_out(crate::vault::ha::election::Effect::Demote);
}

/// Lets ledgers and peers see what the election knows, before its effects are carried out.
fn refresh(shared: &Shared, election: &Election) {
    let (elections, promotions) = election.counts();
    if let Some(highest) = election.highest() {
        shared.note_head(highest);
    }
    *lock(&shared.view) = View {
        highest: election.highest().cloned(),
        could_take_over: election.could_take_over(),
        could_stand: election.could_stand(shared.now()),
        active: election.named_active().cloned(),
        elections,
        promotions,
    };
}

fn publish(shared: &Shared, election: &Election) {
    let role = role_of(shared, election);
    let leader = leader_of(shared, election, &role);
    let head = election.highest().cloned();
    let reason = election.reason().to_owned();
    shared.status.send_if_modified(|status| {
        let next = HaStatus { role, leader, head, reason, storage_away: status.storage_away.clone() };
        // The head changes with every commit, and nobody waits for that here.
        let has_changed =
            (&next.role, &next.leader, &next.reason) != (&status.role, &status.leader, &status.reason);
        if next.role.word() != status.role.word() {
            tracing::info!(
                from = status.role.word(),
                to = next.role.word(),
                reason = next.reason,
                "role changed"
            );
        }
        *status = next;
        has_changed
    });
}

fn role_of(shared: &Shared, election: &Election) -> Role {
    if let Some(reason) = election.rolled_back() {
        return Role::RolledBack { reason: reason.to_owned() };
    }
    match election.phase() {
        Phase::Active(_) if election.is_handing_over() => return Role::HandingOver,
        Phase::Active(reign) if shared.is_serving.load(Ordering::Acquire) => {
            let ago = shared.now().since(reign.since());
            let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            let since_unix = match &shared.status.borrow().role {
                // Once told, it stays: the wall clock may be set meanwhile.
                Role::Active { epoch, since_unix, .. } if *epoch == reign.epoch() => *since_unix,
                _ => crate::base::clock::UnixMillis(shared.unix().0.saturating_sub(ago_ms)),
            };
            return Role::Active { epoch: reign.epoch(), since: reign.since(), since_unix };
        }
        Phase::Taking(_)
        | Phase::Looking { .. }
        | Phase::Claiming(_)
        | Phase::Rising(_)
        | Phase::Active(_) => {
            return Role::Preparing;
        }
        Phase::Idle | Phase::Checking { .. } => {}
    }
    match election.is_empty() {
        None => Role::Unknown,
        Some(true) => Role::Uninitialised,
        Some(false) if !election.is_able() => Role::Sealed,
        Some(false) => Role::Standby,
    }
}

fn leader_of(shared: &Shared, election: &Election, role: &Role) -> Option<ActiveRecord> {
    let settings = &shared.parts.settings;
    match role {
        Role::Active { epoch, .. } => Some(ActiveRecord {
            identity: settings.identity.clone(),
            epoch: *epoch,
            api_addr: settings.api_addr.clone(),
            cluster_addr: settings.cluster_addr.clone(),
        }),
        Role::RolledBack { .. } | Role::HandingOver | Role::Preparing => None,
        _ => election.leader().filter(|active| active.identity != settings.identity).cloned(),
    }
}
