//! The folder of a store: made or judged, and locked against a second process.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::vault::physical::unusable::Unusable;

const DATA: &str = "vault.redb";
const LOCK: &str = "lock";
/// Mode of what is made here: the user of this server alone.
const FOLDER_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
/// Names in the folder that are looked at.
const NAMES: usize = 1000;

const OWN: &str = "give it to the user of this server, with mode 0700";

/// A folder that this process alone uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// What can be wrong with the folder at `path`.
pub(super) fn unusable(path: &Path, reason: impl Into<String>) -> Unusable {
    Unusable::File { key: "path", path: path.display().to_string(), reason: reason.into() }
}

impl Folder {
    /// Makes the folder if it is not there, judges it, and locks it. May block.
    pub(super) fn claim(path: &Path) -> Result<Self, Unusable> {
        let wrong = |reason: String| unusable(path, reason);
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(wrong("is not a folder; name one".to_owned())),
            Ok(found) => only_ours(&found).map_err(wrong)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path).map_err(|error| wrong(format!("cannot be made: {error}; make it and {OWN}")))?
            }
            Err(error) => return Err(wrong(format!("cannot be examined: {error}; {OWN}"))),
        }
        let is_foreign =
            holds_vaults_data(path).map_err(|error| wrong(format!("cannot be read: {error}; {OWN}")))?;
        if is_foreign {
            return Err(wrong(
                "holds data that Vault's own file storage wrote, which is not read; name another folder, and copy the secrets over through the API"
                    .to_owned(),
            ));
        }
        let lock = lock(path).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds the data.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Makes names in the folder durable. May block.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    // The folder's own name lies in the folder above.
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Fails if somebody else can write to the folder. A group that this process belongs to is no stranger: volumes of
/// Kubernetes are given to pods that way.
fn only_ours(found: &Metadata) -> Result<(), String> {
    use rustix::process::{getegid, geteuid, getgroups};
    let mode = found.mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(format!("can be written by everybody (mode {mode:04o}); {OWN}"));
    }
    let is_our_group = || {
        let others = getgroups().unwrap_or_default();
        others.into_iter().chain([getegid()]).any(|group| group.as_raw() == found.gid())
    };
    if mode & 0o020 != 0 && !is_our_group() {
        return Err(format!("can be written by group {} (mode {mode:04o}); {OWN}", found.gid()));
    }
    if mode & 0o200 != 0 && found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(format!("belongs to user {} (mode {mode:04o}); {OWN}", found.uid()));
    }
    Ok(())
}

/// Whether the folder looks like one of Vault's file storage: values are files with an underscore before their names.
fn holds_vaults_data(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)?.take(NAMES) {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_folder = entry.file_type()?.is_dir();
        if (is_folder && matches!(&*name, "core" | "sys" | "logical"))
            || (!is_folder && name.starts_with('_'))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(path.join(LOCK)).map_err(|error| {
        format!("cannot be written: {error}; {OWN}, on a file system that is not read-only")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(error) => Err(not_locked(&error)),
    }
}

fn not_locked(error: &TryLockError) -> String {
    match error {
        TryLockError::WouldBlock => "is in use by another process: file storage is for one node; use etcd, Consul, ZooKeeper, PostgreSQL or Kubernetes for several".to_owned(),
        TryLockError::Error(error) => {
            format!("cannot be locked: {error}; use a file system of this machine")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_has_no_locks_is_refused() {
        // As a network file system without its lock service says it.
        let error = TryLockError::Error(rustix::io::Errno::NOLCK.into());
        insta::assert_snapshot!(
            "unlockable",
            unusable(Path::new("/nfs/vault"), not_locked(&error)).to_string()
        );
    }
}
