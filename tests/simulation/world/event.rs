//! What happens in a world: to nodes, and because of them.

use std::sync::Arc;

use bytes::Bytes;
use holdfast::base::clock::{Moment, UnixMillis};
use holdfast::base::random::Random;
use holdfast::vault::physical::{Commit, Head, LockRecord, Swap, Version, Versioned};

use crate::history::Time;
use crate::storage::objects::{Entry, HeadObject, Objects, Request, Response};
use crate::storage::{Change, Page, Said, Semantics};

pub type NodeId = usize;
/// A direction between two places; the storage is `nodes`, the lock `nodes + 1`.
pub type Link = (usize, usize);

/// What a node wants of the storage or the lock, or the answer to it. `tag` is the node's own.
#[derive(Debug, Clone)]
pub enum Ask {
    /// However many requests it takes.
    Commit {
        expected: Head,
        change: Change,
    },
    Check,
    Get {
        key: String,
    },
    /// The journal after a commit.
    Page {
        after: u64,
    },
    Objects(Request),
    ReadLock,
    Swap {
        expected: Option<Version>,
        next: LockRecord,
    },
}

#[derive(Debug, Clone)]
pub enum Answer {
    Commit(Commit),
    Check(Option<Head>),
    Value(Option<Bytes>, Head),
    Page(Page),
    Objects(Response),
    Lock(Option<Versioned>),
    Swap(Swap),
    /// No answer within the client's time-out, or an error: it may have been carried out, now or later.
    Silence,
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Event<M> {
    Started,
    Timer,
    Answered {
        tag: u64,
        answer: Answer,
    },
    /// An answer of the storage to one of the requests that a commit takes. Nodes see its outcome alone.
    Said {
        tag: u64,
        said: Said,
    },
    /// The head object has changed, or the journal has grown.
    Fed,
    LockChanged(Option<Versioned>),
    Peer {
        from: NodeId,
        message: M,
    },
    Client {
        op: u64,
    },
}

/// What a node wants done.
#[derive(Debug)]
pub enum Effect<M> {
    Ask {
        tag: u64,
        ask: Ask,
    },
    Tell {
        to: NodeId,
        message: M,
    },
    Wake {
        at: Moment,
    },
    /// The end of a client's operation, as the client sees it.
    Reply {
        op: u64,
        reply: Reply,
    },
    /// What was read makes no sense.
    Damage(String),
}

impl<M> Effect<M> {
    /// Whether anybody else can notice it.
    pub fn is_outward(&self) -> bool {
        matches!(self, Self::Ask { .. } | Self::Tell { .. } | Self::Reply { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Written,
    Value(u64),
    Count(u64),
    /// Certainly not carried out.
    Refused,
    /// Perhaps carried out.
    Unknown,
}

#[derive(Debug, Clone)]
pub enum Fault {
    Pause {
        node: NodeId,
        span: Time,
    },
    Crash {
        node: NodeId,
        down: Time,
    },
    Cut {
        link: Link,
        span: Time,
    },
    EditLock,
    DeleteLock,
    /// Somebody writes beside the head.
    Touch,
    /// The storage has no leader, or restarts: it answers with errors, and carries out some of what it was sent, after
    /// all, when it has one again.
    Elect {
        span: Time,
    },
    /// The others get false evidence that the holder of the lock is gone, while it is cut off from the storage and the
    /// lock: safety must not rest on evidence.
    Usurp {
        span: Time,
    },
}

/// What the caller must do next.
pub enum Step<M> {
    Handle {
        node: NodeId,
        event: Event<M>,
    },
    /// The node's memory is gone.
    Lost(NodeId),
    /// Everybody else is to be told that this node is gone, which is not true.
    Slander(NodeId),
    Idle,
}

/// What a node may look at while it handles an event.
pub struct View<'a> {
    pub now: Moment,
    pub wall: UnixMillis,
    pub random: &'a dyn Random,
    pub semantics: Semantics,
    pub(super) objects: &'a Objects,
    pub(super) log: &'a [Arc<Entry>],
}

impl View<'_> {
    /// The head object as the node's watch told of it last.
    pub fn head_object(&self) -> Option<HeadObject> {
        self.objects.head(self.log, self.log.len())
    }
}
