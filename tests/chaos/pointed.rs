//! Servers that somebody else started, of any make that speaks Vault's API, named by addresses and process ids.
//!
//! Nothing is known of their storage, so there is no journal: judged are C1, C2, C4, C5 and C8, and C6 where answers
//! carry `X-Vault-Index`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::http::{Answer, Http, until};
use crate::judge::{self, Final};
use crate::load::{COUNTERS, Load, Place, REGISTERS, stored};
use crate::nemesis::Fault;
use crate::plan::{self, Abilities, Kind, Step, Wish};
use crate::record::{Record, Time};
use crate::run::folder;
use crate::settings::{Pointed, Settings};
use crate::testbed::PATIENCE;
use crate::tunnel::Tunnel;
use crate::{finish, report};

const STEPS: usize = 10_000;

struct Cluster {
    nodes: Vec<Http>,
    pids: Vec<Pid>,
    restart: Option<String>,
    place: Place,
    _tunnels: Vec<Tunnel>,
}

/// What can be done to them.
fn kinds(pointed: &Pointed) -> Vec<Kind> {
    let mut kinds = vec![Kind::StepDown];
    if !pointed.pids.is_empty() {
        kinds.extend([Kind::PauseLeader, Kind::PauseStandby]);
    }
    if !pointed.pids.is_empty() && pointed.restart.is_some() {
        kinds.extend([Kind::KillLeader, Kind::KillStandby, Kind::TerminateLeader]);
    }
    kinds
}

/// Runs; whether nothing is wrong.
pub async fn run(settings: &Settings, pointed: &Pointed) -> bool {
    let Settings { minutes, seed, only, .. } = settings;
    println!("chaos on {} for {minutes} minutes, SEED={seed}", pointed.addresses.join(", "));
    let mut cluster = Cluster::open(pointed, *seed).await;
    let possible = kinds(pointed);
    let tokens_before = cluster.tokens().await;
    let record = Arc::new(Record::new());
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.url.clone()).collect();
    let load = Load::start(&urls, &urls, &cluster.place, 0, *seed, &record);
    let abilities = Abilities { members: 3, lock: true, writer: false, throttle: false, lock_members: 0 };
    let steps = plan::plan(Wish { seed: *seed, only, is_brisk: *minutes < 3.0 }, abilities, STEPS);
    let (mut faults, mut wrong) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for step in steps.iter().filter(|step| possible.contains(&step.kind)) {
        if begun.elapsed() > Duration::from_secs_f64(minutes * 60.0) || !wrong.is_empty() {
            break;
        }
        let (begin, first) = (record.now(), record.len());
        let did = cluster.fault(step).await;
        let healed = record.now();
        wrong.extend(cluster.until_it_works(step, &record, healed).await);
        let (end, seconds) = (record.now(), |time: Time| time as f64 / 1e6);
        let longest_gap = record.longest_gap(begin, end);
        let [done, refused, unknown] = record.outcomes_since(first);
        println!(
            "{:7.1} s  {did}; works {:.1} s later, longest gap {:.1} s, {done} done, {refused} refused, {unknown} unknown",
            seconds(begin),
            seconds(end - healed),
            seconds(longest_gap),
        );
        faults.push(Fault { kind: step.kind, longest_gap: Some(longest_gap) });
        tokio::time::sleep(Duration::from_secs_f64(step.pause)).await;
    }
    load.end().await;
    let mut stored = Final::default();
    if wrong.is_empty() {
        stored = cluster.stored().await;
        stored.tokens = cluster.tokens().await.saturating_sub(tokens_before);
    }
    let events = record.events();
    let folder = folder(&format!("pointed-{seed}"));
    finish::write_history(&folder.join("history.jsonl"), &events, &[]);
    wrong.extend(judge::judge(&events, &[], &stored));
    cluster.clean().await;
    println!("\n{}\nhistory is in {}", report::totals(&events, &[], &faults, &wrong), folder.display());
    wrong.is_empty()
}

impl Cluster {
    async fn open(pointed: &Pointed, seed: u64) -> Self {
        let token = std::fs::read_to_string(&pointed.token_file).expect("the file of the token");
        let place =
            Place { token: token.trim().to_owned(), prefix: format!("chaos-{seed}-{}-", std::process::id()) };
        let (mut nodes, mut tunnels) = (Vec::new(), Vec::new());
        for address in &pointed.addresses {
            let mut url = address.clone();
            if let Some(target) = address.strip_prefix("https://") {
                let ca_file = pointed.ca_file.as_ref().expect("--ca-file, for https");
                let tunnel = Tunnel::open(target.trim_end_matches('/'), ca_file).await;
                url = format!("http://{}", tunnel.address);
                tunnels.push(tunnel);
            }
            nodes.push(Http::new(&url).with_token(&place.token));
        }
        let pids = pointed.pids.iter().map(|pid| Pid::from_raw(*pid).expect("a process id")).collect();
        let cluster = Self { nodes, pids, restart: pointed.restart.clone(), place, _tunnels: tunnels };
        for (path, version) in [("registers", "1"), ("counters", "2")] {
            let mount = json!({"type": "kv", "options": {"version": version}});
            let path = format!("sys/mounts/{}{path}", cluster.place.prefix);
            cluster
                .ask("POST", &path, Some(&mount), |answer| {
                    answer.status == 204 || answer.error().contains("in use")
                })
                .await;
        }
        cluster
    }

    /// Asks the first node that gives an answer that will do.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
        will_do: impl Fn(&Answer) -> bool,
    ) -> Answer {
        until(path, PATIENCE, || async {
            let mut said = Vec::new();
            for node in &self.nodes {
                match node.call(method, path, body).await {
                    Ok(answer) if will_do(&answer) => return Ok(answer),
                    other => said.push(format!("{other:?}")),
                }
            }
            Err(said.join("; "))
        })
        .await
    }

    async fn tokens(&self) -> usize {
        let answer = self.ask("LIST", "auth/token/accessors", None, |answer| answer.status == 200).await;
        answer.body["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    async fn leader(&self) -> Option<usize> {
        let asked = self.nodes.iter().map(|node| async {
            let mut http = node.clone();
            http.patience = Duration::from_secs(1);
            let answer = http.call("GET", "sys/leader", None).await.ok()?;
            (answer.body["is_self"] == true).then_some(())
        });
        join_all(asked).await.into_iter().position(|said| said.is_some())
    }

    async fn fault(&mut self, step: &Step) -> String {
        let count = self.nodes.len();
        let leader = self.leader().await.unwrap_or(step.choice % count);
        let node = match step.kind {
            Kind::PauseStandby | Kind::KillStandby if count > 1 => {
                (leader + 1 + step.choice % (count - 1)) % count
            }
            _ => leader,
        };
        let lasts = Duration::from_secs_f64(step.lasts);
        match step.kind {
            Kind::PauseLeader | Kind::PauseStandby => {
                self.signal(node, Signal::STOP);
                tokio::time::sleep(lasts).await;
                self.signal(node, Signal::CONT);
            }
            Kind::KillLeader | Kind::KillStandby | Kind::TerminateLeader => {
                let signal = if step.kind == Kind::TerminateLeader { Signal::TERM } else { Signal::KILL };
                self.signal(node, signal);
                self.gone(node).await;
                tokio::time::sleep(lasts).await;
                self.start_again(node);
            }
            _ => {
                self.nodes[node].call("PUT", "sys/step-down", None).await.ok();
                tokio::time::sleep(lasts).await;
            }
        }
        format!("{} (node {node}) for {:.1} s", step.kind, step.lasts)
    }

    fn signal(&self, node: usize, signal: Signal) {
        kill_process(self.pids[node], signal).expect("a process that is there and may be signalled");
    }

    /// Waits for the end of a process, which may stay as a zombie.
    async fn gone(&self, node: usize) {
        let file = format!("/proc/{}/stat", self.pids[node].as_raw_nonzero());
        until("the end of the process", PATIENCE, || async {
            match std::fs::read_to_string(&file) {
                Ok(text) if !text.contains(") Z ") => Err(text),
                _ => Ok(()),
            }
        })
        .await;
    }

    fn start_again(&mut self, node: usize) {
        let command = self.restart.as_ref().expect("a command");
        let output = tokio::task::block_in_place(|| {
            std::process::Command::new("sh").args(["-c", command, "sh", &node.to_string()]).output()
        });
        let output = output.expect("sh");
        let text = String::from_utf8_lossy(&output.stdout);
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        self.pids[node] = pid.unwrap_or_else(|| panic!("{command} printed no process id but {text:?}"));
    }

    async fn until_it_works(&self, step: &Step, record: &Record, healed: Time) -> Vec<String> {
        let begun = Instant::now();
        while !record.has_written_since(healed) {
            if begun.elapsed() > PATIENCE {
                return vec![format!("after {}: no write within {PATIENCE:?}", step.kind)];
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let waits = self.nodes.iter().map(|node| async {
            loop {
                let state = match node.call("GET", "sys/health", None).await {
                    Ok(answer) if matches!(answer.status, 200 | 429 | 473) => return None,
                    other => format!("{other:?}"),
                };
                if begun.elapsed() > PATIENCE {
                    return Some(format!("after {}: {} is not ready: {state}", step.kind, node.url));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        join_all(waits).await.into_iter().flatten().collect()
    }

    /// What every node answers when all is quiet.
    async fn stored(&self) -> Final {
        let mut found = Final::default();
        for node in &self.nodes {
            for key in 0..REGISTERS {
                let answer = read(node, &format!("{}registers/r{key}", self.place.prefix)).await;
                found.registers.entry(key).or_default().push(stored(&answer));
            }
            for counter in 0..COUNTERS {
                let answer = read(node, &format!("{}counters/data/c{counter}", self.place.prefix)).await;
                let count = answer.body["data"]["data"]["value"].as_u64().unwrap_or(0);
                found.counters.entry(counter).or_default().push(count);
            }
        }
        found
    }

    /// Removes what this run made, its tokens aside, which end by themselves.
    async fn clean(&self) {
        for path in ["registers", "counters"] {
            for node in &self.nodes {
                let path = format!("sys/mounts/{}{path}", self.place.prefix);
                if node.call("DELETE", &path, None).await.is_ok_and(|answer| answer.status == 204) {
                    break;
                }
            }
        }
    }
}

async fn read(node: &Http, path: &str) -> Answer {
    until("a read at the end", PATIENCE, || async {
        match node.call("GET", path, None).await {
            Ok(answer) if matches!(answer.status, 200 | 404) => Ok(answer),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}
