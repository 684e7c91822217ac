//! [`InmemRegister`]: a lock in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    HaBackend, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};

/// A compare-and-swap register as plain data; the pure core of [`InmemRegister`].
#[derive(Debug, Clone, Default)]
pub struct Register {
    content: Option<LockRecord>,
    writes: u64,
}

impl Register {
    /// The content with its version; `None` if it is absent.
    pub fn read(&self) -> Option<Versioned> {
        let record = self.content.clone()?;
        Some(Versioned { version: self.version(), record })
    }

    /// Writes `next` if the version is `expected` (`None`: the register is absent). Never [`Swap::Unknown`].
    pub fn swap(&mut self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let current = self.content.as_ref().map(|_| self.version());
        if current.as_ref() != expected {
            return Swap::Conflict;
        }
        self.content = Some(next.clone());
        self.writes += 1;
        Swap::Swapped(self.version())
    }

    /// Removes the content, as somebody does who deletes a lock object.
    pub fn remove(&mut self) {
        self.content = None;
        self.writes += 1;
    }

    fn version(&self) -> Version {
        Version(self.writes.to_string())
    }
}

/// A lock in memory. Clones are handles to the same register.
#[derive(Debug, Clone, Default)]
pub struct InmemRegister(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    register: Mutex<Register>,
    moved: watch::Sender<()>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { register: Mutex::default(), moved: watch::Sender::new(()) }
    }
}

impl InmemRegister {
    /// An absent register.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the content, as somebody does who deletes a lock object.
    pub fn remove(&self) {
        self.register().remove();
        self.0.moved.send_replace(());
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.0.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HaBackend for InmemRegister {
    fn name(&self) -> LockName {
        LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "lock".to_owned() }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        Ok(self.register().read())
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let outcome = self.register().swap(expected, next);
        if matches!(outcome, Swap::Swapped(_)) {
            self.0.moved.send_replace(());
        }
        outcome
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        let moved = self.0.moved.subscribe();
        Ok(Box::new(InmemWatch { register: self.clone(), moved, seen: None }))
    }
}

struct InmemWatch {
    register: InmemRegister,
    moved: watch::Receiver<()>,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
}

#[async_trait]
impl RegisterWatch for InmemWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            self.moved.mark_unchanged();
            let now = self.register.register().read();
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now.clone());
                return Ok(now);
            }
            // The sender lives as long as the register that this watch holds: an error cannot happen.
            let _ = self.moved.changed().await;
        }
    }
}
