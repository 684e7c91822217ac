//! Three servers in one process on storage in memory that a factory of this test opens: TLS from an issuer folder,
//! the static seal, real sockets on loopback.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[path = "../support/http.rs"]
mod http;
mod reads;

mod redirect;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast::api::client::{Call, Client, ClientConfig, Trust};
use holdfast::base::clock::{Clock, SystemClock};
use holdfast::base::random::SystemRandom;
use holdfast::base::secret::SecretString;
use holdfast::config::{self, Environment, Settings};
use holdfast::crypto::x509::{Authority, Validity};
use holdfast::vault::node::{BackendFactory, BackendTable, OpenError, OpenStorage, Server, Surroundings};
use holdfast::vault::physical::inmem::{InmemBackend, InmemRegister};
use serde_json::json;

use http::{Http, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the same storage and lock for every server of the test.
struct Shared(InmemBackend, InmemRegister);

#[async_trait]
impl BackendFactory for Shared {
    async fn open(&self, settings: &Settings, _around: &Surroundings) -> Result<OpenStorage, OpenError> {
        if let Some(unknown) = settings.keys().next() {
            let reason = format!("unknown key {unknown:?}");
            return Err(OpenError::Refused { kind: "shared".to_owned(), reason });
        }
        Ok(OpenStorage { backend: Arc::new(self.0.clone()), lock: Some(Arc::new(self.1.clone())) })
    }
}

/// A table with the type `shared`.
fn shared() -> BackendTable {
    BackendTable::default().with("shared", Arc::new(Shared(InmemBackend::new(), InmemRegister::new())))
}

/// Three servers on the storage `shared` with a static seal, whose key lies in `folder`, and these `stanzas`.
async fn three_servers(folder: &Path, stanzas: &str) -> Vec<Server> {
    let key = folder.join("unseal-key");
    std::fs::write(&key, [7u8; 32]).unwrap();
    let text = format!(
        r#"
        storage "shared" {{}}
        seal "static" {{ current_key_id = "k1" current_key = "file://{}" }}
        {stanzas}
        "#,
        key.display(),
    );
    let backends = shared();
    let mut servers = Vec::new();
    for number in 0..3 {
        let name = format!("vault-{number}");
        let environment = Environment::fixed([("POD_NAME", name.as_str()), ("POD_UID", name.as_str())]);
        let config = config::parse(&[("test.hcl", &text)], &environment).unwrap();
        servers.push(Server::start(&config, &environment, &backends).await.unwrap());
    }
    servers
}

fn issuer(folder: &Path) -> String {
    let validity = Validity::around(SystemClock.unix(), 3600, 86_400);
    let root = Authority::new_root("test CA", validity, &SystemRandom).unwrap();
    let permitted = ["localhost", "vault-0", "vault-1", "vault-2", "vault.test.svc"].map(str::to_owned);
    let issuer = root.issue_constrained("test issuer", &permitted, validity, &SystemRandom).unwrap();
    std::fs::write(folder.join("tls.crt"), issuer.chain_pem().unwrap()).unwrap();
    std::fs::write(folder.join("tls.key"), issuer.key_pem().unwrap().expose()).unwrap();
    root.chain_pem().unwrap()
}

struct Cluster {
    servers: Vec<Server>,
    ca: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = issuer(folder.path());
        let stanzas = format!(
            r#"
            listener "tcp" {{
              address = "127.0.0.1:0"
              tls_issuer_dir = "{}"
              tls_issuer_dns_names = ["vault.test.svc"]
            }}
            telemetry {{ probe_address = "127.0.0.1:0" }}
            "#,
            folder.path().display()
        );
        let servers = three_servers(folder.path(), &stanzas).await;
        Self { servers, ca, _folder: folder }
    }

    fn client(&self, node: usize, token: Option<&SecretString>) -> Client {
        self.named(node, "127.0.0.1", token)
    }

    /// A client that expects `name` in the certificate.
    fn named(&self, node: usize, name: &str, token: Option<&SecretString>) -> Client {
        let port = self.servers[node].api_addresses[0].port();
        let config = ClientConfig {
            trust: Trust::Pem(self.ca.clone().into_bytes()),
            token: token.cloned(),
            server_name: Some(name.to_owned()),
            ..ClientConfig::new(format!("https://127.0.0.1:{port}"))
        };
        Client::new(config).unwrap()
    }

    fn probe(&self, node: usize) -> String {
        format!("http://{}", self.servers[node].probe_address.unwrap())
    }

    /// Waits until every probe says ready.
    async fn until_ready(&self) {
        for node in 0..self.servers.len() {
            until("readiness", PATIENCE, || async {
                let (status, text) = plain(&format!("{}/readyz", self.probe(node))).await;
                if status == 200 { Ok(()) } else { Err(text) }
            })
            .await;
        }
    }
}

/// GET of a URL that is not below `/v1/`.
async fn plain(url: &str) -> (u16, String) {
    let (base, path) = url.rsplit_once('/').unwrap();
    let answer = Http::new(base).plain(path).await.unwrap();
    (answer.status, answer.body.as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_servers_make_one_vault() {
    let cluster = Cluster::start().await;
    let probe = cluster.probe(0);
    assert_eq!(plain(&format!("{probe}/livez")).await, (200, "ok\n".to_owned()));
    until("a server that has seen the empty storage", PATIENCE, || async {
        let answer = plain(&format!("{probe}/readyz")).await;
        if answer == (503, "the vault is not initialised\n".to_owned()) { Ok(()) } else { Err(answer.1) }
    })
    .await;

    // The static seal: initialised once, every server opens by itself.
    let made = cluster.client(1, None).init(&serde_json::from_value(json!({})).unwrap()).await.unwrap();
    assert!(made.keys.is_empty());
    cluster.until_ready().await;
    let token = Some(&made.root_token);

    // Names and addresses that the certificate is for, and one that it is not for.
    for name in ["localhost", "vault-2", "vault.test.svc", "127.0.0.1"] {
        cluster.named(2, name, None).health().await.unwrap();
    }
    let foreign = cluster.named(2, "bank.example", None).health().await.unwrap_err().to_string();
    assert!(foreign.contains("not valid for name"), "{foreign}");

    let mount = json!({"type": "kv", "options": {"version": "2"}});
    cluster.client(0, token).logical(Call::put("sys/mounts/secret", mount)).await.unwrap();
    for writer in 0..3 {
        let data = json!({"data": {"writer": writer}});
        cluster.client(writer, token).logical(Call::put("secret/data/a", data.clone())).await.unwrap();
        for reader in 0..3 {
            let read =
                cluster.client(reader, token).logical(Call::get("secret/data/a")).await.unwrap().unwrap();
            assert_eq!(read.data.unwrap()["data"], data["data"], "written at {writer}, read at {reader}");
        }
    }

    // Exactly one is active; stepping down moves it; sealing one server seals that one alone.
    let active = async || {
        let mut active = Vec::new();
        for node in 0..3 {
            if cluster.client(node, None).leader().await.unwrap().is_self {
                active.push(node);
            }
        }
        active
    };
    let before = active().await;
    assert_eq!(before.len(), 1, "{before:?}");
    cluster.client((before[0] + 1) % 3, token).step_down().await.unwrap();
    let after = until("another leader", PATIENCE, || async {
        let now = active().await;
        if now.len() == 1 && now != before { Ok(now[0]) } else { Err(format!("{now:?}")) }
    })
    .await;
    cluster.client(after, token).seal().await.unwrap();
    let client = cluster.client(after, None);
    until("a sealed server", PATIENCE, || async {
        let status = client.seal_status().await.unwrap();
        if status.sealed { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let other = cluster.client((after + 1) % 3, token);
    let read = other.logical(Call::get("secret/data/a")).await.unwrap().unwrap();
    assert_eq!(read.data.unwrap()["data"]["writer"], 2);
    let (_, metrics) = plain(&format!("{}/metrics", cluster.probe(after))).await;
    assert!(metrics.contains("\nholdfast_sealed 1\n"), "{metrics}");
}

/// Opens storage without a lock.
struct Alone;

#[async_trait]
impl BackendFactory for Alone {
    async fn open(&self, _: &Settings, _: &Surroundings) -> Result<OpenStorage, OpenError> {
        Ok(OpenStorage { backend: Arc::new(InmemBackend::new()), lock: None })
    }
}

#[tokio::test]
async fn what_a_person_reads_of_a_storage_or_lock_that_cannot_be_used() {
    let environment = Environment::fixed([]);
    let backends = shared().with("alone", Arc::new(Alone));
    let mut shown = String::new();
    for stanza in [
        r#"storage "tape" {}"#,
        r#"storage "shared" { colour = "red" }"#,
        r#"storage "shared" {} ha_storage "tape" {}"#,
        r#"storage "shared" {} ha_storage "alone" {}"#,
        r#"storage "shared" {} ha_storage "shared" { colour = "red" }"#,
    ] {
        let text = format!("{stanza} listener \"tcp\" {{ address = \"127.0.0.1:0\" tls_disable = true }}");
        let config = config::parse(&[("test.hcl", &text)], &environment).unwrap();
        let error = Server::start(&config, &environment, &backends).await.err().unwrap();
        shown.push_str(&format!("--- {stanza}\n{error}\n\n"));
    }
    insta::assert_snapshot!("unusable_storages", shown);
}
