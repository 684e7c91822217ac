//! [`Report`]: which laws hold, in words and as a table of several storages.

use std::fmt::{self, Write as _};

use super::Violation;

/// What became of a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Held,
    /// It does not; what happened instead.
    Broken(String),
    /// It was not tried; why not.
    Skipped(&'static str),
}

/// A law and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The law, by its name in this suite.
    pub law: &'static str,
    /// What became of it.
    pub verdict: Verdict,
}

/// Every law of a suite, judged over one storage or lock. Prints itself, one law a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The storage or lock.
    pub subject: String,
    /// The laws, in the order of the suite.
    pub laws: Vec<Judged>,
}

/// Why a law ends before its end.
pub(super) enum Ends {
    Broken(String),
    Skipped(&'static str),
}

impl From<String> for Ends {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl From<Result<(), String>> for Verdict {
    fn from(outcome: Result<(), String>) -> Self {
        outcome.map_err(Ends::Broken).into()
    }
}

impl From<Result<(), Ends>> for Verdict {
    fn from(outcome: Result<(), Ends>) -> Self {
        match outcome {
            Ok(()) => Self::Held,
            Err(Ends::Broken(what)) => Self::Broken(what),
            Err(Ends::Skipped(why)) => Self::Skipped(why),
        }
    }
}

impl Verdict {
    /// In one word.
    fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken(_) => "BROKEN",
            Self::Skipped(_) => "skipped",
        }
    }
}

impl Report {
    /// The laws that do not hold.
    pub fn violations(&self) -> Vec<Violation> {
        let broken = self.laws.iter().filter_map(|judged| match &judged.verdict {
            Verdict::Broken(what) => Some(Violation { law: judged.law, what: what.clone() }),
            Verdict::Held | Verdict::Skipped(_) => None,
        });
        broken.collect()
    }

    /// The laws that were not tried.
    pub fn skipped(&self) -> Vec<&'static str> {
        let skipped = self.laws.iter().filter(|judged| matches!(judged.verdict, Verdict::Skipped(_)));
        skipped.map(|judged| judged.law).collect()
    }

    fn verdict(&self, law: &str) -> Option<&Verdict> {
        self.laws.iter().find(|judged| judged.law == law).map(|judged| &judged.verdict)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(std::slice::from_ref(self)))
    }
}

/// A table with a line for each law and a column for each report, and below it what was broken or skipped and why.
pub fn table(reports: &[Report]) -> String {
    let mut laws: Vec<&'static str> = Vec::new();
    for judged in reports.iter().flat_map(|report| &report.laws) {
        if !laws.contains(&judged.law) {
            laws.push(judged.law);
        }
    }
    let first = laws.iter().map(|law| law.len()).max().unwrap_or_default();
    let widths: Vec<usize> = reports.iter().map(|report| report.subject.len().max("skipped".len())).collect();
    let mut lines = Vec::new();
    let mut line = |start: &str, cells: Vec<&str>| {
        let mut text = format!("{start:first$}");
        for (cell, width) in cells.into_iter().zip(&widths) {
            // A String takes everything.
            let _ = write!(text, "  {cell:width$}");
        }
        lines.push(text.trim_end().to_owned());
    };
    line("law", reports.iter().map(|report| report.subject.as_str()).collect());
    for law in &laws {
        let words = reports.iter().map(|report| report.verdict(law).map_or("-", Verdict::word));
        line(&words_of(law), words.collect());
    }
    lines.extend(reports.iter().flat_map(remarks));
    lines.join("\n") + "\n"
}

fn words_of(law: &str) -> String {
    law.replace('_', " ")
}

/// What is to be said about the laws of a report that were not held.
fn remarks(report: &Report) -> Vec<String> {
    let remark = |judged: &Judged| {
        let (word, reason) = match &judged.verdict {
            Verdict::Held => return None,
            Verdict::Broken(what) => ("BROKEN", what.as_str()),
            Verdict::Skipped(why) => ("skipped", *why),
        };
        Some(format!("{}: {word}: {}: {reason}", report.subject, words_of(judged.law)))
    };
    report.laws.iter().filter_map(remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(subject: &str, verdicts: [Verdict; 3]) -> Report {
        let laws = ["a_batch_is_whole", "a_feed_has_no_gap", "an_outage_ends"];
        let laws = laws.into_iter().zip(verdicts).map(|(law, verdict)| Judged { law, verdict }).collect();
        Report { subject: subject.to_owned(), laws }
    }

    #[test]
    fn a_table_shows_every_law_of_every_storage_and_hides_nothing() {
        let skipped = Verdict::Skipped("it cannot be taken away");
        let reports = [
            report("inmem", [Verdict::Held, Verdict::Held, skipped]),
            report(
                "postgresql",
                [Verdict::Held, Verdict::Broken("record 7 is missing".to_owned()), Verdict::Held],
            ),
        ];
        let expected = "\
law                inmem    postgresql
a batch is whole   held     held
a feed has no gap  held     BROKEN
an outage ends     skipped  held
inmem: skipped: an outage ends: it cannot be taken away
postgresql: BROKEN: a feed has no gap: record 7 is missing
";
        assert_eq!(table(&reports), expected);
        assert_eq!(reports[0].skipped(), ["an_outage_ends"]);
        assert_eq!(reports[0].violations(), []);
        assert_eq!(reports[1].violations().len(), 1);
        assert!(reports[1].to_string().starts_with("law                postgresql\n"));
    }
}
