//! Every check of the chaos harness on histories that are right, and on the same ones with one thing wrong.
#![allow(unreachable_pub, missing_docs, dead_code, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../simulation/history.rs"]
mod history;

#[path = "judge.rs"]
mod judge;
#[path = "record.rs"]
mod record;

#[path = "plan.rs"]
mod plan;
#[path = "random.rs"]
mod random;

use judge::{Final, Row};
use record::{Event, Index, Outcome, What};

fn event(begin: u64, end: u64, what: What, outcome: Outcome) -> Event {
    Event { client: 1, node: 0, begin, end, what, outcome, index: None, note: String::new() }
}

fn done(begin: u64, end: u64, what: What) -> Event {
    event(begin, end, what, Outcome::Done)
}

fn at(seq: u64, mut event: Event) -> Event {
    event.index = Some(Index { cluster: "c".to_owned(), seq });
    event
}

fn row(epoch: u64, seq: u64, node: &str) -> Row {
    Row {
        cluster: "c".to_owned(),
        epoch,
        seq,
        batch: format!("b{seq}"),
        node: node.to_owned(),
        replaced: None,
        follows_reset: false,
    }
}

fn claim(epoch: u64, seq: u64, node: &str) -> Row {
    Row { replaced: Some(format!("b{}", seq - 1)), ..row(epoch, seq, node) }
}

/// A run in which everything is right.
fn right() -> (Vec<Event>, Vec<Row>, Final) {
    let events = vec![
        at(2, done(1, 2, What::Write { key: 0, value: 7 })),
        at(3, done(3, 4, What::Increment { counter: 0, count: 1 })),
        at(3, done(5, 6, What::Read { key: 0, value: 7 })),
        at(4, done(7, 8, What::CreateToken { token: 0, uses: 0 })),
        at(4, done(9, 10, What::UseToken { token: 0 })),
        at(6, done(11, 12, What::RevokeToken { token: 0 })),
        event(13, 14, What::UseToken { token: 0 }, Outcome::Refused),
        at(7, done(15, 16, What::CreateToken { token: 1, uses: 2 })),
        done(17, 18, What::UseToken { token: 1 }),
        done(17, 18, What::UseToken { token: 1 }),
        event(19, 20, What::UseToken { token: 1 }, Outcome::Refused),
        event(19, 25, What::Write { key: 0, value: 8 }, Outcome::Unknown),
    ];
    let journal = vec![
        row(1, 2, "a"),
        row(1, 3, "a"),
        row(1, 4, "a"),
        claim(2, 5, "b"),
        row(2, 6, "b"),
        row(2, 7, "b"),
    ];
    let stored =
        Final { registers: [(0, vec![7, 7, 7])].into(), counters: [(0, vec![1, 1, 1])].into(), tokens: 0 };
    (events, journal, stored)
}

/// The names of the checks that speak up after `change`.
fn found(change: impl FnOnce(&mut Vec<Event>, &mut Vec<Row>, &mut Final)) -> Vec<String> {
    let (mut events, mut journal, mut stored) = right();
    change(&mut events, &mut journal, &mut stored);
    let wrong = judge::judge(&events, &journal, &stored);
    wrong.into_iter().map(|text| text.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn what_is_right_is_not_blamed() {
    assert_eq!(found(|_, _, _| {}), Vec::<String>::new());
    // An unknown write may be there in the end.
    assert_eq!(found(|_, _, stored| stored.registers = [(0, vec![8, 8, 8])].into()), Vec::<String>::new());
}

#[test]
fn a_stale_read_and_a_lost_write_are_found() {
    assert_eq!(found(|events, _, _| events[2].what = What::Read { key: 0, value: 0 }), ["C1 C2 C4"]);
    assert_eq!(found(|_, _, stored| stored.registers = [(0, vec![0, 0, 0])].into()), ["C1 C2 C4"]);
    // A write that was refused and is there all the same.
    assert_eq!(found(|events, _, _| events[0].outcome = Outcome::Refused), ["C1 C2 C4"]);
}

#[test]
fn a_lost_increment_and_one_too_many_are_found() {
    assert_eq!(found(|_, _, stored| stored.counters = [(0, vec![0, 0, 0])].into()), ["C1 C2 C4"]);
    assert_eq!(found(|_, _, stored| stored.counters = [(0, vec![2, 2, 2])].into()), ["C1 C2 C4"]);
}

#[test]
fn an_epoch_that_goes_back_and_a_claim_of_something_else_are_found() {
    let backwards = found(|_, journal, _| journal[3].epoch = 0);
    assert!(backwards.iter().all(|name| name == "C3") && backwards.len() > 1, "{backwards:?}");
    assert_eq!(found(|_, journal, _| journal[3].replaced = Some("b2".to_owned())), ["C3"]);
    assert_eq!(found(|_, journal, _| journal[3].replaced = None), ["C3"]);
    assert_eq!(found(|_, journal, _| drop(journal.remove(1))), ["C3"]);
    // A client was shown a state that the journal does not have.
    assert_eq!(found(|events, _, _| events[7].index.as_mut().unwrap().seq = 9), ["C3"]);
}

#[test]
fn two_writers_in_an_epoch_are_found() {
    assert_eq!(found(|_, journal, _| journal[5].node = "a".to_owned()), ["C7"]);
}

#[test]
fn a_revoked_token_that_is_accepted_is_found() {
    assert_eq!(found(|events, _, _| events[6].outcome = Outcome::Done), ["C5"]);
    // An answer that nobody knows is no acceptance.
    assert_eq!(found(|events, _, _| events[6].outcome = Outcome::Unknown), Vec::<String>::new());
}

#[test]
fn a_use_too_many_is_found() {
    assert_eq!(found(|events, _, _| events[10].outcome = Outcome::Done), ["C5"]);
}

#[test]
fn a_token_that_is_forgotten_and_one_that_was_made_twice_are_found() {
    assert_eq!(found(|events, _, _| events[4].outcome = Outcome::Refused), ["C2"]);
    // The one that is used up may still be there.
    assert_eq!(found(|_, _, stored| stored.tokens = 1), Vec::<String>::new());
    assert_eq!(found(|_, _, stored| stored.tokens = 2), ["C4"]);
}

#[test]
fn an_answer_from_an_earlier_state_is_found() {
    assert_eq!(found(|events, _, _| events[5].index.as_mut().unwrap().seq = 2), ["C6"]);
}

#[test]
fn nodes_that_differ_in_the_end_are_found() {
    let differs = found(|_, _, stored| stored.registers = [(0, vec![7, 7, 8])].into());
    assert!(differs.contains(&"C8".to_owned()), "{differs:?}");
    assert_eq!(found(|_, _, stored| stored.counters = [(0, vec![1, 1, 0])].into()), ["C8"]);
}

#[test]
fn a_plan_follows_from_its_seed_and_has_every_kind_once_before_one_comes_again() {
    use plan::Kind;
    let abilities = plan::Abilities { members: 3, lock: true, writer: true, throttle: true, lock_members: 1 };
    let of = |seed, abilities, only, count| {
        plan::plan(plan::Wish { seed, only, is_brisk: false }, abilities, count)
    };
    // The last kind is of the end of a run, not of its plan.
    let planned = &plan::KINDS[..plan::KINDS.len() - 1];
    assert_eq!(plan::KINDS.last(), Some(&Kind::RestoreOlderCopy));
    let first = of(7, abilities, &[], planned.len());
    assert_eq!(first, of(7, abilities, &[], planned.len()));
    assert_ne!(first, of(8, abilities, &[], planned.len()));
    let mut kinds: Vec<_> = first.iter().map(|step| step.kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, planned);
    let nothing =
        plan::Abilities { members: 1, lock: false, writer: false, throttle: false, lock_members: 0 };
    let bare = of(7, nothing, &[], 100);
    let is_possible = |kind| {
        use Kind::{BlockWriter, DeleteLock, EditLock, FreezeWriter, KillLeadingMember, ThrottleApiServer};
        !matches!(
            kind,
            EditLock | DeleteLock | KillLeadingMember | FreezeWriter | BlockWriter | ThrottleApiServer
        )
    };
    assert!(bare.iter().all(|step| is_possible(step.kind)));
    let named = Kind::parse("hold-write-past-claim").unwrap();
    assert_eq!(named, Kind::HoldWritePastClaim);
    let alone = of(7, abilities, &[named, Kind::RestoreOlderCopy, Kind::StepDown], 3);
    let kinds: Vec<_> = alone.iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [named, Kind::StepDown, named]);
}

#[test]
fn the_faults_of_a_short_run_are_short() {
    let abilities = plan::Abilities { members: 3, lock: true, writer: true, throttle: true, lock_members: 1 };
    let plan = |is_brisk| plan::plan(plan::Wish { seed: 7, only: &[], is_brisk }, abilities, 100);
    let (long, brisk) = (plan(false), plan(true));
    assert!(long.iter().any(|step| step.lasts > 20.0));
    assert!(brisk.iter().all(|step| step.lasts <= 8.0));
    let kinds = |steps: &[plan::Step]| steps.iter().map(|step| step.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&long), kinds(&brisk));
}
