//! One connection to one member, with the proof that etcd is there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};

use super::address::Address;
use super::answer::{Answer, Failure, Trouble};
use super::line::{Line, broken};
use super::tls::{Tls, refusal};
use crate::vault::physical::unusable::Unusable;

/// The oldest version of etcd that will do.
const LEAST: &str = "3.4";

/// A connection. Calls share it.
pub(super) struct Connection {
    pub(super) address: String,
    /// Which of the configured addresses it is.
    pub(super) index: usize,
    pub(super) peer: SocketAddr,
    /// Cancelled when the connection is left for another one.
    pub(super) left: CancellationToken,
    /// The raft term that was heard of last; 0: of none.
    pub(super) term: AtomicU64,
    /// For everything but commits.
    pub(super) line: Line,
    /// For commits, from the first one on; to the same place.
    pub(super) commits: OnceCell<Line>,
}

impl Connection {
    /// Connects to `peer`, which is one of the places that `address` names, and asks who is there.
    pub(super) async fn open(
        address: &Address,
        index: usize,
        peer: SocketAddr,
        tls: Option<&Tls>,
        token: Option<&AsciiMetadataValue>,
    ) -> Result<Self, Trouble> {
        let vetted = match Line::open(address, peer, tls).await {
            Ok(line) => Self::new(address, index, peer, line).vetted(token).await,
            Err(trouble) => Err(trouble),
        };
        match (vetted, tls) {
            (Err(Trouble::Away(reason)), Some(tls)) => {
                Err(refusal(address, peer, tls).await.unwrap_or(Trouble::Away(reason)))
            }
            (vetted, _) => vetted,
        }
    }

    fn new(address: &Address, index: usize, peer: SocketAddr, line: Line) -> Self {
        Self {
            address: address.text.clone(),
            index,
            peer,
            left: CancellationToken::new(),
            term: AtomicU64::new(0),
            line,
            commits: OnceCell::new(),
        }
    }

    /// Whether the other end is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.line.is_closed() || self.commits.get().is_some_and(Line::is_closed)
    }

    /// This connection, if etcd is there, young enough, and able to serve.
    async fn vetted(self, token: Option<&AsciiMetadataValue>) -> Result<Self, Trouble> {
        let status = match self.line.status(token).await {
            Ok(status) => status,
            Err(status) => return self.judge(&status).await.map(|()| self),
        };
        self.term.store(status.raft_term, Ordering::Relaxed);
        if status.is_learner {
            return Err(Trouble::Away(format!("{}: it is a learner and serves nobody yet", self.address)));
        }
        match parts(&status.version) {
            Some(found) if parts(LEAST).is_some_and(|least| found >= least) => Ok(self),
            _ => Err(Trouble::Unusable(Unusable::TooOld {
                address: self.address,
                found: status.version,
                least: LEAST,
            })),
        }
    }

    async fn judge(&self, status: &Status) -> Result<(), Trouble> {
        let address = self.address.clone();
        match Failure::of(&address, status) {
            Failure::Lost { reason, .. } => Err(broken(&address, self.line.end().await.unwrap_or(reason))),
            Failure::NotSent(trouble) => Err(trouble),
            // Newer members tell it only to those who have logged in; that is proof enough.
            Failure::Answered { answer: Answer::LoggedOut(_), .. } => Ok(()),
            Failure::Answered { answer, .. } => {
                let is_foreign = status.message().starts_with("grpc-status header missing");
                let is_gateway = status.code() == Code::Unavailable;
                if (is_foreign && !is_gateway) || status.code() == Code::Unimplemented {
                    let reason = answer.text().to_owned();
                    return Err(Trouble::Unusable(Unusable::WrongService {
                        address,
                        expected: "etcd",
                        reason,
                    }));
                }
                Err(Trouble::Away(format!("{address}: {}", answer.text())))
            }
        }
    }
}

/// Major and minor of a version.
fn parts(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parts("3.10.1") > parts("3.4") && parts("3.3.27") < parts("3.4"));
        assert_eq!(parts("3.4.23"), parts("3.4"));
        assert_eq!(parts("new"), None);
    }
}
