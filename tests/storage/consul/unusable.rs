//! What a person reads when Consul cannot be used at all.

use std::collections::BTreeSet;

use holdfast::config::{ConsulStorage, Credential};
use holdfast::vault::physical::consul::open;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{RULES, config};
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
    let consul =
        Consul::single_with("limits { http_max_conns_per_client = 1000 txn_max_req_len = 100000 }\n").await;
    note("a lower limit", refusal(&config(&consul, None)).await);

    let mut other = config(&consul, None);
    other.addresses =
        vec![another_service("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await];
    note("another web server", refusal(&other).await);
    other.addresses = vec![another_service("220 mail.example ESMTP\r\n").await];
    note("no web server", refusal(&other).await);
    other.addresses = vec![format!("http://127.0.0.1:{}", crate::ports::free_port())];
    note("nobody there", refusal(&other).await);

    insta::assert_snapshot!("unusable", shown);
}
