//! Which pod to replace next, if any: standbys first, the active pod last. Pure.
//!
//! The operator deletes, the StatefulSet makes anew. A pod that is to go is first named as leaving in the Lease, so
//! that leadership does not move to it. The active pod hands over when it is told to end; by then every other pod
//! runs the new revision, so leadership moves exactly once.

use super::build::Context;
use super::build::meta::Kind;
use super::live;
use super::observe::{Observed, Pod};
use super::roles;
use crate::crd::cluster::UnsealType;

/// The next disruptive step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is to be replaced.
    Nothing,
    /// Something is, but not now, for this reason.
    Wait(String),
    /// Name this pod as leaving.
    Announce(String),
    /// Delete this pod.
    Replace {
        /// Its name.
        pod: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Why.
        reason: String,
    },
    /// Nobody is leaving any more.
    Welcome,
}

impl Step {
    /// What is written into the status before the step is done; `None` for steps that disrupt nothing.
    pub(crate) fn intent(&self) -> Option<String> {
        match self {
            Self::Replace { pod, uid, reason } => Some(format!("replace pod {pod} ({uid}): {reason}")),
            _ => None,
        }
    }
}

/// The revision that pods shall run; `None` while the StatefulSet's controller has not seen its newest template.
pub(crate) fn target<'a>(context: &Context<'_>, seen: &'a Observed) -> Option<&'a str> {
    let set = seen.child(Kind::StatefulSet, &context.names.base)?;
    let generation = set.pointer("/metadata/generation")?.as_i64()?;
    let observed = set.pointer("/status/observedGeneration")?.as_i64()?;
    (observed >= generation).then_some(())?;
    set.pointer("/status/updateRevision")?.as_str()
}

/// Decides the next step.
pub(crate) fn next(context: &Context<'_>, seen: &Observed) -> Step {
    let Some(target) = target(context, seen) else {
        return Step::Wait("the StatefulSet's controller has not seen the newest template".to_owned());
    };
    let is_outdated = |pod: &&Pod| pod.revision != target && !pod.is_terminating;
    let outdated: Vec<&Pod> = seen.pods.iter().filter(is_outdated).collect();
    if outdated.is_empty() {
        let leaves = seen.lease.leaving.as_deref();
        let is_going = |name: &str| seen.pods.iter().any(|pod| pod.is_terminating && pod.name == name);
        return match leaves {
            Some(name) if !is_going(name) && seen.pods.iter().any(|pod| pod.name == name) => Step::Welcome,
            _ => Step::Nothing,
        };
    }
    // A pod that never came up cannot be waited for: a typo in an image must not be a deadlock.
    if let Some(broken) = outdated.iter().find(|pod| is_broken(pod)) {
        return replace(broken, "it does not come up and there is a newer revision");
    }
    let wanted = usize::try_from(context.cluster.spec.replicas).unwrap_or(0);
    let is_well = |pod: &Pod| {
        let is_unsealed = pod.node_status().is_some_and(|node| node.initialized && !node.sealed);
        pod.is_ready
            && !pod.is_terminating
            && (is_unsealed || context.cluster.spec.unseal.kind == UnsealType::Shamir)
    };
    if let Some(pod) = seen.pods.iter().find(|pod| !is_well(pod)) {
        let sealed = pod.node_status().is_some_and(|node| node.sealed);
        let state = if sealed { "is sealed" } else { "is not ready" };
        return Step::Wait(format!("pod {} {state}", pod.name));
    }
    if seen.pods.len() < wanted {
        return Step::Wait(format!("{} of {wanted} pods exist", seen.pods.len()));
    }
    let active = roles::leader(context, seen).map(|pod| pod.uid.as_str());
    if active.is_none() && wanted > 1 {
        return Step::Wait("no pod leads".to_owned());
    }
    let standby = outdated.iter().rev().find(|pod| Some(pod.uid.as_str()) != active);
    let Some(chosen) = standby.or(outdated.first()) else { return Step::Nothing };
    if wanted > 1 && seen.lease.leaving.as_deref() != Some(chosen.name.as_str()) {
        return Step::Announce(chosen.name.clone());
    }
    replace(chosen, "there is a newer revision")
}

/// Whether the pod waits for something that only another template can bring.
fn is_broken(pod: &Pod) -> bool {
    const REASONS: [&str; 8] = [
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ];
    let waits = |waiting: &String| REASONS.iter().any(|reason| waiting.starts_with(reason));
    !pod.is_ready && pod.waiting.as_ref().is_some_and(|w| waits(w) || w.starts_with("unschedulable"))
}

fn replace(pod: &Pod, reason: &str) -> Step {
    Step::Replace { pod: pod.name.clone(), uid: pod.uid.clone(), reason: reason.to_owned() }
}

/// Whether the live configuration Secret of `name` may be removed: no pod runs it any more.
pub(crate) fn is_config_unused(context: &Context<'_>, seen: &Observed, name: &str, current: &str) -> bool {
    let Some(target) = target(context, seen) else { return false };
    name != current
        && seen.secret(name).is_some_and(|secret| !live::is_terminating(secret))
        && !seen.pods.is_empty()
        && seen.pods.iter().all(|pod| pod.revision == target)
}
