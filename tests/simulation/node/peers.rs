//! What nodes say to each other.

use holdfast::vault::ha::election::{Cause, Event as News, Sign, Successor};
use holdfast::vault::physical::Head;

use super::proofs::Then;
use super::requests::Want;
use super::{FORMAT, Node};
use crate::world::event::{Effect, NodeId, Reply, View};

#[derive(Debug, Clone)]
pub enum Message {
    Forward { op: u64 },
    ReadIndex { op: u64 },
    ConfirmHead { op: u64, seq: u64 },
    Head { op: u64, head: Head },
    NotActive { op: u64 },
    WhoCan { number: u64 },
    Can { number: u64, successor: Successor },
    Prepare { head: Head },
    Prepared { identity: String, is_ready: bool },
    Renounced,
    Gone { identity: String },
    StepDown,
}

impl Node {
    pub(super) fn told(&mut self, from: NodeId, message: Message, view: &View<'_>, wants: &[Want]) {
        match message {
            Message::Forward { op } => {
                if self.serving && self.committer.is_some() {
                    self.serve(op, wants[op as usize], view);
                } else {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                }
            }
            Message::ReadIndex { op } => self.prove(None, Then::Tell(from, op)),
            Message::ConfirmHead { op, seq } => self.prove(Some(seq), Then::Tell(from, op)),
            Message::Head { op, head } => self.standby_head(op, head),
            Message::NotActive { op } => {
                if self.reads.remove(&op).is_some() {
                    self.out.push(Effect::Reply { op, reply: Reply::Refused });
                }
            }
            Message::WhoCan { number } => {
                let successor = Successor {
                    identity: self.identity.clone(),
                    head: self.last_head.clone(),
                    is_able: self.election.could_take_over(),
                    is_resting: !self.election.could_stand(view.now),
                    format: FORMAT,
                };
                self.out.push(Effect::Tell { to: from, message: Message::Can { number, successor } });
            }
            Message::Can { number, successor } => {
                if let Some((wanted, _, nodes)) = &mut self.successors
                    && *wanted == number
                {
                    nodes.push(successor);
                }
            }
            Message::Prepare { head } => {
                let is_ready = self.position >= head.seq && self.election.could_take_over();
                let message = Message::Prepared { identity: self.identity.clone(), is_ready };
                self.out.push(Effect::Tell { to: from, message });
            }
            Message::Prepared { identity, is_ready } => {
                self.news(News::Prepared { identity, is_ready }, view)
            }
            Message::Renounced => self.news(News::Tick, view),
            Message::Gone { identity } => {
                for sign in [Sign::Answered, Sign::Closed, Sign::Refused] {
                    self.news(News::Peer { identity: identity.clone(), sign }, view);
                }
            }
            Message::StepDown => self.news(News::HandOver { cause: Cause::StepDown }, view),
        }
    }
}
