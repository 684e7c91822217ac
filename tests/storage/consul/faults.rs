//! Answers that are lost, members that die or hang.

use std::time::{Duration, Instant};

use holdfast::vault::physical::{Backend, Commit, FeedEvent, HaBackend, LockRecord, StorageError, Swap};

use super::proxy::Proxy;
use super::world::{
    PATIENCE, RULES, Writer, backend, common_single, config, event, next_head, put, read, register, settle,
    until,
};
use crate::consul_server::Consul;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_journal_tells() {
    let consul = common_single().await;
    let proxy = Proxy::to(consul.members[0].http).await;
    let mut config = config(consul, None);
    // There is another address, which the backend must not use on its own to send the commit again.
    config.addresses.insert(0, format!("http://127.0.0.1:{}", proxy.port));
    let mut writer = Writer::init(backend(&config).await).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    let next = next_head(&writer.head);
    let ops = [put("a", "1")];
    proxy.swallow(true);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert_eq!(proxy.swallowed(), 1, "one answer is lost");
    proxy.swallow(false);
    // The first sending was carried out: the second one is fenced by it.
    let again = writer.backend.commit(Some(&writer.head), &next, &ops).await;
    assert_eq!(again, Commit::Fenced { current: Some(next.clone()) });
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
    assert_eq!((record.head.batch_id, record.keys), (next.batch_id, vec!["a".to_owned()]));
    writer.head = next;
    writer.write(&[put("a", "2")]).await;
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
    assert_eq!(record.head, writer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_whose_answer_is_lost_is_unknown() {
    let consul = common_single().await;
    let proxy = Proxy::to(consul.members[0].http).await;
    let mut config = config(consul, None);
    config.addresses.insert(0, format!("http://127.0.0.1:{}", proxy.port));
    let lock = register(&config).await;
    let held = |renewals| LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
    let Swap::Swapped(first) = lock.swap(None, &held(1)).await else { panic!("no creation") };
    proxy.swallow(true);
    let outcome = lock.swap(Some(&first), &held(2)).await;
    assert!(matches!(outcome, Swap::Unknown { .. }), "{outcome:?}");
    proxy.swallow(false);
    assert_eq!(lock.swap(Some(&first), &held(3)).await, Swap::Conflict);
    assert_eq!(lock.read().await.expect("a read").map(|found| found.record), Some(held(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_is_left_for_another() {
    let mut cluster = Consul::cluster().await;
    let token = cluster.token("node", RULES).await;
    let mut config = config(&cluster, Some(&token));
    // The member that is asked first does not lead, so that the cluster stays healthy without it.
    let (leader, count) = (cluster.leader().await, cluster.members.len());
    let first = (leader + 1) % count;
    config.addresses.rotate_left(first);
    let mut writer = Writer::init(backend(&config).await).await;
    let lock = register(&config).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    writer.write(&[put("a", "1")]).await;
    assert!(matches!(lock.swap(None, &LockRecord::default()).await, Swap::Swapped(_)));
    cluster.kill(first);
    let begun = Instant::now();
    writer.write(&[put("a", "2")]).await;
    let commit = begun.elapsed();
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"2".as_slice()));
    assert!(lock.read().await.expect("a lock").is_some());
    println!("commit after the death of a member: {commit:?}, with the reads {:?}", begun.elapsed());
    assert!(commit < Duration::from_secs(3), "{commit:?}");
    for expected in [2, 3] {
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
        assert_eq!(record.head.seq, expected);
    }
    // Then one that hangs; a request that it has taken is over after its time.
    cluster.start(first);
    cluster.ready(first).await;
    let second = (first + 1) % count;
    let begun = Instant::now();
    cluster.freeze(second);
    writer.write(&[put("a", "3")]).await;
    println!("commit while a member hangs: {:?}", begun.elapsed());
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"3".as_slice()));
    cluster.thaw(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_leaders_die_and_hang() {
    let mut cluster = Consul::cluster().await;
    let token = cluster.token("node", RULES).await;
    let config = config(&cluster, Some(&token));
    let mut writer = Writer::init(backend(&config).await).await;
    let reader = backend(&config).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    let mut expected = Vec::new();
    for round in 0..3 {
        for n in 0..5 {
            writer.write(&[put(&format!("k/{round}/{n}"), "v")]).await;
            expected.push(writer.head.clone());
        }
        let leader = cluster.leader().await;
        let begun = Instant::now();
        if round % 2 == 0 {
            cluster.kill(leader)
        } else {
            cluster.freeze(leader)
        }
        let next = next_head(&writer.head);
        settle(&writer.backend, Some(&writer.head), &next, &[put("round", round.to_string())])
            .await
            .expect("a commit");
        println!("round {round}: a commit {:?} after the leader was gone", begun.elapsed());
        writer.head = next;
        expected.push(writer.head.clone());
        until("a check succeeds", async || reader.check().await == Ok(Some(writer.head.clone()))).await;
        if round % 2 == 0 {
            cluster.start(leader)
        } else {
            cluster.thaw(leader)
        }
        cluster.ready(leader).await;
    }
    for head in expected {
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap at {}", head.seq) };
        assert_eq!(record.head, head);
    }
    assert_eq!(reader.list("k/", None, 100).await.expect("a listing").keys.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_quorum_gives_no_answer_and_loses_nothing() {
    let mut cluster = Consul::cluster().await;
    let token = cluster.token("node", RULES).await;
    let mut config = config(&cluster, Some(&token));
    config.request_timeout = Duration::from_secs(2);
    let mut writer = Writer::init(backend(&config).await).await;
    writer.write(&[put("a", "1")]).await;
    let (leader, count) = (cluster.leader().await, cluster.members.len());
    let others = [(leader + 1) % count, (leader + 2) % count];
    for n in others {
        cluster.kill(n);
    }
    let checked = writer.backend.check().await;
    assert!(matches!(checked, Err(StorageError::Unavailable { .. })), "{checked:?}");
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    let got = writer.backend.get("a").await;
    assert!(matches!(got, Err(StorageError::Unavailable { .. })), "{got:?}");
    for n in others {
        cluster.start(n);
    }
    settle(&writer.backend, Some(&writer.head), &next, &[put("a", "2")]).await.expect("a commit");
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"2".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_is_waited_for() {
    let mut consul = Consul::single().await;
    let config = config(&consul, None);
    consul.kill(0);
    let begun = Instant::now();
    let writer = backend(&config).await;
    assert!(begun.elapsed() < PATIENCE / 3, "opening took {:?}", begun.elapsed());
    assert!(matches!(writer.check().await, Err(StorageError::Unavailable { .. })));
    consul.start(0);
    consul.ready(0).await;
    assert_eq!(writer.check().await, Ok(None));
    Writer::init(writer).await;
}
