//! How calls travel: connections, redirects, time limits, second tries.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;

use super::{Answer, Call, ClientError, Trust};
use crate::api::paths;
use crate::base::backoff::Backoff;
use crate::base::random::SystemRandom;
use crate::base::secret::SecretString;

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Longest wait that a server can ask for between two tries.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Its URL, without a path.
    pub address: String,
    /// The token to send.
    pub token: Option<SecretString>,
    /// The namespace of every request.
    pub namespace: Option<String>,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// The name to expect in the certificate instead of the host of the address.
    pub server_name: Option<String>,
    /// Time for a call with all its tries.
    pub timeout: Duration,
    /// Tries after the first one.
    pub max_retries: u32,
}

impl ClientConfig {
    /// A client of `address` that trusts the system's CAs, with Vault's limits: 60 s, two retries.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            namespace: None,
            trust: Trust::System { file: None },
            server_name: None,
            timeout: Duration::from_secs(60),
            max_retries: 2,
        }
    }
}

/// A client of one server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Uri,
    headers: HeaderMap,
    timeout: Duration,
    max_retries: u32,
}

/// What came of one try.
enum Tried {
    Answered(Answer),
    /// Another address, once.
    Redirected(Uri),
    /// An answer or failure after which another try may help, and how long the server wants to be left alone.
    Again(Result<Answer, ClientError>, Option<Duration>),
    Failed(ClientError),
}

impl Client {
    /// A client; no connection is made yet.
    ///
    /// # Errors
    /// [`ClientError::Input`] and [`ClientError::Trust`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Input {
            what: "the address",
            reason: format!("{:?} {reason}", config.address),
        };
        let base: Uri = config.address.parse().map_err(|_| wrong("is not a URL"))?;
        if !matches!(base.scheme_str(), Some("http" | "https")) || base.authority().is_none() {
            return Err(wrong("is not a URL such as https://127.0.0.1:8200"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(token) = config.token.as_ref().filter(|token| !token.is_empty()) {
            let mut value = header("the token", token.expose())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-vault-token"), value);
        }
        if let Some(namespace) = &config.namespace {
            headers.insert(HeaderName::from_static("x-vault-namespace"), header("the namespace", namespace)?);
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(config.timeout.min(Duration::from_secs(10))));
        let builder =
            HttpsConnectorBuilder::new().with_tls_config(config.trust.client_config()?).https_or_http();
        let connector = match config.server_name {
            Some(name) => {
                let name = ServerName::try_from(name)
                    .map_err(|e| ClientError::Input { what: "the server name", reason: e.to_string() })?;
                builder
                    .with_server_name_resolver(FixedServerNameResolver::new(name))
                    .enable_http1()
                    .wrap_connector(http)
            }
            None => builder.enable_http1().wrap_connector(http),
        };
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, base, headers, timeout: config.timeout, max_retries: config.max_retries })
    }

    /// Sends a call, with second tries where they are safe, and returns the answer whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        self.limited(call, self.max_retries).await
    }

    /// Sends a call once.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_once(&self, call: Call) -> Result<Answer, ClientError> {
        self.limited(call, 0).await
    }

    /// Asks the address itself, not a path of the API below it, once.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn probe(&self) -> Result<Answer, ClientError> {
        self.limited_at(Call::get(""), self.base.clone(), 0).await
    }

    async fn limited(&self, call: Call, retries: u32) -> Result<Answer, ClientError> {
        let uri = self.uri(&call)?;
        self.limited_at(call, uri, retries).await
    }

    async fn limited_at(&self, call: Call, uri: Uri, retries: u32) -> Result<Answer, ClientError> {
        let timed_out = ClientError::TimedOut {
            method: call.method.to_string(),
            url: uri.to_string(),
            seconds: self.timeout.as_secs(),
        };
        tokio::time::timeout(self.timeout, self.tries(&call, uri, retries)).await.unwrap_or(Err(timed_out))
    }

    async fn tries(&self, call: &Call, mut uri: Uri, mut retries: u32) -> Result<Answer, ClientError> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(2));
        let mut redirected = false;
        loop {
            match self.once(call, &uri, redirected).await {
                Tried::Answered(answer) => return Ok(answer),
                Tried::Failed(error) => return Err(error),
                Tried::Redirected(target) => {
                    redirected = true;
                    uri = target;
                }
                Tried::Again(outcome, _) if retries == 0 => return outcome,
                Tried::Again(_, wait) => {
                    retries -= 1;
                    let delay = backoff.next_delay(&SystemRandom);
                    tokio::time::sleep(wait.unwrap_or(delay).max(delay).min(MAX_RETRY_AFTER)).await;
                }
            }
        }
    }

    async fn once(&self, call: &Call, uri: &Uri, redirected: bool) -> Tried {
        let request = match self.request(call, uri) {
            Ok(request) => request,
            Err(error) => return Tried::Failed(error),
        };
        let lost = |reason: String, unsent: bool| {
            let error = ClientError::Unreachable {
                method: call.method.to_string(),
                url: uri.to_string(),
                reason,
                unsent,
            };
            if unsent || call.repeatable { Tried::Again(Err(error), None) } else { Tried::Failed(error) }
        };
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) => return lost(chain(&error), error.is_connect()),
        };
        let (parts, body) = response.into_parts();
        if matches!(parts.status.as_u16(), 301 | 302 | 307 | 308) && !redirected {
            return redirect(uri, &parts.headers);
        }
        let body = match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return lost(error.to_string(), false),
        };
        let status = parts.status.as_u16();
        let answer = Answer { method: call.method.clone(), url: uri.to_string(), status, body };
        // 412: the state is not there yet. A 5xx to a write may hide that it was carried out; 501 is an answer.
        if status == 412 || (call.repeatable && status >= 500 && status != 501) {
            let seconds = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Tried::Again(Ok(answer), seconds.map(Duration::from_secs));
        }
        Tried::Answered(answer)
    }

    fn request(&self, call: &Call, uri: &Uri) -> Result<Request<Full<Bytes>>, ClientError> {
        let wrong = |reason: String| ClientError::Input { what: "the request", reason };
        let body = match &call.body {
            Some(value) => Bytes::from(serde_json::to_vec(value).map_err(|e| wrong(e.to_string()))?),
            None => Bytes::new(),
        };
        let request = Request::builder().method(call.method.clone()).uri(uri.clone()).body(Full::new(body));
        let mut request = request.map_err(|e| wrong(e.to_string()))?;
        *request.headers_mut() = self.headers.clone();
        if call.method == http::Method::PATCH {
            let merge = HeaderValue::from_static("application/merge-patch+json");
            request.headers_mut().insert(http::header::CONTENT_TYPE, merge);
        }
        Ok(request)
    }

    fn uri(&self, call: &Call) -> Result<Uri, ClientError> {
        let mut target = format!("{}{}", paths::PREFIX, encoded(call.path.trim_start_matches('/'), b"/"));
        for (index, (key, value)) in call.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(&format!("{}={}", encoded(key, b""), encoded(value, b"")));
        }
        let mut parts = self.base.clone().into_parts();
        let prefix = self.base.path().trim_end_matches('/');
        let wrong = |reason: String| ClientError::Input { what: "the path", reason };
        parts.path_and_query = Some(
            format!("{prefix}{target}").parse().map_err(|e: http::uri::InvalidUri| wrong(e.to_string()))?,
        );
        Uri::from_parts(parts).map_err(|e| wrong(e.to_string()))
    }
}

/// Where a redirect leads.
fn redirect(from: &Uri, headers: &HeaderMap) -> Tried {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |reason| {
        Tried::Failed(ClientError::Redirect { url: from.to_string(), location: location.to_owned(), reason })
    };
    let Ok(target) = location.parse::<Uri>() else { return refused("it is not a URL") };
    match (from.scheme_str(), target.scheme_str()) {
        (Some("https"), Some("http")) => refused("the token would travel in the clear"),
        (_, Some("http" | "https")) => Tried::Redirected(target),
        _ => refused("it is not an absolute URL"),
    }
}

fn header(what: &'static str, text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(text).map_err(|_| ClientError::Input {
        what,
        reason: "it has characters that a header cannot carry".to_owned(),
    })
}

/// Percent-encodes everything but unreserved characters and `kept`.
fn encoded(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// An error with its causes: the outermost alone says no more than "client error".
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
