//! The JSON form: objects are blocks, repeated keys are kept, `null` members are absent.

use super::cursor::Cursor;
use super::{Body, HclError, Item, MAX_DEPTH, Value, text};

/// Reads a whole document, which is an object.
pub(super) fn document(cursor: &mut Cursor<'_>) -> Result<Body, HclError> {
    skip(cursor);
    let body = object(cursor, 0)?;
    skip(cursor);
    if cursor.peek().is_some() {
        return Err(cursor.expected("the end of the JSON document"));
    }
    Ok(body)
}

fn skip(cursor: &mut Cursor<'_>) {
    cursor.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
}

/// Reads an object; the cursor stands at its `{`.
fn object(cursor: &mut Cursor<'_>, depth: usize) -> Result<Body, HclError> {
    let mut body = Body::default();
    members(cursor, depth, '}', |cursor| {
        let (line, column) = cursor.place();
        if cursor.peek() != Some('"') {
            return Err(cursor.expected("a quoted key"));
        }
        let key = text::quoted(cursor)?;
        skip(cursor);
        if !cursor.take_if(":") {
            return Err(cursor.expected(&format!(": after {key:?}")));
        }
        skip(cursor);
        if !cursor.take_if("null") {
            let value = value(cursor, depth + 1)?;
            body.items.push(Item { key, labels: Vec::new(), value, line, column });
        }
        Ok(())
    })?;
    Ok(body)
}

/// Reads what stands between the opening bracket, where the cursor is, and `end`, separated by commas.
fn members(
    cursor: &mut Cursor<'_>,
    depth: usize,
    end: char,
    mut member: impl FnMut(&mut Cursor<'_>) -> Result<(), HclError>,
) -> Result<(), HclError> {
    if depth >= MAX_DEPTH {
        return Err(cursor.error(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    cursor.take();
    skip(cursor);
    if cursor.peek() == Some(end) {
        cursor.take();
        return Ok(());
    }
    loop {
        member(cursor)?;
        skip(cursor);
        match cursor.peek() {
            Some(',') => {
                cursor.take();
                skip(cursor);
            }
            Some(c) if c == end => {
                cursor.take();
                return Ok(());
            }
            _ => return Err(cursor.expected(&format!(", or {end}"))),
        }
    }
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, HclError> {
    match cursor.peek() {
        Some('"') => text::quoted(cursor).map(Value::Text),
        Some('{') => object(cursor, depth).map(Value::Block),
        Some('[') => {
            let mut values = Vec::new();
            members(cursor, depth, ']', |cursor| {
                values.push(value(cursor, depth + 1)?);
                Ok(())
            })?;
            Ok(Value::List(values))
        }
        Some('-' | '0'..='9') => text::number(cursor),
        _ if cursor.take_if("true") => Ok(Value::Bool(true)),
        _ if cursor.take_if("false") => Ok(Value::Bool(false)),
        _ => Err(cursor.expected("a JSON value")),
    }
}
