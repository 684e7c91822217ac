//! `seal`.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;

use super::section::Section;
use super::{Environment, Problem};
use crate::base::id;
use crate::base::secret::{SecretBytes, SecretString};

/// How the root key is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealConfig {
    /// By shares that people enter.
    Shamir,
    /// By a key that the server is given; it unseals itself.
    Static(StaticSeal),
}

/// `seal "static"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSeal {
    /// The key in use.
    pub current: StaticKey,
    /// The key before it; what it protects is protected anew with the current one.
    pub previous: Option<StaticKey>,
}

/// A key of 32 bytes and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKey {
    /// Its name; another key must have another one.
    pub id: String,
    /// Where it is.
    pub source: KeySource,
}

/// Where a key is; the key itself never stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `file:///path`.
    File(PathBuf),
    /// `env://NAME`.
    Environment(String),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Environment(name) => write!(f, "env://{name}"),
        }
    }
}

/// Length of a static key.
const STATIC_KEY_BYTES: usize = 32;

impl StaticKey {
    /// Reads the key: 32 raw bytes, or 32 bytes as hexadecimal or base64 text.
    ///
    /// # Errors
    /// [`Problem::KeyUnreadable`] and [`Problem::KeyMalformed`].
    pub fn load(&self, environment: &Environment) -> Result<SecretBytes, Problem> {
        let unreadable = |reason: String| Problem::KeyUnreadable {
            id: self.id.clone(),
            source_name: self.source.to_string(),
            reason,
        };
        let raw = match &self.source {
            KeySource::File(path) => {
                std::fs::read(path).map(SecretBytes::new).map_err(|e| unreadable(e.to_string()))?
            }
            KeySource::Environment(name) => {
                let value =
                    environment.referenced(name).ok_or_else(|| unreadable("it is not set".to_owned()))?;
                SecretBytes::new(value.expose().as_bytes().to_vec())
            }
        };
        decode(&raw).ok_or_else(|| Problem::KeyMalformed {
            id: self.id.clone(),
            source_name: self.source.to_string(),
        })
    }
}

fn decode(raw: &SecretBytes) -> Option<SecretBytes> {
    if raw.expose().len() == STATIC_KEY_BYTES {
        return Some(raw.clone());
    }
    let text = SecretString::new(std::str::from_utf8(raw.expose()).ok()?.trim().to_owned());
    let decoded = match text.expose().len() {
        length if length == STATIC_KEY_BYTES * 2 => id::unhex(text.expose())?,
        _ => {
            let unpadded = text.expose().trim_end_matches('=');
            base64::engine::general_purpose::STANDARD_NO_PAD
                .decode(unpadded)
                .or_else(|_| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(unpadded))
                .ok()?
        }
    };
    let decoded = SecretBytes::new(decoded);
    (decoded.expose().len() == STATIC_KEY_BYTES).then_some(decoded)
}

/// Reads `seal "kind" { … }`.
pub(super) fn seal(kind: &str, section: &mut Section<'_>) -> SealConfig {
    match kind {
        "shamir" => SealConfig::Shamir,
        "static" => {
            let current = key(section, "current_key_id", "current_key");
            let previous = key(section, "previous_key_id", "previous_key");
            let Some(current) = current else {
                if section.has("current_key_id") || section.has("current_key") {
                    return SealConfig::Shamir;
                }
                section.report(Problem::Missing {
                    place: section.place(),
                    section: section.name().to_owned(),
                    what: "the key: set current_key_id and current_key (file:///… or env://…)".to_owned(),
                });
                return SealConfig::Shamir;
            };
            if previous.as_ref().is_some_and(|previous| previous.id == current.id) {
                section.conflict(
                    "previous_key_id",
                    "current_key_id and previous_key_id are the same: another key needs another id",
                );
            }
            SealConfig::Static(StaticSeal { current, previous })
        }
        other => {
            section.unknown_type("seal", other, &["shamir", "static"]);
            SealConfig::Shamir
        }
    }
}

fn key(section: &mut Section<'_>, id_key: &'static str, source_key: &'static str) -> Option<StaticKey> {
    let id = section.text(id_key);
    let source = section.text(source_key);
    match (id, source) {
        (Some(id), Some(text)) => {
            let source = text.strip_prefix("file://").map(|path| KeySource::File(PathBuf::from(path)));
            let source =
                source.or_else(|| text.strip_prefix("env://").map(|n| KeySource::Environment(n.to_owned())));
            if source.is_none() {
                section.report(Problem::InlineKey { place: section.place_of(source_key), key: source_key });
            }
            // The fault is reported; a source keeps the next check from reporting it again.
            Some(StaticKey { id, source: source.unwrap_or(KeySource::Environment(String::new())) })
        }
        (None, None) => None,
        (Some(_), None) => {
            section.conflict(id_key, &format!("{id_key} needs {source_key} beside it"));
            None
        }
        (None, Some(_)) => {
            section.conflict(source_key, &format!("{source_key} needs {id_key} beside it"));
            None
        }
    }
}
