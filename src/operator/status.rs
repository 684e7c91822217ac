//! The status object: members, the active pod, conditions with their times. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::build::{Context, config};
use super::conditions::{self, Findings, Verdict};
use super::observe::{Observed, Pod};
use super::{materials, observe, roles, rolling};
use crate::base::clock::UnixMillis;
use crate::crd::cluster::{ActiveStatus, ConditionStatus, Member, MemberRole, VaultClusterStatus};
use crate::k8s::words::LABEL_CLUSTER;

/// Most characters of a condition's message; Kubernetes refuses more than 32768.
const MESSAGE_CHARS: usize = 1024;

/// The status after a visit.
pub(crate) fn status(
    context: &Context<'_>,
    seen: &Observed,
    findings: &Findings,
    expires: Option<UnixMillis>,
    intent: Option<String>,
) -> VaultClusterStatus {
    let former = context.cluster.status.clone().unwrap_or_default();
    let verdicts = conditions::judge(context, seen, findings);
    let target = rolling::target(context, seen);
    let active = roles::leader(context, seen).filter(|pod| !pod.is_terminating);
    let members: Vec<Member> =
        seen.pods.iter().map(|pod| member(context, seen, pod, active, target)).collect();
    let serving =
        members.iter().filter(|m| matches!(m.role, MemberRole::Active | MemberRole::Standby)).count();
    let cluster_id = seen.pods.iter().find_map(|pod| pod.node_status()?.cluster_id.clone());
    let is_initialised = materials::is_known_initialised(context, seen)
        || seen.pods.iter().any(|pod| pod.node_status().is_some_and(|node| node.initialized));
    VaultClusterStatus {
        observed_generation: context.cluster.metadata.generation,
        replicas: i32::try_from(seen.pods.len()).ok(),
        selector: Some(format!("{LABEL_CLUSTER}={}", context.names.base)),
        members_summary: Some(format!("{serving}/{}", context.cluster.spec.replicas)),
        initialized: Some(is_initialised),
        cluster_id: cluster_id.or(former.cluster_id),
        version: active.and_then(|pod| Some(pod.node_status()?.version.clone())).filter(|v| !v.is_empty()),
        storage_type: Some(
            former.storage_type.unwrap_or_else(|| context.cluster.spec.storage.kind.word().to_owned()),
        ),
        active: active.map(|pod| active_status(seen, pod)),
        members,
        certificate_expires: expires.map(|at| UnixMillis(at.0 / 1000 * 1000).rfc3339()),
        config_secret: Some(config_in_use(context, seen, former.config_secret)),
        intent,
        conditions: stamp(&verdicts, &former.conditions, context.cluster.metadata.generation, seen.now),
    }
}

/// The status of a cluster whose specification is refused: what was known of its pods stays.
pub(crate) fn refused(context: &Context<'_>, seen: &Observed, findings: &Findings) -> VaultClusterStatus {
    let former = context.cluster.status.clone().unwrap_or_default();
    let verdicts = conditions::judge(context, seen, findings);
    let generation = context.cluster.metadata.generation;
    VaultClusterStatus {
        observed_generation: generation,
        conditions: stamp(&verdicts, &former.conditions, generation, seen.now),
        ..former
    }
}

/// The configuration Secret that is remembered, so that it can be removed when no pod runs it any more.
fn config_in_use(context: &Context<'_>, seen: &Observed, former: Option<String>) -> String {
    let current = config::name(context);
    let target = rolling::target(context, seen);
    let is_rolled = target.is_some_and(|target| seen.pods.iter().all(|pod| pod.revision == target));
    match former {
        Some(former) if !is_rolled && seen.secret(&former).is_some() => former,
        _ => current,
    }
}

fn active_status(seen: &Observed, pod: &Pod) -> ActiveStatus {
    let record = seen.lease.active.as_ref();
    ActiveStatus {
        pod: pod.name.clone(),
        uid: Some(pod.uid.clone()),
        address: record.map(|record| record.api_addr.clone()).filter(|address| !address.is_empty()),
        epoch: record.and_then(|record| i64::try_from(record.epoch).ok()),
    }
}

fn member(
    context: &Context<'_>,
    seen: &Observed,
    pod: &Pod,
    active: Option<&Pod>,
    target: Option<&str>,
) -> Member {
    let node = pod.node_status();
    let is_active = active.is_some_and(|active| active.uid == pod.uid);
    let role = match node {
        None => MemberRole::Unknown,
        Some(node) if !node.initialized => MemberRole::Uninitialized,
        Some(node) if node.sealed => MemberRole::Sealed,
        Some(_) if is_active => MemberRole::Active,
        Some(_) => MemberRole::Standby,
    };
    let message = match &pod.answer {
        _ if pod.is_terminating => Some("it is being deleted".to_owned()),
        Err(reason) => Some(pod.waiting.clone().unwrap_or_else(|| reason.clone())),
        Ok(node) => node.not_ready.clone(),
    };
    Member {
        pod: pod.name.clone(),
        uid: Some(pod.uid.clone()),
        node: pod.node.clone(),
        address: observe::access(context, seen).zip(pod.ip).map(|(access, ip)| access.address(ip)),
        role,
        sealed: node.map(|node| node.sealed),
        version: node.map(|node| node.version.clone()).filter(|version| !version.is_empty()),
        up_to_date: target.map(|target| pod.revision == target),
        message: message.map(|text| clip(&text)),
    }
}

/// Gives verdicts their generation and the time of their last change.
pub(crate) fn stamp(
    verdicts: &[Verdict],
    former: &[Condition],
    generation: Option<i64>,
    now: UnixMillis,
) -> Vec<Condition> {
    let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
    let now = Time(jiff::Timestamp::from_second(seconds).unwrap_or_default());
    let stamp = |verdict: &Verdict| {
        let before = former.iter().find(|c| c.type_ == verdict.kind.word());
        let is_same = before.is_some_and(|c| c.status == verdict.status.word());
        Condition {
            type_: verdict.kind.word().to_owned(),
            status: verdict.status.word().to_owned(),
            reason: verdict.reason.to_owned(),
            message: clip(&verdict.message),
            observed_generation: generation,
            last_transition_time: before
                .filter(|_| is_same)
                .map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
        }
    };
    verdicts.iter().map(stamp).collect()
}

fn clip(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS).collect()
}

/// Whether a condition of `status` is true.
pub(crate) fn is_true(status: &VaultClusterStatus, kind: crate::crd::cluster::ConditionType) -> bool {
    status.conditions.iter().any(|c| c.type_ == kind.word() && c.status == ConditionStatus::True.word())
}
