//! A block (or the top of the configuration) that is read key by key and knows afterwards what nobody read.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::hcl::{Block, Body, Item, Value};
use super::ignored;
use super::problem::{Place, Problem};
use crate::base::duration;

/// What is collected on the way.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    /// What was ignored.
    pub(super) warnings: Vec<String>,
}

/// An item and its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) file: &'a str,
    pub(super) item: &'a Item,
}

impl Entry<'_> {
    pub(super) fn place(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.item.line, column: self.item.column }
    }
}

/// A block with its file.
pub(super) struct FileBlock<'a> {
    pub(super) file: &'a str,
    pub(super) block: Block<'a>,
}

/// The items of a block, and what of them was read.
pub(super) struct Section<'a> {
    name: String,
    place: Place,
    entries: Vec<Entry<'a>>,
    known: Vec<&'static str>,
    open: bool,
    findings: &'a mut Findings,
}

impl<'a> Section<'a> {
    /// The top of the configuration.
    pub(super) fn top(entries: Vec<Entry<'a>>, findings: &'a mut Findings) -> Self {
        Self {
            name: String::new(),
            place: Place::default(),
            entries,
            known: Vec::new(),
            open: false,
            findings,
        }
    }

    /// A block; `name` is how messages call it.
    pub(super) fn block(name: String, file: &'a str, block: &Block<'a>, findings: &'a mut Findings) -> Self {
        let place = Entry { file, item: block.item }.place();
        let body: &'a Body = block.body;
        let entries = body.items.iter().map(|item| Entry { file, item }).collect();
        Self { name, place, entries, known: Vec::new(), open: false, findings }
    }

    /// How messages call the block; empty at the top.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the block stands.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Where a key of the block stands, or else the block.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.item.key == key)
            .map_or_else(|| self.place(), Entry::place)
    }

    /// Whether the key stands there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.item.key == key)
    }

    /// Notes a problem.
    pub(super) fn report(&mut self, problem: Problem) {
        self.findings.problems.push(problem);
    }

    /// Notes settings that exclude or need each other; the message says what to do.
    pub(super) fn conflict(&mut self, key: &str, message: &str) {
        let place = self.place_of(key);
        self.report(Problem::Conflict { place, message: message.to_owned() });
    }

    /// Notes a setting that has no effect; the message says why.
    pub(super) fn warn(&mut self, key: &str, message: &str) {
        let place = self.place_of(key);
        self.findings.warnings.push(format!("{place}{message}"));
    }

    /// Notes a type that does not exist.
    pub(super) fn unknown_type(&mut self, block: &'static str, kind: &str, known: &[&str]) {
        let place = self.place();
        self.report(Problem::UnknownType { place, block, kind: kind.to_owned(), known: known.join(", ") });
        self.open = true;
    }

    /// All items, none of which counts as unknown.
    pub(super) fn take_all(&mut self) -> Vec<&'a Item> {
        self.open = true;
        self.entries.iter().map(|entry| entry.item).collect()
    }

    /// The items with this key in the last file that has it: a later file replaces what an earlier one says.
    fn entries_of(&mut self, key: &'static str) -> Vec<Entry<'a>> {
        self.known.push(key);
        let found = self.entries.iter().filter(|entry| entry.item.key == key);
        let last = found.clone().next_back().map(|entry| entry.file);
        found.filter(|entry| Some(entry.file) == last).copied().collect()
    }

    /// The one item with this key.
    fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        let entries = self.entries_of(key);
        if let Some(second) = entries.get(1) {
            self.report(Problem::Repeated { place: second.place(), key: key.to_owned() });
        }
        entries.first().copied()
    }

    /// A scalar as text; numbers and booleans too, since Vault reads weakly.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let entry = self.entry(key)?;
        match &entry.item.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            other @ (Value::List(_) | Value::Block(_)) => {
                let place = entry.place();
                self.report(Problem::WrongKind {
                    place,
                    key: key.to_owned(),
                    expected: "a string".to_owned(),
                    found: other.kind(),
                });
                None
            }
        }
    }

    /// A text read by `read`; what it refuses is a problem that tells what was `expected`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(key)?;
        let value = read(text.trim());
        if value.is_none() {
            let place = self.place_of(key);
            let expected = expected.to_owned();
            self.report(Problem::BadValue { place, key: key.to_owned(), value: text, expected });
        }
        value
    }

    /// A text for which `holds` holds.
    pub(super) fn text_where(
        &mut self,
        key: &'static str,
        holds: impl FnOnce(&str) -> bool,
        expected: &str,
    ) -> Option<String> {
        self.parsed(key, expected, |text| holds(text).then(|| text.to_owned()))
    }

    /// A list of texts, or one text with commas.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        match &entry.item.value {
            Value::Text(text) => {
                text.split(',').map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
            }
            Value::List(values) if values.iter().all(|value| value.as_text().is_some()) => {
                values.iter().filter_map(|value| value.as_text().map(str::to_owned)).collect()
            }
            other => {
                let expected = "a list of strings".to_owned();
                let found =
                    if matches!(other, Value::List(_)) { "a list of other values" } else { other.kind() };
                self.report(Problem::WrongKind {
                    place: entry.place(),
                    key: key.to_owned(),
                    expected,
                    found,
                });
                Vec::new()
            }
        }
    }

    /// Puts a boolean into `target` if the key is there: `true`, `"true"`, `1` and so on.
    pub(super) fn flag(&mut self, key: &'static str, target: &mut bool) {
        let value = self.parsed(key, "true or false", |text| match text {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
            "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
            _ => None,
        });
        *target = value.unwrap_or(*target);
    }

    /// Puts a whole number within `range` into `target` if the key is there.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, target: &mut u64) {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value =
            self.parsed(key, &expected, |text| text.parse().ok().filter(|number| range.contains(number)));
        *target = value.unwrap_or(*target);
    }

    /// Puts a duration within `range` into `target` if the key is there.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        target: &mut Duration,
    ) {
        let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        let expected = format!("a duration such as 30s or 5m, from {least} s to {most} s");
        let value =
            self.parsed(key, &expected, |text| duration::parse(text).filter(|span| range.contains(span)));
        *target = value.unwrap_or(*target);
    }

    /// All blocks with this key and so many labels, of all files.
    pub(super) fn all_blocks(
        &mut self,
        key: &'static str,
        labels: usize,
        example: &'static str,
    ) -> Vec<FileBlock<'a>> {
        self.known.push(key);
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.item.key == key).copied().collect();
        self.blocks_of(&entries, labels, example)
    }

    /// The one block with this key and so many labels; a later file replaces it.
    pub(super) fn one_block(
        &mut self,
        key: &'static str,
        labels: usize,
        example: &'static str,
    ) -> Option<FileBlock<'a>> {
        let entries = self.entries_of(key);
        let blocks = self.blocks_of(&entries, labels, example);
        if let Some(second) = blocks.get(1) {
            let place = Entry { file: second.file, item: second.block.item }.place();
            self.report(Problem::Repeated { place, key: key.to_owned() });
        }
        blocks.into_iter().next()
    }

    fn blocks_of(
        &mut self,
        entries: &[Entry<'a>],
        labels: usize,
        example: &'static str,
    ) -> Vec<FileBlock<'a>> {
        let mut found = Vec::new();
        for entry in entries {
            match entry.item.blocks(labels) {
                Ok(blocks) => {
                    found.extend(blocks.into_iter().map(|block| FileBlock { file: entry.file, block }))
                }
                Err(error) => {
                    let key = entry.item.key.clone();
                    self.report(Problem::NotABlock {
                        place: entry.place(),
                        key,
                        reason: error.message,
                        example,
                    });
                }
            }
        }
        found
    }

    /// What is collected, for a block inside.
    pub(super) fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// Judges the keys that nobody read: ignored by decision, or unknown.
    pub(super) fn finish(self) {
        if self.open {
            return;
        }
        for entry in &self.entries {
            let key = entry.item.key.as_str();
            if self.known.contains(&key) {
                continue;
            }
            let place = entry.place();
            let (block, kind) = self.name.split_once(' ').unwrap_or((&self.name, ""));
            if let Some(ignored) = ignored::find(block, kind.trim_matches('"'), key) {
                self.findings.warnings.push(format!("{place}{key} is ignored: {}", ignored.reason));
                continue;
            }
            let nearest = nearest(key, &self.known).map(str::to_owned);
            let section = self.name.clone();
            self.findings.problems.push(Problem::UnknownKey { place, section, key: key.to_owned(), nearest });
        }
    }
}

/// The known key that is fewest edits away, if it is near enough to be meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|candidate| (distance(key, candidate), *candidate)).min()?;
    (near.0 <= (key.len() / 3).max(1)).then_some(near.1)
}

/// Edits (insert, delete, replace) between two texts, bytewise.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), &b.as_bytes()[..b.len().min(64)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
