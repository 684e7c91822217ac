//! The judgements: of a specification alone, of objects of our names, of a certificate that a user brought.

use serde_json::Value;

use crate::base::clock::UnixMillis;
use crate::crd::VaultCluster;
use crate::crd::cluster::{TlsMode, rules};
use crate::crypto::x509;
use crate::k8s::words::LABEL_CLUSTER;
use crate::operator::build::Context;
use crate::operator::build::meta::{Child, Kind};
use crate::operator::build::storage;
use crate::operator::observe::Observed;
use crate::operator::{live, plan};

/// Why the operator leaves a cluster as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The reason, as conditions carry it.
    pub(crate) reason: &'static str,
    /// What a person should know and do.
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What is wrong with the specification alone. Nothing is applied while there is something.
pub(crate) fn specification(cluster: &VaultCluster) -> Vec<Problem> {
    let mut out: Vec<Problem> = rules::broken(cluster, None)
        .map(|rule| Problem::new("InvalidSpec", format!("{}: {}", rules::path(rule.at), rule.message)))
        .collect();
    let storage = cluster.spec.storage.kind;
    let former = cluster.status.as_ref().and_then(|status| status.storage_type.as_deref());
    if former.is_some_and(|former| former != storage.word()) {
        let message = format!(
            "spec.storage: storage.type cannot be changed: the cluster was created with {}",
            former.unwrap_or_default()
        );
        out.push(Problem::new("InvalidSpec", message));
    }
    out
}

/// Objects of our names that are not ours: they are left alone.
pub(crate) fn conflicts(context: &Context<'_>, seen: &Observed) -> Vec<Problem> {
    let base = &context.names.base;
    let is_foreign = |child: &Child| {
        // Data and keys are adopted by name: they may have been restored without their labels.
        !matches!(child.kind, Kind::Secret | Kind::Head)
            && seen.child(child.kind, &child.name).is_some_and(|found| {
                !live::is_terminating(found)
                    && found.pointer("/metadata/labels").and_then(|l| l.get(LABEL_CLUSTER)?.as_str())
                        != Some(base)
            })
    };
    let foreign = plan::children(context).into_iter().filter(is_foreign);
    foreign
        .map(|child| {
            let message =
                format!("{child:?} exists and does not belong to this cluster: rename one of the two");
            Problem::new("NameConflict", message)
        })
        .collect()
}

/// What is wrong with the Secrets that the storage's section names: the pods would wait for them for ever.
pub(crate) fn storage_secrets(context: &Context<'_>, seen: &Observed) -> Vec<Problem> {
    let mut out = Vec::new();
    for needed in storage::needed(&context.cluster.spec.storage) {
        let (field, name) = (needed.field, needed.name);
        let Some(secret) = seen.secret(name) else {
            let message = format!("storage.{field}: there is no Secret {name}");
            out.push(Problem::new("SecretMissing", message));
            continue;
        };
        for key in needed.keys {
            if live::secret_text(secret, key).is_none() {
                let message = format!("storage.{field}: Secret {name} has no {key} that is text");
                out.push(Problem::new("SecretIncomplete", message));
            }
        }
    }
    out
}

/// What is wrong with the certificate that the user brought; `None` if all is well or the operator makes them itself.
pub(crate) fn certificate(context: &Context<'_>, secret: Option<&Value>, now: UnixMillis) -> Option<Problem> {
    let tls = &context.cluster.spec.tls;
    if tls.mode != TlsMode::Secret {
        return None;
    }
    let name = tls.secret_ref.as_ref().map(|r| r.name.as_str()).unwrap_or_default();
    let Some(secret) = secret else {
        return Some(Problem::new("SecretMissing", format!("tls.secretRef: there is no Secret {name}")));
    };
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        if live::secret_text(secret, key).is_none() {
            return Some(Problem::new(
                "SecretIncomplete",
                format!("Secret {name} has no {key} that is text"),
            ));
        }
    }
    let info = match x509::inspect(&live::secret_text(secret, "tls.crt").unwrap_or_default()) {
        Ok(info) => info,
        Err(error) => return Some(Problem::new("CertificateInvalid", format!("Secret {name}: {error}"))),
    };
    if info.validity.not_after <= now {
        let end = info.validity.not_after.rfc3339();
        return Some(Problem::new("Expired", format!("the certificate in Secret {name} expired at {end}")));
    }
    let needed = format!("{}.{}.svc", context.names.base, context.names.namespace);
    let is_named = |name: &String| {
        let below = name.strip_prefix("*.").and_then(|parent| needed.strip_suffix(parent));
        *name == needed || below.is_some_and(|label| label.ends_with('.') && label.matches('.').count() == 1)
    };
    if !info.dns_names.iter().any(is_named) {
        let message = format!("the certificate in Secret {name} is not for {needed}");
        return Some(Problem::new("SANMissing", message));
    }
    None
}
