//! One call and its answer, untyped and typed.

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, ClientError};
use crate::api::paths;
use crate::api::{
    Envelope, Errors, HaStatus, Health, InitRequest, InitResponse, InitStatus, Leader, MountInfo, SealStatus,
    UnsealRequest,
};
use crate::base::secret::SecretString;

/// One call of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path below `/v1/`, not percent-encoded.
    pub path: String,
    /// The query, not percent-encoded.
    pub query: Vec<(String, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// Whether it may be carried out twice; reads are so by themselves.
    pub repeatable: bool,
}

impl Call {
    /// A call without query and body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = matches!(method, Method::GET | Method::HEAD);
        Self { method, path: path.into(), query: Vec::new(), body: None, repeatable }
    }

    /// A read.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A write.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    /// Adds a member to the query.
    #[must_use]
    pub fn with_query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The method called.
    pub method: Method,
    /// The address that answered.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the status says success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a typed value.
    ///
    /// # Errors
    /// [`ClientError::NotUnderstood`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|e| ClientError::NotUnderstood {
            method: self.method.to_string(),
            url: self.url.clone(),
            reason: e.to_string(),
        })
    }

    /// The error that this answer stands for.
    pub fn refusal(&self) -> ClientError {
        let errors = serde_json::from_slice::<Errors>(&self.body).map(|body| body.errors).unwrap_or_default();
        ClientError::Refused {
            method: self.method.to_string(),
            url: self.url.clone(),
            status: self.status,
            errors,
        }
    }

    /// This answer if it is a success, else its error.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn success(self) -> Result<Self, ClientError> {
        if self.is_success() { Ok(self) } else { Err(self.refusal()) }
    }
}

impl Client {
    /// A call whose answer is the envelope; `None` if there is no body (204).
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn logical(&self, call: Call) -> Result<Option<Envelope>, ClientError> {
        let answer = self.send(call).await?.success()?;
        if answer.body.is_empty() { Ok(None) } else { answer.json().map(Some) }
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Call::get(path)).await?.success()?.json()
    }

    async fn submit<B: Serialize>(&self, path: &str, body: &B) -> Result<Answer, ClientError> {
        let body = serde_json::to_value(body)
            .map_err(|e| ClientError::Input { what: "the body", reason: e.to_string() })?;
        self.send(Call::put(path, body)).await?.success()
    }

    /// Whether the vault is initialised.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn init_status(&self) -> Result<InitStatus, ClientError> {
        self.fetch(paths::INIT).await
    }

    /// Initialises the vault. Never tried again by itself: the keys are shown once.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn init(&self, request: &InitRequest) -> Result<InitResponse, ClientError> {
        self.submit(paths::INIT, request).await?.json()
    }

    /// How this node is sealed.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn seal_status(&self) -> Result<SealStatus, ClientError> {
        self.fetch(paths::SEAL_STATUS).await
    }

    /// Enters a share.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn unseal(&self, key: SecretString) -> Result<SealStatus, ClientError> {
        let request = UnsealRequest { key: Some(key), ..UnsealRequest::default() };
        self.submit(paths::UNSEAL, &request).await?.json()
    }

    /// Forgets the shares entered so far.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn unseal_reset(&self) -> Result<SealStatus, ClientError> {
        let request = UnsealRequest { reset: true, ..UnsealRequest::default() };
        self.submit(paths::UNSEAL, &request).await?.json()
    }

    /// Seals this node.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn seal(&self) -> Result<(), ClientError> {
        self.send(Call::new(Method::PUT, paths::SEAL)).await?.success().map(drop)
    }

    /// Asks the active node to give up leadership.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn step_down(&self) -> Result<(), ClientError> {
        self.send(Call::new(Method::PUT, paths::STEP_DOWN)).await?.success().map(drop)
    }

    /// The node's health, with the status code that told it. Not tried again: the code is the answer.
    ///
    /// # Errors
    /// When there is no answer, or it is not one of `sys/health`.
    pub async fn health(&self) -> Result<(u16, Health), ClientError> {
        let answer = self.send_once(Call::get(paths::HEALTH)).await?;
        let health =
            answer.json::<Health>().map_err(|e| if answer.is_success() { e } else { answer.refusal() })?;
        Ok((answer.status, health))
    }

    /// Who leads.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn leader(&self) -> Result<Leader, ClientError> {
        self.fetch(paths::LEADER).await
    }

    /// The nodes of the cluster.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn ha_status(&self) -> Result<HaStatus, ClientError> {
        self.fetch(paths::HA_STATUS).await
    }

    /// The mount that `path` belongs to.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn mount_of(&self, path: &str) -> Result<MountInfo, ClientError> {
        let answer = self.send(Call::get(format!("{}/{path}", paths::UI_MOUNTS))).await?.success()?;
        let envelope: Envelope = answer.json()?;
        serde_json::from_value(envelope.data.unwrap_or_default()).map_err(|e| ClientError::NotUnderstood {
            method: answer.method.to_string(),
            url: answer.url,
            reason: e.to_string(),
        })
    }
}
