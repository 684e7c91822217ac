//! The public conformance suite: the laws of [`Backend`] and [`HaBackend`] as code that anybody may run over a backend.
//!
//! A backend of another crate implements [`Stores`] (and [`Locks`], if it has a lock) for a real server and asserts
//! that [`check_storage`] (and [`check_lock`]) find no violation. Each law runs on a fresh store. Laws about faults need a
//! store whose answers can be lost and that can be taken away; where that cannot be done they are skipped, and
//! [`report_storage`] and [`report_lock`] say so.

mod fault;
mod feed;
mod lock;
mod report;
mod storage;
mod writer;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::backend::Backend;
use super::register::HaBackend;

pub use report::{Judged, Report, Verdict, table};

/// How long anything may take that a law waits for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes stores to test.
#[async_trait]
pub trait Stores: Send + Sync {
    /// A new store that holds nothing.
    async fn create(&self) -> Box<dyn Store>;
}

/// One store to test.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new instance on this store, as another node would have it: it shares nothing with other instances but the store.
    async fn open(&self) -> Arc<dyn Backend>;

    /// Makes the store carry out the next commit, of whichever instance, and lose the answer on its way. False if that cannot be
    /// done.
    async fn lose_next_answer(&self) -> bool {
        false
    }

    /// Takes the store away from all of its instances until [`Store::heal`]: its server is stopped, the network is cut. False if
    /// that cannot be done.
    async fn fail(&self) -> bool {
        false
    }

    /// Gives the store back; also called when it is not away.
    async fn heal(&self) {}
}

/// Makes locks to test.
#[async_trait]
pub trait Locks: Send + Sync {
    /// A new lock that nobody ever wrote.
    async fn create(&self) -> Box<dyn Lock>;
}

/// One lock to test.
#[async_trait]
pub trait Lock: Send + Sync {
    /// A new instance on this lock, as another node would have it.
    async fn open(&self) -> Arc<dyn HaBackend>;

    /// Writes something into the underlying object that the record does not cover, as a tool of somebody else
    /// would. False if the lock has no room for such a thing.
    async fn mark(&self) -> bool {
        false
    }

    /// Whether what [`Lock::mark`] wrote is still there.
    async fn is_marked(&self) -> bool {
        true
    }

    /// Makes the lock carry out the next swap, of whichever instance, and lose the answer on its way. False if that cannot be
    /// done.
    async fn lose_next_answer(&self) -> bool {
        false
    }

    /// Takes the lock away from all of its instances until [`Lock::heal`]: its server is stopped, the network is cut. False if
    /// that cannot be done.
    async fn fail(&self) -> bool {
        false
    }

    /// Gives the lock back; also called when it is not away.
    async fn heal(&self) {}
}

/// A law that a backend breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law}: {what}")]
pub struct Violation {
    /// The law, by its name in this suite.
    pub law: &'static str,
    /// What happened instead.
    pub what: String,
}

/// How a law ends: what happened instead of what it says.
type Law = Result<(), String>;

/// Runs every law of [`Backend`] and returns those that do not hold.
pub async fn check_storage(stores: &dyn Stores) -> Vec<Violation> {
    report_storage("", stores).await.violations()
}

/// Runs every law of [`HaBackend`] and returns those that do not hold.
pub async fn check_lock(locks: &dyn Locks) -> Vec<Violation> {
    report_lock("", locks).await.violations()
}

/// Runs every law of [`Backend`]; `subject` names the storage in the report.
pub async fn report_storage(subject: &str, stores: &dyn Stores) -> Report {
    let mut laws = Vec::new();
    macro_rules! law {
        ($($module:ident :: $name:ident),* $(,)?) => {$(
            let store = stores.create().await;
            laws.push(judge(stringify!($name), $module::$name(store.as_ref())).await);
            store.heal().await;
        )*};
    }
    law![
        storage::an_empty_store_says_so,
        storage::init_happens_once,
        storage::concurrent_inits_have_one_winner,
        storage::values_are_kept_as_they_are,
        storage::a_listing_is_in_byte_order_and_pages,
        storage::a_batch_is_stored_whole,
        storage::the_whole_head_is_compared,
        storage::a_batch_may_be_sent_again,
        storage::concurrent_commits_have_one_winner,
        storage::a_claim_shuts_out_the_old_writer,
        storage::an_instance_never_goes_back,
        storage::limits_are_definite_refusals,
        storage::the_largest_commit_is_accepted,
        storage::another_instance_finds_everything,
        feed::a_feed_has_no_gap,
        feed::own_commits_are_in_the_feed,
        feed::a_feed_starts_where_it_is_told,
        feed::an_unknown_start_is_a_reset,
        feed::a_feed_without_start_begins_with_a_reset,
        feed::a_claim_names_what_it_replaced,
        feed::a_slow_reader_misses_nothing_unnoticed,
        fault::a_lost_answer_is_no_failure,
        fault::a_lost_answer_is_settled_once,
        fault::the_journal_tells_the_outcome_to_a_deposed_writer,
        fault::an_outage_is_told_in_time,
        fault::a_commit_during_an_outage_is_settled_once,
        fault::an_outage_ends_by_itself,
        fault::a_feed_has_no_gap_after_an_outage,
    ];
    Report { subject: subject.to_owned(), laws }
}

/// Runs every law of [`HaBackend`]; `subject` names the lock in the report.
pub async fn report_lock(subject: &str, locks: &dyn Locks) -> Report {
    let mut laws = Vec::new();
    macro_rules! law {
        ($($name:ident),* $(,)?) => {$(
            let lock = locks.create().await;
            laws.push(judge(stringify!($name), lock::$name(lock.as_ref())).await);
            lock.heal().await;
        )*};
    }
    law![
        an_absent_lock_is_none,
        every_field_is_kept,
        a_swap_needs_the_version,
        one_of_many_creates,
        one_of_many_takes_over,
        a_watch_begins_with_what_is_there,
        a_watch_sees_lasting_changes,
        what_others_wrote_stays,
        a_lost_answer_of_a_swap_is_no_conflict,
        an_outage_of_the_lock_is_told_in_time,
        a_watch_goes_on_after_an_outage,
    ];
    Report { subject: subject.to_owned(), laws }
}

async fn judge<L: Into<Verdict>>(law: &'static str, run: impl Future<Output = L>) -> Judged {
    let verdict = match tokio::time::timeout(PATIENCE * 4, run).await {
        Ok(outcome) => outcome.into(),
        Err(_) => Verdict::Broken("it does not end".to_owned()),
    };
    Judged { law, verdict }
}

/// Fails a law unless `holds`.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Law {
    if holds { Ok(()) } else { Err(what()) }
}

/// Waits for `event`, not for ever.
async fn within<T>(what: &str, event: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, event)
        .await
        .map_err(|_| format!("{what}: nothing for {} s", PATIENCE.as_secs()))
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
