//! Segments: rolled over, merged, collected as garbage, missing and altered.

use holdfast::vault::physical::kubernetes::Settings;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, Op, StorageError};
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::world::{World, Writer, event, next_head, put, read, until};
use holdfast::crd::VaultStoreSegment;

/// Bytes of the head object as JSON without what the API server adds.
async fn head_bytes(world: &World) -> usize {
    let mut object = world.head_object().await;
    object.metadata.managed_fields = None;
    serde_json::to_vec(&object).expect("JSON").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_writes_roll_over_and_are_all_found() {
    let mut world = World::new().await;
    world.settings.garbage_age_seconds = 2;
    let mut writer = Writer::init(world.open()).await;
    let follower = world.open();
    let start = writer.head.clone();
    let mut feed = follower.follow(Some(start)).await.expect("a feed");
    let mut largest = 0;
    for n in 0..2000u32 {
        let ops = [put(&format!("k/{:04}", n % 1500), format!("{n}-{}", "x".repeat(400)))];
        writer.write(&ops).await;
        if n % 100 == 99 {
            largest = largest.max(head_bytes(&world).await);
        }
    }
    let counters = writer.backend.counters();
    println!("{counters:?}, largest head {largest} bytes");
    assert!(largest < 16 << 10, "a head of {largest} bytes");
    assert!(counters.head_bytes / counters.head_writes < 9 << 10, "{counters:?}");
    assert!(counters.segments_created > 50, "{counters:?}");
    // Small commits share segments, joins of segments included.
    assert!(counters.segments_created < 2000 / 5, "{counters:?}");
    // A node that followed all the while saw every commit; memory and segments agree with it.
    let mut seen = 0;
    loop {
        match event(feed.as_mut()).await {
            FeedEvent::Record(record) => {
                seen += 1;
                if record.head == writer.head {
                    break;
                }
            }
            FeedEvent::Reset { head } => panic!("continuity was lost before {head:?}"),
        }
    }
    assert_eq!(seen, 2000);
    assert_eq!(follower.counters().loads, 1, "it followed without loading anything again");
    let fresh = world.open();
    for instance in [&fresh, &follower, &writer.backend] {
        instance.check().await.expect("a check");
        let listed = instance.list("k/", None, 3000).await.expect("a listing");
        assert_eq!((listed.keys.len(), listed.head), (1500, writer.head.clone()));
        for n in [0, 1, 499, 500, 777, 1499u32] {
            let newest = if n < 500 { n + 1500 } else { n };
            let value = read(instance, &format!("k/{n:04}")).await.expect("a value");
            assert!(value.starts_with(format!("{newest}-").as_bytes()), "{n}");
        }
    }
    // What is not listed any more goes; what is listed stays.
    let listed = world.head_object().await.spec.segments.len();
    until("garbage is collected", async || world.segment_names().await.len() <= listed + 8).await;
    let again = world.open();
    assert_eq!(again.list("k/", None, 3000).await.expect("a listing").keys.len(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_stores_are_cut_into_parts_and_merged() {
    let mut world = World::new().await;
    world.settings.budget_bytes_per_second = 200 << 20;
    world.settings.garbage_age_seconds = 2;
    let mut writer = Writer::init(world.open()).await;
    for n in 0..14u8 {
        writer
            .write(&[put(&format!("big/{n}"), vec![n; 250_000]), put(&format!("small/{n}"), vec![n])])
            .await;
    }
    until("a run in parts is listed", async || {
        world.head_object().await.spec.segments.iter().any(|entry| entry.parts > 1)
    })
    .await;
    // Another node takes over, learns of the parts, and shrinks the store again.
    let mut writer = Writer::claim(world.open()).await;
    for n in 0..14u8 {
        assert_eq!(
            read(&writer.backend, &format!("big/{n}")).await.as_deref(),
            Some(vec![n; 250_000].as_slice())
        );
    }
    for n in 0..14u8 {
        writer.write(&[Op::Delete { key: format!("big/{n}") }]).await;
    }
    // Logs of up to half a MiB stay for nodes that lag.
    until("dead data is gone", async || {
        let listed = world.head_object().await.spec.segments;
        listed.iter().map(|entry| entry.bytes).sum::<u64>() < 600_000
            && listed.iter().all(|entry| entry.parts == 0)
    })
    .await;
    until("its objects are gone", async || world.segment_names().await.len() < 8).await;
    let fresh = world.open();
    let listed = fresh.list("", None, 100).await.expect("a listing");
    assert_eq!((listed.keys.len(), listed.head), (14, writer.head.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_damage_until_it_is_written_anew() {
    let mut world = World::new().await;
    let settings = Settings { garbage_age_seconds: 3600, ..world.settings.clone() };
    let mut writer = Writer::init(world.open_with(settings)).await;
    for n in 0..30 {
        writer.write(&[put(&format!("k/{n}"), vec![1; 1000])]).await;
    }
    let victim = world.head_object().await.spec.segments[0].name.clone();
    world.segments().delete(&victim, &DeleteParams::default()).await.expect("a deletion");
    let cold = world.open();
    let outcome = cold.get("k/1").await;
    assert!(matches!(outcome, Err(StorageError::Damaged { .. })), "{outcome:?}");
    assert_eq!(cold.check().await, Ok(Some(writer.head.clone())), "the head itself is sound");
    let claim = next_head(&writer.head);
    let outcome = cold.commit(Some(&writer.head), &claim, &[]).await;
    assert!(
        matches!(outcome, Commit::Refused(StorageError::Damaged { .. })),
        "it must not claim: {outcome:?}"
    );
    // A node that has everything in memory, and looks after its segments, repairs it.
    drop(writer);
    world.settings.garbage_age_seconds = 1;
    let listed = world.head_object().await.spec.segments;
    let content = json!({"data": "AAAA"});
    let mut wrong = VaultStoreSegment::new(&victim, serde_json::from_value(content).expect("a segment"));
    wrong.metadata.labels = Some([("holdfast.dev/store".to_owned(), "vault".to_owned())].into());
    world.segments().create(&PostParams::default(), &wrong).await.expect("a wrong segment");
    let outcome = world.open().get("k/1").await;
    assert!(
        matches!(&outcome, Err(StorageError::Damaged { reason, .. }) if reason.contains("SHA-256")),
        "{outcome:?}"
    );
    assert_eq!(world.head_object().await.spec.segments, listed, "nobody who cannot read it changes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_node_writes_a_missing_segment_anew() {
    let mut world = World::new().await;
    world.settings.garbage_age_seconds = 5;
    let mut writer = Writer::init(world.open()).await;
    for n in 0..30 {
        writer.write(&[put(&format!("k/{n}"), vec![1; 1000])]).await;
    }
    let victim = world.head_object().await.spec.segments[0].name.clone();
    world.segments().delete(&victim, &DeleteParams::default()).await.expect("a deletion");
    until("the list does without it", async || {
        world.head_object().await.spec.segments.iter().all(|entry| entry.name != victim)
    })
    .await;
    let fresh = world.open();
    assert_eq!(fresh.list("k/", None, 100).await.expect("a listing").keys.len(), 30);
    assert_eq!(fresh.get("k/3").await.expect("a read").head, writer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_active_node_deletes_and_only_what_no_successor_could_list() {
    let mut world = World::new().await;
    world.settings.garbage_age_seconds = 1;
    let mut old = Writer::init(world.open()).await;
    for n in 0..20 {
        old.write(&[put(&format!("k/{n}"), vec![1; 1000])]).await;
    }
    let orphan = |name: &str, store: &str| {
        let mut segment =
            VaultStoreSegment::new(name, serde_json::from_value(json!({"data": "AAAA"})).expect("a segment"));
        segment.metadata.labels = Some([("holdfast.dev/store".to_owned(), store.to_owned())].into());
        segment
    };
    let mut new = Writer::claim(world.open()).await;
    let epoch = new.head.epoch;
    let names = [
        (format!("vault-{}-aa", epoch - 1), "vault"),
        (format!("vault-{epoch}-bb"), "vault"),
        (format!("vault-{}-cc", epoch + 1), "vault"),
        (format!("other-{}-dd", epoch - 1), "other"),
    ];
    for (name, store) in &names {
        world.segments().create(&PostParams::default(), &orphan(name, store)).await.expect("an orphan");
    }
    for n in 0..10 {
        new.write(&[put(&format!("k/{n}"), vec![2; 1000])]).await;
    }
    until("the orphan of an earlier epoch is gone", async || {
        !world.segment_names().await.contains(&names[0].0)
    })
    .await;
    let left = world.segment_names().await;
    for (name, _) in &names[1..] {
        assert!(left.contains(name), "{name} is not this node's to delete");
    }
    assert_eq!(old.backend.counters().segments_deleted, 0, "the deposed node deleted something");
    let listed: Vec<_> = world.head_object().await.spec.segments;
    assert!(listed.iter().all(|entry| left.contains(&entry.name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_cannot_be_changed() {
    let world = World::new().await;
    let segment = VaultStoreSegment::new(
        "vault-1-aa",
        serde_json::from_value(json!({"data": "AAAA"})).expect("a segment"),
    );
    let mut created = world.segments().create(&PostParams::default(), &segment).await.expect("a segment");
    created.spec.data = "BBBB".to_owned();
    let outcome = world.segments().replace("vault-1-aa", &PostParams::default(), &created).await;
    assert!(matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 422), "{outcome:?}");
}
