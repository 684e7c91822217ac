//! What people read when etcd cannot be used, and what is no reason to give up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast::config::{Credential, EtcdStorage};
use holdfast::vault::physical::etcd::open;
use holdfast::vault::physical::{Backend, Unusable};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::proxy::Proxy;
use super::world::{Writer, cluster, new_path, opened, put, settings, single, started, until};
use crate::etcd_server::{Etcd, Plan};

async fn refusal(settings: &EtcdStorage) -> Unusable {
    match open(settings).await {
        Ok((backend, _)) => panic!("it was opened: {settings:?}; {:?}", backend.check().await),
        Err(unusable) => unusable,
    }
}

/// The text with what differs in every run left out.
fn mask(text: &str, folder: &std::path::Path) -> String {
    let text = text.replace(&folder.display().to_string(), "FOLDER");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let behind = at + "127.0.0.1:".len();
        out.push_str(&rest[..behind]);
        out.push_str("PORT");
        rest = rest[behind..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_to_give_up_says_what_to_do() {
    let (plain, secure) = (single().await, cluster().await);
    let pki = secure.pki.clone().expect("keys");
    let foreign = pki.foreign();
    let here = |text: &str| secure.folder().join(text);
    let base = settings(secure, "/vault/start/", 0);
    let one = |change: &dyn Fn(&mut EtcdStorage)| {
        let mut settings = base.clone();
        settings.addresses.truncate(1);
        change(&mut settings);
        settings
    };
    let talkative = foreign_service(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let (version, _) =
        plain.ctl(&["version"]).split_once("API").map(|(v, _)| (v.to_owned(), ())).expect("a version");
    assert!(version.contains("3.4.23"), "the lie below knows one version only: {version}");
    let liar = Proxy::to(plain.port(0), Some((b"3.4.23", b"3.3.27"))).await;
    std::fs::write(here("empty"), "").expect("a file");
    let cases: Vec<(&str, EtcdStorage)> = vec![
        ("no CA", one(&|s| s.tls.ca_file = None)),
        ("another CA", one(&|s| s.tls.ca_file = Some(foreign.ca.clone()))),
        ("another name", one(&|s| s.tls.server_name = Some("etcd.example.com".to_owned()))),
        ("no certificate", one(&|s| (s.tls.cert_file, s.tls.key_file) = (None, None))),
        (
            "a foreign certificate",
            one(&|s| {
                s.tls.cert_file = Some(foreign.client.cert.clone());
                s.tls.key_file = Some(foreign.client.key.clone());
            }),
        ),
        ("a missing CA file", one(&|s| s.tls.ca_file = Some(here("nothing.pem")))),
        ("an empty certificate file", one(&|s| s.tls.cert_file = Some(here("empty")))),
        ("a wrong password", one(&|s| s.password = Some(Credential::Text("wrong".into())))),
        (
            "a missing password file",
            one(&|s| s.password = Some(Credential::File(PathBuf::from("/nowhere/pw")))),
        ),
        ("an unknown user", one(&|s| s.username = Some(Credential::Text("nobody".into())))),
        ("a certificate that names no user", one(&|s| (s.username, s.password) = (None, None))),
        ("no rights", one(&|s| s.path = "/elsewhere/".to_owned())),
        ("something else", one(&|s| s.addresses = vec![format!("http://127.0.0.1:{talkative}")])),
        (
            "too old",
            one(&|s| {
                s.addresses = vec![format!("http://127.0.0.1:{}", liar.port)];
                (s.username, s.password) = (None, None);
            }),
        ),
        ("no URL", one(&|s| s.addresses = vec!["etcd-0:2379".to_owned()])),
        ("no address", one(&|s| s.addresses = Vec::new())),
    ];
    let mut shown = String::new();
    for (what, settings) in cases {
        let text = refusal(&settings).await.to_string();
        assert!(!text.contains("s3cret") && !text.contains("wrong\""), "{text}");
        shown.push_str(&format!("--- {what}\n{}\n\n", mask(&text, secure.folder())));
    }
    insta::assert_snapshot!("etcd_unusable", shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_names_that_cannot_be_used_are_named() {
    let servers = cluster().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    };
    let base = settings(servers, "/vault/start/", 0);
    let one = |change: &dyn Fn(&mut EtcdStorage)| {
        let mut settings = base.clone();
        change(&mut settings);
        settings
    };
    let password = |name: &str, content: &[u8]| {
        let password = Some(Credential::File(file(name, content)));
        one(&|s| s.password = password.clone())
    };
    let pki = servers.pki.clone().expect("keys");
    let cut_off = file("cut-off.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
    let hollow = file("hollow.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key = file("no.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let cases = [
        ("a CA that is cut off", one(&|s| s.tls.ca_file = Some(cut_off.clone()))),
        ("a CA that is none", one(&|s| s.tls.ca_file = Some(hollow.clone()))),
        ("a missing key file", one(&|s| s.tls.key_file = Some(folder.path().join("nothing.key")))),
        ("a certificate where a key should be", one(&|s| s.tls.key_file = s.tls.cert_file.clone())),
        ("the key of another certificate", one(&|s| s.tls.key_file = Some(pki.client.key.clone()))),
        ("a certificate that is none", one(&|s| s.tls.cert_file = Some(hollow.clone()))),
        ("a key that is none", one(&|s| s.tls.key_file = Some(no_key.clone()))),
        ("a name that is none", one(&|s| s.tls.server_name = Some("etcd server".to_owned()))),
        ("an empty password file", password("empty", b" \n")),
        ("a password file that is no text", password("binary", &[0xff, 0xfe])),
        ("a password file that is too large", password("large", &[b'x'; (64 << 10) + 1])),
    ];
    let mut shown = String::new();
    for (what, settings) in cases {
        let text = refusal(&settings).await.to_string();
        let text = mask(&mask(&text, folder.path()), servers.folder());
        shown.push_str(&format!("--- {what}\n{text}\n\n"));
    }
    insta::assert_snapshot!("etcd_unusable_files", shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_answers_is_told_from_etcd() {
    let servers = started(|| Etcd::start(Plan { has_users: true, ..Plan::default() })).await;
    let nobody = settings(&servers, "/vault/start/", 0);
    let at = |url: String| EtcdStorage { addresses: vec![url], ..nobody.clone() };
    let talkative = foreign_service(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let web = foreign_http2(404, None).await;
    let other = foreign_http2(200, Some(("12", "unknown service etcdserverpb.Maintenance"))).await;
    let cases = [
        ("no login where one is needed", nobody.clone()),
        ("no TLS where TLS is expected", at(format!("https://127.0.0.1:{talkative}"))),
        ("a web server", at(format!("http://127.0.0.1:{web}"))),
        ("another server of gRPC", at(format!("http://127.0.0.1:{other}"))),
    ];
    let mut shown = String::new();
    for (what, settings) in cases {
        let text = mask(&refusal(&settings).await.to_string(), servers.folder());
        shown.push_str(&format!("--- {what}\n{text}\n\n"));
    }
    insta::assert_snapshot!("etcd_unusable_others", shown);
}

/// A server of HTTP/2 that answers every request with the same status, and the same status of gRPC if there is one.
async fn foreign_http2(status: u16, grpc: Option<(&'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = move |_: http::Request<hyper::body::Incoming>| async move {
        let mut answer = http::Response::builder().status(status);
        if let Some((code, message)) = grpc {
            let headers =
                [("content-type", "application/grpc"), ("grpc-status", code), ("grpc-message", message)];
            answer = headers.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value));
        }
        answer.body(http_body_util::Empty::<bytes::Bytes>::new())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

/// A server that answers everything with the same bytes.
async fn foreign_service(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_may_want_the_other_protocol() {
    let mut plain = settings(single().await, &new_path(), 0);
    let mut secure = settings(cluster().await, &new_path(), 0);
    secure.addresses.truncate(1);
    for (settings, from, to, hint) in [
        (&mut plain, "http://", "https://", "(does it speak TLS?)"),
        (&mut secure, "https://", "http://", "(does it want TLS?)"),
    ] {
        settings.addresses[0] = settings.addresses[0].replace(from, to);
        settings.request_timeout = Duration::from_secs(1);
        let error = opened(settings).await.0.check().await.expect_err("another protocol").to_string();
        assert!(error.contains(hint), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_named_by_its_certificate_alone_is_let_in() {
    let servers = cluster().await;
    let pki = servers.pki.clone().expect("keys");
    let mut settings = settings(servers, &new_path(), 1);
    (settings.username, settings.password) = (None, None);
    settings.tls.cert_file = Some(pki.client.cert.clone());
    settings.tls.key_file = Some(pki.client.key.clone());
    settings.tls.server_name = Some("server.dc1.consul".to_owned());
    let mut writer = Writer::init(opened(&settings).await.0).await;
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_where_nobody_asks_for_one_does_no_harm() {
    let mut settings = settings(single().await, &new_path(), 0);
    settings.username = Some(Credential::Text("holdfast".into()));
    settings.password = Some(Credential::Text("whatever".into()));
    let mut writer = Writer::init(opened(&settings).await.0).await;
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_address_among_good_ones_does_no_harm() {
    let servers = cluster().await;
    let mut settings = settings(servers, &new_path(), 0);
    settings.addresses.insert(0, format!("https://127.0.0.1:{}", crate::ports::free_port()));
    settings.addresses.insert(1, format!("https://127.0.0.1:{}", single().await.port(0)));
    settings.addresses.insert(2, "https://no-such-name.invalid:2379".to_owned());
    let mut writer = Writer::init(opened(&settings).await.0).await;
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_waited_for() {
    let mut servers = started(|| Etcd::start(Plan::default())).await;
    let settings = settings(&servers, &new_path(), 0);
    servers.kill(0);
    let begun = Instant::now();
    let (backend, _) = opened(&settings).await;
    assert!(begun.elapsed() < Duration::from_secs(7), "it took {:?}", begun.elapsed());
    let error = backend.check().await.expect_err("nobody is there").to_string();
    assert!(error.contains("127.0.0.1") && error.contains("unavailable"), "{error}");
    servers.restart(0);
    until("etcd is there", async || backend.check().await == Ok(None)).await;
    Writer::init(backend).await.write(&[put("a", "1")]).await;
    // A server that accepts connections and says nothing.
    servers.freeze(0);
    let begun = Instant::now();
    let (backend, _) = opened(&settings).await;
    assert!(begun.elapsed() < Duration::from_secs(7), "it took {:?}", begun.elapsed());
    servers.thaw(0);
    until("etcd goes on", async || backend.check().await.is_ok()).await;
}
