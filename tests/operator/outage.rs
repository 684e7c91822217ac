//! The API server goes away and comes back while the operator watches.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use serde_json::json;

use crate::apiserver::ApiServer;
use crate::lifecycle::Running;
use crate::setup::{self, eventually};

/// Long enough for pauses that double to have grown past what an operator may sleep.
const OUTAGE: Duration = Duration::from_secs(20);
/// How long a cluster may wait for the operator after that. (Three times what it should be.)
const AWAKE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_awake_soon_after_an_outage() {
    let server = tokio::task::spawn_blocking(|| ApiServer::start().unwrap()).await.unwrap();
    let clients = setup::clients_of(&server).await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "outage").await;
    let operator = Running::start(clients, &place);
    let services: Api<Service> = Api::namespaced(client.clone(), &place);
    let is_served = async |name: &str, limit| {
        eventually(&format!("Service {name}"), limit, || async {
            services.get(name).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    };
    setup::apply(&client, &place, "before", &json!({})).await.unwrap();
    is_served("before", Duration::from_secs(60)).await;

    server.stop();
    tokio::time::sleep(OUTAGE).await;
    server.start_again();
    let clusters = setup::clusters(&client, &place);
    eventually("the API server is back", Duration::from_secs(60), || async {
        clusters.get("before").await.map(drop).map_err(|e| e.to_string())
    })
    .await;
    let back = Instant::now();
    setup::apply(&client, &place, "after", &json!({})).await.unwrap();
    is_served("after", AWAKE).await;
    println!(
        "after an outage of {} s the operator works {} ms later",
        OUTAGE.as_secs(),
        back.elapsed().as_millis()
    );
    operator.stop().await;
}
