//! Nodes that use no lock: one alone may use a storage, and which one must be certain.

use super::*;

fn lockless(identity: &str) -> ElectionSettings {
    ElectionSettings { lock: None, ..settings(identity) }
}

#[test]
fn a_sole_node_claims_a_new_vault_at_once() {
    let mut world = World::without_lock();
    world.add(lockless("a_1_x"));
    let took = world.run_until(1_000, |w| w.active().is_some());
    assert!(took < 50, "{took}");
    assert_eq!(world.record(), LockRecord::default());
    world.send(0, Event::HandOver { cause: Cause::StepDown });
    world.settle();
    assert!(world.nodes[0].handover.clone().unwrap().is_err());
}

#[test]
fn whoever_starts_later_waits_for_the_reads_of_the_one_before_and_keeps_the_storage() {
    let mut world = World::without_lock();
    world.add(lockless("a_1_x"));
    world.run_until(1_000, |w| w.active() == Some(0));
    world.run(20_000);
    world.add(lockless("b_1_x"));
    let took = world.run_until(2_000, |w| w.active() == Some(1));
    assert!(took >= 550, "the old one may answer reads for half a second: {took} ms");
    world.run(60_000);
    assert_eq!((world.active(), world.epoch()), (Some(1), 2), "they do not take it from each other");
    let reason = world.nodes[0].election.reason();
    assert!(reason.contains("b_1_x") && reason.contains("ha_enabled"), "{reason}");
}

#[test]
fn a_node_that_was_sealed_and_unsealed_claims_again() {
    let mut world = World::without_lock();
    world.add(lockless("a_1_x"));
    world.run_until(1_000, |w| w.active() == Some(0));
    world.send(0, Event::Able(false));
    world.run_until(1_000, |w| w.active().is_none());
    world.send(0, Event::Able(true));
    world.run_until(20_000, |w| w.active() == Some(0));
    assert_eq!(world.epoch(), 2);
}

#[test]
fn an_own_claim_whose_answer_was_lost_is_no_other_server() {
    let mut world = World::without_lock();
    world.lose_claims = 3;
    world.add(lockless("a_1_x"));
    world.run_until(20_000, |w| w.active() == Some(0));
}

#[test]
fn the_storage_of_a_cluster_is_left_to_its_lock() {
    let mut world = World::led();
    let leader = world.active();
    let alone = world.add(lockless("d_1_x"));
    world.run(60_000);
    assert_eq!((world.active(), world.epoch()), (leader, 1));
    let reason = world.nodes[alone].election.reason();
    assert!(reason.contains("inmem:/l") && reason.contains("adopt"), "{reason}");
}

#[test]
fn adopting_gives_the_lock_up() {
    let mut world = World::led();
    for node in &mut world.nodes {
        node.is_dead = true;
    }
    let alone = world.add(ElectionSettings { adopt: Some("cluster".into()), ..lockless("d_1_x") });
    let took = world.run_until(2_000, |w| w.active() == Some(alone));
    assert!(took >= 550, "{took}");
    assert_eq!(*world.store.head().unwrap().lock, LockName::none());
}

#[test]
fn a_vault_without_a_lock_gets_one_only_where_that_was_asked_for() {
    let mut world = World::without_lock();
    let node = world.add(settings("a_1_x"));
    world.run(20_000);
    assert_eq!((world.active(), world.epoch()), (None, 0));
    let reason = world.nodes[node].election.reason();
    assert!(reason.contains("uses the lock none"), "{reason}");
}
