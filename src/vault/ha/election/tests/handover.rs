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

#[test]
fn a_node_that_stepped_down_does_not_stand_by_itself() {
    let (mut world, first, _) = stepped_down();
    let election = &world.nodes[first].election;
    assert!(election.could_take_over() && !election.could_stand(world.moment()));
    world.run(11_000);
    assert!(world.nodes[first].election.could_stand(world.moment()));
}
