//! Tables of the two step machines: initialisation and rolling.

use serde_json::{Value, json};

use super::build::Context;
use super::build::meta::Kind;
use super::observe::Observed;
use super::observe::tests::{node, pod};
use super::settings::Settings;
use super::{initialisation, rolling};
use crate::crd::VaultCluster;
use crate::k8s::lease::{LeaseActive, LeaseRecord};

fn with<T>(spec: &str, work: impl FnOnce(&Context<'_>) -> T) -> T {
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: v, namespace: n, uid: u}}\nspec: {spec}\n"
    );
    let cluster: VaultCluster = serde_saphyr::from_str(&text).unwrap();
    let settings = Settings::for_image("i:1");
    work(&Context::new(&cluster, &settings).unwrap())
}

/// Three pods that answer `initialized`, and an init Secret.
fn seen(initialized: bool, secret: Option<Value>) -> Observed {
    let mut seen = Observed::default();
    for n in 0..3 {
        let mut pod = pod(&format!("v-{n}"), &format!("u{n}"));
        let mut status = node();
        status.initialized = initialized;
        status.cluster_id = initialized.then(|| "c-1".to_owned());
        pod.answer = Ok(status);
        seen.pods.push(pod);
    }
    if let Some(secret) = secret {
        seen.live.insert((Kind::Secret, "v-init".to_owned()), secret);
    }
    seen
}

fn secret(annotations: Value, data: Value) -> Option<Value> {
    Some(json!({"metadata": {"annotations": annotations}, "data": data}))
}

fn initialise(spec: &str, seen: &Observed) -> String {
    match with(spec, |context| initialisation::next(context, seen)) {
        initialisation::Step::Nothing => "nothing".to_owned(),
        initialisation::Step::Ask { pod, .. } => format!("ask {pod}"),
        initialisation::Step::Close { cluster_id } => format!("close {cluster_id}"),
        initialisation::Step::Forget => "forget".to_owned(),
        initialisation::Step::Stop(problem) => format!("stop {}", problem.reason),
    }
}

#[test]
fn initialisation_goes_on_from_whatever_is_there() {
    let nonce = || secret(json!({}), json!({"nonce": "bm9uY2U="}));
    let answered = |data: Value| secret(json!({"holdfast.dev/answered": "true"}), data);
    let noted =
        |id: &str| secret(json!({"holdfast.dev/answered": "true", "holdfast.dev/cluster-id": id}), json!({}));
    for (what, initialized, secret, step) in [
        ("no Secret yet", false, None, "nothing"),
        ("a nonce", false, nonce(), "ask v-0"),
        ("died after init, before the answer was stored", true, nonce(), "ask v-0"),
        ("died before the nonce was removed", true, answered(json!({"nonce": "bm9uY2U="})), "close c-1"),
        ("the identity is not noted", true, answered(json!({})), "close c-1"),
        ("all is done", true, noted("c-1"), "nothing"),
        ("the Secret is of another vault", true, noted("c-2"), "stop StaleKeyMaterial"),
        ("the storage is empty again", false, noted("c-1"), "stop StaleKeyMaterial"),
        (
            "a Secret that somebody emptied",
            false,
            self::secret(json!({}), json!({})),
            "stop StaleKeyMaterial",
        ),
        ("its owner removed the keys", true, noted("c-1"), "nothing"),
    ] {
        assert_eq!(initialise("{}", &seen(initialized, secret)), step, "{what}");
    }
    let mut silent = seen(false, nonce());
    for pod in &mut silent.pods {
        pod.answer = Err("away".to_owned());
    }
    assert_eq!(initialise("{}", &silent), "nothing", "nobody answers");
    let mut mixed = seen(false, nonce());
    mixed.pods[2].answer.as_mut().unwrap().initialized = true;
    assert_eq!(initialise("{}", &mixed), "ask v-2", "the one that knows of the vault is asked");
    assert_eq!(initialise("{unseal: {type: Shamir}}", &seen(false, nonce())), "nothing");
    let memory = "{profile: Development, replicas: 1, storage: {type: Memory}}";
    assert_eq!(initialise(memory, &seen(false, noted("c-1"))), "forget");
}

/// Three pods of revision `r1` with v-1 active, and a StatefulSet that wants `target`.
fn rolling_picture(target: &str) -> Observed {
    let mut seen = seen(true, None);
    let set =
        json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "updateRevision": target}});
    seen.live.insert((Kind::StatefulSet, "v".to_owned()), set);
    let active = LeaseActive {
        identity: "v-1_u1_r".to_owned(),
        epoch: 1,
        api_addr: String::new(),
        cluster_addr: String::new(),
    };
    seen.lease =
        LeaseRecord { holder: "v-1_u1_r".to_owned(), active: Some(active), ..LeaseRecord::default() };
    seen
}

fn roll(seen: &Observed) -> String {
    match with("{}", |context| rolling::next(context, seen)) {
        rolling::Step::Nothing => "nothing".to_owned(),
        rolling::Step::Wait(why) => format!("wait: {why}"),
        rolling::Step::Announce(pod) => format!("announce {pod}"),
        rolling::Step::Replace { pod, .. } => format!("replace {pod}"),
        rolling::Step::Welcome => "welcome".to_owned(),
    }
}

#[test]
fn a_roll_takes_standbys_first_and_the_active_pod_last() {
    let mut seen = rolling_picture("r2");
    let mut order = Vec::new();
    for _ in 0..20 {
        match roll(&seen).split_once(' ') {
            Some(("announce", pod)) => seen.lease.leaving = Some(pod.to_owned()),
            Some(("replace", name)) => {
                order.push(name.to_owned());
                let active = seen.lease.active.as_mut().unwrap();
                if active.identity.starts_with(name) {
                    active.identity = "v-2_u2-new_r".to_owned();
                }
                let pod = seen.pods.iter_mut().find(|pod| pod.name == name).unwrap();
                assert_eq!(seen.lease.leaving.as_ref(), Some(&pod.name), "announced before");
                pod.revision = "r2".to_owned();
                pod.uid = format!("{}-new", pod.uid);
            }
            None if roll(&seen) == "welcome" => seen.lease.leaving = None,
            other => {
                assert_eq!(roll(&seen), "nothing", "{other:?}");
                break;
            }
        }
    }
    assert_eq!(order, ["v-2", "v-0", "v-1"]);
    assert_eq!(seen.lease.leaving, None);
}

#[test]
fn a_roll_waits_while_a_pod_is_not_well() {
    assert_eq!(roll(&rolling_picture("r1")), "nothing");
    let mut sealed = rolling_picture("r2");
    sealed.pods[0].answer.as_mut().unwrap().sealed = true;
    assert_eq!(roll(&sealed), "wait: pod v-0 is sealed");
    let mut missing = rolling_picture("r2");
    missing.pods.pop();
    assert_eq!(roll(&missing), "wait: 2 of 3 pods exist");
    let mut headless = rolling_picture("r2");
    headless.lease.active = None;
    assert_eq!(roll(&headless), "wait: no pod leads");
    let mut going = rolling_picture("r2");
    going.pods[2].is_terminating = true;
    assert_eq!(roll(&going), "wait: pod v-2 is not ready");
    let mut unseen = rolling_picture("r2");
    let set =
        json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "updateRevision": "r2"}});
    unseen.live.insert((Kind::StatefulSet, "v".to_owned()), set);
    assert!(roll(&unseen).starts_with("wait: the StatefulSet"));
}

#[test]
fn a_pod_that_never_came_up_is_replaced_without_waiting() {
    let mut seen = rolling_picture("r3");
    seen.pods[0].is_ready = false;
    seen.pods[0].waiting = Some("ImagePullBackOff: no such image".to_owned());
    seen.pods[2].answer = Err("away".to_owned());
    assert_eq!(roll(&seen), "replace v-0");
    // Not by the template that broke it.
    seen.pods[0].revision = "r3".to_owned();
    assert_eq!(roll(&seen), "wait: pod v-0 is not ready");
}
