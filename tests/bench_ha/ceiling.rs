//! What the storage itself can do: one connection that commits back to back, through the same code that the server uses
//! and in the same transaction, and does nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast::base::clock::UnixMillis;
use holdfast::base::random::{Random, SystemRandom};
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, Head, LockName, Op};

/// Keys that are written in turn, and how many writes later a new key is deleted.
const KEYS: u64 = 20_000;

/// What a client's write does with one key.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// A value of so many bytes takes the place of another.
    Overwrite(usize),
    /// A key that was not there gets a value of so many bytes.
    Create(usize),
    /// A key that an earlier write created goes.
    Delete,
}

/// The shape of one write of a client in the storage: length of the key, and what is done with it.
#[derive(Debug, Clone)]
pub struct Shape(pub Vec<(usize, Change)>);

/// A vault without servers.
pub struct Ceiling {
    backend: Arc<dyn Backend>,
    head: Head,
    /// Writes so far.
    written: u64,
    noise: Bytes,
}

impl Ceiling {
    /// Makes one in an empty place.
    pub async fn new(backend: Arc<dyn Backend>) -> Self {
        let lock = LockName::none();
        let head = Head {
            cluster: "00000000-0000-4000-8000-000000000000".into(),
            lock: Arc::new(lock),
            epoch: 1,
            seq: 1,
            batch_id: BatchId::new(&SystemRandom),
            node: "ceiling_0_0".into(),
            format: FORMAT,
            time: UnixMillis(1),
        };
        let first = Op::Put { key: "first".to_owned(), value: Bytes::from_static(b"1") };
        commit(&*backend, None, &head, &[first]).await;
        let mut noise = vec![0; 64 << 10];
        SystemRandom.fill(&mut noise);
        Self { backend, head, written: 0, noise: Bytes::from(noise) }
    }

    /// Commits and writes a second when every commit holds `batch` writes of this shape, or as many as the storage takes,
    /// measured for `time`.
    pub async fn measure(&mut self, shape: &Shape, batch: f64, time: Duration) -> (f64, f64) {
        let most = (self.backend.limits().operations / shape.0.len()) as u64;
        let (begun, first, mut commits, mut owed) = (Instant::now(), self.written, 0.0, 0.0);
        while begun.elapsed() < time {
            owed += batch;
            let ops = self.ops(shape, most.min(owed as u64));
            owed = owed.fract();
            let next =
                Head { seq: self.head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..self.head.clone() };
            commit(&*self.backend, Some(&self.head), &next, &ops).await;
            self.head = next;
            commits += 1.0;
        }
        let seconds = begun.elapsed().as_secs_f64();
        (commits / seconds, (self.written - first) as f64 / seconds)
    }

    /// So many writes.
    fn ops(&mut self, shape: &Shape, writes: u64) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..writes {
            self.written += 1;
            for (number, (key, change)) in shape.0.iter().enumerate() {
                let name = match change {
                    Change::Overwrite(_) => format!("{number}/{}", self.written % KEYS),
                    Change::Create(_) => format!("new/{}", self.written),
                    Change::Delete => format!("new/{}", self.written.saturating_sub(KEYS)),
                };
                let key = format!("{name}{}", "k".repeat(key.saturating_sub(name.len())));
                ops.push(match change {
                    Change::Overwrite(bytes) | Change::Create(bytes) => {
                        let from = (self.written as usize * 97) % (self.noise.len() - bytes);
                        Op::Put { key, value: self.noise.slice(from..from + bytes) }
                    }
                    Change::Delete => Op::Delete { key },
                });
            }
        }
        ops
    }
}

/// Sends a batch until it is known to be stored: the servers may have just started.
async fn commit(backend: &dyn Backend, expected: Option<&Head>, next: &Head, ops: &[Op]) {
    let mut result = backend.commit(expected, next, ops).await;
    for _ in 0..50 {
        match result {
            Commit::Committed => return,
            // An earlier sending was carried out after all.
            Commit::Fenced { current: Some(current) } if current == *next => return,
            Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(200)).await,
            Commit::Fenced { .. } | Commit::Refused(_) => break,
        }
        result = backend.commit(expected, next, ops).await;
    }
    panic!("a bare commit ends with {result:?}");
}
