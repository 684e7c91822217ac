//! One commit: a PUT of the head object with the version at which memory stands.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backend::Shared;
use super::client::{KIND, Put, damaged};
use super::codec::{self, Record};
use super::counters::{add, count};
use super::layout::{INLINE_MOST_BYTES, Listed};
use super::{pay, segments, sync};
use crate::crd::store::{VaultStoreHead, VaultStoreHeadSpec};
use crate::k8s::words::STORE_HEAD;
use crate::vault::physical::backend::{Commit, Op, StorageError};
use crate::vault::physical::head::Head;

/// Sends of one call, while others keep changing labels or the API server is busy.
const ATTEMPTS: u32 = 8;
/// Even when segments cannot be written, heads never grow above this.
const HEAD_MOST_BYTES: usize = 400 << 10;
/// While bytes are scarce, records above this size go straight into a log.
const SCARCE_BYTES: usize = 16 << 10;
/// What a head adds to the operations of its record, at most.
const RECORD_BYTES: usize = 512;

/// A head object ready to be sent.
struct Draft {
    bytes: Vec<u8>,
    is_new: bool,
    list: Vec<Listed>,
}

/// Replaces `expected` by `next` together with `ops`.
pub(super) async fn commit(shared: &Shared, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
    let _turn = shared.turn.lock().await;
    let record = Record {
        head: next.clone(),
        previous: expected.map(|head| head.batch_id),
        replaced: expected.filter(|head| head.epoch != next.epoch).cloned(),
        ops: ops.to_vec(),
    };
    let is_there = {
        let state = shared.state();
        state.is_loaded && state.head.as_ref() == expected
    };
    if !is_there && let Err(refusal) = catch_up(shared).await {
        return refusal;
    }
    for attempt in 0..ATTEMPTS {
        {
            let mut state = shared.state();
            if state.head.as_ref() == Some(next) {
                state.written_epoch = Some(next.epoch);
                return Commit::Committed;
            }
            if state.head.as_ref() != expected {
                return Commit::Fenced { current: state.head.clone() };
            }
        }
        if let Err(ending) = prepare(shared, &record).await {
            return ending;
        }
        // Claims do not wait: they are few, and somebody waits for a leader.
        if !ops.is_empty() {
            let waited = pay::pay(shared).await;
            add(&shared.counting.throttled_millis, usize::try_from(waited.as_millis()).unwrap_or(0));
        }
        let Some(draft) = draft(shared, expected, Some(&record)) else { continue };
        shared.budget().spend(draft.bytes.len());
        add(&shared.counting.head_bytes, draft.bytes.len());
        match shared.objects.put_head(draft.is_new, draft.bytes).await {
            Put::Stored(meta) => {
                stored(shared, expected, record, draft.list, *meta);
                return Commit::Committed;
            }
            Put::Conflict | Put::Absent => {
                count(&shared.counting.head_conflicts);
                if let Err(refusal) = catch_up(shared).await {
                    return refusal;
                }
            }
            Put::Busy => tokio::time::sleep(Duration::from_millis(50) * (attempt + 1)).await,
            Put::Invalid(error) => return Commit::Refused(error),
            Put::Unknown(reason) => {
                count(&shared.counting.head_unknown);
                shared.behind.notify_one();
                return Commit::Unknown { reason };
            }
        }
    }
    Commit::Unknown {
        reason: format!("after {ATTEMPTS} attempts the head object still could not be replaced"),
    }
}

/// Takes a stored commit into memory.
fn stored(shared: &Shared, expected: Option<&Head>, record: Record, list: Vec<Listed>, meta: ObjectMeta) {
    count(&shared.counting.head_writes);
    let next = record.head.clone();
    {
        let mut state = shared.state();
        state.written_epoch = Some(next.epoch);
        if state.head.as_ref() == expected {
            state.apply(record);
        }
        // The watch may have been faster, and may have brought later news already.
        if state.head.as_ref() == Some(&next) {
            state.set_list(list);
            state.meta = Some(sync::slim(meta));
        }
    }
    shared.moved.send_replace(());
    shared.grown.notify_one();
}

/// Lists segments that are ready in the head object, without a commit. Does nothing if there are none.
pub(super) async fn publish(shared: &Shared) -> Result<(), StorageError> {
    let _turn = shared.turn.lock().await;
    pay::pay(shared).await;
    let expected = {
        let state = shared.state();
        if !state.is_active() || !state.list_with_ready().1 {
            return Ok(());
        }
        state.head.clone()
    };
    let Some(draft) = draft(shared, expected.as_ref(), None) else { return Ok(()) };
    shared.budget().spend(draft.bytes.len());
    add(&shared.counting.head_bytes, draft.bytes.len());
    match shared.objects.put_head(false, draft.bytes).await {
        Put::Stored(meta) => {
            count(&shared.counting.head_writes);
            let mut state = shared.state();
            if state.head == expected {
                state.set_list(draft.list);
                state.meta = Some(sync::slim(*meta));
            }
            Ok(())
        }
        _ => sync::refresh(shared).await,
    }
}

/// Memory as the quorum has it, or what to answer if that cannot be had.
async fn catch_up(shared: &Shared) -> Result<(), Commit> {
    sync::refresh(shared).await.map_err(|error| match error {
        StorageError::Damaged { .. } => Commit::Refused(error),
        other => Commit::Unknown { reason: other.to_string() },
    })
}

/// Checks the limits and makes room in the head for `record`.
async fn prepare(shared: &Shared, record: &Record) -> Result<(), Commit> {
    let bytes = codec::ops_bytes(&record.ops) + RECORD_BYTES;
    let inline_bytes = {
        let state = shared.state();
        let limit_bytes = shared.settings.data_limit_bytes;
        let used_after = state.used_after(&record.ops);
        if used_after > limit_bytes && used_after > state.used_bytes {
            let used_bytes = state.used_bytes;
            return Err(Commit::Refused(StorageError::Full { storage: KIND, used_bytes, limit_bytes }));
        }
        state.inline_bytes()
    };
    if record.previous.is_none() {
        // Init writes no segment, so that a failed one leaves nothing behind that looks like data.
        return match shared.objects.segments(1).await {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(_) => Err(Commit::Refused(damaged(format!(
                "segments of {} exist, but no head: restore the head, or delete the segments to start anew",
                shared.settings.name
            )))),
            Err(error) => Err(Commit::Unknown { reason: error.to_string() }),
        };
    }
    // Near the end of a burst a round trip more is cheaper than a record that is written twice.
    let is_scarce = bytes > SCARCE_BYTES && shared.budget().is_scarce(shared.clock.now());
    if inline_bytes + bytes <= INLINE_MOST_BYTES && !is_scarce {
        return Ok(());
    }
    let written = if bytes > INLINE_MOST_BYTES / 2 || is_scarce {
        segments::outline(shared, record).await
    } else {
        segments::roll(shared).await
    };
    match written {
        Err(error) if inline_bytes + bytes > HEAD_MOST_BYTES => {
            Err(Commit::Unknown { reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// The head object with `record` (if any) and everything that is ready; `None` if memory has left `expected`.
fn draft(shared: &Shared, expected: Option<&Head>, record: Option<&Record>) -> Option<Draft> {
    let state = shared.state();
    if state.head.as_ref() != expected {
        return None;
    }
    let (mut list, _) = state.list_with_ready();
    let outlined = record.and_then(|record| {
        let (batch, fold) = state.outlined.as_ref()?;
        (*batch == record.head.batch_id).then(|| super::layout::folded(&list, fold)).flatten()
    });
    let is_outlined = outlined.is_some();
    list = outlined.unwrap_or(list);
    let after = list.last().map(|listed| listed.entry.last);
    let mut inline: Vec<&Record> =
        state.tail.iter().filter(|record| after.is_none_or(|after| record.head.seq > after)).collect();
    inline.extend(record.filter(|_| !is_outlined));
    let head = record.map(|record| &record.head).or(expected)?;
    let mut meta = state.meta.clone().unwrap_or_default();
    let is_new = meta.resource_version.is_none();
    if is_new {
        meta.name = Some(shared.settings.name.clone());
        meta.namespace = Some(shared.settings.namespace.clone());
    }
    let text = serde_json::to_string(head).ok()?;
    meta.annotations.get_or_insert_default().insert(STORE_HEAD.to_owned(), text);
    let records = if inline.is_empty() {
        String::new()
    } else {
        codec::to_text(&codec::encode_records(inline.into_iter()))
    };
    let object = VaultStoreHead {
        metadata: meta,
        spec: VaultStoreHeadSpec {
            segments: list.iter().map(|listed| listed.entry.clone()).collect(),
            records,
            data_bytes: record.map_or(state.used_bytes, |record| state.used_after(&record.ops)),
        },
    };
    let bytes = serde_json::to_vec(&object).ok()?;
    Some(Draft { bytes, is_new, list })
}
