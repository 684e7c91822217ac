//! Secrets from the standard input: without echo at a terminal.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::failure::Failure;
use crate::base::secret::SecretString;

/// Longest input that is read.
const MAX_INPUT_BYTES: u64 = 32 << 20;

/// A secret that was given (unless it is `-`), or one line of the standard input.
pub(super) fn secret(given: Option<String>, question: &str) -> Result<SecretString, Failure> {
    if let Some(given) = given.filter(|given| given != "-") {
        return Ok(SecretString::new(given));
    }
    let failed = |e: io::Error| Failure::local(format!("the standard input cannot be read: {e}"));
    let stdin = io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        let mut terminal = io::stderr();
        write!(terminal, "{question} (will be hidden): ").and_then(|()| terminal.flush()).map_err(failed)?;
        let outcome = without_echo(&stdin, |input| input.lock().take(MAX_INPUT_BYTES).read_line(&mut line));
        writeln!(terminal).map_err(failed)?;
        outcome.map_err(failed)?;
    } else {
        stdin.lock().take(MAX_INPUT_BYTES).read_line(&mut line).map_err(failed)?;
    }
    let secret = SecretString::new(line);
    let trimmed = SecretString::new(secret.expose().trim().to_owned());
    if trimmed.is_empty() {
        return Err(Failure::local(format!("{question}: the standard input is empty")));
    }
    Ok(trimmed)
}

/// The whole standard input as text.
pub(super) fn input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text);
    read.map_err(|e| Failure::local(format!("the standard input cannot be read: {e}")))?;
    Ok(text)
}

fn without_echo<T>(stdin: &io::Stdin, read: impl FnOnce(&io::Stdin) -> io::Result<T>) -> io::Result<T> {
    let before = tcgetattr(stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin, OptionalActions::Now, &hidden)?;
    let outcome = read(stdin);
    tcsetattr(stdin, OptionalActions::Now, &before)?;
    outcome
}
