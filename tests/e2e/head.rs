//! The head object in wrong hands: patched, deleted, restored from an older copy.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{self, Cluster};
use crate::load::Load;
use crate::runner::{Context, Outcome, eventually};

/// Labels written onto the head under load change nothing.
pub async fn label_patched(context: Context) -> Outcome {
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let load = Load::start(&cluster, &format!("label-{}", std::process::id()), 50, &[])?;
    let begun = Instant::now();
    let mut patches = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        let label = format!("touched=n{patches}");
        context.lab.kubectl(&["label", "--overwrite", "-n", "default", "vaultstorehead", "vault", &label])?;
        patches += 1;
    }
    let report = load.finish(begun).await?;
    if report.failed() > 0 {
        return Err(format!("requests failed: {}", report.line()));
    }
    Ok(vec![format!("{patches} foreign patches of the head under load: {}", report.line())])
}

pub async fn deleted(context: Context) -> Outcome {
    let cluster = victim(&context, "deleted").await?;
    context.lab.kubectl(&["delete", "vaultstorehead", "-n", "default", &cluster.name, "--wait=false"])?;
    let line = rolled_back(&cluster).await?;
    remove(&cluster)?;
    Ok(vec![line])
}

pub async fn restored(context: Context) -> Outcome {
    let cluster = victim(&context, "restored").await?;
    let path = ["get", "vaultstorehead", "-n", "default", &cluster.name];
    let older: Value = context.lab.json(&path)?;
    let mut client = cluster.any()?;
    for n in 0..20 {
        let body = json!({"data": {"n": n}});
        let answer = client.call("POST", &format!("kv/data/later/{n}"), Some(&body)).await;
        if !matches!(&answer, Ok(a) if a.is_success()) {
            return Err(format!("writing before the restore: {answer:?}"));
        }
    }
    // A restore puts the old content back under a new version.
    let mut copy = older;
    let metadata = copy["metadata"].as_object_mut().ok_or("no metadata")?;
    for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"] {
        metadata.remove(field);
    }
    let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), copy.to_string()).map_err(|e| e.to_string())?;
    context.lab.kubectl(&["replace", "--force", "-f", &file.path().to_string_lossy()])?;
    let line = rolled_back(&cluster).await?;
    remove(&cluster)?;
    Ok(vec![line])
}

async fn victim(context: &Context, name: &str) -> Result<Cluster, String> {
    cluster::apply_and_wait(&context.lab, "default", name, "{}")?;
    let cluster = Cluster::open(&context.lab, "default", name)?;
    cluster.ensure_kv("kv").await?;
    let mut client = cluster.any()?;
    let body = json!({"data": {"n": 0}});
    let answer = client.call("POST", "kv/data/before", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
    if answer.is_success() { Ok(cluster) } else { Err(format!("{} {}", answer.status, answer.body)) }
}

/// The condition says StorageRolledBack and no pod serves anything.
async fn rolled_back(cluster: &Cluster) -> Result<String, String> {
    let begun = Instant::now();
    let pods = cluster.pods()?;
    eventually("nothing is served", Duration::from_secs(60), || async {
        for pod in &pods {
            for method in ["GET", "POST"] {
                let body = (method == "POST").then(|| json!({"data": {"n": 1}}));
                let mut client =
                    cluster.client(Cluster::pod_target(pod)?).with_timeout(Duration::from_secs(6));
                match client.call(method, "kv/data/before", body.as_ref()).await {
                    Ok(answer) if answer.status == 503 => {}
                    Ok(answer) => {
                        return Err(format!("{} answers {} {}", pod.name, answer.status, answer.body));
                    }
                    Err(error) => return Err(format!("{}: {error:?}", pod.name)),
                }
            }
        }
        Ok(())
    })
    .await?;
    let silent = begun.elapsed().as_secs_f64();
    let lab = &cluster.lab;
    eventually("the condition says so", Duration::from_secs(60), || async {
        let object = lab.json(&["get", "vaultcluster", "-n", &cluster.namespace, &cluster.name])?;
        let empty = Vec::new();
        let conditions = object["status"]["conditions"].as_array().unwrap_or(&empty);
        let storage = conditions.iter().find(|c| c["type"] == "StorageReady");
        match storage {
            Some(c) if c["status"] == "False" && c["reason"] == "StorageRolledBack" => Ok(()),
            other => Err(format!("StorageReady is {other:?}")),
        }
    })
    .await?;
    Ok(format!("nothing served after {silent:.1} s; StorageReady=False/StorageRolledBack"))
}

fn remove(cluster: &Cluster) -> Result<(), String> {
    cluster
        .lab
        .kubectl(&["delete", "vaultcluster", "-n", &cluster.namespace, &cluster.name, "--timeout=60s"])
        .map(drop)
}
