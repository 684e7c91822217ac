//! Opens storage and lock: one bounded first contact that tells what waiting cannot mend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::backend::KubernetesBackend;
use super::config::Settings;
use super::contact::{Contact, Scope, Trouble};
use super::register::LeaseRegister;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::config::{KubernetesLock, KubernetesStorage};
use crate::k8s::client::{ConnectError, Source, connect_named};
use crate::vault::physical::unusable::Unusable;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// How often the API server is asked again when it refuses, and after which time: what was granted or installed a moment
/// ago takes it a moment to know.
const AGAIN: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Opens the storage with the Lease beside it. Must be called on a Tokio runtime.
///
/// The objects need not exist. An API server that is away is only logged: it is tried again whenever it is needed.
///
/// # Errors
/// What only a person can change: kubeconfig, certificates, credentials, rights, kinds that are not installed.
pub async fn open(
    config: &KubernetesStorage,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<(KubernetesBackend, LeaseRegister), Unusable> {
    let contact = reach(&config.lock).await?;
    let settings = Settings {
        budget_bytes_per_second: config.budget_bytes_per_second,
        budget_window_seconds: config.budget_window_seconds,
        data_limit_bytes: config.data_limit_bytes,
        ..Settings::new(contact.namespace.clone(), contact.name.clone())
    };
    settings.check()?;
    first(&contact, Scope::Storage).await?;
    let lock = lease(&contact, Arc::clone(&clock));
    Ok((KubernetesBackend::start(&contact.clients, settings, clock, random), lock))
}

/// Opens the Lease alone, as [`open`] does.
///
/// # Errors
/// See [`open`].
pub async fn open_lock(config: &KubernetesLock, clock: Arc<dyn Clock>) -> Result<LeaseRegister, Unusable> {
    let contact = reach(config).await?;
    Settings::new(contact.namespace.clone(), contact.name.clone()).check()?;
    first(&contact, Scope::Lock).await?;
    Ok(lease(&contact, clock))
}

fn lease(contact: &Contact, clock: Arc<dyn Clock>) -> LeaseRegister {
    LeaseRegister::new(&contact.clients, &contact.namespace, &contact.name, clock)
}

/// Clients as the configuration says; nothing is sent yet.
async fn reach(config: &KubernetesLock) -> Result<Contact, Unusable> {
    let source = config.kubeconfig.clone().map_or(Source::InCluster, Source::Kubeconfig);
    let (clients, address) = match connect_named(&source).await {
        Ok(connected) => connected,
        Err(error) => return Err(unreachable(source, error)),
    };
    // Else that of the service account, or of the kubeconfig's context.
    let usual = || clients.requests.default_namespace().trim().to_owned();
    let namespace = config.namespace.clone().unwrap_or_else(usual);
    Ok(Contact { clients, address, source, namespace, name: config.name.clone() })
}

fn unreachable(source: Source, error: ConnectError) -> Unusable {
    let file = |path: PathBuf, reason| Unusable::File {
        key: "kubeconfig",
        path: path.display().to_string(),
        reason,
    };
    match (source, error) {
        (_, ConnectError::Kubeconfig { path, reason }) => file(path, reason),
        (Source::Kubeconfig(path), error) => file(path, error.to_string()),
        (Source::InCluster, error) => {
            let change = "name a kubeconfig, or, in a pod, have the token of its service account mounted";
            Unusable::Setting { key: "kubeconfig", reason: format!("{error}; {change}") }
        }
    }
}

/// Looks at the API server, again if it refuses.
async fn first(contact: &Contact, scope: Scope) -> Result<(), Unusable> {
    let mut doubt = None;
    let away = match timeout(FIRST_CONTACT, insist(contact, scope, &mut doubt)).await {
        Ok(Ok(())) => None,
        Ok(Err(Trouble::Unusable(unusable) | Trouble::Doubtful(unusable))) => return Err(unusable),
        Ok(Err(Trouble::Away(reason))) => Some(reason),
        Err(_) => match doubt {
            Some(unusable) => return Err(unusable),
            None => Some(format!("no answer within {} s", FIRST_CONTACT.as_secs())),
        },
    };
    if let Some(reason) = away {
        let address = &contact.address;
        tracing::warn!(address, reason, "the API server cannot be used yet; this server keeps trying");
    }
    Ok(())
}

/// `doubt` is what the API server said last, in case that there is no time to ask again.
async fn insist(contact: &Contact, scope: Scope, doubt: &mut Option<Unusable>) -> Result<(), Trouble> {
    let mut again = 0..AGAIN;
    loop {
        match contact.look(scope).await {
            Err(Trouble::Doubtful(unusable)) if again.next().is_some() => *doubt = Some(unusable),
            other => return other,
        }
        sleep(PAUSE).await;
    }
}
