//! The API server stops while the cluster is under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::{Answer, CallError, Client};
use crate::cluster::{Cluster, Pod};
use crate::load::Load;
use crate::runner::{Context, Outcome, eventually};

/// From when on every request must be refused, after the API server stopped: a pause of two seconds is waited for.
const REFUSED_FROM: Duration = Duration::from_secs(3);
/// From when on every request must succeed, after it is ready again.
const ALL_WORK_FROM: Duration = Duration::from_secs(5);

/// A request of a prober, and its end.
pub struct Probe {
    pub what: String,
    pub sent: Instant,
    pub took: Duration,
    pub outcome: Result<Answer, CallError>,
}

/// One method at one pod, again and again.
pub struct Prober {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Probe>>,
}

impl Prober {
    /// Sends about 20 requests a second; `staleness` is what reads accept.
    pub fn start(
        cluster: &Cluster,
        pod: &Pod,
        method: &'static str,
        staleness: Option<&str>,
    ) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = cluster.client(Cluster::pod_target(pod)?).with_timeout(Duration::from_secs(5));
        let what = match staleness {
            Some(staleness) => {
                client.headers.push(("x-holdfast-max-staleness", staleness.to_owned()));
                format!("{method} with {staleness} of staleness at {}", pod.name)
            }
            None => format!("{method} at {}", pod.name),
        };
        let task = tokio::spawn(probe(client, what, method, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    pub async fn finish(self) -> Result<Vec<Probe>, String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.map_err(|e| e.to_string())
    }
}

async fn probe(mut client: Client, what: String, method: &'static str, stop: Arc<AtomicBool>) -> Vec<Probe> {
    let body = (method == "POST").then(|| json!({"data": {"n": 3}}));
    let mut seen = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let sent = Instant::now();
        let outcome = client.call(method, "kv/data/outage", body.as_ref()).await;
        seen.push(Probe { what: what.clone(), sent, took: sent.elapsed(), outcome });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    seen
}

/// From 3 s on every request gets 503 with Retry-After and a text that names the storage, and reads that accept
/// staleness go on and say so; everything works 5 s after the return; no pod restarts and nothing is initialised again.
pub async fn api_server(context: Context) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let before = eventually("agreement", Duration::from_secs(60), || cluster.agree()).await?;
    let pods = cluster.pods()?;
    let identity = seal_identity(&cluster).await?;
    let body = json!({"data": {"n": 1}});
    cluster.any()?.call("POST", "kv/data/outage", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
    let load = Load::start(&cluster, &format!("outage-{}", std::process::id()), 50, &[])?;
    let mut probers = Vec::new();
    for pod in &pods {
        for (method, staleness) in [("GET", None), ("POST", None), ("GET", Some("10m"))] {
            probers.push(Prober::start(&cluster, pod, method, staleness)?);
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seconds = context.pick(15, 60);
    context.lab.verb(&["stop-api"])?;
    let stopped = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let ended = Instant::now();
    context.lab.verb(&["start-api"])?;
    let returned = Instant::now();
    tokio::time::sleep(ALL_WORK_FROM * 2).await;
    let report = load.finish(returned).await?;
    let mut probes = Vec::new();
    for prober in probers {
        probes.extend(prober.finish().await?);
    }
    let judged = judge(&probes, stopped, ended, returned)?;
    let after = eventually("agreement", Duration::from_secs(60), || cluster.agree()).await?;
    let restarts: u64 = cluster.pods()?.iter().map(|p| p.restarts).sum();
    let restarts_before: u64 = pods.iter().map(|p| p.restarts).sum();
    if restarts != restarts_before {
        return Err(format!("pods restarted: {restarts_before} -> {restarts}"));
    }
    if identity != seal_identity(&cluster).await? {
        return Err("the cluster was initialised again".to_owned());
    }
    Ok(vec![
        format!(
            "{seconds} s without the API server: {} requests, all refused with 503 that names the storage, after {:.2} s at most",
            judged.refused,
            judged.slowest.as_secs_f64()
        ),
        format!("{} reads went on with a staleness bound, and said so", judged.bounded),
        format!(
            "{} requests from {} s after its return on, all successful; {} led before, {} after",
            judged.after,
            ALL_WORK_FROM.as_secs(),
            before.name,
            after.name
        ),
        format!("the writers: {}", report.line()),
    ])
}

async fn seal_identity(cluster: &Cluster) -> Result<String, String> {
    let answer = cluster.any()?.call("GET", "sys/seal-status", None).await.map_err(|e| format!("{e:?}"))?;
    let id = answer.body["cluster_id"].as_str().unwrap_or_default().to_owned();
    if id.is_empty() { Err(format!("no cluster_id in {}", answer.body)) } else { Ok(id) }
}

struct Judged {
    refused: u64,
    bounded: u64,
    after: u64,
    /// The longest wait for a refusal.
    slowest: Duration,
}

fn judge(probes: &[Probe], stopped: Instant, ended: Instant, returned: Instant) -> Result<Judged, String> {
    let mut judged = Judged { refused: 0, bounded: 0, after: 0, slowest: Duration::ZERO };
    for probe in probes {
        let told = || {
            let at = probe.sent.duration_since(stopped).as_secs_f64();
            format!(
                "{}, sent {at:.1} s after the stop, ended after {:.2} s with",
                probe.what,
                probe.took.as_secs_f64()
            )
        };
        let is_over = probe.sent + probe.took < ended;
        if probe.sent >= stopped + REFUSED_FROM && is_over {
            let answer = probe.outcome.as_ref().map_err(|e| format!("{} {e:?}", told()))?;
            if probe.what.contains("staleness") {
                if !answer.is_success() || !answer.headers.contains_key("x-holdfast-staleness") {
                    return Err(format!("{} {} {}", told(), answer.status, answer.body));
                }
                judged.bounded += 1;
                continue;
            }
            let text = answer.body["errors"][0].as_str().unwrap_or_default();
            let names_storage = text.contains("kubernetes");
            if answer.status != 503 || !answer.headers.contains_key("retry-after") || !names_storage {
                return Err(format!("{} {} {}", told(), answer.status, answer.body));
            }
            judged.slowest = judged.slowest.max(probe.took);
            judged.refused += 1;
        } else if probe.sent >= returned + ALL_WORK_FROM {
            match &probe.outcome {
                Ok(answer) if answer.is_success() => judged.after += 1,
                other => return Err(format!("{} {other:?} although the API server was back", told())),
            }
        }
    }
    if judged.refused == 0 || judged.bounded == 0 || judged.after == 0 {
        return Err(format!(
            "{} refusals, {} stale reads, {} requests after the return: none may be missing",
            judged.refused, judged.bounded, judged.after
        ));
    }
    Ok(judged)
}
