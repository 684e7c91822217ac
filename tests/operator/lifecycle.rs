//! What the operator makes of a VaultCluster, as far as objects go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast::base::task::Shutdown;
use holdfast::k8s::client::Clients;
use holdfast::operator::{self, Settings};
use holdfast::telemetry::Metrics;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::door::{self, Tally};
use crate::setup::{self, eventually};

const LONG: Duration = Duration::from_secs(60);

/// An operator for one namespace, in this process.
pub struct Running {
    end: Shutdown,
    task: JoinHandle<Result<(), operator::OperatorError>>,
}

impl Running {
    pub fn start(clients: Clients, namespace: &str) -> Self {
        let mut settings = Settings::for_image("holdfast.dev/holdfast:0.1.0");
        settings.namespace = Some(namespace.to_owned());
        let end = Shutdown::default();
        let metrics = Arc::new(Metrics::new("operator", "test"));
        let task = tokio::spawn(operator::run(clients, settings, metrics, end.clone()));
        Self { end, task }
    }

    pub async fn stop(self) {
        self.end.trigger();
        self.task.await.unwrap().unwrap();
    }

    fn kill(self) {
        self.task.abort();
    }
}

async fn status(client: &Client, place: &str) -> Result<Value, String> {
    let object = setup::clusters(client, place).get("v").await.map_err(|e| e.to_string())?;
    Ok(object.data["status"].clone())
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|c| c["type"] == kind).unwrap_or(&Value::Null)
}

/// Waits until a condition has this value and reason.
async fn expect(client: &Client, place: &str, kind: &str, value: &str, reason: &str) -> Value {
    eventually(&format!("{kind}={value}/{reason}"), LONG, || async {
        let status = status(client, place).await?;
        let found = condition(&status, kind);
        if found["status"] == value && found["reason"] == reason {
            Ok(status)
        } else {
            Err(found.to_string())
        }
    })
    .await
}

async fn secrets(client: &Client, place: &str) -> Vec<Secret> {
    let api: Api<Secret> = Api::namespaced(client.clone(), place);
    api.list(&Default::default()).await.unwrap().items
}

async fn secret(client: &Client, place: &str, name: &str) -> Secret {
    let api: Api<Secret> = Api::namespaced(client.clone(), place);
    eventually(name, LONG, || async { api.get(name).await.map_err(|e| e.to_string()) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_specification_becomes_its_children() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "children").await;
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    let operator = Running::start(clients, &place);
    let found = expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    assert_eq!(condition(&found, "Reconciling")["status"], "True");
    assert_eq!(found["observedGeneration"], 1);
    for condition in found["conditions"].as_array().unwrap() {
        assert_eq!(condition["observedGeneration"], 1, "{condition}");
    }
    let set: StatefulSet = Api::namespaced(client.clone(), &place).get("v").await.unwrap();
    let spec = set.spec.unwrap();
    assert_eq!(spec.replicas, Some(3));
    assert_eq!(spec.update_strategy.unwrap().type_.as_deref(), Some("OnDelete"));
    let lease: Lease = Api::namespaced(client.clone(), &place).get("v").await.unwrap();
    assert_eq!(lease.spec.and_then(|spec| spec.holder_identity), None);
    let uid = setup::clusters(&client, &place).get("v").await.unwrap().metadata.uid.unwrap();
    for secret in secrets(&client, &place).await {
        let name = secret.metadata.name.clone().unwrap();
        let owners = secret.metadata.owner_references.unwrap_or_default();
        let is_kept = ["v-ca", "v-init", "v-unseal-key"].contains(&name.as_str());
        assert_eq!(owners.is_empty(), is_kept, "{name}");
        assert!(owners.iter().all(|owner| owner.uid == uid));
        assert_eq!(secret.metadata.labels.unwrap()["holdfast.dev/cluster"], "v", "{name}");
    }
    // A Service that somebody deletes comes back without being asked for.
    let services: Api<Service> = Api::namespaced(client.clone(), &place);
    let before = services.get("v-active").await.unwrap().metadata.uid;
    services.delete("v-active", &DeleteParams::default()).await.unwrap();
    eventually("the Service is back", LONG, || async {
        let after = services.get("v-active").await.map_err(|e| e.to_string())?.metadata.uid;
        if after == before { Err("the old one".to_owned()) } else { Ok(()) }
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_cluster_is_not_written_to() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "settled").await;
    let tally = Tally::limited(i64::MAX);
    let door = door::client(&setup::kubeconfig(), &tally).await;
    let spec = json!({"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}});
    setup::apply(&client, &place, "v", &spec).await.unwrap();
    let operator = Running::start(Clients { requests: door, watches: client.clone() }, &place);
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    // Visits go on every two seconds; writes of values that the server stores in another form are no changes and
    // leave every object as it is.
    let versions = || async {
        let set: StatefulSet = Api::namespaced(client.clone(), &place).get("v").await.unwrap();
        let object = setup::clusters(&client, &place).get("v").await.unwrap();
        (set.metadata.resource_version, object.metadata.resource_version)
    };
    let mut last = versions().await;
    let mut calm = 0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = versions().await;
        calm = if now == last { calm + 1 } else { 0 };
        last = now;
        if calm == 5 {
            break;
        }
    }
    assert_eq!(calm, 5, "the operator keeps writing: {last:?}");
    operator.stop().await;
}

/// When the Lease was taken, in seconds of Unix time, and half a second.
const TAKEN: i64 = 1_767_323_040;

/// The kubelet's word about a container, which has ended `seconds` after the Lease was taken.
fn ended(seconds: i64) -> Value {
    let finished = jiff::Timestamp::from_second(TAKEN + seconds).unwrap().to_string();
    json!({"status": {"phase": "Running", "podIP": "198.51.100.1", "containerStatuses": [{"name": "server",
        "image": "i", "imageID": "i", "ready": false, "restartCount": 1, "state":
        {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": finished}}}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_tells_that_its_holder_has_ended() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "ended").await;
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    let operator = Running::start(clients, &place);
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    let set: StatefulSet = Api::namespaced(client.clone(), &place).get("v").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &place);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "v-0",
        "labels": {"holdfast.dev/cluster": "v"}, "ownerReferences": [{"apiVersion": "apps/v1",
        "kind": "StatefulSet", "name": "v", "uid": set.metadata.uid}]},
        "spec": {"serviceAccountName": "v", "containers": [{"name": "server", "image": "i"}]}});
    let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let uid = pod.metadata.uid.unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), &place);
    let holder = format!("v-0_{uid}_second");
    let taken = MicroTime(jiff::Timestamp::from_millisecond(TAKEN * 1000 + 500).unwrap());
    let held = json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 6, "acquireTime": taken}});
    leases.patch("v", &PatchParams::default(), &Patch::Merge(held)).await.unwrap();
    let said = || async {
        let annotations = leases.get("v").await.unwrap().metadata.annotations.unwrap_or_default();
        annotations.get("holdfast.dev/ended").cloned()
    };
    let status = |value: Value| {
        let (pods, patch) = (pods.clone(), Patch::Merge(value));
        async move { pods.patch_status("v-0", &PatchParams::default(), &patch).await.unwrap() }
    };
    // An earlier process of the pod ended before this one took the Lease. The operator has seen it when it says so.
    status(ended(0)).await;
    eventually("the operator sees the end", LONG, || async {
        let status = self::status(&client, &place).await?.to_string();
        if status.contains("has ended with exit code 137") { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(said().await, None);
    status(ended(2)).await;
    eventually("the Lease tells", LONG, || async {
        let said = said().await;
        if said.as_ref() == Some(&holder) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_the_storage_needs_is_named_until_it_is_there() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "credentials").await;
    let etcd = json!({"endpoints": ["https://127.0.0.1:1"], "credentialsSecretRef": {"name": "c"}});
    setup::apply(&client, &place, "v", &json!({"storage": {"type": "Etcd", "etcd": etcd}})).await.unwrap();
    let operator = Running::start(clients, &place);
    let found = expect(&client, &place, "Stalled", "True", "SecretMissing").await;
    let message = condition(&found, "Ready")["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "storage.etcd.credentialsSecretRef: there is no Secret c");
    assert_eq!(condition(&found, "Ready")["status"], "False");
    let api: Api<Secret> = Api::namespaced(client.clone(), &place);
    let credentials = |data: Value| {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}, "stringData": data});
        let params = PatchParams::apply("test").force();
        let (api, secret) = (api.clone(), Patch::Apply(secret));
        async move { api.patch("c", &params, &secret).await.unwrap() }
    };
    credentials(json!({"username": "u"})).await;
    let found = expect(&client, &place, "Stalled", "True", "SecretIncomplete").await;
    let message = condition(&found, "Ready")["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "storage.etcd.credentialsSecretRef: Secret c has no password that is text");
    credentials(json!({"username": "u", "password": "p"})).await;
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_object_of_the_same_name_is_left_alone() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "foreign").await;
    let services: Api<Service> = Api::namespaced(client.clone(), &place);
    let foreign =
        serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": {"ports": [{"port": 1}]}})).unwrap();
    let foreign = services.create(&Default::default(), &foreign).await.unwrap();
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    let operator = Running::start(clients, &place);
    let found = expect(&client, &place, "Stalled", "True", "NameConflict").await;
    assert!(condition(&found, "Stalled")["message"].as_str().unwrap().contains("Service/v"));
    let after = services.get("v").await.unwrap();
    assert_eq!(after.metadata.resource_version, foreign.metadata.resource_version);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_the_object_and_come_back_with_it() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "again").await;
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    let operator = Running::start(clients, &place);
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    let mut before = Vec::new();
    for name in ["v-ca", "v-init", "v-unseal-key"] {
        before.push(secret(&client, &place, name).await);
    }
    setup::clusters(&client, &place).delete("v", &DeleteParams::default()).await.unwrap();
    // Nothing of ours holds it up.
    eventually("the object is gone", LONG, || async {
        match setup::clusters(&client, &place).get_opt("v").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    for secret_before in before {
        let name = secret_before.metadata.name.clone().unwrap();
        let after = secret(&client, &place, &name).await;
        assert_eq!(after.metadata.uid, secret_before.metadata.uid, "{name}");
        assert_eq!(after.data, secret_before.data, "{name}");
    }
    // The new object owns what the old one owned.
    let uid = setup::clusters(&client, &place).get("v").await.unwrap().metadata.uid.unwrap();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place);
    eventually("the StatefulSet has a new owner", LONG, || async {
        let owners =
            sets.get("v").await.map_err(|e| e.to_string())?.metadata.owner_references.unwrap_or_default();
        if owners.len() == 1 && owners[0].uid == uid { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_unseal_key_is_never_replaced() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "lost").await;
    setup::apply(&client, &place, "v", &json!({})).await.unwrap();
    let operator = Running::start(clients, &place);
    secret(&client, &place, "v-init").await;
    expect(&client, &place, "Ready", "False", "InsufficientMembers").await;
    // As if it had been initialised long ago.
    let patch = json!({"metadata": {"annotations": {"holdfast.dev/answered": "true"}}});
    let api: Api<Secret> = Api::namespaced(client.clone(), &place);
    api.patch("v-init", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    api.delete("v-unseal-key", &DeleteParams::default()).await.unwrap();
    let found = expect(&client, &place, "Stalled", "True", "KeysLost").await;
    assert!(condition(&found, "Stalled")["message"].as_str().unwrap().contains("restore the Secret"));
    assert!(api.get_opt("v-unseal-key").await.unwrap().is_none());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_cluster_is_watched_and_not_changed() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let place = setup::namespace(&client, "paused").await;
    setup::apply(&client, &place, "v", &json!({"paused": true})).await.unwrap();
    let operator = Running::start(clients, &place);
    expect(&client, &place, "Paused", "True", "Requested").await;
    assert!(secrets(&client, &place).await.is_empty());
    setup::apply(&client, &place, "v", &json!({"paused": false})).await.unwrap();
    secret(&client, &place, "v-init").await;
    eventually("the condition is gone", LONG, || async {
        match condition(&status(&client, &place).await?, "Paused") {
            Value::Null => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    operator.stop().await;
}

/// Dies after its k-th write, for every k of a first roll-out; what was drawn once is never drawn again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_after_any_write_loses_nothing() {
    let clients = setup::clients().await;
    let client = clients.watches.clone();
    let total = roll_out(&client, "death-count", i64::MAX).await;
    assert!(total > 15, "{total} writes");
    for k in 1..=total {
        roll_out(&client, &format!("death-{k}"), k).await;
    }
    println!("a first roll-out takes {total} writes up to the pods; death after each was survived");
}

/// A roll-out by an operator that dies after `limit` writes and is followed by another. Returns the first one's writes.
async fn roll_out(client: &Client, name: &str, limit: i64) -> i64 {
    let place = setup::namespace(client, name).await;
    setup::apply(client, &place, "v", &json!({})).await.unwrap();
    let tally = Tally::limited(limit);
    let door = door::client(&setup::kubeconfig(), &tally).await;
    let first = Running::start(Clients { requests: door, watches: client.clone() }, &place);
    if limit == i64::MAX {
        expect(client, &place, "Ready", "False", "InsufficientMembers").await;
    } else {
        eventually("the blow", LONG, || async {
            if tally.is_spent() { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
    let done = tally.done.load(Ordering::SeqCst);
    first.kill();
    let made_before = secrets(client, &place).await;
    let clients = setup::clients().await;
    let second = Running::start(clients, &place);
    expect(client, &place, "Ready", "False", "InsufficientMembers").await;
    Api::<StatefulSet>::namespaced(client.clone(), &place).get("v").await.unwrap();
    let made = secrets(client, &place).await;
    for name in ["v-ca", "v-ca-cert", "v-issuer", "v-unseal-key", "v-init"] {
        assert!(
            made.iter().any(|secret| secret.metadata.name.as_deref() == Some(name)),
            "{name} after {limit}"
        );
    }
    for before in made_before {
        let after = made.iter().find(|secret| secret.metadata.name == before.metadata.name);
        assert_eq!(after.and_then(|s| s.data.as_ref()), before.data.as_ref(), "{:?}", before.metadata.name);
    }
    let text = |name: &str, key: &str| {
        let secret = made.iter().find(|secret| secret.metadata.name.as_deref() == Some(name)).unwrap();
        secret.data.as_ref().unwrap()[key].0.clone()
    };
    assert_eq!(text("v-ca", "tls.crt"), text("v-issuer", "ca.crt"));
    assert_eq!(text("v-ca", "tls.crt"), text("v-ca-cert", "ca.crt"));
    second.stop().await;
    done
}
