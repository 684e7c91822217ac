//! Storage and lock in Kubernetes, from their configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::backends::{OpenError, OpenStorage, Surroundings};
use crate::config::{KubernetesLock, KubernetesStorage};
use crate::k8s::client::{Clients, Source, connect};
use crate::vault::physical::HaBackend;
use crate::vault::physical::kubernetes::{KubernetesBackend, LeaseRegister, Settings};

const KIND: &str = "kubernetes";
/// Where a pod finds the namespace that it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

fn refused(reason: impl ToString) -> OpenError {
    OpenError::Refused { kind: KIND.to_owned(), reason: reason.to_string() }
}

/// Opens the storage with the Lease beside it.
pub(super) async fn storage(
    config: &KubernetesStorage,
    around: &Surroundings,
) -> Result<OpenStorage, OpenError> {
    let (clients, namespace) = reach(&config.lock).await?;
    let settings = Settings {
        budget_bytes_per_second: config.budget_bytes_per_second,
        budget_window_seconds: config.budget_window_seconds,
        data_limit_bytes: config.data_limit_bytes,
        ..Settings::new(namespace.clone(), config.lock.name.clone())
    };
    settings.check().map_err(refused)?;
    let lock = LeaseRegister::new(&clients, &namespace, &config.lock.name, Arc::clone(&around.clock));
    let backend =
        KubernetesBackend::start(&clients, settings, Arc::clone(&around.clock), Arc::clone(&around.random));
    Ok(OpenStorage { backend: Arc::new(backend), lock: Some(Arc::new(lock)) })
}

/// Opens the Lease alone.
pub(super) async fn lock(
    config: &KubernetesLock,
    around: &Surroundings,
) -> Result<Arc<dyn HaBackend>, OpenError> {
    let (clients, namespace) = reach(config).await?;
    Ok(Arc::new(LeaseRegister::new(&clients, &namespace, &config.name, Arc::clone(&around.clock))))
}

async fn reach(config: &KubernetesLock) -> Result<(Clients, String), OpenError> {
    let source = config.kubeconfig.clone().map_or(Source::InCluster, Source::Kubeconfig);
    let clients = connect(&source).await.map_err(refused)?;
    let namespace = match (&config.namespace, &source) {
        (Some(namespace), _) => namespace.clone(),
        (None, Source::Kubeconfig(_)) => clients.requests.default_namespace().to_owned(),
        (None, Source::InCluster) => {
            let path = PathBuf::from(NAMESPACE_FILE);
            let text = tokio::fs::read_to_string(&path).await.map_err(|error| {
                refused(format!("set namespace in storage \"kubernetes\", or POD_NAMESPACE: cannot read {NAMESPACE_FILE}: {error}"))
            })?;
            text.trim().to_owned()
        }
    };
    Ok((clients, namespace))
}
