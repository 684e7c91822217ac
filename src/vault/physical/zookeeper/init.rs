//! What must be there before the first commit, and the first commit.

use bytes::Bytes;

use super::client::Failure;
use super::commit::{Outcome, Part, refusal};
use super::layout::head_name;
use super::proto::{self, Change, Code, Found, Question, opcode};
use super::state::{State, Stored, damaged};
use crate::vault::physical::backend::{Commit, Op};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// Why the nodes that everything lies below could not be made.
pub(super) enum Unprepared {
    /// There was no answer.
    Failed(Failure),
    /// The server said no to this node.
    Refused { path: String, code: Code },
}

impl State {
    /// Makes the nodes that everything lies below, where they are missing. Harmless to repeat.
    pub(super) async fn prepare(&self) -> Result<(), Unprepared> {
        let owner = &self.client.settings().owner;
        let nodes = self.layout().foundation();
        // Whether a node is there may be asked without any right; creating asks for rights on its parent first.
        let looks = nodes.iter().map(|path| (opcode::EXISTS, proto::look(path, false))).collect();
        let looked = self.client.ask_again(looks).await.map_err(Unprepared::Failed)?;
        let missing = nodes.into_iter().zip(looked).filter(|(_, reply)| reply.code == Code::NO_NODE);
        for (path, _) in missing {
            let create = Change::Create { path: path.clone(), data: Bytes::new() };
            let request = vec![(create.opcode(), create.body(owner))];
            let replies = self.client.ask_again(request).await.map_err(Unprepared::Failed)?;
            match replies.first().map_or(Code::OK, |reply| reply.code) {
                Code::OK | Code::NODE_EXISTS => {}
                code => return Err(Unprepared::Refused { path, code }),
            }
        }
        Ok(())
    }

    /// Stores the first head, and only if there is none.
    pub(super) async fn init(&self, next: &Head, ops: &[Op]) -> Commit {
        match self.prepare().await {
            Ok(()) => {}
            Err(Unprepared::Refused { code, .. }) if code.is_refusal() => {
                return refusal(Part::Data, code).unwrap_or(Commit::Unknown { reason: code.to_string() });
            }
            Err(Unprepared::Refused { path, code }) => {
                return Commit::Unknown { reason: format!("{path}: {code}") };
            }
            Err(Unprepared::Failed(failure)) => {
                return Commit::Unknown { reason: failure.into_error().to_string() };
            }
        }
        let layout = self.layout();
        let children = [Question::Children(layout.data()), Question::Children(layout.journal())];
        let snapshot = match self.read_proven(&children).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Commit::Unknown { reason: error.to_string() },
        };
        if let Some(stored) = snapshot.stored {
            return Commit::Fenced { current: Some(stored.head) };
        }
        if snapshot.found.iter().any(|found| matches!(found, Found::Children(nodes) if !nodes.is_empty())) {
            return Commit::Refused(damaged(format!(
                "there is data below {} but no head: restore the head, or remove the data to start anew",
                layout.root()
            )));
        }
        match self.send(&self.first_changes(next, ops)).await {
            Outcome::Stored(_) => {
                self.admit(Some(&Stored { head: next.clone(), name: head_name(next), version: 0 }));
                Commit::Committed
            }
            Outcome::Refused(Part::Head, Code::NODE_EXISTS) => match self.read_proven(&[]).await {
                Ok(snapshot) => Commit::Fenced { current: snapshot.head() },
                Err(error) => Commit::Unknown { reason: error.to_string() },
            },
            Outcome::Refused(part, code) => refusal(part, code)
                .unwrap_or_else(|| Commit::Unknown { reason: format!("the server answers {code} to init") }),
            Outcome::Unknown(reason) => Commit::Unknown { reason },
            Outcome::TooLarge(bytes) => Commit::Refused(super::client::too_large(bytes)),
        }
    }

    fn first_changes(&self, next: &Head, ops: &[Op]) -> Vec<(Part, Change)> {
        let layout = self.layout();
        let name = head_name(next);
        let create = |path: String, data: Bytes| Change::Create { path, data };
        let mut changes = vec![
            (Part::Head, create(layout.current(), name.clone().into())),
            (Part::Head, create(layout.named(&name), wire::head_bytes(next).into())),
            (Part::Journal, self.record(None, next, ops)),
        ];
        let last: std::collections::BTreeMap<&str, &Op> = ops.iter().map(|op| (op.key(), op)).collect();
        changes.extend(last.into_values().filter_map(|op| match op {
            Op::Put { key, value } => Some((Part::Data, create(layout.key(key), value.clone()))),
            Op::Delete { .. } => None,
        }));
        changes
    }
}
