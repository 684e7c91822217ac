//! [`Client`]: the embedded store, opened, and opened again after a failure.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::watch;
use tracing::{info, warn};

use super::failure::Failure;
use super::folder::{FILE_MODE, Folder, unusable};
use crate::base::clock::{Clock, Moment, SystemClock};
use crate::config::FileStorage;
use crate::vault::physical::head::Head;
use crate::vault::physical::unusable::Unusable;
use crate::vault::physical::wire;

/// The one table. Keys: `head`, `used`, `data/<key>`, `journal/<sequence number>`.
pub(super) const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("vault");
pub(super) const HEAD: &str = "head";
/// Bytes of keys and values, eight bytes, the lowest first.
pub(super) const USED: &str = "used";
pub(super) const DATA: &str = "data/";
pub(super) const JOURNAL: &str = "journal/";
/// What a key of the journal is less than.
pub(super) const JOURNAL_END: &str = "journal0";

/// Memory that the embedded store keeps pages in.
const CACHE_BYTES: usize = 64 << 20;
/// How long a store that could not be opened again is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// A file's device and number: another file under the same name differs.
type Identity = (u64, u64);

/// The store of one folder.
pub(super) struct Client {
    pub(super) folder: Folder,
    pub(super) data_limit_bytes: Option<u64>,
    opened: RwLock<Opened>,
    used_bytes: AtomicU64,
    /// The head that was stored last; wakes feeds.
    pub(super) moved: watch::Sender<Option<Head>>,
}

struct Opened {
    /// `None` after a failure, until it could be opened again.
    database: Option<Database>,
    identity: Identity,
    /// Grows with every opening.
    count: u64,
    /// When opening failed last, and why.
    failed: Option<(Moment, String)>,
}

impl Client {
    /// Claims the folder and opens the store in it; makes both if they are not there. May block.
    pub(super) fn open(config: &FileStorage) -> Result<Self, Unusable> {
        let folder = Folder::claim(&config.path)?;
        let wrong = |failure: Failure| unusable(folder.path(), explained(&failure));
        if !folder.data().exists() {
            create(&folder).map_err(wrong)?;
        }
        let (database, identity) = open_file(&folder.data()).map_err(wrong)?;
        let opened = Opened { database: Some(database), identity, count: 0, failed: None };
        let client = Self {
            data_limit_bytes: config.data_limit_bytes,
            opened: RwLock::new(opened),
            used_bytes: AtomicU64::new(0),
            moved: watch::Sender::new(None),
            folder,
        };
        client.remember().map_err(|failure| unusable(client.folder.path(), explained(&failure)))?;
        Ok(client)
    }

    /// Bytes of keys and values.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Notes what a commit has made of the store.
    pub(super) fn note(&self, head: Option<Head>, used_bytes: u64) {
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
        self.moved.send_replace(head);
    }

    /// Runs `work` on the database, and once more if the database had to be opened again. May block.
    pub(super) fn retried<T>(&self, work: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let (count, first) = self.once(&work);
        match first {
            Err(Failure::NoRoom(_) | Failure::Away(_)) => {
                self.reopen(count)?;
                self.once(&work).1
            }
            done => done,
        }
    }

    /// Runs `work` on the database as it is; also tells which opening that was.
    pub(super) fn once<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> (u64, Result<T, Failure>) {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let done = match (&opened.database, &opened.failed) {
            (Some(database), _) => work(database),
            (None, Some((_, reason))) => Err(Failure::Away(reason.clone())),
            (None, None) => Err(Failure::Away("the store is closed".to_owned())),
        };
        (opened.count, done)
    }

    /// Fails unless the file is still the one that is open: what goes into a file that was removed or replaced is lost.
    /// Whatever is there instead is opened, and shows by its head what it is.
    pub(super) fn stay_in_place(&self) -> Result<(), Failure> {
        let (count, identity) = {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            (opened.count, opened.identity)
        };
        if identity_at(&self.folder.data()).is_ok_and(|found| found == identity) {
            return Ok(());
        }
        self.reopen(count)
    }

    /// Opens the database again unless somebody has since `count`. What the kernel keeps in memory of the file may differ
    /// from what the disk holds after a failed write: the disk is asked.
    pub(super) fn reopen(&self, count: u64) -> Result<(), Failure> {
        {
            let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            if opened.count != count && opened.database.is_some() {
                return Ok(());
            }
            let now = SystemClock.now();
            if let (None, Some((failed, reason))) = (&opened.database, &opened.failed)
                && now.since(*failed) < PAUSE
            {
                return Err(Failure::Away(reason.clone()));
            }
            opened.database = None;
            match open_file(&self.folder.data()) {
                Ok((database, identity)) => {
                    let count = opened.count + 1;
                    *opened = Opened { database: Some(database), identity, count, failed: None };
                }
                Err(failure) => {
                    warn!(folder = %self.folder.path().display(), %failure, "the store cannot be opened again");
                    opened.failed = Some((now, failure.to_string()));
                    return Err(failure);
                }
            }
        }
        info!(folder = %self.folder.path().display(), "the store was opened again after a failure");
        self.remember()
    }

    /// Reads what is kept in memory.
    fn remember(&self) -> Result<(), Failure> {
        let (head, used_bytes) = self
            .once(|database| {
                let table = database.begin_read()?.open_table(TABLE)?;
                Ok((head_of(&table)?, used_of(&table)?))
            })
            .1?;
        self.note(head, used_bytes);
        Ok(())
    }
}

/// The head in the table.
pub(super) fn head_of(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<Head>, Failure> {
    table.get(HEAD)?.map(|found| wire::head(found.value()).map_err(Failure::Damaged)).transpose()
}

/// The bytes in use, as the table says.
pub(super) fn used_of(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Failure> {
    let Some(found) = table.get(USED)? else { return Ok(0) };
    let bytes = found.value().try_into();
    let bytes = bytes.map_err(|_| Failure::Damaged("the count of bytes is no number".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn identity_at(path: &Path) -> Result<Identity, Failure> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Makes an empty store under another name first: the file is never there in part.
fn create(folder: &Folder) -> Result<(), Failure> {
    let draft = folder.data().with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
    let database = database_in(file)?;
    let transaction = database.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    database.close()?;
    fs::rename(&draft, folder.data())?;
    folder.sync()?;
    Ok(())
}

fn open_file(path: &Path) -> Result<(Database, Identity), Failure> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let found = file.metadata()?;
    if found.len() == 0 {
        return Err(Failure::Damaged("the file is empty".to_owned()));
    }
    // Only a wish: not every file system can.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Ok((database_in(file)?, (found.dev(), found.ino())))
}

fn database_in(file: fs::File) -> Result<Database, Failure> {
    let backend = redb::backends::FileBackend::new(file)?;
    Ok(redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
}

/// What a person reads when the store cannot be opened at the start.
pub(super) fn explained(failure: &Failure) -> String {
    match failure {
        Failure::NoRoom(_) => format!("cannot be used: {failure}; make room on its disk"),
        Failure::Away(_) => format!(
            "cannot be used: {failure}; check its disk, and that its files belong to the user of this server"
        ),
        Failure::Damaged(_) => format!(
            "holds a damaged store, vault.redb: {failure}; put a copy back, or move the file away to begin anew"
        ),
    }
}
