//! `sys/mounts/<path>/tune` and `sys/auth/<path>/tune`: show and change settings.

use super::{Answer, Call, mount_json};
use crate::vault::core::token::MAX_TTL_SECONDS;
use crate::vault::core::{MountClass, MountConfig};
use crate::vault::logical::{Fields, LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

const KNOWN: &[&str] = &[
    "default_lease_ttl",
    "max_lease_ttl",
    "description",
    "force_no_cache",
    "listing_visibility",
    "token_type",
    "options",
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
];
/// Mounts whose settings nobody changes.
const FIXED: &[&str] = &["sys/", "cubbyhole/", "identity/"];

pub(super) async fn handle(call: &Call<'_>, class: MountClass, path: &str) -> Answer {
    let path = format!("{}/", path.trim_matches('/'));
    let mount =
        call.kernel.mounts().get(class, &path).ok_or_else(|| SystemError::NothingToTune(path.clone()))?;
    match call.operation {
        Operation::Read => {
            return Ok(Some(Response { data_at_top: true, ..Response::data(mount_json::tune(mount)) }));
        }
        Operation::Create | Operation::Update => {}
        _ => return Err(LogicalError::UnsupportedOperation),
    }
    if class == MountClass::Secret && FIXED.contains(&path.as_str()) {
        return Err(SystemError::CannotTune(path).into());
    }
    let config = Change::read(call.fields, class)?.applied_to(mount.config.clone())?;
    let description = call.fields.text("description")?;
    let options = call.fields.text_map("options")?;
    if let Some(to) = options.as_ref().and_then(|options| options.get("version")) {
        let from = mount.options.get("version").map_or("1", String::as_str);
        if mount.kind == "kv" && to != from {
            return Err(SystemError::KvVersionChange { from: from.to_owned(), to: to.clone() }.into());
        }
    }
    let change = |mount: &mut crate::vault::core::MountEntry| {
        mount.config = config;
        mount.description = description.unwrap_or_else(|| mount.description.clone());
        mount.options.extend(options.unwrap_or_default());
    };
    call.kernel.tune(class, &path, change).await?;
    Ok(call.fields.unrecognized(KNOWN).map(|warning| Response::default().with_warning(warning)))
}

/// Settings as they are given; `None` leaves a setting as it is.
pub(super) struct Change {
    default_lease_ttl_seconds: Option<u64>,
    max_lease_ttl_seconds: Option<u64>,
    force_no_cache: Option<bool>,
    listing_visibility: Option<String>,
    token_type: Option<String>,
    audit_non_hmac_request_keys: Option<Vec<String>>,
    audit_non_hmac_response_keys: Option<Vec<String>>,
    passthrough_request_headers: Option<Vec<String>>,
    allowed_response_headers: Option<Vec<String>>,
}

impl Change {
    pub(super) fn read(fields: Fields<'_>, class: MountClass) -> Result<Self, LogicalError> {
        let listing_visibility = fields.text("listing_visibility")?;
        if let Some(other) =
            listing_visibility.as_deref().filter(|text| !["", "hidden", "unauth"].contains(text))
        {
            return Err(SystemError::ListingVisibility(other.to_owned()).into());
        }
        let token_type = fields.text("token_type")?.filter(|text| !text.is_empty());
        let is_known =
            |text: &&str| ["default-service", "service"].contains(text) && class == MountClass::Auth;
        if let Some(other) = token_type.as_deref().filter(|text| !is_known(text)) {
            return Err(SystemError::MountTokenType(other.to_owned()).into());
        }
        Ok(Self {
            default_lease_ttl_seconds: ttl(fields, "default_lease_ttl")?,
            max_lease_ttl_seconds: ttl(fields, "max_lease_ttl")?,
            force_no_cache: fields.boolean("force_no_cache")?,
            listing_visibility,
            token_type,
            audit_non_hmac_request_keys: fields.list("audit_non_hmac_request_keys")?,
            audit_non_hmac_response_keys: fields.list("audit_non_hmac_response_keys")?,
            passthrough_request_headers: fields.list("passthrough_request_headers")?,
            allowed_response_headers: fields.list("allowed_response_headers")?,
        })
    }

    pub(super) fn applied_to(self, old: MountConfig) -> Result<MountConfig, SystemError> {
        let config = MountConfig {
            default_lease_ttl_seconds: self
                .default_lease_ttl_seconds
                .unwrap_or(old.default_lease_ttl_seconds),
            max_lease_ttl_seconds: self.max_lease_ttl_seconds.unwrap_or(old.max_lease_ttl_seconds),
            force_no_cache: self.force_no_cache.unwrap_or(old.force_no_cache),
            listing_visibility: self.listing_visibility.unwrap_or(old.listing_visibility),
            token_type: self.token_type.unwrap_or(old.token_type),
            audit_non_hmac_request_keys: self
                .audit_non_hmac_request_keys
                .unwrap_or(old.audit_non_hmac_request_keys),
            audit_non_hmac_response_keys: self
                .audit_non_hmac_response_keys
                .unwrap_or(old.audit_non_hmac_response_keys),
            passthrough_request_headers: self
                .passthrough_request_headers
                .unwrap_or(old.passthrough_request_headers),
            allowed_response_headers: self.allowed_response_headers.unwrap_or(old.allowed_response_headers),
        };
        let (default, max) = (config.default_lease_ttl_seconds, config.max_lease_ttl_seconds);
        if max > 0 && default > max {
            return Err(SystemError::DefaultTtlAboveMax);
        }
        if max == 0 && default > MAX_TTL_SECONDS {
            return Err(SystemError::DefaultTtlAboveSystem(MAX_TTL_SECONDS));
        }
        Ok(config)
    }
}

/// A TTL in seconds; `system` and zero stand for the system's.
fn ttl(fields: Fields<'_>, name: &str) -> Result<Option<u64>, LogicalError> {
    match fields.text(name)?.as_deref() {
        None | Some("") => Ok(None),
        Some("system") => Ok(Some(0)),
        Some(_) => fields.seconds(name),
    }
}
