//! The grammar of HCL1: keys, then `=` and a value or `{`; newlines never matter.

use super::cursor::Cursor;
use super::{Body, HclError, Item, MAX_DEPTH, Value, text};

/// Reads a whole text.
pub(super) fn document(cursor: &mut Cursor<'_>) -> Result<Body, HclError> {
    let body = body(cursor, 0)?;
    match cursor.peek() {
        None => Ok(body),
        Some('}') => Err(cursor.error("this } closes nothing")),
        Some(_) => Err(cursor.expected("a key")),
    }
}

/// Skips white space and comments.
fn skip(cursor: &mut Cursor<'_>) -> Result<(), HclError> {
    loop {
        cursor.take_while(char::is_whitespace);
        let start = cursor.clone();
        if cursor.take_if("#") || cursor.take_if("//") {
            cursor.take_line();
        } else if cursor.take_if("/*") {
            while !cursor.take_if("*/") {
                cursor.take().ok_or_else(|| start.error("this comment is not closed"))?;
            }
        } else {
            return Ok(());
        }
    }
}

/// Reads items until something that is no key; its caller judges that.
fn body(cursor: &mut Cursor<'_>, depth: usize) -> Result<Body, HclError> {
    let mut body = Body::default();
    loop {
        skip(cursor)?;
        if !cursor.peek().is_some_and(starts_key) {
            return Ok(body);
        }
        body.items.push(item(cursor, depth)?);
        skip(cursor)?;
        cursor.take_if(",");
    }
}

fn starts_key(c: char) -> bool {
    c == '"' || c == '_' || c.is_alphanumeric()
}

/// Reads one item; the cursor stands at its key.
fn item(cursor: &mut Cursor<'_>, depth: usize) -> Result<Item, HclError> {
    let (line, column) = cursor.place();
    let key = name(cursor)?;
    let mut labels = Vec::new();
    loop {
        skip(cursor)?;
        let value = match cursor.peek() {
            Some('=') if labels.is_empty() => {
                cursor.take();
                skip(cursor)?;
                value(cursor, depth)?
            }
            Some('{') => block(cursor, depth)?,
            Some(c) if starts_key(c) => {
                labels.push(name(cursor)?);
                continue;
            }
            _ if labels.is_empty() => {
                return Err(cursor.expected(&format!("= or {{ after {key:?}")));
            }
            _ => return Err(cursor.expected(&format!("{{ after the labels of {key:?}"))),
        };
        return Ok(Item { key, labels, value, line, column });
    }
}

/// Reads a key or label.
fn name(cursor: &mut Cursor<'_>) -> Result<String, HclError> {
    if cursor.peek() == Some('"') {
        return text::quoted(cursor);
    }
    Ok(cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).to_owned())
}

/// Reads a block; the cursor stands at its `{`.
fn block(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, HclError> {
    let start = cursor.clone();
    check_depth(cursor, depth)?;
    cursor.take();
    let body = body(cursor, depth + 1)?;
    match cursor.peek() {
        Some('}') => {
            cursor.take();
            Ok(Value::Block(body))
        }
        None => Err(start.error("this { is not closed")),
        Some(_) => Err(cursor.expected("a key or }")),
    }
}

fn check_depth(cursor: &Cursor<'_>, depth: usize) -> Result<(), HclError> {
    if depth >= MAX_DEPTH {
        return Err(cursor.error(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(())
}

/// Reads a value.
fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, HclError> {
    match cursor.peek() {
        Some('"') => text::quoted(cursor).map(Value::Text),
        Some('<') => text::heredoc(cursor).map(Value::Text),
        Some('{') => block(cursor, depth),
        Some('[') => list(cursor, depth),
        Some('-' | '0'..='9') => text::number(cursor),
        Some(c) if c.is_alphabetic() => {
            let start = cursor.clone();
            match name(cursor)?.as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => Err(start.error(format!("{word} is not a value: put a string in quotes"))),
            }
        }
        _ => Err(cursor.expected("a value")),
    }
}

/// Reads a list; the cursor stands at its `[`.
fn list(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, HclError> {
    let start = cursor.clone();
    check_depth(cursor, depth)?;
    cursor.take();
    let mut values = Vec::new();
    loop {
        skip(cursor)?;
        match cursor.peek() {
            Some(']') => break,
            None => return Err(start.error("this [ is not closed")),
            Some(_) => values.push(value(cursor, depth + 1)?),
        }
        skip(cursor)?;
        match cursor.peek() {
            Some(',') => {
                cursor.take();
            }
            Some(']') => break,
            None => return Err(start.error("this [ is not closed")),
            Some(_) => return Err(cursor.expected(", or ]")),
        }
    }
    cursor.take();
    Ok(Value::List(values))
}
