//! Three servers on one storage, initialised and unsealed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::http::{Http, until};
use crate::node::Node;
use crate::store::Store;

/// Long enough for a Lease that has to run out, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub token: String,
    /// The unseal key.
    pub key: String,
    folder: tempfile::TempDir,
    /// Storage, and a lock apart from it if there is one. They end last.
    pub stores: Vec<Store>,
}

impl Cluster {
    /// On storage in Kubernetes.
    pub async fn start() -> Self {
        Self::on(Store::kubernetes().await).await
    }

    /// On `store`, with its own lock.
    pub async fn on(store: Store) -> Self {
        Self::with(3, store.stanza("storage"), vec![store]).await
    }

    /// On `store`, with `lock` as the lock.
    pub async fn with_lock(store: Store, lock: Store) -> Self {
        Self::with(3, store.stanza("storage") + &lock.stanza("ha_storage"), vec![store, lock]).await
    }

    /// `count` servers with `stanzas`, which name the storage; `stores` end with the cluster.
    pub async fn with(count: usize, stanzas: String, stores: Vec<Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes: Vec<Node> =
            (0..count).map(|n| Node::start(folder.path(), &format!("vault-{n}"), &stanzas)).collect();
        Self::of(nodes, folder, stores).await
    }

    /// Of `nodes`, whose files lie in `folder`.
    pub async fn of(nodes: Vec<Node>, folder: tempfile::TempDir, stores: Vec<Store>) -> Self {
        let mut cluster = Self { nodes, token: String::new(), key: String::new(), folder, stores };
        cluster.initialise().await;
        cluster
    }

    async fn initialise(&mut self) {
        let first = self.nodes[0].http.clone();
        let answer = until("init", PATIENCE, || async {
            let answer = first.put("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).await;
            if answer.status == 200 { Ok(answer.body) } else { Err(answer.error()) }
        })
        .await;
        self.key = answer["keys"][0].as_str().unwrap().to_owned();
        self.token = answer["root_token"].as_str().unwrap().to_owned();
        for node in 0..self.nodes.len() {
            self.unseal(node).await;
        }
        self.leader().await;
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        self.client(self.nodes.len() - 1)
            .call("POST", "sys/mounts/secret", Some(&mount))
            .await
            .unwrap()
            .expect(204);
    }

    async fn unseal(&self, node: usize) {
        unseal(&self.nodes[node].http, &self.key).await;
    }

    /// Starts a node again that has ended.
    pub fn run(&mut self, node: usize) {
        let name = self.nodes[node].name.clone();
        let program = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        self.nodes[node] = Node::run(program, self.folder.path(), &name);
    }

    /// The same, and unseals it.
    pub async fn run_again(&mut self, node: usize) {
        self.run(node);
        self.unseal(node).await;
    }

    /// The same, and waits until it is a standby.
    pub async fn restart(&mut self, node: usize) {
        self.run_again(node).await;
        let http = self.nodes[node].http.clone();
        until("a standby", PATIENCE, || async {
            let status = http.get("sys/health").await.status;
            if status == 429 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// The node that is active; waits until exactly one of those that answer is, and all of them name it.
    pub async fn leader(&self) -> usize {
        until("one leader that all agree on", PATIENCE, || async {
            let mut active = Vec::new();
            let mut named = Vec::new();
            for (number, node) in self.nodes.iter().enumerate() {
                let Ok(health) = node.http.call("GET", "sys/health", None).await else { continue };
                if health.status == 200 {
                    active.push(number);
                }
                let leader = node.http.get("sys/leader").await.expect(200);
                named.push(leader["leader_address"].as_str().unwrap_or_default().to_owned());
            }
            match active[..] {
                [leader] if named.iter().all(|url| *url == self.nodes[leader].http.url) => Ok(leader),
                _ => Err(format!("active {active:?}, named {named:?}")),
            }
        })
        .await
    }

    /// Waits until `leader` has led for more than ten seconds.
    pub async fn until_mature(&self, leader: usize) {
        let http = &self.nodes[leader].http;
        until("a leader of some age", PATIENCE, || async {
            let since = http.get("sys/leader").await.expect(200)["active_time"].as_str().unwrap().to_owned();
            let since: jiff::Timestamp = since.parse().map_err(|_| format!("active_time {since:?}"))?;
            let age = jiff::Timestamp::now().duration_since(since);
            if age > jiff::SignedDuration::from_secs(11) { Ok(()) } else { Err(format!("{age:?}")) }
        })
        .await;
    }

    /// All nodes but `leader`.
    pub fn standbys(&self, leader: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| *node != leader).collect()
    }

    /// A client of one node with the root token.
    pub fn client(&self, node: usize) -> Http {
        self.nodes[node].http.with_token(&self.token)
    }
}

/// Creates the kinds that the storage needs and waits until they are served.
pub async fn define(kubeconfig: &Path) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use kube::CustomResourceExt;
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};

    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let definitions: kube::Api<CustomResourceDefinition> = kube::Api::all(client);
    let kinds = [holdfast::crd::store::VaultStoreHead::crd(), holdfast::crd::store::VaultStoreSegment::crd()];
    for kind in kinds {
        definitions.create(&kube::api::PostParams::default(), &kind).await.unwrap();
        let name = kind.metadata.name.unwrap();
        until("a kind that is served", PATIENCE, || async {
            let found = definitions.get(&name).await.map_err(|error| error.to_string())?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            let is_served = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
            if is_served { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await;
    }
}

/// Enters the one key that unseals a server.
pub async fn unseal(http: &Http, key: &str) {
    until("unseal", PATIENCE, || async {
        let answer = http.put("sys/unseal", &json!({"key": key})).await;
        if answer.body["sealed"] == false { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
}
