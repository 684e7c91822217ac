//! How a vault's content is spread over segments, and when segments are joined: pure planning.
//!
//! The head lists segments, oldest first: *runs* (outcomes of ranges) and after them *logs* (commits one by one, which
//! nodes that lag read); the newest commits are inline in the head. Small logs are joined into larger ones as they
//! are written, old logs become a run, and runs of similar size are joined, so that the list stays short
//! and every byte is rewritten only a few times.

use std::sync::Arc;

use super::codec::Part;
use crate::crd::store::{SegmentEntry, SegmentKind};
use crate::vault::physical::head::Head;

/// Inline records above this size are moved into a log: with base64 and the list it keeps heads near 4 KiB.
pub(super) const INLINE_BYTES: usize = 3 << 10;
/// Inline records never grow above this size (init's apart): a commit moves them out first, or waits.
pub(super) const INLINE_MOST_BYTES: usize = 64 << 10;
/// Logs are joined up to this size.
const LOG_BYTES: u64 = 128 << 10;
/// Above this size of all logs, the oldest become a run,
const LOGS_MOST_BYTES: u64 = 512 << 10;
/// or above this number,
const LOGS_MOST: usize = 10;
/// until at most this much is left for nodes that lag.
const LOGS_KEEP_BYTES: u64 = 256 << 10;
/// And at most this many.
const LOGS_KEEP: usize = 5;
/// Bytes of one part of a large run.
pub(super) const PART_BYTES: usize = 512 << 10;
/// Bytes of superseded data that are not worth a rewrite of everything.
const SLACK_BYTES: u64 = 1 << 20;

/// A segment that the head lists, with what a node knows about it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// As listed.
    pub(super) entry: SegmentEntry,
    /// The last head that it covers.
    pub(super) end: Head,
    /// Keys that a run holds (possibly more, never fewer); empty for logs, whose records are in memory.
    pub(super) keys: Arc<Vec<String>>,
    /// Segments that a manifest lists; `None` while not known.
    pub(super) parts: Option<Arc<Vec<Part>>>,
}

impl Listed {
    fn is_log(&self) -> bool {
        self.entry.kind == SegmentKind::Log
    }

    /// The names of the object and of its parts, as far as they are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let parts = self.parts.as_deref().map(Vec::as_slice).unwrap_or_default();
        std::iter::once(self.entry.name.as_str()).chain(parts.iter().map(|part| part.name.as_str()))
    }
}

/// A range of commits: those after `after` (`None`: from the first) up to and with `through`, by sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) after: Option<u64>,
    pub(super) through: u64,
}

/// A written segment and the range that it replaces.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub(super) span: Span,
    pub(super) listed: Listed,
}

/// The list with `fold` in the place of what it replaces; `None` if its range does not fit the list (any more).
pub(super) fn folded(list: &[Listed], fold: &Fold) -> Option<Vec<Listed>> {
    let start = match fold.span.after {
        None => 0,
        Some(after) => list.iter().position(|listed| listed.entry.last == after)? + 1,
    };
    let stop = list.iter().position(|listed| listed.entry.last > fold.span.through).unwrap_or(list.len());
    let fits = stop >= start
        && (stop == list.len() || (stop > start && list[stop - 1].entry.last == fold.span.through));
    if !fits {
        return None;
    }
    let mut out = list[..start].to_vec();
    out.push(fold.listed.clone());
    out.extend_from_slice(&list[stop..]);
    Some(out)
}

/// The range of the log that takes up the inline records, which end at `head_seq` and measure `inline_bytes`: with the
/// logs before them while those are no larger. Logs up to `merging_through` are left alone.
pub(super) fn roll_span(
    list: &[Listed],
    inline_bytes: usize,
    head_seq: u64,
    merging_through: Option<u64>,
) -> Span {
    let mut size = u64::try_from(inline_bytes).unwrap_or(u64::MAX);
    let mut start = list.len();
    while let Some(before) = start.checked_sub(1).map(|at| &list[at]) {
        let bytes = before.entry.bytes;
        let is_merging = merging_through.is_some_and(|through| before.entry.last <= through);
        if !before.is_log() || is_merging || bytes > size || size + bytes > LOG_BYTES {
            break;
        }
        size += bytes;
        start -= 1;
    }
    Span { after: start.checked_sub(1).map(|at| list[at].entry.last), through: head_seq }
}

/// The range to turn into a run, if there is one worth it; `used_bytes` is the size of the live data.
pub(super) fn merge_span(list: &[Listed], used_bytes: u64) -> Option<Span> {
    let first_log = list.iter().position(Listed::is_log).unwrap_or(list.len());
    let logs = &list[first_log..];
    let mut left_bytes: u64 = logs.iter().map(|log| log.entry.bytes).sum();
    let mut left = logs.len();
    let mut stop = first_log;
    let mut size = 0;
    if left_bytes > LOGS_MOST_BYTES || left > LOGS_MOST {
        while (left_bytes > LOGS_KEEP_BYTES || left > LOGS_KEEP) && stop < list.len() {
            size += list[stop].entry.bytes;
            left_bytes -= list[stop].entry.bytes;
            left -= 1;
            stop += 1;
        }
    }
    let run_bytes: u64 = list[..stop].iter().map(|listed| listed.entry.bytes).sum();
    let mut start = first_log;
    if run_bytes > used_bytes.saturating_mul(2).saturating_add(SLACK_BYTES) {
        start = 0;
    } else if stop == first_log {
        return None;
    } else {
        while start > 0 && list[start - 1].entry.bytes <= size.saturating_mul(2) {
            size += list[start - 1].entry.bytes;
            start -= 1;
        }
    }
    if stop == 0 {
        return None;
    }
    Some(Span {
        after: start.checked_sub(1).map(|at| list[at].entry.last),
        through: list[stop - 1].entry.last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SeededRandom;
    use crate::vault::physical::head::{BatchId, LockName};

    fn listed(kind: SegmentKind, last: u64, bytes: u64) -> Listed {
        let lock = LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "l".to_owned() };
        Listed {
            entry: SegmentEntry {
                name: format!("s{last}"),
                uid: String::new(),
                sha256: String::new(),
                kind,
                last,
                bytes,
                parts: 0,
            },
            end: Head {
                cluster: "c".to_owned(),
                lock,
                epoch: 1,
                seq: last,
                batch_id: BatchId::new(&SeededRandom::new(last)),
                node: "n".to_owned(),
                format: 1,
                time: UnixMillis(0),
            },
            keys: Arc::default(),
            parts: None,
        }
    }

    fn shape(list: &[Listed]) -> Vec<u64> {
        list.iter().map(|l| l.entry.last).collect()
    }

    #[test]
    fn a_fold_takes_the_place_of_its_range_and_no_other() {
        use SegmentKind::{Log, Run};
        let list = [listed(Run, 10, 1), listed(Log, 20, 1), listed(Log, 30, 1)];
        let fold = |after, through| Fold { span: Span { after, through }, listed: listed(Log, through, 9) };
        let shape_after = |after, through| folded(&list, &fold(after, through)).map(|l| shape(&l));
        assert_eq!(shape_after(Some(30), 35), Some(vec![10, 20, 30, 35]), "inline records alone");
        assert_eq!(shape_after(Some(20), 35), Some(vec![10, 20, 35]), "with the last log");
        assert_eq!(shape_after(None, 20), Some(vec![20, 30]), "the oldest two");
        assert_eq!(shape_after(None, 35), Some(vec![35]), "everything");
        assert_eq!(shape_after(Some(15), 35), None, "no such start");
        assert_eq!(shape_after(Some(10), 25), None, "it would cut a log in two");
        assert_eq!(shape_after(Some(20), 20), None, "nothing to replace in the middle");
    }

    #[test]
    fn the_list_stays_short_and_rewriting_is_moderate() {
        use SegmentKind::{Log, Run};
        let (mut list, mut seq, mut used) = (Vec::new(), 0u64, 0u64);
        let (mut rolled, mut merged, mut longest) = (0u64, 0u64, 0);
        for _ in 0..12_000 {
            seq += 1;
            used += 4096;
            let span = roll_span(&list, 4096, seq, None);
            let after = span.after.unwrap_or(0);
            let bytes = 4096 * (seq - after);
            rolled += bytes;
            list = folded(&list, &Fold { span, listed: listed(Log, seq, bytes) }).unwrap();
            if let Some(span) = merge_span(&list, used) {
                let bytes = 4096 * (span.through - span.after.unwrap_or(0));
                merged += bytes;
                list = folded(&list, &Fold { span, listed: listed(Run, span.through, bytes) }).unwrap();
            }
            longest = longest.max(list.len());
            assert_eq!(list.last().map(|l| l.entry.last), Some(seq));
        }
        assert!(longest <= 28, "{longest}");
        assert!(rolled <= used * 6, "{}", rolled / used);
        assert!(merged <= used * 10, "{}", merged / used);
    }

    #[test]
    fn dead_data_is_rewritten_once_it_outweighs_the_living() {
        use SegmentKind::Run;
        let list = [listed(Run, 10, 40 << 20), listed(Run, 20, 1 << 10)];
        assert_eq!(merge_span(&list, 30 << 20), None);
        assert_eq!(merge_span(&list, 1 << 20), Some(Span { after: None, through: 20 }));
        assert_eq!(merge_span(&[], 0), None);
    }
}
