//! The API server that other tests stand on: it starts, goes away, comes back with its data, and ends.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[path = "support/apiserver.rs"]
mod apiserver;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use apiserver::ApiServer;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

async fn client(server: &ApiServer) -> Client {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let file = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn refused(server: &ApiServer) -> bool {
    let address = server.url.trim_start_matches("https://").parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
}

#[tokio::test]
async fn it_keeps_its_data_while_it_is_away_and_ends_with_its_owner() {
    let server = ApiServer::start().unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server).await, "default");
    let map = serde_json::json!({"metadata": {"name": "kept"}, "data": {"a": "1"}});
    maps.create(&kube::api::PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();

    server.stop();
    assert!(refused(&server));
    assert!(maps.get("kept").await.is_err());
    server.start_again();
    let begun = Instant::now();
    let map = loop {
        match maps.get("kept").await {
            Ok(map) => break map,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "lab fault: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(map.data.unwrap()["a"], "1");

    server.freeze();
    let hung = tokio::time::timeout(Duration::from_millis(500), maps.get("kept")).await;
    assert!(hung.is_err(), "a frozen API server answered");
    server.thaw();
    maps.get("kept").await.unwrap();

    let url = server.url.clone();
    drop(server);
    let begun = Instant::now();
    while TcpStream::connect(url.trim_start_matches("https://")).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it outlived its owner");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
