//! A plain Vault client: one connection at a time, so that a test sees each failure as a person's client would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio_rustls::TlsConnector;

/// Where to connect and which name the certificate must carry.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub server_name: String,
}

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallError {
    Connect(String),
    Lost(String),
    Timeout,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

pub struct Client {
    tls: TlsConnector,
    pub target: Target,
    token: String,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
    pub headers: Vec<(&'static str, String)>,
}

/// A TLS set-up that trusts `ca_pem` alone.
pub fn trust(ca_pem: &str) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|e| format!("{e:?}"))?).map_err(|e| e.to_string())?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Client {
    pub fn new(tls: &TlsConnector, target: Target, token: &str) -> Self {
        Self {
            tls: tls.clone(),
            target,
            token: token.to_owned(),
            timeout: Duration::from_secs(10),
            connection: None,
            headers: Vec::new(),
        }
    }

    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        let tcp = tokio::net::TcpStream::connect(self.target.address).await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).ok();
        let name = ServerName::try_from(self.target.server_name.clone()).map_err(|e| e.to_string())?;
        let tls = self.tls.connect(name, tcp).await.map_err(|e| e.to_string())?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            connection.await.ok();
        });
        Ok(sender)
    }

    /// Sends one request. A kept connection that the server closed before anything was sent is replaced once, as
    /// every HTTP client does.
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let timeout = self.timeout;
        let result = tokio::time::timeout(timeout, self.attempt(method, path, body)).await;
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connection = None;
                Err(error)
            }
            Err(_) => {
                self.connection = None;
                Err(CallError::Timeout)
            }
        }
    }

    async fn attempt(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        let mut kept = self.connection.take();
        if let Some(sender) = &mut kept
            && (sender.is_closed() || sender.ready().await.is_err())
        {
            kept = None;
        }
        let was_kept = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await.map_err(CallError::Connect)?,
        };
        let response = match sender.send_request(self.request(method, path, body)).await {
            Ok(response) => response,
            // The request was never written: the connection had been closed under it.
            Err(error) if was_kept && error.is_canceled() => {
                sender = self.connect().await.map_err(CallError::Connect)?;
                sender
                    .send_request(self.request(method, path, body))
                    .await
                    .map_err(|e| CallError::Lost(describe(&e)))?
            }
            Err(error) => return Err(CallError::Lost(describe(&error))),
        };
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|e| CallError::Lost(describe(&e)))?.to_bytes();
        self.connection = Some(sender);
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> http::Request<Full<Bytes>> {
        let bytes = body.map_or_else(Bytes::new, |b| Bytes::from(b.to_string()));
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("host", &self.target.server_name)
            .header("x-vault-request", "true");
        if !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(bytes)).expect("a valid request")
    }
}

fn describe(error: &hyper::Error) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Decodes a value of a Secret's `data`.
pub fn decode(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("not a string")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}
