//! Answers of the storage and the lock.

use bytes::Bytes;
use holdfast::base::clock::Moment;
use holdfast::vault::ha::committer::{Done, Send};
use holdfast::vault::ha::election::Event as News;
use holdfast::vault::ha::readlease::CheckNumber;
use holdfast::vault::physical::{Commit, Head, StorageError, SubmitError, Swap};

use super::Node;
use super::requests::Get;
use super::segments;
use crate::storage::objects::List;
use crate::variant::Variant;
use crate::world::event::{Answer, Effect, Reply, View};

/// What is remembered with a request.
#[derive(Debug)]
pub(super) enum Asked {
    Commit {
        send: Send,
        list: Option<List>,
        sent_at: Moment,
    },
    Claim(Head),
    Check {
        number: u64,
        floor: Option<Head>,
    },
    Probe {
        number: u64,
    },
    ReadCheck {
        check: CheckNumber,
        sent_at: Moment,
    },
    ReadLock {
        number: u64,
    },
    Swap {
        number: u64,
    },
    /// A value, asked for after so many resets of the cache.
    Get {
        get: Get,
        key: String,
        resets: u64,
    },
    Page,
    Objects(segments::Asked),
}

fn outcome(answer: Answer) -> Commit {
    match answer {
        Answer::Commit(commit) => commit,
        _ => Commit::Unknown { reason: "silence".into() },
    }
}

impl Node {
    pub(super) fn finish(&mut self, done: Vec<Done>) {
        for Done { id, result } in done {
            let Some(reply) = self.running.remove(&id) else { continue };
            let reply = match result {
                Ok(_) => reply,
                Err(SubmitError::Unknown { .. }) => Reply::Unknown,
                Err(_) => Reply::Refused,
            };
            if self.variant != Variant::AcknowledgeBeforeCommit {
                self.out.push(Effect::Reply { op: id, reply });
            }
        }
    }

    pub(super) fn answered(&mut self, tag: u64, answer: Answer, view: &View<'_>) {
        let Some(asked) = self.asked.remove(&tag) else { return };
        if let Answer::Check(Some(head)) | Answer::Commit(Commit::Fenced { current: Some(head) }) = &answer {
            self.cache.note(head.seq);
        }
        match (asked, answer) {
            (Asked::Commit { send, list, sent_at }, answer) => {
                let answer = outcome(answer);
                if answer == Commit::Committed {
                    self.segments.wrote(send.next.epoch);
                }
                self.committed(send, list, sent_at, answer, view);
            }
            (Asked::Claim(next), answer) => {
                let answer = outcome(answer);
                if answer == Commit::Committed {
                    self.segments.wrote(next.epoch);
                }
                self.news(News::ClaimAnswered { batch: next.batch_id, answer }, view);
            }
            (Asked::Check { number, floor }, answer) => {
                let head = if let Answer::Check(head) = answer { Some(head) } else { None };
                self.news(News::Checked { number, floor, head }, view);
            }
            (Asked::Probe { number }, answer) => {
                let is_serving = matches!(answer, Answer::Check(_));
                self.news(News::Probed { number, is_serving }, view);
            }
            (Asked::ReadCheck { check, sent_at }, answer) => {
                self.check_in_flight = false;
                if let (Answer::Check(Some(head)), Some(committer)) = (answer, &self.committer)
                    && head.epoch == committer.acknowledged().epoch
                {
                    self.lease.check_succeeded(check, sent_at);
                }
            }
            (Asked::Get { get, key, resets }, answer) => {
                let found: Option<(Option<Bytes>, Head)> = match answer {
                    Answer::Value(value, head) => Some((value, head)),
                    _ => None,
                };
                if let Some((value, head)) = &found {
                    self.cache.keep(&key, value.clone(), head.seq, resets, self.position);
                }
                self.got(get, found, view);
            }
            (Asked::Page, answer) => {
                let page = if let Answer::Page(page) = answer { Some(page) } else { None };
                self.paged(page, view);
            }
            (Asked::Objects(asked), answer) => {
                let response = if let Answer::Objects(response) = answer { Some(response) } else { None };
                self.objects_answered(asked, response, view);
            }
            (Asked::ReadLock { number }, Answer::Lock(content)) => {
                self.news(News::Lock { number, content }, view);
            }
            (Asked::ReadLock { .. }, _) => self.news(News::LockAway, view),
            (Asked::Swap { number }, Answer::Swap(outcome)) => {
                self.news(News::Swapped { number, outcome }, view)
            }
            (Asked::Swap { number }, _) => {
                let outcome = Swap::Unknown { reason: "silence".into() };
                self.news(News::Swapped { number, outcome }, view);
            }
        }
    }

    fn committed(
        &mut self,
        send: Send,
        list: Option<List>,
        sent_at: Moment,
        answer: Commit,
        view: &View<'_>,
    ) {
        let Some(committer) = &mut self.committer else { return };
        if committer.acknowledged().epoch != send.next.epoch {
            return;
        }
        let is_applied = answer == Commit::Committed;
        let answer = match answer {
            Commit::Unknown { reason } if self.variant == Variant::UnknownTakenAsNotApplied => {
                Commit::Refused(StorageError::Unavailable { storage: "sim", reason })
            }
            other => other,
        };
        if let Commit::Fenced { current } = &answer {
            let current = current.clone();
            let done = committer.on_commit(send.next.batch_id, answer, view.now, view.random);
            self.finish(done);
            self.news(News::Fenced { current }, view);
            return;
        }
        let done = committer.on_commit(send.next.batch_id, answer, view.now, view.random);
        if is_applied {
            self.stored(&send, list, view);
            self.lease.committed(sent_at);
            self.news(News::Saw(send.next), view);
        }
        self.finish(done);
    }
}
