//! Whoever follows a storage or a lock is woken by what happens, not by looking once a second.

use std::time::{Duration, Instant};

use holdfast::vault::physical::{Backend, FeedEvent, HaBackend, Head, LockRecord, Swap};

use crate::steps::{event, next_head, put, settle};

/// One instance of storage and lock.
pub type Instance<'a> = (&'a dyn Backend, &'a dyn HaBackend);

/// Writes through `writer`, which stands at `head`, and follows with `reader`.
pub async fn readers_are_woken_long_before_they_look(
    mut head: Head,
    writer: Instance<'_>,
    reader: Instance<'_>,
) {
    let (backend, register) = writer;
    let mut feed = reader.0.follow(Some(head.clone())).await.expect("a feed");
    let mut watch = reader.1.watch().await.expect("a watch");
    assert_eq!(watch.changed().await, Ok(None));
    let mut version = None;
    // The watches may begin a moment after they were asked for.
    let next = next_head(&head);
    settle(backend, Some(&head), &next, &[]).await.expect("a commit");
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a reset") };
    assert_eq!(record.head, next);
    head = next;
    let begun = Instant::now();
    for renewals in 0..10 {
        let held = LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
        let next = next_head(&head);
        // Both wait already when something happens. (If one does not yet, it only has an easier time.)
        let happening = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let ops = [put("a", renewals.to_string())];
            settle(backend, Some(&head), &next, &ops).await.expect("a commit");
            register.swap(version.as_ref(), &held).await
        };
        let (swapped, told, found) = tokio::join!(happening, event(feed.as_mut()), watch.changed());
        let Swap::Swapped(swapped) = swapped else { panic!("{swapped:?}") };
        version = Some(swapped);
        let FeedEvent::Record(record) = told else { panic!("a reset") };
        assert_eq!(record.head, next);
        assert_eq!(found.expect("a report").map(|found| found.record), Some(held));
        head = next;
    }
    // Looking once a second would take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}
