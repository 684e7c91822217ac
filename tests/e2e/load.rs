//! Clients that write and read at a fixed rate and remember everything that was acknowledged.
//!
//! Each writer stores under keys of its own, each key once: afterwards every acknowledged key must be there, at
//! version 1 (a version 2 would be a write carried out twice). One more key, the *clock*, is written again and
//! again with a growing number; a reader of each pod checks that no answer is older than what had been
//! acknowledged when its question was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::{CallError, Target};
use crate::cluster::Cluster;

/// What one writer saw.
#[derive(Default, Debug)]
struct Written {
    acknowledged: Vec<(String, Instant)>,
    unknown: Vec<String>,
    failures: BTreeMap<String, u64>,
}

/// A running load.
pub struct Load {
    cluster: Cluster,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Written>>,
    readers: Vec<JoinHandle<Result<u64, String>>>,
    clock: JoinHandle<u64>,
}

/// What a load found.
#[derive(Debug)]
pub struct Report {
    pub acknowledged: usize,
    pub failures: BTreeMap<String, u64>,
    /// Longest time between two acknowledged writes, over all writers, after the fault.
    pub gap: Duration,
    pub clock_reads: u64,
    pub clock_writes: u64,
}

impl Report {
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub fn line(&self) -> String {
        format!(
            "{} writes acknowledged, {} failed {:?}, next success after {:.2} s; {} fresh reads of {} clock writes",
            self.acknowledged,
            self.failed(),
            self.failures,
            self.gap.as_secs_f64(),
            self.clock_reads,
            self.clock_writes
        )
    }
}

impl Load {
    /// Starts two writers of `rate` requests a second each through the Service, a clock writer, and a clock reader
    /// for each of `direct`.
    pub fn start(cluster: &Cluster, run: &str, rate: u64, direct: &[Target]) -> Result<Self, String> {
        let service = cluster.service_target(&cluster.name)?;
        Ok(Self::start_at(cluster, &service, run, rate, direct))
    }

    /// The same, with the writers at `service`, which may be one pod.
    pub fn start_at(cluster: &Cluster, service: &Target, run: &str, rate: u64, direct: &[Target]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..2 {
            let (cluster, service, stop, run) =
                (cluster.clone(), service.clone(), stop.clone(), run.to_owned());
            writers.push(tokio::spawn(async move {
                write(&cluster, service, &stop, &format!("load/{run}/{writer}"), rate).await
            }));
        }
        let newest = Arc::new(AtomicU64::new(0));
        let path = format!("kv/data/clock/{run}");
        let clock = {
            let (mut client, stop, newest, path) =
                (cluster.client(service.clone()), stop.clone(), newest.clone(), path.clone());
            tokio::spawn(async move {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    let body = json!({"data": {"n": n}});
                    if let Ok(answer) = client.call("POST", &path, Some(&body)).await
                        && answer.is_success()
                    {
                        newest.store(n, Ordering::SeqCst);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                newest.load(Ordering::SeqCst)
            })
        };
        let mut readers = Vec::new();
        for target in direct {
            let mut client = cluster.client(target.clone()).with_timeout(Duration::from_secs(3));
            let (stop, newest, path) = (stop.clone(), newest.clone(), path.clone());
            readers.push(tokio::spawn(async move {
                let mut fresh = 0;
                while !stop.load(Ordering::SeqCst) {
                    let floor = newest.load(Ordering::SeqCst);
                    if let Ok(answer) = client.call("GET", &path, None).await
                        && answer.is_success()
                    {
                        let n = answer.body["data"]["data"]["n"].as_u64().unwrap_or(0);
                        if n < floor {
                            return Err(format!(
                                "{} answered {n} after {floor} was acknowledged",
                                client.target.address
                            ));
                        }
                        fresh += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                Ok(fresh)
            }));
        }
        Self { cluster: cluster.clone(), stop, writers, readers, clock }
    }

    /// Ends the load and checks what the store holds against what was acknowledged. `since` is the fault's moment.
    pub async fn finish(self, since: Instant) -> Result<Report, String> {
        self.stop.store(true, Ordering::SeqCst);
        let (mut acknowledged, mut unknown, mut failures) = (Vec::new(), Vec::new(), BTreeMap::new());
        for writer in self.writers {
            let seen = writer.await.map_err(|e| e.to_string())?;
            acknowledged.extend(seen.acknowledged);
            unknown.extend(seen.unknown);
            for (kind, count) in seen.failures {
                *failures.entry(kind).or_insert(0) += count;
            }
        }
        let clock_writes = self.clock.await.map_err(|e| e.to_string())?;
        let mut clock_reads = 0;
        for reader in self.readers {
            clock_reads += reader.await.map_err(|e| e.to_string())??;
        }
        let gap = longest_gap(&acknowledged, since);
        verify(&self.cluster, &acknowledged, &unknown).await?;
        Ok(Report { acknowledged: acknowledged.len(), failures, gap, clock_reads, clock_writes })
    }
}

async fn write(cluster: &Cluster, service: Target, stop: &AtomicBool, prefix: &str, rate: u64) -> Written {
    let mut client = cluster.client(service).with_timeout(Duration::from_secs(3));
    let mut seen = Written::default();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        tick.tick().await;
        let key = format!("{prefix}/{n}");
        let body = json!({"data": {"n": n}});
        match client.call("POST", &format!("kv/data/{key}"), Some(&body)).await {
            Ok(answer) if answer.is_success() => seen.acknowledged.push((key, Instant::now())),
            Ok(answer) => {
                let text = answer.body["errors"][0]
                    .as_str()
                    .unwrap_or_default()
                    .chars()
                    .take(90)
                    .collect::<String>();
                *seen.failures.entry(format!("{} {text}", answer.status)).or_insert(0) += 1;
                seen.unknown.push(key);
            }
            Err(error) => {
                let kind = match error {
                    CallError::Connect(_) => "no connection",
                    CallError::Lost(_) => "connection lost",
                    CallError::Timeout => "time-out",
                };
                *seen.failures.entry(kind.to_owned()).or_insert(0) += 1;
                seen.unknown.push(key);
            }
        }
    }
    seen
}

fn longest_gap(acknowledged: &[(String, Instant)], since: Instant) -> Duration {
    let mut moments: Vec<Instant> =
        acknowledged.iter().map(|(_, at)| *at).filter(|at| *at >= since).collect();
    moments.sort();
    let mut last = since;
    let mut longest = Duration::ZERO;
    for moment in moments {
        longest = longest.max(moment - last);
        last = moment;
    }
    longest
}

/// Every acknowledged key is there once; a key without an acknowledgement is there at most once.
async fn verify(
    cluster: &Cluster,
    acknowledged: &[(String, Instant)],
    unknown: &[String],
) -> Result<(), String> {
    let mut client = cluster.any()?.with_timeout(Duration::from_secs(30));
    let mut lost = Vec::new();
    let mut doubled = Vec::new();
    let keys = acknowledged.iter().map(|(key, _)| (key, true)).chain(unknown.iter().map(|key| (key, false)));
    for (key, must_exist) in keys {
        let mut answer = client.call("GET", &format!("kv/data/{key}"), None).await;
        for _ in 0..20 {
            if matches!(&answer, Ok(a) if a.status == 200 || a.status == 404) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            answer = client.call("GET", &format!("kv/data/{key}"), None).await;
        }
        let answer = answer.map_err(|e| format!("reading {key} back: {e:?}"))?;
        match answer.status {
            200 if answer.body["data"]["metadata"]["version"] != 1 => doubled.push(key.clone()),
            200 => {}
            404 if must_exist => lost.push(key.clone()),
            404 => {}
            other => return Err(format!("reading {key} back: {other} {}", answer.body)),
        }
    }
    if lost.is_empty() && doubled.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} acknowledged writes are lost {:?}, {} were carried out twice {:?}",
        lost.len(),
        lost.iter().take(5).collect::<Vec<_>>(),
        doubled.len(),
        doubled.iter().take(5).collect::<Vec<_>>()
    ))
}
