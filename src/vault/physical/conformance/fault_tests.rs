//! Laws about faults over a storage in memory that has them, and over wrong ones that must be caught.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::vault::physical::backend::{Commit, Feed, FeedEvent, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::{Head, LockName};
use crate::vault::physical::inmem::{InmemBackend, InmemRegister};
use crate::vault::physical::register::{LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned};

/// What is wrong with a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// Nothing.
    No,
    /// A lost answer is called a fence.
    LostIsFenced,
    /// A lost answer is called a refusal.
    LostIsRefused,
    /// A lost batch is sent again by the storage itself, and the fence that it then meets is believed.
    Resends,
    /// What was lost comes late, and is not fenced.
    ComesLate,
    /// The record of a lost batch is missing in feeds.
    Unwritten,
    /// While it is away it does not answer at all.
    Hangs,
    /// While it is away it seems empty.
    SeemsEmpty,
    /// Checks are answered from memory while it is away.
    ChecksFromMemory,
    /// What is sent while it is away is called a fence.
    AwayIsFenced,
    /// After an outage its feeds begin anew.
    FeedsForget,
    /// It never comes back for those that were there before.
    StaysAway,
}

#[derive(Default)]
struct Weather {
    lose: bool,
    away: bool,
    was_away: bool,
    late: Option<(Head, Vec<Op>)>,
    unwritten: Option<Head>,
}

#[derive(Clone)]
struct Faulty {
    inner: InmemBackend,
    weather: Arc<Mutex<Weather>>,
    wrong: Wrong,
}

impl Faulty {
    fn weather(&self) -> std::sync::MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }

    async fn reach(&self) -> Result<(), StorageError> {
        let is_away = {
            let weather = self.weather();
            weather.away || (weather.was_away && self.wrong == Wrong::StaysAway)
        };
        if !is_away {
            return Ok(());
        }
        if self.wrong == Wrong::Hangs {
            std::future::pending::<()>().await;
        }
        if self.wrong == Wrong::SeemsEmpty {
            return Err(StorageError::Empty { storage: "faulty" });
        }
        Err(StorageError::Unavailable { storage: "faulty", reason: "on purpose".to_owned() })
    }

    async fn lost(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if self.wrong == Wrong::ComesLate {
            self.weather().late = Some((next.clone(), ops.to_vec()));
        } else {
            self.inner.commit(expected, next, ops).await;
        }
        if self.wrong == Wrong::Unwritten {
            self.weather().unwritten = Some(next.clone());
        }
        match self.wrong {
            Wrong::LostIsFenced => Commit::Fenced { current: expected.cloned() },
            Wrong::LostIsRefused => Commit::Refused(StorageError::BadKey { storage: "faulty" }),
            Wrong::Resends => self.inner.commit(expected, next, ops).await,
            _ => Commit::Unknown { reason: "lost".to_owned() },
        }
    }
}

#[async_trait]
impl Backend for Faulty {
    fn kind(&self) -> &'static str {
        "faulty"
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = self.reach().await {
            return match self.wrong {
                Wrong::AwayIsFenced => Commit::Fenced { current: None },
                _ => Commit::Unknown { reason: error.to_string() },
            };
        }
        let (lose, late) = {
            let mut weather = self.weather();
            (std::mem::take(&mut weather.lose), weather.late.take())
        };
        if lose {
            return self.lost(expected, next, ops).await;
        }
        let outcome = self.inner.commit(expected, next, ops).await;
        if let Some((head, ops)) = late {
            // Over whatever is there now.
            let now = self.inner.check().await.unwrap();
            self.inner.commit(now.as_ref(), &head, &ops).await;
        }
        outcome
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.reach().await?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.reach().await?;
        self.inner.list(prefix, after, limit).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        if self.wrong != Wrong::ChecksFromMemory {
            self.reach().await?;
        }
        self.inner.check().await
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        self.reach().await?;
        let inner = self.inner.follow(from).await?;
        Ok(Box::new(FaultyFeed { store: self.clone(), inner, saw_outage: false }))
    }
}

struct FaultyFeed {
    store: Faulty,
    inner: Box<dyn Feed>,
    saw_outage: bool,
}

#[async_trait]
impl Feed for FaultyFeed {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        let reached = self.store.reach().await;
        self.saw_outage |= reached.is_err();
        reached?;
        if self.store.wrong == Wrong::FeedsForget && std::mem::take(&mut self.saw_outage) {
            self.inner = self.store.inner.follow(None).await?;
        }
        loop {
            let event = self.inner.next().await?;
            let hidden = self.store.weather().unwritten.clone();
            match &event {
                FeedEvent::Record(record) if Some(&record.head) == hidden.as_ref() => {}
                _ => return Ok(event),
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    async fn lose_next_answer(&self) -> bool {
        self.weather().lose = true;
        true
    }

    async fn fail(&self) -> bool {
        self.weather().away = true;
        true
    }

    async fn heal(&self) {
        let mut weather = self.weather();
        weather.was_away |= weather.away;
        weather.away = false;
    }
}

struct FaultyStores(Wrong);

#[async_trait]
impl Stores for FaultyStores {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(Faulty { inner: InmemBackend::new(), weather: Arc::default(), wrong: self.0 })
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_are_told_break_no_law() {
    let report = report_storage("faulty", &FaultyStores(Wrong::No)).await;
    assert_eq!(report.violations(), []);
    assert_eq!(report.skipped(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn wrong_answers_about_faults_are_caught() {
    for (wrong, law) in [
        (Wrong::LostIsFenced, "a_lost_answer_is_no_failure"),
        (Wrong::LostIsRefused, "a_lost_answer_is_no_failure"),
        (Wrong::Resends, "a_lost_answer_is_no_failure"),
        (Wrong::ComesLate, "the_journal_tells_the_outcome_to_a_deposed_writer"),
        (Wrong::Unwritten, "the_journal_tells_the_outcome_to_a_deposed_writer"),
        (Wrong::Hangs, "an_outage_is_told_in_time"),
        (Wrong::SeemsEmpty, "an_outage_is_told_in_time"),
        (Wrong::ChecksFromMemory, "an_outage_is_told_in_time"),
        (Wrong::AwayIsFenced, "a_commit_during_an_outage_is_settled_once"),
        (Wrong::FeedsForget, "a_feed_has_no_gap_after_an_outage"),
        (Wrong::StaysAway, "an_outage_ends_by_itself"),
    ] {
        let found = check_storage(&FaultyStores(wrong)).await;
        assert!(found.iter().any(|violation| violation.law == law), "{wrong:?}: {found:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_tried_is_skipped_and_says_so() {
    let report = report_storage("inmem", &super::tests::Memory).await;
    assert_eq!(report.violations(), []);
    assert_eq!(report.skipped().len(), 7, "{report}");
    let report = report_lock("inmem", &super::tests::Memory).await;
    assert_eq!(report.skipped().len(), 4, "{report}");
}

/// A lock with faults.
#[derive(Clone)]
struct FaultyLock {
    inner: InmemRegister,
    weather: Arc<Mutex<Weather>>,
    wrong: Wrong,
}

impl FaultyLock {
    async fn reach(&self) -> Result<(), RegisterError> {
        if !self.weather.lock().unwrap().away {
            return Ok(());
        }
        if self.wrong == Wrong::Hangs {
            std::future::pending::<()>().await;
        }
        Err(RegisterError::Unavailable { lock: "faulty".to_owned(), reason: "on purpose".to_owned() })
    }
}

#[async_trait]
impl HaBackend for FaultyLock {
    fn name(&self) -> LockName {
        self.inner.name()
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        self.reach().await?;
        self.inner.read().await
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        if let Err(error) = self.reach().await {
            return match self.wrong {
                Wrong::AwayIsFenced => Swap::Conflict,
                _ => Swap::Unknown { reason: error.to_string() },
            };
        }
        let lose = std::mem::take(&mut self.weather.lock().unwrap().lose);
        let outcome = self.inner.swap(expected, next).await;
        match (lose, self.wrong) {
            (false, _) => outcome,
            (true, Wrong::LostIsFenced) => Swap::Conflict,
            (true, _) => Swap::Unknown { reason: "lost".to_owned() },
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        self.reach().await?;
        Ok(Box::new(FaultyWatch { lock: self.clone(), inner: self.inner.watch().await?, saw_outage: false }))
    }
}

struct FaultyWatch {
    lock: FaultyLock,
    inner: Box<dyn RegisterWatch>,
    saw_outage: bool,
}

#[async_trait]
impl RegisterWatch for FaultyWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        let reached = self.lock.reach().await;
        self.saw_outage |= reached.is_err();
        reached?;
        if self.lock.wrong == Wrong::StaysAway && self.saw_outage {
            std::future::pending::<()>().await;
        }
        self.inner.changed().await
    }
}

#[async_trait]
impl Lock for FaultyLock {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(self.clone())
    }

    async fn lose_next_answer(&self) -> bool {
        self.weather.lock().unwrap().lose = true;
        true
    }

    async fn fail(&self) -> bool {
        self.weather.lock().unwrap().away = true;
        true
    }

    async fn heal(&self) {
        self.weather.lock().unwrap().away = false;
    }
}

#[async_trait]
impl Locks for FaultyStores {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(FaultyLock { inner: InmemRegister::new(), weather: Arc::default(), wrong: self.0 })
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_lock_are_judged() {
    let report = report_lock("faulty", &FaultyStores(Wrong::No)).await;
    assert_eq!(report.violations(), []);
    assert_eq!(report.skipped(), ["what_others_wrote_stays"]);
    for (wrong, law) in [
        (Wrong::LostIsFenced, "a_lost_answer_of_a_swap_is_no_conflict"),
        (Wrong::AwayIsFenced, "an_outage_of_the_lock_is_told_in_time"),
        (Wrong::Hangs, "an_outage_of_the_lock_is_told_in_time"),
        (Wrong::StaysAway, "a_watch_goes_on_after_an_outage"),
    ] {
        let found = check_lock(&FaultyStores(wrong)).await;
        assert!(found.iter().any(|violation| violation.law == law), "{wrong:?}: {found:?}");
    }
}
