//! Durations in the grammar of Vault's API: `90`, `"90"`, `"1h30m"`, `"1.5h"`, `"7d"`.

use std::time::Duration;

/// Reads a duration: plain seconds, or Go's units (`ns`, `us`, `ms`, `s`, `m`, `h`) plus `d`.
///
/// Returns `None` for negative values and anything else that is not a duration.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number * seconds;
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Reads a duration from JSON: a number of seconds or text as in [`parse`].
pub fn from_json(value: &serde_json::Value) -> Option<Duration> {
    match value {
        serde_json::Value::Number(n) => {
            n.as_u64().map(Duration::from_secs).or_else(|| Duration::try_from_secs_f64(n.as_f64()?).ok())
        }
        serde_json::Value::String(text) => parse(text),
        _ => None,
    }
}

/// Go's text of a duration in whole seconds: `0s`, `3h25m19s`.
pub fn go_text(span: Duration) -> String {
    let seconds = span.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, _) => format!("{m}m{s}s"),
        _ => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_write() {
        for (text, seconds) in [
            ("90", 90.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("7d", 604_800.0),
            ("300ms", 0.3),
            ("2h45m30.5s", 9930.5),
        ] {
            assert_eq!(parse(text).map(|d| d.as_secs_f64()), Some(seconds), "{text}");
        }
        for text in ["", "h", "1x", "-5s", "1h30", "..s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn prints_as_go_does() {
        assert_eq!(go_text(Duration::from_secs(12_319)), "3h25m19s");
        assert_eq!(go_text(Duration::ZERO), "0s");
        assert_eq!(go_text(Duration::from_secs(60)), "1m0s");
    }
}
