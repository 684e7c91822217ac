//! A storage that several processes of one machine share: a log file to which every commit appends one line, and its content
//! in the memory of each process.
//!
//! A commit takes the file's lock (`flock`), reads what others have appended, compares the head, appends, flushes, and
//! lets go. Nobody else can commit meanwhile, however long this process is paused: that makes it fenced. The log never gets
//! shorter, which is why this is an example.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use holdfast::base::{id, task};
use holdfast::config::Settings;
use holdfast::crypto::hash::sha256;
use holdfast::vault::node::{BackendFactory, OpenError, OpenStorage, Surroundings};
use holdfast::vault::physical::{
    Backend, Commit, Feed, Head, Journal, JournalFeed, JournalPage, JournalSource, Limits, Listing, Op,
    StorageError, Value, wire,
};
use serde::{Deserialize, Serialize};

use crate::register::ShelfRegister;

/// The type, as `storage "…"` names it.
pub(crate) const KIND: &str = "shelf";
const LIMITS: Limits =
    Limits { operations: 4096, commit_bytes: 8 << 20, value_bytes: 4 << 20, data_bytes: None };

/// One commit. Keys of the record that are not put are deleted.
#[derive(Serialize, Deserialize)]
struct Line {
    record: Journal,
    /// Values in base64.
    puts: BTreeMap<String, String>,
}

impl Line {
    fn new(expected: Option<&Head>, next: &Head, ops: &[Op]) -> Self {
        let record = wire::record_of(expected, next, ops.iter().map(|op| op.key().to_owned()).collect());
        let mut puts = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put { key, value } => puts.insert(key.clone(), BASE64.encode(value)),
                Op::Delete { key } => puts.remove(key),
            };
        }
        Self { record, puts }
    }

    /// A checksum, the line, and its end: whatever part of it a crash leaves is told from a whole one.
    fn text(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{} {json}\n", id::hex(&sha256(json.as_bytes()))).into_bytes())
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (sum, json) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        (sum == id::hex(&sha256(json.as_bytes()))).then(|| serde_json::from_str(json).ok())?
    }
}

/// What this process knows of the file.
#[derive(Default)]
struct Memory {
    /// Device and number of the file, and how far it was read.
    file: (u64, u64),
    bytes: u64,
    head: Option<Head>,
    data: BTreeMap<String, Bytes>,
    journal: VecDeque<Journal>,
}

impl Memory {
    fn apply(&mut self, line: Line) -> Result<(), base64::DecodeError> {
        for key in &line.record.keys {
            match line.puts.get(key) {
                Some(text) => self.data.insert(key.clone(), BASE64.decode(text)?.into()),
                None => self.data.remove(key),
            };
        }
        self.head = Some(line.record.head.clone());
        self.journal.push_back(line.record);
        if self.journal.len() > 4096 {
            self.journal.pop_front();
        }
        Ok(())
    }
}

/// One process's view of a log. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Shared>);

struct Shared {
    log: PathBuf,
    /// Held by who reads or writes the file.
    turn: Mutex<()>,
    memory: RwLock<Memory>,
}

/// Takes the lock of the file at `path`, within about two seconds; it is free again when the file is closed. May block.
pub(crate) fn locked(path: &Path, exclusive: bool) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..1000 {
        match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another process does not let go of its lock"))
}

fn failure(error: &io::Error) -> StorageError {
    let reason = error.to_string();
    match error.kind() {
        io::ErrorKind::InvalidData => StorageError::Damaged { storage: KIND, reason },
        _ => StorageError::Unavailable { storage: KIND, reason },
    }
}

impl Shared {
    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock and reads what is new. May block.
    fn catch_up(&self, exclusive: bool) -> io::Result<File> {
        let file = locked(&self.log, exclusive)?;
        let found = file.metadata()?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        let identity = (found.dev(), found.ino());
        if memory.file != identity || found.len() < memory.bytes {
            // Another file, or an older copy: the head will show what it is.
            *memory = Memory { file: identity, ..Memory::default() };
        }
        if found.len() == memory.bytes {
            return Ok(file);
        }
        let mut text = vec![0; usize::try_from(found.len() - memory.bytes).map_err(io::Error::other)?];
        file.read_exact_at(&mut text, memory.bytes)?;
        // Its writer may have died before it did: what is not on the disk must not be shown.
        file.sync_data()?;
        let mut rest = text.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let Some(line) = Line::read(&rest[..end]) else { break };
            memory.apply(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            memory.bytes += end as u64 + 1;
            rest = &rest[end + 1..];
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 < rest.len() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line in the middle of the log is damaged"))
            }
            // A crash left part of a line, which nobody was told of.
            _ if !rest.is_empty() && exclusive => file.set_len(memory.bytes).map(|()| file),
            _ => Ok(file),
        }
    }

    fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> io::Result<Commit> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.catch_up(true)?;
        let current = self.memory().head.clone();
        if current.as_ref() != expected {
            return Ok(Commit::Fenced { current });
        }
        let line = Line::new(expected, next, ops);
        let text = line.text()?;
        let before = self.memory().bytes;
        match file.write_all_at(&text, before).and_then(|()| file.sync_data()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                file.set_len(before)?;
                let full = StorageError::Full { storage: KIND, used_bytes: before, limit_bytes: before };
                return Ok(Commit::Refused(full));
            }
            Err(error) => return Err(error),
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.bytes += text.len() as u64;
        memory.apply(line).map_err(io::Error::other)?;
        Ok(Commit::Committed)
    }
}

impl Shelf {
    /// Opens the log in `folder`; makes both if they are not there. May block.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("shelf.log");
        OpenOptions::new().write(true).create(true).truncate(false).open(&log)?.sync_all()?;
        File::open(folder)?.sync_all()?;
        let shared = Shared { log, turn: Mutex::default(), memory: RwLock::default() };
        shared.catch_up(false)?;
        Ok(Self(Arc::new(shared)))
    }

    /// Reads what is new.
    async fn caught_up(&self) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.0);
        let done = task::blocking("a read of the shelf", move || {
            let _turn = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
            shared.catch_up(false).map(drop)
        });
        done.await.unwrap_or_else(|broken| Err(io::Error::other(broken))).map_err(|error| failure(&error))
    }
}

#[async_trait]
impl Backend for Shelf {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = LIMITS.admit(KIND, ops) {
            return Commit::Refused(error);
        }
        let shared = Arc::clone(&self.0);
        let (expected, next, ops) = (expected.cloned(), next.clone(), ops.to_vec());
        let done =
            task::blocking("a commit to the shelf", move || shared.commit(expected.as_ref(), &next, &ops));
        // Any failure may have come after the line was written: only time tells.
        let done = done.await.unwrap_or_else(|broken| Err(io::Error::other(broken)));
        done.unwrap_or_else(|error| Commit::Unknown { reason: error.to_string() })
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let memory = self.0.memory();
        let head = memory.head.clone().ok_or(StorageError::Empty { storage: KIND })?;
        Ok(Value { value: memory.data.get(key).cloned(), head })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let memory = self.0.memory();
        let head = memory.head.clone().ok_or(StorageError::Empty { storage: KIND })?;
        let is_wanted = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let mut keys = memory.data.keys().filter(|key| is_wanted(key)).cloned();
        let page = keys.by_ref().take(limit).collect();
        Ok(Listing { keys: page, more: keys.next().is_some(), head })
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.caught_up().await?;
        Ok(self.0.memory().head.clone())
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        Ok(Box::new(JournalFeed::new(Arc::new(self.clone()), from)))
    }
}

#[async_trait]
impl JournalSource for Shelf {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        self.caught_up().await?;
        let memory = self.0.memory();
        let records = memory.journal.iter().filter(|record| record.head.seq >= from_seq).take(limit);
        Ok(JournalPage { head: memory.head.clone(), records: records.cloned().collect() })
    }

    async fn wait(&self, seen: Option<&Head>) -> Result<(), StorageError> {
        for _ in 0..40 {
            let found = tokio::fs::metadata(&self.0.log).await.map_err(|error| failure(&error))?;
            if found.len() != self.0.memory().bytes || self.0.memory().head.as_ref() != seen {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }
}

/// Makes shelves for a server.
pub(crate) struct ShelfFactory;

#[async_trait]
impl BackendFactory for ShelfFactory {
    async fn open(&self, settings: &Settings, _: &Surroundings) -> Result<OpenStorage, OpenError> {
        let refused = |reason: String| OpenError::Refused { kind: KIND.to_owned(), reason };
        if let Some(key) = settings.keys().find(|key| *key != "path") {
            return Err(refused(format!("unknown key {key:?}: there is only path")));
        }
        let path =
            settings.get("path").ok_or_else(|| refused("path is missing: name a folder".to_owned()))?;
        let folder = PathBuf::from(path);
        let opened = task::blocking("opening the shelf", move || {
            Ok::<_, io::Error>((Shelf::open(&folder)?, ShelfRegister::open(&folder)?))
        });
        let opened = opened.await.map_err(|broken| refused(broken.to_string()))?;
        let (shelf, register) = opened.map_err(|error| refused(format!("path {path}: {error}")))?;
        Ok(OpenStorage { backend: Arc::new(shelf), lock: Some(Arc::new(register)) })
    }
}
