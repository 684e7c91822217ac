//! `Ready`, and the agreement that it stands for.

use crate::crd::cluster::{ConditionStatus, ConditionType, UnsealType};
use crate::operator::build::Context;
use crate::operator::node::StorageWord;
use crate::operator::observe::{self, Observed, Pod};
use crate::operator::roles;

use super::{Facts, Findings, Verdict, verdict};

pub(super) fn ready(
    context: &Context<'_>,
    seen: &Observed,
    facts: &Facts<'_>,
    findings: &Findings,
    others: &[Verdict],
) -> Verdict {
    let no = |reason: &'static str, message: String| verdict(ConditionType::Ready, false, reason, message);
    if let Some(problem) = findings.problems.first() {
        return no(problem.reason, problem.message.clone());
    }
    if let Some(problem) = &findings.tls {
        return no("TLSNotReady", problem.message.clone());
    }
    let of = |kind: ConditionType| others.iter().find(|v| v.kind == kind);
    let holds = |kind| of(kind).is_some_and(|v| v.status == ConditionStatus::True);
    let because = |kind, reason| no(reason, of(kind).map(|v| v.message.clone()).unwrap_or_default());
    if matches!(facts.storage, Some(StorageWord::RolledBack(_) | StorageWord::Damaged(_))) {
        return because(ConditionType::StorageReady, "StorageUnavailable");
    }
    if facts.standing.len() < facts.wanted {
        let message = format!("{} of {} pods exist", facts.standing.len(), facts.wanted);
        return no("InsufficientMembers", message);
    }
    if seen.pods.len() > facts.wanted {
        return no("Scaling", format!("{} pods, {} are wanted", seen.pods.len(), facts.wanted));
    }
    if !holds(ConditionType::Initialized) {
        let by_people = context.cluster.spec.unseal.kind == UnsealType::Shamir;
        let reason = if by_people { "AwaitingInitialization" } else { "Initializing" };
        return because(ConditionType::Initialized, reason);
    }
    if of(ConditionType::Unsealed).is_some_and(|v| v.status == ConditionStatus::False) {
        return because(ConditionType::Unsealed, "AwaitingUnseal");
    }
    if !holds(ConditionType::StorageReady) {
        return because(ConditionType::StorageReady, "StorageUnavailable");
    }
    if !holds(ConditionType::UpToDate) {
        return because(ConditionType::UpToDate, "RollingUpdate");
    }
    if let Some(pod) = facts.standing.iter().find(|pod| !is_serving(pod)) {
        return no("MembersNotReady", format!("pod {}: {}", pod.name, complaint(pod)));
    }
    if !holds(ConditionType::LeaderElected) {
        return because(ConditionType::LeaderElected, "NoActive");
    }
    if let Err(message) = agreement(context, seen, facts) {
        return no("Settling", message);
    }
    if findings.has_written {
        return no("Settling", "objects were changed a moment ago".to_owned());
    }
    if !holds(ConditionType::Available) {
        return because(ConditionType::Available, "NoActive");
    }
    let active = facts.active.map(|pod| pod.name.as_str()).unwrap_or_default();
    let message = format!("{} pods serve, {active} is active", facts.standing.len());
    verdict(ConditionType::Ready, true, "AllMembersReady", message)
}

/// Whether kubelet and node both say that the pod serves.
pub(super) fn is_serving(pod: &Pod) -> bool {
    pod.is_ready
        && pod.node_status().is_some_and(|node| node.initialized && !node.sealed && node.not_ready.is_none())
}

fn complaint(pod: &Pod) -> String {
    match &pod.answer {
        Err(reason) => pod.waiting.clone().unwrap_or_else(|| reason.clone()),
        Ok(node) => node.not_ready.clone().unwrap_or_else(|| "it is not ready yet".to_owned()),
    }
}

/// Whether labels, Services and every pod's own view of the leader agree with the Lease.
fn agreement(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>) -> Result<(), String> {
    let Some(active) = facts.active else { return Err("no pod leads".to_owned()) };
    let has_lock = context.cluster.spec.storage.kind.is_shared();
    let identity = seen.lease.active.as_ref().map(|a| a.identity.as_str()).unwrap_or_default();
    if has_lock && seen.lease.holder != identity {
        return Err(format!("the Lease is held by {:?} and names {identity:?} as active", seen.lease.holder));
    }
    let address = observe::access(context, seen).zip(active.ip).map(|(access, ip)| access.address(ip));
    for pod in &facts.standing {
        let Some(node) = pod.node_status() else { return Err(format!("pod {} does not answer", pod.name)) };
        let is_active = pod.uid == active.uid;
        if has_lock && node.is_leader != is_active {
            let word = if node.is_leader { "says" } else { "does not say" };
            return Err(format!("pod {} {word} that it leads", pod.name));
        }
        let published = seen.lease.active.as_ref().map(|a| a.api_addr.as_str());
        let is_known =
            Some(node.leader_address.as_str()) == published || Some(&node.leader_address) == address.as_ref();
        if has_lock && !is_known {
            return Err(format!("pod {} takes {:?} for the leader", pod.name, node.leader_address));
        }
        if !roles::changes(pod, is_active).is_empty() {
            return Err(format!("the labels of pod {} are being corrected", pod.name));
        }
    }
    let ips = |pods: &[&Pod]| {
        let mut ips: Vec<String> = pods.iter().filter_map(|pod| pod.ip.map(|ip| ip.to_string())).collect();
        ips.sort();
        ips
    };
    for (service, wanted) in
        [(context.names.base.clone(), ips(&facts.standing)), (context.names.active(), ips(&[active]))]
    {
        let mut found = seen.endpoints.get(&service).cloned().unwrap_or_default();
        found.sort();
        if found != wanted {
            return Err(format!("Service {service} reaches {found:?}, not {wanted:?} yet"));
        }
    }
    Ok(())
}
