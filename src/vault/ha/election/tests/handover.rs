//! Handovers one after the other.

use super::*;

/// A world whose first leader has just stepped down; that one, and who leads now.
fn stepped_down() -> (World, usize, usize) {
    let mut world = World::led();
    let first = world.active().unwrap();
    world.send(first, Event::HandOver { cause: Cause::StepDown });
    world.run_until(2_000, |w| w.active().is_some_and(|at| at != first));
    let second = world.active().unwrap();
    (world, first, second)
}

/// Nodes that stepped down a moment ago do not stand of their own accord, but take over from one that ends.
#[test]
fn a_process_that_ends_hands_over_to_a_node_that_has_just_stepped_down() {
    let (mut world, first, second) = stepped_down();
    let third = world.others(first).into_iter().find(|at| *at != second).unwrap();
    world.nodes[third].is_dead = true;
    world.send(second, Event::HandOver { cause: Cause::Shutdown });
    let took = world.run_until(9_000, |w| w.active() == Some(first));
    assert!(took < 100, "{took}");
    assert_eq!((world.epoch(), world.nodes[second].handover.clone()), (3, Some(Ok(()))));
}

#[test]
fn a_node_that_does_not_rest_is_asked_first() {
    let (mut world, first, second) = stepped_down();
    let third = world.others(first).into_iter().find(|at| *at != second).unwrap();
    world.send(second, Event::HandOver { cause: Cause::Shutdown });
    let took = world.run_until(9_000, |w| w.active().is_some_and(|at| at != second));
    assert_eq!(world.active(), Some(third), "after {took} ms");
}

/// Three nodes that do not speak with each other, of which one leads.
fn led_without_peers() -> World {
    let mut world = World::new();
    world.nodes.clear();
    world.queue.clear();
    for name in NAMES {
        world.add(ElectionSettings { cluster_addr: String::new(), ..settings(name) });
    }
    world.run_until(2_000, |w| w.active().is_some());
    world
}

#[test]
fn a_step_down_without_peers_frees_the_lock_for_whoever_takes_it() {
    let mut world = led_without_peers();
    let first = world.active().unwrap();
    world.send(first, Event::HandOver { cause: Cause::StepDown });
    let took = world.run_until(2_000, |w| w.active().is_some_and(|at| at != first));
    assert!(took < 300, "{took}");
    assert_eq!((world.epoch(), world.nodes[first].handover.clone()), (2, Some(Ok(()))));
    assert!(!world.nodes[first].election.could_stand(world.moment()));
    world.run(30_000);
    assert_eq!(world.epoch(), 2, "and it stays there");
}

#[test]
fn who_steps_down_without_peers_leads_again_if_nobody_takes_the_lock() {
    let mut world = led_without_peers();
    let first = world.active().unwrap();
    for at in world.others(first) {
        world.nodes[at].is_dead = true;
    }
    world.send(first, Event::HandOver { cause: Cause::StepDown });
    let took = world.run_until(3_000, |w| w.epoch() == 2 && w.active() == Some(first));
    assert!((1_000..1_200).contains(&took), "{took}");
    let ended = world.nodes[first].handover.clone();
    assert_eq!(ended, Some(Err("no other node took over in time".to_owned())));
}

#[test]
fn a_node_that_stepped_down_does_not_stand_by_itself() {
    let (mut world, first, _) = stepped_down();
    let election = &world.nodes[first].election;
    assert!(election.could_take_over() && !election.could_stand(world.moment()));
    world.run(11_000);
    assert!(world.nodes[first].election.could_stand(world.moment()));
}
