//! What will be done to the cluster, in which order and for how long: it follows from the seed alone.

use std::fmt;

use crate::random::Seeded;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    PauseLeader,
    PauseStandby,
    KillLeader,
    KillStandby,
    TerminateLeader,
    StepDown,
    CutLeaderFromStorage,
    CutStandbyFromStorage,
    CutLeaderFromPeers,
    CutStandbyFromPeers,
    /// From the storage and from the other nodes, which do not hear each other either; its clients still reach it.
    CutOffLeader,
    RefuseStorageToLeader,
    RefusePeersOfLeader,
    DelayStorage,
    HoldWritePastClaim,
    LoseStorageAnswers,
    LosePeerAnswers,
    LoseClientAnswers,
    KillMember,
    FreezeMember,
    KillLeadingMember,
    EditLock,
    DeleteLock,
    /// Ten writers edit and delete the lock at once.
    CrowdAtLock,
    /// The process of PostgreSQL that carries out a commit stops while it holds the row of the head.
    FreezeWriter,
    /// The same commit waits for a stranger's transaction, and holds the row.
    BlockWriter,
    ThrottleApiServer,
    /// The wall clock of one node is stepped.
    StepClock,
    /// Where the lock lies apart from the storage.
    CutLeaderFromLock,
    RefuseLockToAll,
    KillLockMember,
    FreezeLockMember,
    /// Comes last, if at all.
    RestoreOlderCopy,
}

/// All of them.
pub const KINDS: &[Kind] = &[
    Kind::PauseLeader,
    Kind::PauseStandby,
    Kind::KillLeader,
    Kind::KillStandby,
    Kind::TerminateLeader,
    Kind::StepDown,
    Kind::CutLeaderFromStorage,
    Kind::CutStandbyFromStorage,
    Kind::CutLeaderFromPeers,
    Kind::CutStandbyFromPeers,
    Kind::CutOffLeader,
    Kind::RefuseStorageToLeader,
    Kind::RefusePeersOfLeader,
    Kind::DelayStorage,
    Kind::HoldWritePastClaim,
    Kind::LoseStorageAnswers,
    Kind::LosePeerAnswers,
    Kind::LoseClientAnswers,
    Kind::KillMember,
    Kind::FreezeMember,
    Kind::KillLeadingMember,
    Kind::EditLock,
    Kind::DeleteLock,
    Kind::CrowdAtLock,
    Kind::FreezeWriter,
    Kind::BlockWriter,
    Kind::ThrottleApiServer,
    Kind::StepClock,
    Kind::CutLeaderFromLock,
    Kind::RefuseLockToAll,
    Kind::KillLockMember,
    Kind::FreezeLockMember,
    Kind::RestoreOlderCopy,
];

impl Kind {
    /// The kind of this name, written as it is printed or with `-` for spaces.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.trim().replace('-', " ");
        KINDS.iter().find(|kind| kind.to_string() == name).copied()
    }

    /// How long it lasts at most in a short run, seconds.
    fn brisk(self) -> f64 {
        match self {
            // Longer than a Lease of six seconds, so that another takes over.
            Self::PauseLeader | Self::CutLeaderFromStorage | Self::CutOffLeader => 8.0,
            _ => 2.0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        for (at, letter) in text.char_indices() {
            if at > 0 && letter.is_uppercase() {
                f.write_str(" ")?;
            }
            write!(f, "{}", letter.to_lowercase())?;
        }
        Ok(())
    }
}

/// Which directions of a link a cut concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    Both,
    Requests,
    Answers,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub kind: Kind,
    /// Which of several standbys or members.
    pub choice: usize,
    pub directions: Directions,
    /// How long it lasts, seconds.
    pub lasts: f64,
    /// Whether what was held breaks at the end instead of arriving late.
    pub breaks: bool,
    /// Whether the storage is slow for all nodes meanwhile.
    pub slow: bool,
    /// Quiet time after the recovery, seconds.
    pub pause: f64,
}

/// What a storage allows to be done to it.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    pub members: usize,
    /// Whether its lock can be changed by hand.
    pub lock: bool,
    /// Whether it is PostgreSQL, whose processes can be stopped in the middle of a statement.
    pub writer: bool,
    /// Whether it, or the lock, is an API server.
    pub throttle: bool,
    /// Members of what the lock is taken from, where that is not the storage itself; otherwise none.
    pub lock_members: usize,
}

/// What is asked of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub seed: u64,
    /// These kinds alone, again and again in this order; empty: all that are possible, every kind once before one comes
    /// again.
    pub only: &'a [Kind],
    /// Faults that end sooner, where nothing is lost by it: for runs that shall see many kinds in a minute.
    pub is_brisk: bool,
}

/// The faults of a run, more than it will need.
pub fn plan(wish: Wish, abilities: Abilities, count: usize) -> Vec<Step> {
    let mut random = Seeded::new(wish.seed);
    let step = |kind: Kind, random: &mut Seeded| {
        let mut step = step(kind, random);
        if wish.is_brisk {
            step.lasts = step.lasts.min(kind.brisk());
            step.pause = step.pause.min(0.5);
        }
        step
    };
    if !wish.only.is_empty() {
        let kinds: Vec<Kind> =
            wish.only.iter().copied().filter(|kind| *kind != Kind::RestoreOlderCopy).collect();
        return kinds.iter().cycle().take(count).map(|kind| step(*kind, &mut random)).collect();
    }
    let possible = |kind: &&Kind| match kind {
        Kind::EditLock | Kind::DeleteLock => abilities.lock,
        Kind::KillLeadingMember => abilities.members > 1,
        Kind::FreezeWriter | Kind::BlockWriter => abilities.writer,
        Kind::ThrottleApiServer => abilities.throttle,
        Kind::CutLeaderFromLock | Kind::RefuseLockToAll | Kind::KillLockMember | Kind::FreezeLockMember => {
            abilities.lock_members > 0
        }
        Kind::RestoreOlderCopy => false,
        _ => true,
    };
    let mut steps = Vec::new();
    while steps.len() < count {
        let mut kinds: Vec<Kind> = KINDS.iter().filter(possible).copied().collect();
        random.shuffle(&mut kinds);
        steps.extend(kinds.into_iter().map(|kind| step(kind, &mut random)));
    }
    steps.truncate(count);
    steps
}

fn step(kind: Kind, random: &mut Seeded) -> Step {
    let (low, high) = match kind {
        // Around and beyond two Leases of six seconds.
        Kind::PauseLeader => (2.0, 14.0),
        Kind::CutLeaderFromStorage
        | Kind::CutLeaderFromPeers
        | Kind::CutOffLeader
        | Kind::CutLeaderFromLock => (1.0, 14.0),
        Kind::HoldWritePastClaim => (1.0, 30.0),
        Kind::FreezeWriter => (2.0, 30.0),
        Kind::KillLeader | Kind::TerminateLeader => (0.0, 8.0),
        Kind::StepDown | Kind::EditLock | Kind::DeleteLock => (1.0, 4.0),
        Kind::LoseStorageAnswers | Kind::LosePeerAnswers | Kind::LoseClientAnswers => (2.0, 4.0),
        _ => (1.0, 10.0),
    };
    let directions = [Directions::Both, Directions::Requests, Directions::Answers];
    Step {
        kind,
        choice: random.below(6),
        directions: directions[random.below(3)],
        lasts: random.between(low, high),
        breaks: random.below(2) == 0,
        slow: random.below(4) == 0,
        pause: random.between(0.2, 3.0),
    }
}
