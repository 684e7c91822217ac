//! Clients at every node that write, count, and make, use and revoke tokens, and record what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::http::{Answer, Http, NoAnswer};
use crate::random::Seeded;
use crate::record::{Event, Index, Outcome, Record, What};
use crate::testbed::Testbed;

pub const REGISTERS: u32 = 4;
pub const COUNTERS: u32 = 2;
/// After this a client gives up and does not know.
const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: u32 = 12;
const USES: u32 = 3;
/// How long the encryption key is used.
const KEY_AGE: (f64, f64) = (5.0, 10.0);
/// More tokens than a round makes.
const TOKENS: u32 = 1_000_000;

/// Running clients.
pub struct Load {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    rotations: JoinHandle<u32>,
}

/// Where clients write.
#[derive(Debug, Clone)]
pub struct Place {
    /// A token that may do everything.
    pub token: String,
    /// What the names of the mounts `registers` and `counters` begin with.
    pub prefix: String,
}

struct Client {
    number: u32,
    prefix: String,
    /// The only node that it asks, except to see what others think of a token.
    pinned: Option<usize>,
    nodes: Vec<Http>,
    random: Seeded,
    record: Arc<Record>,
    is_over: Arc<AtomicBool>,
    tokens: Arc<AtomicU32>,
    /// The newest state that it was shown.
    index: Option<(u64, String)>,
    written: u64,
}

impl Load {
    /// Starts clients at `place`. Half of them go to any node by way of a proxy (`links`), each of the others
    /// to one node alone, without a proxy: what happens at one node shall not hold up all of them.
    pub fn start(
        links: &[String],
        direct: &[String],
        place: &Place,
        round: u32,
        seed: u64,
        record: &Arc<Record>,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let tokens = Arc::new(AtomicU32::new(round * TOKENS));
        let clients = |urls: &[String]| -> Vec<Http> {
            let client = |url: &String| {
                let mut http = Http::new(url).with_token(&place.token);
                http.patience = PATIENCE;
                http
            };
            urls.iter().map(client).collect()
        };
        let keys = rotate(clients(direct), Seeded::new(seed ^ u64::from(round)), Arc::clone(&is_over));
        let rotations = tokio::spawn(keys);
        let tasks = (0..CLIENTS)
            .map(|number| {
                let pinned = (number < CLIENTS / 2).then_some(number as usize % direct.len());
                let urls = if pinned.is_some() { direct } else { links };
                let number = round * CLIENTS + number;
                let client = Client {
                    number,
                    prefix: place.prefix.clone(),
                    pinned,
                    nodes: clients(urls),
                    random: Seeded::new(seed ^ (u64::from(number) << 32)),
                    record: Arc::clone(record),
                    is_over: Arc::clone(&is_over),
                    tokens: Arc::clone(&tokens),
                    index: None,
                    written: 0,
                };
                tokio::spawn(client.run())
            })
            .collect();
        Self { is_over, tasks, rotations }
    }

    /// Clients of all nodes of a testbed. Those of several rounds that write to one record do not mix up.
    pub fn of(testbed: &Testbed, round: u32, seed: u64, record: &Arc<Record>) -> Self {
        let links: Vec<String> =
            testbed.nodes.iter().map(|node| format!("http://{}", node.clients.address)).collect();
        let direct: Vec<String> = testbed.nodes.iter().map(|node| node.direct.url.clone()).collect();
        let place = Place { token: testbed.token.clone(), prefix: String::new() };
        Self::start(&links, &direct, &place, round, seed, record)
    }

    /// Ends it; the last calls are awaited. How often the encryption key was replaced.
    pub async fn end(self) -> u32 {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.rotations.await.unwrap()
    }
}

/// Replaces the encryption key now and then, through two nodes at once: whatever was written under a key that got lost
/// cannot be read at the end.
async fn rotate(nodes: Vec<Http>, mut random: Seeded, is_over: Arc<AtomicBool>) -> u32 {
    let mut rotations = 0;
    while !is_over.load(Ordering::Relaxed) {
        let first = random.below(nodes.len());
        let second = (first + 1) % nodes.len();
        let both = [first, second].map(|node| nodes[node].call("PUT", "sys/rotate", None));
        let answers = join_all(both).await;
        rotations += answers.iter().flatten().filter(|answer| answer.status == 204).map(|_| 1).sum::<u32>();
        let (least, most) = KEY_AGE;
        let mut left = random.between(least, most);
        while left > 0.0 && !is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs_f64(left.min(0.5))).await;
            left -= 0.5;
        }
    }
    rotations
}

/// Whether an answer says that the request was carried out, was not, or that nobody knows.
fn outcome(what: &What, answer: &Result<Answer, NoAnswer>) -> (Outcome, String) {
    let answer = match answer {
        Ok(answer) => answer,
        // Nothing was sent; that says nothing about a token.
        Err(NoAnswer::Connect(why)) if matches!(what, What::UseToken { .. }) => {
            return (Outcome::Unknown, format!("not sent: {why}"));
        }
        Err(NoAnswer::Connect(why)) => return (Outcome::Refused, format!("not sent: {why}")),
        Err(NoAnswer::Broken(why)) => return (Outcome::Unknown, format!("no answer: {why}")),
    };
    let text = answer.error();
    let outcome = match (what, answer.status) {
        (_, 200 | 204) | (What::Read { .. }, 404) => Outcome::Done,
        // Only this says that the token itself is not accepted.
        (What::UseToken { .. }, status) if status != 403 => Outcome::Unknown,
        (_, 503) if text.contains("may or may not") => Outcome::Unknown,
        (_, 503 | ..500) => Outcome::Refused,
        _ => Outcome::Unknown,
    };
    let note = if outcome == Outcome::Done { String::new() } else { format!("{} {text}", answer.status) };
    (outcome, note)
}

/// The state that an answer names.
pub fn index(answer: &Answer) -> Option<(Index, String)> {
    let text = answer.headers.get("x-vault-index")?.to_str().ok()?;
    let plain = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let parts: Vec<&str> = plain.split(':').collect();
    let index = Index { cluster: (*parts.get(1)?).to_owned(), seq: parts.get(2)?.parse().ok()? };
    Some((index, text.to_owned()))
}

impl Client {
    async fn run(mut self) {
        while !self.is_over.load(Ordering::Relaxed) {
            match self.number % 6 {
                0..=2 => self.register().await,
                3 => self.count().await,
                4 => self.token_that_is_revoked().await,
                _ => self.token_of_few_uses().await,
            }
            let pause = self.random.between(0.01, 0.1);
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        }
    }

    fn any_node(&mut self) -> usize {
        let any = self.random.below(self.nodes.len());
        self.pinned.unwrap_or(any)
    }

    async fn register(&mut self) {
        let key = u32::try_from(self.random.below(REGISTERS as usize)).unwrap_or(0);
        let path = format!("{}registers/r{key}", self.prefix);
        let node = self.any_node();
        if self.random.below(2) == 0 {
            self.written += 1;
            let value = u64::from(self.number + 1) * 1_000_000_000 + self.written;
            let body = json!({"value": value});
            self.call(node, "PUT", &path, Some(&body), None, |_| What::Write { key, value }).await;
        } else {
            self.call(node, "GET", &path, None, None, |answer| What::Read { key, value: stored(answer) })
                .await;
        }
    }

    async fn count(&mut self) {
        let counter = u32::try_from(self.random.below(COUNTERS as usize)).unwrap_or(0);
        let path = format!("{}counters/data/c{counter}", self.prefix);
        let node = self.any_node();
        let Ok(found) = self.nodes[node].call("GET", &path, None).await else { return };
        let (count, version) = match found.status {
            200 => (
                found.body["data"]["data"]["value"].as_u64(),
                found.body["data"]["metadata"]["version"].as_u64(),
            ),
            404 => (Some(0), Some(0)),
            _ => return,
        };
        let (Some(count), Some(version)) = (count, version) else { return };
        let count = count + 1;
        let body = json!({"data": {"value": count}, "options": {"cas": version}});
        let node = self.any_node();
        self.call(node, "PUT", &path, Some(&body), None, |_| What::Increment { counter, count }).await;
    }

    async fn create_token(&mut self, uses: u32) -> Option<(u32, String)> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let body = json!({"ttl": "4h", "policies": ["default"], "num_uses": uses});
        let node = self.any_node();
        let what = |_: &Answer| What::CreateToken { token, uses };
        let answer = self.call(node, "POST", "auth/token/create", Some(&body), None, what).await?;
        Some((token, answer.body["auth"]["client_token"].as_str()?.to_owned()))
    }

    async fn token_that_is_revoked(&mut self) {
        let Some((token, secret)) = self.create_token(0).await else { return };
        for _ in 0..2 {
            let node = self.any_node();
            self.use_token(node, token, &secret).await;
        }
        let node = self.any_node();
        let body = json!({"token": secret});
        let what = |_: &Answer| What::RevokeToken { token };
        self.call(node, "POST", "auth/token/revoke", Some(&body), None, what).await;
        for node in 0..self.nodes.len() {
            self.use_token(node, token, &secret).await;
        }
    }

    async fn use_token(&mut self, node: usize, token: u32, secret: &str) {
        let what = |_: &Answer| What::UseToken { token };
        self.call(node, "GET", "auth/token/lookup-self", None, Some(secret), what).await;
    }

    /// More uses than it has, all at once at several nodes.
    async fn token_of_few_uses(&mut self) {
        let Some((token, secret)) = self.create_token(USES).await else { return };
        let nodes: Vec<usize> = (0..USES + 2).map(|_| self.any_node()).collect();
        let uses = nodes.into_iter().map(|node| {
            let http = self.nodes[node].with_token(&secret);
            let record = Arc::clone(&self.record);
            let number = self.number;
            async move {
                let begin = record.now();
                let answer = http.call("GET", "auth/token/lookup-self", None).await;
                let what = What::UseToken { token };
                let (outcome, note) = outcome(&what, &answer);
                // Answers that overtake one another show nothing about the order of states.
                record.add(Event {
                    client: number,
                    node,
                    begin,
                    end: record.now(),
                    what,
                    outcome,
                    index: None,
                    note,
                });
            }
        });
        join_all(uses).await;
    }

    /// Calls, records, and gives the answer if it was a success (or says that there is no such value).
    async fn call(
        &mut self,
        node: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
        what: impl FnOnce(&Answer) -> What,
    ) -> Option<Answer> {
        let mut http = self.nodes[node].clone();
        if let Some(token) = token {
            http = http.with_token(token);
        }
        if let Some((_, text)) = &self.index {
            http = http.with_header("x-vault-index", text);
        }
        let begin = self.record.now();
        let answer = http.call(method, path, body).await;
        let end = self.record.now();
        let found = answer.as_ref().ok().and_then(index);
        if let Some((index, text)) = &found
            && self.index.as_ref().is_none_or(|(seq, _)| *seq < index.seq)
        {
            self.index = Some((index.seq, text.clone()));
        }
        let nothing = Answer { status: 0, headers: http::HeaderMap::new(), body: Value::Null };
        let seen = answer.as_ref().unwrap_or(&nothing);
        let what = what(seen);
        let (outcome, note) = outcome(&what, &answer);
        let index = found.map(|(index, _)| index);
        self.record.add(Event { client: self.number, node, begin, end, what, outcome, index, note });
        answer.ok().filter(|_| outcome == Outcome::Done)
    }
}

/// What a register holds; zero: nothing.
pub fn stored(answer: &Answer) -> u64 {
    answer.body["data"]["value"].as_u64().unwrap_or(0)
}
