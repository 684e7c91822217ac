//! The API server stops while the cluster is under load.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster;
use crate::runner::{Context, Outcome, eventually};

/// From 1 s on every request gets 503 with Retry-After and a text that names the storage; everything works 5 s after
/// the return; no pod restarts and nothing is initialised again.
pub async fn api_server(context: Context) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let before = eventually("agreement", Duration::from_secs(60), || cluster.agree()).await?;
    let pods = cluster.pods()?;
    let mut client = cluster.any()?.with_timeout(Duration::from_secs(5));
    let identity = seal_identity(&cluster).await?;
    let body = json!({"data": {"n": 1}});
    client.call("POST", "kv/data/outage", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
    let seconds = context.pick(15, 60);
    context.lab.verb(&["stop-api"])?;
    let stopped = Instant::now();
    let judged = during(&cluster, &pods, stopped, Duration::from_secs(seconds)).await;
    context.lab.verb(&["start-api"])?;
    let returned = Instant::now();
    let (refused, bounded) = judged?;
    let mut client = cluster.any()?.with_timeout(Duration::from_secs(2));
    loop {
        let body = json!({"data": {"n": 2}});
        if matches!(client.call("POST", "kv/data/outage", Some(&body)).await, Ok(a) if a.is_success()) {
            break;
        }
        if returned.elapsed() > Duration::from_secs(15) {
            return Err("no write succeeded within 15 s after the API server's return".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let back = returned.elapsed().as_secs_f64();
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
            "{seconds} s without the API server: {refused} requests refused with 503 that names the storage"
        ),
        format!("{bounded} reads went on with a staleness bound, and said so"),
        format!("first write {back:.1} s after its return; {} led before, {} after", before.name, after.name),
    ])
}

async fn seal_identity(cluster: &Cluster) -> Result<String, String> {
    let answer = cluster.any()?.call("GET", "sys/seal-status", None).await.map_err(|e| format!("{e:?}"))?;
    let id = answer.body["cluster_id"].as_str().unwrap_or_default().to_owned();
    if id.is_empty() { Err(format!("no cluster_id in {}", answer.body)) } else { Ok(id) }
}

async fn during(
    cluster: &Cluster,
    pods: &[crate::cluster::Pod],
    stopped: Instant,
    span: Duration,
) -> Result<(u64, u64), String> {
    let (mut refused, mut bounded) = (0, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    while stopped.elapsed() < span {
        for pod in pods {
            let mut client = cluster.client(Cluster::pod_target(pod)?).with_timeout(Duration::from_secs(5));
            for (method, body) in [("GET", None), ("POST", Some(json!({"data": {"n": 3}})))] {
                let answer = client
                    .call(method, "kv/data/outage", body.as_ref())
                    .await
                    .map_err(|e| format!("{method} at {} during the outage: {e:?}", pod.name))?;
                let text = answer.body["errors"][0].as_str().unwrap_or_default();
                if answer.status != 503
                    || !answer.headers.contains_key("retry-after")
                    || !text.contains("kubernetes")
                {
                    return Err(format!("{method} at {}: {} {}", pod.name, answer.status, answer.body));
                }
                refused += 1;
            }
            client.headers.push(("x-holdfast-max-staleness", "10m".to_owned()));
            let answer = client.call("GET", "kv/data/outage", None).await.map_err(|e| format!("{e:?}"))?;
            if answer.is_success() {
                if !answer.headers.contains_key("x-holdfast-staleness") {
                    return Err(format!("{} gave a stale answer without saying so", pod.name));
                }
                bounded += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if bounded == 0 {
        return Err("no read went on although staleness was accepted".to_owned());
    }
    Ok((refused, bounded))
}
