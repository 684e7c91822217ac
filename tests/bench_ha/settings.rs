//! What to measure, from the command line.

use crate::failover::Kind;

pub const USAGE: &str = "usage: bench_ha [--backend TYPE,TYPE] [--rounds N] [--only PART,PART]\n\
    parts: sigterm, step-down, sigkill, sigkill-unseen, sigstop, partition, commits, reads, reads-64";

/// All storages that several nodes can share.
pub const BACKENDS: [&str; 5] = ["kubernetes", "etcd", "consul", "zookeeper", "postgresql"];

/// From this number of rounds on results are kept.
const KEPT_ROUNDS: usize = 5;

/// One part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Failover(Kind),
    Commits,
    /// By so many clients.
    Reads(usize),
}

/// What to measure.
#[derive(Debug)]
pub struct Settings {
    pub backends: Vec<String>,
    pub parts: Vec<Part>,
    /// Rounds of each kind of failover.
    pub rounds: usize,
}

impl Part {
    fn all() -> Vec<Self> {
        Kind::ALL
            .into_iter()
            .map(Self::Failover)
            .chain([Self::Commits, Self::Reads(16), Self::Reads(64)])
            .collect()
    }

    fn parse(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|part| part.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Failover(kind) => kind.name(),
            Self::Commits => "commits",
            Self::Reads(64) => "reads-64",
            Self::Reads(_) => "reads",
        }
    }
}

impl Settings {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let backends = BACKENDS.map(str::to_owned).to_vec();
        let mut settings = Self { backends, parts: Part::all(), rounds: 20 };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let unknown = |part: &str| format!("{name} does not know {part:?}");
            match name.as_str() {
                "--backend" => {
                    settings.backends = value.split(',').map(str::to_owned).collect();
                    if let Some(other) = settings.backends.iter().find(|b| !BACKENDS.contains(&b.as_str())) {
                        return Err(unknown(other));
                    }
                }
                "--rounds" => match value.parse() {
                    Ok(rounds @ 1..=1000) => settings.rounds = rounds,
                    _ => return Err(format!("--rounds is a number from 1 to 1000, not {value:?}")),
                },
                "--only" => {
                    let parts = value.split(',').map(|part| Part::parse(part).ok_or_else(|| unknown(part)));
                    settings.parts = parts.collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(settings)
    }

    /// Whether the results are worth a line in docs/results.
    pub fn is_kept(&self) -> bool {
        self.rounds >= KEPT_ROUNDS
    }
}
