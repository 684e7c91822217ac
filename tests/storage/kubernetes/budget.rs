//! The limits that protect the host: bytes of heads, bytes of data.

use std::time::{Duration, Instant};

use holdfast::vault::physical::kubernetes::{Counters, Settings};
use holdfast::vault::physical::{Backend, Commit, Op, StorageError};

use super::world::{World, Writer, next_head, put};

#[tokio::test(flavor = "multi_thread")]
async fn commits_beyond_the_budget_wait_and_claims_do_not() {
    let world = World::new().await;
    let settings =
        Settings { budget_bytes_per_second: 20_000, budget_window_seconds: 2, ..world.settings.clone() };
    let mut writer = Writer::init(world.open_with(settings.clone())).await;
    let started = Instant::now();
    while writer.backend.counters().head_bytes < 140_000 {
        writer.write(&[put("k", vec![1; 1500])]).await;
    }
    // 40,000 bytes at once, the rest at 20,000 a second.
    assert!(started.elapsed() > Duration::from_secs(4), "{:?}", started.elapsed());
    let counters = writer.backend.counters();
    assert!(counters.throttled_millis > 3000, "{counters:?}");
    let claimed = Instant::now();
    let claimant = Writer::claim(world.open_with(settings)).await;
    assert!(claimed.elapsed() < Duration::from_secs(2), "{:?}", claimed.elapsed());
    assert_eq!(claimant.backend.counters().throttled_millis, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_next_has_no_burst_of_its_own() {
    let world = World::new().await;
    // Slow enough that a busy machine still writes faster, fast enough that a debt of a log, a head and a slice of a merge
    // (some 48 KiB) is paid well within the patience of a test.
    let settings =
        Settings { budget_bytes_per_second: 4096, budget_window_seconds: 40, ..world.settings.clone() };
    let mut writer = Writer::init(world.open_with(settings.clone())).await;
    let follower = world.open_with(settings);
    follower.check().await.expect("a check");
    follower.get("k").await.expect("a read");
    while writer.backend.counters().throttled_millis == 0 {
        writer.write(&[put("k", vec![1; 1500])]).await;
    }
    let mut next = Writer::claim(follower).await;
    assert_eq!(next.backend.counters().throttled_millis, 0, "a claim does not wait");
    // A burst of its own would be the 163,840 bytes of a window. Half of them are not reached: what it saw of the other
    // one's writes is about right.
    let spent = |counters: Counters| counters.head_bytes + counters.segment_bytes;
    while next.backend.counters().throttled_millis == 0 && spent(next.backend.counters()) < 80_000 {
        next.write(&[put("k", vec![1; 1500])]).await;
    }
    let counters = next.backend.counters();
    println!("{counters:?}");
    assert!(counters.throttled_millis > 0, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_says_so_and_deletes_make_room() {
    let world = World::new().await;
    let settings = Settings { data_limit_bytes: 20_000, ..world.settings.clone() };
    let mut writer = Writer::init(world.open_with(settings)).await;
    for n in 0..4 {
        writer.write(&[put(&format!("k/{n}"), vec![1; 4000])]).await;
    }
    let used = writer.backend.used_bytes();
    assert_eq!(used, Some(4 * 4003));
    assert_eq!(world.head_object().await.spec.data_bytes, 4 * 4003);
    let outcome = writer
        .backend
        .commit(Some(&writer.head), &next_head(&writer.head), &[put("k/4", vec![1; 4000])])
        .await;
    let full = StorageError::Full { storage: "kubernetes", used_bytes: 4 * 4003, limit_bytes: 20_000 };
    assert_eq!(outcome, Commit::Refused(full));
    // Replacing in place, deleting, and both at once within the limit go on.
    writer.write(&[put("k/0", vec![2; 4000])]).await;
    writer.write(&[Op::Delete { key: "k/1".to_owned() }, put("k/4", vec![1; 4000])]).await;
    writer.write(&[Op::Delete { key: "k/2".to_owned() }]).await;
    writer.write(&[put("k/5", vec![1; 4000])]).await;
    assert_eq!(writer.backend.used_bytes(), Some(4 * 4003));
}
