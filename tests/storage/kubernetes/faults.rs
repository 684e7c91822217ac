//! What others do to the head object, and an API server that stops answering.

use std::time::{Duration, Instant};

use holdfast::crd::VaultStoreHead;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, StorageError};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::server;
use super::world::{PATIENCE, World, Writer, common_server, event, next_head, put, read, settle, until};

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_others_cost_nothing_and_stay() {
    let world = World::new().await;
    let mut writer = Writer::init(world.open()).await;
    let reader = world.open();
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    let heads = world.heads();
    let patching = async {
        for n in 0..60 {
            let patch = json!({"metadata": {
                "labels": {"touched": format!("{n}")},
                "annotations": {"example.com/by": format!("{n}")},
            }});
            heads.patch("vault", &PatchParams::default(), &Patch::Merge(patch)).await.expect("a patch");
        }
    };
    let writing = async {
        for n in 0..60 {
            writer.write(&[put(&format!("k/{n}"), n.to_string())]).await;
        }
    };
    tokio::join!(patching, writing);
    assert!(writer.backend.counters().head_conflicts > 0, "the test did not get in the way of a commit");
    for n in 0..60 {
        assert_eq!(read(&writer.backend, &format!("k/{n}")).await.as_deref(), Some(n.to_string().as_bytes()));
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap at {n}") };
        assert_eq!(record.keys, [format!("k/{n}")]);
    }
    let meta = world.head_object().await.metadata;
    assert_eq!(meta.labels.expect("labels")["touched"], "59");
    assert_eq!(meta.annotations.expect("annotations")["example.com/by"], "59");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_head_is_reported() {
    let world = World::new().await;
    let mut writer = Writer::init(world.open()).await;
    for n in 0..40 {
        writer.write(&[put(&format!("k/{n}"), vec![7; 1000])]).await;
    }
    assert!(!world.segment_names().await.is_empty(), "the test needs segments");
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    world.heads().delete("vault", &DeleteParams::default()).await.expect("a deletion");
    assert_eq!(writer.backend.check().await, Ok(None));
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: None });
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[put("a", "1")]).await;
    assert_eq!(outcome, Commit::Fenced { current: None });
    assert!(matches!(writer.backend.get("k/1").await, Err(StorageError::Empty { .. })));
    // There is data without a head: nobody may start anew beside it.
    let other = world.open();
    let outcome = other.commit(None, &super::world::first_head(), &[]).await;
    assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_its_annotation_is_damage() {
    let world = World::new().await;
    let mut writer = Writer::init(world.open()).await;
    writer.write(&[put("a", "1")]).await;
    let patch = json!({"metadata": {"annotations": {"holdfast.dev/head": null}}});
    world.heads().patch("vault", &PatchParams::default(), &Patch::Merge(patch)).await.expect("a patch");
    assert_eq!(writer.backend.check().await, Ok(None));
    let other = world.open();
    let outcome = other.commit(None, &super::world::first_head(), &[]).await;
    assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{outcome:?}");
    let outcome = other.get("a").await;
    assert!(matches!(outcome, Err(StorageError::Damaged { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_head_that_comes_back_shows() {
    let world = World::new().await;
    let mut writer = Writer::init(world.open()).await;
    let reader = world.open();
    writer.write(&[put("a", "1")]).await;
    let (old, old_head) = (world.head_object().await, writer.head.clone());
    for n in 0..10 {
        writer.write(&[put("a", format!("later {n}"))]).await;
    }
    assert_eq!(reader.check().await, Ok(Some(writer.head.clone())));
    assert_eq!(read(&reader, "a").await.as_deref(), Some(b"later 9".as_slice()));
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    // As a restore from a backup does.
    let mut restored = VaultStoreHead { metadata: Default::default(), spec: old.spec };
    restored.metadata.name = Some("vault".to_owned());
    restored.metadata.annotations = old.metadata.annotations;
    world.heads().delete("vault", &DeleteParams::default()).await.expect("a deletion");
    world.heads().create(&PostParams::default(), &restored).await.expect("a restored head");
    assert_eq!(reader.check().await, Ok(Some(old_head.clone())));
    loop {
        match event(feed.as_mut()).await {
            FeedEvent::Reset { head: None } => {}
            FeedEvent::Reset { head: Some(head) } => break assert_eq!(head, old_head),
            FeedEvent::Record(record) => panic!("a restore is no commit: {record:?}"),
        }
    }
    assert_eq!(read(&reader, "a").await.as_deref(), Some(b"1".as_slice()));
    let late = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[put("a", "late")]).await;
    assert_eq!(late, Commit::Fenced { current: Some(old_head) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_to_a_stopped_server_is_unknown_and_then_known() {
    let server = server::start().await;
    let world = World::on(&server).await;
    let mut writer = Writer::init(world.open()).await;
    let reader = world.open();
    assert_eq!(reader.check().await, Ok(Some(writer.head.clone())));
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    for round in 0..3 {
        server.freeze();
        let next = next_head(&writer.head);
        let ops = [put("round", round.to_string())];
        let sent = Instant::now();
        let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
        assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
        assert!(sent.elapsed() < Duration::from_secs(6), "it took {:?}", sent.elapsed());
        assert!(writer.backend.check().await.is_err(), "a stopped server cannot vouch for anything");
        // What is in memory can still be read.
        assert_eq!(reader.get("round").await.expect("a read").head, writer.head);
        server.thaw();
        // The stopped request may be carried out now; sending it again never does it twice.
        settle(&writer.backend, Some(&writer.head), &next, &ops).await.expect("a commit");
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
        assert_eq!(record.head, next);
        writer.head = next;
        until("a check succeeds again", async || reader.check().await == Ok(Some(writer.head.clone()))).await;
    }
    server.stop();
    server.start_again();
    let next = next_head(&writer.head);
    settle(&writer.backend, Some(&writer.head), &next, &[put("round", "after a crash")])
        .await
        .expect("a commit");
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
    assert_eq!(record.head, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_a_pod_are_enough() {
    let mut world = World::new().await;
    let namespace = world.settings.namespace.clone();
    let empty = VaultStoreHead::new("vault", Default::default());
    world.heads().create(&PostParams::default(), &empty).await.expect("an empty head");
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "vault"},
        "rules": [
            {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoreheads"], "resourceNames": ["vault"],
             "verbs": ["get", "update", "watch"]},
            {"apiGroups": ["holdfast.dev"], "resources": ["vaultstoresegments"],
             "verbs": ["get", "list", "create", "delete"]},
        ],
    }))
    .expect("a role");
    let user = format!("system:serviceaccount:{namespace}:vault");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "vault"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "vault"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }))
    .expect("a binding");
    let roles: Api<Role> = Api::namespaced(world.client.clone(), &namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &namespace);
    roles.create(&PostParams::default(), &role).await.expect("a role");
    bindings.create(&PostParams::default(), &binding).await.expect("a binding");
    world.clients = server::clients_as(common_server().await, &user).await;
    world.settings.garbage_age_seconds = 1;
    let reader = world.open();
    until("the role is known", async || reader.check().await == Ok(None)).await;
    let mut writer = Writer::init(world.open()).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    for n in 0..60 {
        writer.write(&[put(&format!("k/{n}"), vec![1; 1000])]).await;
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap at {n}") };
        assert_eq!(record.head, writer.head);
    }
    until("garbage is collected", async || writer.backend.counters().segments_deleted > 0).await;
    let fresh = world.open();
    assert_eq!(read(&fresh, "k/59").await.map(|value| value.len()), Some(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_watch_is_replaced_by_polling() {
    let world = World::new().await;
    let mut writer = Writer::init(world.open()).await;
    // Everything but watching.
    let namespace = world.settings.namespace.clone();
    let user = format!("system:serviceaccount:{namespace}:blind");
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "blind"},
        "rules": [{"apiGroups": ["holdfast.dev"], "resources": ["vaultstoreheads", "vaultstoresegments"],
                   "verbs": ["get", "list"]}],
    }))
    .expect("a role");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "blind"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "blind"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }))
    .expect("a binding");
    Api::<Role>::namespaced(world.client.clone(), &namespace)
        .create(&PostParams::default(), &role)
        .await
        .expect("a role");
    Api::<RoleBinding>::namespaced(world.client.clone(), &namespace)
        .create(&PostParams::default(), &binding)
        .await
        .expect("a binding");
    let mut blind = World {
        client: world.client.clone(),
        clients: world.clients.clone(),
        settings: world.settings.clone(),
    };
    blind.clients = server::clients_as(common_server().await, &user).await;
    let reader = blind.open();
    until("the role is known", async || reader.check().await.is_ok()).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    for n in 0..3 {
        writer.write(&[put("n", n.to_string())]).await;
        let sent = Instant::now();
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap at {n}") };
        assert_eq!(record.head, writer.head);
        assert!(sent.elapsed() < PATIENCE / 3, "it took {:?}", sent.elapsed());
    }
    let refused = reader.commit(Some(&writer.head), &next_head(&writer.head), &[]).await;
    assert!(
        matches!(refused, Commit::Unknown { .. }),
        "a server that does not know the roles yet also says 403: {refused:?}"
    );
}
