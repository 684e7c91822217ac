//! The read lease: when the active node may answer a read, as arithmetic.
//!
//! A read is valid if less than [`WINDOW`] has passed since the *sending* of the last commit or check that succeeded,
//! or if a check that was sent after the value was produced has succeeded. A successor acknowledges no write before
//! [`WAIT`] has passed since its claim, unless this node renounced. The one assumption about clocks: the monotonic
//! clock counts pauses, and its rate is off by less than a tenth.

use std::time::Duration;

use crate::base::clock::Moment;

/// How long a proof of leadership lasts, from its sending.
pub const WINDOW: Duration = Duration::from_millis(500);

/// How long a new active waits after its claim before it acknowledges a write: the window and a tenth of it.
pub const WAIT: Duration = Duration::from_millis(550);

/// Names a check, in the order of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckNumber(u64);

/// The read lease of one epoch.
#[derive(Debug, Clone)]
pub struct ReadLease {
    /// Zero: only checks sent after the value was produced count (for hypervisors that stop the guest's clock).
    window: Duration,
    proven_at: Option<Moment>,
    /// The newest check that was sent, and when.
    sent: CheckNumber,
    /// The newest check that succeeded.
    succeeded: CheckNumber,
    renounced: bool,
}

impl ReadLease {
    /// A lease of `window`, at most [`WINDOW`]; nothing is proven yet.
    pub fn new(window: Duration) -> Self {
        Self {
            window: window.min(WINDOW),
            proven_at: None,
            sent: CheckNumber(0),
            succeeded: CheckNumber(0),
            renounced: false,
        }
    }

    /// Notes that a commit which was sent at `sent_at` succeeded.
    pub fn committed(&mut self, sent_at: Moment) {
        self.prove(sent_at);
    }

    /// Notes that a check is being sent, and names it.
    pub fn send_check(&mut self) -> CheckNumber {
        self.sent = CheckNumber(self.sent.0 + 1);
        self.sent
    }

    /// Notes that `check`, sent at `sent_at`, returned this node's own head.
    pub fn check_succeeded(&mut self, check: CheckNumber, sent_at: Moment) {
        self.succeeded = self.succeeded.max(check);
        self.prove(sent_at);
    }

    /// Whether a value produced before `now` may be answered at `now` without asking the storage.
    pub fn is_valid(&self, now: Moment) -> bool {
        !self.renounced && self.proven_at.is_some_and(|at| now.since(at) < self.window)
    }

    /// The check that a reader who has its value now must wait for: one that is not sent yet.
    pub fn check_needed(&self) -> CheckNumber {
        CheckNumber(self.sent.0 + 1)
    }

    /// Whether `check`, or one sent after it, has succeeded.
    pub fn is_confirmed(&self, check: CheckNumber) -> bool {
        !self.renounced && self.succeeded >= check
    }

    /// When what last proved leadership was sent.
    pub fn proven_at(&self) -> Option<Moment> {
        self.proven_at
    }

    /// Gives up this epoch's reads for good. Called before the renunciation is sent to anybody.
    pub fn renounce(&mut self) {
        self.renounced = true;
    }

    /// Whether this epoch's reads were given up.
    pub fn is_renounced(&self) -> bool {
        self.renounced
    }

    fn prove(&mut self, sent_at: Moment) {
        if self.proven_at.is_none_or(|at| at < sent_at) {
            self.proven_at = Some(sent_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_proof_lasts_from_its_sending() {
        let mut lease = ReadLease::new(WINDOW);
        assert!(!lease.is_valid(at(0)));
        lease.committed(at(100));
        assert!(lease.is_valid(at(599)));
        assert!(!lease.is_valid(at(600)));
        let check = lease.send_check();
        lease.check_succeeded(check, at(550));
        assert!(lease.is_valid(at(1049)));
        lease.committed(at(200));
        assert!(lease.is_valid(at(1049)), "an older proof takes nothing away");
    }

    #[test]
    fn a_reader_joins_only_a_check_sent_after_it_asked() {
        let mut lease = ReadLease::new(Duration::ZERO);
        let flying = lease.send_check();
        let needed = lease.check_needed();
        assert!(needed > flying);
        lease.check_succeeded(flying, at(1));
        assert!(!lease.is_confirmed(needed));
        let next = lease.send_check();
        assert_eq!(next, needed);
        lease.check_succeeded(next, at(2));
        assert!(lease.is_confirmed(needed));
        assert!(!lease.is_valid(at(2)), "without a window only checks count");
    }

    #[test]
    fn a_renounced_lease_stays_renounced() {
        let mut lease = ReadLease::new(WINDOW);
        lease.committed(at(1));
        lease.renounce();
        assert!(!lease.is_valid(at(2)));
        lease.committed(at(3));
        let check = lease.send_check();
        lease.check_succeeded(check, at(4));
        assert!(!lease.is_valid(at(5)) && !lease.is_confirmed(check));
    }

    #[test]
    fn the_wait_covers_the_window_of_a_clock_that_is_a_tenth_slow() {
        assert!(WAIT >= WINDOW + WINDOW / 10);
    }
}
