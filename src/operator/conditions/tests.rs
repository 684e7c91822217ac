//! Situations and what is said of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Findings, judge};
use crate::base::clock::UnixMillis;
use crate::crd::VaultCluster;
use crate::crd::cluster::{ConditionStatus, ConditionType};
use crate::k8s::lease::{LeaseActive, LeaseRecord};
use crate::operator::build::Context;
use crate::operator::build::meta::Kind;
use crate::operator::observe::Observed;
use crate::operator::observe::tests::{node, pod};
use crate::operator::roles;
use crate::operator::settings::Settings;
use crate::operator::validate::Problem;

const CA: &str = "Y2E=";

fn cluster(spec: &str) -> VaultCluster {
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: v, namespace: n, uid: u, generation: 4}}\nspec: {spec}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

/// Three pods in best order, the first one active.
fn healthy() -> Observed {
    let mut seen = Observed { now: UnixMillis(1_000_000), ..Observed::default() };
    seen.lease = LeaseRecord {
        holder: "v-0_u0_r".to_owned(),
        duration_seconds: 6,
        active: Some(LeaseActive {
            identity: "v-0_u0_r".to_owned(),
            epoch: 3,
            api_addr: "https://10.0.0.10:8200".to_owned(),
            cluster_addr: String::new(),
        }),
        ..LeaseRecord::default()
    };
    seen.lease_renewed = Some(UnixMillis(999_000));
    for n in 0..3 {
        let mut pod = pod(&format!("v-{n}"), &format!("u{n}"));
        pod.ip = format!("10.0.0.1{n}").parse().ok();
        let mut status = node();
        status.leader_address = "https://10.0.0.10:8200".to_owned();
        status.is_leader = n == 0;
        pod.answer = Ok(status);
        let labels = roles::labels(&pod, n == 0);
        pod.labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        seen.pods.push(pod);
    }
    let addresses = |ips: &[&str]| ips.iter().map(|ip| (*ip).to_owned()).collect::<Vec<_>>();
    seen.endpoints = BTreeMap::from([
        ("v".to_owned(), addresses(&["10.0.0.12", "10.0.0.10", "10.0.0.11"])),
        ("v-active".to_owned(), addresses(&["10.0.0.10"])),
    ]);
    let set =
        json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "updateRevision": "r1"}});
    seen.live.insert((Kind::StatefulSet, "v".to_owned()), set);
    let head = json!({"metadata": {"annotations": {"holdfast.dev/head": "{}"}}, "spec": {"dataBytes": 1000}});
    seen.live.insert((Kind::Head, "v".to_owned()), head);
    seen.live.insert((Kind::Secret, "v-ca".to_owned()), json!({"data": {"tls.crt": CA}}));
    seen
}

fn judged(
    spec: &str,
    seen: &Observed,
    findings: &Findings,
) -> BTreeMap<ConditionType, (ConditionStatus, &'static str)> {
    let (cluster, settings) = (cluster(spec), Settings::for_image("i:1"));
    let context = Context::new(&cluster, &settings).unwrap();
    judge(&context, seen, findings).into_iter().map(|v| (v.kind, (v.status, v.reason))).collect()
}

/// What `Ready` says after something was changed in the healthy picture.
fn ready_after(change: impl FnOnce(&mut Observed, &mut Findings)) -> (ConditionStatus, &'static str) {
    let (mut seen, mut findings) = (healthy(), Findings::default());
    change(&mut seen, &mut findings);
    judged("{}", &seen, &findings)[&ConditionType::Ready]
}

#[test]
fn a_healthy_cluster_is_ready_and_nothing_else_is_said() {
    let said = judged("{}", &healthy(), &Findings::default());
    for kind in ConditionType::ALWAYS {
        let is_good =
            !matches!(kind, ConditionType::Reconciling | ConditionType::Stalled | ConditionType::Degraded);
        assert_eq!(said[&kind].0, ConditionStatus::from(is_good), "{kind:?} {said:?}");
    }
    assert_eq!(said.len(), ConditionType::ALWAYS.len());
}

#[test]
fn ready_needs_everybody_to_agree() {
    let no = |reason| (ConditionStatus::False, reason);
    assert_eq!(ready_after(|_, _| {}), (ConditionStatus::True, "AllMembersReady"));
    assert_eq!(ready_after(|seen, _| drop(seen.pods.pop())), no("InsufficientMembers"));
    assert_eq!(ready_after(|seen, _| seen.pods[2].is_terminating = true), no("InsufficientMembers"));
    assert_eq!(ready_after(|seen, _| seen.pods[1].is_ready = false), no("MembersNotReady"));
    assert_eq!(ready_after(|seen, _| seen.pods[1].answer = Err("away".to_owned())), no("MembersNotReady"));
    assert_eq!(ready_after(|seen, _| seen.lease.active = None), no("NoActive"));
    assert_eq!(ready_after(|seen, _| seen.lease.holder = String::new()), no("NoActive"));
    assert_eq!(ready_after(|seen, _| seen.lease.holder = "v-0_old_r".to_owned()), no("NoActive"));
    assert_eq!(ready_after(|seen, _| seen.lease.holder = "v-0_u0_other".to_owned()), no("Settling"));
    let wrong = |seen: &mut Observed, change: fn(&mut crate::operator::node::NodeStatus)| {
        change(seen.pods[1].answer.as_mut().unwrap());
    };
    assert_eq!(ready_after(|s, _| wrong(s, |n| n.is_leader = true)), no("Settling"));
    assert_eq!(ready_after(|s, _| wrong(s, |n| n.leader_address = "https://x:1".to_owned())), no("Settling"));
    assert_eq!(ready_after(|s, _| wrong(s, |n| n.sealed = true)), no("AwaitingUnseal"));
    let label =
        |seen: &mut Observed| seen.pods[1].labels.insert("vault-active".to_owned(), "true".to_owned());
    assert_eq!(ready_after(|seen, _| drop(label(seen))), no("Settling"));
    assert_eq!(ready_after(|seen, _| drop(seen.endpoints.remove("v-active"))), no("Settling"));
    assert_eq!(ready_after(|_, findings| findings.has_written = true), no("Settling"));
    assert_eq!(ready_after(|_, findings| findings.is_initialising = true), no("Initializing"));
    assert_eq!(ready_after(|seen, _| seen.pods[0].revision = "r0".to_owned()), no("RollingUpdate"));
    let tls = Problem::new("Expired", "");
    assert_eq!(ready_after(|_, findings| findings.tls = Some(tls)), no("TLSNotReady"));
    let lost = Problem::new("KeysLost", "");
    assert_eq!(ready_after(|_, findings| findings.problems.push(lost)), no("KeysLost"));
}

#[test]
fn a_lost_pod_degrades_a_cluster_that_was_ready_and_does_not_restart_its_roll_out() {
    let mut seen = healthy();
    seen.pods.pop();
    let findings = Findings { was_ready: true, ..Findings::default() };
    let said = judged("{}", &seen, &findings);
    assert_eq!(said[&ConditionType::Degraded], (ConditionStatus::True, "MemberDown"));
    assert_eq!(said[&ConditionType::Reconciling].0, ConditionStatus::False);
    assert_eq!(said[&ConditionType::Available].0, ConditionStatus::True);
    let young = judged("{}", &seen, &Findings::default());
    assert_eq!(young[&ConditionType::Reconciling], (ConditionStatus::True, "InsufficientMembers"));
}

#[test]
fn a_storage_that_went_back_needs_a_person() {
    let mut gone = healthy();
    gone.live.insert(
        (Kind::Secret, "v-init".to_owned()),
        json!({"metadata": {"annotations": {"holdfast.dev/answered": "true"}}}),
    );
    gone.live.remove(&(Kind::Head, "v".to_owned()));
    let mut told = healthy();
    for pod in &mut told.pods {
        pod.answer.as_mut().unwrap().not_ready = Some("the storage went back in time: older head".to_owned());
    }
    for seen in [gone, told] {
        let said = judged("{}", &seen, &Findings::default());
        assert_eq!(said[&ConditionType::StorageReady], (ConditionStatus::False, "StorageRolledBack"));
        assert_eq!(said[&ConditionType::Stalled], (ConditionStatus::True, "StorageRolledBack"));
        assert_eq!(said[&ConditionType::Ready], (ConditionStatus::False, "StorageUnavailable"));
    }
    let mut away = healthy();
    away.pods[0].answer.as_mut().unwrap().not_ready =
        Some("the storage kubernetes does not answer".to_owned());
    let said = judged("{}", &away, &Findings::default());
    assert_eq!(said[&ConditionType::StorageReady], (ConditionStatus::False, "Unreachable"));
    assert_eq!(said[&ConditionType::Stalled].0, ConditionStatus::False);
}

#[test]
fn risks_and_limits_are_named_while_they_last() {
    let mut seen = healthy();
    let secret = |data| ((Kind::Secret, "v-init".to_owned()), json!({"data": data}));
    seen.live.extend([secret(json!({"root-token": "", "recovery-key": ""}))]);
    assert_eq!(judged("{}", &seen, &Findings::default())[&ConditionType::SecurityRisk].1, "RootTokenStored");
    seen.live.extend([secret(json!({"recovery-key": ""}))]);
    assert_eq!(judged("{}", &seen, &Findings::default())[&ConditionType::SecurityRisk].1, "PlainKeys");
    seen.live.extend([secret(json!({}))]);
    assert!(!judged("{}", &seen, &Findings::default()).contains_key(&ConditionType::SecurityRisk));
    let full = "{storage: {kubernetes: {dataLimitBytes: 1048576}}}";
    assert!(!judged(full, &seen, &Findings::default()).contains_key(&ConditionType::StorageFull));
    // Four fifths of the limit, and a byte less.
    for (bytes, is_full) in [(838_861, true), (1_048_576, true), (838_860, false), (1000, false)] {
        let head =
            json!({"metadata": {"annotations": {"holdfast.dev/head": "{}"}}, "spec": {"dataBytes": bytes}});
        seen.live.insert((Kind::Head, "v".to_owned()), head);
        let said = judged(full, &seen, &Findings::default());
        let expected = is_full.then_some((ConditionStatus::True, "NearLimit"));
        assert_eq!(said.get(&ConditionType::StorageFull).copied(), expected, "{bytes}");
    }
    assert!(!judged("{}", &seen, &Findings::default()).contains_key(&ConditionType::ClockSkew));
    seen.pods[1].answer.as_mut().unwrap().clock_off_ms = Some(-90_500);
    assert_eq!(judged("{}", &seen, &Findings::default())[&ConditionType::ClockSkew].1, "ClockOff");
    let paused = judged("{paused: true}", &seen, &Findings::default());
    assert_eq!(paused[&ConditionType::Paused].0, ConditionStatus::True);
}

#[test]
fn people_initialise_and_unseal_under_shamir() {
    let mut seen = healthy();
    for pod in &mut seen.pods {
        let node = pod.answer.as_mut().unwrap();
        (node.initialized, node.sealed) = (false, true);
    }
    seen.live.remove(&(Kind::Head, "v".to_owned()));
    let said = judged("{unseal: {type: Shamir}}", &seen, &Findings::default());
    assert_eq!(said[&ConditionType::Ready], (ConditionStatus::False, "AwaitingInitialization"));
    assert_eq!(said[&ConditionType::Stalled].0, ConditionStatus::False);
}
