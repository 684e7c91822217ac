//! Installation and first use: what a person does on the first day.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{self, Cluster};
use crate::runner::{Context, Outcome, eventually};

const SYSTEM: &str = "holdfast-system";

/// `helm install --wait` and `helm test`.
pub async fn chart(context: Context) -> Outcome {
    let lab = &context.lab;
    let chart = lab.root.join("charts/holdfast");
    let chart = chart.to_string_lossy().into_owned();
    let begun = std::time::Instant::now();
    lab.helm(&[
        "upgrade",
        "--install",
        "holdfast",
        &chart,
        "-n",
        SYSTEM,
        "--create-namespace",
        "--wait",
        "--timeout",
        "120s",
    ])?;
    let installed = begun.elapsed().as_secs_f64();
    let tested = lab.helm(&["test", "holdfast", "-n", SYSTEM, "--timeout", "120s"])?;
    if !tested.contains("Succeeded") {
        return Err(format!("helm test: {tested}"));
    }
    Ok(vec![format!("helm install --wait took {installed:.1} s; helm test succeeded")])
}

/// `spec: {}` becomes Ready, and at that moment everything agrees; a secret is read through every pod.
pub async fn minimal(context: Context) -> Outcome {
    let lab = &context.lab;
    let seconds = cluster::apply_and_wait(lab, "default", "vault", cluster::SPEC)?;
    let cluster = Cluster::open(lab, "default", "vault")?;
    let active = cluster.agree().await?;
    let pods = cluster.pods()?;
    let mut nodes: Vec<&str> = pods.iter().map(|p| p.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if pods.len() != 3 || nodes.len() != 3 {
        return Err(format!("{} pods on {} nodes", pods.len(), nodes.len()));
    }
    cluster.ensure_kv("kv").await?;
    let mut client = cluster.any()?;
    let secret = json!({"data": {"password": "correct horse"}});
    let answer = client.call("POST", "kv/data/first", Some(&secret)).await.map_err(|e| format!("{e:?}"))?;
    if !answer.is_success() {
        return Err(format!("kv put: {} {}", answer.status, answer.body));
    }
    let mut read = 0;
    for pod in &pods {
        for target in [Cluster::pod_target(pod)?, through_name(&cluster, pod)?] {
            let mut client = cluster.client(target.clone());
            let answer =
                client.call("GET", "kv/data/first", None).await.map_err(|e| format!("{target:?}: {e:?}"))?;
            if answer.body["data"]["data"]["password"] != "correct horse" {
                return Err(format!("{target:?}: {} {}", answer.status, answer.body));
            }
            read += 1;
        }
    }
    for service in ["vault", "vault-active"] {
        let mut client = cluster.client(cluster.service_target(service)?);
        let answer =
            client.call("GET", "kv/data/first", None).await.map_err(|e| format!("{service}: {e:?}"))?;
        if !answer.is_success() {
            return Err(format!("{service}: {} {}", answer.status, answer.body));
        }
        read += 1;
    }
    Ok(vec![
        format!("Ready after {seconds:.1} s (target 60 s); {} is active", active.name),
        format!("the secret was read {read} times over verified TLS, by Service name and by pod IP"),
    ])
}

/// The pod reached by its IP, its certificate checked against the Service's name.
fn through_name(cluster: &Cluster, pod: &crate::cluster::Pod) -> Result<crate::client::Target, String> {
    let mut target = Cluster::pod_target(pod)?;
    target.server_name = format!("{}.{}.svc", cluster.name, cluster.namespace);
    Ok(target)
}

/// What a person reads: columns, explanations, descriptions.
pub async fn words(context: Context) -> Outcome {
    let lab = &context.lab;
    let table = lab.kubectl(&["get", "vaultclusters", "-n", "default"])?;
    let explained = lab.kubectl(&["explain", "vaultcluster.spec"])?;
    let described = lab.kubectl(&["describe", "vaultcluster", "-n", "default", "vault"])?;
    for (what, text, words) in [
        ("get", &table, ["READY", "ACTIVE", "vault"]),
        ("explain", &explained, ["replicas", "storage", "tls"]),
        ("describe", &described, ["Conditions", "Ready", "Members"]),
    ] {
        for word in words {
            if !text.contains(word) {
                return Err(format!("kubectl {what} does not say {word}:\n{text}"));
            }
        }
    }
    Ok(table.lines().map(str::to_owned).collect())
}

/// `kubectl apply -f deploy/` instead of the chart, with a cluster in another namespace.
pub async fn plain_manifests(context: Context) -> Outcome {
    let lab = &context.lab;
    lab.helm(&["uninstall", "holdfast", "-n", SYSTEM, "--wait", "--timeout", "60s"])?;
    let folder = lab.root.join("deploy");
    lab.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder.to_string_lossy()])?;
    lab.kubectl(&["create", "namespace", "elsewhere"])
        .or_else(|why| if why.contains("AlreadyExists") { Ok(String::new()) } else { Err(why) })?;
    let seconds = cluster::apply_and_wait(lab, "elsewhere", "plain", "{}")?;
    let cluster = Cluster::open(lab, "elsewhere", "plain")?;
    eventually("agreement", Duration::from_secs(30), || cluster.agree()).await?;
    lab.kubectl(&["delete", "vaultcluster", "-n", "elsewhere", "plain", "--timeout=60s"])?;
    Ok(vec![format!("from plain manifests, in another namespace: Ready after {seconds:.1} s")])
}
