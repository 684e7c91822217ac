//! [`Client`]: requests to whichever agent answers, and what becomes of those that have no answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use tokio::sync::Semaphore;

use super::config::{Address, KIND, Settings};
use super::connection::{Agent, Answer, Fault, Unanswered};
use crate::base::secret::SecretString;
use crate::config::Credential;
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::unusable::Unusable;

/// Reads that are under way at a time; Consul takes 200 connections from one address by default.
const READS: usize = 48;
/// Shortest time that one agent is given while there are others.
const LEAST_TRY: Duration = Duration::from_millis(500);

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: String,
    pub(super) body: Bytes,
    /// How long the agent may take beyond the usual time: a blocking query.
    pub(super) patience: Duration,
}

impl Call {
    pub(super) fn get(target: String) -> Self {
        Self { method: Method::GET, target, body: Bytes::new(), patience: Duration::ZERO }
    }

    pub(super) fn put(target: &str, body: Bytes) -> Self {
        Self { method: Method::PUT, target: target.to_owned(), body, patience: Duration::ZERO }
    }
}

/// A client of one Consul cluster.
pub(super) struct Client {
    agents: Vec<Agent>,
    /// The agent that answered last.
    current: AtomicUsize,
    credential: Option<Credential>,
    /// The token as it was read last; `None`: read it again.
    token: Mutex<Option<SecretString>>,
    request_timeout: Duration,
    reads: Semaphore,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Self {
        let tls = Arc::new(settings.tls);
        let agent = |address: Address| Agent::new(address, Arc::clone(&tls));
        Self {
            agents: settings.addresses.into_iter().map(agent).collect(),
            current: AtomicUsize::new(0),
            credential: settings.token,
            token: Mutex::default(),
            request_timeout: settings.request_timeout,
            reads: Semaphore::new(READS),
        }
    }

    /// The agents, in the order of the configuration.
    pub(super) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// Sends a request that changes nothing, to one agent after another until one answers with anything but a failure
    /// of its own.
    pub(super) async fn read(&self, call: &Call) -> Result<Answer, StorageError> {
        // The semaphore is never closed: an error cannot happen.
        let _permit = self.reads.acquire().await;
        self.ask(call).await
    }

    /// [`Client::read`] without a place in the queue of reads: for what other nodes or the clock wait for.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, StorageError> {
        // However many agents hang, all tries together are one request.
        let limit = self.request_timeout + call.patience;
        let mut reason = format!("no answer within {} ms", limit.as_millis());
        let asked = tokio::time::timeout(limit, self.ask_each(call, &mut reason)).await;
        asked.unwrap_or_else(|_| Err(unavailable(reason)))
    }

    /// Asks one agent after another; `reason` is why the last one gave no answer.
    async fn ask_each(&self, call: &Call, reason: &mut String) -> Result<Answer, StorageError> {
        let tries = self.agents.len().max(2);
        let limit = self.share() + call.patience;
        for attempt in 0..tries {
            let at = self.current.load(Ordering::Relaxed);
            match self.send(at, call, limit).await {
                // An agent that has lost the leader says so with a 5xx; others may see it.
                Ok(answer) if answer.status >= 500 || answer.status == 429 => {
                    *reason = self.named(at, &answer.text());
                    if self.agents.len() <= attempt + 1 {
                        break;
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(Unanswered { fault: Fault::TooLarge, .. }) => {
                    return Err(unavailable(self.named(at, &Fault::TooLarge.reason())));
                }
                Err(failed) => *reason = self.named(at, &failed.fault.reason()),
            }
            self.turn_from(at);
        }
        Err(unavailable(std::mem::take(reason)))
    }

    /// Sends a request that changes something, once. Another agent is asked only if the one before certainly has not
    /// seen it.
    ///
    /// # Errors
    /// What happened: it may have been carried out.
    pub(super) async fn write(&self, call: &Call) -> Result<Answer, String> {
        let mut reason = String::new();
        for _ in 0..self.agents.len().max(2) {
            let at = self.current.load(Ordering::Relaxed);
            match self.send(at, call, self.share()).await {
                Ok(answer) => {
                    if answer.status >= 500 || answer.status == 429 {
                        self.turn_from(at);
                    }
                    return Ok(answer);
                }
                Err(failed) => {
                    self.turn_from(at);
                    reason = self.named(at, &failed.fault.reason());
                    if !failed.is_unsent {
                        return Err(reason);
                    }
                }
            }
        }
        Err(format!("nothing was sent: {reason}"))
    }

    /// How long one agent may take: where there are others, one that hangs must leave them time.
    fn share(&self) -> Duration {
        let agents = u32::try_from(self.agents.len().clamp(1, 3)).unwrap_or(1);
        (self.request_timeout / agents).max(LEAST_TRY).min(self.request_timeout)
    }

    /// Sends a request to one agent. When it refuses the token, the token is read again, and if it is another one the
    /// request is sent once more: what was refused for its token has not been carried out.
    pub(super) async fn send(&self, at: usize, call: &Call, limit: Duration) -> Result<Answer, Unanswered> {
        let unsent = |reason: String| Unanswered { fault: Fault::Away(reason), is_unsent: true };
        let agent = self.agents.get(at).ok_or_else(|| unsent("there is no address".to_owned()))?;
        let exchange = async {
            let before = self.known_token();
            let answer = self.exchange(agent, call).await?;
            if !is_denial(&answer) {
                return Ok(answer);
            }
            self.forget_token();
            match self.token().await {
                Ok(token) if Some(&token) != before.as_ref() && before.is_some() => {
                    self.exchange(agent, call).await
                }
                _ => Ok(answer),
            }
        };
        let late = || {
            let reason = format!("no answer within {} ms", limit.as_millis());
            // An agent that hangs hangs on every connection.
            agent.hang_up();
            Unanswered { fault: Fault::Away(reason), is_unsent: false }
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, agent: &Agent, call: &Call) -> Result<Answer, Unanswered> {
        loop {
            let (sender, is_old) = agent.connection().await?;
            if !is_old {
                // Whoever restarts an agent may have changed more than its certificate.
                self.forget_token();
            }
            let request = self.request(agent, call).await?;
            match agent.exchange(sender, request).await {
                Ok(answer) => return Ok(answer),
                // The other side closed an idle connection: a new one may do. Each turn uses up an idle one.
                Err((_, Some(_))) if is_old => {}
                Err((failed, _)) => return Err(failed),
            }
        }
    }

    async fn request(&self, agent: &Agent, call: &Call) -> Result<Request<Full<Bytes>>, Unanswered> {
        let unsent = |fault| Unanswered { fault, is_unsent: true };
        let away = |error: http::Error| unsent(Fault::Away(error.to_string()));
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.target.as_str())
            .header(HOST, agent.address.authority.as_str());
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let token = self.token().await.map_err(unsent)?;
        if !token.is_empty() {
            let value = HeaderValue::from_str(token.expose());
            let mut value = value.map_err(|_| unsent(unusable_token()))?;
            value.set_sensitive(true);
            request = request.header("x-consul-token", value);
        }
        request.body(Full::new(call.body.clone())).map_err(away)
    }

    /// The token; empty if there is none.
    async fn token(&self) -> Result<SecretString, Fault> {
        if let Some(token) = self.known_token() {
            return Ok(token);
        }
        let token = match &self.credential {
            None => SecretString::from(""),
            Some(credential) => credential.read().await.map_err(|error| {
                Fault::File(Unusable::File { key: "token", path: error.path, reason: error.reason })
            })?,
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    fn known_token(&self) -> Option<SecretString> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whatever is asked next is asked of another agent than `at`.
    fn turn_from(&self, at: usize) {
        let next = (at + 1) % self.agents.len().max(1);
        // Somebody else may have turned already: then that choice stands.
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn named(&self, at: usize, reason: &str) -> String {
        let url = self.agents.get(at).map_or("no address", |agent| agent.address.url.as_str());
        format!("{url}: {reason}")
    }
}

fn unusable_token() -> Fault {
    Fault::File(Unusable::Setting {
        key: "token",
        reason: "it has characters that a header cannot carry: give the token's SecretID alone".to_owned(),
    })
}

/// Whether an answer says that the token is not known or not enough.
pub(super) fn is_denial(answer: &Answer) -> bool {
    matches!(answer.status, 401 | 403)
        || answer.status == 409 && contains(&answer.body, b"ermission denied")
        || answer.status == 500 && contains(&answer.body, b"ACL not found")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(super) fn unavailable(reason: String) -> StorageError {
    StorageError::Unavailable { storage: KIND, reason }
}

pub(super) fn denied(reason: String) -> StorageError {
    StorageError::Denied { storage: KIND, reason }
}

pub(super) fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { storage: KIND, reason }
}

/// Percent-encodes everything but unreserved characters and slashes.
pub(super) fn encoded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
