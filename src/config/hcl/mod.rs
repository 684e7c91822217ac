//! HCL1 and its JSON form: the language of server configuration and of policies.
//!
//! [`parse`] reads either form into one [`Body`]. Nothing is evaluated: `${…}` and `{{…}}` stay text.

mod body;
mod cursor;
mod json;
mod native;
mod text;

#[cfg(test)]
mod tests;

pub use body::{Block, Body, Item, Value};

use cursor::Cursor;
use thiserror::Error;

/// Longest text that is read.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Deepest nesting of blocks and lists.
pub const MAX_DEPTH: usize = 32;

/// Why a text is not HCL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at line {line}, column {column}: {message}")]
pub struct HclError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads HCL1, or its JSON form if the first character is `{`.
///
/// # Errors
/// On text that is neither, above [`MAX_TEXT_BYTES`] or nested deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Body, HclError> {
    let mut cursor = Cursor::new(text);
    if text.len() > MAX_TEXT_BYTES {
        return Err(cursor.error(format!("the text is longer than {MAX_TEXT_BYTES} bytes")));
    }
    let first = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).chars().next();
    if first == Some('{') { json::document(&mut cursor) } else { native::document(&mut cursor) }
}
