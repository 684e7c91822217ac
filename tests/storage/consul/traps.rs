//! What Consul does differently from what one would expect, and keys that a URL cannot carry.

use std::time::{Duration, Instant};

use holdfast::vault::physical::{Backend, Commit, HaBackend, LockRecord, Op, StorageError, Swap};

use super::world::{
    PATIENCE, Writer, backend, common_single, config, event, first_head, next_head, put, read, register,
};
use crate::consul_server::Consul;
use holdfast::vault::physical::FeedEvent;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_record_written_again_is_another_version() {
    // A `cas` of Consul that stores what is there already succeeds and leaves the index as it was.
    let lock = register(&config(common_single().await, None)).await;
    let record = LockRecord { holder: "a".to_owned(), duration_seconds: 6, ..LockRecord::default() };
    let Swap::Swapped(first) = lock.swap(None, &record).await else { panic!("no creation") };
    let Swap::Swapped(second) = lock.swap(Some(&first), &record).await else { panic!("no swap") };
    assert_ne!(first, second);
    assert_eq!(lock.swap(Some(&first), &record).await, Swap::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_grows_too_large_on_the_wire_is_refused_before_it_is_sent() {
    let mut writer = Writer::init(backend(&config(common_single().await, None)).await).await;
    let limits = writer.backend.limits();
    // Quotation marks take two bytes in JSON, and in the journal's record once more.
    let long = (limits.commit_bytes / limits.operations) - 1020;
    let ops: Vec<_> =
        (0..limits.operations).map(|n| put(&format!("{n:04}{}", "\"".repeat(1016)), vec![0; long])).collect();
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &ops).await;
    let Commit::Refused(StorageError::TooLarge { bytes, limit_bytes, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(bytes > limit_bytes && limit_bytes == 512 << 10, "{bytes} {limit_bytes}");
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_its_mark_takes_no_commit() {
    let consul = common_single().await;
    let config = config(consul, None);
    let writer = Writer::init(backend(&config).await).await;
    let mark = format!("kv/{}mark/{}", config.path, writer.head.batch_id);
    let (status, found) = consul.ask(0, "GET", &mark, None).await;
    assert_eq!(status, 200, "the mark is there: {found}");
    consul.ask(0, "DELETE", &mark, None).await;
    for instance in [writer.backend.clone(), backend(&config).await] {
        let outcome = instance.commit(Some(&writer.head), &next_head(&writer.head), &[put("a", "1")]).await;
        assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{outcome:?}");
        assert_eq!(instance.check().await, Ok(Some(writer.head.clone())));
        assert_eq!(read(&instance, "a").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_and_old_records_do_not_pile_up() {
    let consul = common_single().await;
    let config = config(consul, None);
    let mut writer = Writer::init(backend(&config).await).await;
    for n in 0..5 {
        writer.write(&[put("a", n.to_string())]).await;
    }
    // As if thousands of commits lay between.
    let far = holdfast::vault::physical::Head { seq: 4096 + 3, ..next_head(&writer.head) };
    let outcome = writer.backend.commit(Some(&writer.head), &far, &[]).await;
    assert_eq!(outcome, Commit::Committed);
    let (_, keys) = consul.ask(0, "GET", &format!("kv/{}?keys", config.path), None).await;
    let keys: Vec<_> = keys.as_array().expect("keys").iter().filter_map(|key| key.as_str()).collect();
    let marks: Vec<_> = keys.iter().filter(|key| key.contains("/mark/")).collect();
    assert_eq!(marks, [&format!("{}mark/{}", config.path, far.batch_id)]);
    let records: Vec<_> =
        keys.iter().filter_map(|key| key.rsplit_once("/journal/")).map(|(_, n)| n).collect();
    let kept = [1, 2, 4, 5, 6, 4099].map(|n| format!("{n:020}"));
    assert_eq!(records, kept.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_url_cannot_carry_are_kept_and_listed() {
    let mut writer = Writer::init(backend(&config(common_single().await, None)).await).await;
    let keys = ["..", ".", "a/../b", "a//b", "a/./c", "a/%2F", "a/?keys", "a b", "a/b#c", "//", "z/"];
    let ops: Vec<_> = keys.iter().map(|key| put(key, key.as_bytes().to_vec())).collect();
    writer.write(&ops).await;
    for key in keys {
        assert_eq!(read(&writer.backend, key).await.as_deref(), Some(key.as_bytes()), "{key}");
    }
    for prefix in ["", "a/", "a//", "a/../", "a/.", ".", "..", "//", "a b", "a/%", "a/?"] {
        let mut expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).copied().collect();
        expected.sort_unstable();
        let listed = writer.backend.list(prefix, None, 100).await.expect("a listing");
        assert_eq!(listed.keys, expected, "{prefix:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_begin_with_is_read_alone() {
    let mut writer = Writer::init(backend(&config(common_single().await, None)).await).await;
    writer.write(&[put("a", "1"), put("a/b", "2"), put("ab", "3")]).await;
    assert_eq!(read(&writer.backend, "a").await.as_deref(), Some(b"1".as_slice()));
    writer.write(&[Op::Delete { key: "a".to_owned() }]).await;
    let absent = writer.backend.get("a").await.expect("a read");
    assert_eq!((absent.value, absent.head), (None, writer.head.clone()));
    assert_eq!(read(&writer.backend, "a/b").await.as_deref(), Some(b"2".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_under_the_path_is_not_built_upon() {
    let consul = common_single().await;
    let config = config(consul, None);
    consul.put(&format!("{}core/keyring", config.path), "of another vault").await;
    let outcome = backend(&config).await.commit(None, &first_head(), &[put("a", "1")]).await;
    let Commit::Refused(StorageError::Damaged { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("core/") && reason.contains("choose another path"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_may_be_there_before_the_vault_is() {
    let config = config(common_single().await, None);
    let outcome = register(&config).await.swap(None, &LockRecord::default()).await;
    assert!(matches!(outcome, Swap::Swapped(_)), "{outcome:?}");
    Writer::init(backend(&config).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_read_is_damage() {
    let consul = common_single().await;
    let config = config(consul, None);
    let writer = Writer::init(backend(&config).await).await;
    consul.put(&format!("{}head", config.path), "{}").await;
    let checked = writer.backend.check().await;
    assert!(matches!(checked, Err(StorageError::Damaged { .. })), "{checked:?}");
    let outcome = writer.backend.commit(Some(&writer.head), &next_head(&writer.head), &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_while_commits_go_on_belongs_to_its_head() {
    let config = config(common_single().await, None);
    let mut writer = Writer::init(backend(&config).await).await;
    let reader = backend(&config).await;
    let begun = Instant::now();
    let writing = async {
        // One key comes, the one before goes: every state has exactly one.
        let mut n = 0_u64;
        while begun.elapsed() < Duration::from_secs(3) {
            let ops = [put(&format!("k/{n}"), "v"), Op::Delete { key: format!("k/{}", n.wrapping_sub(1)) }];
            writer.write(&ops).await;
            n += 1;
        }
        n
    };
    let listing = async {
        let mut seen = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            let listed = reader.list("k/", None, 10).await.expect("a listing");
            let expected: Vec<_> =
                listed.head.seq.checked_sub(2).map(|n| format!("k/{n}")).into_iter().collect();
            assert_eq!(listed.keys, expected, "at {}", listed.head.seq);
            seen += 1;
        }
        seen
    };
    let (written, listed) = tokio::join!(writing, listing);
    println!("{listed} listings during {written} commits");
    assert!(listed > 3 && written > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_whoever_waits() {
    let config = config(common_single().await, None);
    let mut writer = Writer::init(backend(&config).await).await;
    let reader = backend(&config).await;
    let mut feeds = Vec::new();
    for _ in 0..3 {
        feeds.push(reader.follow(Some(writer.head.clone())).await.expect("a feed"));
    }
    let rounds = 20;
    let begun = Instant::now();
    for n in 0..rounds {
        let waiting =
            futures_util::future::join_all(feeds.iter_mut().map(async |feed| event(feed.as_mut()).await));
        let writing = async {
            // The feeds wait by now. (If one does not yet, it only has an easier time.)
            tokio::time::sleep(Duration::from_millis(50)).await;
            writer.write(&[put("n", n.to_string())]).await;
        };
        let (told, ()) = tokio::join!(waiting, writing);
        for event in told {
            let FeedEvent::Record(record) = event else { panic!("a gap at {n}") };
            assert_eq!(record.head, writer.head);
        }
    }
    // Looking once a second would take a second for each.
    let took = begun.elapsed();
    println!("{rounds} wake-ups took {took:?}");
    assert!(took < Duration::from_secs(rounds / 2), "it took {took:?}");
}

/// A `cas` that stores what is there already succeeds, and leaves the index as it was: whoever compares indexes and stores
/// the same again shuts nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn every_commit_moves_the_index_that_commits_compare() {
    let consul = common_single().await;
    let config = config(consul, None);
    let index = async |key: &str| {
        let (status, found) = consul.ask(0, "GET", &format!("kv/{key}?consistent"), None).await;
        assert_eq!(status, 200, "{found}");
        found[0]["ModifyIndex"].as_u64().expect("an index")
    };
    let plain = format!("{}plain", config.path.replace("store-", "elsewhere-"));
    consul.put(&plain, "same").await;
    let before = index(&plain).await;
    for _ in 0..2 {
        // Consul says that it has stored this.
        consul.put(&format!("{plain}?cas={before}"), "same").await;
        assert_eq!(index(&plain).await, before, "the trap is gone");
    }
    let mut writer = Writer::init(backend(&config).await).await;
    let head = format!("{}head", config.path);
    let mut last = index(&head).await;
    for _ in 0..3 {
        let old = writer.head.clone();
        writer.write(&[put("a", "same")]).await;
        let now = index(&head).await;
        assert!(now > last, "{now} after {last}");
        last = now;
        let late = writer.backend.commit(Some(&old), &next_head(&old), &[put("a", "same")]).await;
        assert_eq!(late, Commit::Fenced { current: Some(writer.head.clone()) });
    }
}

/// Consul's sessions notice a dead holder after 10 to 20 s and delay the next one by 15 s. The lock needs none, nor
/// the right to have one.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_hangs_on_no_session() {
    let consul = common_single().await;
    let config = config(consul, None);
    let record = LockRecord { holder: "a".to_owned(), duration_seconds: 6, ..LockRecord::default() };
    let holder = register(&config).await;
    let Swap::Swapped(first) = holder.swap(None, &record).await else { panic!("no creation") };
    let (status, found) = consul.ask(0, "GET", &format!("kv/{}lock?consistent", config.path), None).await;
    assert_eq!((status, found[0]["Session"].as_str()), (200, None), "{found}");
    drop(holder);
    // Whoever comes next is not delayed.
    let next = LockRecord { holder: "b".to_owned(), ..record };
    let begun = Instant::now();
    let outcome = register(&config).await.swap(Some(&first), &next).await;
    assert!(matches!(outcome, Swap::Swapped(_)), "{outcome:?}");
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
    let (status, sessions) = consul.ask(0, "GET", "session/list", None).await;
    assert_eq!((status, sessions.as_array().map(Vec::len)), (200, Some(0)), "{sessions}");
}

/// Consul refuses the connections of one address beyond a number: 200 by default, for three nodes behind one address.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_needs_few_connections() {
    let consul = Consul::single_with("limits { http_max_conns_per_client = 64 }\n").await;
    let config = config(&consul, None);
    let mut writer = Writer::init(backend(&config).await).await;
    writer.write(&[put("a", "1")]).await;
    let lock = register(&config).await;
    let mut watch = lock.watch().await.expect("a watch");
    assert_eq!(watch.changed().await.expect("a report"), None);
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    let waiting = async { event(feed.as_mut()).await };
    let working = async {
        for _ in 0..3 {
            let reads = (0..200).map(|_| writer.backend.get("a"));
            for read in futures_util::future::join_all(reads).await {
                assert_eq!(read.expect("a read").value.as_deref(), Some(b"1".as_slice()));
            }
        }
        let (next, ops) = (next_head(&writer.head), [put("a", "2")]);
        let outcome = writer.backend.commit(Some(&writer.head), &next, &ops).await;
        assert_eq!(outcome, Commit::Committed);
    };
    let (told, ()) = tokio::join!(waiting, working);
    assert!(matches!(told, FeedEvent::Record(_)));
}
