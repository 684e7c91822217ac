//! The sample of each storage becomes Ready, elects by the Lease, and loses its active pod without a failed request.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Lock, Stored, lock};
use super::servers::Kind;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::runner::{Context, Outcome, eventually};

pub async fn etcd(context: Context) -> Outcome {
    scenario(&context, Kind::Etcd, "on-etcd").await
}

pub async fn consul(context: Context) -> Outcome {
    scenario(&context, Kind::Consul, "on-consul").await
}

pub async fn zookeeper(context: Context) -> Outcome {
    scenario(&context, Kind::ZooKeeper, "on-zookeeper").await
}

pub async fn postgresql(context: Context) -> Outcome {
    scenario(&context, Kind::PostgreSQL, "on-postgresql").await
}

async fn scenario(context: &Context, kind: Kind, namespace: &str) -> Outcome {
    let begun = Instant::now();
    let stored = Stored::apply(&context.lab, kind, namespace).await?;
    let started = begun.elapsed().as_secs_f64();
    let outcome = exercise(context, &stored).await;
    let mut lines = vec![format!("servers started and the sample applied after {started:.1} s")];
    let removing = Instant::now();
    let ended = stored.end(&outcome);
    let removed = stored.gone().await;
    lines.extend(outcome?);
    ended.and(removed)?;
    lines.push(format!("removed in {:.1} s", removing.elapsed().as_secs_f64()));
    Ok(lines)
}

async fn exercise(context: &Context, stored: &Stored) -> Outcome {
    let (seconds, cluster) = stored.ready().await?;
    let mut lines = Vec::new();
    let mut before = lock(&cluster).await?;
    lines.push(format!(
        "Ready after {seconds:.1} s; {} holds the Lease and leads in epoch {}, say labels and sys/leader of every pod",
        before.pod, before.epoch
    ));
    cluster.ensure_kv("kv").await?;
    let secret = json!({"data": {"password": "correct horse"}});
    let answer =
        cluster.any()?.call("POST", "kv/data/first", Some(&secret)).await.map_err(|e| format!("{e:?}"))?;
    if !answer.is_success() {
        return Err(format!("kv put: {} {}", answer.status, answer.body));
    }
    let read = read_everywhere(&cluster).await?;
    let entries = stored.servers.entries(&stored.namespace).await?;
    lines.push(format!(
        "a secret written through the Service was read at {read} pods; {entries} entries in the storage, none in the Kubernetes API"
    ));
    for round in 0..context.pick(1, 3) {
        let (after, line) = delete_active(&cluster, &before, round).await?;
        lines.push(format!("round {round}: {line}"));
        before = after;
    }
    Ok(lines)
}

/// Reads the secret at every pod, each by its own address.
async fn read_everywhere(cluster: &Cluster) -> Result<usize, String> {
    let pods = cluster.pods()?;
    for pod in &pods {
        let mut client = cluster.client(Cluster::pod_target(pod)?);
        let answer = client.call("GET", "kv/data/first", None).await;
        let answer = answer.map_err(|e| format!("{}: {e:?}", pod.name))?;
        if answer.body["data"]["data"]["password"] != "correct horse" {
            return Err(format!("{}: {} {}", pod.name, answer.status, answer.body));
        }
    }
    if pods.len() == 3 { Ok(pods.len()) } else { Err(format!("{} pods", pods.len())) }
}

/// Deletes the active pod under load: no request may fail, and the Lease must have gone to another pod.
async fn delete_active(cluster: &Cluster, before: &Lock, round: u32) -> Result<(Lock, String), String> {
    let direct: Vec<_> = cluster.pods()?.iter().map(Cluster::pod_target).collect::<Result<_, _>>()?;
    let load = Load::start(cluster, &format!("delete-{round}"), 50, &direct)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at = Instant::now();
    cluster.lab.kubectl(&["delete", "pod", "-n", &cluster.namespace, &before.pod, "--wait=false"])?;
    let settled = eventually("another active", Duration::from_secs(60), || async {
        let now = cluster.active()?;
        if now.uid == before.uid { Err(format!("{} is still active", now.name)) } else { Ok(()) }
    })
    .await;
    let whole = match settled {
        Ok(()) => crate::failover::wait_whole(cluster).await,
        error => error,
    };
    let report = load.finish(at).await?;
    whole?;
    let after = lock(cluster).await?;
    if report.failed() > 0 || report.acknowledged == 0 || report.clock_reads == 0 {
        return Err(format!("a planned failover failed requests: {}", report.line()));
    }
    if after.transitions <= before.transitions || after.epoch <= before.epoch || after.uid == before.uid {
        return Err(format!("the Lease did not pass on: {before:?}, then {after:?}"));
    }
    read_everywhere(cluster).await?;
    let line =
        format!("{} deleted, {} leads in epoch {}: {}", before.pod, after.pod, after.epoch, report.line());
    Ok((after, line))
}
