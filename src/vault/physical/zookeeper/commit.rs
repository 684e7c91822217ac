//! Commits: one `multi` each, refused as a whole unless the head's node still has the version of the expected head.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::client::{Failure, too_large};
use super::config::{KIND, LIMITS};
use super::connection::Reply;
use super::layout::{Entry, head_name};
use super::proto::{self, ANY_VERSION, Change, Code, Found, opcode};
use super::state::{State, Stored, damaged};
use crate::vault::physical::backend::{Commit, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// How often a commit is put together anew after the server refused it as a whole for a reason that is not the head.
const ATTEMPTS: usize = 4;
/// Versions count to 2^31 and begin again at its negative; long before, the head moves to a new node.
const VERSION_MOST: i32 = 1 << 30;

/// What an operation of the `multi` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Only the head that was expected lets it pass.
    Head,
    Journal,
    Data,
    /// Takes the oldest record out of the journal.
    Trim,
}

/// How a `multi` ended.
pub(super) enum Outcome {
    /// All of it is stored, with these answers.
    Stored(Vec<Found>),
    /// Nothing of it is stored, because of this part.
    Refused(Part, Code),
    /// Not known.
    Unknown(String),
    /// It was not sent: no server reads so much.
    TooLarge(usize),
}

/// The head and the nodes before and after a commit.
struct Step<'a> {
    expected: &'a Head,
    next: &'a Head,
    ops: &'a [Op],
    trims: bool,
}

impl State {
    pub(super) async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = LIMITS.admit(KIND, ops) {
            return Commit::Refused(error);
        }
        match expected {
            None => self.init(next, ops).await,
            Some(expected) => self.replace(Step { expected, next, ops, trims: true }).await,
        }
    }

    async fn replace(&self, mut step: Step<'_>) -> Commit {
        for _ in 0..ATTEMPTS {
            let stored = match self.stored_as(step.expected).await {
                Ok(stored) => stored,
                Err(outcome) => return outcome,
            };
            let data = match self.data_changes(&step).await {
                Ok(data) => data,
                Err(outcome) => return outcome,
            };
            let (name, changes) = self.changes(&stored, &step, data);
            match self.send(&changes).await {
                Outcome::Stored(found) => {
                    self.note_commit(&step, name, &found);
                    return Commit::Committed;
                }
                Outcome::Unknown(reason) => return Commit::Unknown { reason },
                Outcome::TooLarge(bytes) => return Commit::Refused(too_large(bytes)),
                Outcome::Refused(part, code) => {
                    if let Some(outcome) = self.refused(&mut step, part, code).await {
                        return outcome;
                    }
                }
            }
        }
        Commit::Unknown { reason: "the store is changed by somebody else all the time".to_owned() }
    }

    /// How `expected` is stored. If it is not, the commit is fenced, and a quorum has said so.
    async fn stored_as(&self, expected: &Head) -> Result<Stored, Commit> {
        if let Some(newest) = self.newest().filter(|newest| newest.head == *expected) {
            return Ok(newest);
        }
        self.prove(expected).await
    }

    async fn prove(&self, expected: &Head) -> Result<Stored, Commit> {
        match self.read_proven(&[]).await {
            Ok(snapshot) => match snapshot.stored {
                Some(stored) if stored.head == *expected => Ok(stored),
                other => Err(Commit::Fenced { current: other.map(|stored| stored.head) }),
            },
            Err(error) => Err(Commit::Unknown { reason: error.to_string() }),
        }
    }

    /// The changes of data nodes; of several operations on a key the last one counts.
    async fn data_changes(&self, step: &Step<'_>) -> Result<Vec<Change>, Commit> {
        if step.ops.is_empty() {
            return Ok(Vec::new());
        }
        let is_behind = self.index().as_ref().is_none_or(|index| index.head() != step.expected);
        if is_behind && let Err(error) = self.refresh_index().await {
            return Err(Commit::Unknown { reason: error.to_string() });
        }
        {
            let index = self.index();
            if let Some(index) = index.as_ref().filter(|index| index.head() == step.expected) {
                let last: BTreeMap<&str, &Op> = step.ops.iter().map(|op| (op.key(), op)).collect();
                let changes = last.into_values().filter_map(|op| {
                    let path = self.layout().key(op.key());
                    match (op, index.has(op.key())) {
                        (Op::Put { value, .. }, true) => {
                            Some(Change::Set { path, data: value.clone(), version: ANY_VERSION })
                        }
                        (Op::Put { value, .. }, false) => Some(Change::Create { path, data: value.clone() }),
                        (Op::Delete { .. }, true) => Some(Change::Delete { path, version: ANY_VERSION }),
                        (Op::Delete { .. }, false) => None,
                    }
                });
                return Ok(changes.collect());
            }
        }
        // The keys of the expected head cannot be told any more: it has been replaced.
        let reason = "the head moves while a commit is prepared".to_owned();
        Err(self.prove(step.expected).await.map_or_else(|outcome| outcome, |_| Commit::Unknown { reason }))
    }

    /// All changes of a commit, and the name of the node that its head lies in.
    fn changes(&self, stored: &Stored, step: &Step<'_>, data: Vec<Change>) -> (String, Vec<(Part, Change)>) {
        let layout = self.layout();
        let bytes = Bytes::from(wire::head_bytes(step.next));
        let path = layout.named(&stored.name);
        let version = stored.version;
        let moves = step.next.epoch != step.expected.epoch || !(0..VERSION_MOST).contains(&version);
        let mut name = stored.name.clone();
        let mut changes = if moves {
            // An old writer meets no node at all, whatever version it has in mind.
            name = head_name(step.next);
            let current = Bytes::from(name.clone());
            vec![
                (Part::Head, Change::Delete { path, version }),
                (Part::Head, Change::Create { path: layout.named(&name), data: bytes }),
                (Part::Head, Change::Set { path: layout.current(), data: current, version: ANY_VERSION }),
            ]
        } else {
            vec![(Part::Head, Change::Set { path, data: bytes, version })]
        };
        changes.push((Part::Journal, self.record(Some(step.expected), step.next, step.ops)));
        changes.extend(data.into_iter().map(|change| (Part::Data, change)));
        if let Some(seq) = wire::trimmed_by(step.next).filter(|_| step.trims) {
            changes.push((Part::Trim, Change::Delete { path: layout.record(seq), version: ANY_VERSION }));
        }
        (name, changes)
    }

    /// The change that adds a record to the journal.
    pub(super) fn record(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Change {
        let data = Entry::new(expected, next, ops).bytes();
        Change::Create { path: self.layout().record(next.seq), data }
    }

    /// Sends changes that are stored all or not at all.
    pub(super) async fn send(&self, changes: &[(Part, Change)]) -> Outcome {
        let plain: Vec<Change> = changes.iter().map(|(_, change)| change.clone()).collect();
        let body = proto::multi(&plain, &self.client.settings().owner);
        match self.client.ask((opcode::MULTI, body)).await {
            Ok(reply) => outcome(changes, reply),
            Err(Failure::TooLarge(bytes)) => Outcome::TooLarge(bytes),
            Err(Failure::Away(reason) | Failure::Lost(reason)) => Outcome::Unknown(reason),
        }
    }

    fn note_commit(&self, step: &Step<'_>, name: String, found: &[Found]) {
        let version = match found.first() {
            Some(Found::Set(stat)) => stat.version,
            // A node that was just created.
            _ => 0,
        };
        let stored = Stored { head: step.next.clone(), name, version };
        // Something newer may have been read meanwhile.
        self.admit(Some(&stored));
        if let Some(index) = self.index().as_mut() {
            index.commit(Some(step.expected), step.next, step.ops);
        }
    }

    /// What follows from a refusal: the outcome, or `None` if the same commit is to be put together anew, since nothing
    /// of it is stored and the head was not the reason.
    async fn refused(&self, step: &mut Step<'_>, part: Part, code: Code) -> Option<Commit> {
        if code.is_of_identity() && self.client.log_in_anew() {
            // A rotated credential may be accepted, so this refusal may not be the last word.
            return Some(Commit::Unknown { reason: format!("the server answers {code}; logging in anew") });
        }
        if let Some(outcome) = refusal(part, code) {
            return Some(outcome);
        }
        match (part, code) {
            // The head moved; or somebody touched its node without changing it.
            (Part::Head, _) => self.prove(step.expected).await.err(),
            (Part::Trim, Code::NO_NODE) => {
                step.trims = false;
                None
            }
            (Part::Data, Code::NO_NODE | Code::NODE_EXISTS) => {
                // Somebody else made or removed nodes of keys.
                *self.index() = None;
                None
            }
            (part, code) => {
                Some(Commit::Unknown { reason: format!("the server answers {code} to {part:?}") })
            }
        }
    }
}

/// Refusals that are definite and stay so.
pub(super) fn refusal(part: Part, code: Code) -> Option<Commit> {
    if code.is_refusal() {
        let reason = match code {
            Code::QUOTA_EXCEEDED => "a quota on its path is exceeded: raise it or delete data".to_owned(),
            code => format!("the server answers {code} to a change of its nodes: their ACL must allow it"),
        };
        return Some(Commit::Refused(StorageError::Denied { storage: KIND, reason }));
    }
    match (part, code) {
        (Part::Journal, Code::NODE_EXISTS) => Some(Commit::Refused(damaged(
            "the journal has a record of a commit that the head has not seen".to_owned(),
        ))),
        (Part::Journal, Code::NO_NODE) => {
            Some(Commit::Refused(damaged("the parent of the journal's records is missing".to_owned())))
        }
        _ => None,
    }
}

/// What an answer to a `multi` says. Only if every operation has its answer is anything believed.
fn outcome(changes: &[(Part, Change)], reply: Reply) -> Outcome {
    if reply.code != Code::OK && reply.body.is_empty() {
        return match reply.code {
            code if code.is_refusal() => Outcome::Refused(Part::Data, code),
            code => Outcome::Unknown(format!("the server answers {code}")),
        };
    }
    let found = match proto::found(reply.body) {
        Ok(found) if found.len() == changes.len() => found,
        Ok(_) => return Outcome::Unknown("the answer has another number of operations".to_owned()),
        Err(error) => return Outcome::Unknown(error.to_string()),
    };
    // Operations before the one that failed are answered with success as an error, those behind it with an inconsistency.
    let failed = found.iter().zip(changes).find_map(|(found, (part, _))| match found {
        Found::Failed(Code::OK | Code::RUNTIME_INCONSISTENCY) => None,
        Found::Failed(code) => Some((*part, *code)),
        _ => None,
    });
    match failed {
        Some((part, code)) => Outcome::Refused(part, code),
        None if found.iter().any(|found| matches!(found, Found::Failed(_))) => {
            Outcome::Unknown("the server executed none of the operations and does not say why".to_owned())
        }
        None => Outcome::Stored(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SeededRandom;
    use crate::vault::physical::backend::KEY_BYTES;
    use crate::vault::physical::head::{BatchId, LockName};
    use crate::vault::physical::zookeeper::config::REQUEST_BYTES;
    use crate::vault::physical::zookeeper::layout::Layout;
    use crate::vault::physical::zookeeper::proto::Owner;

    #[test]
    fn whatever_the_limits_admit_fits_into_a_request() {
        let long = "n".repeat(200);
        let head = Head {
            cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
            lock: LockName { kind: "zookeeper".to_owned(), namespace: long.clone(), name: "lock".to_owned() }
                .into(),
            epoch: u64::MAX - 1,
            seq: u64::MAX - 1,
            batch_id: BatchId::new(&SeededRandom::new(1)),
            node: long.as_str().into(),
            format: 1,
            time: UnixMillis(u64::MAX),
        };
        let layout = Layout::new(&format!("/{}", "p".repeat(199)));
        let owner = Owner { scheme: "x509".to_owned(), id: "i".repeat(195) };
        for letter in ["/", "%", "\u{e4}", "\"", "\\", "\u{1F511}"] {
            let key = |n: usize| {
                let number = format!("{n:04}");
                number.clone() + &letter.repeat((KEY_BYTES - number.len()) / letter.len())
            };
            let keys: Vec<String> = (0..LIMITS.operations).map(key).collect();
            let room = LIMITS.commit_bytes - keys.iter().map(String::len).sum::<usize>();
            let value = |n: usize| if n == 0 { Bytes::from(vec![0; room]) } else { Bytes::new() };
            let ops: Vec<Op> = keys
                .iter()
                .enumerate()
                .map(|(n, key)| Op::Put { key: key.clone(), value: value(n) })
                .collect();
            LIMITS.admit(KIND, &ops).unwrap();
            let bytes = Bytes::from(wire::head_bytes(&head));
            let mut changes = vec![
                Change::Delete { path: layout.named(&head_name(&head)), version: 0 },
                Change::Create { path: layout.named(&head_name(&head)), data: bytes },
                Change::Set { path: layout.current(), data: head_name(&head).into(), version: -1 },
                Change::Create { path: layout.record(1), data: Entry::new(Some(&head), &head, &ops).bytes() },
                Change::Delete { path: layout.record(1), version: -1 },
            ];
            changes.extend(ops.iter().map(|op| {
                let Op::Put { key, value } = op else { unreachable!() };
                Change::Create { path: layout.key(key), data: value.clone() }
            }));
            let bytes = proto::multi(&changes, &owner).len() + 8;
            assert!(bytes <= REQUEST_BYTES, "{bytes} bytes with keys of {letter:?}");
        }
    }
}
