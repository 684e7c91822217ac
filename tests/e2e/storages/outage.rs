//! The API server, and with it the lock, is away for a while: with another storage nobody may notice.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Lock, Stored, lock};
use super::servers::Kind;
use crate::cluster::{Cluster, Pod, wait_ready};
use crate::load::Load;
use crate::outage::{Probe, Prober};
use crate::runner::{Context, Outcome};

/// How long everything is watched after the return: longer than a Lease of 6 s lasts, as a candidate that misjudges
/// its age would take it over by then.
const AFTER: Duration = Duration::from_secs(8);

/// A cluster under load.
struct Watched {
    cluster: Cluster,
    pods: Vec<Pod>,
    before: Lock,
    load: Load,
    probers: Vec<Prober>,
}

/// Clusters on etcd and on PostgreSQL, at the same time: no request fails at any pod, the leader, its epoch and the
/// holder of the Lease stay the same, no pod restarts, and what was acknowledged is there.
pub async fn api_server(context: Context) -> Outcome {
    let etcd = Stored::apply(&context.lab, Kind::Etcd, "outage-etcd").await?;
    let postgresql = Stored::apply(&context.lab, Kind::PostgreSQL, "outage-postgresql").await;
    let outcome = match &postgresql {
        Ok(postgresql) => exercise(&context, [&etcd, postgresql]).await,
        Err(why) => Err(why.clone()),
    };
    let mut all = vec![etcd];
    all.extend(postgresql);
    let mut removed = Ok(());
    for stored in &all {
        removed = removed.and(stored.end(&outcome));
    }
    for stored in all {
        removed = removed.and(stored.gone().await);
    }
    let lines = outcome?;
    removed.map(|()| lines)
}

async fn exercise(context: &Context, all: [&Stored; 2]) -> Outcome {
    let mut watched = Vec::new();
    for stored in all {
        let (_, cluster) = stored.ready().await?;
        cluster.ensure_kv("kv").await?;
        watched.push(watch(cluster).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seconds = context.pick(15, 60);
    context.lab.verb(&["stop-api"])?;
    let stopped = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let mut led = Ok(());
    for one in &watched {
        led = led.and(same_leader(one).await);
    }
    let ended = Instant::now();
    context.lab.verb(&["start-api"])?;
    tokio::time::sleep(AFTER).await;
    led?;
    let mut lines = vec![format!("{seconds} s without the API server")];
    for (one, stored) in watched.into_iter().zip(all) {
        lines.push(format!("{:?}: {}", stored.servers.kind, judge(one, stopped, ended).await?));
    }
    Ok(lines)
}

/// Starts the load: reads and writes at every pod, and writers whose keys are counted, at a standby.
async fn watch(cluster: Cluster) -> Result<Watched, String> {
    let before = lock(&cluster).await?;
    let pods = cluster.pods()?;
    let standby = pods.iter().find(|pod| pod.uid != before.uid).ok_or("no standby")?;
    let mut client = cluster.client(Cluster::pod_target(standby)?);
    let answer = client.call("POST", "kv/data/outage", Some(&json!({"data": {"n": 1}}))).await;
    if !matches!(&answer, Ok(answer) if answer.is_success()) {
        return Err(format!("the first write: {answer:?}"));
    }
    let mut probers = Vec::new();
    for pod in &pods {
        for method in ["GET", "POST"] {
            probers.push(Prober::start(&cluster, pod, method, None)?);
        }
    }
    let load = Load::start_at(&cluster, &Cluster::pod_target(standby)?, "outage", 10, &[]);
    Ok(Watched { cluster, pods, before, load, probers })
}

/// Every pod says, without the API server, that the same one leads.
async fn same_leader(watched: &Watched) -> Result<(), String> {
    let leader = watched.pods.iter().find(|pod| pod.uid == watched.before.uid).ok_or("no leader")?;
    for pod in &watched.pods {
        let mut client = watched.cluster.client(Cluster::pod_target(pod)?);
        let answer =
            client.call("GET", "sys/leader", None).await.map_err(|e| format!("{}: {e:?}", pod.name))?;
        let says = answer.body["leader_address"].as_str().unwrap_or_default();
        if says != format!("https://{}:8200", leader.ip) {
            return Err(format!("{} says that {says} leads, not {}", pod.name, leader.name));
        }
    }
    Ok(())
}

async fn judge(watched: Watched, stopped: Instant, ended: Instant) -> Result<String, String> {
    let Watched { cluster, pods, before, load, probers } = watched;
    let mut probes = Vec::new();
    for prober in probers {
        probes.extend(prober.finish().await?);
    }
    let report = load.finish(stopped).await?;
    if let Some(failed) = probes.iter().find(|probe| !succeeded(probe)) {
        let at = failed.sent.saturating_duration_since(stopped).as_secs_f64();
        let count = probes.iter().filter(|probe| !succeeded(probe)).count();
        return Err(format!(
            "{count} of {} requests failed, the first one {at:.1} s after the stop: {} {:?}",
            probes.len(),
            failed.what,
            failed.outcome
        ));
    }
    if report.failed() > 0 {
        return Err(format!("writes failed: {}", report.line()));
    }
    let during = probes.iter().filter(|probe| probe.sent >= stopped && probe.sent < ended).count();
    let slowest = probes.iter().map(|probe| probe.took).max().unwrap_or_default();
    wait_ready(&cluster.lab, &cluster.namespace, &cluster.name, 60)?;
    let after = lock(&cluster).await?;
    if after != before {
        return Err(format!("the leader changed: {before:?}, then {after:?}"));
    }
    let lives = |pods: &[Pod]| {
        let mut lives: Vec<_> = pods.iter().map(|pod| (pod.uid.clone(), pod.restarts)).collect();
        lives.sort();
        lives
    };
    let now = cluster.pods()?;
    if lives(&now) != lives(&pods) || during == 0 || report.acknowledged == 0 {
        return Err(format!("{during} requests, {}; pods {pods:?}, then {now:?}", report.line()));
    }
    Ok(format!(
        "{} requests at every pod, {during} of them while it was away, 0 failed, the slowest {:.2} s; {} leads in epoch {} before and after, {} transitions of the Lease; {} writes through a standby, 0 failed",
        probes.len(),
        slowest.as_secs_f64(),
        after.pod,
        after.epoch,
        after.transitions,
        report.acknowledged
    ))
}

/// An answer that promises nothing less than without the outage.
fn succeeded(probe: &Probe) -> bool {
    let is_fresh = |headers: &http::HeaderMap| !headers.contains_key("x-holdfast-staleness");
    matches!(&probe.outcome, Ok(answer) if answer.is_success() && is_fresh(&answer.headers))
}
