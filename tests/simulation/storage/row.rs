//! The row of the head in PostgreSQL: one statement holds it, others wait, and a commit may come when nobody waits for
//! its answer any more.

use std::collections::VecDeque;

use holdfast::base::random::Random;

use super::{Change, Compare, Said, Sender, Storage};
use crate::history::Time;

/// `statement_timeout`, as each session sets it: the server itself ends a statement that waits for longer.
const STATEMENT: Time = 2_000_000;
/// How long a claim waits before it ends the session that holds the row.
const CLAIM: Time = 200_000;

/// One statement at the server.
pub(super) struct Statement {
    sender: Sender,
    compare: Compare,
    change: Change,
    arrived: Time,
    is_claim: bool,
}

impl Statement {
    pub(super) fn new(sender: Sender, compare: Compare, change: Change, arrived: Time) -> Self {
        let is_claim = matches!(&compare, Compare::Head(head) if head.epoch != change.next.epoch && change.ops.is_empty());
        Self { sender, compare, change, arrived, is_claim }
    }
}

/// Who holds the row.
struct Holder {
    statement: Statement,
    since: Time,
    /// When it commits.
    until: Time,
}

#[derive(Default)]
pub(super) struct Row {
    holder: Option<Holder>,
    waiting: VecDeque<Statement>,
    /// Sessions that a claim ended.
    pub(super) ended: u64,
    /// Commits that came after their client had given up.
    pub(super) late: u64,
}

impl Row {
    pub(super) fn arrives(&mut self, statement: Statement) {
        self.waiting.push_back(statement);
    }

    pub(super) fn go_on(
        &mut self,
        now: Time,
        random: &dyn Random,
        acts: impl Fn(&Sender) -> bool,
        storage: &mut Storage,
    ) -> Vec<(Sender, Said)> {
        let mut answers = Vec::new();
        let is_over = |statement: &Statement| now >= statement.arrived + STATEMENT;
        answers.extend(self.waiting.iter().filter(|one| is_over(one)).map(|one| (one.sender, Said::Error)));
        self.waiting.retain(|one| !is_over(one));
        loop {
            if let Some(holder) = self.holder.take() {
                if now >= holder.until {
                    self.late += u64::from(now >= holder.statement.arrived + STATEMENT);
                    let known = storage.apply(holder.statement.change, now);
                    answers.push((holder.statement.sender, Said::Stored(known)));
                } else if self.is_pressed(&holder, now, &acts) {
                    self.ended += 1;
                    answers.push((holder.statement.sender, Said::Error));
                } else {
                    self.holder = Some(holder);
                    return answers;
                }
            }
            let Some(next) = self.waiting.pop_front() else { return answers };
            if !storage.is_as_expected(&next.compare) {
                answers.push((next.sender, Said::Refused(None)));
                continue;
            }
            // Mostly at once; sometimes the disk is slow, or the process stops in the middle.
            let takes = match random.below(300) {
                0 | 1 => 1_000_000 + random.below(14_000_000),
                2..=20 => 1_000 + random.below(600_000),
                _ => 0,
            };
            self.holder = Some(Holder { statement: next, since: now, until: now + takes });
        }
    }

    /// Whether a claim has waited long enough for this holder to end its session.
    fn is_pressed(&self, holder: &Holder, now: Time, acts: impl Fn(&Sender) -> bool) -> bool {
        let waits = |claim: &&Statement| claim.is_claim && acts(&claim.sender);
        self.waiting.iter().filter(waits).any(|claim| now >= claim.arrived.max(holder.since) + CLAIM)
    }

    pub(super) fn wakes(&self, now: Time) -> Option<Time> {
        let holder = self.holder.as_ref()?;
        let claims = self.waiting.iter().filter(|one| one.is_claim);
        let pressed = claims.map(|claim| claim.arrived.max(holder.since) + CLAIM).filter(|at| *at > now);
        let over = self.waiting.iter().map(|one| one.arrived + STATEMENT);
        [holder.until].into_iter().chain(pressed).chain(over).min()
    }

    /// Nothing of what is under way will be stored.
    pub(super) fn abandon(&mut self) -> Vec<(Sender, Said)> {
        let held = self.holder.take().map(|holder| holder.statement);
        let all = held.into_iter().chain(self.waiting.drain(..));
        all.map(|statement| (statement.sender, Said::Error)).collect()
    }
}
