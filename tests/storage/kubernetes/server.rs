//! The API server of these tests: the lab's, with the storage's kinds installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast::crd::store::VaultStoreSegmentSpec;
use holdfast::crd::{VaultStoreHead, VaultStoreSegment};
use holdfast::k8s::client::{Clients, Source, connect};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::api::{Api, ListParams, PostParams};
use serde_json::Value;
use tempfile::TempDir;

use super::world::PATIENCE;
use crate::apiserver::ApiServer;

/// Starts an API server that serves the storage's kinds. Its programs are built first if they are missing, which takes a
/// quarter of an hour once.
pub async fn start() -> ApiServer {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
    let prepared =
        Command::new(lab).args(["prepare", "programs"]).stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert!(prepared.is_ok_and(|status| status.success()), "lab fault: its programs cannot be built");
    let server = ApiServer::start().unwrap_or_else(|fault| panic!("{fault}"));
    define(&server, &[VaultStoreHead::crd(), VaultStoreSegment::crd()]).await;
    tokio::time::timeout(PATIENCE, served(&server)).await.expect("the storage's kinds are not served");
    server
}

/// Installs kinds.
pub async fn define(server: &ApiServer, definitions: &[CustomResourceDefinition]) {
    let api: Api<CustomResourceDefinition> = Api::all(clients(server).await.requests);
    for definition in definitions {
        let name = definition.metadata.name.clone().expect("a name");
        api.create(&PostParams::default(), definition)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Waits until the API server serves the storage's kinds, a moment after their definitions: the first object of a kind may
/// take it longer than a server waits.
async fn served(server: &ApiServer) {
    let client = clients(server).await.requests;
    let heads: Api<VaultStoreHead> = Api::namespaced(client.clone(), "default");
    let segments: Api<VaultStoreSegment> = Api::namespaced(client, "default");
    let (params, trial) = (ListParams::default(), PostParams { dry_run: true, ..PostParams::default() });
    let head = VaultStoreHead::new("trial", Default::default());
    let segment = VaultStoreSegment::new("trial", VaultStoreSegmentSpec { data: "AAAA".to_owned() });
    while segments.list(&params).await.is_err()
        || heads.list(&params).await.is_err()
        || segments.create(&trial, &segment).await.is_err()
        || heads.create(&trial, &head).await.is_err()
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Clients with all rights.
pub async fn clients(server: &ApiServer) -> Clients {
    connect(&Source::Kubeconfig(server.kubeconfig())).await.expect("clients")
}

/// Clients that act as `user`.
pub async fn clients_as(server: &ApiServer, user: &str) -> Clients {
    changed(server, |config| {
        for entry in config["users"].as_array_mut().expect("users") {
            entry["user"]["as"] = user.into();
        }
    })
    .await
}

/// Clients with all rights that reach the server at another port of loopback.
pub async fn clients_through(server: &ApiServer, port: u16) -> Clients {
    changed(server, |config| {
        for entry in config["clusters"].as_array_mut().expect("clusters") {
            entry["cluster"]["server"] = format!("https://127.0.0.1:{port}").into();
        }
    })
    .await
}

/// Clients with the server's kubeconfig after a change.
async fn changed(server: &ApiServer, change: impl FnOnce(&mut Value)) -> Clients {
    let (_folder, path) = kubeconfig(server, change);
    connect(&Source::Kubeconfig(path)).await.expect("clients")
}

/// The server's kubeconfig after a change, in a folder of its own.
pub fn kubeconfig(server: &ApiServer, change: impl FnOnce(&mut Value)) -> (TempDir, PathBuf) {
    let text = std::fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_saphyr::from_str(&text).expect("YAML");
    change(&mut config);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("a kubeconfig");
    (folder, path)
}
