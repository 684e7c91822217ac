//! What a person reads when Consul cannot be used at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::config::{ConsulStorage, Credential};
use holdfast::vault::physical::Backend;
use holdfast::vault::physical::consul::open;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{RULES, Writer, backend, common_cluster, config, put};
use crate::consul_server::{Consul, MANAGEMENT};

/// The text of the error, without what differs in every run.
async fn refusal(config: &ConsulStorage) -> String {
    let text = match open(config).await {
        Ok(_) => return "it was opened".to_owned(),
        Err(unusable) => unusable.to_string(),
    };
    let mut shown = text;
    for address in &config.addresses {
        let port = address.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
        shown = shown.replace(port, "PORT");
    }
    shown = shown.replace(&config.path, "vault/");
    match config.tls.ca_file.as_ref().and_then(|file| file.parent()) {
        Some(folder) => shown.replace(&folder.display().to_string(), "/folder"),
        None => shown,
    }
}

/// What an agent of 1.7 says of itself.
const OLD_AGENT: &str = concat!(
    "HTTP/1.1 200 OK\r\ncontent-length: 33\r\nconnection: close\r\n\r\n",
    r#"{"Config": {"Version": "1.7.14"}}"#
);

/// A server that answers every request with the same text.
async fn another_service(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if client.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                client.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_says_what_to_do() {
    let mut shown = String::new();
    let mut note = |what: &str, text: String| shown.push_str(&format!("--- {what}\n{text}\n\n"));

    let cluster = Consul::cluster().await;
    let token = cluster.token("node", RULES).await;
    let good = || config(&cluster, Some(&token));
    note("everything is right", refusal(&good()).await);
    let mut wrong = good();
    wrong.tls.ca_file = Some(cluster.file("stranger-ca.pem"));
    note("a server that nobody trusts", refusal(&wrong).await);
    let mut wrong = good();
    wrong.tls.server_name = Some("consul.example".to_owned());
    note("a server with another name", refusal(&wrong).await);
    let mut wrong = good();
    (wrong.tls.cert_file, wrong.tls.key_file) = (None, None);
    // The refusal comes after the handshake, and the request may be on its way: it must be seen every time.
    let texts: BTreeSet<_> =
        futures_util::future::join_all((0..30).map(|_| refusal(&wrong))).await.into_iter().collect();
    note("no certificate of this node", texts.into_iter().collect::<Vec<_>>().join("\n"));
    let mut wrong = good();
    wrong.tls.cert_file = Some(cluster.file("stranger.pem"));
    wrong.tls.key_file = Some(cluster.file("stranger.key"));
    note("a certificate that the server does not know", refusal(&wrong).await);
    let mut wrong = good();
    wrong.tls.ca_file = Some(cluster.file("no-such.pem"));
    note("no such file", refusal(&wrong).await);
    let mut wrong = good();
    wrong.tls.cert_file = Some(cluster.file("client.key"));
    note("a key where a certificate should be", refusal(&wrong).await);
    let mut wrong = good();
    wrong.token = Some(Credential::File(cluster.file("no-such-token")));
    note("no such token file", refusal(&wrong).await);
    let mut wrong = good();
    wrong.addresses =
        cluster.members.iter().map(|member| format!("http://127.0.0.1:{}", member.https)).collect();
    note("HTTP where HTTPS is spoken", refusal(&wrong).await);
    let mut wrong = good();
    wrong.addresses =
        cluster.members.iter().map(|member| format!("https://127.0.0.1:{}", member.http)).collect();
    note("HTTPS where HTTP is spoken", refusal(&wrong).await);
    let mut wrong = good();
    wrong.token = Some(Credential::Text("12345678-aaaa-bbbb-cccc-1234567890ab".into()));
    note("a token that nobody knows", refusal(&wrong).await);
    let mut wrong = good();
    wrong.token = None;
    note("no token", refusal(&wrong).await);
    let reader = cluster.token("reader", "key_prefix \"\" { policy = \"read\" }").await;
    let mut wrong = good();
    wrong.token = Some(Credential::Text(reader.as_str().into()));
    note("a token that may only read", refusal(&wrong).await);
    let mut fine = good();
    fine.token = Some(Credential::Text(MANAGEMENT.into()));
    note("a token that may do everything", refusal(&fine).await);

    let consul = Consul::development().await;
    note("development mode", refusal(&config(&consul, None)).await);
    let mut other = config(&consul, None);
    other.addresses =
        vec![another_service("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await];
    note("another web server", refusal(&other).await);
    other.addresses = vec![another_service("220 mail.example ESMTP\r\n").await];
    note("no web server", refusal(&other).await);
    other.addresses = vec![another_service(OLD_AGENT).await];
    note("an agent that is too old", refusal(&other).await);
    other.addresses = Vec::new();
    note("no address", refusal(&other).await);
    other.addresses = vec![format!("http://127.0.0.1:{}", crate::ports::free_port())];
    note("nobody there", refusal(&other).await);

    insta::assert_snapshot!("unusable", shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_names_that_cannot_be_used_are_named() {
    let (cluster, token) = common_cluster().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    };
    let good = config(cluster, Some(token));
    let with = |change: &dyn Fn(&mut ConsulStorage)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    let with_token = |name: &str, content: &[u8]| {
        let token = Some(Credential::File(file(name, content)));
        with(&|config| config.token = token.clone())
    };
    let cut_off = file("cut-off.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
    let hollow = file("hollow.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key = file("no.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let cases = [
        ("a CA that is cut off", with(&|config| config.tls.ca_file = Some(cut_off.clone()))),
        ("a CA that is none", with(&|config| config.tls.ca_file = Some(hollow.clone()))),
        ("no such key", with(&|config| config.tls.key_file = Some(cluster.file("no-such.key")))),
        (
            "a certificate where a key should be",
            with(&|config| config.tls.key_file = config.tls.cert_file.clone()),
        ),
        (
            "the key of another certificate",
            with(&|config| config.tls.key_file = Some(cluster.file("stranger.key"))),
        ),
        ("a certificate that is none", with(&|config| config.tls.cert_file = Some(hollow.clone()))),
        ("a key that is none", with(&|config| config.tls.key_file = Some(no_key.clone()))),
        ("a name that is none", with(&|config| config.tls.server_name = Some("consul server".to_owned()))),
        ("an empty token file", with_token("empty", b" \n")),
        ("a token file that is no text", with_token("binary", &[0xff, 0xfe])),
        ("a token file that is too large", with_token("large", &[b'x'; (64 << 10) + 1])),
        ("a token of two lines", with_token("lines", b"one\ntwo\n")),
    ];
    let mut shown = String::new();
    for (what, config) in cases {
        let text = refusal(&config).await.replace(&folder.path().display().to_string(), "/folder");
        shown.push_str(&format!("--- {what}\n{text}\n\n"));
    }
    insta::assert_snapshot!("unusable_files", shown);
}

/// Whoever may not read what the agent says of itself finds out by what it takes, before it has anything to lose.
#[tokio::test(flavor = "multi_thread")]
async fn lowered_limits_are_found_whatever_the_token_may_read() {
    let limits = |more: &str| format!("limits {{ http_max_conns_per_client = 1000 {more} }}\n");
    let mut shown = String::new();
    for (what, more) in [
        ("smaller transactions", "txn_max_req_len = 200000 kv_max_value_size = 100000"),
        ("smaller values", "kv_max_value_size = 100000"),
    ] {
        let consul = Consul::single_with_acl_and(&limits(more)).await;
        let token = consul.token("node", RULES).await;
        let (status, _) = consul.call(0, "GET", "agent/self", None, &[("x-consul-token", &token)]).await;
        assert_eq!(status, 403, "a node may not ask what the agent says of itself");
        let config = config(&consul, Some(&token));
        // The agent answers before it has read everything, and closes: it must be heard every time.
        let texts = futures_util::future::join_all((0..20).map(|_| refusal(&config))).await;
        let texts: BTreeSet<_> = texts.into_iter().collect();
        shown.push_str(&format!("--- {what}\n{}\n\n", texts.into_iter().collect::<Vec<_>>().join("\n")));
    }
    let consul = Consul::single_with(&limits("kv_max_value_size = 100000")).await;
    shown.push_str(&format!(
        "--- smaller values, without ACLs\n{}\n\n",
        refusal(&config(&consul, None)).await
    ));
    // The larger one of both limits is what a transaction may have.
    let consul = Consul::single_with(&limits("txn_max_req_len = 100000")).await;
    let config = config(&consul, None);
    shown.push_str(&format!("--- smaller transactions, but values as ever\n{}\n", refusal(&config).await));
    insta::assert_snapshot!("lowered_limits", shown);
    let mut writer = Writer::init(backend(&config).await).await;
    let bytes = writer.backend.limits().value_bytes;
    writer.write(&[put("a", vec![0; bytes])]).await;
}

/// A way to an agent on which the first `breaks` connections end that carry more than a small request.
async fn fragile_way(to: u16, breaks: usize) -> String {
    const SMALL: usize = 64 << 10;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let left = Arc::new(AtomicUsize::new(breaks));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                let Ok(agent) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_agent, mut to_agent) = agent.into_split();
                let requests = async {
                    let (mut buffer, mut carried) = ([0; 4096], 0);
                    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                        carried += length;
                        let takes = |left: usize| left.checked_sub(1);
                        let is_broken = carried > SMALL
                            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes).is_ok();
                        if is_broken || to_agent.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = requests => {}
                    _ = tokio::io::copy(&mut from_agent, &mut to_client) => {}
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_says_nothing_about_limits() {
    let consul = Consul::single_with("limits { kv_max_value_size = 100000 }\n").await;
    let mut config = config(&consul, None);
    for (breaks, begins) in
        [(2, "address: http://127.0.0.1:PORT does not take a commit"), (3, "it was opened")]
    {
        config.addresses = vec![fragile_way(consul.members[0].http, breaks).await];
        let text = refusal(&config).await;
        assert!(text.starts_with(begins), "after {breaks} breaks: {text}");
    }
}
