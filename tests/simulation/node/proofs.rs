//! Proofs of leadership that reads wait for, at the active node and at standbys.

use holdfast::vault::ha::committer::Settled;
use holdfast::vault::ha::readlease::CheckNumber;
use holdfast::vault::physical::Stamp;

use super::answers::Asked;
use super::{Message, Node};
use crate::world::event::{Ask, Effect, NodeId, Reply, View};

/// A read at the active node, or a proof for a standby.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) newest: Stamp,
    pub(super) begun: Stamp,
    pub(super) min_seq: Option<u64>,
    pub(super) needs: Option<CheckNumber>,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) enum Then {
    Reply(u64, u64),
    Tell(NodeId, u64),
}

impl Node {
    pub(super) fn refuse(&mut self, proof: Proof) {
        self.out.push(proof.then.refusal());
    }

    /// Notes a proof of leadership that somebody waits for.
    pub(super) fn prove(&mut self, min_seq: Option<u64>, then: Then) {
        let proof = Proof { newest: Stamp(0), begun: Stamp(0), min_seq, needs: None, then };
        if self.serving && self.committer.is_some() {
            self.proofs.push(proof);
        } else {
            self.refuse(proof);
        }
    }

    pub(super) fn answer_proofs(&mut self, view: &View<'_>) {
        let Some(committer) = &self.committer else { return };
        let mut wants_check = false;
        let mut still = Vec::new();
        let mut effects = Vec::new();
        for mut proof in std::mem::take(&mut self.proofs) {
            let head = committer.acknowledged();
            match committer.settled(proof.begun, proof.newest) {
                Settled::Failed => {
                    effects.push(proof.then.refusal());
                    continue;
                }
                Settled::Pending => {
                    still.push(proof);
                    continue;
                }
                Settled::Committed => {}
            }
            if proof.min_seq.is_some_and(|seq| head.seq < seq) {
                still.push(proof);
                continue;
            }
            let confirmed =
                self.lease.is_valid(view.now) || proof.needs.is_some_and(|n| self.lease.is_confirmed(n));
            if confirmed {
                effects.push(match proof.then {
                    Then::Reply(op, value) => Effect::Reply { op, reply: Reply::Value(value) },
                    Then::Tell(to, op) => {
                        Effect::Tell { to, message: Message::Head { op, head: head.clone() } }
                    }
                });
                continue;
            }
            if proof.needs.is_none() {
                proof.needs = Some(self.lease.check_needed());
            }
            wants_check = true;
            still.push(proof);
        }
        self.proofs = still;
        self.out.extend(effects);
        if wants_check && !self.check_in_flight && !self.lease.is_renounced() {
            let check = self.lease.send_check();
            self.check_in_flight = true;
            self.ask(Asked::ReadCheck { check, sent_at: view.now }, Ask::Check);
        }
    }
}

impl Then {
    fn refusal(self) -> Effect<Message> {
        match self {
            Self::Reply(op, _) => Effect::Reply { op, reply: Reply::Refused },
            Self::Tell(to, op) => Effect::Tell { to, message: Message::NotActive { op } },
        }
    }
}
