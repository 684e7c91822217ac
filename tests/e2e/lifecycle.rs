//! The operator goes, the resource goes, both come back.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{self, Cluster};
use crate::runner::{Context, Outcome};

/// Without the operator the cluster keeps serving.
pub async fn operator_uninstalled(context: Context) -> Outcome {
    let lab = &context.lab;
    let cluster = Cluster::open(lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    lab.helm(&["uninstall", "holdfast", "-n", "holdfast-system", "--wait", "--timeout", "60s"])?;
    let mut client = cluster.any()?;
    for n in 0..50 {
        let body = json!({"data": {"n": n}});
        let answer = client.call("POST", "kv/data/alone", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
        if !answer.is_success() {
            return Err(format!("write {n} without the operator: {} {}", answer.status, answer.body));
        }
    }
    let chart = lab.root.join("charts/holdfast");
    let chart = chart.to_string_lossy().into_owned();
    lab.helm(&["install", "holdfast", &chart, "-n", "holdfast-system", "--wait", "--timeout", "120s"])?;
    cluster::wait_ready(lab, "default", "vault", 120)?;
    Ok(vec!["50 writes without the operator; after its return the cluster is Ready".to_owned()])
}

/// Deleting the resource completes; creating it again brings the same secrets back.
pub async fn recreate(context: Context) -> Outcome {
    let lab = &context.lab;
    let cluster = Cluster::open(lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let body = json!({"data": {"kept": "yes"}});
    let answer =
        cluster.any()?.call("POST", "kv/data/kept", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
    if !answer.is_success() {
        return Err(format!("writing: {} {}", answer.status, answer.body));
    }
    lab.kubectl(&["delete", "vaultcluster", "-n", "default", "vault", "--timeout=60s"])?;
    crate::runner::eventually("the pods are gone", Duration::from_secs(90), || async {
        match cluster.pods()?.len() {
            0 => Ok(()),
            n => Err(format!("{n} pods")),
        }
    })
    .await?;
    let seconds = cluster::apply_and_wait(lab, "default", "vault", cluster::SPEC)?;
    let again = Cluster::open(lab, "default", "vault")?;
    // The Service is new: every node's proxy learns of it a moment after the endpoints are there.
    crate::runner::eventually("the same secret", Duration::from_secs(15), || async {
        let answer = again.any()?.call("GET", "kv/data/kept", None).await.map_err(|e| format!("{e:?}"))?;
        match &answer.body["data"]["data"]["kept"] {
            kept if kept == "yes" => Ok(()),
            _ => Err(format!("reading after re-creation: {} {}", answer.status, answer.body)),
        }
    })
    .await?;
    Ok(vec![format!("deleted and created again: Ready after {seconds:.1} s, with the same secrets")])
}
