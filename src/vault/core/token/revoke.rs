//! The end of a token: at once for everybody who asks, and for its records as far as one commit goes.

use serde::{Deserialize, Serialize};

use super::entry::TokenEntry;
use super::store::{TokenStore, accessor_path, children_prefix, expire_path, parent_path, token_path};
use crate::vault::core::mounts::MountClass;
use crate::vault::core::open::{from_json, to_json};
use crate::vault::core::records;
use crate::vault::logical::LogicalError;

/// Records of a token's private storage that its revocation removes at once; the sweep removes the rest.
const CUBBYHOLE_AT_ONCE: usize = 16;
/// Children that one commit makes orphans; the sweep does the rest.
const ORPHANS_AT_ONCE: usize = 16;

/// What is left to do for a revoked token.
#[derive(Serialize, Deserialize)]
pub(super) struct RevokedRecord {
    pub(super) cubbyhole_id: String,
    /// Whether its children are orphans from its revocation on, although some still name it as their parent. Otherwise
    /// they have ended with it.
    #[serde(default)]
    pub(super) frees_children: bool,
}

impl TokenStore<'_> {
    /// Revokes a token. Its children end with it at once; the sweep removes their records.
    pub(in crate::vault::core) async fn revoke(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        let children = self.transaction.keys(&children_prefix(&entry.key), None, 1).await?;
        self.remove_records(entry, !children.is_empty(), false).await
    }

    /// Revokes a token and makes its children orphans, all at once; the sweep rewrites the records of those beyond the
    /// first few.
    pub(in crate::vault::core) async fn revoke_orphan(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        let are_free = self.free_children(&entry.key).await?;
        self.remove_records(entry, !are_free, true).await
    }

    /// Rewrites some children of the token under `parent` as orphans; true if none is left.
    pub(super) async fn free_children(&self, parent: &str) -> Result<bool, LogicalError> {
        let prefix = children_prefix(parent);
        let links = self.transaction.keys(&prefix, None, ORPHANS_AT_ONCE + 1).await?;
        for link in links.iter().take(ORPHANS_AT_ONCE) {
            self.transaction.delete(link)?;
            let child = self.entry(&link[prefix.len()..]).await?;
            if let Some(child) = child.filter(|child| child.parent.as_deref() == Some(parent)) {
                self.store(&orphan(&child))?;
            }
        }
        Ok(links.len() <= ORPHANS_AT_ONCE)
    }

    async fn remove_records(
        &self,
        entry: &TokenEntry,
        has_children: bool,
        frees_children: bool,
    ) -> Result<(), LogicalError> {
        self.transaction.delete(&token_path(&entry.key))?;
        self.transaction.delete(&accessor_path(self.open, &entry.accessor))?;
        if let Some(expires) = entry.expires {
            self.transaction.delete(&expire_path(expires, &entry.key))?;
        }
        if let Some(parent) = &entry.parent {
            self.transaction.delete(&parent_path(parent, &entry.key))?;
        }
        let emptied = self.empty_cubbyhole(&entry.cubbyhole_id).await?;
        if has_children || !emptied {
            let path = revoke_path(&entry.key);
            let record = RevokedRecord { cubbyhole_id: entry.cubbyhole_id.clone(), frees_children };
            self.transaction.put(&path, to_json(&path, &record)?)?;
        }
        Ok(())
    }

    /// Removes some of a token's private storage; true if nothing is left.
    pub(super) async fn empty_cubbyhole(&self, cubbyhole_id: &str) -> Result<bool, LogicalError> {
        let mount = self.mounts.get(MountClass::Secret, "cubbyhole/");
        let (Some(mount), false) = (mount, cubbyhole_id.is_empty()) else { return Ok(true) };
        let prefix = format!("{}{cubbyhole_id}/", mount.storage_prefix());
        let keys = self.transaction.keys(&prefix, None, CUBBYHOLE_AT_ONCE + 1).await?;
        for key in keys.iter().take(CUBBYHOLE_AT_ONCE) {
            self.transaction.delete(key)?;
        }
        Ok(keys.len() <= CUBBYHOLE_AT_ONCE)
    }

    /// Whether the revoked token under `key` has left its children as orphans.
    pub(super) async fn frees_children(&self, key: &str) -> Result<bool, LogicalError> {
        let path = revoke_path(key);
        let Some(record) = self.transaction.get(&path).await? else { return Ok(false) };
        Ok(from_json::<RevokedRecord>(&path, record.expose())?.frees_children)
    }
}

/// What is stored of a token without its parent.
pub(super) fn orphan(entry: &TokenEntry) -> TokenEntry {
    TokenEntry { parent: None, ..entry.clone() }
}

/// What is left to do for the revoked token under `key`.
pub(super) fn revoke_path(key: &str) -> String {
    format!("{}{key}", records::REVOKE_PREFIX)
}
