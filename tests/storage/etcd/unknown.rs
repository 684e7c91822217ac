//! Answers that are lost after the request was carried out.

use std::time::{Duration, Instant};

use holdfast::config::EtcdStorage;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, HaBackend, LockRecord, Swap};

use super::proxy::Proxy;
use super::world::{Writer, event, new_path, next_head, opened, put, read, settings, single, until};

/// A proxy to a server, and how to reach the server directly and through it.
async fn behind_a_proxy() -> (Proxy, EtcdStorage, EtcdStorage) {
    let servers = single().await;
    let direct = settings(servers, &new_path(), 0);
    let proxy = Proxy::to(servers.port(0), None).await;
    let addresses = vec![format!("http://127.0.0.1:{}", proxy.port)];
    let through = EtcdStorage { addresses, ..direct.clone() };
    (proxy, direct, through)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_journal_tells() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let (backend, _) = opened(&through).await;
    let (other, _) = opened(&direct).await;
    let mut writer = Writer::init(backend).await;
    for round in 0..3 {
        writer.write(&[put("a", format!("before {round}"))]).await;
        let mut feed = other.follow(Some(writer.head.clone())).await.expect("a feed");
        let next = next_head(&writer.head);
        let ops = [put("a", format!("lost {round}"))];
        proxy.swallow_answers();
        let sent = Instant::now();
        let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
        assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
        assert!(sent.elapsed() < Duration::from_secs(4), "it took {:?}", sent.elapsed());
        // It was carried out nevertheless.
        assert_eq!(other.check().await, Ok(Some(next.clone())));
        proxy.heal();
        let again = writer.backend.commit(Some(&writer.head), &next, &ops).await;
        assert_eq!(again, Commit::Fenced { current: Some(next.clone()) });
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
        assert_eq!((&record.head, &record.keys), (&next, &vec!["a".to_owned()]));
        assert_eq!(read(&other, "a").await.as_deref(), Some(format!("lost {round}").as_bytes()));
        writer.head = next;
    }
}

/// Commits have a connection of their own. Whether it lives is not told by the other one.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_commits_alone_goes_dead() {
    let (proxy, _, through) = behind_a_proxy().await;
    let (backend, _) = opened(&through).await;
    assert_eq!(backend.check().await, Ok(None));
    assert_eq!(proxy.connections(), 1, "who commits nothing needs no second connection");
    let mut writer = Writer::init(backend.clone()).await;
    writer.write(&[put("a", "1")]).await;
    assert_eq!(proxy.connections(), 2);
    proxy.swallow_answers_of(1);
    let next = next_head(&writer.head);
    let sent = Instant::now();
    let ops = [put("a", "2")];
    let (outcome, read_meanwhile) =
        tokio::join!(writer.backend.commit(Some(&writer.head), &next, &ops), async {
            let found = read(&backend, "a").await;
            (found, sent.elapsed())
        });
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(sent.elapsed() < Duration::from_secs(4), "it took {:?}", sent.elapsed());
    assert!(read_meanwhile.0.is_some(), "reads go their own way");
    println!("a read took {:?}, the commit was given up after {:?}", read_meanwhile.1, sent.elapsed());
    // Nothing was mended: the next commit finds another way by itself.
    assert_eq!(writer.backend.check().await, Ok(Some(next.clone())));
    writer.head = next;
    writer.write(&[put("a", "3")]).await;
    assert_eq!(read(&backend, "a").await.as_deref(), Some(b"3".as_slice()));
    assert_eq!(proxy.connections(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_without_answer_is_unknown() {
    let (proxy, direct, through) = behind_a_proxy().await;
    let (_, register) = opened(&through).await;
    let (_, other) = opened(&direct).await;
    let held = |renewals| LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
    let Swap::Swapped(version) = register.swap(None, &held(1)).await else { panic!("no swap") };
    proxy.swallow_answers();
    let outcome = register.swap(Some(&version), &held(2)).await;
    assert!(matches!(outcome, Swap::Unknown { .. }), "{outcome:?}");
    let found = other.read().await.expect("a read").expect("a lock");
    assert_eq!(found.record, held(2));
    proxy.heal();
    assert_eq!(register.swap(Some(&version), &held(2)).await, Swap::Conflict);
    assert_eq!(register.read().await.expect("a read"), Some(found));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_watch_is_replaced_by_looking_every_second() {
    let (proxy, direct, mut through) = behind_a_proxy().await;
    through.addresses.extend_from_slice(&direct.addresses);
    let (reader, _) = opened(&through).await;
    let (backend, _) = opened(&direct).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    writer.write(&[put("a", "1")]).await;
    assert!(matches!(event(feed.as_mut()).await, FeedEvent::Record(_)));
    // The watch hangs where nothing comes through; the next look finds another way.
    proxy.swallow_answers();
    let sent = Instant::now();
    writer.write(&[put("a", "2")]).await;
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap") };
    assert_eq!(record.head, writer.head);
    assert!(sent.elapsed() < Duration::from_secs(9), "it took {:?}", sent.elapsed());
    until("reads go on", async || reader.check().await == Ok(Some(writer.head.clone()))).await;
}
