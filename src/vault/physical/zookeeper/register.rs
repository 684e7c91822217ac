//! [`ZookeeperRegister`]: one node as a compare-and-swap register.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::client::{Client, Failure};
use super::config::{KIND, Settings};
use super::connection::Reply;
use super::init::Unprepared;
use super::proto::{self, Change, Code, opcode};
use super::state::State;
use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    HaBackend, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};
use crate::vault::physical::wire;

/// How long a watch is believed that says nothing.
const POLL: Duration = Duration::from_secs(1);
/// How often a watch is set anew because the node appeared or vanished meanwhile.
const ATTEMPTS: usize = 4;

/// The lock in a node that is never deleted. It has a connection of its own, so that large answers of the storage do not
/// delay renewals. Clones share it.
#[derive(Clone)]
pub struct ZookeeperRegister {
    state: Arc<State>,
}

impl ZookeeperRegister {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { state: Arc::new(State::new(settings)) }
    }

    fn client(&self) -> &Client {
        &self.state.client
    }

    fn path(&self) -> String {
        self.state.layout().lock()
    }

    fn unavailable(&self, reason: String) -> RegisterError {
        RegisterError::Unavailable { lock: self.name().to_string(), reason }
    }

    /// What the leader has; with `is_watching` an event follows when that changes.
    async fn look(&self, is_watching: bool) -> Result<Option<Versioned>, RegisterError> {
        let path = self.path();
        let sync = (opcode::SYNC, proto::sync(&path));
        for _ in 0..ATTEMPTS {
            let reply =
                self.last(vec![sync.clone(), (opcode::GET_DATA, proto::look(&path, is_watching))]).await?;
            match reply.code {
                Code::OK => return self.versioned(reply.body).map(Some),
                Code::NO_NODE if !is_watching => return Ok(None),
                Code::NO_NODE => {}
                code => return Err(self.error(code)),
            }
            let reply = self.last(vec![(opcode::EXISTS, proto::look(&path, true))]).await?;
            match reply.code {
                Code::NO_NODE => return Ok(None),
                // It was created just now.
                Code::OK => {}
                code => return Err(self.error(code)),
            }
        }
        Err(self.unavailable("its node comes and goes".to_owned()))
    }

    async fn last(&self, requests: Vec<(i32, Vec<u8>)>) -> Result<Reply, RegisterError> {
        let replies = self.client().ask_again(requests).await;
        let replies = replies.map_err(|failure| self.unavailable(failure.into_error().to_string()))?;
        replies.into_iter().next_back().ok_or_else(|| self.unavailable("no answer".to_owned()))
    }

    fn versioned(&self, body: Bytes) -> Result<Versioned, RegisterError> {
        let (bytes, stat) = proto::data(body).map_err(|error| self.unavailable(error.to_string()))?;
        let record = wire::lock(&bytes).map_err(|error| self.unavailable(error))?;
        Ok(Versioned { version: version(stat.version), record })
    }

    fn error(&self, code: Code) -> RegisterError {
        if code.is_of_identity() {
            self.client().log_in_anew();
            let reason = format!("{}: {code}; {}", self.path(), self.client().settings().needed_acl());
            return RegisterError::Denied { lock: self.name().to_string(), reason };
        }
        self.unavailable(format!("{}: {code}", self.path()))
    }

    async fn send(&self, change: &Change) -> Result<Reply, Swap> {
        let request = (change.opcode(), change.body(&self.client().settings().owner));
        self.client().ask(request).await.map_err(|failure| match failure {
            Failure::Away(reason) | Failure::Lost(reason) => Swap::Unknown { reason },
            Failure::TooLarge(bytes) => Swap::Unknown { reason: format!("a record of {bytes} bytes") },
        })
    }

    async fn create(&self, data: Bytes) -> Swap {
        let create = Change::Create { path: self.path(), data };
        for is_prepared in [false, true] {
            let reply = match self.send(&create).await {
                Ok(reply) => reply,
                Err(outcome) => return outcome,
            };
            match reply.code {
                Code::OK => return Swap::Swapped(version(0)),
                Code::NODE_EXISTS => return Swap::Conflict,
                // Nothing was written, for want of a parent.
                Code::NO_NODE if !is_prepared => match self.state.prepare().await {
                    Ok(()) => {}
                    Err(Unprepared::Failed(failure)) => {
                        return Swap::Unknown { reason: failure.into_error().to_string() };
                    }
                    Err(Unprepared::Refused { path, code }) => {
                        return Swap::Unknown { reason: format!("{path}: {code}") };
                    }
                },
                code => return Swap::Unknown { reason: self.error(code).to_string() },
            }
        }
        Swap::Unknown { reason: format!("{}: its parent comes and goes", self.path()) }
    }
}

fn version(number: i32) -> Version {
    Version(number.to_string())
}

#[async_trait]
impl HaBackend for ZookeeperRegister {
    fn name(&self) -> LockName {
        LockName {
            kind: KIND.to_owned(),
            namespace: self.state.layout().root().to_owned(),
            name: "lock".to_owned(),
        }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        self.look(false).await
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let data = Bytes::from(wire::lock_bytes(next));
        let Some(expected) = expected else { return self.create(data).await };
        // A negative version would stand for any.
        let Some(number) = expected.0.parse().ok().filter(|number| *number >= 0) else {
            return Swap::Conflict;
        };
        let reply = match self.send(&Change::Set { path: self.path(), data, version: number }).await {
            Ok(reply) => reply,
            Err(outcome) => return outcome,
        };
        match reply.code {
            Code::OK => match proto::stat(reply.body) {
                Ok(stat) => Swap::Swapped(version(stat.version)),
                Err(error) => Swap::Unknown { reason: error.to_string() },
            },
            Code::BAD_VERSION | Code::NO_NODE => Swap::Conflict,
            code => Swap::Unknown { reason: self.error(code).to_string() },
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        let events = self.client().events();
        Ok(Box::new(LockWatch { register: self.clone(), events, seen: None }))
    }
}

/// Reads the node when it has changed, and every second.
struct LockWatch {
    register: ZookeeperRegister,
    events: watch::Receiver<()>,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
}

#[async_trait]
impl RegisterWatch for LockWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            self.events.mark_unchanged();
            let found = self.register.look(true).await?;
            if self.seen.as_ref() != Some(&found) {
                self.seen = Some(found.clone());
                return Ok(found);
            }
            // The sender lives as long as the register that this watch holds: an error cannot happen.
            let _ = tokio::time::timeout(POLL, self.events.changed()).await;
        }
    }
}
