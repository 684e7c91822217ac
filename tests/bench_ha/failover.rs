//! The ways in which an active node goes, what each is allowed to cost, and what was seen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How the active node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Sigterm,
    StepDown,
    /// The others see its end: its address refuses connections.
    Sigkill,
    /// A proxy that still accepts connections hides its end.
    SigkillUnseen,
    Sigstop,
    /// Cut off from the storage, its lock, and the connections of its peers; clients still reach it.
    Partition,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Sigterm, Self::StepDown, Self::Sigkill, Self::SigkillUnseen, Self::Sigstop, Self::Partition];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::StepDown => "step-down",
            Self::Sigkill => "sigkill",
            Self::SigkillUnseen => "sigkill-unseen",
            Self::Sigstop => "sigstop",
            Self::Partition => "partition",
        }
    }

    /// Whether no request may fail.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Sigterm | Self::StepDown)
    }

    /// Whether the links have to be proxies.
    pub fn needs_links(self) -> bool {
        matches!(self, Self::SigkillUnseen | Self::Partition)
    }

    /// Seconds within which another node must have acknowledged a write.
    pub fn limit(self) -> f64 {
        match self {
            Self::Sigterm | Self::StepDown => 1.0,
            Self::Sigkill => 2.0,
            // The lock's six seconds and one more.
            Self::SigkillUnseen | Self::Sigstop | Self::Partition => 7.0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sigterm => "SIGTERM",
            Self::StepDown => "step-down",
            Self::Sigkill => "SIGKILL",
            Self::SigkillUnseen => "SIGKILL, unseen",
            Self::Sigstop => "SIGSTOP",
            Self::Partition => "partition",
        })
    }
}

/// What was seen in one round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Round {
    /// Seconds from the event to the first write that another node acknowledged under the next leader.
    pub first: f64,
    /// Longest time in seconds without an acknowledged write, from the event on.
    pub gap: f64,
    pub requests: usize,
    pub failed: BTreeMap<String, usize>,
    pub changes: u64,
    /// Lost writes, writes carried out twice, stale reads: as sentences.
    pub wrong: Vec<String>,
}

/// All rounds of one kind on one storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failovers {
    pub backend: String,
    pub kind: Kind,
    pub rounds: Vec<Round>,
}

/// Median and worst.
pub fn median_worst(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    (all.get(all.len() / 2).copied().unwrap_or(0.0), all.last().copied().unwrap_or(0.0))
}

impl Failovers {
    pub fn failed(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for (kind, count) in self.rounds.iter().flat_map(|round| &round.failed) {
            *all.entry(kind.clone()).or_default() += count;
        }
        all
    }

    pub fn violations(&self) -> Vec<String> {
        let Self { backend, kind, rounds } = self;
        let mut found = Vec::new();
        for (number, round) in rounds.iter().enumerate() {
            let place = format!("{backend}, {kind}, round {}", number + 1);
            if round.first > kind.limit() {
                found.push(format!(
                    "{place}: the first write through another node took {:.2} s, more than {} s",
                    round.first,
                    kind.limit()
                ));
            }
            if kind.is_planned() && !round.failed.is_empty() {
                found.push(format!("{place}: a planned failover failed requests: {:?}", round.failed));
            }
            if kind.is_planned() && round.gap > kind.limit() {
                found.push(format!("{place}: no write was acknowledged for {:.2} s", round.gap));
            }
            if round.changes != 1 {
                found.push(format!("{place}: the leader changed {} times", round.changes));
            }
            found.extend(round.wrong.iter().map(|wrong| format!("{place}: {wrong}")));
        }
        found
    }
}
