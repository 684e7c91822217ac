//! The client against a server that answers from a list.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::{Auth, Envelope, InitResponse, UnsealRequest};
use crate::base::class::ErrorClass;
use crate::base::secret::SecretString;
use crate::base::task;

/// A server on loopback that gives the answers in order and notes what was asked.
struct Canned {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    _task: task::Guarded<()>,
}

impl Canned {
    async fn with(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = task::guard("canned", async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let text = request(&mut stream).await;
                noted.lock().unwrap().push(text);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, seen, _task: task }
    }

    fn client(&self) -> Client {
        let mut config = ClientConfig::new(&self.address);
        config.token = Some(SecretString::from("hvs.test"));
        config.timeout = Duration::from_secs(10);
        Client::new(config).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads a request with its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the request ended early: {text}");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn a_call_carries_token_path_and_query() {
    let server = Canned::with(vec![answer("200 OK", "", r#"{"data":{"keys":["a"]}}"#)]).await;
    let call = Call::get("secret/metadata/a b/ü").with_query("list", "true&x");
    let envelope = server.client().logical(call).await.unwrap().unwrap();
    assert_eq!(envelope.data, Some(json!({"keys": ["a"]})));
    let seen = server.seen().remove(0);
    assert!(seen.starts_with("GET /v1/secret/metadata/a%20b/%C3%BC?list=true%26x HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-vault-token: hvs.test\r\n"), "{seen}");
    assert!(seen.contains("x-vault-request: true\r\n"), "{seen}");
}

#[tokio::test]
async fn one_redirect_is_followed_and_the_second_is_not() {
    let target = Canned::with(vec![answer("204 No Content", "", "")]).await;
    let location = format!("location: {}/v1/sys/step-down\r\n", target.address);
    let server = Canned::with(vec![answer("307 Temporary Redirect", &location, "")]).await;
    server.client().step_down().await.unwrap();
    assert!(target.seen()[0].starts_with("PUT /v1/sys/step-down"), "{:?}", target.seen());
    assert!(target.seen()[0].contains("x-vault-token: hvs.test"));

    let again = Canned::with(vec![answer("307 Temporary Redirect", &location, "")]).await;
    let first = format!("location: {}/v1/x\r\n", again.address);
    let server = Canned::with(vec![answer("307 Temporary Redirect", &first, "")]).await;
    let answer = server.client().send(Call::get("x")).await.unwrap();
    assert_eq!(answer.status, 307);
}

#[tokio::test]
async fn a_redirect_that_is_none_is_refused() {
    let server = Canned::with(vec![answer("307 Temporary Redirect", "location: /v1/x\r\n", "")]).await;
    let error = server.client().send(Call::get("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Redirect { reason: "it is not an absolute URL", .. }), "{error}");
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_are_not() {
    let unavailable = answer("503 Service Unavailable", "", r#"{"errors":["Vault is sealed"]}"#);
    let server = Canned::with(vec![unavailable.clone(), answer("200 OK", "", "{}")]).await;
    assert_eq!(server.client().send(Call::get("x")).await.unwrap().status, 200);
    assert_eq!(server.seen().len(), 2);

    let server = Canned::with(vec![unavailable.clone(), answer("200 OK", "", "{}")]).await;
    let error = server.client().logical(Call::put("x", json!({"a": 1}))).await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
    assert!(server.seen()[0].ends_with(r#"{"a":1}"#));
    assert_eq!(error.status(), Some(503));
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert_eq!(
        error.to_string(),
        format!(
            "Error making API request.\n\nURL: PUT {}/v1/x\nCode: 503. Errors:\n\n* Vault is sealed",
            server.address
        )
    );

    let server = Canned::with(vec![unavailable.clone(), unavailable.clone(), unavailable]).await;
    assert_eq!(server.client().send(Call::get("x")).await.unwrap().status, 503);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_a_write_unknown() {
    let server = Canned::with(vec![String::new()]).await;
    let error = server.client().logical(Call::put("x", json!({}))).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { unsent: false, .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Unknown);
}

#[tokio::test]
async fn nobody_listening_is_known_to_be_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = ClientConfig::new(address);
    config.max_retries = 1;
    let error = Client::new(config).unwrap().send(Call::put("x", json!({}))).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Unreachable { unsent: true, reason, .. } if reason.contains("refused")),
        "{error:?}"
    );
    assert_eq!(error.class(), ErrorClass::Unavailable);
}

#[tokio::test]
async fn health_is_told_by_the_status() {
    let body = r#"{"initialized":true,"sealed":false,"standby":true,"server_time_utc":1,"version":"1"}"#;
    let server = Canned::with(vec![answer("429 Too Many Requests", "", body)]).await;
    let (status, health) = server.client().health().await.unwrap();
    assert_eq!((status, health.standby, health.initialized), (429, true, true));
}

#[test]
fn input_that_cannot_be_used_is_named() {
    let shown = |config: ClientConfig| Client::new(config).unwrap_err().to_string();
    let refused = shown(ClientConfig::new("127.0.0.1:8200"));
    assert!(refused.starts_with("the address cannot be used: \"127.0.0.1:8200\" is not a URL"), "{refused}");
    let token = ClientConfig { token: Some("a\nb".into()), ..ClientConfig::new("http://x") };
    assert_eq!(shown(token), "the token cannot be used: it has characters that a header cannot carry");
    let trust = ClientConfig { trust: Trust::Pem(b"nothing".to_vec()), ..ClientConfig::new("https://x") };
    assert_eq!(
        shown(trust),
        "CA certificates cannot be used: the given text: there is no PEM certificate in it"
    );
    let files =
        ClientConfig { trust: Trust::Files(vec!["/nowhere".into()]), ..ClientConfig::new("https://x") };
    assert!(shown(files).starts_with("CA certificates cannot be used: /nowhere: No such file"));
    let method = Call::new(Method::GET, "x");
    assert!(method.repeatable && !Call::put("x", json!({})).repeatable);
}

#[test]
fn secrets_travel_but_are_not_shown() {
    let response: InitResponse = serde_json::from_value(json!({
        "keys": ["abc"], "keys_base64": null, "root_token": "hvs.root"
    }))
    .unwrap();
    assert!(!format!("{response:?}").contains("abc") && !format!("{response:?}").contains("hvs.root"));
    assert_eq!(
        serde_json::to_value(&response).unwrap(),
        json!({"keys": ["abc"], "keys_base64": [], "root_token": "hvs.root"})
    );
    let request = UnsealRequest { key: Some("abc".into()), ..UnsealRequest::default() };
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"key": "abc", "reset": false, "migrate": false})
    );
}

#[test]
fn the_envelope_always_has_its_members() {
    let auth: Auth = serde_json::from_value(json!({"client_token": "t"})).unwrap();
    let value = serde_json::to_value(Envelope { auth: Some(auth), ..Envelope::default() }).unwrap();
    for member in
        ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"]
    {
        assert!(value.get(member).is_some(), "{member}");
    }
    assert_eq!(value["auth"]["client_token"], "t");
}
