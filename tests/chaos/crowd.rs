//! Ten writers that edit and delete the lock by hand, all at once.

use std::sync::Arc;
use std::time::Duration;

use holdfast::vault::physical::{HaBackend, LockRecord, Swap, Version};
use tokio::time::Instant;

use crate::members::Members;
use crate::random::Seeded;

/// Writers that keep to the version that they read.
const CAREFUL: u64 = 8;

/// What the crowd managed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deeds {
    pub edits: u32,
    pub deletes: u32,
    /// Edits that came too late: another one had written.
    pub conflicts: u32,
    pub failures: u32,
}

impl Deeds {
    fn plus(self, other: Self) -> Self {
        Self {
            edits: self.edits + other.edits,
            deletes: self.deletes + other.deletes,
            conflicts: self.conflicts + other.conflicts,
            failures: self.failures + other.failures,
        }
    }
}

/// Lets eight writers swap what they read for nonsense, one overwrite the lock whatever it holds, and one delete it.
pub async fn disturb(members: &Members, lock: &Arc<dyn HaBackend>, seed: u64, lasts: Duration) -> Deeds {
    let end = Instant::now() + lasts;
    let careful: Vec<_> = (0..CAREFUL)
        .map(|writer| tokio::spawn(swap(Arc::clone(lock), writer, Seeded::new(seed ^ (writer << 40)), end)))
        .collect();
    let mut deeds = blunt(members, &mut Seeded::new(seed), end).await;
    for writer in careful {
        deeds = deeds.plus(writer.await.unwrap());
    }
    deeds
}

async fn pause(random: &mut Seeded) {
    tokio::time::sleep(Duration::from_secs_f64(random.between(0.02, 0.2))).await;
}

async fn swap(lock: Arc<dyn HaBackend>, writer: u64, mut random: Seeded, end: Instant) -> Deeds {
    let mut deeds = Deeds::default();
    while Instant::now() < end {
        pause(&mut random).await;
        let Ok(found) = lock.read().await else {
            deeds.failures += 1;
            continue;
        };
        // A lock that is gone is made anew by a stranger.
        let (version, record): (Option<Version>, LockRecord) =
            found.map_or_else(Default::default, |found| (Some(found.version), found.record));
        match lock.swap(version.as_ref(), &nonsense(record, writer, &mut random)).await {
            Swap::Swapped(_) => deeds.edits += 1,
            Swap::Conflict => deeds.conflicts += 1,
            Swap::Unknown { .. } => deeds.failures += 1,
        }
    }
    deeds
}

/// What somebody may write who does not know better. It names no epoch above that of the head: that says that the storage
/// went back in time, and stops every node that starts (docs/adr/006).
fn nonsense(old: LockRecord, writer: u64, random: &mut Seeded) -> LockRecord {
    let epoch = old.active.as_ref().map(|active| active.epoch);
    let mut record = LockRecord { duration_seconds: 4, renewals: old.renewals + 1, ..old };
    match random.below(7) {
        0 => record.holder = format!("somebody-{writer}"),
        1 => record.holder = String::new(),
        2 => {
            record.holder = String::new();
            record.released_epoch = epoch.map(|epoch| epoch.saturating_sub(random.below(2) as u64));
        }
        3 => record.active = None,
        4 => {
            record.successor = Some(format!("somebody-{writer}"));
            record.renounced_epoch = epoch;
        }
        5 => record.ended = Some(record.holder.clone()),
        _ => record = LockRecord::default(),
    }
    record
}

async fn blunt(members: &Members, random: &mut Seeded, end: Instant) -> Deeds {
    let mut deeds = Deeds::default();
    while Instant::now() < end {
        pause(random).await;
        let is_edit = random.below(2) == 0;
        let done = if is_edit { members.edit_lock().await } else { members.delete_lock().await };
        match done {
            Ok(()) if is_edit => deeds.edits += 1,
            Ok(()) => deeds.deletes += 1,
            Err(_) => deeds.failures += 1,
        }
    }
    deeds
}
