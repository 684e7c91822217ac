//! The operator dies right after its k-th API write of a first roll-out, for every k.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::cluster::{self, Cluster};
use crate::proxy;
use crate::runner::{Context, Outcome};

/// An operator as a process of its own, its API server reached through the counting door.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub async fn operator_killed(context: Context) -> Outcome {
    let lab = &context.lab;
    // The installed operator would do the work of the one under test.
    lab.kubectl(&["scale", "deployment", "-n", "holdfast-system", "--all", "--replicas=0"])?;
    let result = every_k(&context).await;
    lab.kubectl(&["scale", "deployment", "-n", "holdfast-system", "--all", "--replicas=1"])?;
    result
}

async fn every_k(context: &Context) -> Outcome {
    let total = writes_of_a_rollout(context).await?;
    let step = context.pick((total / 5).max(1), 1);
    let mut lines = vec![format!("a first roll-out takes {total} API writes")];
    let (mut tried, mut k) = (0, 1);
    while k <= total {
        killed_after(context, k).await.map_err(|why| format!("killed after write {k}: {why}"))?;
        tried += 1;
        k += step;
    }
    lines.push(format!(
        "{tried} roll-outs with the operator killed after a write: each came up, initialised once"
    ));
    Ok(lines)
}

async fn writes_of_a_rollout(context: &Context) -> Result<u64, String> {
    let door = open_door(context, u64::MAX).await?;
    let operator = start(context, &door)?;
    cluster::apply_and_wait(&context.lab, "default", "count", "{}")?;
    let total = door.writes.load(std::sync::atomic::Ordering::SeqCst);
    drop(operator);
    clean(context, "count")?;
    Ok(total)
}

async fn killed_after(context: &Context, k: u64) -> Result<(), String> {
    let name = format!("killed-{k}");
    let door = open_door(context, k).await?;
    let operator = start(context, &door)?;
    context.lab.apply(&format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: {name}, namespace: default}}\nspec: {{}}\n"
    ))?;
    // Fewer writes than counted are possible: then the roll-out simply ends before the blow.
    tokio::time::timeout(Duration::from_secs(90), door.reached.notified()).await.ok();
    drop(operator);
    drop(door);
    let door = open_door(context, u64::MAX).await?;
    let operator = start(context, &door)?;
    cluster::wait_ready(&context.lab, "default", &name, 180)?;
    let cluster = Cluster::open(&context.lab, "default", &name)?;
    cluster.ensure_kv("kv").await?;
    let body = json!({"data": {"k": k}});
    let answer = cluster.any()?.call("POST", "kv/data/k", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
    if !answer.is_success() {
        return Err(format!(
            "the root token of the init Secret does not work: {} {}",
            answer.status, answer.body
        ));
    }
    drop(operator);
    clean(context, &name)
}

async fn open_door(context: &Context, limit: u64) -> Result<proxy::Door, String> {
    let config = context.lab.json(&["config", "view", "--raw", "--flatten"])?;
    let server = config["clusters"][0]["cluster"]["server"].as_str().ok_or("no server")?;
    let ca = crate::client::decode(&config["clusters"][0]["cluster"]["certificate-authority-data"])?;
    let token = config["users"][0]["user"]["token"].as_str().ok_or("no token")?;
    proxy::open(server.trim_start_matches("https://"), &ca, token, limit).await
}

fn start(context: &Context, door: &proxy::Door) -> Result<Operator, String> {
    let folder = context.lab.root.join("build/e2e");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let kubeconfig = folder.join(format!("operator-{}.kubeconfig", door.address.port()));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "door",
        "clusters": [{"name": "door", "cluster": {"server": format!("http://{}", door.address)}}],
        "users": [{"name": "door", "user": {}}],
        "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).map_err(|e| e.to_string())?;
    let log = std::fs::File::create(kubeconfig.with_extension("log")).map_err(|e| e.to_string())?;
    let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("operator")
        .env("KUBECONFIG", &kubeconfig)
        .env("HOLDFAST_IMAGE", &context.lab.image)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(|e| e.to_string())?)
        .stderr(log)
        .spawn()
        .map_err(|e| e.to_string())?;
    Ok(Operator(child))
}

/// Removes a cluster with all its data, which the operator itself never does under `Retain`.
fn clean(context: &Context, name: &str) -> Result<(), String> {
    let lab = &context.lab;
    lab.kubectl(&["delete", "vaultcluster", "-n", "default", name, "--timeout=60s"])?;
    let selector = format!("holdfast.dev/cluster={name}");
    lab.kubectl(&[
        "delete",
        "secret,configmap,vaultstorehead,vaultstoresegment",
        "-n",
        "default",
        "-l",
        &selector,
    ])
    .map(drop)
}
