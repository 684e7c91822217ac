//! Garbage collection, and looking after what must not be garbage.
//!
//! The active node alone deletes, by uid, what no head has listed for a long time: objects of earlier epochs, whose
//! writers can list nothing any more, and its own. The same listing shows whether everything that the head needs is
//! still there; what is missing is written anew from memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::backend::Shared;
use super::counters::count;
use super::{load, segments, sync};
use crate::base::clock::Moment;
use crate::vault::physical::backend::StorageError;

/// Objects that are looked at in one round; far more than a store at its limit has.
const OBJECTS: usize = 20_000;
/// Deletions of one round, so that garbage never crowds out commits.
const DELETIONS: usize = 200;

/// The object of a segment, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentObject {
    /// `<store>-<epoch of the writer>-<random part>`.
    pub name: String,
    /// What the API server gave it, and to no other object of the same name; a deletion carries it.
    pub uid: String,
}

/// What the active node knew when it judges a listing. All of it is read **after** the listing was made: a head that is
/// newer than the listing lists at least what that listing must not lose.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The epoch of the head, which is the one that this node claimed.
    pub epoch: u64,
    /// Names of all objects that the head leads to.
    pub needed: &'a HashSet<String>,
    /// Names of objects that this node has written, or is writing, for a later head to list.
    pub busy: &'a HashSet<String>,
    /// Names of all objects that this node created since it started.
    pub own: &'a HashSet<String>,
}

/// Decides which objects are garbage: those that nothing has needed for the whole of an age, and that nobody can list
/// any more, because an earlier epoch wrote them, or this node did and has given them up.
///
/// Pure: it is told what was listed, what is known and what time it is, and remembers only since when each object is
/// unlisted. So the simulation runs it as it is.
#[derive(Debug, Clone)]
pub struct Collector {
    store: String,
    age: Duration,
    /// By uid: when an object was first seen unlisted.
    unlisted_since: HashMap<String, Moment>,
}

impl Collector {
    /// A collector for the store of the name `store`, which deletes what has been unlisted for `age`.
    pub fn new(store: &str, age: Duration) -> Self {
        Self { store: store.to_owned(), age, unlisted_since: HashMap::new() }
    }

    /// The garbage in `listing`, at most 200 objects; the rest is the next listing's. What is returned stays garbage
    /// until [`Collector::deleted`] says that it is gone, or a listing no longer shows it.
    pub fn judge(&mut self, listing: &[SegmentObject], known: &Known<'_>, now: Moment) -> Vec<SegmentObject> {
        let there: HashSet<&str> = listing.iter().map(|object| object.uid.as_str()).collect();
        self.unlisted_since.retain(|uid, _| there.contains(uid.as_str()));
        let mut garbage = Vec::new();
        for object in listing {
            if known.needed.contains(&object.name) || known.busy.contains(&object.name) {
                self.unlisted_since.remove(&object.uid);
                continue;
            }
            let since = *self.unlisted_since.entry(object.uid.clone()).or_insert(now);
            let is_of_the_past =
                segments::epoch_in(&object.name, &self.store).is_some_and(|of| of < known.epoch);
            let is_given_up = is_of_the_past || known.own.contains(&object.name);
            if is_given_up && now.since(since) >= self.age && garbage.len() < DELETIONS {
                garbage.push(object.clone());
            }
        }
        garbage
    }

    /// The object with `uid` was deleted.
    pub fn deleted(&mut self, uid: &str) {
        self.unlisted_since.remove(uid);
    }

    /// Forgets all ages: another node leads, and what this one saw unlisted may have been listed meanwhile.
    pub fn reset(&mut self) {
        self.unlisted_since.clear();
    }
}

/// Collects garbage until the instance is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let pause =
        (shared.settings.garbage_age() / 10).clamp(Duration::from_millis(500), Duration::from_secs(60));
    let mut collector = Collector::new(&shared.settings.name, shared.settings.garbage_age());
    loop {
        tokio::time::sleep(pause).await;
        if !shared.state().is_active() {
            collector.reset();
            continue;
        }
        if let Err(error) = round(&shared, &mut collector).await {
            tracing::debug!(%error, "cannot collect garbage");
        }
    }
}

/// One round.
async fn round(shared: &Shared, collector: &mut Collector) -> Result<(), StorageError> {
    let own_before = shared.state().own.clone();
    let found = shared.objects.segments(OBJECTS).await?;
    let listing: Vec<SegmentObject> = found
        .into_iter()
        .filter_map(|object| Some(SegmentObject { name: object.name?, uid: object.uid? }))
        .collect();
    // After the listing: see `Known`.
    sync::refresh(shared).await?;
    learn_parts(shared).await?;
    let (epoch, needed, busy, own) = {
        let state = shared.state();
        let (Some(head), true) = (&state.head, state.is_active()) else { return Ok(()) };
        let needed: HashSet<String> =
            state.list.iter().flat_map(|listed| listed.names()).map(str::to_owned).collect();
        let mut busy: HashSet<String> = state.pending.clone();
        for fold in state.ready.iter().chain(state.outlined.iter().map(|(_, fold)| fold)) {
            busy.extend(fold.listed.names().map(str::to_owned));
        }
        (head.epoch, needed, busy, state.own.clone())
    };
    let known = Known { epoch, needed: &needed, busy: &busy, own: &own };
    let garbage = collector.judge(&listing, &known, shared.clock.now());
    let there: HashSet<&str> = listing.iter().map(|object| object.name.as_str()).collect();
    watch_over(shared, &needed, &there).await?;
    for object in garbage {
        shared.objects.delete_segment(&object.name, &object.uid).await?;
        count(&shared.counting.segments_deleted);
        collector.deleted(&object.uid);
    }
    // What was created after the listing is not in it either.
    let is_gone =
        |name: &String| own_before.contains(name) && !busy.contains(name) && !there.contains(name.as_str());
    shared.state().own.retain(|name| !is_gone(name));
    Ok(())
}

/// Looks up the parts of manifests that another node wrote.
async fn learn_parts(shared: &Shared) -> Result<(), StorageError> {
    let unknown: Vec<_> = {
        let state = shared.state();
        let is_unknown = |listed: &&super::layout::Listed| listed.entry.parts > 0 && listed.parts.is_none();
        state.list.iter().filter(is_unknown).map(|listed| listed.entry.clone()).collect()
    };
    for entry in unknown {
        let outcome = load::manifest_parts(&shared.objects, &entry).await;
        let mut state = shared.state();
        match outcome {
            Ok(parts) => {
                let parts = Arc::new(parts);
                for listed in state.list.iter_mut().filter(|listed| listed.entry.name == entry.name) {
                    listed.parts = Some(Arc::clone(&parts));
                }
            }
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::error!(%error, "a segment is written anew from memory");
                state.is_damaged = true;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Marks the store as damaged if an object that the head needs is missing.
async fn watch_over(
    shared: &Shared,
    needed: &HashSet<String>,
    there: &HashSet<&str>,
) -> Result<(), StorageError> {
    for name in needed.iter().filter(|name| !there.contains(name.as_str())) {
        // It may have been created after the listing.
        if shared.objects.segment(name).await?.is_some() {
            continue;
        }
        let mut state = shared.state();
        let is_needed = state.list.iter().any(|listed| listed.names().any(|listed| listed == name));
        if is_needed && !state.is_damaged {
            tracing::error!(segment = %name, "a segment that the head lists is missing: it is written anew from memory");
            state.is_damaged = true;
        }
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: u64 = 600;

    fn objects(names: &[&str]) -> Vec<SegmentObject> {
        names
            .iter()
            .map(|name| SegmentObject { name: (*name).to_owned(), uid: format!("uid of {name}") })
            .collect()
    }

    fn names(objects: &[SegmentObject]) -> Vec<&str> {
        objects.iter().map(|object| object.name.as_str()).collect()
    }

    fn at(second: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(second))
    }

    fn set(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn collector() -> Collector {
        Collector::new("vault", Duration::from_secs(AGE))
    }

    /// What is judged as garbage `age` seconds after `name` was first seen, when the head is of epoch 5.
    fn judged(name: &str, needed: &[&str], busy: &[&str], own: &[&str], age: u64) -> bool {
        let (needed, busy, own) = (set(needed), set(busy), set(own));
        let known = Known { epoch: 5, needed: &needed, busy: &busy, own: &own };
        let mut collector = collector();
        let first = collector.judge(&objects(&[name]), &known, at(7));
        assert_eq!(first, [], "{name} is new");
        !collector.judge(&objects(&[name]), &known, at(7 + age)).is_empty()
    }

    #[test]
    fn garbage_is_old_unlisted_and_given_up() {
        for (name, needed, busy, own, age, is_garbage, why) in [
            ("vault-4-a", "", "", "", AGE, true, "of an earlier epoch"),
            ("vault-4-a", "", "", "", AGE - 1, false, "too young"),
            ("vault-4-a", "vault-4-a", "", "", AGE, false, "listed"),
            (
                "vault-4-a",
                "vault-4-b",
                "vault-4-c",
                "vault-4-d",
                AGE,
                true,
                "others are none of its business",
            ),
            ("vault-5-a", "", "", "vault-5-a", AGE, true, "own, and given up"),
            ("vault-5-a", "", "", "vault-5-a", AGE - 1, false, "own, but too young"),
            ("vault-5-a", "", "vault-5-a", "vault-5-a", AGE, false, "own, and about to be listed"),
            ("vault-5-a", "vault-5-a", "", "vault-5-a", AGE, false, "own, and listed"),
            ("vault-5-a", "", "", "", AGE, false, "somebody else's of this epoch"),
            ("vault-6-a", "", "", "", AGE * 9, false, "of an epoch to come: the head was put back"),
            ("vault-x-a", "", "", "", AGE * 9, false, "of no epoch"),
            ("other-4-a", "", "", "", AGE * 9, false, "of another store"),
        ] {
            let judged = judged(name, &[needed], &[busy], &[own], age);
            assert_eq!(judged, is_garbage, "{name}, {age} s unlisted: {why}");
        }
    }

    #[test]
    fn an_age_begins_anew_after_every_use() {
        let (needed, none) = (set(&["vault-1-a"]), set(&[]));
        let unused = Known { epoch: 5, needed: &none, busy: &none, own: &none };
        let listed = Known { needed: &needed, ..unused };
        let busy = Known { busy: &needed, ..unused };
        let found = objects(&["vault-1-a"]);
        for use_ in [listed, busy] {
            let mut collector = collector();
            for (second, known) in [(0, unused), (AGE - 1, use_), (AGE, unused), (2 * AGE - 1, unused)] {
                assert_eq!(collector.judge(&found, &known, at(second)), [], "{second} s");
            }
            assert_eq!(collector.judge(&found, &unused, at(2 * AGE)), found);
        }
        let mut collector = collector();
        collector.judge(&found, &unused, at(0));
        collector.reset();
        assert_eq!(
            collector.judge(&found, &unused, at(AGE)),
            [],
            "ages of an earlier term count for nothing"
        );
        assert_eq!(collector.judge(&[], &unused, at(AGE + 1)), []);
        assert_eq!(collector.judge(&found, &unused, at(3 * AGE)), [], "it was gone meanwhile");
    }

    #[test]
    fn another_object_of_the_same_name_has_an_age_of_its_own() {
        let none = set(&[]);
        let known = Known { epoch: 5, needed: &none, busy: &none, own: &none };
        let mut collector = collector();
        collector.judge(&objects(&["vault-1-a"]), &known, at(0));
        let again = [SegmentObject { name: "vault-1-a".to_owned(), uid: "another".to_owned() }];
        assert_eq!(collector.judge(&again, &known, at(AGE)), []);
        assert_eq!(collector.judge(&again, &known, at(2 * AGE)), again);
    }

    #[test]
    fn a_round_is_bounded_and_the_next_goes_on() {
        let none = set(&[]);
        let known = Known { epoch: 5, needed: &none, busy: &none, own: &none };
        let all: Vec<String> = (0..DELETIONS + 50).map(|n| format!("vault-1-{n:04}")).collect();
        let mut found = objects(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut collector = collector();
        assert_eq!(collector.judge(&found, &known, at(0)), []);
        let first = collector.judge(&found, &known, at(AGE));
        assert_eq!(names(&first), all[..DELETIONS]);
        assert_eq!(collector.judge(&found, &known, at(AGE)), first, "a deletion that failed is tried again");
        for object in &first {
            collector.deleted(&object.uid);
        }
        assert_eq!(
            names(&collector.judge(&found, &known, at(AGE + 1))),
            all[DELETIONS..],
            "no finalizer holds up others"
        );
        found.drain(..DELETIONS);
        assert_eq!(names(&collector.judge(&found, &known, at(AGE + 2))), all[DELETIONS..]);
    }
}
