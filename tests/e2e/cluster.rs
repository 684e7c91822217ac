//! A VaultCluster in the lab: applied, awaited, read back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::client::{self, Client, Target};
use crate::lab::Lab;

/// A cluster as the tests see it.
#[derive(Clone)]
pub struct Cluster {
    pub lab: Lab,
    pub namespace: String,
    pub name: String,
    pub tls: TlsConnector,
    pub token: String,
}

/// A pod of the cluster.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub node: String,
    pub ip: String,
    pub active: bool,
    pub restarts: u64,
}

/// What the cluster of most scenarios asks for beyond the defaults: reads may be as old as they themselves accept.
pub const SPEC: &str = "{ha: {stalenessLimitSeconds: 600}}";

/// Applies a VaultCluster and waits for Ready; returns the seconds that took.
pub fn apply_and_wait(lab: &Lab, namespace: &str, name: &str, spec: &str) -> Result<f64, String> {
    let begun = Instant::now();
    lab.apply(&format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    ))?;
    wait_ready(lab, namespace, name, 180)?;
    Ok(begun.elapsed().as_secs_f64())
}

pub fn wait_ready(lab: &Lab, namespace: &str, name: &str, seconds: u64) -> Result<(), String> {
    let object = format!("vaultcluster/{name}");
    let timeout = format!("--timeout={seconds}s");
    lab.kubectl(&["wait", "-n", namespace, "--for=condition=Ready", &object, &timeout]).map(drop)
}

impl Cluster {
    /// Reads what a person reads to log in: the CA and the first root token.
    pub fn open(lab: &Lab, namespace: &str, name: &str) -> Result<Self, String> {
        let ca = lab.json(&["get", "secret", "-n", namespace, &format!("{name}-ca-cert")]);
        let ca = match ca {
            Ok(secret) => client::decode(&secret["data"]["ca.crt"])?,
            Err(_) => {
                let map = lab.json(&["get", "configmap", "-n", namespace, &format!("{name}-ca")])?;
                map["data"]["ca.crt"].as_str().ok_or("no ca.crt")?.to_owned()
            }
        };
        let init = lab.json(&["get", "secret", "-n", namespace, &format!("{name}-init")])?;
        let token = client::decode(&init["data"]["root-token"])?;
        Ok(Self {
            lab: lab.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            tls: client::trust(&ca)?,
            token,
        })
    }

    pub fn pods(&self) -> Result<Vec<Pod>, String> {
        let selector = format!("holdfast.dev/cluster={}", self.name);
        let list = self.lab.json(&["get", "pods", "-n", &self.namespace, "-l", &selector])?;
        let empty = Vec::new();
        let items = list["items"].as_array().unwrap_or(&empty);
        Ok(items.iter().map(pod).collect())
    }

    pub fn active(&self) -> Result<Pod, String> {
        let mut active: Vec<Pod> = self.pods()?.into_iter().filter(|p| p.active).collect();
        match active.len() {
            1 => Ok(active.remove(0)),
            n => Err(format!("{n} pods are labelled active")),
        }
    }

    pub fn lease(&self) -> Result<Value, String> {
        self.lab.json(&["get", "lease", "-n", &self.namespace, &self.name])
    }

    pub fn service_target(&self, service: &str) -> Result<Target, String> {
        let object = self.lab.json(&["get", "service", "-n", &self.namespace, service])?;
        let ip = object["spec"]["clusterIP"].as_str().ok_or("no clusterIP")?;
        Ok(Target {
            address: format!("{ip}:8200").parse::<SocketAddr>().map_err(|e| e.to_string())?,
            server_name: format!("{service}.{}.svc", self.namespace),
        })
    }

    pub fn pod_target(pod: &Pod) -> Result<Target, String> {
        Ok(Target {
            address: format!("{}:8200", pod.ip)
                .parse::<SocketAddr>()
                .map_err(|e| format!("{}: {e}", pod.ip))?,
            server_name: pod.ip.clone(),
        })
    }

    pub fn client(&self, target: Target) -> Client {
        Client::new(&self.tls, target, &self.token)
    }

    /// A client of the Service that reaches every ready pod.
    pub fn any(&self) -> Result<Client, String> {
        Ok(self.client(self.service_target(&self.name)?))
    }

    /// Enables KV v2 at `path` if it is not there.
    pub async fn ensure_kv(&self, path: &str) -> Result<(), String> {
        // A new Service is known to every node's proxy only a moment after its endpoints are there.
        crate::runner::eventually("the Service answers", Duration::from_secs(15), || async {
            let body = serde_json::json!({"type": "kv", "options": {"version": "2"}});
            let answer = self
                .any()?
                .call("POST", &format!("sys/mounts/{path}"), Some(&body))
                .await
                .map_err(|e| format!("{e:?}"))?;
            if answer.is_success() || answer.body.to_string().contains("already in use") {
                return Ok(());
            }
            Err(format!("enabling kv at {path}: {} {}", answer.status, answer.body))
        })
        .await
    }

    /// Whether everything that says who leads says the same; returns the active pod.
    pub async fn agree(&self) -> Result<Pod, String> {
        let pods = self.pods()?;
        let active = self.active()?;
        let record = self.lease()?;
        let annotation =
            record["metadata"]["annotations"]["holdfast.dev/active"].as_str().unwrap_or("{}").to_owned();
        let published: Value = serde_json::from_str(&annotation).map_err(|e| e.to_string())?;
        let identity = published["identity"].as_str().unwrap_or_default();
        if !identity.starts_with(&format!("{}_{}", active.name, active.uid)) {
            return Err(format!("the Lease names {identity}, the labels name {}", active.name));
        }
        for pod in &pods {
            let answer = self
                .client(Self::pod_target(pod)?)
                .call("GET", "sys/leader", None)
                .await
                .map_err(|e| format!("{}: {e:?}", pod.name))?;
            let address = answer.body["leader_address"].as_str().unwrap_or_default().to_owned();
            if address != format!("https://{}:8200", active.ip) {
                return Err(format!("{} believes that {address} leads, not {}", pod.name, active.ip));
            }
            let is_self = answer.body["is_self"].as_bool().unwrap_or_default();
            if is_self != (pod.name == active.name) {
                return Err(format!("{} says is_self={is_self}", pod.name));
            }
        }
        Ok(active)
    }
}

fn pod(object: &Value) -> Pod {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Pod {
        name: text(&object["metadata"]["name"]),
        uid: text(&object["metadata"]["uid"]),
        node: text(&object["spec"]["nodeName"]),
        ip: text(&object["status"]["podIP"]),
        active: object["metadata"]["labels"]["vault-active"] == "true",
        restarts: object["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0),
    }
}
