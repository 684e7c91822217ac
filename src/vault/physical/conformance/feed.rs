//! Laws of the feed.

use super::writer::{claim_head, delete, first_head, init, next_head, put, settle, write};
use super::{Law, Store, ensure, within};
use crate::vault::physical::backend::{Backend, Feed, FeedEvent, Journal};
use crate::vault::physical::head::Head;

/// Feeds that start at a head that only another instance has seen.
const UNSEEN: usize = 20;

pub(super) async fn follow(backend: &dyn Backend, from: Option<&Head>) -> Result<Box<dyn Feed>, String> {
    backend.follow(from.cloned()).await.map_err(|error| format!("follow: {error}"))
}

/// The next event; errors of a storage that cannot be reached for a moment are waited out.
async fn next(feed: &mut dyn Feed) -> Result<FeedEvent, String> {
    within("a feed", async {
        loop {
            match feed.next().await {
                Ok(event) => return event,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await
}

pub(super) async fn record(feed: &mut dyn Feed) -> Result<Journal, String> {
    match next(feed).await? {
        FeedEvent::Record(record) => Ok(record),
        other @ FeedEvent::Reset { .. } => Err(format!("a record was due, there was {other:?}")),
    }
}

pub(super) async fn a_feed_has_no_gap(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let start = init(writer.as_ref()).await?;
    let mut feed = follow(reader.as_ref(), Some(&start)).await?;
    let mut head = start;
    let mut expected = Vec::new();
    let writing = async {
        for n in 0..100 {
            let (here, gone) = (format!("k/{n}"), format!("k/{}", n / 2));
            head = write(writer.as_ref(), &head, &[put(&here, "v"), delete(&gone)]).await?;
            expected.push((head.clone(), vec![here, gone]));
        }
        Ok::<_, String>(())
    };
    let reading = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let record = record(feed.as_mut()).await?;
            // What the feed announced, reads must see.
            let value = reader.get("k/0").await.map_err(|error| error.to_string())?;
            ensure(value.head.position() >= record.head.position(), || {
                format!("a read at {} after the feed said {}", value.head.seq, record.head.seq)
            })?;
            seen.push((record.head, record.keys));
        }
        Ok::<_, String>(seen)
    };
    let (written, seen) = tokio::join!(writing, reading);
    written?;
    let seen = seen?;
    let first = seen.iter().zip(&expected).find(|(seen, expected)| seen != expected);
    ensure(first.is_none(), || format!("the feed differs from what was written: {first:?}"))
}

pub(super) async fn own_commits_are_in_the_feed(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let mut head = init(backend.as_ref()).await?;
    let mut feed = follow(backend.as_ref(), Some(&head)).await?;
    for n in 0..5 {
        head = write(backend.as_ref(), &head, &[put(&format!("k{n}"), "v")]).await?;
        let record = record(feed.as_mut()).await?;
        ensure(record.head == head && record.keys == [format!("k{n}")], || {
            format!("commit {n}: {record:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn a_feed_starts_where_it_is_told(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut heads = vec![init(writer.as_ref()).await?];
    for n in 0..6 {
        let last = heads[heads.len() - 1].clone();
        heads.push(write(writer.as_ref(), &last, &[put(&format!("k{n}"), "v")]).await?);
    }
    for start in 1..heads.len() {
        let mut feed = follow(reader.as_ref(), Some(&heads[start])).await?;
        for head in &heads[start + 1..] {
            let record = record(feed.as_mut()).await?;
            ensure(record.head == *head, || format!("from {start}: {:?} instead of {head:?}", record.head))?;
        }
    }
    // From heads that this instance has not seen yet, and a replica that it reads from may not have either.
    let mut last = heads.pop().unwrap_or_else(|| first_head("x"));
    for n in 0..UNSEEN {
        last = write(writer.as_ref(), &last, &[put(&format!("k{n}"), "u")]).await?;
        let mut feed = follow(reader.as_ref(), Some(&last)).await?;
        last = write(writer.as_ref(), &last, &[put(&format!("k{n}"), "w")]).await?;
        let record = record(feed.as_mut()).await?;
        ensure(record.head == last, || {
            format!("from an unseen head: {:?} instead of {last:?}", record.head)
        })?;
        let value = reader.get("k0").await.map_err(|error| error.to_string())?;
        ensure(value.head.position() >= last.position(), || {
            format!("a read at {} after the feed said {}", value.head.seq, last.seq)
        })?;
    }
    Ok(())
}

pub(super) async fn an_unknown_start_is_a_reset(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let head = init(backend.as_ref()).await?;
    let head = write(backend.as_ref(), &head, &[put("a", "1")]).await?;
    let foreign = [
        Head { batch_id: next_head(&head).batch_id, ..head.clone() },
        first_head("x"),
        Head { seq: head.seq + 5, ..next_head(&head) },
    ];
    for from in &foreign {
        let mut feed = follow(backend.as_ref(), Some(from)).await?;
        let event = next(feed.as_mut()).await?;
        let expected = FeedEvent::Reset { head: Some(head.clone()) };
        ensure(event == expected, || format!("from {from:?}, which the store never had: {event:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_feed_without_start_begins_with_a_reset(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let mut feed = follow(backend.as_ref(), None).await?;
    let event = next(feed.as_mut()).await?;
    ensure(event == FeedEvent::Reset { head: None }, || format!("on an empty store: {event:?}"))?;
    let head = init(backend.as_ref()).await?;
    let event = next(feed.as_mut()).await?;
    let is_told = match &event {
        FeedEvent::Reset { head: found } => found.as_ref() == Some(&head),
        FeedEvent::Record(record) => record.head == head,
    };
    ensure(is_told, || format!("after init: {event:?}"))?;
    let mut feed = follow(backend.as_ref(), None).await?;
    let event = next(feed.as_mut()).await?;
    ensure(event == FeedEvent::Reset { head: Some(head.clone()) }, || {
        format!("on a store with a head: {event:?}")
    })?;
    let head = write(backend.as_ref(), &head, &[put("a", "1")]).await?;
    let record = record(feed.as_mut()).await?;
    ensure(record.head == head, || format!("after the reset: {record:?}"))
}

pub(super) async fn a_claim_names_what_it_replaced(store: &dyn Store) -> Law {
    let (old, new) = (store.open().await, store.open().await);
    let head = init(old.as_ref()).await?;
    let mut feed = follow(old.as_ref(), Some(&head)).await?;
    let before = write(old.as_ref(), &head, &[put("a", "1")]).await?;
    let claim = claim_head(&before, "b");
    settle(new.as_ref(), Some(&before), &claim, &[]).await?;
    let after = write(new.as_ref(), &claim, &[put("a", "2")]).await?;
    let expected = [
        Journal { head: before.clone(), replaced: None, keys: vec!["a".to_owned()] },
        Journal { head: claim, replaced: Some(before), keys: vec![] },
        Journal { head: after, replaced: None, keys: vec!["a".to_owned()] },
    ];
    for expected in expected {
        let record = record(feed.as_mut()).await?;
        ensure(record == expected, || format!("{record:?} instead of {expected:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_slow_reader_misses_nothing_unnoticed(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut head = init(writer.as_ref()).await?;
    let mut feed = follow(reader.as_ref(), Some(&head)).await?;
    let mut heads = Vec::new();
    for n in 0..150 {
        head = write(writer.as_ref(), &head, &[put(&format!("k{}", n % 10), vec![0; 300])]).await?;
        heads.push(head.clone());
    }
    let mut rest = heads.into_iter();
    loop {
        match next(feed.as_mut()).await? {
            FeedEvent::Record(record) => {
                let expected = rest.next();
                ensure(Some(&record.head) == expected.as_ref(), || {
                    format!("{:?} instead of {expected:?}", record.head)
                })?;
            }
            FeedEvent::Reset { head: found } => {
                // It is allowed to say so, and goes on from there.
                let mut passed = rest.by_ref().find(|head| Some(head) == found.as_ref());
                ensure(passed.take().is_some(), || format!("a reset to {found:?}, which is not ahead"))?;
            }
        }
        if rest.len() == 0 {
            return Ok(());
        }
    }
}
