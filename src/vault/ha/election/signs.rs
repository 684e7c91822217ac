//! [`Signs`]: definite evidence that the process which holds the lock has ended.
//!
//! Silence is no evidence: a paused or cut-off process is silent too. What counts is that its host, or its pod,
//! speaks without it.

use super::event::Sign;

/// Refusals that suffice when the end of the connection itself was not observed.
const REFUSALS: u32 = 2;

/// What was seen of one peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    identity: String,
    has_answered: bool,
    is_closed: bool,
    refusals: u32,
    is_replaced: bool,
}

impl Signs {
    /// Notes a sign of `identity`; signs of another process than the last one start anew.
    pub(super) fn note(&mut self, identity: &str, sign: Sign) {
        if self.identity != identity {
            *self = Self { identity: identity.to_owned(), ..Self::default() };
        }
        match sign {
            Sign::Answered => {
                *self = Self { identity: identity.to_owned(), has_answered: true, ..Self::default() };
            }
            Sign::Closed => self.is_closed = true,
            Sign::Refused => self.refusals += 1,
            Sign::Replaced => self.is_replaced = true,
        }
    }

    /// Whether the process `identity` has certainly ended.
    pub(super) fn has_ended(&self, identity: &str) -> bool {
        let refused = self.has_answered && (self.refusals >= REFUSALS || self.is_closed && self.refusals > 0);
        self.identity == identity && (self.is_replaced || refused)
    }
}
