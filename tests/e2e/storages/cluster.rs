//! A cluster made from the committed sample of a storage, and what proves that its lock is the Lease.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::servers::{Kind, Servers};
use crate::cluster::{Cluster, Pod, wait_ready};
use crate::lab::Lab;
use crate::runner::eventually;

/// The name that all samples have.
const NAME: &str = "vault";

/// A cluster with its servers, alone in a namespace.
pub struct Stored {
    lab: Lab,
    pub namespace: String,
    pub servers: Servers,
    begun: Instant,
}

/// Who leads by the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub pod: String,
    pub uid: String,
    pub epoch: u64,
    pub transitions: u64,
}

impl Stored {
    /// Starts the servers, makes the Secrets and applies the sample.
    pub async fn apply(lab: &Lab, kind: Kind, namespace: &str) -> Result<Self, String> {
        lab.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}).to_string(),
        )?;
        let servers = Servers::start(kind, lab, namespace).await?;
        let secret = |(name, data): (&&str, &Value)| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "stringData": data,
                "metadata": {"name": name, "namespace": namespace},
            })
        };
        let secrets: Vec<Value> = servers.secrets.iter().map(secret).collect();
        lab.apply(&json!({"apiVersion": "v1", "kind": "List", "items": secrets}).to_string())?;
        let begun = Instant::now();
        lab.apply(&sample(lab, &servers, namespace)?.to_string())?;
        Ok(Self { lab: lab.clone(), namespace: namespace.to_owned(), servers, begun })
    }

    /// Waits for Ready; the seconds that took, and the cluster, whose data is in the storage alone.
    pub async fn ready(&self) -> Result<(f64, Cluster), String> {
        wait_ready(&self.lab, &self.namespace, NAME, 180)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let cluster = Cluster::open(&self.lab, &self.namespace, NAME)?;
        let heads = self.lab.json(&["get", "vaultstoreheads,vaultstoresegments", "-n", &self.namespace])?;
        if heads["items"].as_array().is_none_or(|items| !items.is_empty()) {
            return Err(format!("there is data in the Kubernetes API: {heads}"));
        }
        match self.servers.entries(&self.namespace).await? {
            0 => Err("there is nothing in the storage".to_owned()),
            _ => Ok((seconds, cluster)),
        }
    }

    /// Asks for the end of the cluster; with an error, after what a person would want to read.
    pub fn end<T>(&self, result: &Result<T, String>) -> Result<(), String> {
        let namespace = self.namespace.as_str();
        if result.is_err() {
            let selector = format!("holdfast.dev/cluster={NAME}");
            self.lab.show(&["get", "pods,lease,vaultclusters", "-n", namespace, "-o", "wide"]);
            self.lab.show(&["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]);
            self.lab.show(&["logs", "-n", namespace, "-l", &selector, "--tail=30", "--prefix"]);
        }
        self.lab.kubectl(&["delete", "vaultcluster", "-n", namespace, NAME, "--timeout=60s"]).map(drop)
    }

    /// Waits for it, and takes the rest away.
    pub async fn gone(self) -> Result<(), String> {
        let namespace = self.namespace.as_str();
        eventually("the pods are gone", Duration::from_secs(90), || async {
            let pods = self.lab.json(&["get", "pods", "-n", namespace])?;
            let count = pods["items"].as_array().map_or(0, Vec::len);
            if count == 0 { Ok(()) } else { Err(format!("{count} pods")) }
        })
        .await?;
        self.lab.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
        self.servers.forget(&self.lab)
    }
}

/// The sample with another namespace, and with what the test's servers ask for beyond it.
fn sample(lab: &Lab, servers: &Servers, namespace: &str) -> Result<Value, String> {
    let (file, section) = servers.kind.names();
    let path = lab.root.join("deploy/samples").join(file);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut sample: Value = serde_saphyr::from_str(&text).map_err(|e| e.to_string())?;
    sample["metadata"]["namespace"] = json!(namespace);
    let storage = &mut sample["spec"]["storage"][section];
    // Their certificates are for localhost.
    storage["tlsServerName"] = json!("localhost");
    if let Some(client) = servers.secrets.keys().find(|name| name.ends_with("-client")) {
        storage["tlsSecretRef"] = json!({"name": client});
    }
    Ok(sample)
}

/// Who leads, once holder and published leader of the Lease, labels and every pod's `sys/leader` agree.
pub async fn lock(cluster: &Cluster) -> Result<Lock, String> {
    eventually("agreement", Duration::from_secs(60), || async {
        let active: Pod = cluster.agree().await?;
        let lease = cluster.lease()?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if !holder.starts_with(&format!("{}_{}_", active.name, active.uid)) {
            return Err(format!("{} leads, and {holder} holds the Lease", active.name));
        }
        let published = lease["metadata"]["annotations"]["holdfast.dev/active"].as_str().unwrap_or("{}");
        let published: Value = serde_json::from_str(published).map_err(|e| e.to_string())?;
        Ok(Lock {
            pod: active.name,
            uid: active.uid,
            epoch: published["epoch"].as_u64().ok_or_else(|| format!("no epoch in {published}"))?,
            transitions: lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0),
        })
    })
    .await
}
