//! The tables, and the page of what was measured last.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::commits::{Costs, TARGET};
use crate::failover::{Failovers, Kind, Round, median_worst};
use crate::reads::Reads;
use crate::settings::BACKENDS;

/// A part of the results on one storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Piece {
    Failover(Failovers),
    Commits(Costs),
    Reads(Reads),
}

/// A piece and where it comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    piece: Piece,
    date: String,
    commit: String,
    profile: String,
}

const FAILOVER: &str = "| storage | event | rounds | first success elsewhere, median / worst | longest gap, median / worst | requests | failed | lost, doubled, stale | leader changes |\n|---|---|---|---|---|---|---|---|---|\n";
const COMMITS: &str = "| storage | writers | writes/s | commits/s | writes a commit | p50 / p99 | CPU a write: 3 nodes + clients + the rest | ceiling: commits/s, CPU a write | of the ceiling |\n|---|---|---|---|---|---|---|---|---|\n";
const READS: &str = "| storage | clients | one node: reads/s | CPU a read | three nodes: reads/s | CPU a read, summed | three ÷ one |\n|---|---|---|---|---|---|---|\n";

impl Piece {
    pub fn violations(&self) -> Vec<String> {
        match self {
            Self::Failover(failovers) => failovers.violations(),
            Self::Commits(costs) => costs.violations(),
            Self::Reads(reads) => reads.violations(),
        }
    }

    /// A table of its own.
    pub fn table(&self) -> String {
        let head = match self {
            Self::Failover(_) => FAILOVER,
            Self::Commits(_) => COMMITS,
            Self::Reads(_) => READS,
        };
        head.to_owned() + &self.rows()
    }

    fn rows(&self) -> String {
        match self {
            Self::Failover(failovers) => failover_row(failovers),
            Self::Commits(costs) => commit_rows(costs),
            Self::Reads(reads) => format!(
                "| {} | {} | {:.0} | {:.0} µs | {:.0} | {:.0} µs | {:.2} |\n",
                reads.backend,
                reads.clients,
                reads.one.reads_per_second,
                reads.one.cpu_us_per_read,
                reads.three.reads_per_second,
                reads.three.cpu_us_per_read,
                reads.ratio()
            ),
        }
    }

    fn backend(&self) -> &str {
        match self {
            Self::Failover(failovers) => &failovers.backend,
            Self::Commits(costs) => &costs.backend,
            Self::Reads(reads) => &reads.backend,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Failover(failovers) => failovers.kind.name(),
            Self::Commits(_) => "commits",
            Self::Reads(reads) if reads.clients == 64 => "reads-64",
            Self::Reads(_) => "reads",
        }
    }
}

fn failover_row(failovers: &Failovers) -> String {
    let Failovers { backend, kind, rounds } = failovers;
    let times = |value: fn(&Round) -> f64| {
        let (median, worst) = median_worst(rounds.iter().map(value));
        format!("{median:.2} / {worst:.2} s")
    };
    let failed: Vec<String> =
        failovers.failed().iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    let failed = if failed.is_empty() { "0".to_owned() } else { failed.join(", ") };
    format!(
        "| {backend} | {kind} | {} | {} | {} | {} | {failed} | {} | {} |\n",
        rounds.len(),
        times(|round| round.first),
        times(|round| round.gap),
        rounds.iter().map(|round| round.requests).sum::<usize>(),
        rounds.iter().map(|round| round.wrong.len()).sum::<usize>(),
        rounds.iter().map(|round| round.changes).sum::<u64>(),
    )
}

fn commit_rows(costs: &Costs) -> String {
    let row = |text: &mut String, cost: &crate::commits::Cost| {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {:.1} | {:.1} / {:.1} ms | {:.0} + {:.0} + {:.0} µs | {:.0}, {:.0} µs | {:.0} % |",
            costs.backend,
            cost.clients,
            cost.writes_per_second,
            cost.commits_per_second,
            cost.batch,
            cost.p50_ms,
            cost.p99_ms,
            cost.cpu_us_per_write,
            cost.clients_us_per_write,
            cost.rest_us_per_write,
            cost.ceiling,
            cost.ceiling_us_per_write,
            cost.share * 100.0
        );
    };
    let mut text = String::new();
    costs.costs.iter().for_each(|cost| row(&mut text, cost));
    text
}

/// Where pieces are kept until they are measured again.
pub struct Results {
    folder: PathBuf,
    is_kept: bool,
}

fn said(program: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(arguments).current_dir(root).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Results {
    pub fn new(is_kept: bool) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/bench-ha/pieces");
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, is_kept }
    }

    /// Keeps a piece and writes the page of all of them.
    pub fn keep(&self, piece: &Piece) {
        if !self.is_kept {
            return;
        }
        let kept = Kept {
            piece: piece.clone(),
            date: said("date", &["-u", "+%Y-%m-%d"]),
            commit: said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
            profile: if cfg!(debug_assertions) { "not optimised" } else { "optimised" }.to_owned(),
        };
        let file = self.folder.join(format!("{}-{}.json", piece.backend(), piece.name()));
        std::fs::write(file, serde_json::to_string_pretty(&kept).unwrap()).unwrap();
        let page = page(&self.all());
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results/bench-ha.md"), page).unwrap();
    }

    /// Every piece that is kept, in the order of the page.
    fn all(&self) -> Vec<Kept> {
        let kinds = Kind::ALL.map(Kind::name);
        let names = kinds.into_iter().chain(["commits", "reads", "reads-64"]);
        let files = names.flat_map(|name| BACKENDS.map(|backend| format!("{backend}-{name}.json")));
        let texts = files.filter_map(|file| std::fs::read_to_string(self.folder.join(file)).ok());
        texts.filter_map(|text| serde_json::from_str(&text).ok()).collect()
    }
}

fn page(all: &[Kept]) -> String {
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for kept in all {
        *sources.entry(format!("{}, {}, {}", kept.date, kept.commit, kept.profile)).or_default() += 1;
    }
    let sources: Vec<String> =
        sources.into_iter().map(|(source, pieces)| format!("{source} ({pieces} pieces)")).collect();
    let rows = |is_part: fn(&Piece) -> bool| -> String {
        all.iter().filter(|kept| is_part(&kept.piece)).map(|kept| kept.piece.rows()).collect()
    };
    let violations: Vec<String> = all.iter().flat_map(|kept| kept.piece.violations()).collect();
    let missed = match violations.len() {
        0 => "All targets are reached.\n".to_owned(),
        _ => violations.iter().fold(String::new(), |text, violation| text + "- " + violation + "\n"),
    };
    let (writers, share) = TARGET;
    let (readers, times) = crate::reads::TARGET;
    format!(
        "# High availability, measured\n\nMade by `make bench-ha`; what the figures mean is in [bench-ha.md](../bench-ha.md).\n\
         {}. {} cores, Linux {}; servers, storage and clients on the same machine.\n\n\
         ## Failover\n\n{FAILOVER}{}\n## Commits\n\nTarget: {writers} writers reach {:.0} % of the ceiling. On Kubernetes the budget \
         for head bytes is set so high that it does not bind.\n\n{COMMITS}{}\n## Reads\n\nTarget: at most {times} times with {readers} clients.\n\n{READS}{}\n\
         ## Targets that were missed\n\n{missed}",
        sources.join("; "),
        said("nproc", &[]),
        said("uname", &["-r"]),
        rows(|piece| matches!(piece, Piece::Failover(_))),
        share * 100.0,
        rows(|piece| matches!(piece, Piece::Commits(_))),
        rows(|piece| matches!(piece, Piece::Reads(_))),
    )
}
