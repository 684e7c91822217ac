//! The next step of a crash-safe initialisation. Pure.
//!
//! (a) A Secret with a nonce is created, (b) one pod is asked to initialise with that nonce, (c) the answer goes into
//! the Secret, (d) once the vault's identity is known it goes there too and the nonce is removed. The server gives the
//! same answer to the same nonce again, so death between any two steps loses nothing.

use std::net::IpAddr;

use super::build::{Context, keys};
use super::live;
use super::materials::is_answered;
use super::observe::{Observed, Pod};
use super::validate::Problem;
use crate::base::secret::SecretString;
use crate::crd::cluster::{StorageType, UnsealType};

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// All is done, or nobody can be asked yet.
    Nothing,
    /// Initialise through this pod.
    Ask {
        /// Its name.
        pod: String,
        /// Its address.
        ip: IpAddr,
        /// The nonce.
        nonce: SecretString,
    },
    /// Note the vault's identity and remove the nonce.
    Close {
        /// The identity.
        cluster_id: String,
    },
    /// The memory that the answer was for is gone: remove the Secret and begin again.
    Forget,
    /// It cannot go on without a person.
    Stop(Problem),
}

/// Decides the next step.
pub(crate) fn next(context: &Context<'_>, seen: &Observed) -> Step {
    if context.cluster.spec.unseal.kind != UnsealType::Static {
        return Step::Nothing;
    }
    let name = context.names.init();
    let Some(secret) = seen.secret(&name).filter(|secret| !live::is_terminating(secret)) else {
        return Step::Nothing;
    };
    let answering: Vec<&Pod> = seen.pods.iter().filter(|pod| pod.answer.is_ok()).collect();
    let says = |pod: &Pod| pod.node_status().is_some_and(|node| node.initialized);
    let is_initialised = answering.iter().any(|pod| says(pod));
    let nonce = live::secret(secret, keys::NONCE);
    let cluster_id = answering.iter().find_map(|pod| pod.node_status()?.cluster_id.clone());
    let noted = live::annotation(secret, keys::CLUSTER_ID);
    if !is_answered(context, seen) {
        let Some(nonce) = nonce else {
            let message = format!(
                "Secret {name} holds neither an answer of init nor a nonce: remove it if no vault depends on it"
            );
            return Step::Stop(Problem::new("StaleKeyMaterial", message));
        };
        // One pod by name, never through a Service, which could ask two of them.
        let asked = answering.iter().find(|pod| says(pod) == is_initialised);
        return asked.and_then(|pod| Some((pod, pod.ip?))).map_or(Step::Nothing, |(pod, ip)| Step::Ask {
            pod: pod.name.clone(),
            ip,
            nonce,
        });
    }
    match (noted, cluster_id) {
        (Some(noted), Some(found)) if noted != found => {
            let message = format!(
                "Secret {name} belongs to vault {noted}, and the storage holds vault {found}: the keys do not fit; move the Secret away, or restore the storage"
            );
            Step::Stop(Problem::new("StaleKeyMaterial", message))
        }
        (_, Some(cluster_id)) if noted.is_none() || nonce.is_some() => Step::Close { cluster_id },
        _ if !is_initialised && !answering.is_empty() => {
            if context.cluster.spec.storage.kind == StorageType::Memory {
                return Step::Forget;
            }
            let message = format!(
                "Secret {name} holds the keys of an initialised vault, and the storage holds none: restore the storage; for a new vault remove the Secrets {name} and {}",
                context.names.unseal_key()
            );
            Step::Stop(Problem::new("StaleKeyMaterial", message))
        }
        _ => Step::Nothing,
    }
}
