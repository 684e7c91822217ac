//! The conditions that are always present, one function each.

use crate::crd::cluster::{ConditionStatus, ConditionType, StorageType, TlsMode, UnsealType};
use crate::operator::build::Context;
use crate::operator::node::{StorageWord, storage_word};
use crate::operator::observe::{Observed, Pod};
use crate::operator::{materials, roles, rolling};

use super::ready::is_serving;
use super::{Facts, Findings, Verdict, list, verdict};

pub(super) fn available(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>) -> Verdict {
    let kind = ConditionType::Available;
    let Some(active) = facts.active else {
        return verdict(kind, false, "NoActive", "no pod leads");
    };
    match &active.answer {
        Err(reason) => {
            let message = format!("pod {} leads by the Lease and does not answer: {reason}", active.name);
            verdict(kind, ConditionStatus::Unknown, "ProbeFailed", message)
        }
        Ok(node) if node.sealed => {
            verdict(kind, false, "ActiveSealed", format!("pod {} is sealed", active.name))
        }
        Ok(node) if !node.is_leader && context.cluster.spec.storage.kind.is_shared() => {
            let message = format!("pod {} leads by the Lease and does not say so", active.name);
            verdict(kind, false, "NoActive", message)
        }
        Ok(_) if seen.endpoints.get(&context.names.base).is_none_or(Vec::is_empty) => {
            let message = format!("Service {} has no ready endpoint", context.names.base);
            verdict(kind, false, "NoEndpoints", message)
        }
        Ok(_) => verdict(kind, true, "ActiveServing", format!("pod {} is active", active.name)),
    }
}

pub(super) fn initialized(context: &Context<'_>, seen: &Observed, findings: &Findings) -> Verdict {
    let kind = ConditionType::Initialized;
    let mut answers = seen.pods.iter().filter_map(Pod::node_status).peekable();
    let nobody_answers = answers.peek().is_none();
    let is_initialised = answers.any(|node| node.initialized);
    if let Some(problem) =
        findings.problems.iter().find(|p| matches!(p.reason, "StaleKeyMaterial" | "KeysLost"))
    {
        return verdict(kind, is_initialised, problem.reason, problem.message.clone());
    }
    if is_initialised && findings.is_initialising {
        return verdict(kind, false, "InitInProgress", "the answer of init is being stored");
    }
    if is_initialised {
        return verdict(kind, true, "Initialized", "the storage holds a vault");
    }
    if nobody_answers {
        let known = materials::is_known_initialised(context, seen);
        let message = if known { "it was, and no pod answers now" } else { "no pod answers yet" };
        return verdict(kind, ConditionStatus::Unknown, "StorageUnknown", message);
    }
    if context.cluster.spec.unseal.kind == UnsealType::Shamir {
        let name = seen.pods.first().map(|pod| pod.name.as_str()).unwrap_or_default();
        let message = format!(
            "initialise it: kubectl exec -n {} {name} -- /holdfast operator init",
            context.names.namespace
        );
        return verdict(kind, false, "NotInitialized", message);
    }
    let message =
        findings.init_error.clone().unwrap_or_else(|| "the vault is about to be initialised".to_owned());
    verdict(kind, false, "NotInitialized", message)
}

pub(super) fn unsealed(facts: &Facts<'_>) -> Verdict {
    let kind = ConditionType::Unsealed;
    let answering: Vec<&Pod> = facts.standing.iter().copied().filter(|pod| pod.answer.is_ok()).collect();
    let sealed: Vec<&Pod> =
        answering.iter().copied().filter(|pod| pod.node_status().is_some_and(|node| node.sealed)).collect();
    if answering.is_empty() {
        return verdict(kind, ConditionStatus::Unknown, "Unreachable", "no pod answers");
    }
    if sealed.is_empty() {
        return verdict(kind, true, "AllUnsealed", format!("{} pods are unsealed", answering.len()));
    }
    let all = sealed.len() == answering.len();
    let reason = if all { "AllSealed" } else { "SomeSealed" };
    verdict(kind, false, reason, format!("sealed: {}", list(&sealed)))
}

pub(super) fn elected(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>) -> Verdict {
    let kind = ConditionType::LeaderElected;
    let holder = &seen.lease.holder;
    if !context.cluster.spec.storage.kind.is_shared() {
        let leads = facts.active.is_some();
        return verdict(kind, leads, if leads { "Held" } else { "Released" }, "one pod needs no lock");
    }
    if holder.is_empty() {
        return verdict(kind, false, "Released", "nobody holds the Lease");
    }
    let Some(pod) = seen.pods.iter().find(|pod| roles::is_of(holder, pod)) else {
        let message = format!("the Lease is held by {holder}, which is no pod of this cluster");
        return verdict(kind, false, "HolderUnknown", message);
    };
    let says = facts.active.is_some_and(|a| a.uid == pod.uid && a.node_status().is_some_and(|n| n.is_leader));
    // Clocks differ between machines: a Lease that looks old is believed as long as its holder says that it leads.
    let limit = u64::from(seen.lease.duration_seconds).saturating_add(10);
    let is_old = seen.lease_renewed.is_none_or(|renewed| renewed.plus_seconds(limit) < seen.now);
    if is_old && !says {
        return verdict(kind, false, "Expired", format!("the Lease of {holder} has run out"));
    }
    if facts.active.is_none_or(|active| active.uid != pod.uid) {
        return verdict(
            kind,
            false,
            "Claiming",
            format!("pod {} holds the Lease and does not lead yet", pod.name),
        );
    }
    verdict(kind, true, "Held", format!("pod {} holds the Lease", pod.name))
}

pub(super) fn up_to_date(
    context: &Context<'_>,
    seen: &Observed,
    facts: &Facts<'_>,
    findings: &Findings,
) -> Verdict {
    let kind = ConditionType::UpToDate;
    let Some(target) = rolling::target(context, seen) else {
        return verdict(kind, false, "RolloutPending", "the StatefulSet is being changed");
    };
    let outdated: Vec<&Pod> = facts.standing.iter().copied().filter(|pod| pod.revision != target).collect();
    if outdated.is_empty() {
        return verdict(kind, true, "UpToDate", "every pod runs what the specification asks for");
    }
    let mut message = format!("to be replaced: {}", list(&outdated));
    if context.cluster.spec.paused {
        return verdict(kind, false, "Paused", message);
    }
    if let Some(waits) = &findings.roll_waits {
        message = format!("{message}; waiting: {waits}");
    }
    verdict(kind, false, "RolloutRunning", message)
}

pub(super) fn tls_ready(context: &Context<'_>, findings: &Findings) -> Verdict {
    let kind = ConditionType::TLSReady;
    match (&findings.tls, context.cluster.spec.tls.mode) {
        (Some(problem), _) => verdict(kind, false, problem.reason, problem.message.clone()),
        (None, TlsMode::Disabled) => verdict(kind, true, "Disabled", "TLS is off, as tls.mode says"),
        (None, _) => verdict(kind, true, "Valid", "the certificates are valid"),
    }
}

/// What is known to be wrong with the storage.
pub(super) fn storage(context: &Context<'_>, seen: &Observed) -> Option<StorageWord> {
    let reasons = || seen.pods.iter().filter_map(|pod| pod.node_status()?.not_ready.as_deref());
    let words: Vec<StorageWord> = reasons().filter_map(storage_word).collect();
    let find = |is: fn(&StorageWord) -> bool| words.iter().find(|word| is(word)).cloned();
    if let Some(word) = find(|word| matches!(word, StorageWord::RolledBack(_))) {
        return Some(word);
    }
    let is_ours = context.cluster.spec.storage.kind == StorageType::Kubernetes;
    let is_lost = is_ours
        && materials::is_known_initialised(context, seen)
        && seen.head_is_written(&context.names.base) != Some(true);
    if is_lost {
        let message = format!(
            "VaultStoreHead {} is missing or empty, and the vault is initialised: restore it from a backup",
            context.names.base
        );
        return Some(StorageWord::RolledBack(message));
    }
    find(|word| matches!(word, StorageWord::Damaged(_))).or_else(|| words.into_iter().next())
}

pub(super) fn storage_ready(seen: &Observed, facts: &Facts<'_>) -> Verdict {
    let kind = ConditionType::StorageReady;
    match &facts.storage {
        Some(StorageWord::RolledBack(message)) => verdict(kind, false, "StorageRolledBack", message.clone()),
        Some(StorageWord::Damaged(message)) => verdict(kind, false, "Damaged", message.clone()),
        Some(StorageWord::Away(message)) => verdict(kind, false, "Unreachable", message.clone()),
        None if seen.pods.iter().any(|pod| pod.answer.is_ok()) => {
            verdict(kind, true, "Reachable", "no pod complains about the storage")
        }
        None => verdict(kind, ConditionStatus::Unknown, "Unknown", "no pod answers"),
    }
}

pub(super) fn reconciling(findings: &Findings, ready: &(ConditionStatus, &'static str, String)) -> Verdict {
    let kind = ConditionType::Reconciling;
    if ready.0 == ConditionStatus::True {
        return verdict(kind, false, "Done", "nothing is to be done");
    }
    if !findings.problems.is_empty() || findings.tls.is_some() {
        return verdict(kind, false, "Stalled", "a person has to help: see Stalled");
    }
    if findings.was_ready {
        return verdict(kind, false, "Done", "this generation was carried out; see Degraded");
    }
    verdict(kind, true, ready.1, ready.2.clone())
}

pub(super) fn stalled(facts: &Facts<'_>, findings: &Findings) -> Verdict {
    let kind = ConditionType::Stalled;
    if let Some(problem) = findings.problems.first().or(findings.tls.as_ref()) {
        return verdict(kind, true, problem.reason, problem.message.clone());
    }
    match &facts.storage {
        Some(StorageWord::RolledBack(message)) => verdict(kind, true, "StorageRolledBack", message.clone()),
        Some(StorageWord::Damaged(message)) => verdict(kind, true, "StorageDamaged", message.clone()),
        _ => verdict(kind, false, "Progressing", "no person is needed"),
    }
}

pub(super) fn degraded(facts: &Facts<'_>, others: &[Verdict]) -> Verdict {
    let kind = ConditionType::Degraded;
    let is_available =
        others.iter().any(|v| v.kind == ConditionType::Available && v.status == ConditionStatus::True);
    let serving = facts.standing.iter().filter(|pod| is_serving(pod)).count();
    if !is_available || serving >= facts.wanted {
        return verdict(kind, false, "AsExpected", format!("{serving} of {} pods serve", facts.wanted));
    }
    let sealed = facts.standing.iter().any(|pod| pod.node_status().is_some_and(|node| node.sealed));
    let reason = match (sealed, serving) {
        (true, _) => "MemberSealed",
        (false, 1) if facts.wanted > 1 => "SingleMember",
        _ => "MemberDown",
    };
    verdict(kind, true, reason, format!("{serving} of {} pods serve", facts.wanted))
}
