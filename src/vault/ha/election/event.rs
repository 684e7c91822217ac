//! What happens to the election, and what it asks for.

use std::time::Duration;

use crate::base::clock::{Moment, UnixMillis};
use crate::base::random::Random;
use crate::vault::physical::{BatchId, Commit, Head, LockName, LockRecord, Swap, Version, Versioned};

/// What an election needs to know of its node.
#[derive(Debug, Clone)]
pub struct ElectionSettings {
    /// Identity of this process.
    pub identity: String,
    /// The API address to publish.
    pub api_addr: String,
    /// The cluster address to publish; empty if no node can ask this one anything, nor this one any other.
    pub cluster_addr: String,
    /// How long the lock is believed without a renewal.
    pub lease: Duration,
    /// The lock; `None` if there is none, so that one node alone may use the storage.
    pub lock: Option<LockName>,
    /// UUID of the cluster whose head may be claimed although it names another lock.
    pub adopt: Option<String>,
    /// The highest storage format that this node can write.
    pub format: u32,
}

/// Time and randomness of one step.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Now, on the clock that counts suspend.
    pub now: Moment,
    /// Now, by this node's cluster clock.
    pub time: UnixMillis,
    /// Randomness.
    pub random: &'a dyn Random,
}

/// Why the leadership is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `sys/step-down`: this node does not stand for ten seconds after it.
    StepDown,
    /// The process ends: this node never stands again.
    Shutdown,
    /// A wish in the lock.
    Wish,
}

/// What asking a peer showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered.
    Answered,
    /// An established connection was reset or closed.
    Closed,
    /// A new connection was refused.
    Refused,
    /// A newer process of the same pod spoke in its place.
    Replaced,
}

/// A node that may take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its identity.
    pub identity: String,
    /// The newest head that its state has reached.
    pub head: Option<Head>,
    /// Whether it is unsealed and nothing keeps it from taking over.
    pub is_able: bool,
    /// Whether it stepped down a moment ago: asked only if no other can.
    pub is_resting: bool,
    /// The highest storage format that it can write.
    pub format: u32,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The content of the lock, from the watch (`number` 0) or as the answer to [`Effect::ReadLock`].
    Lock {
        /// The effect that asked; 0 for the watch.
        number: u64,
        /// The content; `None` if the register is absent.
        content: Option<Versioned>,
    },
    /// The lock could not be read or watched.
    LockAway,
    /// A peer hints that the lock has changed.
    Nudged,
    /// Answer to [`Effect::Swap`].
    Swapped {
        /// The effect that asked.
        number: u64,
        /// The outcome.
        outcome: Swap,
    },
    /// Answer to [`Effect::Check`] (or, with `number` 0, the outcome of a check that somebody else made).
    Checked {
        /// The effect that asked; 0 for other checks.
        number: u64,
        /// [`Election::highest`](super::Election::highest) when the check was *sent*.
        floor: Option<Head>,
        /// The head (`None`: there is none), or nothing if the storage gave no answer.
        head: Option<Option<Head>>,
    },
    /// A head was seen in the journal, in a read or as the result of an own commit.
    Saw(Head),
    /// Whether the vault is unsealed here.
    Able(bool),
    /// Whether this node's wall clock can be trusted.
    Skewed(bool),
    /// Answer to [`Effect::Claim`].
    ClaimAnswered {
        /// The claim's batch.
        batch: BatchId,
        /// The answer.
        answer: Commit,
    },
    /// Answer to [`Effect::CatchUp`]: local state has reached the claim, or could not in time.
    CaughtUp {
        /// The claimed epoch.
        epoch: u64,
        /// Whether it has.
        is_done: bool,
    },
    /// Answer to [`Effect::Promote`].
    Promoted {
        /// The claimed epoch.
        epoch: u64,
        /// Whether the vault can serve.
        is_done: bool,
    },
    /// Answer to [`Effect::Probe`].
    Probed {
        /// The effect that asked.
        number: u64,
        /// Whether a read through the pipeline and a check succeeded.
        is_serving: bool,
    },
    /// Answer to [`Effect::AskStorage`].
    StorageReached {
        /// The effect that asked.
        number: u64,
        /// A peer that reaches the storage, by identity.
        by: Option<String>,
    },
    /// What asking a peer showed.
    Peer {
        /// The peer's identity.
        identity: String,
        /// What it showed.
        sign: Sign,
    },
    /// Hand the leadership over.
    HandOver {
        /// Why.
        cause: Cause,
    },
    /// Answer to [`Effect::FindSuccessors`].
    Successors {
        /// The effect that asked.
        number: u64,
        /// Nodes that answered.
        nodes: Vec<Successor>,
    },
    /// Answer to [`Effect::Prepare`].
    Prepared {
        /// The peer.
        identity: String,
        /// Whether it is caught up and reaches the storage.
        is_ready: bool,
    },
    /// After [`Effect::Hold`]: no request is running any more. After [`Effect::CloseCommits`]: no commit is in flight
    /// or waiting either.
    Drained {
        /// Whether commits are finished too.
        commits: bool,
    },
    /// The committer was fenced.
    Fenced {
        /// The stored head.
        current: Option<Head>,
    },
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the lock.
    ReadLock {
        /// Names the question.
        number: u64,
    },
    /// Write the lock.
    Swap {
        /// Names the question.
        number: u64,
        /// The version to replace; `None` creates it.
        expected: Option<Version>,
        /// The new content.
        record: LockRecord,
    },
    /// Ask the storage for its head, by a quorum operation.
    Check {
        /// Names the question.
        number: u64,
    },
    /// Send a claim: an empty commit whose journal record names `expected` as replaced.
    Claim {
        /// The head to replace.
        expected: Head,
        /// The claim.
        next: Head,
    },
    /// Wait until local state has reached the claim.
    CatchUp {
        /// The claim.
        claim: Head,
    },
    /// Become active: make the ledger of this epoch, let the vault load what it needs.
    Promote {
        /// The claim.
        claim: Head,
    },
    /// Serve requests from now on.
    Serve,
    /// Stop being active: the ledger of the epoch answers "not active". May follow [`Effect::Promote`] at any time.
    Demote,
    /// Send no commit (true), or go on (false).
    Suspend(bool),
    /// Read through the pipeline and check the storage.
    Probe {
        /// Names the question.
        number: u64,
    },
    /// Ask the peers whether one of them reaches the storage.
    AskStorage {
        /// Names the question.
        number: u64,
    },
    /// Ask the peers who could take over.
    FindSuccessors {
        /// Names the question.
        number: u64,
    },
    /// Let a peer prepare to take over.
    Prepare {
        /// The peer.
        identity: String,
    },
    /// Admit no new request, and say when none is running.
    Hold,
    /// Admit requests again and take commits: the handover was given up before anything was renounced.
    Resume,
    /// Take no new transaction, and say when none is left.
    CloseCommits,
    /// Answer no more reads in this epoch. Carried out before any effect that follows it.
    Renounce,
    /// Tell a peer that it is the successor, as a hint.
    Tell {
        /// The peer.
        identity: String,
        /// The renounced epoch.
        epoch: u64,
    },
    /// The handover that was asked for has ended: another node leads, or why not.
    HandoverEnded(Result<(), String>),
    /// The storage went back in time: forget everything derived from it.
    RolledBack {
        /// What was seen.
        reason: String,
    },
}
