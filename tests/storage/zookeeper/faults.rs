//! Answers that are lost, and servers that die.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast::vault::physical::{Backend, Commit, Feed, FeedEvent, HaBackend, LockRecord, Swap};

use super::proxy::Proxy;
use super::server::Ensemble;
use super::world::{PATIENCE, World, Writer, blocking, next_head, put, read, settle, single, until};

async fn event(feed: &mut dyn Feed) -> FeedEvent {
    let next = async {
        loop {
            match feed.next().await {
                Ok(event) => return event,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_journal_tells() {
    let proxy = Proxy::to(single().await.address(0)).await;
    let mut writer = Writer::init(World::at(&proxy.address, "").open().await).await;
    writer.write(&[put("a", "1")]).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    let next = next_head(&writer.head);
    let ops = [put("a", "2")];
    proxy.swallow(true);
    let cut = proxy.cut();
    let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert_eq!(proxy.cut(), cut + 1, "one answer was swallowed, and nothing was sent again");
    proxy.swallow(false);
    // It was executed: sending it again is fenced by its own head, and the journal has it.
    let again = writer.backend.commit(Some(&writer.head), &next, &ops).await;
    assert_eq!(again, Commit::Fenced { current: Some(next.clone()) });
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a record was due") };
    assert_eq!(record.head, next);
    assert_eq!(read(writer.backend.as_ref(), "a").await, Some(Bytes::from_static(b"2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_swap_is_unknown() {
    let proxy = Proxy::to(single().await.address(0)).await;
    let lock = World::at(&proxy.address, "").lock().await;
    let record = |renewals| LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
    let Swap::Swapped(version) = lock.swap(None, &record(1)).await else { panic!("not created") };
    proxy.swallow(true);
    let outcome = lock.swap(Some(&version), &record(2)).await;
    assert!(matches!(outcome, Swap::Unknown { .. }), "{outcome:?}");
    proxy.swallow(false);
    let found = lock.read().await.expect("a read").expect("a lock");
    assert_eq!(found.record, record(2), "it was written");
    assert_eq!(lock.swap(Some(&version), &record(3)).await, Swap::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_takes_over_when_one_dies() {
    let ensemble = blocking(Ensemble::three).await;
    let world = World::on(&ensemble);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("a", "0")]).await;
    let leader = ensemble.leader();
    // Followers first: the ensemble goes on without an election.
    let follower = (0..3).find(|index| *index != leader).expect("a follower");
    // Through a client that prefers the server that dies.
    let mut config = world.through(&ensemble, follower).config.addresses;
    config.extend(world.config.addresses.clone());
    let mut preferring = world.clone();
    preferring.config.addresses = config;
    for _ in 0..10 {
        writer.backend = std::sync::Arc::new(preferring.open().await);
        writer.write(&[put("a", "1")]).await;
    }
    ensemble.kill(follower);
    let begun = Instant::now();
    writer.write(&[put("a", "2")]).await;
    println!("next commit {:?} after the death of a follower", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    ensemble.restart(follower);
    let leader = ensemble.leader();
    ensemble.kill(leader);
    let begun = Instant::now();
    writer.write(&[put("a", "3")]).await;
    println!("next commit {:?} after the death of the leader", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(read(writer.backend.as_ref(), "a").await, Some(Bytes::from_static(b"3")));
    ensemble.restart(leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left() {
    let ensemble = blocking(Ensemble::three).await;
    let world = World::on(&ensemble);
    let leader = ensemble.leader();
    let hanging = (0..3).find(|index| *index != leader).expect("a follower");
    let mut writer = Writer::init(world.through(&ensemble, hanging).open().await).await;
    // The one that hangs and the others: whichever it is connected to, commits go on.
    let mut backends = Vec::new();
    for _ in 0..4 {
        backends.push(world.open().await);
    }
    for backend in &backends {
        backend.check().await.expect("a check");
    }
    ensemble.freeze(hanging);
    for backend in backends {
        let begun = Instant::now();
        let next = next_head(&writer.head);
        settle(&backend, Some(&writer.head), &next, &[put("a", "1")]).await;
        writer.head = next;
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
    ensemble.thaw(hanging);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_known_and_later_everything_is() {
    let ensemble = blocking(Ensemble::three).await;
    let world = World::on(&ensemble);
    let mut writer = Writer::init(world.open().await).await;
    writer.write(&[put("a", "1")]).await;
    ensemble.kill(0);
    ensemble.kill(1);
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[put("a", "2")]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(writer.backend.check().await.is_err(), "a check without a quorum");
    ensemble.launch(0);
    ensemble.launch(1);
    settle(writer.backend.as_ref(), Some(&writer.head), &next, &[put("a", "2")]).await;
    assert_eq!(read(writer.backend.as_ref(), "a").await, Some(Bytes::from_static(b"2")));
}

/// A leader whose followers hang believes for a while that it leads, and answers reads and even `sync`. A check must not
/// succeed by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_needs_a_quorum() {
    let ensemble = blocking(Ensemble::three).await;
    let leader = ensemble.leader();
    let backend = World::on(&ensemble).through(&ensemble, leader).open().await;
    let mut writer = Writer::init(backend).await;
    writer.write(&[put("a", "1")]).await;
    for follower in (0..3).filter(|index| *index != leader) {
        ensemble.freeze(follower);
    }
    assert_eq!(
        read(writer.backend.as_ref(), "a").await,
        Some(Bytes::from_static(b"1")),
        "a read still succeeds"
    );
    let checked = writer.backend.check().await;
    assert!(checked.is_err(), "{checked:?}");
    for follower in (0..3).filter(|index| *index != leader) {
        ensemble.thaw(follower);
    }
    until("the ensemble is back", async || writer.backend.check().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_is_replaced() {
    let ensemble = blocking(Ensemble::three).await;
    let mut writer = Writer::init(World::on(&ensemble).open().await).await;
    let leader = ensemble.leader();
    ensemble.freeze(leader);
    let begun = Instant::now();
    writer.write(&[put("a", "1")]).await;
    println!("next commit {:?} after the leader hung", begun.elapsed());
    ensemble.thaw(leader);
    writer.write(&[put("a", "2")]).await;
    assert_eq!(read(writer.backend.as_ref(), "a").await, Some(Bytes::from_static(b"2")));
}

/// A feed goes on when the server that it was woken by dies, without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_survives_its_server() {
    let ensemble = blocking(Ensemble::three).await;
    let world = World::on(&ensemble);
    let mut writer = Writer::init(world.open().await).await;
    let reader = world.open().await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    for round in 0..3 {
        ensemble.kill(round);
        for n in 0..3 {
            writer.write(&[put("n", n.to_string())]).await;
            let told = event(feed.as_mut()).await;
            let FeedEvent::Record(record) = told else { panic!("round {round}: {told:?}") };
            assert_eq!(record.head, writer.head);
        }
        let (ensemble, restarted) = (&ensemble, round);
        ensemble.launch(restarted);
        until("the ensemble is whole", async || ensemble.said(restarted, "srvr").contains("Mode: ")).await;
    }
}
