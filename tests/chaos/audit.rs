//! The journal of the storage, followed from outside all the while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::base::clock::SystemClock;
use holdfast::base::random::SystemRandom;
use holdfast::config::{Environment, parse};
use holdfast::vault::node::{BackendTable, Surroundings};
use holdfast::vault::physical::{Backend, FeedEvent, HaBackend, Head, Journal};
use tokio::task::JoinHandle;

use crate::http::until;
use crate::judge::Row;
use crate::testbed::PATIENCE;

/// The follower.
pub struct Audit {
    backend: Arc<dyn Backend>,
    /// The lock of the servers.
    pub lock: Arc<dyn HaBackend>,
    epoch: Arc<AtomicU64>,
    rows: Arc<Mutex<Vec<Row>>>,
    task: JoinHandle<()>,
}

impl Audit {
    /// Follows the journal of the storage that `stanza` names, whose lock it may name as well.
    pub async fn start(stanza: &str) -> Self {
        let text = format!("{stanza}\nlistener \"tcp\" {{ address = \"127.0.0.1:0\" tls_disable = true }}\n");
        let config = parse(&[("audit", &text)], &Environment::fixed([])).unwrap();
        let around = Surroundings { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
        let opened = BackendTable::default().storage(&config.storage, &around).await.unwrap();
        let (epoch, rows) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let follower = follow(Arc::clone(&opened.backend), Arc::clone(&epoch), Arc::clone(&rows));
        let lock = match &config.ha_storage {
            Some(lock) => BackendTable::default().lock(lock, &around).await.unwrap(),
            None => opened.lock.unwrap(),
        };
        let audit = Self { backend: opened.backend, lock, epoch, rows, task: tokio::spawn(follower) };
        until("the head", PATIENCE, || async {
            if audit.epoch() > 0 { Ok(()) } else { Err("no head".to_owned()) }
        })
        .await;
        audit
    }

    /// The newest epoch seen.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The commits seen so far.
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// All commits up to the one that the storage stands at now.
    pub async fn finish(self) -> Result<Vec<Row>, String> {
        let begun = tokio::time::Instant::now();
        let result = loop {
            let head = self.backend.check().await;
            if let Ok(Some(head)) = &head {
                let rows = self.rows.lock().unwrap().clone();
                if rows.last().is_some_and(|row| row.seq >= head.seq) {
                    break Ok(rows);
                }
            }
            if begun.elapsed() > Duration::from_secs(60) {
                break Err(format!("the journal does not reach the head {head:?}"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        self.task.abort();
        result
    }
}

async fn follow(backend: Arc<dyn Backend>, epoch: Arc<AtomicU64>, rows: Arc<Mutex<Vec<Row>>>) {
    let mut at: Option<Head> = None;
    let mut is_reset = true;
    loop {
        let opened = tokio::time::timeout(Duration::from_secs(10), backend.follow(at.clone())).await;
        let Ok(Ok(mut feed)) = opened else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        loop {
            match feed.next().await {
                Ok(FeedEvent::Record(record)) => {
                    epoch.store(record.head.epoch, Ordering::SeqCst);
                    at = Some(record.head.clone());
                    rows.lock().unwrap().push(row(&record, is_reset));
                    is_reset = false;
                }
                Ok(FeedEvent::Reset { head }) => {
                    is_reset = true;
                    if let Some(head) = &head {
                        epoch.store(head.epoch, Ordering::SeqCst);
                        let seen = Journal { head: head.clone(), replaced: None, keys: Vec::new() };
                        let mut rows = rows.lock().unwrap();
                        // A reset to what is known already shows nothing new.
                        if rows.last().is_none_or(|last| last.batch != head.batch_id.to_string()) {
                            rows.push(row(&seen, true));
                        }
                        is_reset = false;
                    }
                    at = head;
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    break;
                }
            }
        }
    }
}

fn row(record: &Journal, follows_reset: bool) -> Row {
    Row {
        cluster: record.head.cluster.to_string(),
        epoch: record.head.epoch,
        seq: record.head.seq,
        batch: record.head.batch_id.to_string(),
        node: record.head.node.to_string(),
        replaced: record.replaced.as_ref().map(|head| head.batch_id.to_string()),
        follows_reset,
    }
}
