//! What a read costs in CPU time: one node alone, and three nodes that all answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::Cluster;
use crate::commits::cpu;
use crate::http::Http;
use crate::place;
use crate::store::Store;
use crate::wire::{Wire, on_one_thread};

const KEYS: usize = 200;
const WARM: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// Measured in turn this often.
const TURNS: usize = 2;
/// With so many clients three nodes may cost at most so many times what one costs. With few clients each request pays wake-ups of its
/// own, the question to the active node as well; that is reported and not judged.
pub const TARGET: (usize, f64) = (64, 1.5);

/// One and three nodes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Figures {
    pub reads_per_second: f64,
    /// CPU time of the servers together.
    pub cpu_us_per_read: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reads {
    pub backend: String,
    #[serde(default = "sixteen")]
    pub clients: usize,
    pub one: Figures,
    pub three: Figures,
}

/// What earlier results were measured with.
fn sixteen() -> usize {
    16
}

impl Reads {
    pub fn ratio(&self) -> f64 {
        self.three.cpu_us_per_read / self.one.cpu_us_per_read
    }

    pub fn violations(&self) -> Vec<String> {
        let (clients, target) = TARGET;
        if self.clients != clients || self.ratio() <= target {
            return Vec::new();
        }
        vec![format!(
            "{}: a read by {} clients costs three nodes {:.2} times the CPU time of one node, more than {target}",
            self.backend,
            self.clients,
            self.ratio()
        )]
    }
}

/// Measures one node and three in turn, on the same servers of the storage.
pub async fn measure(backend: &str, clients: usize) -> Reads {
    println!("{backend}, cost of a read, {clients} clients");
    let store = Store::open(backend).await;
    let stanza = place::first(&store);
    let level = "log_level = \"info\"\n";
    let alone = Cluster::with(1, place::second(&store, &stanza) + level, Vec::new()).await;
    let three = Cluster::with(3, stanza + level, vec![store]).await;
    for cluster in [&alone, &three] {
        cluster.leader().await;
        for key in 0..KEYS {
            let body = json!({"data": {"value": "0123456789abcdef0123456789abcdef"}});
            cluster.client(0).put(&format!("secret/data/read/{key}"), &body).await.expect(200);
        }
    }
    let mut sums = [Sum::default(), Sum::default()];
    for _ in 0..TURNS {
        for (sum, cluster) in sums.iter_mut().zip([&alone, &three]) {
            let turn = load(cluster, clients).await;
            println!("{} nodes: {:?}", cluster.nodes.len(), turn.figures());
            sum.reads += turn.reads;
            sum.seconds += turn.seconds;
            sum.cpu += turn.cpu;
        }
    }
    let [one, three] = sums.map(|sum| sum.figures());
    Reads { backend: backend.to_owned(), clients, one, three }
}

#[derive(Default)]
struct Sum {
    reads: f64,
    seconds: f64,
    cpu: f64,
}

impl Sum {
    fn figures(&self) -> Figures {
        Figures { reads_per_second: self.reads / self.seconds, cpu_us_per_read: self.cpu * 1e6 / self.reads }
    }
}

async fn load(cluster: &Cluster, clients: usize) -> Sum {
    let is_over = Arc::new(AtomicBool::new(false));
    let readers = (0..clients).map(|client| {
        let http = cluster.client(client % cluster.nodes.len());
        read(http, client, Arc::clone(&is_over))
    });
    let readers = on_one_thread(readers.collect());
    tokio::time::sleep(WARM).await;
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let (begun, before) = (Instant::now(), cpu(&pids));
    tokio::time::sleep(MEASURED).await;
    let (ended, spent) = (Instant::now(), cpu(&pids) - before);
    is_over.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for done in readers.join().unwrap() {
        reads += done.into_iter().filter(|at| (begun..ended).contains(at)).count();
    }
    Sum { reads: reads as f64, seconds: (ended - begun).as_secs_f64(), cpu: spent }
}

/// Reads until it is over; when each answer came.
async fn read(http: Http, client: usize, is_over: Arc<AtomicBool>) -> Vec<Instant> {
    let (mut wire, mut done) = (Wire::open(&http).await, Vec::new());
    for number in (0..KEYS).cycle().skip(client * 7 % KEYS) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        wire.call("GET", &format!("secret/data/read/{number}"), "").await;
        done.push(Instant::now());
    }
    done
}
