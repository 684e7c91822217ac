//! A place in the text that knows its line and column.

use std::str::Chars;

use super::HclError;

/// Reads characters one by one.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: Chars<'a>,
    line: usize,
    column: usize,
}

impl<'a> Cursor<'a> {
    /// The start of `text`, behind a byte order mark.
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text).chars(), line: 1, column: 1 }
    }

    /// The next character, without taking it.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// Takes the next character.
    pub(super) fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// Takes `wanted` if the text goes on with it.
    pub(super) fn take_if(&mut self, wanted: &str) -> bool {
        let matches = self.rest.as_str().starts_with(wanted);
        if matches {
            for _ in wanted.chars() {
                self.take();
            }
        }
        matches
    }

    /// Takes characters as long as `wanted` holds.
    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest.as_str();
        while self.peek().is_some_and(&wanted) {
            self.take();
        }
        &start[..start.len() - self.rest.as_str().len()]
    }

    /// Takes the rest of the line, its end included; `None` at the end of the text.
    pub(super) fn take_line(&mut self) -> Option<&'a str> {
        self.peek()?;
        let line = self.take_while(|c| c != '\n');
        self.take();
        Some(line)
    }

    /// Line and column, from 1.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }

    /// An error at this place.
    pub(super) fn error(&self, message: impl Into<String>) -> HclError {
        HclError { line: self.line, column: self.column, message: message.into() }
    }

    /// An error that tells what was expected and what stands here.
    pub(super) fn expected(&self, what: &str) -> HclError {
        match self.peek() {
            Some(c) => self.error(format!("expected {what}, found {c:?}")),
            None => self.error(format!("expected {what}, found the end of the text")),
        }
    }
}
