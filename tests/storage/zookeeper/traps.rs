//! What is peculiar to ZooKeeper, and would break a promise if it were not known.

use std::time::Duration;

use bytes::Bytes;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, HaBackend, LockRecord, StorageError, Swap};

use super::proxy::Proxy;
use super::server::Ensemble;
use super::world::{
    PATIENCE, World, Writer, claim_head, delete, first_head, next_head, put, read, settle, single, three,
    until,
};

/// The server cuts the connection of whoever sends more than a MiB, which looks like a lost answer: such a commit must be
/// refused before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_never_sent() {
    let proxy = Proxy::to(single().await.address(0)).await;
    let mut writer = Writer::init(World::at(&proxy.address, "").open().await).await;
    let limits = writer.backend.limits();
    let next = next_head(&writer.head);
    let sent = proxy.sent();
    for ops in [
        vec![put("k", vec![0; limits.value_bytes + 1])],
        (0..3).map(|n| put(&format!("k{n}"), vec![0; limits.commit_bytes / 3 + 1])).collect(),
        (0..=limits.operations).map(|n| put(&format!("k{n}"), "v")).collect(),
    ] {
        let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
        assert!(matches!(outcome, Commit::Refused(_)), "{outcome:?}");
    }
    // A ping may have been sent meanwhile.
    assert!(proxy.sent() - sent < 1000, "{} bytes were sent", proxy.sent() - sent);
    writer.write(&[put("k", "v")]).await;
}

/// The largest request that the limits let through is one that the server reads.
#[tokio::test(flavor = "multi_thread")]
async fn the_costliest_keys_fit_as_well() {
    let mut writer = Writer::init(World::on(single().await).open().await).await;
    let limits = writer.backend.limits();
    let keys: Vec<String> = (0..limits.operations).map(|n| format!("{n:04}{}", "/".repeat(1020))).collect();
    let room = limits.commit_bytes - keys.iter().map(String::len).sum::<usize>();
    let value = |n: usize| if n == 0 { vec![7; room] } else { Vec::new() };
    let ops: Vec<_> = keys.iter().enumerate().map(|(n, key)| put(key, value(n))).collect();
    writer.write(&ops).await;
    assert_eq!(read(writer.backend.as_ref(), &keys[0]).await.map(|value| value.len()), Some(room));
    let listed = writer.backend.list("", None, 1000).await.expect("a list").keys;
    assert_eq!(listed, keys);
}

/// Versions of a node begin at zero again when it is made anew: an old writer that comes back after a claim must not meet
/// a version that it expects.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_two_epochs_never_coincide() {
    let world = World::on(single().await);
    let mut old = Writer::init(world.open().await).await;
    for n in 0..3 {
        old.write(&[put("a", n.to_string())]).await;
    }
    let mut new = Writer { backend: std::sync::Arc::new(world.open().await), head: old.head.clone() };
    new.claim().await;
    // Now the head's version is again what the old writer knows.
    for n in 0..3 {
        new.write(&[put("a", format!("new {n}"))]).await;
    }
    let late = old.backend.commit(Some(&old.head), &next_head(&old.head), &[put("a", "late")]).await;
    assert_eq!(late, Commit::Fenced { current: Some(new.head.clone()) });
    assert_eq!(read(old.backend.as_ref(), "a").await, Some(Bytes::from_static(b"new 2")));
}

/// Many claims leave one node of a head, not one for each.
#[tokio::test(flavor = "multi_thread")]
async fn claims_leave_no_nodes_behind() {
    let world = World::on(single().await);
    let mut writer = Writer::init(world.open().await).await;
    for _ in 0..20 {
        writer.claim().await;
        writer.write(&[put("a", "1")]).await;
    }
    let listing = command(vec!["ls".to_owned(), world.config.path.clone()]).await;
    assert_eq!(listing.matches("head-").count(), 1, "{listing}");
}

/// Somebody who writes the head's own content back moves its version, but not the head.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_touched_is_still_the_head() {
    let world = World::on(single().await);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("a", "1")]).await;
    let path = &world.config.path;
    let text = serde_json::to_string(&writer.head).expect("JSON");
    let node = format!("{path}/head-{}-{}", first_epoch(), first_batch(&world).await);
    let said = command(vec!["set".to_owned(), node, text]).await;
    assert!(!said.contains("Exception") && !said.contains("does not exist"), "{said}");
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await;
    assert_eq!(outcome, Commit::Committed);
}

fn first_epoch() -> u64 {
    first_head().epoch
}

/// The batch that made the head's node, as the node's name says.
async fn first_batch(world: &World) -> String {
    let listing = command(vec!["ls".to_owned(), world.config.path.clone()]).await;
    let at = listing.find("head-1-").expect("a head") + "head-1-".len();
    listing[at..at + 32].to_owned()
}

/// Nodes of keys that somebody else removed or made: the commit is put together anew, once its refusal shows that nothing
/// of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_others_touched_do_not_block_commits() {
    let world = World::on(single().await);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("gone", "1"), put("kept", "1")]).await;
    let path = &world.config.path;
    command(vec!["delete".to_owned(), format!("{path}/d/gone")]).await;
    command(vec!["create".to_owned(), format!("{path}/d/new"), "theirs".to_owned()]).await;
    for ops in [[delete("gone"), put("new", "ours")], [put("gone", "again"), put("kept", "2")]] {
        let next = next_head(&writer.head);
        assert_eq!(writer.backend.commit(Some(&writer.head), &next, &ops).await, Commit::Committed);
        writer.head = next;
    }
    assert_eq!(read(writer.backend.as_ref(), "new").await, Some(Bytes::from_static(b"ours")));
    assert_eq!(writer.backend.list("", None, 10).await.expect("a list").keys, ["gone", "kept", "new"]);
}

/// Data without a head is never taken for an empty store.
#[tokio::test(flavor = "multi_thread")]
async fn data_without_a_head_is_refused() {
    let world = World::on(single().await);
    let backend = world.open().await;
    let path = &world.config.path;
    command(vec!["create".to_owned(), format!("{path}/d/secret"), "v".to_owned()]).await;
    let outcome = backend.commit(None, &first_head(), &[]).await;
    let Commit::Refused(error @ StorageError::Damaged { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("there is data below"), "{error}");
    assert_eq!(backend.check().await, Ok(None));
}

/// A storage that was put back to an older state: the quorum says so, and everything that is asked must show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_went_back_is_shown_as_it_is() {
    let world = World::on(single().await);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("a", "1")]).await;
    let old = writer.head.clone();
    writer.write(&[put("a", "2")]).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    let path = &world.config.path;
    let node = format!("{path}/head-1-{}", first_batch(&world).await);
    command(vec!["set".to_owned(), node, serde_json::to_string(&old).expect("JSON")]).await;
    let event = tokio::time::timeout(PATIENCE, feed.next()).await.expect("in time").expect("an event");
    assert_eq!(event, FeedEvent::Reset { head: Some(old.clone()) });
    assert_eq!(writer.backend.check().await, Ok(Some(old.clone())));
    assert_eq!(writer.backend.get("a").await.expect("a read").head, old);
    assert_eq!(writer.backend.list("", None, 9).await.expect("a list").head, old);
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[]).await;
    assert_eq!(outcome, Commit::Fenced { current: Some(old) });
}

/// Followers lag: what one instance has heard of a head is true for its reads through any server.
#[tokio::test(flavor = "multi_thread")]
async fn reads_through_followers_are_never_old() {
    let ensemble = three().await;
    let world = World::on(ensemble);
    let mut writer = Writer::init(world.through(ensemble, 0).open().await).await;
    let readers = [1, 2].map(|index| world.through(ensemble, index));
    let readers = [readers[0].open().await, readers[1].open().await];
    for n in 0..100 {
        writer.write(&[put("n", n.to_string())]).await;
        for reader in &readers {
            assert_eq!(reader.check().await, Ok(Some(writer.head.clone())), "round {n}");
            let value = reader.get("n").await.expect("a read");
            assert_eq!(value.head, writer.head, "round {n}");
            assert_eq!(value.value, Some(Bytes::from(n.to_string())), "round {n}");
        }
    }
}

/// An instance that comes to a follower which lags behind what it has shown never shows the follower's state. (Sessions
/// that only one server knows: others begin by a transaction, behind which a server has everything before it.)
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lags_is_not_believed() {
    let ensemble = super::world::blocking(|| Ensemble::three_with(&["localSessionsEnabled=true"])).await;
    let leader = ensemble.leader();
    let lagging = (0..3).find(|index| *index != leader).expect("a follower");
    let (near, far) = (Proxy::to(ensemble.address(leader)).await, Proxy::to(ensemble.address(lagging)).await);
    let world = World::on(&ensemble);
    let mut writer = Writer::init(world.through(&ensemble, leader).open().await).await;
    let mut both = World::at(&format!("{},{}", near.address, far.address), &ensemble.settings());
    both.config.path = world.config.path.clone();
    far.refuse(true);
    let reader = both.open().await;
    for round in 0..8 {
        far.refuse(true);
        until("the reader is at the leader", async || reader.check().await.is_ok()).await;
        ensemble.freeze(lagging);
        for n in 0..6 {
            writer.write(&[put("large", vec![n; 400 << 10]), put("n", n.to_string())]).await;
        }
        assert_eq!(reader.check().await, Ok(Some(writer.head.clone())));
        near.refuse(true);
        far.refuse(false);
        // The follower has read none of it when it goes on.
        let (read, ()) = tokio::join!(reader.get("n"), async { ensemble.thaw(lagging) });
        // It may say that it cannot tell, but not what is old.
        if let Ok(value) = read {
            assert_eq!(value.head, writer.head, "round {round}");
        }
        until("the follower catches up", async || {
            reader.get("n").await.is_ok_and(|value| value.head == writer.head)
        })
        .await;
        near.refuse(false);
    }
}

/// A read of head and value is of one state also while commits pour in, through followers too.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_never_mixes_two_states() {
    let ensemble = three().await;
    let world = World::on(ensemble);
    let mut writer = Writer::init(world.through(ensemble, 0).open().await).await;
    let first_seq = writer.head.seq;
    writer.write(&[put("n", "1")]).await;
    let readers = [0, 1, 2].map(|index| world.through(ensemble, index));
    let mut tasks = Vec::new();
    for reader in readers {
        let backend = reader.open().await;
        tasks.push(tokio::spawn(async move {
            let mut seen = 0;
            while seen < 300 {
                let value = backend.get("n").await.expect("a read");
                assert_eq!(value.value, Some(Bytes::from((value.head.seq - first_seq).to_string())));
                seen = value.head.seq - first_seq;
            }
        }));
    }
    for n in 2..=300 {
        let ops: Vec<_> =
            (0..20).map(|k| put(&format!("k{k}"), "v")).chain([put("n", n.to_string())]).collect();
        writer.write(&ops).await;
    }
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.expect("in time").expect("a consistent reader");
    }
}

/// A check is a write of a quorum, and reads are not: only the one moves the server's transactions on.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_a_write_and_a_read_is_none() {
    let ensemble = super::world::blocking(Ensemble::single).await;
    let mut writer = Writer::init(World::on(&ensemble).open().await).await;
    writer.write(&[put("a", "1")]).await;
    let zxid = || {
        let said = ensemble.said(0, "srvr");
        let line = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).expect("a zxid").to_owned();
        i64::from_str_radix(line.trim(), 16).expect("a number")
    };
    let before = zxid();
    for _ in 0..5 {
        read(writer.backend.as_ref(), "a").await;
        writer.backend.list("", None, 5).await.expect("a list");
    }
    assert_eq!(zxid(), before);
    writer.backend.check().await.expect("a check");
    assert_eq!(zxid(), before + 1);
    let next = next_head(&writer.head);
    assert_eq!(writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await, Commit::Committed);
    assert_eq!(zxid(), before + 2, "one commit is one transaction");
}

/// The journal keeps a bounded number of records, and one that is missing already does not stop a commit.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_trimmed() {
    let world = World::on(single().await);
    let backend = world.open().await;
    let head = holdfast::vault::physical::Head { seq: 1, ..first_head() };
    settle(&backend, None, &head, &[]).await;
    // The numbers of a vault that is old already.
    let mut writer = Writer { backend: std::sync::Arc::new(backend), head };
    let far = holdfast::vault::physical::Head { seq: 4097, ..claim_head(&writer.head) };
    settle(writer.backend.as_ref(), Some(&writer.head), &far, &[]).await;
    writer.head = far;
    for n in 0..5 {
        writer.write(&[put("a", n.to_string())]).await;
    }
    let listing = command(vec!["ls".to_owned(), format!("{}/j", world.config.path)]).await;
    assert!(
        !listing.contains("00000000000000000001") && listing.contains("00000000000000004102"),
        "{listing}"
    );
}

/// A lock that a person deleted is absent, and its old version is worth nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lock_is_absent() {
    let world = World::on(single().await);
    let lock = world.lock().await;
    let record = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    let Swap::Swapped(version) = lock.swap(None, &record).await else { panic!("not created") };
    let mut watch = lock.watch().await.expect("a watch");
    assert!(watch.changed().await.expect("what is there").is_some());
    command(vec!["delete".to_owned(), format!("{}/lock", world.config.path)]).await;
    let found = tokio::time::timeout(Duration::from_secs(3), watch.changed()).await.expect("in time");
    assert_eq!(found.expect("a change"), None);
    assert_eq!(lock.swap(Some(&version), &record).await, Swap::Conflict);
    assert!(matches!(lock.swap(None, &record).await, Swap::Swapped(_)));
}

/// A quota that is enforced refuses for certain: such a commit must not be sent again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_a_definite_refusal() {
    let ensemble = super::world::blocking(|| Ensemble::single_with(&["enforceQuota=true"])).await;
    let world = World::on(&ensemble);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("a", "1")]).await;
    let said = ensemble.command(&["setquota", "-B", "20000", &world.config.path]);
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("b", vec![0; 40_000])]).await;
    let Commit::Refused(error) = outcome else { panic!("{outcome:?} after {said}") };
    assert!(error.to_string().contains("quota"), "{error}");
    assert_eq!(writer.backend.check().await, Ok(Some(writer.head.clone())));
    writer.write(&[put("b", "small")]).await;
}

async fn command(words: Vec<String>) -> String {
    let ensemble = single().await;
    super::world::blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ensemble.command(&words)
    })
    .await
}

/// A session that ends takes its ephemeral nodes along, two seconds after its client is gone: neither head nor lock is one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_with_a_session() {
    let world = World::on(single().await);
    let (backend, lock) = world.try_open().await.expect("a store");
    let mut writer = Writer::init(backend).await;
    writer.write(&[put("a", "1")]).await;
    let held = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    assert!(matches!(lock.swap(None, &held).await, Swap::Swapped(_)));
    let nodes = command(vec!["ls".to_owned(), "-R".to_owned(), world.config.path.clone()]).await;
    let head = nodes.lines().find(|line| line.contains("/head-")).expect("the node of the head").to_owned();
    for node in [head, format!("{}/lock", world.config.path), format!("{}/current", world.config.path)] {
        let said = command(vec!["stat".to_owned(), node.clone()]).await;
        assert!(said.contains("ephemeralOwner = 0x0"), "{node}: {said}");
    }
}
