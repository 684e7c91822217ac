//! Policies in storage, within one transaction.

use std::sync::{Arc, PoisonError};

use super::acl::Acl;
use super::builtin::response_wrapping;
use super::model::Policy;
use super::parse::parse;
use crate::base::secret::SecretBytes;
use crate::vault::barrier::BarrierTransaction;
use crate::vault::core::open::{Open, read_cached};
use crate::vault::core::records;
use crate::vault::logical::LogicalError;

/// Longest policy text in bytes.
const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Longest policy name in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Most policies that are listed.
const MAX_POLICIES: usize = 10_000;
/// Most merged ACLs that are remembered.
const MAX_ACLS: usize = 1024;
/// Policies that exist without being stored.
const VIRTUAL: &[&str] = &["root", "response-wrapping"];

/// The record of a policy.
pub(in crate::vault::core) fn path_of(name: &str) -> String {
    format!("{}{name}", records::POLICY_PREFIX)
}

/// Names of all policies, `root` included.
pub(in crate::vault::core) async fn names(
    transaction: &BarrierTransaction,
) -> Result<Vec<String>, LogicalError> {
    let prefix = records::POLICY_PREFIX;
    let keys = transaction.keys(prefix, None, MAX_POLICIES).await?;
    let mut names: Vec<String> = keys.iter().map(|key| key[prefix.len()..].to_owned()).collect();
    names.push("root".to_owned());
    names.sort();
    Ok(names)
}

/// The text of a policy.
pub(in crate::vault::core) async fn text(
    transaction: &BarrierTransaction,
    _open: &Open,
    name: &str,
) -> Result<Option<String>, LogicalError> {
    let name = name.to_lowercase();
    if name == "root" {
        return Ok(Some(String::new()));
    }
    if !is_name(&name) {
        return Ok(None);
    }
    let Some(record) = transaction.get(&path_of(&name)).await? else { return Ok(None) };
    String::from_utf8(record.expose().to_vec())
        .map(Some)
        .map_err(|_| LogicalError::Internal(format!("policy {name:?} is not text")))
}

/// Stores a policy.
pub(in crate::vault::core) fn put(
    transaction: &BarrierTransaction,
    name: &str,
    text: &str,
) -> Result<(), LogicalError> {
    let name = name.to_lowercase();
    if VIRTUAL.contains(&name.as_str()) {
        return Err(LogicalError::Invalid(format!("cannot update {name:?} policy")));
    }
    if !is_name(&name) {
        return Err(LogicalError::Invalid(format!("invalid policy name {name:?}")));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(LogicalError::Invalid(format!("a policy cannot be longer than {MAX_TEXT_BYTES} bytes")));
    }
    parse(text)?;
    Ok(transaction.put(&path_of(&name), SecretBytes::new(text.as_bytes().to_vec()))?)
}

/// Removes a policy.
pub(in crate::vault::core) fn delete(
    transaction: &BarrierTransaction,
    name: &str,
) -> Result<(), LogicalError> {
    let name = name.to_lowercase();
    if VIRTUAL.contains(&name.as_str()) || name == "default" {
        return Err(LogicalError::Invalid(format!("cannot delete {name:?} policy")));
    }
    if !is_name(&name) {
        return Ok(());
    }
    Ok(transaction.delete(&path_of(&name))?)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// The ACL of a token with these policies; names without a policy grant nothing.
pub(in crate::vault::core) async fn acl(
    transaction: &BarrierTransaction,
    open: &Open,
    names: &[String],
) -> Result<Arc<Acl>, LogicalError> {
    if names.iter().any(|name| name == "root") {
        return Ok(Arc::new(Acl::root()));
    }
    let mut policies: Vec<Arc<Policy>> = Vec::with_capacity(names.len());
    for name in names {
        if name == "response-wrapping" {
            policies.push(Arc::new(response_wrapping()));
            continue;
        }
        let path = path_of(name);
        let decode = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| LogicalError::Internal(format!("policy {name:?} is not text")))?;
            parse(text)
        };
        policies.extend(read_cached(transaction, &open.policies, &path, decode).await?);
    }
    let mut known = open.acls.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((made_from, acl)) = known.get(names) {
        let same = made_from.len() == policies.len()
            && made_from.iter().zip(&policies).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return Ok(Arc::clone(acl));
        }
    }
    let acl = Arc::new(Acl::new(&policies));
    if known.len() >= MAX_ACLS {
        known.clear();
    }
    known.insert(names.to_vec(), (policies, Arc::clone(&acl)));
    Ok(acl)
}
