//! The election in small worlds.

mod handover;
mod rollback;
mod without_lock;
mod world;

use self::world::*;
use super::*;
use crate::base::clock::UnixMillis;
use crate::base::random::SeededRandom;
use crate::vault::physical::inmem::Store;
use crate::vault::physical::{BatchId, Commit, HandoverWish, Head, LockName, LockRecord};

#[test]
fn a_new_cluster_gets_a_leader_at_once_and_keeps_it() {
    let mut world = World::new();
    let took = world.run_until(1000, |w| w.active().is_some());
    assert!(took < 100, "nobody led before, so there is nobody to wait for: {took} ms");
    let leader = world.active().unwrap();
    world.run(60_000);
    assert_eq!((world.active(), world.epoch()), (Some(leader), 1));
    assert_eq!(world.record().active.unwrap().identity, NAMES[leader]);
    assert!(world.record().renewals > 20);
}

#[test]
fn after_a_crash_the_lease_runs_out_and_the_read_lease_is_waited_for() {
    let mut world = World::led();
    world.run(20_000);
    let old = world.active().unwrap();
    world.nodes[old].is_dead = true;
    let took = world.run_until(10_000, |w| w.active().is_some());
    assert!((4_000..=6_700).contains(&took), "{took}");
    assert_eq!(world.epoch(), 2);
}

#[test]
fn a_duration_that_somebody_wrote_into_the_lock_is_believed_up_to_two_minutes() {
    for (seconds, least, most) in [(1, 550, 2_700), (60, 57_000, 61_000), (86_400, 117_000, 121_000)] {
        let mut world = World::led();
        world.run(20_000);
        let old = world.active().unwrap();
        world.nodes[old].is_dead = true;
        world.edit(|record| record.duration_seconds = seconds);
        let took = world.run_until(200_000, |w| w.active().is_some());
        assert!((least..=most).contains(&took), "{seconds} s: {took} ms");
    }
}

#[test]
fn definite_evidence_shortens_the_wait_unless_the_epoch_is_young() {
    for (age, is_quick) in [(20_000, true), (3_000, false)] {
        let mut world = World::led();
        world.run(age);
        let old = world.active().unwrap();
        let identity = NAMES[old].to_owned();
        for at in world.others(old) {
            world.send(at, Event::Peer { identity: identity.clone(), sign: Sign::Answered });
        }
        world.settle();
        world.nodes[old].is_dead = true;
        for sign in [Sign::Closed, Sign::Refused] {
            for at in world.others(old) {
                world.send(at, Event::Peer { identity: identity.clone(), sign });
            }
        }
        let took = world.run_until(10_000, |w| w.active().is_some());
        assert_eq!(took < 700, is_quick, "age {age}: {took} ms");
        assert!(took >= 550, "the read lease is waited for in any case: {took} ms");
    }
}

#[test]
fn the_lock_may_say_that_its_holder_has_ended() {
    let before_it = "vault-0_u_before".to_owned();
    for (age, names_holder, is_quick) in [(20_000, true, true), (3_000, true, false), (20_000, false, false)]
    {
        let mut world = World::led();
        world.run(age);
        let old = world.active().unwrap();
        world.nodes[old].is_dead = true;
        let ended = if names_holder { NAMES[old].to_owned() } else { before_it.clone() };
        world.edit(|record| record.ended = Some(ended));
        let took = world.run_until(10_000, |w| w.active().is_some());
        assert_eq!(took < 700, is_quick, "age {age}, {names_holder}: {took} ms");
        assert!(took >= 550, "the read lease is waited for in any case: {took} ms");
        assert_eq!(world.record().ended, None, "it was said of the holder before");
    }
}

#[test]
fn a_holder_that_was_taken_for_dead_loses_nothing_but_the_lock() {
    let mut world = World::led();
    world.run(20_000);
    let old = world.active().unwrap();
    world.edit(|record| record.ended = Some(NAMES[old].to_owned()));
    world.run(10_000);
    let epoch = world.epoch();
    assert!(world.active().is_some() && epoch <= 2, "{epoch}");
    world.run(60_000);
    assert_eq!(world.epoch(), epoch, "and nobody goes on fighting");
}

#[test]
fn silence_is_no_evidence() {
    let mut world = World::led();
    world.run(20_000);
    let old = world.active().unwrap();
    world.nodes[old].is_dead = true;
    for at in world.others(old) {
        for sign in [Sign::Answered, Sign::Closed, Sign::Refused] {
            // Signs of another process, and refusals of one that never answered, prove nothing.
            world.send(at, Event::Peer { identity: "somebody_else_x".into(), sign });
        }
        world.send(at, Event::Peer { identity: NAMES[old].into(), sign: Sign::Refused });
        world.send(at, Event::Peer { identity: NAMES[old].into(), sign: Sign::Refused });
    }
    let took = world.run_until(10_000, |w| w.active().is_some());
    assert!(took >= 4_000, "{took}");
}

#[test]
fn step_down_moves_the_leadership_once_without_the_wait() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.send(old, Event::HandOver { cause: Cause::StepDown });
    let took = world.run_until(2_000, |w| w.active().is_some_and(|at| at != old));
    assert!(took < 100, "{took}");
    assert_eq!((world.epoch(), world.nodes[old].handover.clone()), (2, Some(Ok(()))));
    world.run(30_000);
    assert_eq!(world.epoch(), 2, "and it stays there");
}

#[test]
fn a_step_down_with_nobody_to_take_over_changes_nothing() {
    let mut world = World::led();
    let old = world.active().unwrap();
    for at in world.others(old) {
        world.nodes[at].is_deaf_to_prepare = true;
    }
    world.send(old, Event::HandOver { cause: Cause::StepDown });
    world.run(3_000);
    assert_eq!((world.active(), world.epoch()), (Some(old), 1));
    assert!(world.nodes[old].handover.clone().unwrap().is_err());
}

#[test]
fn the_old_active_takes_back_what_its_successor_does_not_claim() {
    let mut world = World::led();
    let old = world.active().unwrap();
    // Ready when asked, and dead when it counts.
    world.send(old, Event::HandOver { cause: Cause::StepDown });
    let cx = Context { now: world.moment(), time: UnixMillis(5), random: &SeededRandom::new(1) };
    let (at, event) = world.queue.pop_front().unwrap();
    let effects = world.nodes[at].election.step(event, cx);
    for effect in effects {
        world.carry_out(at, effect);
    }
    for at in world.others(old) {
        world.nodes[at].is_dead = true;
    }
    let took = world.run_until(3_000, |w| w.epoch() == 2 && w.active() == Some(old));
    assert!((1_000..1_200).contains(&took), "{took}");
}

#[test]
fn a_wish_in_the_lock_is_granted_once_to_whom_it_names() {
    let mut world = World::led();
    let old = world.active().unwrap();
    let wanted = world.others(old)[1];
    let pod = crate::vault::ha::pod_of(NAMES[wanted]).to_owned();
    world.edit(|record| record.handover = Some(HandoverWish { nonce: "1".into(), to: Some(pod) }));
    world.run_until(2_000, |w| w.active() == Some(wanted));
    world.run(20_000);
    assert_eq!(world.epoch(), 2);
    assert_eq!(world.record().handover, None);
}

#[test]
fn a_process_that_ends_hands_over_and_never_stands_again() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.send(old, Event::HandOver { cause: Cause::Shutdown });
    world.run_until(2_000, |w| w.active().is_some_and(|at| at != old));
    for at in world.others(old) {
        world.nodes[at].is_dead = true;
    }
    world.run(30_000);
    assert_eq!((world.active(), world.epoch()), (None, 2));
}

#[test]
fn a_lock_that_was_deleted_is_written_again_and_nobody_is_deposed() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.run(15_000);
    world.register.remove();
    world.run(20_000);
    assert_eq!((world.active(), world.epoch()), (Some(old), 1));
    assert_eq!(world.record().holder, NAMES[old]);
    world.edit(|record| *record = LockRecord::default());
    world.run(20_000);
    assert_eq!(
        (world.active(), world.epoch()),
        (Some(old), 1),
        "an emptied lock that names no epoch is not believed"
    );
}

#[test]
fn another_holder_stops_commits_for_a_second_and_deposes_nobody() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.edit(|record| record.holder = "stranger_1_x".into());
    world.settle();
    assert!(world.nodes[old].is_suspended);
    let took = world.run_until(3_000, |w| !w.nodes[old].is_suspended);
    assert!((1_000..1_100).contains(&took), "{took}");
    world.run(30_000);
    assert!(world.active().is_some());
    assert!(world.epoch() <= 2);
}

#[test]
fn a_long_absence_of_the_lock_service_moves_nothing() {
    let mut world = World::led();
    let old = world.active().unwrap();
    for node in &mut world.nodes {
        node.is_lock_away = true;
    }
    world.run(60_000);
    assert_eq!((world.active(), world.epoch()), (Some(old), 1));
    for node in &mut world.nodes {
        node.is_lock_away = false;
        node.seen_version = Some("forgotten".into());
    }
    world.run(20_000);
    assert_eq!(
        (world.active(), world.epoch()),
        (Some(old), 1),
        "the lease ran out only because nobody could renew it"
    );
}

#[test]
fn a_sealed_active_lets_go_at_once() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.send(old, Event::Able(false));
    let took = world.run_until(2_000, |w| w.active().is_some_and(|at| at != old));
    assert!(took <= 200, "it renounced, so nobody waits: {took} ms");
}

#[test]
fn a_node_that_cannot_serve_gives_the_lock_up_only_to_one_that_can() {
    let mut world = World::led();
    let old = world.active().unwrap();
    for node in &mut world.nodes {
        node.probe_works = false;
    }
    world.run(30_000);
    assert_eq!((world.active(), world.epoch()), (Some(old), 1), "an outage starts no carousel");
    let other = world.others(old)[0];
    world.nodes[other].probe_works = true;
    world.run_until(5_000, |w| w.active() == Some(other));
}

#[test]
fn who_may_not_stand_does_not() {
    type Case = (&'static str, fn(&mut ElectionSettings), &'static str);
    let cases: [Case; 2] = [
        (
            "lock",
            |s| s.lock = Some(LockName { kind: "etcd".into(), namespace: String::new(), name: "l".into() }),
            "adopt",
        ),
        ("format", |s| s.format = 0, "format"),
    ];
    for (what, change, word) in cases {
        let mut world = World::new();
        world.nodes.clear();
        world.queue.clear();
        let mut settings = settings("a_1_x");
        change(&mut settings);
        world.add(settings);
        world.run(20_000);
        assert_eq!((world.active(), world.epoch()), (None, 0), "{what}");
        assert!(
            world.nodes[0].election.reason().contains(word),
            "{what}: {}",
            world.nodes[0].election.reason()
        );
    }
    let mut world = World::new();
    world.nodes.clear();
    world.queue.clear();
    let mut adopting = settings("a_1_x");
    adopting.lock = Some(LockName { kind: "etcd".into(), namespace: String::new(), name: "l".into() });
    adopting.adopt = Some("cluster".into());
    world.add(adopting.clone());
    world.run_until(2_000, |w| w.active().is_some());
    assert_eq!(
        world.store.head().map(|head| &*head.lock),
        adopting.lock.as_ref(),
        "the claim moves the lock"
    );
}

#[test]
fn the_leader_that_the_lock_of_another_storage_names_is_nobody_here() {
    let mut world = World::led();
    let active = world.active().unwrap();
    let mut foreign = settings("d_1_x");
    foreign.lock = Some(LockName { kind: "etcd".into(), namespace: String::new(), name: "l".into() });
    // Also with leave to claim: until it has, the head is another cluster's.
    for adopt in [None, Some("cluster".to_owned())] {
        foreign.adopt = adopt;
        world.add(foreign.clone());
        world.run(3_000);
        let node = world.nodes.pop().unwrap();
        assert!(node.election.lock().active().is_some(), "it has seen the lock");
        assert_eq!(node.election.leader(), None);
        let others = world.others(active);
        assert!(others.iter().all(|other| world.nodes[*other].election.leader().is_some()));
        assert_eq!(world.active(), Some(active));
        world.queue.clear();
    }
}

#[test]
fn a_node_that_is_about_to_be_deleted_does_not_stand() {
    let mut world = World::led();
    let old = world.active().unwrap();
    let [first, second] = world.others(old)[..] else { panic!() };
    world.edit(|record| record.leaving = Some(crate::vault::ha::pod_of(NAMES[first]).to_owned()));
    world.run(5_000);
    world.nodes[old].is_dead = true;
    world.run_until(10_000, |w| w.active() == Some(second));
    assert_eq!(world.record().leaving.as_deref(), Some(crate::vault::ha::pod_of(NAMES[first])), "it is kept");
}

#[test]
fn a_claim_whose_answer_was_lost_is_recognised() {
    let mut world = World::new();
    world.lose_claims = 2;
    world.run_until(2_000, |w| w.active().is_some());
    assert_eq!(world.epoch(), 1);
}

#[test]
fn a_claim_follows_an_active_that_still_commits_but_no_other_epoch() {
    let mut world = World::led();
    world.run(20_000);
    let old = world.active().unwrap();
    let [first, second] = world.others(old)[..] else { panic!() };
    world.nodes[second].is_dead = true;
    world.nodes[old].is_dead = true;
    // A commit of the old epoch lands between the check and the claim.
    world.run_until(10_000, |w| {
        matches!(w.nodes[first].election.phase(), Phase::Idle) && w.now.as_millis() % 50 == 0
    });
    let current = world.store.head().unwrap().clone();
    let next =
        Head { seq: current.seq + 1, batch_id: BatchId::new(&SeededRandom::new(3)), ..current.clone() };
    world.store.commit(Some(&current), &next, &[]);
    world.run_until(10_000, |w| w.active() == Some(first));
    assert_eq!((world.epoch(), world.store.head().unwrap().seq), (2, next.seq + 1));
}

#[test]
fn an_empty_storage_is_waited_for() {
    let mut world = World::new();
    world.store = Store::new();
    world.run(5_000);
    assert_eq!(world.nodes[0].election.is_empty(), Some(true));
    world.store.commit(None, &head(0, 1, &SeededRandom::new(2)), &[]);
    world.run_until(2_000, |w| w.active().is_some());
}
