//! Changes of the mount table, as pure functions.

use std::collections::BTreeMap;

use super::table::{MountClass, MountConfig, MountEntry, MountTable, new_entry};
use crate::base::random::Random;
use crate::vault::logical::LogicalError;

/// Most mounts of a cluster: the table is one record.
const MAX_MOUNTS: usize = 1000;
/// Longest mount path in bytes.
const MAX_PATH_BYTES: usize = 256;
/// Mounts that cannot be made, moved or removed.
const PROTECTED_SECRET: &[&str] = &["sys/", "identity/", "cubbyhole/", "auth/", "audit/"];
const PROTECTED_AUTH: &[&str] = &["token/"];
/// Kinds that exist once, made by init.
const SINGLETONS: &[&str] = &["system", "identity", "cubbyhole", "token"];

/// What a new mount shall be.
#[derive(Debug, Clone, Default)]
pub struct MountSpec {
    /// The engine's kind.
    pub kind: String,
    /// For people.
    pub description: String,
    /// Options for the engine.
    pub options: BTreeMap<String, String>,
    /// Shown only.
    pub local: bool,
    /// Shown only.
    pub seal_wrap: bool,
    /// Settings.
    pub config: MountConfig,
}

/// A mount path with its trailing slash.
///
/// # Errors
/// When it is empty, too long or not a path.
pub(super) fn clean(path: &str) -> Result<String, LogicalError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Err(LogicalError::Invalid("path must be specified".to_owned()));
    }
    let bad = path.split('/').any(|segment| matches!(segment, "" | "." | ".."))
        || path.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '*' | '+'));
    if bad || path.len() > MAX_PATH_BYTES {
        return Err(LogicalError::Invalid(format!("invalid mount path {path:?}")));
    }
    Ok(format!("{path}/"))
}

/// The table with one more mount.
pub(in crate::vault::core) fn add(
    table: &MountTable,
    random: &dyn Random,
    class: MountClass,
    path: &str,
    spec: MountSpec,
) -> Result<(MountTable, MountEntry), LogicalError> {
    let path = clean(path)?;
    refuse_protected(class, &path)?;
    refuse_overlap(table, class, &path)?;
    if SINGLETONS.contains(&spec.kind.as_str()) {
        return Err(LogicalError::Invalid(format!("mount type of {:?} is not mountable", spec.kind)));
    }
    if table.entries.len() >= MAX_MOUNTS {
        return Err(LogicalError::Invalid(format!(
            "there are {MAX_MOUNTS} mounts already, which is the limit"
        )));
    }
    let entry = MountEntry {
        description: spec.description,
        local: spec.local,
        seal_wrap: spec.seal_wrap,
        config: spec.config,
        ..new_entry(random, class, &path, &spec.kind, spec.options)
    };
    let mut next = table.clone();
    next.entries.push(entry.clone());
    Ok((next, entry))
}

/// The table without a mount; `None` if it is not there.
pub(in crate::vault::core) fn remove(
    table: &MountTable,
    class: MountClass,
    path: &str,
) -> Result<Option<(MountTable, MountEntry)>, LogicalError> {
    let path = clean(path)?;
    refuse_protected(class, &path)?;
    let Some(entry) = table.get(class, &path).cloned() else { return Ok(None) };
    let mut next = table.clone();
    next.entries.retain(|other| other.uuid != entry.uuid);
    Ok(Some((next, entry)))
}

/// The table with a mount moved to another path of its class.
pub(in crate::vault::core) fn rename(
    table: &MountTable,
    class: MountClass,
    from: &str,
    to: &str,
) -> Result<MountTable, LogicalError> {
    let (from, to) = (clean(from)?, clean(to)?);
    refuse_protected(class, &from)?;
    refuse_protected(class, &to)?;
    let mut next = table.clone();
    let Some(at) = next.entries.iter().position(|entry| entry.class == class && entry.path == from) else {
        return Err(LogicalError::Invalid(format!("no matching mount at \"{from}\"")));
    };
    let mut moved = next.entries.remove(at);
    refuse_overlap(&next, class, &to)?;
    moved.path = to;
    next.entries.insert(at, moved);
    Ok(next)
}

/// The mount at `path`, however its slashes are written.
pub(in crate::vault::core) fn find(table: &MountTable, class: MountClass, path: &str) -> Option<usize> {
    let path = clean(path).ok()?;
    table.entries.iter().position(|entry| entry.class == class && entry.path == path)
}

fn refuse_protected(class: MountClass, path: &str) -> Result<(), LogicalError> {
    let protected = match class {
        MountClass::Secret => PROTECTED_SECRET,
        MountClass::Auth => PROTECTED_AUTH,
    };
    if protected.iter().any(|reserved| path.starts_with(reserved)) {
        return Err(LogicalError::Denied);
    }
    Ok(())
}

fn refuse_overlap(table: &MountTable, class: MountClass, path: &str) -> Result<(), LogicalError> {
    let clash = table.entries.iter().find(|entry| {
        entry.class == class && (entry.path.starts_with(path) || path.starts_with(&entry.path))
    });
    match clash {
        Some(entry) => Err(LogicalError::Invalid(format!("path is already in use at {}", entry.path))),
        None => Ok(()),
    }
}
