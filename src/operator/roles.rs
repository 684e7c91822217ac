//! Who leads, by the Lease, and the labels that follow from it. The operator is the only writer of role labels.

use std::collections::BTreeMap;

use super::build::Context;
use super::observe::{Observed, Pod};
use crate::crd::cluster::StorageType;
use crate::k8s::lease::LeaseRecord;
use crate::k8s::words::{LABEL_ACTIVE, LABEL_INITIALIZED, LABEL_SEALED, LABEL_STANDBY, LABEL_VERSION};

/// The pod that leads. A vault in the memory of one pod has no lock: that pod leads as soon as it is unsealed.
pub(crate) fn leader<'a>(context: &Context<'_>, seen: &'a Observed) -> Option<&'a Pod> {
    if context.cluster.spec.storage.kind != StorageType::Memory {
        return active(&seen.lease, &seen.pods);
    }
    let serves = |pod: &&Pod| pod.node_status().is_some_and(|node| node.initialized && !node.sealed);
    seen.pods.iter().find(serves)
}

/// The pod that the Lease's record names as active, if it is this very pod and not one of the same name.
pub(crate) fn active<'a>(record: &LeaseRecord, pods: &'a [Pod]) -> Option<&'a Pod> {
    let active = record.active.as_ref()?;
    pods.iter().find(|pod| is_of(&active.identity, pod))
}

/// Whether `identity` (`<pod>_<uid>_<random>`) is that of a process in `pod`.
pub(crate) fn is_of(identity: &str, pod: &Pod) -> bool {
    let mut parts = identity.splitn(3, '_');
    parts.next() == Some(pod.name.as_str()) && parts.next() == Some(pod.uid.as_str())
}

/// The holder of the Lease, if the kubelet says that nothing runs in its pod and that a container ended there after this
/// process took the Lease: so it was the one that ended. Both times are of one host's clock, which may be set back; the
/// kubelet cuts its own down to whole seconds. Where a container runs again, its process speaks for itself. A pod that is
/// gone says nothing: it may have been removed while its node was silent.
pub(crate) fn ended_holder(seen: &Observed) -> Option<&str> {
    let holder = seen.lease.holder.as_str();
    let pod = seen.pods.iter().find(|pod| is_of(holder, pod))?;
    let is_news = seen.lease.ended.as_deref() != Some(holder);
    (is_news && !pod.is_running && pod.ended? > seen.lease_acquired?).then_some(holder)
}

/// The role labels that `pod` shall have. What it does not answer stays as it was; only one pod is ever active.
pub(crate) fn labels(pod: &Pod, is_active: bool) -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::new();
    let word = |value: bool| value.to_string();
    out.insert(LABEL_ACTIVE, word(is_active));
    match pod.node_status() {
        Some(node) => {
            out.insert(LABEL_STANDBY, word(!is_active && node.initialized && !node.sealed));
            out.insert(LABEL_SEALED, word(node.sealed));
            out.insert(LABEL_INITIALIZED, word(node.initialized));
            out.insert(LABEL_VERSION, label_value(&node.version));
        }
        // A pod that has become active, or stopped to be, is no standby, or may be one.
        None if is_active => {
            out.insert(LABEL_STANDBY, word(false));
        }
        None => {}
    }
    out
}

/// The changes that make `pod`'s labels right; empty if they are.
pub(crate) fn changes(pod: &Pod, is_active: bool) -> BTreeMap<&'static str, String> {
    labels(pod, is_active).into_iter().filter(|(key, value)| pod.labels.get(*key) != Some(value)).collect()
}

/// `text` as a label's value: other characters become `-`, at most 63 of them.
fn label_value(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let value: String = text.chars().take(63).map(clean).collect();
    value.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::k8s::lease::LeaseActive;
    use crate::operator::observe::tests::{node, pod};

    fn record(identity: &str) -> LeaseRecord {
        let active = LeaseActive {
            identity: identity.to_owned(),
            epoch: 1,
            api_addr: String::new(),
            cluster_addr: String::new(),
        };
        LeaseRecord { active: Some(active), ..LeaseRecord::default() }
    }

    #[test]
    fn a_pod_of_the_same_name_is_another_pod() {
        let pods = [pod("v-0", "u0"), pod("v-1", "u1")];
        assert_eq!(active(&record("v-1_u1_r"), &pods).unwrap().name, "v-1");
        assert!(active(&record("v-1_u9_r"), &pods).is_none());
        assert!(active(&record("v-1_u1"), &pods).is_some());
        assert!(active(&LeaseRecord::default(), &pods).is_none());
    }

    #[test]
    fn a_holder_has_ended_if_its_container_did_after_it_took_the_lease() {
        let seen = |ended: Option<u64>, change: &dyn Fn(&mut Observed)| {
            let mut dead = pod("v-1", "u1");
            dead.ended = ended.map(UnixMillis);
            dead.is_running = false;
            let lease = LeaseRecord { holder: "v-1_u1_r".to_owned(), ..LeaseRecord::default() };
            let mut seen = Observed {
                pods: vec![pod("v-0", "u0"), dead],
                lease,
                lease_acquired: Some(UnixMillis(5_400)),
                ..Observed::default()
            };
            change(&mut seen);
            ended_holder(&seen).map(str::to_owned)
        };
        assert_eq!(seen(Some(6_000), &|_| {}).as_deref(), Some("v-1_u1_r"));
        // An earlier process of the pod; one of which it is not certain; none.
        assert_eq!(seen(Some(5_000), &|_| {}), None);
        assert_eq!(seen(None, &|_| {}), None);
        assert_eq!(seen(Some(6_000), &|seen| seen.lease_acquired = None), None);
        // The clock was set back while an earlier process was gone: this one is there.
        assert_eq!(seen(Some(6_000), &|seen| seen.pods[1].is_running = true), None);
        // Another pod of the same name; nobody; a pod that is gone.
        assert_eq!(seen(Some(6_000), &|seen| seen.lease.holder = "v-1_u9_r".to_owned()), None);
        assert_eq!(seen(Some(6_000), &|seen| seen.lease.holder = String::new()), None);
        assert_eq!(seen(Some(6_000), &|seen| seen.pods.truncate(1)), None);
        // It has been said, or was said of another.
        assert_eq!(seen(Some(6_000), &|seen| seen.lease.ended = Some("v-1_u1_r".to_owned())), None);
        assert!(seen(Some(6_000), &|seen| seen.lease.ended = Some("v-1_u1_q".to_owned())).is_some());
    }

    #[test]
    fn labels_follow_lease_and_answers() {
        let mut standby = pod("v-0", "u0");
        standby.answer = Ok(node());
        let labels = labels(&standby, false);
        assert_eq!(labels[LABEL_STANDBY], "true");
        assert_eq!(labels[LABEL_VERSION], "1.16.3-holdfast.0.1.0");
        let mut silent = pod("v-1", "u1");
        silent.labels.insert(LABEL_ACTIVE.to_owned(), "true".to_owned());
        assert_eq!(changes(&silent, false), BTreeMap::from([(LABEL_ACTIVE, "false".to_owned())]));
        silent.labels.insert(LABEL_ACTIVE.to_owned(), "false".to_owned());
        assert!(changes(&silent, false).is_empty());
    }
}
