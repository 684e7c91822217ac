//! Two hundred requests a second over all nodes, and a record of everything that each of them was told.
//!
//! Every lane owns a key. Twice in four seconds it writes the next value by check-and-set at one node and reads it at
//! the next one at once. So a write that is lost or carried out twice breaks the chain of versions, and a read that is
//! older than the last acknowledged write shows itself. A lane that finds no listener at a node goes to the next one, as
//! behind a Service; anything else that is no success is a failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::http::{Answer, Http, NoAnswer, until};

/// Keys.
const LANES: u32 = 200;
/// Time between two pairs of a write and a read of a lane.
const PERIOD: Duration = Duration::from_secs(2);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    at: Instant,
    node: usize,
    /// The state that it is in.
    seq: u64,
}

#[derive(Default)]
struct Shared {
    nodes: RwLock<Vec<Option<Http>>>,
    is_over: AtomicBool,
    requests: AtomicUsize,
    writes: Mutex<Vec<Acknowledged>>,
    failures: Mutex<BTreeMap<String, usize>>,
    texts: Mutex<BTreeMap<String, usize>>,
    wrong: Mutex<Vec<String>>,
}

/// Running lanes.
pub struct Load {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<Lane>>,
}

/// What happened.
pub struct Report {
    pub requests: usize,
    pub failed: BTreeMap<String, usize>,
    /// What failures said, for the reader of the run.
    pub texts: BTreeMap<String, usize>,
    pub wrong: Vec<String>,
    writes: Vec<Acknowledged>,
    lanes: Vec<Lane>,
}

impl Load {
    /// Starts it at `nodes`, with keys below `prefix` of a mount of KV version 2.
    pub fn start(nodes: Vec<Http>, prefix: &str) -> Self {
        let nodes = nodes.into_iter().map(|mut http| {
            http.patience = PATIENCE;
            Some(http)
        });
        let shared = Arc::new(Shared { nodes: RwLock::new(nodes.collect()), ..Shared::default() });
        let begun = tokio::time::Instant::now();
        let lanes = (0..LANES)
            .map(|number| {
                let path = format!("{prefix}/{number}");
                let lane = Lane { path, number: number as usize, ..Lane::default() };
                tokio::spawn(lane.run(begun + PERIOD * number / LANES, Arc::clone(&shared)))
            })
            .collect();
        Self { shared, lanes }
    }

    /// What a Service does with a pod that is about to end: nothing new goes there, idle connections close.
    pub fn remove(&self, node: usize) {
        self.shared.nodes.write().unwrap()[node] = None;
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.writes.lock().unwrap().len()
    }

    /// Waits for `count` more acknowledged writes.
    pub async fn until_more(&self, count: usize) {
        let goal = self.acknowledged() + count;
        until("acknowledged writes", Duration::from_secs(60), || async {
            let count = self.acknowledged();
            let failures = || self.shared.texts.lock().unwrap().clone();
            if count >= goal { Ok(()) } else { Err(format!("{count} of {goal}, {:?}", failures())) }
        })
        .await;
    }

    /// When the first write was acknowledged after `event` by another node than `old`, in a state not before `seq`.
    pub fn first_elsewhere(&self, event: Instant, old: usize, seq: u64) -> Option<Instant> {
        let writes = self.shared.writes.lock().unwrap();
        let is_it = |write: &&Acknowledged| write.at > event && write.node != old && write.seq >= seq;
        writes.iter().filter(is_it).map(|write| write.at).min()
    }

    /// Ends it.
    pub async fn end(self) -> Report {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let lanes = join_all(self.lanes).await.into_iter().map(Result::unwrap).collect();
        let shared = &self.shared;
        Report {
            requests: shared.requests.load(Ordering::Relaxed),
            failed: shared.failures.lock().unwrap().clone(),
            texts: shared.texts.lock().unwrap().clone(),
            wrong: shared.wrong.lock().unwrap().clone(),
            writes: shared.writes.lock().unwrap().clone(),
            lanes,
        }
    }
}

impl Report {
    /// Longest time without an acknowledged write after `event`.
    pub fn longest_gap(&self, event: Instant) -> Duration {
        let mut times: Vec<Instant> = self.writes.iter().map(|w| w.at).filter(|at| *at > event).collect();
        times.sort_unstable();
        let ends = times.iter().copied();
        std::iter::once(event)
            .chain(times.iter().copied())
            .zip(ends)
            .map(|(a, b)| b - a)
            .max()
            .unwrap_or(PATIENCE)
    }

    /// Reads every key at each of `nodes`; adds what is not as it was acknowledged.
    pub async fn verify(&mut self, nodes: &[Http]) {
        let shared = Shared::default();
        for http in nodes {
            let reads = self.lanes.iter_mut().map(|lane| async {
                let answer = until("a read at the end", Duration::from_secs(60), || async {
                    match http.call("GET", &lane.path, None).await {
                        Ok(answer) if matches!(answer.status, 200 | 404) => Ok(answer),
                        other => Err(format!("{other:?}")),
                    }
                })
                .await;
                lane.judge(&answer, &format!("{} at the end", http.url), &shared);
            });
            join_all(reads).await;
        }
        self.wrong.append(&mut shared.wrong.lock().unwrap());
    }
}

/// One key and what is known of it.
#[derive(Default)]
struct Lane {
    path: String,
    number: usize,
    /// The last acknowledged version, or one that was read since.
    version: u64,
    value: u64,
    /// Values of writes after it whose outcome is unknown.
    unknown: Vec<u64>,
    /// The last value that was sent.
    sent: u64,
}

impl Lane {
    async fn run(mut self, first: tokio::time::Instant, shared: Arc<Shared>) -> Self {
        let mut tick = tokio::time::interval_at(first, PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut at = self.number;
        loop {
            tick.tick().await;
            if shared.is_over.load(Ordering::Relaxed) {
                return self;
            }
            at += 1;
            self.write(at, &shared).await;
            self.read(at + 1, &shared).await;
        }
    }

    async fn write(&mut self, at: usize, shared: &Shared) {
        self.sent += 1;
        let (value, base) = (self.sent, self.version);
        let body = json!({"data": {"n": value}, "options": {"cas": base}});
        let (node, answer) = call(shared, at, "PUT", &self.path, Some(&body)).await;
        match &answer {
            Ok(answer) if answer.status == 200 => {
                let version = answer.body["data"]["version"].as_u64().unwrap_or(0);
                if version != base + 1 {
                    self.wrong(shared, &format!("a write on version {base} made version {version}"));
                }
                (self.version, self.value) = (version, value);
                self.unknown.clear();
                let seq = index(answer).unwrap_or(0);
                shared.writes.lock().unwrap().push(Acknowledged { at: Instant::now(), node, seq });
            }
            // One of those whose outcome is unknown was carried out: the next read tells.
            Ok(answer) if answer.error().contains("check-and-set") && !self.unknown.is_empty() => {}
            Ok(answer) if answer.error().contains("check-and-set") => {
                self.wrong(shared, &format!("lost or doubled: version {base} is not the newest any more"));
            }
            Ok(answer) if answer.error().contains("may or may not") || answer.status != 503 => {
                self.unknown.push(value);
                fail(shared, "write", answer_kind(answer), &format!("{} {}", answer.status, answer.body));
            }
            Ok(answer) => {
                fail(shared, "write", answer_kind(answer), &format!("{} {}", answer.status, answer.body));
            }
            Err(error) => {
                if matches!(error, NoAnswer::Broken(_)) {
                    self.unknown.push(value);
                }
                fail(shared, "write", error_kind(error), &format!("{error:?}"));
            }
        }
    }

    async fn read(&mut self, at: usize, shared: &Shared) {
        match call(shared, at, "GET", &self.path, None).await {
            (node, Ok(answer)) if matches!(answer.status, 200 | 404) => {
                self.judge(&answer, &format!("node {node}"), shared);
            }
            (_, Ok(answer)) => {
                fail(shared, "read", answer_kind(&answer), &format!("{} {}", answer.status, answer.body));
            }
            (_, Err(error)) => fail(shared, "read", error_kind(&error), &format!("{error:?}")),
        }
    }

    /// What a read showed that was asked for after everything that this lane knows.
    fn judge(&mut self, answer: &Answer, place: &str, shared: &Shared) {
        let data = &answer.body["data"];
        let version = data["metadata"]["version"].as_u64().unwrap_or(0);
        let value = data["data"]["n"].as_u64().unwrap_or(0);
        if (version, value) == (self.version, self.value) {
            return;
        }
        if version == self.version + 1 && self.unknown.contains(&value) {
            (self.version, self.value) = (version, value);
            self.unknown.clear();
            return;
        }
        let what = if version < self.version { "stale or lost" } else { "doubled or out of nothing" };
        self.wrong(
            shared,
            &format!(
                "{what}: version {version} with {value} at {place}, version {} with {} was acknowledged",
                self.version, self.value
            ),
        );
    }

    fn wrong(&self, shared: &Shared, text: &str) {
        shared.wrong.lock().unwrap().push(format!("{}: {text}", self.path));
    }
}

/// Calls the first node from `at` on that is not removed and has a listener; which one it was.
async fn call(
    shared: &Shared,
    at: usize,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> (usize, Result<Answer, NoAnswer>) {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let nodes: Vec<(usize, Http)> = {
        let nodes = shared.nodes.read().unwrap();
        let order = (at..at + nodes.len()).map(|node| node % nodes.len());
        order.filter_map(|node| nodes[node].clone().map(|http| (node, http))).collect()
    };
    let mut last = (0, Err(NoAnswer::Connect("no node is left".to_owned())));
    for (node, http) in nodes {
        last = (node, http.call(method, path, body).await);
        if !matches!(last.1, Err(NoAnswer::Connect(_))) {
            break;
        }
    }
    last
}

fn fail(shared: &Shared, what: &str, kind: &str, text: &str) {
    *shared.failures.lock().unwrap().entry(format!("{what} {kind}")).or_default() += 1;
    let text: String = text.chars().take(200).collect();
    *shared.texts.lock().unwrap().entry(format!("{what}: {text}")).or_default() += 1;
}

fn answer_kind(answer: &Answer) -> &'static str {
    match answer.status {
        503 if answer.error().contains("may or may not") => "unknown",
        503 => "refused",
        _ => "other",
    }
}

fn error_kind(error: &NoAnswer) -> &'static str {
    match error {
        NoAnswer::Connect(_) => "not connected",
        NoAnswer::Broken(text) if text.starts_with("no answer in") => "unanswered",
        NoAnswer::Broken(_) => "broken",
    }
}

/// The number of the commit that an answer is based on.
pub fn index(answer: &Answer) -> Option<u64> {
    let text = answer.headers.get("x-vault-index")?.to_str().ok()?;
    let plain = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    String::from_utf8(plain).ok()?.split(':').nth(2)?.parse().ok()
}
