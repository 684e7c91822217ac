//! Events, one an edge: what is different between two statuses. The choice is pure.

use kube::runtime::events::{Event, EventType, Recorder};

use crate::crd::VaultClusterStatus;
use crate::crd::cluster::{ConditionType, VaultCluster};
use kube::Resource;

/// Conditions whose edges are told, with the word for true, the word for false, and whether true is good.
const EDGES: [(ConditionType, &str, &str, bool); 6] = [
    (ConditionType::Ready, "Ready", "NotReady", true),
    (ConditionType::Initialized, "Initialized", "NotInitialized", true),
    (ConditionType::Unsealed, "Unsealed", "Sealed", true),
    (ConditionType::StorageReady, "StorageReady", "StorageNotReady", true),
    (ConditionType::TLSReady, "CertificatesValid", "CertificatesInvalid", true),
    (ConditionType::Stalled, "Stalled", "Resumed", false),
];

/// What to tell of the step from `former` to `current`.
pub(crate) fn edges(former: Option<&VaultClusterStatus>, current: &VaultClusterStatus) -> Vec<Event> {
    let mut out = Vec::new();
    for (kind, yes, no, good) in EDGES {
        let find =
            |status: &VaultClusterStatus| status.conditions.iter().find(|c| c.type_ == kind.word()).cloned();
        let before = former.and_then(find);
        let Some(after) = find(current) else { continue };
        if before.as_ref().is_some_and(|before| before.status == after.status) {
            continue;
        }
        let word = match after.status.as_str() {
            "True" => yes,
            // What has never been is no edge, and what nobody can tell is none either.
            "False" if before.is_some_and(|before| before.status == "True") => no,
            _ => continue,
        };
        let is_good = (after.status == "True") == good;
        out.push(event(is_good, word, &format!("{}: {}", after.reason, after.message)));
    }
    let leader = |status: &VaultClusterStatus| status.active.as_ref().map(|active| active.pod.clone());
    let (before, after) = (former.and_then(leader), leader(current));
    if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
        let note = match before {
            Some(before) => format!("from pod {before} to pod {after}"),
            None => format!("pod {after} leads"),
        };
        out.push(event(true, "LeaderChanged", &note));
    }
    if let Some(intent) = &current.intent
        && former.and_then(|former| former.intent.as_ref()) != Some(intent)
    {
        out.push(event(true, "ReplacingPod", intent));
    }
    out
}

fn event(is_good: bool, reason: &str, note: &str) -> Event {
    Event {
        type_: if is_good { EventType::Normal } else { EventType::Warning },
        reason: reason.to_owned(),
        note: Some(note.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// Tells. An Event that cannot be written is only logged: it must not keep a cluster from being repaired.
pub(crate) async fn publish(recorder: &Recorder, cluster: &VaultCluster, events: &[Event]) {
    let reference = cluster.object_ref(&());
    for event in events {
        tracing::info!(reason = event.reason, note = event.note.as_deref().unwrap_or_default(), "event");
        if let Err(error) = recorder.publish(event, &reference).await {
            tracing::warn!(%error, "event could not be published");
        }
    }
}
