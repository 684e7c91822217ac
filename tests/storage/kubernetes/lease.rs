//! The Lease as others see it.

use std::sync::Arc;

use holdfast::base::clock::SystemClock;
use holdfast::vault::physical::kubernetes::LeaseRegister;
use holdfast::vault::physical::{HaBackend, LockRecord, Swap};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use super::server;
use super::world::{World, common_server, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_a_pod_are_enough_and_people_can_read_it() {
    let world = World::new().await;
    let namespace = world.settings.namespace.clone();
    let user = format!("system:serviceaccount:{namespace}:vault");
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "vault"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["vault"],
                   "verbs": ["get", "update", "watch"]}],
    }))
    .expect("a role");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "vault"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "vault"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }))
    .expect("a binding");
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &namespace);
    Api::<Role>::namespaced(world.client.clone(), &namespace)
        .create(&PostParams::default(), &role)
        .await
        .expect("a role");
    Api::<RoleBinding>::namespaced(world.client.clone(), &namespace)
        .create(&PostParams::default(), &binding)
        .await
        .expect("a binding");
    // The operator makes the Lease; a pod finds it empty.
    let empty: Lease = serde_json::from_value(json!({"metadata": {"name": "vault"}})).expect("a Lease");
    leases.create(&PostParams::default(), &empty).await.expect("a Lease");
    let clients = server::clients_as(common_server().await, &user).await;
    let register = LeaseRegister::new(&clients, &namespace, "vault", Arc::new(SystemClock));
    until("the role is known", async || register.read().await.is_ok()).await;
    let mut watch = register.watch().await.expect("a watch");
    let found = watch.changed().await.expect("a report").expect("a Lease");
    assert_eq!(found.record, LockRecord::default());
    let next = LockRecord {
        holder: "vault-0_u_r".to_owned(),
        duration_seconds: 6,
        transitions: 1,
        ..LockRecord::default()
    };
    let Swap::Swapped(version) = register.swap(Some(&found.version), &next).await else { panic!("no swap") };
    let seen = watch.changed().await.expect("a report").expect("a Lease");
    assert_eq!((seen.version, seen.record), (version.clone(), next.clone()));
    let spec = leases.get("vault").await.expect("a Lease").spec.expect("a spec");
    assert_eq!(spec.holder_identity.as_deref(), Some("vault-0_u_r"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(6), Some(1)));
    let acquired = spec.acquire_time.expect("a time");
    assert!(spec.renew_time.is_some());
    let renewed = LockRecord { renewals: 1, ..next };
    let Swap::Swapped(_) = register.swap(Some(&version), &renewed).await else { panic!("no swap") };
    let spec = leases.get("vault").await.expect("a Lease").spec.expect("a spec");
    assert_eq!(spec.acquire_time, Some(acquired), "a renewal is no acquisition");
    // Deleted, it is absent; a pod may not make a new one.
    leases.delete("vault", &DeleteParams::default()).await.expect("a deletion");
    until("the watch says that it is gone", async || {
        watch.changed().await.is_ok_and(|found| found.is_none())
    })
    .await;
    let outcome = register.swap(None, &renewed).await;
    assert!(!matches!(outcome, Swap::Swapped(_)), "{outcome:?}");
}
