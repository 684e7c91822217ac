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

/// Collects garbage until the instance is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let pause =
        (shared.settings.garbage_age() / 10).clamp(Duration::from_millis(500), Duration::from_secs(60));
    let mut unlisted_since = HashMap::new();
    loop {
        tokio::time::sleep(pause).await;
        if !shared.state().is_active() {
            unlisted_since.clear();
            continue;
        }
        if let Err(error) = round(&shared, &mut unlisted_since).await {
            tracing::debug!(%error, "cannot collect garbage");
        }
    }
}

/// One round. `unlisted_since` remembers, by uid, when an object was first seen unlisted.
async fn round(shared: &Shared, unlisted_since: &mut HashMap<String, Moment>) -> Result<(), StorageError> {
    let own_before = shared.state().own.clone();
    let found = shared.objects.segments(OBJECTS).await?;
    // After the listing: a head that is newer than the listing lists at least what that listing must not lose.
    sync::refresh(shared).await?;
    learn_parts(shared).await?;
    let (epoch, needed, busy, own) = {
        let state = shared.state();
        let (Some(head), true) = (&state.head, state.is_active()) else { return Ok(()) };
        let mut needed: HashMap<String, String> = HashMap::new();
        for listed in &state.list {
            needed.insert(listed.entry.name.clone(), listed.entry.uid.clone());
            for part in listed.parts.iter().flat_map(|parts| parts.iter()) {
                needed.insert(part.name.clone(), part.uid.clone());
            }
        }
        let mut busy: HashSet<String> = state.pending.clone();
        for fold in state.ready.iter().chain(state.outlined.iter().map(|(_, fold)| fold)) {
            busy.extend(fold.listed.names().map(str::to_owned));
        }
        (head.epoch, needed, busy, state.own.clone())
    };
    let now = shared.clock.now();
    let mut there: HashMap<&str, &str> = HashMap::new();
    let mut garbage = Vec::new();
    for object in &found {
        let (Some(name), Some(uid)) = (object.name.as_deref(), object.uid.as_deref()) else { continue };
        there.insert(name, uid);
        if needed.contains_key(name) || busy.contains(name) {
            unlisted_since.remove(uid);
            continue;
        }
        let since = *unlisted_since.entry(uid.to_owned()).or_insert(now);
        let is_theirs_no_more = segments::epoch_in(name, &shared.settings.name).is_some_and(|of| of < epoch);
        if now.since(since) >= shared.settings.garbage_age() && (is_theirs_no_more || own.contains(name)) {
            garbage.push((name.to_owned(), uid.to_owned()));
        }
    }
    watch_over(shared, &needed, &there).await?;
    for (name, uid) in garbage.into_iter().take(DELETIONS) {
        shared.objects.delete_segment(&name, &uid).await?;
        count(&shared.counting.segments_deleted);
        unlisted_since.remove(&uid);
    }
    unlisted_since.retain(|uid, _| there.values().any(|found| found == uid));
    // What was created after the listing is not in it either.
    let is_gone = |name: &String| {
        own_before.contains(name) && !busy.contains(name) && !there.contains_key(name.as_str())
    };
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
    needed: &HashMap<String, String>,
    there: &HashMap<&str, &str>,
) -> Result<(), StorageError> {
    for name in needed.keys().filter(|name| !there.contains_key(name.as_str())) {
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
