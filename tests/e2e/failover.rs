//! The active pod goes, in five ways, under load.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Pod};
use crate::load::Load;
use crate::runner::{Context, Outcome, eventually};

/// A planned end: `kubectl delete pod`. No request may fail.
pub async fn delete_active(context: Context) -> Outcome {
    let fault = |cluster: &Cluster, pod: &Pod| {
        cluster.lab.kubectl(&["delete", "pod", "-n", &cluster.namespace, &pod.name, "--wait=false"]).map(drop)
    };
    let (lines, worst) = rounds(&context, "delete", fault, |_, _| Ok(())).await?;
    if worst.failed > 0 {
        return Err(format!("a planned failover failed requests: {}", lines.join("; ")));
    }
    limit(lines, &worst, 3.0)
}

pub async fn kill_process(context: Context) -> Outcome {
    let fault = |cluster: &Cluster, pod: &Pod| {
        cluster.lab.verb(&["crash-pod", &cluster.namespace, &pod.name]).map(drop)
    };
    let (lines, worst) = rounds(&context, "kill", fault, |_, _| Ok(())).await?;
    limit(lines, &worst, 7.0)
}

/// The active's container is frozen for 30 s and let go: it must not serve anything old.
pub async fn freeze(context: Context) -> Outcome {
    let fault = |cluster: &Cluster, pod: &Pod| {
        let (lab, namespace, name) = (cluster.lab.clone(), cluster.namespace.clone(), pod.name.clone());
        std::thread::spawn(move || lab.verb(&["freeze-pod", &namespace, &name, "30"]));
        Ok(())
    };
    let settle = |_: &Cluster, _: &Pod| {
        std::thread::sleep(Duration::from_secs(22));
        Ok(())
    };
    let (lines, worst) = rounds(&context, "freeze", fault, settle).await?;
    limit(lines, &worst, 21.0)
}

pub async fn cut_node(context: Context) -> Outcome {
    let fault = |cluster: &Cluster, pod: &Pod| cluster.lab.verb(&["cut", &pod.node]).map(drop);
    let heal = |cluster: &Cluster, pod: &Pod| cluster.lab.verb(&["join", &pod.node]).map(drop);
    let (lines, worst) = rounds(&context, "cut", fault, heal).await?;
    limit(lines, &worst, 30.0)
}

pub async fn kill_node(context: Context) -> Outcome {
    let fault = |cluster: &Cluster, pod: &Pod| cluster.lab.verb(&["kill", &pod.node]).map(drop);
    let heal = |cluster: &Cluster, pod: &Pod| cluster.lab.verb(&["start", &pod.node]).map(drop);
    let (lines, worst) = rounds(&context, "node", fault, heal).await?;
    limit(lines, &worst, 30.0)
}

/// The worst of all rounds, each figure by itself.
struct Worst {
    gap: Duration,
    failed: u64,
}

/// The bound is three times the target: these machines are noisy, and the times are printed.
fn limit(mut lines: Vec<String>, worst: &Worst, seconds: f64) -> Outcome {
    let gap = worst.gap.as_secs_f64();
    lines.push(format!(
        "worst: next success after {gap:.2} s; at most {} requests failed in a round",
        worst.failed
    ));
    if gap > seconds {
        return Err(format!("the next success took {gap:.1} s, more than {seconds} s: {}", lines.join("; ")));
    }
    Ok(lines)
}

async fn rounds<F, H>(
    context: &Context,
    kind: &str,
    fault: F,
    heal: H,
) -> Result<(Vec<String>, Worst), String>
where
    F: Fn(&Cluster, &Pod) -> Result<(), String>,
    H: Fn(&Cluster, &Pod) -> Result<(), String>,
{
    let cluster = Cluster::open(&context.lab, "default", "vault")?;
    cluster.ensure_kv("kv").await?;
    let (mut lines, mut worst) = (Vec::new(), Worst { gap: Duration::ZERO, failed: 0 });
    for round in 0..context.pick(1, 5) {
        let before =
            eventually("agreement before the fault", Duration::from_secs(90), || cluster.agree()).await?;
        let direct: Vec<_> = cluster.pods()?.iter().map(Cluster::pod_target).collect::<Result<_, _>>()?;
        let run = format!("{kind}-{round}-{}", std::process::id());
        let load = Load::start(&cluster, &run, 50, &direct)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let at = Instant::now();
        fault(&cluster, &before)?;
        let changed = eventually("another active", Duration::from_secs(60), || async {
            let now = cluster.active()?;
            if now.uid == before.uid { Err(format!("{} is still active", now.name)) } else { Ok(now) }
        })
        .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        heal(&cluster, &before)?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let report = load.finish(at).await?;
        // A killed process comes back in the same pod and may win again: then only the load judges.
        let now = match changed {
            Ok(pod) => pod.name,
            Err(_) if kind == "kill" => "the same pod".to_owned(),
            Err(why) => return Err(why),
        };
        lines.push(format!("round {round}: {} -> {now}: {}", before.name, report.line()));
        if report.acknowledged == 0 {
            return Err("no write was acknowledged".to_owned());
        }
        worst = Worst { gap: worst.gap.max(report.gap), failed: worst.failed.max(report.failed()) };
        wait_whole(&cluster).await?;
    }
    Ok((lines, worst))
}

/// Waits until the cluster is whole again.
pub async fn wait_whole(cluster: &Cluster) -> Result<(), String> {
    eventually("the cluster is whole again", Duration::from_secs(120), || async {
        let pods = cluster.pods()?;
        if pods.len() != 3 {
            return Err(format!("{} pods", pods.len()));
        }
        crate::cluster::wait_ready(&cluster.lab, &cluster.namespace, &cluster.name, 5)?;
        cluster.agree().await
    })
    .await
    .map(drop)
}
