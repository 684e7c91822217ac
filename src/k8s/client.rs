//! Connections to the API server for what must answer quickly or not at all: the lock and the storage.
//!
//! The client's own retries are off (a repeated write could meet its own first success), and every wait is
//! bounded. Watches have a connection of their own, so that a long answer never delays a renewal.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use thiserror::Error;
use tower::timeout::TimeoutLayer;

use crate::base::class::ErrorClass;

/// How long connecting, and waiting for an answer, may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection for watches may be silent. The API server ends every watch before that (290 s, as it is asked):
/// who is silent for longer has gone without a word.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(295);

/// Where the API server and the credentials for it are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The service account of the pod that this program runs in.
    InCluster,
    /// A kubeconfig file.
    Kubeconfig(PathBuf),
}

/// Two clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For requests: an answer begins within two seconds, or the request fails.
    pub requests: Client,
    /// For watches and large objects, on connections of its own: answers may take [`WATCH_TIMEOUT`], and whoever waits for
    /// less sets a limit.
    pub watches: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients(..)")
    }
}

/// Why no client could be made. Nothing was sent yet.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is no service account: this is not a pod, or its token is not mounted.
    #[error("cannot find the cluster this program runs in: {0}")]
    InCluster(String),
    /// The kubeconfig cannot be read.
    #[error("cannot use kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificates or addresses in the configuration cannot be used.
    #[error("cannot make a client of the API server: {0}")]
    Client(String),
}

impl ConnectError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// Reads credentials and makes the clients; connects nowhere yet.
///
/// # Errors
/// When the credentials cannot be found or used.
pub async fn connect(source: &Source) -> Result<Clients, ConnectError> {
    Ok(connect_named(source).await?.0)
}

/// [`connect`], and the URL of the API server.
///
/// # Errors
/// When the credentials cannot be found or used.
pub async fn connect_named(source: &Source) -> Result<(Clients, String), ConnectError> {
    let mut config = match source {
        Source::InCluster => {
            Config::incluster().map_err(|error| ConnectError::InCluster(error.to_string()))?
        }
        Source::Kubeconfig(path) => {
            // What is wrong with YAML is followed by a picture of the place, which may be the one with the token.
            let fail = |error: KubeconfigError| ConnectError::Kubeconfig {
                path: path.clone(),
                reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
            };
            let file = Kubeconfig::read_from(path).map_err(fail)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(fail)?
        }
    };
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    config.default_retry = false;
    config.connect_timeout = Some(TIMEOUT);
    config.write_timeout = Some(TIMEOUT);
    // The connection's own read timeout also runs while it is idle in the pool, and then fails the request that takes it
    // up at that moment: a renewal every two seconds would meet it all the time. So requests are timed instead.
    config.read_timeout = None;
    let fail = |error: kube::Error| ConnectError::Client(error.to_string());
    let mut patient = config.clone();
    patient.read_timeout = Some(WATCH_TIMEOUT);
    let watches = ClientBuilder::try_from(patient).map_err(fail)?.build();
    let requests = ClientBuilder::try_from(config).map_err(fail)?;
    let requests = requests.with_layer(&TimeoutLayer::new(TIMEOUT)).build();
    Ok((Clients { requests, watches }, url))
}
