//! Reading segments: everything at the start, or the logs that a lagging node misses.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::client::{Objects, damaged};
use super::codec::{self, Content, Manifest, Part, Record, Run};
use super::layout::Listed;
use super::state::Loaded;
use crate::crd::store::{SegmentEntry, SegmentKind, VaultStoreHeadSpec};
use crate::vault::physical::backend::{Op, StorageError};
use crate::vault::physical::head::{BatchId, Head};

/// Segments that are read at the same time.
const AT_ONCE: usize = 4;

/// The records that the head object carries, checked to be one chain that ends with `head`.
pub(super) fn inline(spec: &VaultStoreHeadSpec, head: &Head) -> Result<Vec<Record>, StorageError> {
    if spec.records.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = codec::from_text(&spec.records).and_then(codec::decode);
    let records = match bytes {
        Ok(Content::Records(records)) => records,
        Ok(_) => return Err(damaged("the head holds something other than records".to_owned())),
        Err(error) => return Err(damaged(format!("the records of the head are {error}"))),
    };
    let first = records.first().and_then(|record| record.previous);
    chain(&records, first)?;
    if records.last().is_some_and(|last| last.head != *head) {
        return Err(damaged("the head does not belong to the records beside it".to_owned()));
    }
    Ok(records)
}

/// Loads everything that the head object leads to.
///
/// # Errors
/// [`StorageError::Damaged`] if a segment is missing or altered.
pub(super) async fn load(
    objects: &Objects,
    spec: &VaultStoreHeadSpec,
    head: Option<Head>,
) -> Result<Loaded, StorageError> {
    let Some(head) = head else {
        if spec.segments.is_empty() && spec.records.is_empty() {
            return Ok(Loaded::default());
        }
        return Err(damaged("there is data, but the annotation with the head is missing".to_owned()));
    };
    let newest = inline(spec, &head)?;
    let mut loading = Loading::default();
    for (entry, content) in segments(objects, &spec.segments).await? {
        match content {
            Content::Records(records) => loading.add_log(entry, records)?,
            Content::Run(run) => {
                let keys = loading.merge(&run);
                loading.end = Some(run.end.clone());
                loading.push(entry, keys, None)?;
            }
            Content::Manifest(manifest) => {
                let mut keys = Vec::new();
                for run in parts(objects, &manifest).await? {
                    keys.extend(loading.merge(&run));
                }
                loading.end = Some(manifest.end);
                loading.push(entry, keys, Some(manifest.parts))?;
            }
        }
    }
    loading.add(newest)?;
    if loading.end.as_ref() != Some(&head) {
        return Err(damaged("segments and records do not lead to the head".to_owned()));
    }
    Ok(Loaded { head: Some(head), ..loading.loaded })
}

/// The records after `at` from the listed logs and the head's `newest`; `None` if the logs do not go back that far.
pub(super) async fn missed(
    objects: &Objects,
    spec: &VaultStoreHeadSpec,
    at: &Head,
    newest: Vec<Record>,
) -> Result<Option<Vec<Record>>, StorageError> {
    let start = spec.segments.partition_point(|entry| entry.last <= at.seq);
    if spec.segments[start..].iter().any(|entry| entry.kind != SegmentKind::Log) {
        return Ok(None);
    }
    let mut records = Vec::new();
    for (_, content) in segments(objects, &spec.segments[start..]).await? {
        let Content::Records(more) = content else { return Ok(None) };
        records.extend(more);
    }
    records.extend(newest);
    let first = records.first().and_then(|record| record.previous);
    chain(&records, first)?;
    Ok(Some(records))
}

/// The parts that a listed manifest names.
pub(super) async fn manifest_parts(
    objects: &Objects,
    entry: &SegmentEntry,
) -> Result<Vec<Part>, StorageError> {
    match fetch(objects, &entry.name, &entry.sha256).await? {
        Content::Manifest(manifest) => Ok(manifest.parts),
        _ => Err(damaged(format!("segment {} is not a manifest", entry.name))),
    }
}

/// What has been put together so far.
#[derive(Default)]
struct Loading {
    loaded: Loaded,
    /// The last head so far.
    end: Option<Head>,
}

impl Loading {
    fn add_log(&mut self, entry: &SegmentEntry, records: Vec<Record>) -> Result<(), StorageError> {
        self.add(records)?;
        self.push(entry, Vec::new(), None)
    }

    fn push(
        &mut self,
        entry: &SegmentEntry,
        keys: Vec<String>,
        parts: Option<Vec<Part>>,
    ) -> Result<(), StorageError> {
        let end = self.end.clone().filter(|end| end.seq == entry.last);
        let end =
            end.ok_or_else(|| damaged(format!("segment {} does not end where the head says", entry.name)))?;
        let parts = parts.map(Arc::new);
        self.loaded.list.push(Listed { entry: entry.clone(), end, keys: keys.into(), parts });
        if entry.kind == SegmentKind::Run {
            self.loaded.tail.clear();
        }
        Ok(())
    }

    fn add(&mut self, records: Vec<Record>) -> Result<(), StorageError> {
        chain(&records, self.end.as_ref().map(|end| end.batch_id))?;
        for record in records {
            for op in &record.ops {
                match op {
                    Op::Put { key, value } => set(&mut self.loaded.data, key, Some(value)),
                    Op::Delete { key } => set(&mut self.loaded.data, key, None),
                }
            }
            self.end = Some(record.head.clone());
            self.loaded.tail.push(record);
        }
        Ok(())
    }

    fn merge(&mut self, run: &Run) -> Vec<String> {
        for (key, value) in &run.items {
            set(&mut self.loaded.data, key, value.as_ref());
        }
        run.items.iter().map(|(key, _)| key.clone()).collect()
    }
}

fn set(data: &mut BTreeMap<String, Bytes>, key: &str, value: Option<&Bytes>) {
    match value {
        Some(value) => data.insert(key.to_owned(), value.clone()),
        None => data.remove(key),
    };
}

/// Whether each record continues the one before it, and the first one continues `previous`.
fn chain(records: &[Record], mut previous: Option<BatchId>) -> Result<(), StorageError> {
    for record in records {
        if record.previous != previous {
            return Err(damaged(format!("the record before sequence number {} is missing", record.head.seq)));
        }
        previous = Some(record.head.batch_id);
    }
    Ok(())
}

async fn segments<'a>(
    objects: &Objects,
    entries: &'a [SegmentEntry],
) -> Result<Vec<(&'a SegmentEntry, Content)>, StorageError> {
    let mut found = Vec::with_capacity(entries.len());
    for some in entries.chunks(AT_ONCE) {
        let fetched = some.iter().map(|entry| fetch(objects, &entry.name, &entry.sha256));
        found.extend(some.iter().zip(try_join_all(fetched).await?));
    }
    Ok(found)
}

async fn parts(objects: &Objects, manifest: &Manifest) -> Result<Vec<Run>, StorageError> {
    let mut runs = Vec::with_capacity(manifest.parts.len());
    for some in manifest.parts.chunks(AT_ONCE) {
        let fetched = try_join_all(some.iter().map(|part| fetch(objects, &part.name, &part.sha256))).await?;
        for (part, content) in some.iter().zip(fetched) {
            match content {
                Content::Run(run) => runs.push(run),
                _ => return Err(damaged(format!("segment {} is not a part of a run", part.name))),
            }
        }
    }
    Ok(runs)
}

/// One segment's content. The hash decides: a copy from a backup, with another uid, is as good as the original.
async fn fetch(objects: &Objects, name: &str, sha256: &str) -> Result<Content, StorageError> {
    let text = objects.segment(name).await?.ok_or_else(|| damaged(format!("segment {name} is missing")))?;
    let bytes = codec::from_text(&text).map_err(|error| damaged(format!("segment {name} is {error}")))?;
    if codec::sha256(&bytes) != sha256 {
        return Err(damaged(format!("segment {name} is not what the head lists: its SHA-256 differs")));
    }
    codec::decode(bytes).map_err(|error| damaged(format!("segment {name} is {error}")))
}
