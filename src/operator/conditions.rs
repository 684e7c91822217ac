//! From what was seen to conditions with reasons. Pure.
//!
//! `Ready` is true only if pods, labels, Services, Lease and every pod's own view of the leader agree at this moment.

use super::build::meta::Kind;
use super::build::{Context, keys};
use super::node::{StorageWord, storage_word};
use super::observe::{Observed, Pod};
use super::validate::Problem;
use super::{live, materials, observe, roles, rolling};
use crate::crd::cluster::{ConditionStatus, ConditionType, Profile, StorageType, TlsMode, UnsealType};

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
        storage: storage(context, seen),
    };
    let mut out = vec![
        available(context, seen, &facts),
        initialized(context, seen, findings),
        unsealed(&facts),
        elected(context, seen, &facts),
        up_to_date(context, seen, &facts, findings),
        tls_ready(context, findings),
        storage_ready(seen, &facts),
    ];
    let ready = ready(context, seen, &facts, findings, &out);
    out.insert(0, ready);
    let summary = (out[0].status, out[0].reason, out[0].message.clone());
    out.push(reconciling(findings, &summary));
    out.push(stalled(findings));
    out.push(degraded(&facts, &out));
    out.extend(situational(context, seen));
    out
}

fn list(pods: &[&Pod]) -> String {
    pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn ready(
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
fn is_serving(pod: &Pod) -> bool {
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
    let has_lock = context.cluster.spec.storage.kind != StorageType::Memory;
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

fn available(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>) -> Verdict {
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
        Ok(node) if !node.is_leader && context.cluster.spec.storage.kind != StorageType::Memory => {
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

fn initialized(context: &Context<'_>, seen: &Observed, findings: &Findings) -> Verdict {
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

fn unsealed(facts: &Facts<'_>) -> Verdict {
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

fn elected(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>) -> Verdict {
    let kind = ConditionType::LeaderElected;
    let holder = &seen.lease.holder;
    if context.cluster.spec.storage.kind == StorageType::Memory {
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

fn up_to_date(context: &Context<'_>, seen: &Observed, facts: &Facts<'_>, findings: &Findings) -> Verdict {
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

fn tls_ready(context: &Context<'_>, findings: &Findings) -> Verdict {
    let kind = ConditionType::TLSReady;
    match (&findings.tls, context.cluster.spec.tls.mode) {
        (Some(problem), _) => verdict(kind, false, problem.reason, problem.message.clone()),
        (None, TlsMode::Disabled) => verdict(kind, true, "Disabled", "TLS is off, as tls.mode says"),
        (None, _) => verdict(kind, true, "Valid", "the certificates are valid"),
    }
}

/// What is known to be wrong with the storage.
fn storage(context: &Context<'_>, seen: &Observed) -> Option<StorageWord> {
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

fn storage_ready(seen: &Observed, facts: &Facts<'_>) -> Verdict {
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

fn reconciling(findings: &Findings, ready: &(ConditionStatus, &'static str, String)) -> Verdict {
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

fn stalled(findings: &Findings) -> Verdict {
    let kind = ConditionType::Stalled;
    match findings.problems.first().or(findings.tls.as_ref()) {
        Some(problem) => verdict(kind, true, problem.reason, problem.message.clone()),
        None => verdict(kind, false, "Progressing", "no person is needed"),
    }
}

fn degraded(facts: &Facts<'_>, others: &[Verdict]) -> Verdict {
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

/// Conditions that are present only while they matter.
fn situational(context: &Context<'_>, seen: &Observed) -> Vec<Verdict> {
    let mut out = Vec::new();
    let spec = &context.cluster.spec;
    if spec.paused {
        let message = "spec.paused is true: the operator changes nothing";
        out.push(verdict(ConditionType::Paused, true, "Requested", message));
    }
    if let Some((reason, message)) = risk(context, seen) {
        out.push(verdict(ConditionType::SecurityRisk, true, reason, message));
    }
    if let Some(message) = fullness(context, seen) {
        out.push(verdict(ConditionType::StorageFull, true, "NearLimit", message));
    }
    out
}

fn risk(context: &Context<'_>, seen: &Observed) -> Option<(&'static str, String)> {
    let name = context.names.init();
    let mut risks = Vec::new();
    if let Some(secret) = seen.secret(&name) {
        let has = |prefix: &str| {
            secret["data"].as_object().is_some_and(|data| data.keys().any(|key| key.starts_with(prefix)))
        };
        if has(keys::ROOT_TOKEN) {
            let message = format!(
                "Secret {name} holds the first root token: revoke it and remove {}",
                keys::ROOT_TOKEN
            );
            risks.push(("RootTokenStored", message));
        }
        if has(keys::RECOVERY_KEY) {
            let message =
                format!("Secret {name} holds recovery keys: move them to a safe place and remove them");
            risks.push(("PlainKeys", message));
        }
    }
    if context.cluster.spec.tls.mode == TlsMode::Disabled {
        risks.push(("TLSDisabled", "tokens and secrets travel in the clear".to_owned()));
    }
    if context.cluster.spec.profile == Profile::Development {
        risks.push(("DevelopmentProfile", "profile Development is for trials".to_owned()));
    }
    let reason = risks.first()?.0;
    Some((reason, risks.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")))
}

/// Bytes that the storage in Kubernetes holds unless the specification says otherwise.
const DEFAULT_DATA_LIMIT: i64 = 64 << 20;

fn fullness(context: &Context<'_>, seen: &Observed) -> Option<String> {
    let head = seen.child(Kind::Head, &context.names.base)?;
    let used = head.pointer("/spec/dataBytes")?.as_i64()?;
    let section = context.cluster.spec.storage.kubernetes.as_ref();
    let limit = section.and_then(|k| k.data_limit_bytes).unwrap_or(DEFAULT_DATA_LIMIT);
    (used.saturating_mul(5) >= limit.saturating_mul(4)).then(|| {
        format!("{used} of {limit} bytes are in use: delete data, raise storage.kubernetes.dataLimitBytes, or move to another storage")
    })
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
