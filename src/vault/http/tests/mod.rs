//! The answers of one node to requests of every kind: statuses, texts and headers, without a socket.

mod errors;
mod gone;
mod lines;
mod peers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;

use super::cluster::ClusterTls;
use super::lifecycle::{InitWish, Lifecycle};
use super::pool::Pool;
use super::serve::{Api, RequestLimits, Standby, answer, client_routes};
use crate::base::clock::{Clock, SystemClock};
use crate::base::random::{Random, SystemRandom};
use crate::base::task::Shutdown;
use crate::telemetry::Metrics;
use crate::vault::core::{Core, CoreParts, EngineTable, FirstMount, MountClass};
use crate::vault::ha::peer::NoPeers;
use crate::vault::ha::{Candidate, Ha, HaSettings};
use crate::vault::physical::inmem::{InmemBackend, InmemRegister};
use crate::vault::physical::{Backend, HaBackend, Ledger, LockName};
use crate::vault::seal::ShamirSeal;
use crate::vault::{secrets, system};

struct Kernel(Arc<Core>);

#[async_trait::async_trait]
impl Candidate for Kernel {
    fn is_unsealed(&self) -> bool {
        !self.0.is_sealed()
    }

    async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), String> {
        self.0.probe(ledger).await.map_err(|error| error.to_string())
    }
}

/// One node on storage in memory.
struct Node {
    lifecycle: Arc<Lifecycle>,
    backend: InmemBackend,
    api: Arc<Api>,
    routes: Router,
    token: String,
    _shutdown: Shutdown,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// How long nodes wait for a leader where the end of that is what a test is about.
const HASTE: Duration = Duration::from_millis(300);

impl Node {
    fn new() -> Self {
        Self::with(None, HASTE)
    }

    /// With this lock, if any; for a leader it waits then for `patience`.
    fn with(register: Option<InmemRegister>, patience: Duration) -> Self {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) =
            (Arc::new(SystemClock), Arc::new(SystemRandom));
        let engines: EngineTable = ["kv", "cubbyhole"]
            .into_iter()
            .filter_map(|kind| Some((kind, secrets::factory(kind)?)))
            .collect();
        let core = Core::new(CoreParts {
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            engines,
            auth_methods: EngineTable::new(),
            kernel_engines: system::kernel_engines(),
            seal: Arc::new(ShamirSeal),
            cluster_name: "test".to_owned(),
            version: "1".to_owned(),
            audit: Arc::default(),
        });
        let store = InmemBackend::new();
        let backend: Arc<dyn Backend> = Arc::new(store.clone());
        let is_alone = register.is_none();
        let lock = register.map(|register| Arc::new(register) as Arc<dyn HaBackend>);
        let name = lock.as_ref().map(|lock| lock.name());
        let shutdown = Shutdown::default();
        let settings = HaSettings {
            lock_disabled: is_alone,
            ..HaSettings::new("n_u_r", "http://127.0.0.1:8200", "https://127.0.0.1:8201")
        };
        let ha = Ha::start(
            settings,
            Arc::clone(&backend),
            lock,
            Arc::new(NoPeers),
            Arc::clone(&clock),
            Arc::clone(&random),
            Arc::new(Kernel(Arc::clone(&core))),
            shutdown.clone(),
        );
        let lock = name.unwrap_or_else(LockName::none);
        let cluster_tls = Arc::new(ClusterTls::default());
        let pool = Arc::new(Pool::new(Arc::clone(&cluster_tls)));
        let lifecycle = Arc::new(Lifecycle { core, ha, backend, lock, cluster_tls, clock, random });
        let mut api =
            Api::new(Arc::clone(&lifecycle), pool, Standby::default(), &Metrics::new("server", "0"));
        if let (false, Some(api)) = (is_alone, Arc::get_mut(&mut api)) {
            api.patience = patience;
            api.silence = patience.max(Duration::from_secs(3));
        }
        let limits = RequestLimits { body_bytes: 4096, ..RequestLimits::default() };
        let routes = client_routes(Arc::clone(&api), limits);
        Self { lifecycle, backend: store, api, routes, token: String::new(), _shutdown: shutdown }
    }

    /// Initialised, unsealed and active, with KV version 2 at `secret/`.
    async fn ready() -> Self {
        let node = Self::unsealed(None, HASTE).await;
        node.lifecycle.ha.wait_for_leader(Duration::from_secs(30)).await.unwrap();
        node
    }

    /// Initialised and unsealed.
    async fn unsealed(register: Option<InmemRegister>, patience: Duration) -> Self {
        let mut node = Self::with(register, patience);
        let secret = FirstMount {
            class: MountClass::Secret,
            path: "secret/".to_owned(),
            kind: "kv".to_owned(),
            options: [("version".to_owned(), "2".to_owned())].into(),
        };
        let wish =
            InitWish { secret_shares: 1, secret_threshold: 1, mounts: vec![secret], ..InitWish::default() };
        let answer = node.lifecycle.initialise(wish).await.unwrap();
        node.lifecycle.unseal(answer.keys[0].clone()).await.unwrap();
        node.token = answer.root_token.expose().to_owned();
        node
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        self.send_to(&self.routes, method, path, headers, Body::from(body.to_owned())).await
    }

    async fn send_to(
        &self,
        routes: &Router,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        let own = headers.iter().any(|(name, _)| *name == "x-vault-token");
        if !own && !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = answer(routes.clone(), request.body(body).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[], "").await
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_defined_have_empty_errors() {
    let node = Node::ready().await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v2/secret/data/a", 404),
        ("GET", "/v1/secret/data/absent", 404),
        ("LIST", "/v1/secret/metadata/absent", 404),
        ("TRACE", "/v1/secret/data/a", 405),
        ("DELETE", "/v1/sys/init", 405),
        ("POST", "/v1/sys/health", 405),
    ] {
        let got = node.send(method, path, &[], "").await;
        assert_eq!((got.status, got.body), (status, json!({"errors": []})), "{method} {path}");
    }
}

#[tokio::test]
async fn secrets_are_written_as_clients_write_them() {
    let node = Node::ready().await;
    // No content type, as the known command lines send it; any other; a bearer token; PUT and POST alike.
    let bearer = format!("Bearer {}", node.token);
    let cases: [(&str, &[(&str, &str)]); 3] = [
        ("PUT", &[]),
        ("POST", &[("content-type", "text/plain")]),
        ("POST", &[("x-vault-namespace", "root"), ("authorization", &bearer)]),
    ];
    for (number, (method, headers)) in cases.iter().enumerate() {
        let body = json!({"data": {"n": number}}).to_string();
        let got = node.send(method, "/v1/secret/data/a", headers, &body).await;
        assert_eq!(got.status, 200, "{} {}", number, got.body);
        assert_eq!(got.body["data"]["version"], number + 1);
    }
    let got = node.get("/v1/secret/data/a").await;
    assert_eq!(got.body["data"]["data"], json!({"n": 2}));
    let index = got.headers["x-vault-index"].to_str().unwrap();
    use base64::Engine;
    let index = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(index).unwrap()).unwrap();
    assert!(index.starts_with("v1:") && index.split(':').count() == 5, "{index}");
    for (method, path) in [
        ("LIST", "/v1/secret/metadata"),
        ("GET", "/v1/secret/metadata?list=true"),
        ("LIST", "/v1/secret/metadata/"),
    ] {
        let got = node.send(method, path, &[], "").await;
        assert_eq!((got.status, &got.body["data"]), (200, &json!({"keys": ["a"]})), "{method} {path}");
    }
    let got = node.send("DELETE", "/v1/secret/data/a", &[], "").await;
    assert_eq!((got.status, got.body), (204, Value::Null));
    assert!(!got.headers.contains_key("content-type"));
    assert_eq!(node.get("/v1/secret/data/a").await.status, 404);
}

#[tokio::test]
async fn health_tells_the_state_by_its_code() {
    let node = Node::new();
    let until = async |status: u16| {
        let begun = SystemClock.now();
        loop {
            let got = node.get("/v1/sys/health").await;
            if got.status == status {
                return got;
            }
            assert!(SystemClock.now().since(begun) < Duration::from_secs(30), "{} {}", got.status, got.body);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let got = until(501).await;
    assert_eq!(got.body["initialized"], false);
    assert_eq!(node.get("/v1/sys/health?uninitcode=299").await.status, 299);
    assert_eq!(node.get("/v1/sys/init").await.body, json!({"initialized": false}));

    let body = json!({"secret_shares": 3, "secret_threshold": 2}).to_string();
    let made = node.send("PUT", "/v1/sys/init", &[], &body).await.body;
    assert_eq!(made["keys"].as_array().map(Vec::len), Some(3));
    let got = until(503).await;
    assert_eq!((got.body["initialized"].clone(), got.body["sealed"].clone()), (json!(true), json!(true)));
    assert_eq!(node.get("/v1/sys/health?sealedcode=298").await.status, 298);
    assert_eq!(node.get("/v1/secret/data/a").await.body, json!({"errors": ["Vault is sealed"]}));

    for (number, form) in ["keys", "keys_base64"].iter().enumerate() {
        let body = json!({"key": made[form][number]}).to_string();
        let got = node.send("PUT", "/v1/sys/unseal", &[], &body).await;
        assert_eq!(got.body["sealed"], number == 0, "{}", got.body);
        assert_eq!(got.body["progress"], 1 - number, "{}", got.body);
    }
    let got = until(200).await;
    assert_eq!(got.body["cluster_name"], "test");
    assert_eq!(node.get("/v1/sys/health?activecode=297").await.status, 297);
    let head = node.send("HEAD", "/v1/sys/health", &[], "").await;
    assert_eq!((head.status, head.body), (200, Value::Null));
    let leader = node.get("/v1/sys/leader").await.body;
    assert_eq!((&leader["is_self"], &leader["ha_enabled"]), (&json!(true), &json!(false)));
    assert_eq!(leader["leader_address"], "http://127.0.0.1:8200");
}

#[tokio::test]
async fn sealing_answers_first_and_seals_then() {
    let node = Node::ready().await;
    assert_eq!(node.send("PUT", "/v1/sys/seal", &[], "").await.status, 204);
    let begun = SystemClock.now();
    while !node.lifecycle.core.is_sealed() {
        assert!(SystemClock.now().since(begun) < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let got = node.get("/v1/secret/data/a").await;
    assert_eq!((got.status, got.body), (503, json!({"errors": ["Vault is sealed"]})));
    assert_eq!(got.headers["retry-after"], "1");
}
