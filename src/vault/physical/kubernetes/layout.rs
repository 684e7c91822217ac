//! How a vault's content is spread over segments, and when segments are joined: pure planning.
//!
//! The head lists segments, oldest first: *runs* (outcomes of ranges) and after them *logs* (commits one by one, which
//! nodes that lag read); the newest commits are inline in the head. Small logs are joined into larger ones as they
//! are written, old logs become a run, and runs of similar size are joined. Several are always joined at once: an
//! entry of the list costs each commit some two hundred bytes, a join the bytes of all that it joins.

use std::sync::Arc;

use super::codec::Part;
use crate::crd::store::{SegmentEntry, SegmentKind};
use crate::vault::physical::head::Head;

/// Inline records above this size are moved into a log: with base64 and the list it keeps heads near 4 KiB.
pub(super) const INLINE_BYTES: usize = 3 << 10;
/// Inline records never grow above this size (init's apart): a commit moves them out first, or waits.
pub(super) const INLINE_MOST_BYTES: usize = 64 << 10;
/// Below this size a log is small: as many as [`JOIN`] of them are joined,
const SMALL_LOG_BYTES: u64 = 16 << 10;
/// so that a commit is written twice into logs, not once for every doubling of their size.
const JOIN: usize = 8;
/// Logs below this size are joined only while merging is behind,
const LOG_BYTES: u64 = 128 << 10;
/// and no join is larger than this: commits wait until it is paid, for about a second of the default budget.
const JOINED_BYTES: usize = 256 << 10;
/// Above this size of all logs, the oldest become a run,
const LOGS_MOST_BYTES: u64 = 512 << 10;
/// or above this number,
const LOGS_MOST: usize = 16;
/// until at most this much is left for nodes that lag.
const LOGS_KEEP_BYTES: u64 = 256 << 10;
/// And at most this many.
const LOGS_KEEP: usize = 8;
/// As many runs of similar size are joined.
const RUNS_JOIN: usize = 4;
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
/// small logs before them once there are enough. Logs up to `merging_through` are left alone; if those after it become
/// many, because merging is behind, larger ones are joined too.
pub(super) fn roll_span(
    list: &[Listed],
    inline_bytes: usize,
    head_seq: u64,
    merging_through: Option<u64>,
) -> Span {
    let is_free =
        |log: &Listed| log.is_log() && merging_through.is_none_or(|through| log.entry.last > through);
    let newest = |most_bytes: u64| {
        list.iter().rev().take_while(|log| is_free(log) && log.entry.bytes < most_bytes).count()
    };
    let (small, medium) = (newest(SMALL_LOG_BYTES), newest(LOG_BYTES));
    let is_behind = newest(u64::MAX) >= LOGS_MOST + JOIN;
    let candidates = if is_behind && medium + 1 >= JOIN {
        medium
    } else if small + 1 >= JOIN {
        small
    } else {
        0
    };
    let mut size = inline_bytes;
    let fits = |log: &&Listed| {
        size = size.saturating_add(usize::try_from(log.entry.bytes).unwrap_or(usize::MAX));
        size <= JOINED_BYTES
    };
    let joined = list.iter().rev().take(candidates).take_while(fits).count();
    let start = list.len() - joined;
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
        loop {
            let is_similar = |run: &&Listed| run.entry.bytes <= size.saturating_mul(2);
            let similar = list[..start].iter().rev().take_while(is_similar).count();
            if similar + 1 < RUNS_JOIN {
                break;
            }
            size += list[start - similar..start].iter().map(|run| run.entry.bytes).sum::<u64>();
            start -= similar;
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
                cluster: "c".into(),
                lock: Arc::new(lock),
                epoch: 1,
                seq: last,
                batch_id: BatchId::new(&SeededRandom::new(last)),
                node: "n".into(),
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
        let (mut rolled, mut merged, mut longest, mut entries) = (0u64, 0u64, 0, 0);
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
            entries += list.len();
            assert_eq!(list.last().map(|l| l.entry.last), Some(seq));
        }
        assert!(longest <= 36, "{longest}");
        assert!(entries <= 24 * 12_000, "{}", entries / 12_000);
        assert!(rolled < used * 5 / 2, "{}", rolled * 10 / used);
        assert!(merged < used * 4, "{}", merged * 10 / used);
    }

    #[test]
    fn a_merge_that_takes_long_does_not_make_the_list_long() {
        use SegmentKind::{Log, Run};
        let mut list = vec![listed(Run, 1, 64 << 20), listed(Log, 2, 20 << 10)];
        let (mut seq, mut rolled) = (2, 0u64);
        // As many bytes as arrive while everything is written anew.
        for _ in 0..1000 {
            seq += 1;
            let span = roll_span(&list, 20 << 10, seq, Some(2));
            let bytes = (20 << 10) * (seq - span.after.unwrap_or(0));
            rolled += bytes;
            list = folded(&list, &Fold { span, listed: listed(Log, seq, bytes) }).unwrap();
            assert_eq!(list[1].entry.last, 2, "what is being merged stays as it is");
        }
        assert!(list.len() <= 160, "{}", list.len());
        assert!(rolled < 1000 * (20 << 10) * 5 / 2, "{rolled}");
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
