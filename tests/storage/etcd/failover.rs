//! Members that die, hang, and come back.

use std::time::{Duration, Instant};

use holdfast::vault::physical::{Backend, Commit, HaBackend, LockRecord, Swap};

use super::world::{Writer, new_path, opened, put, read, recorded, settings, started, until};
use crate::etcd_server::Etcd;

/// A cluster of this test alone.
async fn own_cluster() -> Etcd {
    started(|| Etcd::cluster(&["/vault/"])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_member_dies_the_next_call_goes_to_another_one() {
    let servers = own_cluster().await;
    let path = new_path();
    let leader = servers.leader();
    let follower = (leader + 1) % 3;
    let (backend, register) = opened(&settings(&servers, &path, follower)).await;
    let (reader, _) = opened(&settings(&servers, &path, leader)).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    writer.write(&[put("a", "1")]).await;
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
    let mut watch = register.watch().await.expect("a watch");
    assert_eq!(watch.changed().await, Ok(None));
    servers.kill(follower);
    let begun = Instant::now();
    writer.write(&[put("a", "2")]).await;
    let took = begun.elapsed();
    println!("a commit {took:?} after its member was killed");
    // The target is well under a second on a healthy cluster.
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
    assert_eq!(read(&reader, "a").await.as_deref(), Some(b"2".as_slice()));
    let held = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    let swapped = register.swap(None, &held).await;
    assert!(matches!(swapped, Swap::Swapped(_)), "{swapped:?}");
    let found = watch.changed().await.expect("a report").expect("a lock");
    assert_eq!(found.record, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_is_left() {
    let servers = own_cluster().await;
    let leader = servers.leader();
    let follower = (leader + 1) % 3;
    let (backend, _) = opened(&settings(&servers, &new_path(), follower)).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    servers.freeze(follower);
    let begun = Instant::now();
    writer.write(&[put("a", "1")]).await;
    let took = begun.elapsed();
    println!("a commit {took:?} after its member was stopped");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
    servers.thaw(follower);
    writer.write(&[put("a", "2")]).await;
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_is_waited_for_and_nothing_is_lost() {
    let mut servers = own_cluster().await;
    let path = new_path();
    let leader = servers.leader();
    let (backend, _) = opened(&settings(&servers, &path, leader)).await;
    let (other, _) = opened(&settings(&servers, &path, leader + 1)).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = other.follow(Some(writer.head.clone())).await.expect("a feed");
    writer.write(&[put("a", "1")]).await;
    servers.kill(leader);
    let begun = Instant::now();
    writer.write(&[put("a", "2")]).await;
    let took = begun.elapsed();
    println!("a commit {took:?} after its leader was killed");
    // What a member forwarded to the dead leader is never answered: it must not be waited for until the time limit.
    assert!(took < Duration::from_millis(4500), "it took {took:?}");
    for _ in 0..20 {
        writer.write(&[put("b", "x")]).await;
    }
    servers.restart(leader);
    servers.wait_until_ready(leader);
    writer.write(&[put("a", "3")]).await;
    for seq in 2..=writer.head.seq {
        assert_eq!(recorded(feed.as_mut()).await.seq, seq);
    }
    assert_eq!(read(&other, "a").await.as_deref(), Some(b"3".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_vouched_for() {
    let mut servers = own_cluster().await;
    let leader = servers.leader();
    let rest = (leader + 1) % 3;
    let mut settings = settings(&servers, &new_path(), rest);
    settings.request_timeout = Duration::from_secs(2);
    let (backend, _) = opened(&settings).await;
    let mut writer = Writer::init(backend).await;
    writer.write(&[put("a", "1")]).await;
    servers.kill(leader);
    servers.kill((leader + 2) % 3);
    let begun = Instant::now();
    assert!(writer.backend.check().await.is_err(), "one of three members is no quorum");
    assert!(begun.elapsed() < Duration::from_secs(6), "it took {:?}", begun.elapsed());
    assert!(writer.backend.get("a").await.is_err());
    let outcome = writer.send(&[put("a", "2")]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    servers.restart(leader);
    until("a check succeeds", async || writer.backend.check().await.is_ok()).await;
    let head = writer.backend.check().await.expect("a check").expect("a head");
    assert!(head.seq >= writer.head.seq);
    writer.head = head;
    writer.write(&[put("a", "3")]).await;
}
