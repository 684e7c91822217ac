//! The lock beside the shelf: a small file, compared and written under its `flock`.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use holdfast::base::random::SystemRandom;
use holdfast::base::task;
use holdfast::vault::physical::{
    BatchId, HaBackend, LockName, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};

use crate::backend::{KIND, locked};

/// How often a watch looks.
const LOOK: Duration = Duration::from_millis(100);

/// A lock that the processes of one machine share.
#[derive(Clone)]
pub(crate) struct ShelfRegister {
    path: PathBuf,
}

/// What is there; `None` too if its writer died in the middle.
fn content(file: &mut impl Read) -> io::Result<Option<Versioned>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let read = serde_json::from_str::<(String, LockRecord)>(&text).ok();
    Ok(read.map(|(version, record)| Versioned { version: Version(version), record }))
}

impl ShelfRegister {
    /// The lock in `folder`, which must be there.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("shelf.lock");
        OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        Ok(Self { path })
    }

    fn replace(&self, expected: Option<&Version>, next: &LockRecord) -> io::Result<Swap> {
        let mut file = locked(&self.path, true)?;
        let current = content(&mut file)?.map(|found| found.version);
        if current.as_ref() != expected {
            return Ok(Swap::Conflict);
        }
        // Drawn, not counted: a version never comes again, not even after somebody removed the file.
        let version = BatchId::new(&SystemRandom).to_string();
        let text = serde_json::to_string(&(&version, next))?;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        Ok(Swap::Swapped(Version(version)))
    }
}

#[async_trait]
impl HaBackend for ShelfRegister {
    fn name(&self) -> LockName {
        let folder = self.path.parent().unwrap_or(&self.path).display().to_string();
        LockName { kind: KIND.to_owned(), namespace: folder, name: "shelf.lock".to_owned() }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        let path = self.path.clone();
        let read = task::blocking("a read of the lock", move || content(&mut locked(&path, false)?)).await;
        read.unwrap_or_else(|broken| Err(io::Error::other(broken))).map_err(|error| {
            RegisterError::Unavailable { lock: self.name().to_string(), reason: error.to_string() }
        })
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let (register, expected, next) = (self.clone(), expected.cloned(), next.clone());
        let done = task::blocking("a swap", move || register.replace(expected.as_ref(), &next)).await;
        let done = done.unwrap_or_else(|broken| Err(io::Error::other(broken)));
        done.unwrap_or_else(|error| Swap::Unknown { reason: error.to_string() })
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        Ok(Box::new(Watch { register: self.clone(), seen: None }))
    }
}

struct Watch {
    register: ShelfRegister,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
}

#[async_trait]
impl RegisterWatch for Watch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            let now = self.register.read().await?;
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now.clone());
                return Ok(now);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
