//! Each error that the HTTP face can produce, with input that produces it, its status and its text.

use std::path::Path;

use futures_util::stream;

use super::*;
use crate::base::secret::SecretBytes;
use crate::crypto::x509::{Authority, Validity};
use crate::vault::http::index::Index;
use crate::vault::http::tls::{CertificateSource, ListenerCertificate, TlsSettings};
use crate::vault::logical::testing::untried;
use crate::vault::physical::{BatchId, Commit, Head, Op};

/// What no client and no person who starts a server reads.
const SILENT: &[(&str, &str)] = &[
    ("holdfast cluster", "the name in a certificate"),
    ("holdfast node", "the name in a certificate"),
    ("holdfast server", "the name in a certificate"),
    ("Requests answered", "the help of a metric"),
    ("Time from headers to answer", "the help of a metric"),
    ("Requests being served now", "the help of a metric"),
    ("Requests sent on to the active node", "the help of a metric"),
    ("Requests that waited for a leader", "the help of a metric"),
    ("the cluster's authority is missing", "for the log; the caller reads `internal error`"),
    ("this node cannot speak with its peers: {error}", "for the log; the caller reads `internal error`"),
    ("an idle connection was closed by the peer", "between nodes: it is a sign for the election"),
    ("{speaker} answered in the place of {}", "between nodes: it is a sign for the election"),
    ("the peer answered with status {}", "between nodes: it is a sign for the election"),
    ("not a status code", "every code was looked at before"),
    (
        "this node became active and did not take the request",
        "it takes two changes of roles within the last instant of patience",
    ),
    ("the vault is sealed", "said as `Vault is sealed`"),
    ("this node is not the active one", "a step-down answers first; for the log"),
    ("high availability is disabled: there is no other node to step down for", "for the log"),
    ("the handover did not succeed: {0}", "for the log"),
    ("the storage is initialised already", "init goes through the kernel"),
    ("initialisation may or may not have been carried out: {0}", "init goes through the kernel"),
    ("the storage contradicts itself", "init goes through the kernel"),
    ("this node hands over", "the request is held"),
    ("this node has ended", "for the log"),
    ("it took too long", "for the log"),
];

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
    (
        "GET",
        "/v1/secret/data/a",
        &[("x-vault-forward", "anybody")],
        "",
        400,
        "X-Vault-Forward: \"anybody\" is not \"active-node\"",
    ),
    (
        "GET",
        "/v1/secret/data/a",
        &[("x-vault-index", "soon")],
        "",
        400,
        "X-Vault-Index: it is not what an answer carried",
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

/// Sends what is wrong with a request alone.
async fn requests(texts: &mut Vec<String>) {
    let node = Node::ready().await;
    for (method, path, headers, body, status, text) in REFUSED {
        let got = node.send(method, path, headers, body).await;
        let name = format!("{method} {path} {headers:?} {body}");
        assert_eq!((got.status, &got.body), (*status, &json!({ "errors": [text] })), "{name}");
        assert_eq!(got.headers["cache-control"], "no-store", "{name}");
        assert_eq!(got.headers["content-type"], "application/json", "{name}");
        texts.push((*text).to_owned());
    }
    let large = json!({"data": {"a": "x".repeat(5000)}}).to_string();
    let broken = Body::from_stream(stream::iter([Ok("{"), Err(std::io::Error::other("reset"))]));
    let endless = Body::from_stream(stream::pending::<std::io::Result<String>>());
    let short = RequestLimits { read: Duration::from_millis(50), ..RequestLimits::default() };
    let slow = client_routes(Arc::clone(&node.api), short);
    for (routes, body, status, text) in [
        (&node.routes, Body::from(large), 413, "http: request body too large: more than 4096 bytes"),
        (&node.routes, broken, 400, "the request's body ended early"),
        (&slow, endless, 408, "the request's body did not arrive within 0 s"),
    ] {
        let got = node.send_to(routes, "PUT", "/v1/secret/data/a", &[], body).await;
        assert_eq!((got.status, got.body), (status, json!({ "errors": [text] })));
        texts.push(text.to_owned());
    }
    let limits = RequestLimits { no_generate_root: true, no_rekey: true, ..RequestLimits::default() };
    let closed = client_routes(Arc::clone(&node.api), limits);
    for path in ["sys/generate-root/attempt", "sys/%72ekey/init", "sys/rekey-recovery-key/init"] {
        let got = node.send_to(&closed, "GET", &format!("/v1/{path}"), &[], Body::empty()).await;
        let text = "this listener does not take key shares for that: its disable_unauthed_*_endpoints is set";
        assert_eq!((got.status, got.body), (403, json!({ "errors": [text] })), "{path}");
        texts.push(text.to_owned());
    }
    assert_eq!(node.get("/v1/sys/rekey/init").await.body["required"], json!(1));
    let full = node.api.bodies.fill().await;
    let open = client_routes(Arc::clone(&node.api), RequestLimits::default());
    let large = Body::from(vec![b' '; 100 << 10]);
    let got = node.send_to(&open, "PUT", "/v1/secret/data/a", &[], large).await;
    let text = "too many large requests are under way on this node: try again";
    assert_eq!((got.status, got.body), (503, json!({ "errors": [text] })));
    assert_eq!(got.headers["retry-after"], "1");
    texts.push(text.to_owned());
    drop(full);
    // Records that were altered in the storage.
    assert_eq!(node.send("PUT", "/v1/secret/data/a", &[], "{\"data\": {}}").await.status, 200);
    let head = node.backend.check().await.unwrap().unwrap();
    let keys = node.backend.list("logical/", None, 100).await.unwrap().keys;
    let ops: Vec<Op> = keys.into_iter().map(|key| Op::Put { key, value: "x".into() }).collect();
    let next = Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() };
    assert_eq!(node.backend.commit(Some(&head), &next, &ops).await, Commit::Committed);
    let got = node.get("/v1/secret/data/a").await;
    assert_eq!((got.status, got.body), (500, json!({"errors": ["internal error"]})));
    texts.push("internal error".to_owned());
}

/// States of the node in which it serves nothing.
async fn states(texts: &mut Vec<String>) {
    let node = Node::new();
    let got = until(&node, 503, "the vault is not initialised").await;
    assert_eq!(got.headers["retry-after"], "1");
    texts.push("the vault is not initialised".to_owned());
    let node = Node::ready().await;
    let older = node.backend.snapshot();
    assert_eq!(node.send("PUT", "/v1/secret/data/a", &[], "{\"data\": {}}").await.status, 200);
    node.backend.restore(older);
    let text =
        "the storage went back in time and this node serves nothing any more: its head stood at epoch ";
    let got = until(&node, 503, text).await;
    texts.push(got.body["errors"][0].as_str().unwrap_or_default().to_owned());
    let node = Node::ready().await;
    node.send("PUT", "/v1/secret/data/a", &[], "{\"data\": {}}").await;
    let mut head = node.backend.check().await.unwrap().unwrap();
    head.seq += 1;
    let later = Index::of(&head).to_string();
    let got = node.send("GET", "/v1/secret/data/a", &[("x-vault-index", &later)], "").await;
    let text = "required index state not present: this client has seen a later state than the storage holds";
    assert_eq!((got.status, got.body), (412, json!({ "errors": [text] })));
    texts.push(text.to_owned());
    assert_eq!(node.send("PUT", "/v1/sys/seal", &[], "").await.status, 204);
    until(&node, 503, "Vault is sealed").await;
    texts.push("Vault is sealed".to_owned());
}

/// Waits until a read is answered with this status and a text that begins so.
async fn until(node: &Node, status: u16, text: &str) -> Got {
    let begun = SystemClock.now();
    loop {
        let got = node.get("/v1/secret/data/a").await;
        if got.status == status && got.body["errors"][0].as_str().is_some_and(|said| said.starts_with(text)) {
            return got;
        }
        let waited = SystemClock.now().since(begun);
        assert!(waited < Duration::from_secs(30), "{text}: {} {}", got.status, got.body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Certificates that a listener refuses to start with.
async fn certificates(texts: &mut Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let now = SystemClock.unix();
    let authority = |name| Authority::new_root(name, Validity::around(now, 60, 3600), &SystemRandom).unwrap();
    let (one, other) = (authority("one"), authority("other"));
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    write("tls.crt", &one.chain_pem().unwrap());
    write("tls.key", "nonsense");
    write("other.key", other.key_pem().unwrap().expose());
    write("nonsense", "nonsense");
    let files = |cert: &str, key: &str| CertificateSource::Files { cert: at(cert), key: at(key) };
    let issuer = |dir: &Path| CertificateSource::Issuer {
        dir: dir.to_owned(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
    };
    for (source, text) in [
        (files("none", "tls.key"), format!("cannot read {}: ", at("none").display())),
        (files("tls.crt", "nonsense"), format!("{}: the private key", at("nonsense").display())),
        (files("nonsense", "other.key"), format!("{}: ", at("nonsense").display())),
        (files("tls.crt", "other.key"), "TLS cannot be set up: ".to_owned()),
        (
            issuer(folder.path()),
            format!("the issuer in {} cannot issue a certificate: ", folder.path().display()),
        ),
    ] {
        let settings = TlsSettings { source, only_tls13: false, client_ca: None, require_client_cert: false };
        let error = ListenerCertificate::prepare(settings, now, &SystemRandom).await.err();
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(said.starts_with(&text) && said.len() > text.len(), "{text}: {said}");
        texts.push(said);
    }
    let nonsense = SecretBytes::new(b"nonsense".to_vec());
    let said = ClusterTls::default().install(&nonsense, now, &SystemRandom).unwrap_err().to_string();
    assert_eq!(said, "TLS cannot be set up: the cluster's authority is not readable");
    texts.push(said);
}

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let mut texts = Vec::new();
    requests(&mut texts).await;
    states(&mut texts).await;
    certificates(&mut texts).await;
    peers::refusals(&mut texts).await;
    lines::refusals(&mut texts).await;
    assert_eq!(untried(&["vault/http", "vault/ha/handle.rs"], &texts, SILENT), [""; 0]);
}
