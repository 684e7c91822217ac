//! How mounts are shown.

use serde_json::{Map, Value, json};

use crate::vault::core::token::MAX_TTL_SECONDS;
use crate::vault::core::{MountClass, MountConfig, MountEntry};

/// The version that every built-in engine reports, in the form that clients parse.
const BUILT_IN_VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+builtin.vault");

/// A mount as in `sys/mounts`.
pub(super) fn entry(mount: &MountEntry) -> Map<String, Value> {
    let value = json!({
        "type": mount.kind,
        "description": mount.description,
        "accessor": mount.accessor,
        "uuid": mount.uuid,
        "local": mount.local,
        "seal_wrap": mount.seal_wrap,
        "external_entropy_access": false,
        "options": options(mount),
        "plugin_version": "",
        "running_plugin_version": BUILT_IN_VERSION,
        "running_sha256": "",
        "deprecation_status": "supported",
        "config": config(mount),
    });
    value.as_object().cloned().unwrap_or_default()
}

/// A mount's settings as in its `tune`: TTLs are those in effect.
pub(super) fn tune(mount: &MountEntry) -> Map<String, Value> {
    let MountConfig { default_lease_ttl_seconds, max_lease_ttl_seconds, .. } = mount.config;
    let effective = |seconds: u64| if seconds == 0 { MAX_TTL_SECONDS } else { seconds };
    let mut shown = Map::new();
    shown.insert("default_lease_ttl".to_owned(), effective(default_lease_ttl_seconds).into());
    shown.insert("max_lease_ttl".to_owned(), effective(max_lease_ttl_seconds).into());
    shown.insert("description".to_owned(), mount.description.clone().into());
    shown.insert("force_no_cache".to_owned(), mount.config.force_no_cache.into());
    if mount.class == MountClass::Auth {
        shown.insert("token_type".to_owned(), token_type(mount).into());
    }
    if !mount.options.is_empty() {
        shown.insert("options".to_owned(), options(mount));
    }
    insert_optional(&mut shown, &mount.config);
    shown
}

fn config(mount: &MountEntry) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("default_lease_ttl".to_owned(), mount.config.default_lease_ttl_seconds.into());
    shown.insert("max_lease_ttl".to_owned(), mount.config.max_lease_ttl_seconds.into());
    shown.insert("force_no_cache".to_owned(), mount.config.force_no_cache.into());
    if mount.class == MountClass::Auth {
        shown.insert("token_type".to_owned(), token_type(mount).into());
    }
    insert_optional(&mut shown, &mount.config);
    shown
}

/// Members that are shown only where they are set.
fn insert_optional(shown: &mut Map<String, Value>, config: &MountConfig) {
    if !config.listing_visibility.is_empty() {
        shown.insert("listing_visibility".to_owned(), config.listing_visibility.clone().into());
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &config.passthrough_request_headers),
        ("allowed_response_headers", &config.allowed_response_headers),
    ] {
        if !list.is_empty() {
            shown.insert(name.to_owned(), list.clone().into());
        }
    }
}

fn token_type(mount: &MountEntry) -> String {
    match mount.config.token_type.as_str() {
        "" => "default-service".to_owned(),
        set => set.to_owned(),
    }
}

fn options(mount: &MountEntry) -> Value {
    if mount.options.is_empty() { Value::Null } else { json!(mount.options) }
}
