//! `storage "file"`.

use std::path::PathBuf;

use crate::config::problem::Problem;
use crate::config::section::Section;

/// An embedded store in a folder; for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStorage {
    /// `path`: the folder.
    pub path: PathBuf,
    /// `data_limit_bytes`: most bytes of data (keys and values); `None`: as much as the disk takes.
    pub data_limit_bytes: Option<u64>,
}

impl FileStorage {
    /// A store in the folder `path`, everything else at its default.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), data_limit_bytes: None }
    }
}

/// Reads `storage "file" { … }`.
pub(super) fn storage(section: &mut Section<'_>) -> FileStorage {
    let expected = "the folder that holds the data, such as /var/lib/holdfast";
    if !section.has("path") {
        let (place, name) = (section.place(), section.name().to_owned());
        let what = format!("path = \"…\": {expected}");
        section.report(Problem::Missing { place, section: name, what });
    }
    let path = section.text_where("path", |text| !text.is_empty(), expected).unwrap_or_default();
    let mut limit_bytes = 0;
    section.number("data_limit_bytes", 1 << 20..=1 << 40, &mut limit_bytes);
    FileStorage { data_limit_bytes: (limit_bytes > 0).then_some(limit_bytes), ..FileStorage::at(path) }
}
