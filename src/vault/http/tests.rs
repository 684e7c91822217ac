//! The answers of one node to requests of every kind: statuses, texts and headers, without a socket.

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
use super::serve::{Api, RequestLimits, answer, client_routes};
use crate::base::clock::{Clock, SystemClock};
use crate::base::random::{Random, SystemRandom};
use crate::base::task::Shutdown;
use crate::telemetry::Metrics;
use crate::vault::core::{Core, CoreParts, EngineTable, FirstMount, MountClass};
use crate::vault::ha::peer::NoPeers;
use crate::vault::ha::{Candidate, Ha, HaSettings};
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{Backend, Ledger, LockName};
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
    routes: Router,
    token: String,
    _shutdown: Shutdown,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Node {
    fn new() -> Self {
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
        let backend: Arc<dyn Backend> = Arc::new(InmemBackend::new());
        let shutdown = Shutdown::default();
        let settings = HaSettings {
            lock_disabled: true,
            ..HaSettings::new("n_u_r", "http://127.0.0.1:8200", "https://127.0.0.1:8201")
        };
        let ha = Ha::start(
            settings,
            Arc::clone(&backend),
            None,
            Arc::new(NoPeers),
            Arc::clone(&clock),
            Arc::clone(&random),
            Arc::new(Kernel(Arc::clone(&core))),
            shutdown.clone(),
        );
        let lock = LockName { kind: "none".to_owned(), namespace: String::new(), name: String::new() };
        let cluster_tls = Arc::new(ClusterTls::default());
        let pool = Arc::new(Pool::new(Arc::clone(&cluster_tls)));
        let lifecycle = Arc::new(Lifecycle { core, ha, backend, lock, cluster_tls, clock, random });
        let api = Api::new(Arc::clone(&lifecycle), pool, false, &Metrics::new("server", "0"));
        let limits = RequestLimits { body_bytes: 4096, ..RequestLimits::default() };
        Self { lifecycle, routes: client_routes(api, limits), token: String::new(), _shutdown: shutdown }
    }

    /// Initialised, unsealed and active, with KV version 2 at `secret/`.
    async fn ready() -> Self {
        let mut node = Self::new();
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
        node.lifecycle.ha.wait_for_leader(Duration::from_secs(30)).await.unwrap();
        node.token = answer.root_token.expose().to_owned();
        node
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        let own = headers.iter().any(|(name, _)| *name == "x-vault-token");
        if !own && !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = answer(self.routes.clone(), request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[], "").await
    }
}

/// Method, path, headers, body; status and text.
type Case =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16, &'static str);

const REFUSED: &[Case] = &[
    ("GET", "/v1/secret/data/../x", &[], "", 400, "relative paths not supported"),
    ("GET", "/v1/secret/data/%2e%2e/x", &[], "", 400, "relative paths not supported"),
    ("GET", "/v1/secret/data/a%01b", &[], "", 400, "the path contains non-printable characters"),
    ("GET", "/v1/secret/data/%ff", &[], "", 400, "the path is not valid UTF-8"),
    ("GET", "/v1/secret/data/a?x=%zz", &[], "", 400, "the query string is not valid UTF-8"),
    ("GET", "/v1/secret/data/a?list=maybe", &[], "", 400, "list=maybe is neither true nor false"),
    ("PUT", "/v1/secret/data/a/", &[], "{}", 400, "cannot write to a path ending in '/'"),
    (
        "PUT",
        "/v1/secret/data/a",
        &[],
        "{\"data\": ",
        400,
        "failed to parse JSON input: no JSON object (line 1, column 9)",
    ),
    (
        "PUT",
        "/v1/secret/data/a",
        &[],
        "[1]",
        400,
        "failed to parse JSON input: no JSON object (line 1, column 0)",
    ),
    (
        "PUT",
        "/v1/secret/data/a",
        &[("content-type", "application/x-www-form-urlencoded")],
        "a=%zz",
        400,
        "the form is not valid UTF-8",
    ),
    (
        "PATCH",
        "/v1/secret/data/a",
        &[],
        "{}",
        400,
        "PATCH requires Content-Type: application/merge-patch+json",
    ),
    (
        "PATCH",
        "/v1/secret/data/a",
        &[("content-type", "application/json")],
        "{}",
        415,
        "PATCH requires Content-Type: application/merge-patch+json, not application/json",
    ),
    (
        "GET",
        "/v1/secret/data/a",
        &[("x-vault-wrap-ttl", "-5s")],
        "",
        400,
        "error parsing X-Vault-Wrap-TTL header",
    ),
    ("GET", "/v1/secret/data/a", &[("x-vault-namespace", "team")], "", 404, "namespace not found"),
    (
        "GET",
        "/v1/secret/data/a",
        &[("x-holdfast-max-staleness", "soon")],
        "",
        400,
        "x-holdfast-max-staleness: \"soon\" is not a duration such as 5s",
    ),
    ("GET", "/v1/secret/data/a", &[("x-vault-token", "hvs.nonsense")], "", 403, "permission denied"),
    ("GET", "/v1/secret/data/a", &[("x-vault-token", "")], "", 403, "permission denied"),
    ("GET", "/v1/sys/health?standbycode=abc", &[], "", 400, "standbycode=abc is not a status code"),
    ("GET", "/v1/sys/health?standbyok=perhaps", &[], "", 400, "standbyok=perhaps is neither true nor false"),
    (
        "PUT",
        "/v1/sys/init",
        &[],
        "{\"secret_shares\":1,\"secret_threshold\":1}",
        400,
        "Vault is already initialized",
    ),
    ("PUT", "/v1/sys/init", &[], "{\"secret_shares\":256}", 400, "secret_shares must be at most 255"),
    ("PUT", "/v1/sys/init", &[], "{\"nonce\":7}", 400, "nonce must be a string"),
    (
        "PUT",
        "/v1/sys/init",
        &[],
        "{\"secret_shares\":\"many\"}",
        400,
        "failed to parse JSON input: a field has the wrong type",
    ),
    (
        "PUT",
        "/v1/sys/init",
        &[],
        "{\"secret_shares\":1,\"secret_threshold\":1,\"pgp_keys\":[\"k\"]}",
        400,
        "PGP keys are not supported: the shares would be returned in the clear",
    ),
    (
        "PUT",
        "/v1/sys/unseal",
        &[],
        "{}",
        400,
        "'key' must be specified in request body as JSON, or 'reset' set to true",
    ),
    ("PUT", "/v1/sys/unseal", &[], "{\"key\":\"!\"}", 400, "'key' must be a valid hex or base64 string"),
];

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_text() {
    let node = Node::ready().await;
    for (method, path, headers, body, status, text) in REFUSED {
        let got = node.send(method, path, headers, body).await;
        let name = format!("{method} {path} {headers:?} {body}");
        assert_eq!((got.status, &got.body), (*status, &json!({ "errors": [text] })), "{name}");
        assert_eq!(got.headers["cache-control"], "no-store", "{name}");
        assert_eq!(got.headers["content-type"], "application/json", "{name}");
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
async fn a_body_above_the_limit_is_refused() {
    let node = Node::ready().await;
    let body = json!({"data": {"a": "x".repeat(5000)}}).to_string();
    let got = node.send("PUT", "/v1/secret/data/a", &[], &body).await;
    assert_eq!(got.status, 413);
    assert_eq!(got.body, json!({"errors": ["http: request body too large: more than 4096 bytes"]}));
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
