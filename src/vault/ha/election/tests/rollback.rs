//! Storage that went back in time: what a process has seen, what the lock remembers, and what a person accepts.

use super::*;
use crate::config::AcceptedRollback;

/// Three epochs of history, and the storage as it was in the first.
fn aged() -> (World, Store) {
    let mut world = World::led();
    let older = world.store.clone();
    for _ in 0..2 {
        let old = world.active().unwrap();
        world.send(old, Event::HandOver { cause: Cause::StepDown });
        world.run_until(2_000, |w| w.active().is_some_and(|at| at != old));
        world.run(15_000);
    }
    assert_eq!((world.epoch(), world.record().active.unwrap().epoch), (3, 3));
    (world, older)
}

/// All processes end, and new ones of the same pods start.
fn restart(world: &mut World, process: &str, accepted: Option<&AcceptedRollback>) {
    world.nodes.clear();
    world.queue.clear();
    for name in NAMES {
        let at = world.add(settings(&format!("{}{process}", name.trim_end_matches('x'))));
        let election = Election::new(settings(&format!("{}{process}", name.trim_end_matches('x'))));
        world.nodes[at].election = election.accepting(accepted.cloned());
    }
}

fn accepting(world: &World, over: u64) -> AcceptedRollback {
    let head = world.store.head().unwrap();
    AcceptedRollback { cluster: head.cluster.to_string(), epoch: head.epoch, seq: head.seq, over }
}

/// Nobody leads for long, and every node says that the storage went back.
fn assert_refused(world: &mut World, what: &str) {
    let before = world.store.head().cloned();
    world.run(60_000);
    assert_eq!((world.active(), world.store.head()), (None, before.as_ref()), "{what}");
    for node in &world.nodes {
        assert!(node.election.rolled_back().is_some(), "{what}: {}", node.election.reason());
    }
}

#[test]
fn storage_that_went_back_in_time_stops_everybody_who_saw_it() {
    let mut world = World::led();
    let old = world.active().unwrap();
    let floor = world.nodes[old].election.highest().cloned();
    let mut store = Store::new();
    store.commit(None, &head(0, 1, &SeededRandom::new(99)), &[]);
    world.store = store;
    // What a process has seen itself is not overruled by an acceptance.
    let accepted = accepting(&world, 1);
    for node in &mut world.nodes {
        let election = std::mem::replace(&mut node.election, Election::new(settings("nobody_1_x")));
        node.election = election.accepting(Some(accepted.clone()));
    }
    world.send(old, Event::Checked { number: 0, floor, head: Some(world.store.head().cloned()) });
    world.settle();
    assert!(!world.nodes[old].is_serving);
    let reason = world.nodes[old].election.rolled_back().unwrap();
    assert!(reason.contains("stood at epoch 1"), "{reason}");
    world.run(60_000);
    assert_eq!(
        (world.active(), world.epoch()),
        (None, 0),
        "nobody claims: every node had seen the later head"
    );
}

#[test]
fn nodes_that_noticed_leave_the_lock_its_memory() {
    let (mut world, older) = aged();
    let old = world.active().unwrap();
    let floor = world.nodes[old].election.highest().cloned();
    world.store = older;
    world.send(old, Event::Checked { number: 0, floor, head: Some(world.store.head().cloned()) });
    world.run(60_000);
    assert_eq!((world.active(), world.record().holder.as_str()), (None, ""), "it lets go");
    restart(&mut world, "y", None);
    assert_refused(&mut world, "its release names what was lost");
}

#[test]
fn a_restart_does_not_accept_what_the_lock_knows_better() {
    let (mut world, older) = aged();
    world.store = older;
    restart(&mut world, "y", None);
    assert_refused(&mut world, "the lock names the last active node");
    let reason = world.nodes[0].election.rolled_back().unwrap();
    let named = accepting(&world, 3);
    assert!(reason.contains("the lock remembers epoch 3"), "{reason}");
    assert!(reason.ends_with(&format!("set ha.accept_rollback = \"{named}\"")), "{reason}");
    restart(&mut world, "z", None);
    assert_refused(&mut world, "neither does a second restart");
}

#[test]
fn a_lock_that_was_released_remembers_too() {
    let (mut world, older) = aged();
    for at in 0..NAMES.len() {
        world.send(at, Event::HandOver { cause: Cause::Shutdown });
        world.run(5_000);
    }
    assert_eq!((world.record().holder.as_str(), world.record().active), ("", None));
    world.store = older;
    restart(&mut world, "y", None);
    assert_refused(&mut world, "the release names its epoch");
}

#[test]
fn exactly_what_a_person_accepts_is_gone_on_with_and_no_epoch_is_led_twice() {
    let (mut world, older) = aged();
    world.store = older.clone();
    let accepted = accepting(&world, 3);
    let others = [
        AcceptedRollback { cluster: "another".into(), ..accepted.clone() },
        AcceptedRollback { epoch: accepted.epoch - 1, ..accepted.clone() },
        AcceptedRollback { seq: accepted.seq + 1, ..accepted.clone() },
        AcceptedRollback { over: accepted.over + 1, ..accepted.clone() },
    ];
    for (n, other) in others.iter().enumerate() {
        restart(&mut world, &format!("n{n}"), Some(other));
        assert_refused(&mut world, &other.to_string());
    }
    restart(&mut world, "y", Some(&accepted));
    world.run_until(20_000, |w| w.active().is_some());
    let head = world.store.head().unwrap();
    assert_eq!((head.epoch, head.seq), (4, accepted.seq + 1), "above every epoch that the lock knew");
    world.run(10_000);
    assert_eq!(world.record().active.unwrap().epoch, 4);

    restart(&mut world, "z", None);
    world.run_until(20_000, |w| w.active().is_some());
    assert_eq!(world.epoch(), 5, "after that it is a history like any other");

    // The same old storage once more, while the acceptance is still configured.
    world.store = older;
    restart(&mut world, "v", Some(&accepted));
    assert_refused(&mut world, "an acceptance is good for one use");
}

#[test]
fn a_node_that_dies_between_lock_and_claim_leaves_the_lock_its_memory() {
    let (mut world, older) = aged();
    world.store = older;
    let accepted = accepting(&world, 3);
    restart(&mut world, "y", Some(&accepted));
    world.dies_with_lock = true;
    world.run_until(20_000, |w| w.record().holder.ends_with("_y"));
    assert_eq!((world.epoch(), world.record().active.unwrap().epoch), (1, 3), "taken, and not claimed");
    restart(&mut world, "z", None);
    assert_refused(&mut world, "the lock still remembers");
}

#[test]
fn nonsense_in_the_lock_brings_no_active_node_down() {
    let mut world = World::led();
    let old = world.active().unwrap();
    world.edit(|record| {
        if let Some(active) = &mut record.active {
            active.epoch = 1_000_000;
        }
    });
    world.run(30_000);
    assert_eq!((world.active(), world.epoch()), (Some(old), 1));
    assert_eq!(world.record().active.unwrap().epoch, 1, "the next renewal says how it is");
}
