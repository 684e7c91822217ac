//! Writing segments: inline records into logs, logs into runs, runs into larger runs.
//!
//! Only the active node writes any. A segment counts for nothing until a head lists it, so all of this happens beside
//! the commits; what never gets listed is garbage.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backend::Shared;
use super::client::unavailable;
use super::codec::{self, Manifest, Part, Record};
use super::counters::{add, count};
use super::layout::{self, Fold, INLINE_BYTES, Listed, PART_BYTES, Span};
use super::{commit, pay};
use crate::base::id;
use crate::crd::store::{SEGMENT_CHARS, SegmentEntry, SegmentKind};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;

/// How often the merging task looks, and how long a merged run waits for a commit to list it.
const MERGE_PAUSE: Duration = Duration::from_secs(1);
/// Keys that are taken out of memory at once.
const GATHERED_AT_ONCE: usize = 512;
/// Pause after a segment could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Moves inline records into logs, whenever they have grown.
pub(super) async fn run_rolls(shared: Arc<Shared>) {
    loop {
        shared.grown.notified().await;
        if let Err(error) = roll(&shared).await {
            tracing::warn!(%error, "cannot write a segment");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Joins logs and runs, one at a time.
pub(super) async fn run_merges(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(MERGE_PAUSE).await;
        let outcome = match is_merge_ready(&shared) {
            true => commit::publish(&shared).await,
            false => merge(&shared).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "cannot merge segments");
        }
    }
}

fn is_merge_ready(shared: &Shared) -> bool {
    shared.state().ready.iter().any(|fold| fold.listed.entry.kind == SegmentKind::Run)
}

/// Writes a log with the inline records, if they have grown; the next head will list it.
///
/// # Errors
/// When the segment cannot be written.
pub(super) async fn roll(shared: &Shared) -> Result<(), StorageError> {
    let _one = shared.rolling.lock().await;
    let (epoch, span, records) = {
        let state = shared.state();
        let (Some(head), true) = (&state.head, state.is_active()) else { return Ok(()) };
        let (list, _) = state.list_with_ready();
        let after = list.last().map(|listed| listed.entry.last);
        let inline = Span { after, through: head.seq };
        let bytes = state.records_of(inline).map(|record| codec::ops_bytes(&record.ops) + 64).sum();
        if bytes <= INLINE_BYTES {
            return Ok(());
        }
        let span = layout::roll_span(&list, bytes, head.seq, state.merging_through);
        (head.epoch, span, state.records_of(span).cloned().collect::<Vec<_>>())
    };
    let fold = write_log(shared, epoch, span, &records).await?;
    let mut state = shared.state();
    if state.is_active() && state.written_epoch == Some(epoch) {
        state.ready.push(fold);
    } else {
        state.pending.remove(&fold.listed.entry.name);
    }
    Ok(())
}

/// Writes a log with the inline records and `record`, which is too large for the head that will make it a commit.
///
/// # Errors
/// When the segment cannot be written.
pub(super) async fn outline(shared: &Shared, record: &Record) -> Result<(), StorageError> {
    let _one = shared.rolling.lock().await;
    let (span, records) = {
        let state = shared.state();
        if state.outlined.as_ref().is_some_and(|(batch, _)| *batch == record.head.batch_id) {
            return Ok(());
        }
        let (list, _) = state.list_with_ready();
        let span = Span { after: list.last().map(|listed| listed.entry.last), through: record.head.seq };
        let mut records: Vec<Record> = state.records_of(span).cloned().collect();
        records.push(record.clone());
        (span, records)
    };
    let fold = write_log(shared, record.head.epoch, span, &records).await?;
    shared.state().outlined = Some((record.head.batch_id, fold));
    Ok(())
}

async fn write_log(
    shared: &Shared,
    epoch: u64,
    span: Span,
    records: &[Record],
) -> Result<Fold, StorageError> {
    let Some(end) = records.last().map(|record| record.head.clone()) else {
        return Err(unavailable("a log without records".to_owned()));
    };
    let content = codec::encode_records(records.iter());
    let bytes = content.len();
    // Paid like a head, afterwards: a commit may be waiting for this log, and its time is bounded.
    shared.budget().spend(codec::text_bytes(bytes));
    let part = write(shared, epoch, &content).await?;
    let entry = entry(part, SegmentKind::Log, end.seq, bytes, 0);
    Ok(Fold { span, listed: Listed { entry, end, keys: Arc::default(), parts: None } })
}

/// A range to merge.
struct Work {
    epoch: u64,
    span: Span,
    end: Head,
}

/// Keys and values, `None` for what was deleted.
type Items = Vec<(String, Option<Bytes>)>;

/// Merges a range of segments into a run, if there is one worth it.
async fn merge(shared: &Shared) -> Result<(), StorageError> {
    let Some(work) = plan(shared) else { return Ok(()) };
    let epoch = work.epoch;
    let items = gather(shared, work.span).await;
    let written = write_run(shared, work, items).await;
    let mut state = shared.state();
    match written {
        Ok(fold) if state.is_active() && state.written_epoch == Some(epoch) => {
            state.is_damaged &= fold.span.after.is_some();
            state.ready.push(fold);
            Ok(())
        }
        Ok(fold) => {
            for name in fold.listed.names() {
                state.pending.remove(name);
            }
            Ok(())
        }
        Err(error) => {
            state.merging_through = None;
            Err(error)
        }
    }
}

fn plan(shared: &Shared) -> Option<Work> {
    let mut state = shared.state();
    if !state.is_active() {
        return None;
    }
    let epoch = state.written_epoch?;
    let (list, _) = state.list_with_ready();
    let span = if state.is_damaged {
        // Memory holds what the segments should: all of them are written anew.
        Span { after: None, through: list.last()?.entry.last }
    } else {
        layout::merge_span(&list, state.used_bytes)?
    };
    let end = list.iter().find(|listed| listed.entry.last == span.through)?.end.clone();
    state.merging_through = Some(span.through);
    Some(Work { epoch, span, end })
}

/// The outcome of `span` as memory has it, taken out bit by bit: with everything under one lock, requests would wait for
/// hundreds of milliseconds in a large vault. What changes meanwhile belongs to commits after the range, whose records say it
/// again to whoever loads the run.
async fn gather(shared: &Shared, span: Span) -> Items {
    let mut items = Items::new();
    if span.after.is_none() {
        loop {
            let from = items.last().map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(key.clone()));
            let before = items.len();
            {
                let state = shared.state();
                let next = state.data.range::<String, _>((from, Bound::Unbounded)).take(GATHERED_AT_ONCE);
                items.extend(next.map(|(key, value)| (key.clone(), Some(value.clone()))));
            }
            if items.len() == before {
                return items;
            }
            tokio::task::yield_now().await;
        }
    }
    let touched = shared.state().touched(span);
    for some in touched.in_order().chunks(GATHERED_AT_ONCE) {
        {
            let state = shared.state();
            items.extend(some.iter().map(|key| (key.clone(), state.data.get(key).cloned())));
        }
        tokio::task::yield_now().await;
    }
    items
}

async fn write_run(shared: &Shared, work: Work, items: Items) -> Result<Fold, StorageError> {
    let Work { epoch, span, end } = work;
    let keys: Arc<Vec<String>> = items.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>().into();
    let chunks = chunks(&items);
    let mut parts = Vec::with_capacity(chunks.len());
    let mut bytes = 0;
    for chunk in &chunks {
        let content = codec::encode_run(&end, chunk);
        bytes += content.len();
        pay::pay_for(shared, codec::text_bytes(content.len())).await;
        parts.push(write(shared, epoch, &content).await?);
    }
    let (part, listed_parts) = match parts.len() {
        1 => (parts.remove(0), None),
        _ => {
            let manifest = Manifest { end: end.clone(), parts };
            let content = codec::encode_manifest(&manifest);
            bytes += content.len();
            pay::pay_for(shared, codec::text_bytes(content.len())).await;
            (write(shared, epoch, &content).await?, Some(manifest.parts))
        }
    };
    let count = listed_parts.as_ref().map_or(0, Vec::len);
    let entry = entry(part, SegmentKind::Run, end.seq, bytes, count);
    Ok(Fold { span, listed: Listed { entry, end, keys, parts: listed_parts.map(Arc::new) } })
}

/// Cuts a run into parts that fit one object each; at least one.
fn chunks(items: &[(String, Option<Bytes>)]) -> Vec<&[(String, Option<Bytes>)]> {
    let mut chunks = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, (key, value)) in items.iter().enumerate() {
        let bytes = codec::item_bytes(key, value.as_ref());
        if size + bytes > PART_BYTES && at > start {
            chunks.push(&items[start..at]);
            (start, size) = (at, 0);
        }
        size += bytes;
    }
    chunks.push(&items[start..]);
    chunks
}

fn entry(part: Part, kind: SegmentKind, last: u64, bytes: usize, parts: usize) -> SegmentEntry {
    SegmentEntry {
        name: part.name,
        uid: part.uid,
        sha256: part.sha256,
        kind,
        last,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        parts: u32::try_from(parts).unwrap_or(u32::MAX),
    }
}

/// Creates one segment under a name that was never used.
async fn write(shared: &Shared, epoch: u64, content: &[u8]) -> Result<Part, StorageError> {
    let text = codec::to_text(content);
    if text.len() > SEGMENT_CHARS {
        return Err(unavailable(format!("a segment of {} characters is too large", text.len())));
    }
    let mut random = [0; 8];
    shared.random.fill(&mut random);
    let name = format!("{}-{epoch}-{}", shared.settings.name, id::hex(&random));
    {
        let mut state = shared.state();
        state.own.insert(name.clone());
        state.pending.insert(name.clone());
    }
    let size = text.len();
    match shared.objects.create_segment(&name, text).await {
        Ok(uid) => {
            count(&shared.counting.segments_created);
            add(&shared.counting.segment_bytes, size);
            Ok(Part { name, uid, sha256: codec::sha256(content) })
        }
        Err(error) => {
            // It may exist all the same: the garbage collector will see.
            shared.state().pending.remove(&name);
            Err(error)
        }
    }
}

/// The epoch in the name of a segment of the store `store`; `None` if it is no such name.
pub(super) fn epoch_in(name: &str, store: &str) -> Option<u64> {
    let (epoch, _) = name.strip_prefix(store)?.strip_prefix('-')?.split_once('-')?;
    epoch.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_order_and_size() {
        let item = |n: usize, bytes: usize| (format!("k{n:04}"), Some(Bytes::from(vec![0; bytes])));
        let items: Vec<_> = (0..300).map(|n| item(n, 10_000)).collect();
        let cut = chunks(&items);
        assert!(cut.len() > 4);
        assert_eq!(cut.concat(), items);
        for chunk in cut {
            assert!(chunk.iter().map(|(k, v)| codec::item_bytes(k, v.as_ref())).sum::<usize>() <= PART_BYTES);
        }
        assert_eq!(chunks(&[]).len(), 1, "an empty run is a segment too");
        assert_eq!(chunks(&[item(0, PART_BYTES + 5), item(1, 1)]).len(), 2);
    }

    #[test]
    fn names_carry_their_epoch() {
        assert_eq!(epoch_in("my-vault-12-00ff", "my-vault"), Some(12));
        assert_eq!(
            epoch_in("my-vault-2-12-00ff", "my-vault"),
            Some(2),
            "a longer name of another store has its own label"
        );
        assert_eq!(epoch_in("other-12-00ff", "my-vault"), None);
        assert_eq!(epoch_in("my-vault-x-00ff", "my-vault"), None);
    }
}
