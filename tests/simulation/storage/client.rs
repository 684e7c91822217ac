//! What a backend makes of its servers' answers: from a commit to its outcome, request by request, as the backends of the
//! program do it (`src/vault/physical/*/commit.rs`).

use holdfast::vault::physical::{Commit, Head};

use super::{Change, Compare, Known, Said, Semantics};

/// What one instance of a backend remembers.
#[derive(Debug, Clone)]
pub struct Client {
    semantics: Semantics,
    /// A wrong backend: after a refusal it sends again with the newest version, whatever the head is by then.
    is_blind: bool,
    /// The newest head that it knows the version of.
    known: Option<Known>,
}

/// A commit under way.
#[derive(Debug, Clone)]
pub struct Pending {
    pub expected: Head,
    pub change: Change,
    refusals: u32,
}

impl Pending {
    pub fn new(expected: Head, change: Change) -> Self {
        Self { expected, change, refusals: 0 }
    }
}

/// What a backend does next.
#[derive(Debug)]
pub enum Turn {
    Write(Compare),
    /// Asks a quorum for the head.
    Look,
    Done(Commit),
}

impl Client {
    pub fn new(semantics: Semantics, is_blind: bool) -> Self {
        Self { semantics, is_blind, known: None }
    }

    /// A head was read with its version, or written.
    pub fn saw(&mut self, known: &Known) {
        let position = |known: &Known| known.head.position();
        // The version of the same head may have moved; what is older tells nothing.
        if self.known.as_ref().is_none_or(|before| position(before) <= position(known)) {
            self.known = Some(known.clone());
        }
    }

    /// The first request of a commit.
    pub fn begin(&self, pending: &Pending) -> Turn {
        match (self.semantics, &self.known) {
            (Semantics::Etcd | Semantics::Postgresql, _) => {
                Turn::Write(Compare::Head(pending.expected.clone()))
            }
            (_, Some(known)) if known.head == pending.expected => Turn::Write(self.compare(known)),
            _ => Turn::Look,
        }
    }

    fn compare(&self, known: &Known) -> Compare {
        match self.semantics {
            Semantics::Kubernetes => Compare::Version(known.version),
            Semantics::Consul => Compare::Index(known.version, known.head.batch_id),
            Semantics::Zookeeper => Compare::Node(known.name, known.version),
            Semantics::Etcd | Semantics::Postgresql => Compare::Head(known.head.clone()),
        }
    }

    /// How often a commit is sent that was refused although the head is as expected.
    fn attempts(&self) -> u32 {
        match self.semantics {
            Semantics::Kubernetes => 8,
            Semantics::Consul => 3,
            Semantics::Zookeeper => 4,
            Semantics::Etcd | Semantics::Postgresql => 1,
        }
    }

    /// What follows from an answer.
    pub fn hears(&mut self, pending: &mut Pending, said: Said) -> Turn {
        let known = match said {
            Said::Stored(known) => {
                self.saw(&known);
                return Turn::Done(Commit::Committed);
            }
            Said::Error => return Turn::Done(Commit::Unknown { reason: "an error".to_owned() }),
            Said::Refused(Some(current)) => return Turn::Done(Commit::Fenced { current: Some(current) }),
            Said::Refused(None) => {
                pending.refusals += 1;
                return Turn::Look;
            }
            Said::Is(known) => known,
        };
        self.saw(&known);
        // What lies in one object says whether it is the one that was sent.
        if self.semantics.is_object() && known.head == pending.change.next {
            return Turn::Done(Commit::Committed);
        }
        if known.head != pending.expected && !self.is_blind {
            return Turn::Done(Commit::Fenced { current: Some(known.head) });
        }
        if pending.refusals >= self.attempts() {
            return Turn::Done(Commit::Unknown { reason: "refused again and again".to_owned() });
        }
        Turn::Write(self.compare(&known))
    }
}
