//! What a value says about its own lifetime.

use serde_json::{Map, Value};

use crate::base::duration;

/// The lifetime in seconds that `value` suggests by its member `ttl`, or else `lease`; `default_seconds` if it has
/// neither or it cannot be read.
pub(super) fn lease_seconds(value: &Map<String, Value>, default_seconds: u64) -> u64 {
    value
        .get("ttl")
        .or_else(|| value.get("lease"))
        .and_then(duration::from_json)
        .map_or(default_seconds, |span| span.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ttl_wins_over_lease_and_nonsense_is_ignored() {
        for (value, seconds) in [
            (json!({"ttl": "1h", "lease": "2h"}), 3600),
            (json!({"lease": 60}), 60),
            (json!({"ttl": "soon"}), 7),
            (json!({"ttl": [1]}), 7),
            (json!({}), 7),
        ] {
            assert_eq!(lease_seconds(value.as_object().unwrap(), 7), seconds, "{value}");
        }
    }
}
