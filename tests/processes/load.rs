//! Clients that write and read all the time and record everything that goes wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::http::{Http, NoAnswer};

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    writes: AtomicUsize,
    reads: AtomicUsize,
    failures: Mutex<Vec<String>>,
    gap_ms: AtomicU64,
    /// Tells the keys of this load from those of others.
    run: usize,
    /// `None`: new calls no longer go there.
    nodes: RwLock<Vec<Option<Http>>>,
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<(usize, u64)>>,
}

/// What happened.
pub struct Report {
    run: usize,
    pub writes: usize,
    pub reads: usize,
    pub failures: Vec<String>,
    pub longest_gap: Duration,
    /// The last acknowledged number of each client.
    last: Vec<(usize, u64)>,
}

impl Load {
    /// `clients` that each write and read one secret every `pause`. As behind a Service, a client that finds no
    /// listener at one node goes to the next; anything else that goes wrong is a failure.
    pub fn start(cluster: &Cluster, clients: usize, pause: Duration) -> Self {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        // Connections of its own, which close when their node is removed.
        let nodes = cluster.nodes.iter().map(|node| Http::new(&node.http.url).with_token(&cluster.token));
        let nodes = RwLock::new(nodes.map(Some).collect());
        let shared =
            Arc::new(Shared { run: RUNS.fetch_add(1, Ordering::Relaxed), nodes, ..Shared::default() });
        let tasks = (0..clients)
            .map(|number| {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { (number, client(number, &shared, pause).await) })
            })
            .collect();
        Self { shared, tasks }
    }

    /// What a Service does with a pod that is about to end: new calls go elsewhere.
    pub fn remove(&self, node: usize) {
        self.shared.nodes.write().unwrap()[node] = None;
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.writes.load(Ordering::Relaxed)
    }

    pub async fn until_acknowledged(&self, count: usize) {
        let begun = Instant::now();
        while self.acknowledged() < count {
            let failures = self.shared.failures.lock().unwrap().clone();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} of {count}; {failures:?}",
                self.acknowledged()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn end(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut last = Vec::new();
        for task in self.tasks {
            last.push(task.await.unwrap());
        }
        Report {
            run: self.shared.run,
            writes: self.shared.writes.load(Ordering::Relaxed),
            reads: self.shared.reads.load(Ordering::Relaxed),
            failures: self.shared.failures.lock().unwrap().clone(),
            longest_gap: Duration::from_millis(self.shared.gap_ms.load(Ordering::Relaxed)),
            last,
        }
    }
}

impl Report {
    /// Every acknowledged write is there, once.
    pub async fn check(&self, cluster: &Cluster, nodes: &[usize]) {
        for &node in nodes {
            for (client, last) in &self.last {
                let answer = cluster.client(node).get(&path(self.run, *client)).await.expect(200);
                assert_eq!(answer["data"]["data"]["n"], *last, "client {client} at node {node}");
                assert_eq!(answer["data"]["metadata"]["version"], *last, "client {client} at node {node}");
            }
        }
    }
}

fn path(run: usize, client: usize) -> String {
    format!("secret/data/load-{run}-{client}")
}

async fn client(number: usize, shared: &Shared, pause: Duration) -> u64 {
    let path = path(shared.run, number);
    let mut at = number;
    let mut acknowledged = 0;
    let mut last_success = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let next = acknowledged + 1;
        let body = json!({"data": {"n": next}, "options": {"cas": acknowledged}});
        let wrote = call(&mut at, "PUT", &path, Some(&body), shared).await;
        let gap = u64::try_from(last_success.elapsed().as_millis()).unwrap();
        if wrote.is_some() {
            acknowledged = next;
            shared.writes.fetch_add(1, Ordering::Relaxed);
            shared.gap_ms.fetch_max(gap, Ordering::Relaxed);
            last_success = Instant::now();
        }
        // Reads go to another node than the write: what was acknowledged must be seen everywhere.
        let mut other = at + 1;
        if let Some(read) = call(&mut other, "GET", &path, None, shared).await {
            shared.reads.fetch_add(1, Ordering::Relaxed);
            if read["data"]["data"]["n"] != acknowledged && wrote.is_some() {
                let text = format!(
                    "client {number} read {} after writing {acknowledged}",
                    read["data"]["data"]["n"]
                );
                shared.failures.lock().unwrap().push(text);
            }
        }
        tokio::time::sleep(pause).await;
    }
    acknowledged
}

async fn call(
    at: &mut usize,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
    shared: &Shared,
) -> Option<serde_json::Value> {
    let mut refused = 0;
    loop {
        let (node, count) = {
            let nodes = shared.nodes.read().unwrap();
            (nodes[*at % nodes.len()].clone(), nodes.len())
        };
        let Some(node) = node else {
            *at += 1;
            continue;
        };
        let failure = match node.call(method, path, body).await {
            Ok(answer) if answer.status == 200 => return Some(answer.body),
            Ok(answer) => format!("{method} at {}: {} {}", node.url, answer.status, answer.body),
            Err(NoAnswer::Connect(_)) if refused < count => {
                refused += 1;
                *at += 1;
                continue;
            }
            Err(error) => format!("{method} at {}: {error:?}", node.url),
        };
        shared.failures.lock().unwrap().push(failure);
        return None;
    }
}
