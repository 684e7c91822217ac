//! The head object in wrong hands: patched, deleted, restored from an older copy.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::decode;
use crate::cluster::{self, Cluster};
use crate::failover::wait_whole;
use crate::load::Load;
use crate::runner::{Context, Outcome, eventually};

/// How long pods that were all deleted may take to say what they find.
const RESTART: Duration = Duration::from_secs(90);

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
    let older = head(&cluster)?;
    let mut client = cluster.any()?;
    for n in 0..20 {
        let body = json!({"data": {"n": n}});
        let answer = client.call("POST", &format!("kv/data/later/{n}"), Some(&body)).await;
        if !matches!(&answer, Ok(a) if a.is_success()) {
            return Err(format!("writing before the restore: {answer:?}"));
        }
    }
    put_back(&cluster, older)?;
    let line = rolled_back(&cluster).await?;
    remove(&cluster)?;
    Ok(vec![line])
}

/// What docs/storage/kubernetes.md says to do when what is newer is lost for good.
pub async fn accepted(context: Context) -> Outcome {
    let cluster = victim(&context, "accepted").await?;
    let older = head(&cluster)?;
    // A new epoch, so that the Lease remembers one that the older copy does not have.
    context.lab.kubectl(&["delete", "pod", "-n", "default", &cluster.active()?.name])?;
    wait_whole(&cluster).await?;
    let body = json!({"data": {"n": 1}});
    let answer = cluster.any()?.call("POST", "kv/data/after", Some(&body)).await;
    if !matches!(&answer, Ok(a) if a.is_success()) {
        return Err(format!("writing before the restore: {answer:?}"));
    }
    put_back(&cluster, older)?;
    rolled_back(&cluster).await?;
    delete_pods(&cluster)?;
    let accept = eventually("the line to set", RESTART, || async { line_to_set(&cluster) }).await?;

    let begun = Instant::now();
    go_on_with(&cluster, &accept).await?;
    wait_whole(&cluster).await?;
    let took = begun.elapsed().as_secs_f64();
    for (key, expected) in [("before", 200), ("after", 404)] {
        let answer = cluster.any()?.call("GET", &format!("kv/data/{key}"), None).await;
        if !matches!(&answer, Ok(a) if a.status == expected) {
            return Err(format!("{key} after the rollback: {answer:?}"));
        }
    }
    remove(&cluster)?;
    Ok(vec![format!("accepted {accept}: whole again after {took:.1} s, with what was there before")])
}

/// Gives the pods a copy of their configuration with `line` in it, until one of them leads.
async fn go_on_with(cluster: &Cluster, line: &str) -> Result<(), String> {
    let (lab, name) = (&cluster.lab, cluster.name.as_str());
    pause(cluster, true)?;
    let mut set = lab.json(&["get", "statefulset", "-n", "default", name])?;
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array_mut().ok_or("no volumes")?;
    let volume = volumes.iter_mut().find(|volume| volume["name"] == "config").ok_or("no configuration")?;
    let original = volume["secret"]["secretName"].as_str().ok_or("no name")?.to_owned();
    let copy = format!("{name}-accept-rollback");
    volume["secret"]["secretName"] = json!(copy);
    let secret = lab.json(&["get", "secret", "-n", "default", &original])?;
    let text = decode(&secret["data"]["holdfast.json"])?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    config["ha"]["accept_rollback"] = json!(line);
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": copy, "namespace": "default"},
        "stringData": {"holdfast.json": config.to_string()},
    });
    lab.apply(&manifest.to_string())?;
    replace(cluster, &set, &[])?;
    delete_pods(cluster)?;
    eventually("a node that leads", RESTART, || async {
        let lease = cluster.lease()?;
        let active = lease["metadata"]["annotations"]["holdfast.dev/active"].as_str().unwrap_or_default();
        let epoch = serde_json::from_str::<Value>(active).map_err(|e| e.to_string())?["epoch"].as_u64();
        let lost = line.rsplit(' ').next().and_then(|epoch| epoch.parse().ok());
        if epoch > lost { Ok(()) } else { Err(format!("{line}: epoch {epoch:?}")) }
    })
    .await?;
    pause(cluster, false)?;
    lab.kubectl(&["delete", "secret", "-n", "default", &copy]).map(drop)
}

fn pause(cluster: &Cluster, is_paused: bool) -> Result<(), String> {
    let patch = json!({"spec": {"paused": is_paused}}).to_string();
    let args = ["patch", "vaultcluster", "-n", "default", &cluster.name, "--type=merge", "-p", &patch];
    cluster.lab.kubectl(&args).map(drop)
}

fn delete_pods(cluster: &Cluster) -> Result<(), String> {
    let label = format!("holdfast.dev/cluster={}", cluster.name);
    cluster.lab.kubectl(&["delete", "pod", "-n", "default", "-l", &label]).map(drop)
}

/// What the condition says to set.
fn line_to_set(cluster: &Cluster) -> Result<String, String> {
    let condition = storage_ready(cluster)?;
    let message = condition["message"].as_str().unwrap_or_default();
    let line = message.split("accept_rollback = \"").nth(1).and_then(|rest| rest.split('"').next());
    line.map(str::to_owned).ok_or_else(|| format!("StorageReady says {message:?}"))
}

/// The condition `StorageReady`; null if there is none.
fn storage_ready(cluster: &Cluster) -> Result<Value, String> {
    let object = cluster.lab.json(&["get", "vaultcluster", "-n", &cluster.namespace, &cluster.name])?;
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == "StorageReady"));
    Ok(found.cloned().unwrap_or_default())
}

fn head(cluster: &Cluster) -> Result<Value, String> {
    cluster.lab.json(&["get", "vaultstorehead", "-n", &cluster.namespace, &cluster.name])
}

/// A restore puts the old content back under a new version.
fn put_back(cluster: &Cluster, mut copy: Value) -> Result<(), String> {
    let metadata = copy["metadata"].as_object_mut().ok_or("no metadata")?;
    for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"] {
        metadata.remove(field);
    }
    replace(cluster, &copy, &["--force"])
}

fn replace(cluster: &Cluster, object: &Value, how: &[&str]) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), object.to_string()).map_err(|e| e.to_string())?;
    let path = file.path().to_string_lossy();
    cluster.lab.kubectl(&[&["replace", "-f", &path], how].concat()).map(drop)
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
    eventually("the condition says so", Duration::from_secs(60), || async {
        let condition = storage_ready(cluster)?;
        if condition["status"] == "False" && condition["reason"] == "StorageRolledBack" {
            Ok(())
        } else {
            Err(format!("StorageReady is {condition}"))
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
