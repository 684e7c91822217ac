//! A small HTTP client for tests: statuses, headers and JSON as they are, with connections kept open between calls.
//!
//! For use by several test programs, each of which needs a part of it: `#[path = "../support/http.rs"] mod http;`
#![allow(dead_code)]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` if the body is empty.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is the expected one.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} {:?}", self.body, self.headers);
        self.body
    }

    /// The first error text.
    pub fn error(&self) -> String {
        self.body["errors"][0].as_str().unwrap_or_default().to_owned()
    }
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// No connection could be made: nothing was sent.
    Connect(String),
    /// The connection broke, or the time was over.
    Broken(String),
}

/// A client of one server.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Its URL, without a final slash.
    pub url: String,
    /// Sent with every call.
    pub token: String,
    /// More headers of every call.
    pub headers: Vec<(&'static str, String)>,
    /// Longest time of a call.
    pub patience: Duration,
}

impl Http {
    pub fn new(url: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: url.trim_end_matches('/').to_owned(),
            token: String::new(),
            headers: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.to_owned()));
        Self { headers, ..self.clone() }
    }

    /// Calls `/v1/<path>`.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, NoAnswer> {
        let text = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, Bytes::from(text)).await
    }

    /// Calls `/v1/<path>` with any body.
    pub async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Answer, NoAnswer> {
        self.request(method, &format!("v1/{path}"), body).await
    }

    /// GET of a path that is not below `/v1/`.
    pub async fn plain(&self, path: &str) -> Result<Answer, NoAnswer> {
        self.request("GET", path, Bytes::new()).await
    }

    async fn request(&self, method: &str, path: &str, body: Bytes) -> Result<Answer, NoAnswer> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", self.url));
        if !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let call = async {
            let response = self.client.request(request).await.map_err(|error| {
                let text = format!("{error:?}");
                if error.is_connect() { NoAnswer::Connect(text) } else { NoAnswer::Broken(text) }
            })?;
            let (parts, body) = response.into_parts();
            let body =
                body.collect().await.map_err(|error| NoAnswer::Broken(format!("{error:?}")))?.to_bytes();
            let body = if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&body)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into()))
            };
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        tokio::time::timeout(self.patience, call)
            .await
            .unwrap_or_else(|_| Err(NoAnswer::Broken(format!("no answer in {:?}", self.patience))))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
            .await
            .unwrap_or_else(|error| panic!("GET {path} at {}: {error:?}", self.url))
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        let answer = self.call("PUT", path, Some(body)).await;
        answer.unwrap_or_else(|error| panic!("PUT {path} at {}: {error:?}", self.url))
    }
}

/// Asks again until `ready` gives something, at most `patience`; the last state is printed if it never does.
pub async fn until<T, F, Fut>(what: &str, patience: Duration, mut ready: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        match ready().await {
            Ok(value) => return value,
            Err(state) => {
                assert!(begun.elapsed() < patience, "{what} did not come about in {patience:?}: {state}")
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
