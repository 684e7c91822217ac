//! The default storage must not harm its host: at full write rate, and at its limit of data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::cluster::{self, Cluster};
use crate::runner::{Context, Outcome, eventually};

/// The token bucket of the storage: bytes of heads and segments a second, sustained.
const BUDGET_BYTES_PER_SECOND: f64 = 256.0 * 1024.0;
/// What a burst may use at once, in seconds of it.
const BUDGET_WINDOW_SECONDS: f64 = 60.0;
/// etcd's pages, keys and indexes, and what the rest of the cluster writes meanwhile.
const ETCD_OVERHEAD: f64 = 1.5;
/// The API server keeps the newest versions of objects decoded, and a collected heap is half empty.
const MEMORY_OVERHEAD: f64 = 2.0;
/// How much its memory moves by itself.
const MEMORY_SLACK_BYTES: f64 = 256.0 * 1_048_576.0;

pub async fn write_rate(context: Context) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let (etcd_before, memory_before) = sizes(&context)?;
    let sent_before = sent(&cluster)?;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let service = cluster.service_target("vault-active")?;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (mut client, stop, written, refused) =
                (cluster.client(service.clone()), stop.clone(), written.clone(), refused.clone());
            tokio::spawn(async move {
                let mut n = 0u64;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    // The same keys again and again: it is the history that must stay bounded, not the data.
                    let path = format!("kv/data/volume/{writer}/{}", n % 50);
                    let body = json!({"data": {"n": n, "padding": "x".repeat(200)}});
                    match client.call("POST", &path, Some(&body)).await {
                        Ok(answer) if answer.is_success() => written.fetch_add(1, Ordering::SeqCst),
                        _ => refused.fetch_add(1, Ordering::SeqCst),
                    };
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(context.pick(60, 600))).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.map_err(|e| e.to_string())?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (etcd_after, memory_after) = sizes(&context)?;
    let sent = sent(&cluster)?.saturating_sub(sent_before);
    let grown = etcd_after.saturating_sub(etcd_before);
    let taken = memory_after.saturating_sub(memory_before);
    let (count, refused) = (written.load(Ordering::SeqCst), refused.load(Ordering::SeqCst));
    let budget = BUDGET_BYTES_PER_SECOND * (seconds + BUDGET_WINDOW_SECONDS);
    let lines = vec![
        format!(
            "{count} writes in {seconds:.0} s ({:.0}/s), {refused} refused; {:.1} MiB of heads and segments, budget {:.1} MiB",
            count as f64 / seconds,
            mib(sent),
            budget / 1_048_576.0
        ),
        format!(
            "etcd grew by {:.1} MiB ({:.2} MiB/min); the API server's memory went from {:.0} to {:.0} MiB",
            mib(grown),
            mib(grown) / seconds * 60.0,
            mib(memory_before),
            mib(memory_after)
        ),
    ];
    // Beyond the budget writes wait; they do not fail.
    if count == 0 || refused > count / 100 {
        return Err(format!("too many writes failed: {}", lines.join("; ")));
    }
    for (what, bytes, bound) in [
        ("heads and segments", sent, budget * 1.05),
        ("etcd", grown, budget * ETCD_OVERHEAD),
        ("the API server's memory", taken, budget * MEMORY_OVERHEAD + MEMORY_SLACK_BYTES),
    ] {
        if bytes as f64 > bound {
            return Err(format!(
                "{}; the bound of {what} is {:.0} MiB",
                lines.join("; "),
                bound / 1_048_576.0
            ));
        }
    }
    Ok(lines)
}

/// Bytes of heads and segments that the pods have sent since their start.
fn sent(cluster: &Cluster) -> Result<u64, String> {
    let mut sum = 0;
    for pod in cluster.pods()? {
        let path = format!("/api/v1/namespaces/{}/pods/{}:8202/proxy/metrics", cluster.namespace, pod.name);
        let metrics = cluster.lab.kubectl(&["get", "--raw", &path])?;
        for name in ["storage_head_bytes", "storage_segment_bytes"] {
            sum += metrics
                .lines()
                .filter(|line| !line.starts_with('#') && line.contains(name))
                .find_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .ok_or(format!("{} has no metric {name}", pod.name))?;
        }
    }
    Ok(sum)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Size of etcd's database and resident memory of the API server, in bytes.
fn sizes(context: &Context) -> Result<(u64, u64), String> {
    let metrics = context.lab.kubectl(&["get", "--raw", "/metrics"])?;
    let gauge = |name: &str| {
        metrics
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map(|value| value as u64)
            .max()
            .ok_or(format!("no metric {name}"))
    };
    Ok((gauge("apiserver_storage_size_bytes")?, gauge("process_resident_memory_bytes")?))
}

/// The smallest limit that a `VaultCluster` takes.
const SMALLEST_LIMIT: u64 = 1 << 20;
/// One secret of these fills it in a dozen writes.
const SECRET_BYTES: usize = 96 << 10;
/// The operator looks at a cluster in best order once a minute.
const NEXT_VISIT: Duration = Duration::from_secs(180);

/// A cluster at its data limit refuses to grow with a clear error, goes on reading, shows it, and has room again once
/// something was deleted.
pub async fn data_limit(context: Context) -> Outcome {
    let name = "full";
    let spec = format!("{{storage: {{kubernetes: {{dataLimitBytes: {SMALLEST_LIMIT}}}}}}}");
    let outcome = match cluster::apply_and_wait(&context.lab, "default", name, &spec) {
        Ok(_) => fill_and_empty(&context, name).await,
        Err(why) => Err(why),
    };
    let cleaned = clean(&context, name);
    let lines = outcome?;
    cleaned.map(|()| lines)
}

async fn fill_and_empty(context: &Context, name: &str) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", name)?;
    cluster.ensure_kv("kv").await?;
    if let Some(condition) = condition(&cluster, "StorageFull")? {
        return Err(format!("an empty vault is full: {condition}"));
    }
    let mut client = cluster.any()?;
    let (count, text) = fill(&mut client).await?;

    // Reads go on, at every pod, and so does the cluster.
    for pod in cluster.pods()? {
        let mut client = cluster.client(Cluster::pod_target(&pod)?);
        for n in 0..count {
            let answer = call(&mut client, "GET", &format!("kv/data/full/{n}"), None).await?;
            if answer.status != 200 || answer.body["data"]["data"]["n"] != n {
                return Err(format!("reading {n} at {} while full: {}", pod.name, answer.status));
            }
        }
    }
    let begun = Instant::now();
    let message = eventually("StorageFull is set", NEXT_VISIT, || async {
        match condition(&cluster, "StorageFull")? {
            Some(c) if c["status"] == "True" && c["reason"] == "NearLimit" => {
                Ok(c["message"].as_str().unwrap_or_default().to_owned())
            }
            other => Err(format!("StorageFull is {other:?}")),
        }
    })
    .await?;
    let shown = begun.elapsed().as_secs_f64();
    if !message.contains(&format!("of {SMALLEST_LIMIT} bytes are in use")) {
        return Err(format!("StorageFull does not name the limit: {message}"));
    }
    match condition(&cluster, "Ready")? {
        Some(c) if c["status"] == "True" => {}
        other => return Err(format!("a full cluster is not ready: {other:?}")),
    }

    for n in 0..count / 2 {
        let answer = call(&mut client, "DELETE", &format!("kv/metadata/full/{n}"), None).await?;
        if answer.status != 204 {
            return Err(format!("deleting {n}: {} {}", answer.status, answer.body));
        }
    }
    let answer = call(&mut client, "POST", "kv/data/full/again", Some(&secret(count))).await?;
    if answer.status != 200 {
        return Err(format!("writing after the deletes: {} {}", answer.status, answer.body));
    }
    let begun = Instant::now();
    eventually("StorageFull goes away", NEXT_VISIT, || async {
        condition(&cluster, "StorageFull")?.map_or(Ok(()), |c| Err(format!("StorageFull is still {c}")))
    })
    .await?;
    Ok(vec![
        format!("{count} secrets of {SECRET_BYTES} bytes fit; the next one: 400 {text:?}"),
        format!("StorageFull was set after {shown:.0} s: {message:?}"),
        format!(
            "{} were deleted, a write succeeded, and StorageFull was gone after {:.0} s",
            count / 2,
            begun.elapsed().as_secs_f64()
        ),
    ])
}

/// Writes secrets until the storage is full; how many fit, and the text of the refusal.
async fn fill(client: &mut Client) -> Result<(u64, String), String> {
    // Each takes at least its own length.
    let most = SMALLEST_LIMIT / SECRET_BYTES as u64;
    for n in 0..=most {
        let answer = call(client, "POST", &format!("kv/data/full/{n}"), Some(&secret(n))).await?;
        if answer.status == 200 {
            continue;
        }
        let text = answer.body["errors"][0].as_str().unwrap_or_default().to_owned();
        let names_limit = text.starts_with("storage kubernetes is full: ")
            && text.contains(&format!(" of {SMALLEST_LIMIT} bytes are in use; delete data"));
        if answer.status != 400 || !names_limit || n < most / 2 {
            return Err(format!("write {n} of at most {most}: {} {}", answer.status, answer.body));
        }
        return Ok((n, text));
    }
    Err(format!("{} secrets of {SECRET_BYTES} bytes fit below a limit of {SMALLEST_LIMIT}", most + 1))
}

fn secret(n: u64) -> Value {
    json!({"data": {"n": n, "padding": "x".repeat(SECRET_BYTES)}})
}

async fn call(client: &mut Client, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
    client.call(method, path, body).await.map_err(|why| format!("{method} {path}: {why:?}"))
}

/// A condition of the cluster, if it is there.
fn condition(cluster: &Cluster, kind: &str) -> Result<Option<Value>, String> {
    let object = cluster.lab.json(&["get", "vaultcluster", "-n", &cluster.namespace, &cluster.name])?;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.into_iter().find(|condition| condition["type"] == kind))
}

/// Removes a cluster with all its data, which the operator itself never does under `Retain`.
fn clean(context: &Context, name: &str) -> Result<(), String> {
    let lab = &context.lab;
    lab.kubectl(&["delete", "vaultcluster", "-n", "default", name, "--timeout=60s"])?;
    let selector = format!("holdfast.dev/cluster={name}");
    let kinds = "secret,configmap,vaultstorehead,vaultstoresegment";
    lab.kubectl(&["delete", kinds, "-n", "default", "-l", &selector]).map(drop)
}
