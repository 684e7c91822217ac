//! `storage "file"`.

use std::path::PathBuf;

use crate::config::section::Section;

/// An embedded store in a folder; for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStorage {
    /// `path`: the folder.
    pub path: PathBuf,
}

/// Reads `storage "file" { … }`.
pub(super) fn storage(section: &mut Section<'_>) -> FileStorage {
    FileStorage { path: PathBuf::from(section.text("path").unwrap_or_default()) }
}
