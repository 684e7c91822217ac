//! Laws of the lock.

use std::time::Duration;

use futures_util::future::join_all;

use super::report::Ends;
use super::{Law, Lock, ensure, within};
use crate::vault::physical::register::{
    ActiveRecord, HaBackend, HandoverWish, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};

/// How a law ends that needs something which not every lock can do.
type Trial = Result<(), Ends>;

/// Contenders for one lock.
const CONTENDERS: u64 = 32;
/// A watch must tell within a second; a loaded machine gets three.
const SOON: Duration = Duration::from_secs(3);

fn held_by(holder: &str, renewals: u64) -> LockRecord {
    LockRecord { holder: holder.to_owned(), duration_seconds: 6, renewals, ..LockRecord::default() }
}

async fn read(lock: &dyn HaBackend) -> Result<Option<Versioned>, String> {
    lock.read().await.map_err(|error| format!("read: {error}"))
}

async fn write(
    lock: &dyn HaBackend,
    expected: Option<&Version>,
    next: &LockRecord,
) -> Result<Version, String> {
    match lock.swap(expected, next).await {
        Swap::Swapped(version) => Ok(version),
        other => Err(format!("swap: {other:?}")),
    }
}

async fn change(watch: &mut dyn RegisterWatch) -> Result<Option<LockRecord>, String> {
    let changed = tokio::time::timeout(SOON, watch.changed()).await;
    let changed = changed.map_err(|_| format!("a watch said nothing for {} s", SOON.as_secs()))?;
    changed.map(|found| found.map(|found| found.record)).map_err(|error| format!("watch: {error}"))
}

pub(super) async fn an_absent_lock_is_none(lock: &dyn Lock) -> Law {
    let one = lock.open().await;
    let found = read(one.as_ref()).await?;
    ensure(found.is_none(), || format!("{found:?}"))?;
    let other = lock.open().await;
    ensure(one.name() == other.name(), || "two instances give the lock two names".to_owned())?;
    let outcome = one.swap(Some(&Version("1".to_owned())), &held_by("a", 1)).await;
    ensure(outcome == Swap::Conflict, || format!("a swap of what is not there: {outcome:?}"))
}

pub(super) async fn every_field_is_kept(lock: &dyn Lock) -> Law {
    let (one, two) = (lock.open().await, lock.open().await);
    let full = LockRecord {
        holder: "vault-0_0b0c_x7".to_owned(),
        duration_seconds: 6,
        renewals: 41,
        transitions: 3,
        released_epoch: Some(u64::MAX),
        active: Some(ActiveRecord {
            identity: "vault-0_0b0c_x7".to_owned(),
            epoch: 9,
            api_addr: "https://[fd00::1]:8200".to_owned(),
            cluster_addr: "https://[fd00::1]:8201".to_owned(),
        }),
        successor: Some("vault-1_0b0d_y8".to_owned()),
        renounced_epoch: Some(9),
        leaving: Some("vault-2".to_owned()),
        handover: Some(HandoverWish { nonce: "n1".to_owned(), to: Some("vault-1".to_owned()) }),
        ended: Some("vault-0_0b0c_w6".to_owned()),
    };
    let version = write(one.as_ref(), None, &full).await?;
    let found = read(two.as_ref()).await?;
    let expected = Versioned { version: version.clone(), record: full };
    ensure(found.as_ref() == Some(&expected), || format!("{found:?} instead of {expected:?}"))?;
    let released = LockRecord { released_epoch: Some(9), transitions: 3, ..LockRecord::default() };
    write(two.as_ref(), Some(&version), &released).await?;
    let found = read(one.as_ref()).await?.map(|found| found.record);
    ensure(found.as_ref() == Some(&released), || format!("{found:?} instead of {released:?}"))
}

pub(super) async fn a_swap_needs_the_version(lock: &dyn Lock) -> Law {
    let (one, two) = (lock.open().await, lock.open().await);
    let first = write(one.as_ref(), None, &held_by("a", 1)).await?;
    let outcome = two.swap(None, &held_by("b", 1)).await;
    ensure(outcome == Swap::Conflict, || format!("a second creation: {outcome:?}"))?;
    let second = write(two.as_ref(), Some(&first), &held_by("a", 2)).await?;
    ensure(first != second, || "a swap left the version as it was".to_owned())?;
    for instance in [&one, &two] {
        let outcome = instance.swap(Some(&first), &held_by("b", 1)).await;
        ensure(outcome == Swap::Conflict, || format!("a swap of an old version: {outcome:?}"))?;
    }
    let third = write(one.as_ref(), Some(&second), &held_by("a", 1)).await?;
    let outcome = two.swap(Some(&first), &held_by("b", 1)).await;
    ensure(outcome == Swap::Conflict, || {
        format!("the content of an old version is no old version: {outcome:?}")
    })?;
    let found = read(two.as_ref()).await?;
    let expected = Versioned { version: third, record: held_by("a", 1) };
    ensure(found.as_ref() == Some(&expected), || format!("{found:?} instead of {expected:?}"))
}

pub(super) async fn one_of_many_creates(lock: &dyn Lock) -> Law {
    contend(lock, None).await
}

pub(super) async fn one_of_many_takes_over(lock: &dyn Lock) -> Law {
    let version = write(lock.open().await.as_ref(), None, &LockRecord::default()).await?;
    contend(lock, Some(version)).await
}

async fn contend(lock: &dyn Lock, expected: Option<Version>) -> Law {
    let instances = join_all((0..CONTENDERS).map(|_| lock.open())).await;
    let records: Vec<_> = (0..CONTENDERS).map(|n| held_by(&format!("node-{n}"), n + 1)).collect();
    let sent =
        instances.iter().zip(&records).map(|(instance, record)| instance.swap(expected.as_ref(), record));
    let outcomes = within("a swap", join_all(sent)).await?;
    let won: Vec<usize> = (0..outcomes.len()).filter(|n| matches!(outcomes[*n], Swap::Swapped(_))).collect();
    let unknown = outcomes.iter().filter(|outcome| matches!(outcome, Swap::Unknown { .. })).count();
    ensure(won.len() == 1 || (won.is_empty() && unknown > 0), || format!("{} contenders won", won.len()))?;
    let found = read(instances[0].as_ref()).await?.map(|found| found.record);
    match won.first() {
        Some(won) => ensure(found.as_ref() == Some(&records[*won]), || format!("{found:?}, node-{won} won")),
        None => ensure(unknown < outcomes.len(), || "no outcome is known".to_owned()),
    }
}

pub(super) async fn a_watch_begins_with_what_is_there(lock: &dyn Lock) -> Law {
    let one = lock.open().await;
    let mut watch = one.watch().await.map_err(|error| error.to_string())?;
    let found = change(watch.as_mut()).await?;
    ensure(found.is_none(), || format!("an absent lock: {found:?}"))?;
    write(one.as_ref(), None, &held_by("a", 1)).await?;
    let found = change(watch.as_mut()).await?;
    ensure(found == Some(held_by("a", 1)), || format!("after the creation: {found:?}"))?;
    let mut watch = one.watch().await.map_err(|error| error.to_string())?;
    let found = change(watch.as_mut()).await?;
    ensure(found == Some(held_by("a", 1)), || format!("a new watch: {found:?}"))
}

pub(super) async fn a_watch_sees_lasting_changes(lock: &dyn Lock) -> Law {
    let (writer, reader) = (lock.open().await, lock.open().await);
    let mut version = write(writer.as_ref(), None, &held_by("a", 0)).await?;
    let mut watch = reader.watch().await.map_err(|error| error.to_string())?;
    change(watch.as_mut()).await?;
    for renewals in 1..=10 {
        version = write(writer.as_ref(), Some(&version), &held_by("a", renewals)).await?;
        let found = change(watch.as_mut()).await?;
        ensure(found == Some(held_by("a", renewals)), || format!("renewal {renewals}: {found:?}"))?;
    }
    // Between two calls any number of changes may happen; the last one must come.
    for renewals in 11..=30 {
        version = write(writer.as_ref(), Some(&version), &held_by("a", renewals)).await?;
    }
    loop {
        let found = change(watch.as_mut()).await?;
        if found == Some(held_by("a", 30)) {
            return Ok(());
        }
    }
}

pub(super) async fn what_others_wrote_stays(lock: &dyn Lock) -> Trial {
    let one = lock.open().await;
    write(one.as_ref(), None, &held_by("a", 1)).await?;
    if !lock.mark().await {
        return Err(Ends::Skipped("there is no room for what others write"));
    }
    let found = read(one.as_ref()).await?.ok_or_else(|| "the lock is gone".to_owned())?;
    ensure(found.record == held_by("a", 1), || format!("a foreign field changed the record: {found:?}"))?;
    let version = write(one.as_ref(), Some(&found.version), &held_by("a", 2)).await?;
    write(one.as_ref(), Some(&version), &LockRecord::default()).await?;
    Ok(ensure(lock.is_marked().await, || "a swap removed a field that is not ours".to_owned())?)
}

pub(super) async fn a_lost_answer_of_a_swap_is_no_conflict(lock: &dyn Lock) -> Trial {
    let (one, two) = (lock.open().await, lock.open().await);
    let first = write(one.as_ref(), None, &held_by("a", 1)).await?;
    if !lock.lose_next_answer().await {
        return Err(Ends::Skipped("answers cannot be lost on the way to it"));
    }
    let outcome = within("a swap whose answer is lost", one.swap(Some(&first), &held_by("a", 2))).await?;
    let is_true = matches!(outcome, Swap::Unknown { .. } | Swap::Swapped(_));
    ensure(is_true, || format!("a swap that was carried out, and whose answer was lost: {outcome:?}"))?;
    let found = within("what was carried out", async {
        loop {
            match two.read().await {
                Ok(Some(found)) if found.record == held_by("a", 2) => return found,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let found = found.await?;
    ensure(found.version != first, || "a swap left the version as it was".to_owned())?;
    let again = one.swap(Some(&first), &held_by("a", 2)).await;
    ensure(again == Swap::Conflict, || format!("sent once more: {again:?}"))?;
    write(one.as_ref(), Some(&found.version), &held_by("a", 3)).await?;
    Ok(())
}

pub(super) async fn an_outage_of_the_lock_is_told_in_time(lock: &dyn Lock) -> Trial {
    let one = lock.open().await;
    let version = write(one.as_ref(), None, &held_by("a", 1)).await?;
    if !lock.fail().await {
        return Err(Ends::Skipped("it cannot be taken away"));
    }
    let found = within("a read during an outage", one.read()).await?;
    let is_told = matches!(found, Err(RegisterError::Unavailable { .. }));
    ensure(is_told, || format!("a read during an outage: {found:?}"))?;
    let outcome = within("a swap during an outage", one.swap(Some(&version), &held_by("a", 2))).await?;
    let is_unknown = matches!(outcome, Swap::Unknown { .. });
    ensure(is_unknown, || format!("a swap during an outage: {outcome:?}"))?;
    lock.heal().await;
    // It may still be on its way: what is there is the one or the other.
    let found = after_outage(one.as_ref()).await?;
    let expected = [held_by("a", 1), held_by("a", 2)];
    Ok(ensure(found.as_ref().is_some_and(|found| expected.contains(&found.record)), || {
        format!("after an outage: {found:?}")
    })?)
}

pub(super) async fn a_watch_goes_on_after_an_outage(lock: &dyn Lock) -> Trial {
    let (writer, reader) = (lock.open().await, lock.open().await);
    write(writer.as_ref(), None, &held_by("a", 1)).await?;
    let mut watch = reader.watch().await.map_err(|error| format!("watch: {error}"))?;
    change(watch.as_mut()).await?;
    if !lock.fail().await {
        return Err(Ends::Skipped("it cannot be taken away"));
    }
    // It waits, or says that the lock is away.
    let during = tokio::time::timeout(SOON, watch.changed()).await;
    ensure(!matches!(during, Ok(Ok(_))), || format!("during an outage a watch said {during:?}"))?;
    lock.heal().await;
    let found = after_outage(writer.as_ref()).await?.ok_or_else(|| "the lock is gone".to_owned())?;
    within("a swap after an outage", async {
        loop {
            match writer.swap(Some(&found.version), &held_by("a", 2)).await {
                Swap::Unknown { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return,
            }
        }
    })
    .await?;
    let told = within("a watch after an outage", async {
        loop {
            match watch.changed().await {
                Ok(Some(found)) if found.record == held_by("a", 2) => return,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok(told.await?)
}

async fn after_outage(lock: &dyn HaBackend) -> Result<Option<Versioned>, String> {
    within("a read after an outage", async {
        loop {
            match lock.read().await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
}
