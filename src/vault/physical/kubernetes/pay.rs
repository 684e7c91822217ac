//! Waiting for the budget. Commits and merges take turns, so that a long merge delays a commit by one slice.

use std::time::Duration;

use super::backend::Shared;
use super::client::head_of;
use crate::crd::store::VaultStoreHead;

/// What a turn of a merge takes out at most: some 60 ms of the default budget.
const SLICE_BYTES: usize = 16 << 10;

/// What a head adds to its records, and each entry of its list.
const HEAD_BYTES: usize = 1 << 10;
const ENTRY_BYTES: usize = 220;

/// Takes out of the budget what another node wrote, as far as its head shows: the budget is the vault's, and whoever leads
/// next has no burst of its own.
pub(super) fn observe(shared: &Shared, object: &VaultStoreHead) {
    let epoch = head_of(&object.metadata).ok().flatten().map(|head| head.epoch);
    let spec = &object.spec;
    let segments: u64 = {
        let state = shared.state();
        if epoch.is_none() || epoch == state.written_epoch || !state.is_loaded {
            return;
        }
        let is_new = |name: &str| !state.list.iter().any(|listed| listed.entry.name == name);
        spec.segments.iter().filter(|entry| is_new(&entry.name)).map(|entry| entry.bytes / 3 * 4).sum()
    };
    let head = HEAD_BYTES + spec.records.len() + spec.segments.len() * ENTRY_BYTES;
    let bytes = usize::try_from(segments).unwrap_or(usize::MAX).saturating_add(head);
    shared.budget().observe(bytes, shared.clock.now());
}

/// Waits until the budget allows to send something, whose size is to be spent then; says how long it took.
pub(super) async fn pay(shared: &Shared) -> Duration {
    let _turn = shared.paying.lock().await;
    let mut waited = Duration::ZERO;
    loop {
        let wait = shared.budget().wait(shared.clock.now());
        if wait.is_zero() {
            return waited;
        }
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(1));
        waited += wait;
        tokio::time::sleep(wait).await;
    }
}

/// Takes `bytes` of a merge out of the budget, slice by slice, before they are sent.
pub(super) async fn pay_for(shared: &Shared, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        pay(shared).await;
        let slice = left.min(SLICE_BYTES);
        shared.budget().spend(slice);
        left -= slice;
    }
}
