//! What commands print: tables, JSON, single fields. The only file that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place where commands print")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::Failure;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
}

/// What a command has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// For the standard output.
    pub(super) text: String,
    /// Whether a line end follows even if nobody watches.
    pub(super) ends_line: bool,
    /// For the standard error.
    pub(super) warnings: Vec<String>,
    /// The exit code.
    pub(super) code: u8,
}

impl Report {
    /// A success that says `text`.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ends_line: true, warnings: Vec::new(), code: 0 }
    }

    /// A success that shows `value` as JSON or else what `table` says.
    pub(super) fn shown<T: Serialize>(
        format: Format,
        value: &T,
        table: impl FnOnce() -> String,
    ) -> Result<Self, Failure> {
        Ok(match format {
            Format::Table => Self::text(table()),
            Format::Json => Self::text(
                serde_json::to_string_pretty(value)
                    .map_err(|e| Failure::local(format!("the answer cannot be shown as JSON: {e}")))?,
            ),
        })
    }

    /// One member of `data` alone: text as it is, everything else as JSON.
    pub(super) fn field(data: &Value, name: &str) -> Result<Self, Failure> {
        let value =
            data.get(name).ok_or_else(|| Failure::local(format!("Field {name:?} not present in secret")))?;
        Ok(Self { ends_line: false, ..Self::text(cell(value)) })
    }

    /// The same with another exit code.
    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same with warnings of the server.
    pub(super) fn with_warnings(self, warnings: Option<Vec<String>>) -> Self {
        Self { warnings: warnings.unwrap_or_default(), ..self }
    }
}

/// A value as a table shows it.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "n/a".to_owned(),
        other => other.to_string(),
    }
}

/// Two aligned columns under `Key` and `Value`.
pub(super) fn table(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).max(3);
    let mut out = format!("{:width$}    Value\n{:width$}    -----", "Key", "---");
    for (key, value) in rows {
        out.push_str(&format!("\n{key:width$}    {value}"));
    }
    out
}

/// The members of an object as rows, in order of their names.
pub(super) fn rows(object: &Map<String, Value>) -> Vec<(String, String)> {
    let mut rows: Vec<_> = object.iter().map(|(key, value)| (key.clone(), cell(value))).collect();
    rows.sort();
    rows
}

/// A heading between equals signs, as wide as Vault makes it.
pub(super) fn heading(title: &str, table: &str) -> String {
    let widest = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let title = format!(" {title} ");
    let sides = widest.saturating_sub(title.len()).div_ceil(2).max(2);
    format!("{0}{title}{0}", "=".repeat(sides))
}

/// Prints the outcome and returns the exit code.
pub(super) fn finish(outcome: Result<Report, Failure>) -> ExitCode {
    match outcome {
        Ok(report) => {
            for warning in &report.warnings {
                eprintln!("WARNING! {warning}");
            }
            let mut stdout = std::io::stdout().lock();
            let line_end = if report.ends_line || stdout.is_terminal() { "\n" } else { "" };
            // Whoever closed the pipe does not want the rest.
            let written = write!(stdout, "{}{line_end}", report.text).and_then(|()| stdout.flush());
            ExitCode::from(if written.is_ok() { report.code } else { 1 })
        }
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Shows help or what is wrong with the arguments.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        eprint!("{error}");
        ExitCode::from(1)
    } else {
        print!("{error}");
        ExitCode::SUCCESS
    }
}
