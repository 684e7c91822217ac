//! One API server for all tests of this program, with our definitions installed.

use std::future::Future;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use holdfast::crd::{VaultCluster, emit};
use holdfast::k8s::client::{Clients, Source, connect};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;

struct Shared {
    // Ended by the kernel with this process; statics are not dropped.
    server: ApiServer,
    is_installed: Mutex<bool>,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let server = ApiServer::start().unwrap_or_else(|why| panic!("{why}"));
    Shared { server, is_installed: Mutex::new(false) }
});

/// Clients of the API server, once our definitions are established.
pub async fn clients() -> Clients {
    let shared = tokio::task::spawn_blocking(|| &*SHARED).await.unwrap();
    let clients = connect(&Source::Kubeconfig(shared.server.kubeconfig())).await.unwrap();
    let install = {
        let mut is_installed = shared.is_installed.lock().unwrap();
        !std::mem::replace(&mut *is_installed, true)
    };
    if install {
        define(&clients).await;
    }
    established(&clients).await;
    clients
}

/// Clients of an API server of a test's own, with our definitions.
pub async fn clients_of(server: &ApiServer) -> Clients {
    let clients = connect(&Source::Kubeconfig(server.kubeconfig())).await.unwrap();
    define(&clients).await;
    established(&clients).await;
    clients
}

async fn define(clients: &Clients) {
    let definitions: Api<CustomResourceDefinition> = Api::all(clients.requests.clone());
    for definition in emit::definitions().unwrap() {
        let typed = serde_json::from_value(definition.value).unwrap();
        definitions.create(&PostParams::default(), &typed).await.unwrap();
    }
}

async fn established(clients: &Clients) {
    let definitions: Api<CustomResourceDefinition> = Api::all(clients.requests.clone());
    eventually("the definitions are established", Duration::from_secs(30), || async {
        for name in ["vaultclusters", "vaultstoreheads", "vaultstoresegments"] {
            let definition =
                definitions.get(&format!("{name}.holdfast.dev")).await.map_err(|e| e.to_string())?;
            let conditions = definition.status.and_then(|s| s.conditions).unwrap_or_default();
            if !conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
                return Err(format!("{name}: {conditions:?}"));
            }
        }
        // The first object of a kind may take the server longer than a client waits.
        let clusters: Api<VaultCluster> = Api::namespaced(clients.requests.clone(), "default");
        let trial = PostParams { dry_run: true, ..PostParams::default() };
        let cluster = VaultCluster::new("trial", serde_json::from_value(json!({})).unwrap());
        clusters.create(&trial, &cluster).await.map(drop).map_err(|e| e.to_string())
    })
    .await;
}

/// A namespace of the test's own.
pub async fn namespace(client: &Client, name: &str) -> String {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    name.to_owned()
}

/// Waits until `check` succeeds.
pub async fn eventually<F, T>(what: &str, limit: Duration, check: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) if begun.elapsed() > limit => panic!("{what}: not after {limit:?}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// VaultClusters as free JSON, so that wrong ones can be sent.
pub fn clusters(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kube::core::ApiResource::erase::<VaultCluster>(&());
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// An object of kind VaultCluster.
pub fn object(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", VaultCluster::group(&()), VaultCluster::version(&())),
        "kind": "VaultCluster",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// Creates or changes a VaultCluster as `kubectl apply` would; the refusal's text if it is refused.
pub async fn apply(client: &Client, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
    let params = PatchParams::apply("test").force();
    let patch = Patch::Apply(object(name, spec));
    match clusters(client, namespace).patch(name, &params, &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(other) => panic!("no answer: {other}"),
    }
}

/// The kubeconfig of the API server.
pub fn kubeconfig() -> std::path::PathBuf {
    SHARED.server.kubeconfig()
}
