//! What a write costs: clients that write one after the other, beside what the storage itself can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::vault::physical::{Backend, FeedEvent, Head};
use serde::{Deserialize, Serialize};

use crate::ceiling::{Ceiling, Change, Shape};
use crate::cluster::Cluster;
use crate::http::{Http, until};
use crate::place;
use crate::store::Store;
use crate::wire::{Wire, on_one_thread};

const CLIENTS: [usize; 3] = [1, 16, 64];
/// Before the figures count.
const WARM: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(5);
/// Servers and ceiling are measured in turn this often.
const TURNS: usize = 3;
/// Secrets that are written in turn, each client its own; they are there before anything is measured, since a new one costs a
/// read of the storage more.
const KEYS: usize = 20_480;
/// From here on are those that tell what a write is, each once: written about as often as the others.
const TYPICAL: usize = KEYS / 2;
/// A second, as `/proc` counts CPU time on Linux.
const TICKS: f64 = 100.0;
/// The part of the ceiling that this many clients must reach.
pub const TARGET: (usize, f64) = (64, 0.6);

/// One number of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cost {
    pub clients: usize,
    pub writes_per_second: f64,
    pub commits_per_second: f64,
    /// Writes in a commit, on average.
    pub batch: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU time of the three servers together.
    pub cpu_us_per_write: f64,
    /// CPU time of the clients.
    #[serde(default)]
    pub clients_us_per_write: f64,
    /// CPU time of everything else on the machine: the servers of the storage, and the kernel.
    #[serde(default)]
    pub rest_us_per_write: f64,
    /// Commits a second of the bare connection with batches of that size.
    pub ceiling: f64,
    /// Writes a second of the bare connection.
    #[serde(default)]
    pub carried: f64,
    /// CPU time of the whole machine for a write of the bare connection.
    #[serde(default)]
    pub ceiling_us_per_write: f64,
    /// Writes a second, as a part of what the ceiling would have carried.
    pub share: f64,
}

/// All of them on one storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Costs {
    pub backend: String,
    pub costs: Vec<Cost>,
}

impl Cost {
    /// The mean of several turns.
    fn mean(turns: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> f64| turns.iter().map(part).sum::<f64>() / turns.len() as f64;
        let (writes, carried) = (mean(|turn| turn.writes_per_second), mean(|turn| turn.carried));
        Self {
            clients: turns[0].clients,
            writes_per_second: writes,
            commits_per_second: mean(|turn| turn.commits_per_second),
            batch: mean(|turn| turn.batch),
            p50_ms: mean(|turn| turn.p50_ms),
            p99_ms: mean(|turn| turn.p99_ms),
            cpu_us_per_write: mean(|turn| turn.cpu_us_per_write),
            clients_us_per_write: mean(|turn| turn.clients_us_per_write),
            rest_us_per_write: mean(|turn| turn.rest_us_per_write),
            ceiling: mean(|turn| turn.ceiling),
            carried,
            ceiling_us_per_write: mean(|turn| turn.ceiling_us_per_write),
            share: writes / carried,
        }
    }
}

impl Costs {
    pub fn violations(&self) -> Vec<String> {
        let (clients, target) = TARGET;
        let judged = self.costs.iter().filter(|cost| cost.clients == clients && cost.share < target);
        let sentence = |cost: &Cost| {
            format!(
                "{}: {clients} writers reach {:.0} % of the ceiling, less than {:.0} %",
                self.backend,
                cost.share * 100.0,
                target * 100.0
            )
        };
        judged.map(sentence).collect()
    }
}

pub async fn measure(backend: &str) -> Costs {
    println!("{backend}, cost of a commit");
    let store = Store::open(backend).await;
    let stanza = place::unlimited(&store);
    let mut ceiling = Ceiling::new(place::connect(&place::second(&store, &stanza)).await).await;
    let cluster = Cluster::with(3, stanza.clone() + "log_level = \"info\"\n", vec![store]).await;
    let outside = place::connect(&stanza).await;
    let active = cluster.client(cluster.leader().await);
    fill(&active).await;
    let mut costs = Vec::new();
    let mut typical = TYPICAL..;
    for clients in CLIENTS {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let mut cost = load(&cluster, &*outside, &active, clients).await;
            // A secret grows with its versions, hence only now.
            let shape = shape(&*outside, &active, typical.next().unwrap_or(0)).await;
            println!(
                "a write is {} operations (bytes of the key, of the value): {:?}",
                shape.0.len(),
                shape.0
            );
            let before = machine();
            (cost.ceiling, cost.carried) = ceiling.measure(&shape, cost.batch, MEASURED).await;
            cost.ceiling_us_per_write = (machine() - before) * 1e6 / (cost.carried * MEASURED.as_secs_f64());
            cost.share = cost.writes_per_second / cost.carried;
            println!("{cost:?}");
            turns.push(cost);
        }
        costs.push(Cost::mean(&turns));
    }
    Costs { backend: backend.to_owned(), costs }
}

/// What one write of a client is in the storage, by two more of this secret.
async fn shape(outside: &dyn Backend, active: &Http, secret: usize) -> Shape {
    let mut feed = outside.follow(Some(head(outside).await)).await.unwrap();
    let mut wire = Wire::open(active).await;
    // What the write before has touched as well is overwritten.
    let (mut before, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        put(&mut wire, secret).await;
        let event = tokio::time::timeout(Duration::from_secs(10), feed.next()).await.unwrap().unwrap();
        let FeedEvent::Record(record) = event else { panic!("{event:?}") };
        before = std::mem::replace(&mut keys, record.keys);
    }
    let mut changes = Vec::new();
    for key in keys {
        let change = match outside.get(&key).await.unwrap().value {
            Some(value) if before.contains(&key) => Change::Overwrite(value.len()),
            Some(value) => Change::Create(value.len()),
            None => Change::Delete,
        };
        changes.push((key.len(), change));
    }
    Shape(changes)
}

async fn head(outside: &dyn Backend) -> Head {
    until("the head", Duration::from_secs(10), || async {
        let checked = outside.check().await.map_err(|error| error.to_string())?;
        checked.ok_or_else(|| "no head".to_owned())
    })
    .await
}

async fn load(cluster: &Cluster, outside: &dyn Backend, active: &Http, clients: usize) -> Cost {
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..clients).map(|client| write(active.clone(), client, clients, Arc::clone(&is_over)));
    let writers = on_one_thread(writers.collect());
    tokio::time::sleep(WARM).await;
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let (begun, first, before) = (Instant::now(), head(outside).await.seq, Spent::now(&pids));
    tokio::time::sleep(MEASURED).await;
    let (ended, last, after) = (Instant::now(), head(outside).await.seq, Spent::now(&pids));
    is_over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> = Vec::new();
    for written in writers.join().unwrap() {
        let within = written.into_iter().filter(|(at, _)| (begun..ended).contains(at));
        times.extend(within.map(|(_, took)| took));
    }
    times.sort_unstable();
    let (writes, commits) = (times.len() as f64, (last - first) as f64);
    let seconds = (ended - begun).as_secs_f64();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let each = |part: fn(&Spent) -> f64| (part(&after) - part(&before)) * 1e6 / writes;
    Cost {
        clients,
        writes_per_second: writes / seconds,
        commits_per_second: commits / seconds,
        batch: writes / commits,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_us_per_write: each(|spent| spent.nodes),
        clients_us_per_write: each(|spent| spent.clients),
        rest_us_per_write: each(|spent| spent.machine - spent.nodes - spent.clients),
        ceiling: 0.0,
        carried: 0.0,
        ceiling_us_per_write: 0.0,
        share: 0.0,
    }
}

/// The path of one of the secrets.
fn path(number: usize) -> String {
    format!("secret/data/cost/{}/{number}", number % 64)
}

/// Makes all secrets.
async fn fill(active: &Http) {
    let writers = CLIENTS[CLIENTS.len() - 1];
    let writers = (0..writers).map(|writer| {
        let active = active.clone();
        tokio::spawn(async move {
            let mut wire = Wire::open(&active).await;
            for number in (writer..KEYS).step_by(writers) {
                put(&mut wire, number).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|written| written.unwrap());
}

async fn put(wire: &mut Wire, number: usize) {
    let body = r#"{"data":{"value":"0123456789abcdef0123456789abcdef"}}"#;
    wire.call("PUT", &path(number), body).await;
}

/// Writes until it is over, one of so many clients; when each write was acknowledged, and how long it took.
async fn write(
    http: Http,
    client: usize,
    clients: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<(Instant, Duration)> {
    let (mut wire, mut done) = (Wire::open(&http).await, Vec::new());
    for number in (client..KEYS).step_by(clients).cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        put(&mut wire, number).await;
        done.push((Instant::now(), begun.elapsed()));
    }
    done
}

/// CPU time so far, in seconds.
struct Spent {
    nodes: f64,
    clients: f64,
    machine: f64,
}

impl Spent {
    fn now(pids: &[u32]) -> Self {
        Self { nodes: cpu(pids), clients: cpu(&[std::process::id()]), machine: machine() }
    }
}

/// CPU time of the whole machine so far, in seconds.
fn machine() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<f64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|field| field.parse().unwrap()).collect();
    // user, nice, system, irq and softirq, without what is idle or stolen.
    [0, 1, 2, 5, 6].iter().map(|at| fields[*at]).sum::<f64>() / TICKS
}

/// CPU time of processes so far, in seconds.
pub fn cpu(pids: &[u32]) -> f64 {
    let ticks = pids.iter().map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // utime and stime, the 14th and 15th field of all.
        fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
    });
    ticks.sum::<f64>() / TICKS
}
