//! Promotion of a warm standby does not grow with the data.
//!
//! The short form runs with all tests. The long form is `make bench-large BACKEND=etcd` (or `postgresql`, `kubernetes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::cluster::Cluster;
use crate::etcd_server::{Etcd, Plan};
use crate::fill::{Filler, MODEL, secret, token};
use crate::http::{Http, until};
use crate::store::Store;
use crate::turns;

const PATIENCE: Duration = Duration::from_secs(120);

/// What a promotion may take, and how much more with much data than with little.
const TARGET: Duration = Duration::from_millis(500);

/// The limit of data of storage in Kubernetes.
const DATA_LIMIT: u64 = 64 << 20;

/// The cluster and what fills it.
struct Bench {
    cluster: Cluster,
    stanza: String,
    model_token: String,
    filler: Option<Filler>,
    secrets: usize,
    tokens: usize,
    /// Bytes of data after the last filling, where the storage knows.
    used_bytes: Option<u64>,
}

/// What promotions cost.
#[derive(Default)]
struct Figures {
    /// The server's own time from the look at a free lock until it serves, in milliseconds.
    own: Vec<u64>,
    /// The longest time without a successful write, at any node.
    gap: Vec<u64>,
    /// Reads of the storage, and keys that it listed, at all nodes.
    reads: Vec<u64>,
    listed: Vec<u64>,
}

impl Bench {
    async fn start(store: Store) -> Self {
        let mut stanza = store.stanza("storage");
        if matches!(store, Store::Kubernetes(_)) {
            // The budget that keeps heads from flooding the API server would make the filling last for hours.
            stanza = stanza.replace("}\n", "budget_bytes_per_second = 1073741824\n}\n");
        }
        let cluster = Cluster::on(store).await;
        let root = cluster.client(0);
        let model = json!({"data": {"password": "a password of a usual length"}});
        root.put(&format!("secret/data/{MODEL}"), &model).await.expect(200);
        let wish = json!({"policies": ["default"], "ttl": "700h"});
        let made = root.put("auth/token/create", &wish).await.expect(200);
        let model_token = made["auth"]["client_token"].as_str().unwrap().to_owned();
        Self { cluster, stanza, model_token, filler: None, secrets: 0, tokens: 0, used_bytes: None }
    }

    /// Fills up to so many secrets and tokens, with all servers down, and starts them again.
    async fn fill(&mut self, secrets: usize, tokens: usize) {
        for node in &self.cluster.nodes {
            node.signal(Signal::TERM);
        }
        for node in &mut self.cluster.nodes {
            assert_eq!(node.ended(Duration::from_secs(60)).await, Some(0));
        }
        let begun = Instant::now();
        if self.filler.is_none() {
            self.filler = Some(Filler::new(&self.stanza, &self.cluster.key, &self.model_token).await);
        }
        let filler = self.filler.as_ref().expect("made above");
        self.used_bytes = filler.fill(self.secrets..secrets, self.tokens..tokens).await;
        println!(
            "{}: {secrets} secrets and {tokens} tokens{}, filled in {} s",
            self.cluster.stores[0].kind(),
            self.used_bytes.map(|bytes| format!(" of {} MiB", bytes >> 20)).unwrap_or_default(),
            begun.elapsed().as_secs()
        );
        (self.secrets, self.tokens) = (secrets, tokens);
        for node in 0..3 {
            self.cluster.run_again(node).await;
        }
        let begun = Instant::now();
        self.cluster.leader().await;
        println!("one leader {} ms after the last server was unsealed", begun.elapsed().as_millis());
        self.sample().await;
    }

    /// What was filled in is what the product serves.
    async fn sample(&self) {
        for part in 0..8 {
            let (one, other) = (part * (self.secrets - 1) / 7, part * (self.tokens - 1) / 7);
            let read = self.cluster.client(part % 3).get(&format!("secret/data/{}", secret(one))).await;
            assert_eq!(read.expect(200)["data"]["data"]["password"], "a password of a usual length");
            let own = self.cluster.nodes[part % 3].http.with_token(&token(other));
            let found = own.get("auth/token/lookup-self").await.expect(200);
            assert!(found["data"]["ttl"].as_u64().unwrap() > 600 * 3600, "{found}");
        }
    }

    async fn all_warm(&self) {
        let leader = self.cluster.leader().await;
        for node in self.cluster.standbys(leader) {
            let http = &self.cluster.nodes[node].http;
            until("a warm standby", PATIENCE, || async {
                let status = http.get("sys/health").await.status;
                if status == 429 { Ok(()) } else { Err(status.to_string()) }
            })
            .await;
            self.cluster.client(node).get(&format!("secret/data/{MODEL}")).await.expect(200);
        }
    }

    async fn total(&self, name: &str) -> u64 {
        let mut sum = 0;
        for node in &self.cluster.nodes {
            sum += node.metric(name).await;
        }
        sum
    }

    /// Hands over by `sys/step-down` or SIGTERM, with one writer at each node.
    async fn hand_over(&mut self, by_signal: bool, figures: &mut Figures) {
        self.all_warm().await;
        let leader = self.cluster.leader().await;
        let writers = Writers::start(&self.cluster);
        tokio::time::sleep(Duration::from_millis(300)).await;
        if by_signal {
            self.cluster.nodes[leader].signal(Signal::TERM);
        } else {
            self.cluster.client(leader).put("sys/step-down", &json!({})).await.expect(204);
        }
        let next = until("another leader", PATIENCE, || async {
            for node in self.cluster.standbys(leader) {
                if self.cluster.nodes[node].metric("holdfast_active").await == 1 {
                    return Ok(node);
                }
            }
            Err("none".to_owned())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        figures.gap.push(writers.end().await);
        figures.own.push(self.cluster.nodes[next].last_promotion_ms().expect("a promotion in the log"));
        if by_signal {
            assert_eq!(self.cluster.nodes[leader].ended(Duration::from_secs(60)).await, Some(0));
            self.cluster.run_again(leader).await;
        }
    }

    /// Hands over without load and counts what the storage is asked.
    async fn count(&self, figures: &mut Figures) {
        self.all_warm().await;
        let leader = self.cluster.leader().await;
        let (reads, listed) = ("holdfast_storage_reads_total", "holdfast_storage_keys_listed_total");
        let before = (self.total(reads).await, self.total(listed).await);
        self.cluster.client(leader).put("sys/step-down", &json!({})).await.expect(204);
        until("another leader", PATIENCE, || async {
            let now = self.cluster.leader().await;
            if now == leader { Err("the same".to_owned()) } else { Ok(()) }
        })
        .await;
        figures.reads.push(self.total(reads).await - before.0);
        figures.listed.push(self.total(listed).await - before.1);
    }

    async fn measure(&mut self, rounds: usize) -> Figures {
        let _alone = alone().await;
        let mut figures = Figures::default();
        for _ in 0..rounds {
            self.hand_over(true, &mut figures).await;
            self.hand_over(false, &mut figures).await;
            // Who stepped down does not stand for ten seconds: with two of three at rest a round would measure that.
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        let memory: Vec<u64> = self.cluster.nodes.iter().map(crate::node::Node::memory_mib).collect();
        println!(
            "{}: {} secrets, {} tokens: {rounds} step-downs and {rounds} SIGTERMs: promotion (server's log) median {} worst {} ms; \
             without a write median {} worst {} ms, all {:?}; memory of the servers {memory:?} MiB",
            self.cluster.stores[0].kind(),
            self.secrets,
            self.tokens,
            median(&figures.own),
            worst(&figures.own),
            median(&figures.gap),
            worst(&figures.gap),
            figures.gap,
        );
        figures
    }
}

/// Waits until nobody else takes times on this machine: `HOLDFAST_MEASURE_LOCK` names the file that tells.
async fn alone() -> Option<std::fs::File> {
    let path = std::env::var_os("HOLDFAST_MEASURE_LOCK")?;
    let locked = tokio::task::spawn_blocking(move || {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        file
    });
    Some(locked.await.unwrap())
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

fn worst(values: &[u64]) -> u64 {
    values.iter().max().copied().unwrap_or(0)
}

/// One client at each node that writes all the time.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Instant>>>,
}

impl Writers {
    fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..3).map(|node| {
            let (http, stop): (Http, _) = (cluster.client(node), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut successes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"data": {"n": successes.len()}});
                    match http.call("PUT", &format!("secret/data/writer-{node}"), Some(&body)).await {
                        Ok(answer) if answer.status == 200 => successes.push(Instant::now()),
                        Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                successes
            })
        });
        Self { tasks: tasks.collect(), stop }
    }

    /// The longest time without a success, in milliseconds.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut successes = Vec::new();
        for task in self.tasks {
            successes.extend(task.await.unwrap());
        }
        successes.sort_unstable();
        let gaps = successes.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        u64::try_from(gaps.max().expect("writes").as_millis()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_promotion_reads_no_more_of_a_larger_vault() {
    let _turn = turns::beside_others().await;
    let mut bench = Bench::start(Store::etcd().await).await;
    let (mut small, mut large) = (Figures::default(), Figures::default());
    bench.count(&mut small).await;
    bench.fill(20_000, 2_000).await;
    bench.count(&mut large).await;
    println!(
        "a promotion reads {:?} records and lists {:?} keys of an empty vault, {:?} and {:?} of one with 20000 secrets",
        small.reads, small.listed, large.reads, large.listed
    );
    // The expiry of tokens looks at a hundred of them a second.
    assert!(
        worst(&large.reads) < 1_000 && worst(&large.listed) < 2_000,
        "{:?} {:?}",
        large.reads,
        large.listed
    );
}

/// For `make bench-large`; minutes, and gigabytes of disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "runs for minutes: make bench-large"]
async fn promotion_of_a_large_vault() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let backend = std::env::var("BACKEND").unwrap_or_default();
    let (store, most) = match backend.as_str() {
        "" | "etcd" => (large_etcd().await, 1_000_000),
        "postgresql" => (Store::postgresql().await, 1_000_000),
        // What its 64 MiB hold is found out below.
        "kubernetes" => (Store::kubernetes().await, 0),
        other => panic!("BACKEND={other}: etcd, postgresql or kubernetes"),
    };
    let (secrets, rounds) = (number("HOLDFAST_LARGE_SECRETS", most), number("HOLDFAST_LARGE_ROUNDS", 10));
    let mut bench = Bench::start(store).await;
    bench.fill(10_000, 1_000).await;
    let small = bench.measure(rounds).await;
    let secrets = match bench.used_bytes {
        Some(used) if secrets == 0 => usize::try_from(10_000 * (DATA_LIMIT - (2 << 20)) / used).unwrap(),
        _ => secrets,
    };
    bench.fill(secrets, secrets / 10).await;
    let large = bench.measure(rounds).await;
    let target = u64::try_from(TARGET.as_millis()).unwrap();
    for (what, small, large) in
        [("promotion", &small.own, &large.own), ("time without a write", &small.gap, &large.gap)]
    {
        let (small, large) = (median(small), median(large));
        assert!(large < target, "{what}: {large} ms");
        assert!(large <= 2 * small.max(20), "{what}: {large} ms, and {small} ms with 10000 secrets");
    }
}

/// One member whose quota is above the default of two gigabytes.
async fn large_etcd() -> Store {
    let plan = Plan {
        members: 1,
        has_tls: true,
        has_users: true,
        paths: vec!["/gate/".to_owned()],
        flags: vec!["--quota-backend-bytes=8589934592".to_owned()],
    };
    Store::Etcd(tokio::task::spawn_blocking(|| Etcd::start(plan)).await.unwrap())
}
