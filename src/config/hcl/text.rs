//! Scalars: strings with their escapes, heredocs and numbers.

use super::cursor::Cursor;
use super::{HclError, Value};

/// Reads a string; the cursor stands at its opening quote.
pub(super) fn quoted(cursor: &mut Cursor<'_>) -> Result<String, HclError> {
    let start = cursor.clone();
    cursor.take();
    // Bytes, because `\x` and octal escapes name bytes.
    let mut out = Vec::new();
    // Inside `${…}` quotes and newlines do not end the string, and escapes are kept.
    let mut braces = 0usize;
    loop {
        match cursor.peek() {
            None => return Err(start.error("this string is not closed")),
            Some('"') if braces == 0 => break,
            Some('\n') if braces == 0 => {
                return Err(cursor.error("a string ends on its own line: use \\n or a heredoc"));
            }
            Some('\\') if braces == 0 => {
                escape(cursor, &mut out)?;
                continue;
            }
            Some('$') if cursor.take_if("${") => {
                braces += 1;
                out.extend_from_slice(b"${");
                continue;
            }
            Some('{') if braces > 0 => braces += 1,
            Some('}') if braces > 0 => braces -= 1,
            Some(_) => {}
        }
        if let Some(c) = cursor.take() {
            push(&mut out, c);
        }
    }
    cursor.take();
    String::from_utf8(out).map_err(|_| start.error("the escapes of this string do not make valid UTF-8"))
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Reads one escape; the cursor stands at its backslash.
fn escape(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), HclError> {
    let start = cursor.clone();
    cursor.take();
    let unknown = || start.error("unknown escape in a string");
    match cursor.peek().ok_or_else(unknown)? {
        'x' => {
            cursor.take();
            out.push(u8::try_from(digits(cursor, 16, 2).ok_or_else(unknown)?).map_err(|_| unknown())?);
        }
        '0'..='7' => {
            out.push(u8::try_from(digits(cursor, 8, 3).ok_or_else(unknown)?).map_err(|_| unknown())?)
        }
        'u' => {
            cursor.take();
            push(out, utf16(cursor).ok_or_else(unknown)?);
        }
        'U' => {
            cursor.take();
            push(out, digits(cursor, 16, 8).and_then(char::from_u32).ok_or_else(unknown)?);
        }
        c => {
            cursor.take();
            out.push(match c {
                'a' => 7,
                'b' => 8,
                't' => b'\t',
                'n' => b'\n',
                'v' => 11,
                'f' => 12,
                'r' => b'\r',
                '\\' => b'\\',
                '"' => b'"',
                '/' => b'/',
                _ => return Err(unknown()),
            });
        }
    }
    Ok(())
}

/// Exactly `count` digits as a number.
fn digits(cursor: &mut Cursor<'_>, radix: u32, count: usize) -> Option<u32> {
    (0..count).try_fold(0u32, |number, _| {
        let digit = cursor.peek()?.to_digit(radix)?;
        cursor.take();
        number.checked_mul(radix)?.checked_add(digit)
    })
}

/// Four hexadecimal digits, or two groups of them that form a surrogate pair (as JSON writes them).
fn utf16(cursor: &mut Cursor<'_>) -> Option<char> {
    let first = digits(cursor, 16, 4)?;
    if (0xd800..0xdc00).contains(&first) && cursor.take_if("\\u") {
        let second = digits(cursor, 16, 4)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        return char::from_u32(0x10000 + ((first - 0xd800) << 10) + second);
    }
    char::from_u32(first)
}

/// Reads a heredoc; the cursor stands at `<<`.
pub(super) fn heredoc(cursor: &mut Cursor<'_>) -> Result<String, HclError> {
    let start = cursor.clone();
    if !cursor.take_if("<<") {
        return Err(cursor.expected("<<"));
    }
    let indented = cursor.take_if("-");
    let anchor = cursor.take_line().unwrap_or_default().trim_end_matches('\r');
    if anchor.is_empty() || !anchor.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return Err(start.error("a heredoc begins with << or <<- and a word, then a new line"));
    }
    let mut lines = Vec::new();
    let closing = loop {
        let mut ahead = cursor.clone();
        let line = ahead
            .take_line()
            .ok_or_else(|| start.error(format!("this heredoc is not closed by {anchor}")))?;
        let text = line.trim_start_matches([' ', '\t']);
        let ends = text
            .strip_prefix(anchor)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if ends && (indented || text.len() == line.len()) {
            // What follows the closing word is ordinary text again.
            cursor.take_while(|c| matches!(c, ' ' | '\t'));
            cursor.take_if(anchor);
            break &line[..line.len() - text.len()];
        }
        lines.push(line.strip_suffix('\r').unwrap_or(line));
        *cursor = ahead;
    };
    let strips = indented && lines.iter().all(|line| line.is_empty() || line.starts_with(closing));
    let mut out = String::new();
    for line in lines {
        out.push_str(if strips { line.strip_prefix(closing).unwrap_or(line) } else { line });
        out.push('\n');
    }
    Ok(out)
}

/// Reads a number: decimal, hexadecimal (`0x`), octal (leading `0`) or with fraction and exponent.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<Value, HclError> {
    let start = cursor.clone();
    let text = cursor.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'));
    let wrong = || start.error(format!("{text:?} is not a number"));
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let (radix, body) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (16, hex)
    } else if digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit()) && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if body.contains(['-', '+']) && (radix != 10 || !body.contains(['e', 'E'])) {
        return Err(wrong());
    }
    let signed = if negative { format!("-{body}") } else { body.to_owned() };
    if let Ok(number) = i64::from_str_radix(&signed, radix) {
        return Ok(Value::Integer(number));
    }
    let fraction = radix == 10 && body.contains(['.', 'e', 'E']);
    match signed.parse::<f64>() {
        Ok(number) if fraction && number.is_finite() => Ok(Value::Float(number)),
        _ => Err(wrong()),
    }
}
