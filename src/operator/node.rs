//! Asking one pod: health, leader and readiness, over verified TLS.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client as Plain;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::api::client::{Call, Client, ClientConfig, ClientError, Trust};
use crate::api::{InitResponse, paths};
use crate::base::secret::SecretString;
use crate::k8s::words::{PORT_API, PORT_PROBE};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Init waits for an election and a commit.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const READINESS_BYTES: usize = 4096;

/// How the cluster's pods are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The CA as PEM; `None` if TLS is off.
    pub(crate) ca: Option<String>,
    /// The name to expect in certificates instead of the pod's address.
    pub(crate) server_name: Option<String>,
}

/// What a pod says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    pub(crate) initialized: bool,
    pub(crate) sealed: bool,
    pub(crate) version: String,
    pub(crate) cluster_id: Option<String>,
    /// Whether it says that it leads.
    pub(crate) is_leader: bool,
    /// The address of whom it takes for the leader; empty if it knows none.
    pub(crate) leader_address: String,
    /// Why it is not ready; `None` if it is.
    pub(crate) not_ready: Option<String>,
    /// How far its wall clock is ahead of the others, in milliseconds, if that is too far.
    pub(crate) clock_off_ms: Option<i64>,
}

impl Access {
    fn client(&self, ip: IpAddr, timeout: Duration) -> Result<Client, ClientError> {
        let mut config = ClientConfig::new(self.address(ip));
        config.timeout = timeout;
        config.max_retries = 0;
        config.server_name.clone_from(&self.server_name);
        if let Some(ca) = &self.ca {
            config.trust = Trust::Pem(ca.clone().into_bytes());
        }
        Client::new(config)
    }

    /// The address that a pod with this IP advertises.
    pub(crate) fn address(&self, ip: IpAddr) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", std::net::SocketAddr::new(ip, PORT_API))
    }

    /// Asks the pod.
    ///
    /// # Errors
    /// A sentence that says why there is no answer.
    pub(crate) async fn ask(&self, ip: IpAddr) -> Result<NodeStatus, String> {
        let client = self.client(ip, TIMEOUT).map_err(|error| sentence(&error))?;
        let (_, health) = client.health().await.map_err(|error| sentence(&error))?;
        // A sealed node may refuse to say who leads; that is no fault.
        let leader = client.leader().await.unwrap_or_default();
        let not_ready = match readiness(ip).await {
            Ok(reason) => reason,
            Err(reason) => Some(reason),
        };
        Ok(NodeStatus {
            clock_off_ms: health.is_clock_off().then_some(health.clock_skew_ms),
            initialized: health.initialized,
            sealed: health.sealed,
            version: health.version,
            cluster_id: health.cluster_id,
            is_leader: leader.is_self,
            leader_address: leader.leader_address,
            not_ready,
        })
    }

    /// Initialises the vault through the pod; the same nonce gets the same answer again.
    ///
    /// # Errors
    /// What the pod said, or why it did not answer.
    pub(crate) async fn init(&self, ip: IpAddr, nonce: &SecretString) -> Result<InitResponse, ClientError> {
        let client = self.client(ip, INIT_TIMEOUT)?;
        // All shares would lie in the same Secret: more than one would only look safer.
        let body = serde_json::json!({
            "recovery_shares": 1,
            "recovery_threshold": 1,
            "nonce": nonce.expose(),
        });
        client.send_once(Call::put(paths::INIT, body)).await?.success()?.json()
    }
}

/// The reason that the probe listener gives for not being ready; `None` if the pod is ready.
async fn readiness(ip: IpAddr) -> Result<Option<String>, String> {
    let client: Plain<HttpConnector, Empty<Bytes>> =
        Plain::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let uri = format!("http://{}/readyz", std::net::SocketAddr::new(ip, PORT_PROBE));
    let uri = uri.parse().map_err(|_| "no address".to_owned())?;
    let ask = async {
        let response = client.get(uri).await.map_err(|error| sentence(&error))?;
        let is_ready = response.status().is_success();
        let body = Limited::new(response.into_body(), READINESS_BYTES).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
        Ok((!is_ready).then(|| text.unwrap_or_default()))
    };
    tokio::time::timeout(TIMEOUT, ask)
        .await
        .unwrap_or_else(|_| Err("its probe listener is silent".to_owned()))
}

/// An error with its causes in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        cause = error.source();
    }
    out.truncate(out.char_indices().nth(300).map_or(out.len(), |(at, _)| at));
    out
}

/// What a storage has to say through the reasons that nodes give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorageWord {
    /// It went back in time.
    RolledBack(String),
    /// A part of it is missing or wrong.
    Damaged(String),
    /// It does not answer.
    Away(String),
}

/// Reads the reason of a node that is not ready.
pub(crate) fn storage_word(reason: &str) -> Option<StorageWord> {
    let lower = reason.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["storagerolledback", "rolled back", "rolled-back", "went back"]) {
        Some(StorageWord::RolledBack(reason.to_owned()))
    } else if has(&["storagedamaged", "damaged"]) {
        Some(StorageWord::Damaged(reason.to_owned()))
    } else if has(&["storage"]) {
        Some(StorageWord::Away(reason.to_owned()))
    } else {
        None
    }
}

/// Whether a body of `sys/init` says that the vault was initialised by somebody else.
pub(crate) fn is_initialised_by_others(error: &ClientError) -> bool {
    error.status() == Some(400) && error.to_string().to_ascii_lowercase().contains("already initialized")
}
