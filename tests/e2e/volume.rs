//! The default storage at full write rate must not harm its host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster;
use crate::runner::{Context, Outcome};

/// The token bucket of the storage: bytes of head objects a second, sustained.
const BUDGET_BYTES_PER_SECOND: f64 = 256.0 * 1024.0;

pub async fn write_rate(context: Context) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let (etcd_before, memory_before) = sizes(&context)?;
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
    let grown = etcd_after.saturating_sub(etcd_before);
    let count = written.load(Ordering::SeqCst);
    let lines = vec![
        format!(
            "{count} writes in {seconds:.0} s ({:.0}/s), {} refused",
            count as f64 / seconds,
            refused.load(Ordering::SeqCst)
        ),
        format!(
            "etcd grew by {:.1} MiB ({:.2} MiB/min); the API server's memory went from {:.0} to {:.0} MiB",
            mib(grown),
            mib(grown) / seconds * 60.0,
            mib(memory_before),
            mib(memory_after)
        ),
    ];
    if count == 0 {
        return Err("nothing was written".to_owned());
    }
    // Head, segments and etcd's own page copies: six times the budget is the bound, burst included.
    let bound = BUDGET_BYTES_PER_SECOND * (seconds + 60.0) * 6.0;
    if grown as f64 > bound {
        return Err(format!("{}; the bound is {:.0} MiB", lines.join("; "), bound / 1048576.0));
    }
    Ok(lines)
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
