//! The totals of a run, as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::judge::Row;
use crate::nemesis::Fault;
use crate::record::{Event, Outcome};

/// Kinds of unsuccessful answers that are listed.
const NOTES: usize = 12;
/// Violations of each check that are listed.
const VIOLATIONS: usize = 10;

/// Everything but the lines of the single faults.
pub fn totals(events: &[Event], journal: &[Row], faults: &[Fault], wrong: &[String]) -> String {
    let mut text = String::new();
    let mut operations: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut notes: BTreeMap<(Outcome, String), usize> = BTreeMap::new();
    for event in events {
        operations.entry(event.what.name()).or_default()[event.outcome as usize] += 1;
        if event.outcome != Outcome::Done {
            *notes.entry((event.outcome, plain(&event.note))).or_default() += 1;
        }
    }
    let mut put = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    put(format!("{:14} {:>8} {:>8} {:>8}", "operation", "done", "refused", "unknown"));
    for (name, [done, refused, unknown]) in &operations {
        put(format!("{name:14} {done:>8} {refused:>8} {unknown:>8}"));
    }
    let mut notes: Vec<_> = notes.into_iter().collect();
    notes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    put(format!("\nanswers that are no success ({} kinds)", notes.len()));
    for ((outcome, note), count) in notes.iter().take(NOTES) {
        put(format!("{count:>8} {outcome:?}: {note}"));
    }
    let mut kinds: BTreeMap<_, (usize, Option<u64>)> = BTreeMap::new();
    for fault in faults {
        let entry = kinds.entry(fault.kind).or_default();
        *entry = (entry.0 + 1, entry.1.max(fault.longest_gap));
    }
    put(format!("\n{:26} {:>6} {:>24}", "fault", "times", "longest without a write"));
    for (kind, (count, gap)) in &kinds {
        let gap = gap
            .map_or_else(|| "nothing may be served".to_owned(), |gap| format!("{:.1} s", gap as f64 / 1e6));
        put(format!("{:26} {count:>6} {gap:>24}", kind.to_string()));
    }
    let claims = journal.iter().filter(|row| row.replaced.is_some()).count();
    let resets = journal.iter().skip(1).filter(|row| row.follows_reset).count();
    put(format!(
        "\n{} commits in the journal, {claims} elections, {resets} gaps in the audit; {} faults; {} violations",
        journal.len(),
        faults.len(),
        wrong.len()
    ));
    let mut by_check: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for violation in wrong {
        by_check.entry(violation.split(':').next().unwrap_or_default()).or_default().push(violation);
    }
    for (check, violations) in &by_check {
        violations.iter().take(VIOLATIONS).for_each(|violation| put(format!("VIOLATION {violation}")));
        if violations.len() > VIOLATIONS {
            put(format!("VIOLATION {check}: {} more", violations.len() - VIOLATIONS));
        }
    }
    text
}

/// Without what differs from answer to answer.
fn plain(note: &str) -> String {
    let mut short = String::new();
    for letter in note.chars().take(160) {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        if letter != '#' || !short.ends_with('#') {
            short.push(letter);
        }
    }
    short
}
