//! What can be wrong with a configuration, and what to do about it.

use std::fmt;

use thiserror::Error;

use super::hcl::HclError;
use crate::base::class::ErrorClass;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file; empty for the configuration as a whole.
    pub file: String,
    /// Line, from 1; zero for the file as a whole.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.line) {
            (true, _) => f.write_str("configuration: "),
            (false, 0) => write!(f, "{}: ", self.file),
            (false, line) => write!(f, "{}:{line}:{}: ", self.file, self.column),
        }
    }
}

/// One thing that is wrong. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// A file or folder cannot be read.
    #[error("{path}: cannot be read: {reason}; check the path given to -config and its permissions")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A folder holds no configuration.
    #[error(
        "{path}: there is no *.hcl or *.json file in this folder; name a file or another folder with -config"
    )]
    NoFiles {
        /// The folder.
        path: String,
    },
    /// A file is neither HCL nor JSON.
    #[error("{file}:{}:{}: {}", error.line, error.column, error.message)]
    Syntax {
        /// The file.
        file: String,
        /// What the parser said.
        error: HclError,
    },
    /// A key that nobody reads.
    #[error("{place}unknown key {key:?}{}{}", within(section), hint(nearest.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The block that it stands in; empty at the top.
        section: String,
        /// The key.
        key: String,
        /// A known key that looks like it.
        nearest: Option<String>,
    },
    /// A value of the wrong kind.
    #[error("{place}{key} must be {expected}, not {found}")]
    WrongKind {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: &'static str,
    },
    /// A value that is out of its range or not of its form.
    #[error("{place}{key} is {value:?}, expected {expected}")]
    BadValue {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is needed.
        expected: String,
    },
    /// An environment variable that is not of its form.
    #[error("environment variable {name} is {value:?}, expected {expected}")]
    BadVariable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A flag of the command line that is not of its form.
    #[error("flag {flag} is {value:?}, expected {expected}")]
    BadFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A key or block twice where one is meant.
    #[error("{place}{key} stands here for the second time in this file: remove one of the two")]
    Repeated {
        /// Where the second one stands.
        place: Place,
        /// The key.
        key: String,
    },
    /// Something that must be a block with as many labels as the example.
    #[error("{place}{key} is not written as a block, {reason}: write {example}")]
    NotABlock {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What the reader met.
        reason: String,
        /// How it is written.
        example: &'static str,
    },
    /// Something that must be there.
    #[error("{place}missing {}{what}", inside(section))]
    Missing {
        /// The block that lacks it, or the configuration.
        place: Place,
        /// The block's name; empty at the top.
        section: String,
        /// What is missing, and how to write it.
        what: String,
    },
    /// A type of block that does not exist.
    #[error("{place}unknown type {kind:?} of {block}, known: {known}")]
    UnknownType {
        /// Where.
        place: Place,
        /// The block.
        block: &'static str,
        /// The type given.
        kind: String,
        /// The types that exist.
        known: String,
    },
    /// Two settings that exclude or need each other.
    #[error("{place}{message}")]
    Conflict {
        /// Where one of them stands.
        place: Place,
        /// What is the matter, and what to do.
        message: String,
    },
    /// A key in the clear. Its value is not shown.
    #[error(
        "{place}{key} must be a reference, file:///path or env://NAME: a key in the configuration would be seen by whoever reads it"
    )]
    InlineKey {
        /// Where.
        place: Place,
        /// The setting.
        key: &'static str,
    },
    /// A seal key that cannot be read.
    #[error("seal key {id:?} cannot be read from {source_name}: {reason}")]
    KeyUnreadable {
        /// The key's id.
        id: String,
        /// Where it should be.
        source_name: String,
        /// What the system said.
        reason: String,
    },
    /// A seal key that is none. Its content is not shown.
    #[error(
        "seal key {id:?} from {source_name} is not a key: it must be 32 bytes, raw or as hexadecimal or base64 text"
    )]
    KeyMalformed {
        /// The key's id.
        id: String,
        /// Where it is.
        source_name: String,
    },
}

impl Problem {
    /// The class of the error: always the caller's.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

fn within(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in {section}") }
}

fn inside(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!("in {section}: ") }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| ": remove it".to_owned(), |key| format!(": did you mean {key:?}?"))
}

/// All problems of a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "the configuration has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}
