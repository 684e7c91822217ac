//! Settings, keys and versions, and the rules that bind them. Pure: time and identifiers are arguments.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::Kv2Error;
use crate::base::clock::UnixMillis;
use crate::base::duration;
use crate::vault::logical::fields::text_of;

const VERSIONS_KEPT_DEFAULT: u32 = 10;
const CUSTOM_KEYS_MAX: usize = 64;
const CUSTOM_KEY_BYTES_MAX: usize = 128;
const CUSTOM_VALUE_BYTES_MAX: usize = 512;

/// Settings of a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    /// Versions kept of each key; zero for the default of ten.
    pub(super) max_versions: u32,
    /// Whether every data write must name the version it replaces.
    pub(super) cas_required: bool,
    /// Seconds after which a version is deleted; zero for never, negative to switch this off for keys as well.
    pub(super) delete_version_after_seconds: i64,
}

/// Metadata of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyMetadata {
    /// Names the key's versions in storage.
    pub(super) id: String,
    pub(super) current_version: u64,
    /// The oldest version that is kept; zero until a version has been dropped for the first time.
    pub(super) oldest_version: u64,
    pub(super) created: UnixMillis,
    pub(super) updated: UnixMillis,
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    pub(super) delete_version_after_seconds: i64,
    pub(super) custom_metadata: Option<BTreeMap<String, String>>,
    pub(super) versions: BTreeMap<u64, VersionMetadata>,
    /// Data of all versions below this one has been removed from storage.
    pub(super) purged_below: u64,
}

/// Metadata of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionMetadata {
    pub(super) created: UnixMillis,
    /// When it is or was deleted.
    pub(super) deletion: Option<UnixMillis>,
    pub(super) destroyed: bool,
}

impl Config {
    pub(super) fn to_json(&self) -> Map<String, Value> {
        object(json!({
            "max_versions": self.max_versions,
            "cas_required": self.cas_required,
            "delete_version_after": duration_text(self.delete_version_after_seconds),
        }))
    }
}

impl KeyMetadata {
    /// A key without versions.
    pub(super) fn new(id: String, now: UnixMillis) -> Self {
        Self {
            id,
            current_version: 0,
            oldest_version: 0,
            created: now,
            updated: now,
            max_versions: 0,
            cas_required: false,
            delete_version_after_seconds: 0,
            custom_metadata: None,
            versions: BTreeMap::new(),
            purged_below: 1,
        }
    }

    /// Holds a data write against the check-and-set rules; `options` is the request's member of that name.
    pub(super) fn check_cas(
        &self,
        config: &Config,
        options: Option<&Map<String, Value>>,
    ) -> Result<(), Kv2Error> {
        let Some(cas) = options.and_then(|options| options.get("cas")).filter(|cas| !cas.is_null()) else {
            return if config.cas_required || self.cas_required {
                Err(Kv2Error::CasRequired)
            } else {
                Ok(())
            };
        };
        let cas = match cas {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .ok_or(Kv2Error::CasUnreadable)?;
        if u64::try_from(cas) == Ok(self.current_version) { Ok(()) } else { Err(Kv2Error::CasMismatch) }
    }

    /// Adds a version and forgets those beyond the number kept.
    pub(super) fn add_version(&mut self, config: &Config, now: UnixMillis) {
        self.current_version += 1;
        let deletion = self.deletion_of_new(config, now);
        self.versions
            .insert(self.current_version, VersionMetadata { created: now, deletion, destroyed: false });
        self.updated = now;
        let kept = match self.max_versions.max(config.max_versions) {
            0 => VERSIONS_KEPT_DEFAULT,
            most => most,
        };
        if self.current_version - self.oldest_version >= u64::from(kept) {
            self.oldest_version = self.current_version - u64::from(kept) + 1;
            self.versions = self.versions.split_off(&self.oldest_version);
        }
    }

    /// When a version that is written or brought back at `now` deletes itself.
    pub(super) fn deletion_of_new(&self, config: &Config, now: UnixMillis) -> Option<UnixMillis> {
        let mount = config.delete_version_after_seconds;
        if mount < 0 {
            return None;
        }
        [mount, self.delete_version_after_seconds]
            .into_iter()
            .filter_map(|seconds| u64::try_from(seconds).ok().filter(|seconds| *seconds > 0))
            .min()
            .map(|seconds| now.plus_seconds(seconds))
    }

    /// Takes at most `limit` versions whose data is to be removed from storage now.
    pub(super) fn take_purge(&mut self, limit: u64) -> Range<u64> {
        let from = self.purged_below;
        let to = self.oldest_version.min(from.saturating_add(limit)).max(from);
        self.purged_below = to;
        from..to
    }

    /// The answer to a read of the metadata.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let versions: Map<_, _> = self
            .versions
            .iter()
            .map(|(number, version)| {
                let value = json!({
                    "created_time": version.created.rfc3339(),
                    "deletion_time": version.deletion_text(),
                    "destroyed": version.destroyed,
                });
                (number.to_string(), value)
            })
            .collect();
        object(json!({
            "versions": versions,
            "current_version": self.current_version,
            "oldest_version": self.oldest_version,
            "created_time": self.created.rfc3339(),
            "updated_time": self.updated.rfc3339(),
            "max_versions": self.max_versions,
            "cas_required": self.cas_required,
            "delete_version_after": duration_text(self.delete_version_after_seconds),
            "custom_metadata": self.custom_metadata,
        }))
    }

    /// What answers say about the version `number`.
    pub(super) fn version_json(&self, number: u64, version: &VersionMetadata) -> Map<String, Value> {
        object(json!({
            "version": number,
            "created_time": version.created.rfc3339(),
            "deletion_time": version.deletion_text(),
            "destroyed": version.destroyed,
            "custom_metadata": self.custom_metadata,
        }))
    }
}

impl VersionMetadata {
    /// Whether its data can be read at `now`.
    pub(super) fn is_readable(&self, now: UnixMillis) -> bool {
        !self.destroyed && !self.is_deleted(now)
    }

    /// Whether it is deleted at `now`.
    pub(super) fn is_deleted(&self, now: UnixMillis) -> bool {
        self.deletion.is_some_and(|deletion| deletion <= now)
    }

    fn deletion_text(&self) -> String {
        self.deletion.map(UnixMillis::rfc3339).unwrap_or_default()
    }
}

/// Reads `custom_metadata`: text values (numbers and booleans become text, null becomes empty).
pub(super) fn custom_metadata(input: &Map<String, Value>) -> Result<BTreeMap<String, String>, Kv2Error> {
    input
        .iter()
        .map(|(key, value)| match value {
            Value::Null => Ok((key.clone(), String::new())),
            other => text_of(other)
                .map(|text| (key.clone(), text))
                .ok_or_else(|| Kv2Error::CustomMetadataValueKind { key: key.clone() }),
        })
        .collect()
}

/// Holds `custom` against the limits.
pub(super) fn check_custom_metadata(custom: &BTreeMap<String, String>) -> Result<(), Kv2Error> {
    let printable = |text: &str| !text.chars().any(char::is_control);
    if custom.len() > CUSTOM_KEYS_MAX {
        return Err(Kv2Error::CustomMetadataKeys { most: CUSTOM_KEYS_MAX, provided: custom.len() });
    }
    for (key, value) in custom {
        let key_of_error = || key.clone();
        if key.is_empty() || key.len() > CUSTOM_KEY_BYTES_MAX {
            let (length, most) = (key.len(), CUSTOM_KEY_BYTES_MAX);
            return Err(Kv2Error::CustomMetadataKeyLength { key: key_of_error(), length, most });
        }
        if value.is_empty() || value.len() > CUSTOM_VALUE_BYTES_MAX {
            let (length, most) = (value.len(), CUSTOM_VALUE_BYTES_MAX);
            return Err(Kv2Error::CustomMetadataValueLength { key: key_of_error(), length, most });
        }
        if !printable(key) {
            return Err(Kv2Error::CustomMetadataKeyUnprintable { key: key_of_error() });
        }
        if !printable(value) {
            return Err(Kv2Error::CustomMetadataValueUnprintable { key: key_of_error() });
        }
    }
    Ok(())
}

/// Applies a JSON merge patch (RFC 7396) to an object.
pub(super) fn merge_patch(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(patch) => {
                let slot = target.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(inner) = slot {
                    merge_patch(inner, patch);
                }
            }
            other => {
                target.insert(name, other);
            }
        }
    }
}

/// Replaces every value that is not a non-empty object by null; objects at `depth` levels down (zero: no limit) too.
pub(super) fn remove_values(data: &mut Map<String, Value>, depth: u64) {
    for value in data.values_mut() {
        match value {
            Value::Object(inner) if !inner.is_empty() && depth != 1 => {
                remove_values(inner, depth.saturating_sub(1))
            }
            other => *other = Value::Null,
        }
    }
}

fn duration_text(seconds: i64) -> String {
    let text = duration::go_text(std::time::Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 { format!("-{text}") } else { text }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn map(value: Value) -> Map<String, Value> {
        object(value)
    }

    #[test]
    fn the_oldest_version_moves_only_when_versions_are_dropped() {
        let mut key = KeyMetadata::new("id".into(), NOW);
        for _ in 0..9 {
            key.add_version(&Config::default(), NOW);
        }
        assert_eq!((key.current_version, key.oldest_version), (9, 0));
        key.add_version(&Config::default(), NOW);
        assert_eq!((key.current_version, key.oldest_version, key.versions.len()), (10, 1, 10));
        assert_eq!(key.take_purge(32), 1..1);
        key.add_version(&Config::default(), NOW);
        assert_eq!((key.oldest_version, key.versions.len()), (2, 10));
        assert_eq!(key.take_purge(32), 1..2);
        assert_eq!(key.take_purge(32), 2..2);
    }

    #[test]
    fn the_larger_limit_of_versions_wins_and_a_smaller_one_purges_in_steps() {
        let mut key = KeyMetadata::new("id".into(), NOW);
        let wide = Config { max_versions: 100, ..Config::default() };
        key.max_versions = 3;
        for _ in 0..100 {
            key.add_version(&wide, NOW);
        }
        assert_eq!(key.versions.len(), 100);
        key.add_version(&Config::default(), NOW);
        assert_eq!((key.versions.len(), key.oldest_version), (3, 99));
        assert_eq!(key.take_purge(32), 1..33);
        assert_eq!(key.take_purge(32), 33..65);
        assert_eq!(key.take_purge(64), 65..99);
    }

    #[test]
    fn versions_delete_themselves_after_the_smaller_positive_time() {
        let mut key = KeyMetadata::new("id".into(), NOW);
        let with = |seconds| Config { delete_version_after_seconds: seconds, ..Config::default() };
        assert_eq!(key.deletion_of_new(&with(0), NOW), None);
        assert_eq!(key.deletion_of_new(&with(60), NOW), Some(NOW.plus_seconds(60)));
        key.delete_version_after_seconds = 30;
        assert_eq!(key.deletion_of_new(&with(0), NOW), Some(NOW.plus_seconds(30)));
        assert_eq!(key.deletion_of_new(&with(60), NOW), Some(NOW.plus_seconds(30)));
        assert_eq!(key.deletion_of_new(&with(10), NOW), Some(NOW.plus_seconds(10)));
        assert_eq!(key.deletion_of_new(&with(-1), NOW), None);
    }

    #[test]
    fn check_and_set_reads_numbers_and_text() {
        let mut key = KeyMetadata::new("id".into(), NOW);
        let config = Config::default();
        let check =
            |key: &KeyMetadata, config: &Config, options: Value| key.check_cas(config, options.as_object());
        assert_eq!(check(&key, &config, json!({"cas": 0})), Ok(()));
        assert_eq!(check(&key, &config, json!({"cas": "0"})), Ok(()));
        assert_eq!(check(&key, &config, json!({"cas": 1})), Err(Kv2Error::CasMismatch));
        assert_eq!(check(&key, &config, json!({"cas": -1})), Err(Kv2Error::CasMismatch));
        assert_eq!(check(&key, &config, json!({"cas": "x"})), Err(Kv2Error::CasUnreadable));
        assert_eq!(check(&key, &config, json!({"cas": []})), Err(Kv2Error::CasUnreadable));
        assert_eq!(check(&key, &config, json!({})), Ok(()));
        key.cas_required = true;
        assert_eq!(check(&key, &config, json!({})), Err(Kv2Error::CasRequired));
        key.cas_required = false;
        let strict = Config { cas_required: true, ..Config::default() };
        assert_eq!(key.check_cas(&strict, None), Err(Kv2Error::CasRequired));
    }

    #[test]
    fn merge_patches_follow_the_rfc() {
        let mut target = map(json!({"a": 1, "b": {"c": 2, "d": 3}, "e": "x"}));
        merge_patch(
            &mut target,
            map(json!({"a": null, "b": {"c": null, "n": {"z": null, "y": 1}}, "e": {"f": 1}, "g": [null]})),
        );
        assert_eq!(Value::Object(target), json!({"b": {"d": 3, "n": {"y": 1}}, "e": {"f": 1}, "g": [null]}));
    }

    #[test]
    fn subkeys_show_names_and_no_value() {
        let data = json!({"a": 1, "b": {"c": {"d": "x"}, "e": {}}, "l": [1]});
        for (depth, expected) in [
            (0, json!({"a": null, "b": {"c": {"d": null}, "e": null}, "l": null})),
            (1, json!({"a": null, "b": null, "l": null})),
            (2, json!({"a": null, "b": {"c": null, "e": null}, "l": null})),
        ] {
            let mut shown = map(data.clone());
            remove_values(&mut shown, depth);
            assert_eq!(Value::Object(shown), expected, "depth {depth}");
        }
    }
}
