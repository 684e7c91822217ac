//! A vault whose storage is full, by its HTTP API: a whole server on a store with the smallest limit.

use holdfast::config::{self, Environment};
use holdfast::crd::VaultStoreHead;
use holdfast::vault::node::{BackendTable, Server};
use kube::api::Api;
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::world::{PATIENCE, World, common_server, until};

/// The smallest limit that a `VaultCluster` takes.
const LIMIT: u64 = 1 << 20;
const SECRET_BYTES: usize = 96 << 10;

fn secret(n: u64) -> Value {
    json!({"data": {"n": n, "padding": "x".repeat(SECRET_BYTES)}})
}

/// An answer other than 503, which on a busy machine means that the API server is slow for a moment.
async fn call(http: &Http, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let mut last = None;
    until("an answer other than 503", async || {
        let answer = http.call(method, path, body).await.expect("an answer");
        let is_there = answer.status != 503;
        last = Some(answer);
        is_there
    })
    .await;
    last.expect("an answer")
}

/// An initialised and unsealed server, with KV version 2 at `kv/`.
async fn serve(world: &World) -> (Server, Http) {
    let text = format!(
        r#"
        storage "kubernetes" {{ namespace = "{}" kubeconfig = "{}" data_limit_bytes = {LIMIT} }}
        listener "tcp" {{ address = "127.0.0.1:0" cluster_address = "127.0.0.1:0" tls_disable = true }}
        "#,
        world.settings.namespace,
        common_server().await.kubeconfig().display()
    );
    let environment = Environment::fixed([("POD_NAME", "vault-0")]);
    let config = config::parse(&[("test.hcl", &text)], &environment).expect("a configuration");
    let server = Server::start(&config, &environment, &BackendTable::default()).await.expect("a server");
    let mut http = Http::new(&format!("http://{}", server.api_addresses[0]));
    http.patience = PATIENCE;
    let init = json!({"secret_shares": 1, "secret_threshold": 1});
    let answer = call(&http, "PUT", "sys/init", Some(&init)).await.expect(200);
    http.token = answer["root_token"].as_str().expect("a token").to_owned();
    call(&http, "PUT", "sys/unseal", Some(&json!({"key": answer["keys"][0]}))).await.expect(200);
    let mount = json!({"type": "kv", "options": {"version": "2"}});
    call(&http, "PUT", "sys/mounts/kv", Some(&mount)).await.expect(204);
    (server, http)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_vault_says_so_reads_on_and_has_room_after_deletes() {
    let world = World::new().await;
    let (_server, http) = serve(&world).await;
    let most = LIMIT / SECRET_BYTES as u64;
    let mut count = 0;
    let refused = loop {
        let answer = call(&http, "PUT", &format!("kv/data/full/{count}"), Some(&secret(count))).await;
        if answer.status != 200 {
            break answer;
        }
        count += 1;
        assert!(count <= most, "{count} secrets fit");
    };
    assert!(count > most / 2, "{count}: {}", refused.body);
    assert_eq!(refused.status, 400);
    let text = refused.error();
    assert!(text.starts_with("storage kubernetes is full: "), "{text}");
    let rest = " of 1048576 bytes are in use; delete data, raise the limit or move to another storage";
    assert!(text.ends_with(rest), "{text}");

    for n in 0..count {
        assert_eq!(
            call(&http, "GET", &format!("kv/data/full/{n}"), None).await.expect(200)["data"]["data"]["n"],
            n
        );
    }
    assert_eq!(
        call(&http, "GET", &format!("kv/data/full/{count}"), None).await.status,
        404,
        "nothing of it was stored"
    );
    // What the operator makes StorageFull of.
    let heads: Api<VaultStoreHead> = Api::namespaced(world.client.clone(), &world.settings.namespace);
    let used = async || heads.get("holdfast").await.expect("a head").spec.data_bytes;
    assert!(used().await * 5 >= LIMIT * 4, "{}", used().await);

    for n in 0..count / 2 {
        call(&http, "DELETE", &format!("kv/metadata/full/{n}"), None).await.expect(204);
    }
    call(&http, "PUT", "kv/data/full/again", Some(&secret(count))).await.expect(200);
    until("the head shows that there is room", async || used().await * 5 < LIMIT * 4).await;
    for n in (count / 2)..count {
        assert_eq!(
            call(&http, "GET", &format!("kv/data/full/{n}"), None).await.expect(200)["data"]["data"]["n"],
            n
        );
    }
}
