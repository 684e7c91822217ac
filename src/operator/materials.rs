//! Keys and certificates: what is to be made, once, and what is missing that cannot be made again. Pure.

use super::build::meta::{Child, Kind};
use super::build::{Context, certificates, keys};
use super::live;
use super::observe::Observed;
use super::validate::Problem;
use crate::base::clock::UnixMillis;
use crate::base::random::Random;
use crate::crd::cluster::{StorageType, TlsMode, UnsealType};

/// What is to be done about keys and certificates.
#[derive(Debug, Default)]
pub(crate) struct Materials {
    /// Created, never replaced: CA, unseal key, init Secret.
    pub(crate) create: Vec<Child>,
    /// Applied: published certificate, issuer, owners of what is kept.
    pub(crate) apply: Vec<Child>,
    /// What is missing and cannot be made again.
    pub(crate) problems: Vec<Problem>,
    /// Until when the certificates in use are valid.
    pub(crate) expires: Option<UnixMillis>,
    /// Why there are no certificates.
    pub(crate) tls: Option<Problem>,
}

/// Whether the cluster's storage is known to hold an initialised vault, by everything that remembers it.
pub(crate) fn is_known_initialised(context: &Context<'_>, seen: &Observed) -> bool {
    // A memory forgets with its pod; nothing can be known of it.
    if context.cluster.spec.storage.kind == StorageType::Memory {
        return false;
    }
    let by_status = context.cluster.status.as_ref().and_then(|s| s.initialized) == Some(true);
    by_status || is_answered(context, seen) || seen.head_is_written(&context.names.base) == Some(true)
}

/// Whether the answer of init lies (or lay) in its Secret.
pub(crate) fn is_answered(context: &Context<'_>, seen: &Observed) -> bool {
    let secret = seen.secret(&context.names.init());
    secret.is_some_and(|secret| live::annotation(secret, keys::ANSWERED).is_some())
}

/// Decides about keys and certificates.
pub(crate) fn plan(context: &Context<'_>, seen: &Observed, random: &dyn Random) -> Materials {
    let mut out = Materials::default();
    let names = &context.names;
    let mut kept = Vec::new();
    if context.cluster.spec.tls.mode == TlsMode::OperatorManaged {
        let (ca, issuer) = (seen.secret(&names.ca()), seen.secret(&names.issuer()));
        match certificates::plan(context, ca, issuer, seen.now, random) {
            Ok(plan) => {
                out.create.extend(plan.create_ca);
                out.apply.extend(plan.apply);
                out.expires = plan.expires;
            }
            Err(error) => {
                let message =
                    format!("Secret {}: {error}; restore it, or delete it for a new CA", names.ca());
                out.tls = Some(Problem::new("CAUnreadable", message));
            }
        }
        kept.push(names.ca());
    }
    if context.cluster.spec.unseal.kind == UnsealType::Static {
        let is_initialised = is_known_initialised(context, seen);
        if seen.secret(&names.unseal_key()).is_none() {
            if is_initialised {
                let message = format!(
                    "Secret {} is missing and the vault is initialised: restore the Secret, no other key unseals the vault",
                    names.unseal_key()
                );
                out.problems.push(Problem::new("KeysLost", message));
            } else {
                out.create.push(keys::unseal_key(context, random));
            }
        }
        // The nonce is stored before anybody is asked to initialise: then every later step can be repeated.
        if seen.secret(&names.init()).is_none() && !is_initialised {
            out.create.push(keys::init(context, random));
        }
        kept.extend([names.unseal_key(), names.init()]);
    }
    for name in kept {
        if let Some(secret) = seen.child(Kind::Secret, &name).filter(|secret| !live::is_terminating(secret)) {
            out.apply.push(keys::adopt(context, &name, live::uid(secret)));
        }
    }
    out
}
