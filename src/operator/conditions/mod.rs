//! From what was seen to conditions with reasons. Pure.
//!
//! `Ready` is true only if pods, labels, Services, Lease and every pod's own view of the leader agree at this moment.

mod parts;
mod ready;
mod risks;

#[cfg(test)]
mod tests;

use super::build::{Context, keys};
use super::node::StorageWord;
use super::observe::{Observed, Pod};
use super::validate::Problem;
use super::{live, roles};
use crate::crd::cluster::{ConditionStatus, ConditionType};

/// A condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: ConditionType,
    pub(crate) status: ConditionStatus,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What the visit found out besides what it saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// What keeps the operator from going on; the first one is shown.
    pub(crate) problems: Vec<Problem>,
    /// What is wrong with certificates.
    pub(crate) tls: Option<Problem>,
    /// Whether an answer of init is still on its way into its Secret.
    pub(crate) is_initialising: bool,
    /// What the roll waits for.
    pub(crate) roll_waits: Option<String>,
    /// Whether this generation was ready before.
    pub(crate) was_ready: bool,
    /// Whether this visit changed something, so that what it saw is no longer what is.
    pub(crate) has_written: bool,
    /// What the last attempt to initialise was answered.
    pub(crate) init_error: Option<String>,
}

/// What is derived once and used by several conditions.
struct Facts<'a> {
    wanted: usize,
    standing: Vec<&'a Pod>,
    active: Option<&'a Pod>,
    storage: Option<StorageWord>,
}

fn verdict(
    kind: ConditionType,
    status: impl Into<ConditionStatus>,
    reason: &'static str,
    message: impl Into<String>,
) -> Verdict {
    Verdict { kind, status: status.into(), reason, message: message.into() }
}

/// All conditions, `Ready` first.
pub(crate) fn judge(context: &Context<'_>, seen: &Observed, findings: &Findings) -> Vec<Verdict> {
    let facts = Facts {
        wanted: usize::try_from(context.cluster.spec.replicas).unwrap_or(0),
        standing: seen.pods.iter().filter(|pod| !pod.is_terminating).collect(),
        active: roles::leader(context, seen).filter(|pod| !pod.is_terminating),
        storage: parts::storage(context, seen),
    };
    let mut out = vec![
        parts::available(context, seen, &facts),
        parts::initialized(context, seen, findings),
        parts::unsealed(&facts),
        parts::elected(context, seen, &facts),
        parts::up_to_date(context, seen, &facts, findings),
        parts::tls_ready(context, findings),
        parts::storage_ready(seen, &facts),
    ];
    let ready = ready::ready(context, seen, &facts, findings, &out);
    out.insert(0, ready);
    let summary = (out[0].status, out[0].reason, out[0].message.clone());
    out.push(parts::reconciling(findings, &summary));
    out.push(parts::stalled(&facts, findings));
    out.push(parts::degraded(&facts, &out));
    out.extend(risks::situational(context, seen));
    out
}

fn list(pods: &[&Pod]) -> String {
    pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether the condition `Ready` of the live object was true for its current generation.
pub(crate) fn was_ready(context: &Context<'_>) -> bool {
    let generation = context.cluster.metadata.generation;
    let conditions = context.cluster.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| {
        let reconciling = c.type_ == ConditionType::Reconciling.word();
        reconciling && c.status == "False" && c.reason == "Done" && c.observed_generation == generation
    })
}

/// Whether a Secret with keys is still to be closed: the nonce is in it.
pub(crate) fn is_initialising(context: &Context<'_>, seen: &Observed) -> bool {
    seen.secret(&context.names.init()).is_some_and(|secret| live::secret(secret, keys::NONCE).is_some())
}

/// The conditions of an object that cannot be read.
pub(crate) fn unreadable(message: &str) -> Vec<Verdict> {
    vec![
        verdict(ConditionType::Ready, false, "InvalidSpec", message),
        verdict(ConditionType::Reconciling, false, "Stalled", "a person has to help: see Stalled"),
        verdict(ConditionType::Stalled, true, "InvalidSpec", message),
    ]
}
