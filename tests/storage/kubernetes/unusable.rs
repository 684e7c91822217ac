//! What a person reads when the API server cannot be used at all, and what is no reason to say so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast::base::clock::SystemClock;
use holdfast::base::random::SystemRandom;
use holdfast::config::{KubernetesLock, KubernetesStorage};
use holdfast::crd::VaultStoreHead;
use holdfast::k8s::client::{Source, connect};
use holdfast::vault::physical::kubernetes::{Settings, open, open_lock};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::CustomResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{self, kubeconfig};
use super::world::{World, common_server, until};
use crate::apiserver::ApiServer;
use crate::pki::Pki;

/// What the operator lets a pod do: nothing more may be needed.
fn rules() -> Value {
    json!([
        {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoreheads"], "resourceNames": ["vault"],
         "verbs": ["get", "update", "watch"]},
        {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoresegments"],
         "verbs": ["get", "list", "create", "delete"]},
        lease_rule(&["get", "update", "watch"]),
    ])
}

fn lease_rule(verbs: &[&str]) -> Value {
    json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["vault"], "verbs": verbs})
}

/// One way to reach an API server.
struct Case {
    what: &'static str,
    /// Holds the kubeconfig.
    folder: TempDir,
    config: KubernetesLock,
    /// Texts that differ in every run, and what is shown instead.
    masks: Vec<(String, &'static str)>,
}

impl Case {
    /// The kubeconfig of `server` after `change`, for a store in `namespace`.
    fn new(what: &'static str, server: &ApiServer, namespace: &str, change: impl FnOnce(&mut Value)) -> Self {
        let (folder, path) = kubeconfig(server, change);
        let (_, port) = server.url.rsplit_once(':').expect("a port");
        let masks = vec![
            (folder.path().display().to_string(), "/folder"),
            (port.to_owned(), "PORT"),
            (namespace.to_owned(), "NAMESPACE"),
        ];
        let config = KubernetesLock {
            namespace: Some(namespace.to_owned()),
            name: "vault".to_owned(),
            kubeconfig: Some(path),
        };
        Self { what, folder, config, masks }
    }

    /// [`Case::new`] with another address.
    fn at(what: &'static str, server: &ApiServer, url: &str) -> Self {
        let mut case = Self::new(what, server, "default", |config| {
            config["clusters"][0]["cluster"] = json!({"server": url});
        });
        let (_, port) = url.rsplit_once(':').expect("a port");
        case.masks.push((port.to_owned(), "PORT"));
        case
    }

    fn masked(&self, text: String) -> String {
        self.masks.iter().fold(text, |text, (from, to)| text.replace(from, to))
    }

    async fn storage(&self) -> String {
        let config = KubernetesStorage::at(self.config.clone());
        let opened = open(&config, Arc::new(SystemClock), Arc::new(SystemRandom)).await;
        let text = opened.err().map(|unusable| unusable.to_string());
        self.masked(text.unwrap_or_else(|| "it was opened".to_owned()))
    }

    async fn lock(&self) -> String {
        let opened = open_lock(&self.config, Arc::new(SystemClock)).await;
        let text = opened.err().map(|unusable| unusable.to_string());
        self.masked(text.unwrap_or_else(|| "it was opened".to_owned()))
    }
}

/// As a golden file shows it.
async fn shown(storages: Vec<Case>, locks: Vec<Case>) -> String {
    let storages = storages.iter().map(async |case| (case.what, case.storage().await));
    let locks = locks.iter().map(async |case| (case.what, case.lock().await));
    let (storages, locks) =
        tokio::join!(futures_util::future::join_all(storages), futures_util::future::join_all(locks));
    storages.into_iter().chain(locks).map(|(what, text)| format!("--- {what}\n{text}\n\n")).collect()
}

fn user(config: &mut Value, user: Value) {
    config["users"][0]["user"] = user;
}

fn cluster(config: &mut Value, key: &str, value: Value) {
    config["clusters"][0]["cluster"][key] = value;
}

fn act_as(config: &mut Value, name: &str) {
    config["users"][0]["user"]["as"] = name.into();
}

fn data(path: &Path) -> Value {
    STANDARD.encode(std::fs::read(path).expect("a file")).into()
}

/// Gives `rules` to a user called `name` in the namespace of `world`.
async fn grant(world: &World, name: &str, rules: Value) {
    let role: Role =
        serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules})).expect("a role");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}],
    }))
    .expect("a binding");
    let namespace = &world.settings.namespace;
    let roles: Api<Role> = Api::namespaced(world.client.clone(), namespace);
    roles.create(&PostParams::default(), &role).await.expect("a role");
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), namespace);
    bindings.create(&PostParams::default(), &binding).await.expect("a binding");
}

/// A server that answers every request with what `answer` makes of its path.
async fn another_service(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if let Ok(length @ 1..) = client.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                client.write_all(answer(path).as_bytes()).await.ok();
            }
        }
    });
    format!("http://{address}")
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_says_what_to_do() {
    let server = common_server().await;
    let world = World::on(server).await;
    let namespace = world.settings.namespace.as_str();
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(&folder.path().join("stranger"));
    grant(
        &world,
        "some",
        json!([
            {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoreheads"], "resourceNames": ["vault"],
             "verbs": ["get", "watch"]},
            {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoresegments"], "verbs": ["get", "list"]},
            lease_rule(&["get", "update"]),
        ]),
    )
    .await;
    grant(&world, "pod", rules()).await;
    grant(&world, "reader", json!([lease_rule(&["get", "watch"])])).await;
    grant(&world, "elector", json!([lease_rule(&["get", "update"])])).await;
    let case = |what, change: &dyn Fn(&mut Value)| Case::new(what, server, namespace, change);
    let storages = vec![
        case("everything is right", &|_| {}),
        case("the rights that the operator gives to a pod", &|config| act_as(config, "pod")),
        case("a server that nobody trusts", &|config| {
            cluster(config, "certificate-authority-data", data(&pki.ca));
        }),
        case("a server with another name", &|config| {
            cluster(config, "tls-server-name", "api.example".into());
        }),
        case("a token that nobody knows", &|config| user(config, json!({"token": "nonsense"}))),
        case("a certificate that the server does not know", &|config| {
            let key = data(&pki.client.key);
            user(config, json!({"client-certificate-data": data(&pki.client.cert), "client-key-data": key}));
        }),
        case("nothing that says who this is", &|config| user(config, json!({}))),
        case("no rights", &|config| act_as(config, "nobody")),
        case("some of the rights", &|config| act_as(config, "some")),
        Case::new("no such namespace", server, "nowhere", |_| {}),
        case("HTTP where HTTPS is spoken", &|config| {
            cluster(config, "server", server.url.replace("https:", "http:").into());
        }),
    ];
    let locks = vec![
        case("the lock: the rights that the operator gives to a pod", &|config| act_as(config, "elector")),
        case("the lock: some of the rights", &|config| act_as(config, "reader")),
        case("the lock: a token that nobody knows", &|config| user(config, json!({"token": "nonsense"}))),
        Case::new("the lock: no such namespace", server, "nowhere", |_| {}),
    ];
    insta::assert_snapshot!("unusable", shown(storages, locks).await);

    // Looking changes nothing.
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), namespace);
    assert!(leases.list(&ListParams::default()).await.expect("a listing").items.is_empty());
    assert!(world.heads().list(&ListParams::default()).await.expect("a listing").items.is_empty());
    assert_eq!(world.segment_names().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_not_prepared_is_told() {
    // Without the storage's kinds.
    let server = ApiServer::start().unwrap_or_else(|fault| panic!("{fault}"));
    let bare = vec![Case::new("no kinds", &server, "default", |_| {})];
    let locks = vec![Case::new("the lock alone needs no kinds", &server, "default", |_| {})];
    let mut text = shown(bare, locks).await;
    let client = server::clients(&server).await.requests;
    server::define(&server, &[VaultStoreHead::crd()]).await;
    let heads: Api<VaultStoreHead> = Api::namespaced(client.clone(), "default");
    until("the kind is served", async || heads.list(&ListParams::default()).await.is_ok()).await;
    text += &shown(vec![Case::new("one of two kinds", &server, "default", |_| {})], vec![]).await;
    // Some clusters let nobody ask for the own rights: then the reads must tell.
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    bindings.delete("system:basic-user", &DeleteParams::default()).await.expect("a deletion");
    let denied = |what| Case::new(what, &server, "default", |config| act_as(config, "nobody"));
    text += &shown(
        vec![denied("no rights, not even to ask for them")],
        vec![denied("the lock: no rights, not even to ask for them")],
    )
    .await;
    insta::assert_snapshot!("unprepared", text);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_told_and_one_that_is_away_is_waited_for() {
    let server = common_server().await;
    let version = |text: &str| {
        let answer = http("200 OK", &format!("{{\"major\": \"1\", \"gitVersion\": \"{text}\"}}"));
        move |_: &str| answer.clone()
    };
    let urls = [
        ("another web server", another_service(|_| http("200 OK", "<html>\nhello\n</html>")).await),
        ("another web server without such a page", another_service(|_| http("404 Not Found", "no")).await),
        ("no web server", another_service(|_| "220 mail.example ESMTP\r\n".to_owned()).await),
        ("an API server that is too old", another_service(version("v1.13.12")).await),
        ("a gateway whose server is away", another_service(|_| http("502 Bad Gateway", "away")).await),
        ("nobody there", format!("https://127.0.0.1:{}", crate::ports::free_port())),
    ];
    let mut cases: Vec<_> = urls.iter().map(|(what, url)| Case::at(what, server, url)).collect();
    let plain = another_service(|_| http("400 Bad Request", "HTTP is spoken here")).await;
    let tls = plain.replace("http:", "https:");
    cases.push(Case::at("HTTPS where HTTP is spoken", server, &tls));
    // It has not read the roles yet, and says so.
    let starting = another_service(|path| match path {
        "/version" => http("200 OK", "{\"gitVersion\": \"v1.36.0\"}"),
        "/readyz" => http("500 Internal Server Error", "[-]poststarthook/rbac/bootstrap-roles failed"),
        _ => http("403 Forbidden", "not yet"),
    });
    cases.push(Case::at("an API server that has just started", server, &starting.await));
    insta::assert_snapshot!("another_service", shown(cases, vec![]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_a_moment_later_is_enough() {
    let world = World::new().await;
    let namespace = world.settings.namespace.as_str();
    let case = Case::new("late", common_server().await, namespace, |config| act_as(config, "late"));
    let begun = Instant::now();
    let granting = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        grant(&world, "late", rules()).await;
    };
    let (text, ()) = tokio::join!(case.storage(), granting);
    assert_eq!(text, "it was opened");
    assert!(begun.elapsed() > Duration::from_millis(600), "it cannot have seen the rights before");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_about_the_way_to_the_server_says_what_to_do() {
    let server = common_server().await;
    let mut shown = String::new();
    let mut note = |what: &str, text: String| shown.push_str(&format!("--- {what}\n{text}\n\n"));
    let case = |change: &dyn Fn(&mut Value)| Case::new("", server, "default", change);

    let mut wrong = case(&|_| {});
    wrong.config.kubeconfig = None;
    note("no kubeconfig, and no pod", wrong.storage().await);
    note("the same, for the lock", wrong.lock().await);
    wrong.config.kubeconfig = Some(wrong.folder.path().join("no-such"));
    note("no such kubeconfig", wrong.storage().await);
    let wrong = case(&|_| {});
    let text = "apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: hunter2}";
    std::fs::write(wrong.folder.path().join("kubeconfig"), text).expect("a file");
    note("no YAML, which is not repeated, since there is a token in it", wrong.storage().await);
    let wrong = case(&|config| config["current-context"] = "other".into());
    note("no such context", wrong.storage().await);
    let wrong = case(&|config| config["clusters"][0]["cluster"] = json!({}));
    note("no server", wrong.storage().await);
    let wrong = case(&|config| cluster(config, "server", "not a URL".into()));
    note("no URL", wrong.storage().await);
    let wrong = case(&|config| {
        let server = server.url.clone();
        config["clusters"][0]["cluster"] =
            json!({"server": server, "certificate-authority": "/nowhere/ca.crt"});
    });
    note("no such CA file", wrong.storage().await);
    let wrong = case(&|config| cluster(config, "certificate-authority-data", STANDARD.encode("text").into()));
    note("a CA that is none", wrong.storage().await);
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let wrong = case(&|config| cluster(config, "certificate-authority-data", STANDARD.encode(pem).into()));
    note("a CA that cannot be read", wrong.storage().await);
    let wrong = case(&|config| user(config, json!({"tokenFile": "/nowhere/token"})));
    note("no such token file", wrong.storage().await);
    let wrong = case(&|config| {
        user(config, json!({"client-certificate": "/nowhere/tls.crt", "client-key": "/nowhere/tls.key"}));
    });
    note("no such certificate", wrong.storage().await);
    let mut wrong = case(&|config| config["contexts"][0]["context"]["namespace"] = "Not_A_Name".into());
    wrong.config.namespace = None;
    note("a namespace that cannot be one", wrong.storage().await);
    note("the same, for the lock", wrong.lock().await);

    for source in [Source::InCluster, Source::Kubeconfig(PathBuf::from("/nowhere/kubeconfig"))] {
        let error = connect(&source).await.expect_err("no such place");
        note(&format!("as the operator says it: {source:?}"), error.to_string());
    }
    let settings = Settings::new("ns", "vault");
    let zeros = [
        Settings { budget_bytes_per_second: 0, ..settings.clone() },
        Settings { budget_window_seconds: 0, ..settings.clone() },
        Settings { data_limit_bytes: 0, ..settings.clone() },
        Settings { poll_millis: 0, ..settings },
    ];
    for settings in zeros {
        note("a program that embeds the storage", settings.check().expect_err("zero").to_string());
    }
    insta::assert_snapshot!("way", shown);
}

/// Watching is a wish: without it, changes are seen a second later.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_makes_it_better_is_not_demanded() {
    let world = World::new().await;
    let rules = json!([
        {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoreheads"], "resourceNames": ["vault"],
         "verbs": ["get", "update"]},
        {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoresegments"],
         "verbs": ["get", "list", "create", "delete"]},
        lease_rule(&["get", "update"]),
    ]);
    grant(&world, "blind", rules).await;
    let namespace = world.settings.namespace.as_str();
    let case = Case::new("", common_server().await, namespace, |config| act_as(config, "blind"));
    assert_eq!(case.storage().await, "it was opened");
}
