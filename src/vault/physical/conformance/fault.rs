//! Laws of storages whose answers are lost on the way, and of storages that are away for a while.

use std::sync::Arc;

use bytes::Bytes;

use super::feed::{follow, record};
use super::report::Ends;
use super::writer::{claim_head, init, next_head, put, read, settle, write};
use super::{Store, ensure, within};
use crate::vault::physical::backend::{Backend, Commit, Feed, FeedEvent, Journal, StorageError};
use crate::vault::physical::head::Head;

type Law = Result<(), Ends>;

const NO_LOSS: &str = "answers cannot be lost on the way to it";
const NO_OUTAGE: &str = "it cannot be taken away";

fn need(available: bool, otherwise: &'static str) -> Law {
    if available { Ok(()) } else { Err(Ends::Skipped(otherwise)) }
}

/// The records of `feed` up to the one of `head`.
async fn records_until(feed: &mut dyn Feed, head: &Head) -> Result<Vec<Journal>, String> {
    let mut records = Vec::new();
    loop {
        let record = record(feed).await?;
        let is_last = record.head == *head;
        records.push(record);
        if is_last {
            return Ok(records);
        }
    }
}

/// That the batch of `next` is in the journal once, and so are its keys.
fn is_there_once(records: &[Journal], next: &Head, key: &str) -> Result<(), String> {
    let named: Vec<_> = records.iter().filter(|record| record.head.batch_id == next.batch_id).collect();
    ensure(named.len() == 1, || format!("the journal names the batch {} times", named.len()))?;
    let is_whole = named.iter().all(|record| record.head == *next && record.keys == [key]);
    ensure(is_whole, || format!("the journal says {named:?} of {next:?}"))
}

/// Commits `key` after `head` so that the answer is lost; nothing but the truth may be said about it.
async fn lose(store: &dyn Store, writer: &dyn Backend, head: &Head, key: &str) -> Result<Head, Ends> {
    need(store.lose_next_answer().await, NO_LOSS)?;
    let next = next_head(head);
    let ops = [put(key, "1")];
    let outcome = within("a commit whose answer is lost", writer.commit(Some(head), &next, &ops)).await?;
    let is_true = matches!(outcome, Commit::Unknown { .. } | Commit::Committed);
    ensure(is_true, || {
        format!("a commit that was carried out, and whose answer was lost, ended with {outcome:?}")
    })?;
    Ok(next)
}

pub(super) async fn a_lost_answer_is_no_failure(store: &dyn Store) -> Law {
    let (writer, other) = (store.open().await, store.open().await);
    let head = init(writer.as_ref()).await?;
    let next = lose(store, writer.as_ref(), &head, "lost").await?;
    // The store did carry it out: whoever looks for long enough finds it.
    let arrived = within("what was carried out", async {
        loop {
            match other.check().await {
                Ok(found) if found.as_ref() == Some(&next) => return Ok(()),
                Ok(found) if found.as_ref() != Some(&head) => return Err(format!("{found:?}")),
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    });
    arrived.await??;
    let found = read(other.as_ref(), "lost").await?;
    Ok(ensure(found == Some(Bytes::from_static(b"1")), || format!("the value is {found:?}"))?)
}

pub(super) async fn a_lost_answer_is_settled_once(store: &dyn Store) -> Law {
    let (writer, other) = (store.open().await, store.open().await);
    let head = init(writer.as_ref()).await?;
    let mut feed = follow(other.as_ref(), Some(&head)).await?;
    let mut last = head;
    for round in 0..3 {
        let key = format!("k{round}");
        let next = lose(store, writer.as_ref(), &last, &key).await?;
        settle(writer.as_ref(), Some(&last), &next, &[put(&key, "1")]).await?;
        // Whatever else was on its way must not change it any more.
        let after = write(writer.as_ref(), &next, &[put(&key, "2")]).await?;
        let again = writer.commit(Some(&last), &next, &[put(&key, "1")]).await;
        let expected = Commit::Fenced { current: Some(after.clone()) };
        ensure(again == expected, || format!("sent once more it ended with {again:?}"))?;
        let records = records_until(feed.as_mut(), &after).await?;
        is_there_once(&records, &next, &key)?;
        ensure(records.len() == 2, || format!("the journal has {records:?}"))?;
        let found = read(other.as_ref(), &key).await?;
        ensure(found == Some(Bytes::from_static(b"2")), || format!("{key} is {found:?}"))?;
        last = after;
    }
    Ok(())
}

pub(super) async fn the_journal_tells_the_outcome_to_a_deposed_writer(store: &dyn Store) -> Law {
    let (old, new) = (store.open().await, store.open().await);
    let head = init(old.as_ref()).await?;
    let lost = lose(store, old.as_ref(), &head, "lost").await?;
    // The successor may come before or after what is on its way; it claims what it finds.
    let found = new.check().await.map_err(|error| format!("check: {error}"))?;
    let found = found.ok_or_else(|| "the head is gone".to_owned())?;
    let claim = claim_head(&found, "b");
    settle(new.as_ref(), Some(&found), &claim, &[]).await?;
    let again = within("a resent batch", async {
        loop {
            match old.commit(Some(&head), &lost, &[put("lost", "1")]).await {
                Commit::Unknown { .. } => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                known => return known,
            }
        }
    });
    let again = again.await?;
    let expected = Commit::Fenced { current: Some(claim.clone()) };
    ensure(again == expected, || format!("after a claim it ended with {again:?}"))?;
    let mut feed = follow(old.as_ref(), Some(&head)).await?;
    let records = records_until(feed.as_mut(), &claim).await?;
    let was_applied = found == lost;
    if was_applied {
        is_there_once(&records, &lost, "lost")?;
    }
    let named = records.iter().filter(|record| record.head.batch_id == lost.batch_id).count();
    let value = read(new.as_ref(), "lost").await?;
    Ok(ensure((named, value.is_some()) == (usize::from(was_applied), was_applied), || {
        format!(
            "the claim was at {}, the journal names the batch {named} times, the value is {value:?}",
            found.seq
        )
    })?)
}

pub(super) async fn an_outage_is_told_in_time(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let head = init(writer.as_ref()).await?;
    let head = write(writer.as_ref(), &head, &[put("a", "1")]).await?;
    reader.check().await.map_err(|error| format!("check: {error}"))?;
    need(store.fail().await, NO_OUTAGE)?;
    for backend in [&writer, &reader] {
        let checked = within("a check during an outage", backend.check()).await?;
        let is_told = matches!(checked, Err(StorageError::Unavailable { .. }));
        ensure(is_told, || format!("a check during an outage: {checked:?}"))?;
        // A read may still come from memory, but then it is one of the state that its head stands for.
        let value = within("a read during an outage", backend.get("a")).await?;
        let is_true = match &value {
            Ok(found) => found.head == head && found.value.as_deref() == Some(b"1".as_slice()),
            Err(error) => matches!(error, StorageError::Unavailable { .. }),
        };
        ensure(is_true, || format!("a read during an outage: {value:?}"))?;
        let listed = within("a listing during an outage", backend.list("", None, 5)).await?;
        let is_true = match &listed {
            Ok(found) => found.head == head && found.keys == ["a"],
            Err(error) => matches!(error, StorageError::Unavailable { .. }),
        };
        ensure(is_true, || format!("a listing during an outage: {listed:?}"))?;
    }
    Ok(())
}

/// Waits until all of `backends` answer again.
async fn back(backends: [&Arc<dyn Backend>; 2]) -> Result<(), String> {
    for backend in backends {
        within("a check after an outage", async {
            while backend.check().await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn a_commit_during_an_outage_is_settled_once(store: &dyn Store) -> Law {
    let (writer, other) = (store.open().await, store.open().await);
    let head = init(writer.as_ref()).await?;
    let mut feed = follow(other.as_ref(), Some(&head)).await?;
    need(store.fail().await, NO_OUTAGE)?;
    let next = next_head(&head);
    let ops = [put("k", "1")];
    for _ in 0..2 {
        let outcome = within("a commit during an outage", writer.commit(Some(&head), &next, &ops)).await?;
        let is_unknown = matches!(outcome, Commit::Unknown { .. });
        ensure(is_unknown, || format!("a commit during an outage ended with {outcome:?}"))?;
    }
    store.heal().await;
    settle(writer.as_ref(), Some(&head), &next, &ops).await?;
    let after = write(writer.as_ref(), &next, &[put("k", "2")]).await?;
    let records = records_until(feed.as_mut(), &after).await?;
    is_there_once(&records, &next, "k")?;
    back([&writer, &other]).await?;
    let found = read(other.as_ref(), "k").await?;
    Ok(ensure(found == Some(Bytes::from_static(b"2")), || format!("the value is {found:?}"))?)
}

pub(super) async fn an_outage_ends_by_itself(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut head = init(writer.as_ref()).await?;
    for round in 0..2 {
        need(store.fail().await, NO_OUTAGE)?;
        let checked = within("a check during an outage", reader.check()).await?;
        ensure(checked.is_err(), || format!("a check during an outage: {checked:?}"))?;
        store.heal().await;
        back([&writer, &reader]).await?;
        let text = format!("{round}");
        head = write(writer.as_ref(), &head, &[put("a", text.clone())]).await?;
        let checked = reader.check().await;
        ensure(checked == Ok(Some(head.clone())), || format!("after an outage: {checked:?}"))?;
        let found = read(reader.as_ref(), "a").await?;
        ensure(found == Some(Bytes::from(text)), || format!("after an outage {round}: {found:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_feed_has_no_gap_after_an_outage(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut head = init(writer.as_ref()).await?;
    let mut feed = follow(reader.as_ref(), Some(&head)).await?;
    let mut heads = Vec::new();
    for round in 0..2 {
        for n in 0..3 {
            head = write(writer.as_ref(), &head, &[put(&format!("k{n}"), "v")]).await?;
            heads.push(head.clone());
        }
        // In the second round some of it is still to be delivered when the outage begins.
        let due = if round == 0 { 3 } else { 1 };
        for expected in heads.drain(..due) {
            let found = record(feed.as_mut()).await?;
            ensure(found.head == expected, || format!("{:?} instead of {expected:?}", found.head))?;
        }
        need(store.fail().await, NO_OUTAGE)?;
        // It waits, or says that the storage is away; it may have read ahead.
        let during = tokio::time::timeout(std::time::Duration::from_secs(3), feed.next()).await;
        if let Ok(Ok(event)) = during {
            let expected = (!heads.is_empty()).then(|| heads.remove(0));
            let is_next = matches!(&event, FeedEvent::Record(record)
                if Some(&record.head) == expected.as_ref());
            ensure(is_next, || format!("during an outage a feed gave {event:?} instead of {expected:?}"))?;
        }
        store.heal().await;
        back([&writer, &reader]).await?;
    }
    for n in 0..5 {
        head = write(writer.as_ref(), &head, &[put(&format!("k{n}"), "w")]).await?;
        heads.push(head.clone());
    }
    for expected in heads {
        let found = record(feed.as_mut()).await?;
        ensure(found.head == expected, || {
            format!("after an outage {:?} instead of {expected:?}", found.head)
        })?;
    }
    Ok(())
}
