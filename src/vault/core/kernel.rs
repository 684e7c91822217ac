//! [`Kernel`]: what the system's own engines may do, within one request's transaction.

use std::sync::{Arc, Mutex, PoisonError};

use super::call::Effect;
use super::mounts::{self, MountClass, MountEntry, MountSpec, MountTable, Mounted, Router};
use super::open::{self, Open, to_json};
use super::parts::Core;
use super::policy;
use super::records;
use super::token::{IssuedToken, NewToken, TokenEntry, TokenStore};
use crate::base::clock::UnixMillis;
use crate::base::random::Random;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::barrier::{BarrierTransaction, KEYRING_PATH, KeyStatus, Keys, PrefixView};
use crate::vault::logical::{LogicalError, SystemView};

/// What the system's own engines may do, within one request's transaction: everything takes effect when the request's
/// commit is durable, or not at all.
pub struct Kernel<'a> {
    pub(super) core: &'a Core,
    pub(super) open: &'a Open,
    pub(super) transaction: &'a BarrierTransaction,
    pub(super) router: Arc<Router>,
    pub(super) mounted: Option<Arc<Mounted>>,
    pub(super) caller: Option<Arc<TokenEntry>>,
    pub(super) request_path: String,
    pub(super) effect: Mutex<Option<Effect>>,
    /// Keys to install once the request is committed.
    pub(super) keys: Mutex<Option<Keys>>,
}

impl std::fmt::Debug for Kernel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("request_path", &self.request_path).finish_non_exhaustive()
    }
}

impl Kernel<'_> {
    /// The kernel.
    pub fn core(&self) -> &Core {
        self.core
    }

    /// The storage of the engine's own mount.
    pub fn storage(&self) -> PrefixView<'_> {
        let prefix =
            self.mounted.as_ref().map_or_else(|| "core/nowhere/".to_owned(), |m| m.entry.storage_prefix());
        PrefixView::new(self.transaction, prefix)
    }

    /// Cluster time.
    pub fn time(&self) -> UnixMillis {
        self.transaction.ledger().time()
    }

    /// Randomness for keys and identifiers.
    pub fn random(&self) -> &dyn Random {
        self.core.parts().random.as_ref()
    }

    /// The caller's token; `None` for unauthenticated requests.
    pub fn caller(&self) -> Option<&TokenEntry> {
        self.caller.as_deref()
    }

    /// The whole request path, such as `auth/token/create`.
    pub fn request_path(&self) -> &str {
        &self.request_path
    }

    /// Asks the node for something once the answer has been sent.
    pub fn request_effect(&self, effect: Effect) {
        *self.effect.lock().unwrap_or_else(PoisonError::into_inner) = Some(effect);
    }

    // Tokens.

    pub(super) fn tokens<'b>(&'b self, table: &'b MountTable) -> TokenStore<'b> {
        TokenStore {
            open: self.open,
            transaction: self.transaction,
            mounts: table,
            random: self.core.parts().random.as_ref(),
            now: self.time(),
        }
    }

    /// Makes a token on behalf of this mount. Which policies the caller may hand on is the engine's decision.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for contradictory wishes.
    pub async fn create_token(&self, spec: NewToken) -> Result<IssuedToken, LogicalError> {
        let mounted = self.mounted.as_ref().ok_or(LogicalError::UnsupportedPath)?;
        self.tokens(&self.router.table).create(spec, &mounted.entry, &self.request_path).await
    }

    /// The entry of a token, if it is valid. The caller's own token is valid also during its last use.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn find_token(&self, token: &SecretString) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        let own = self.caller.as_ref().is_some_and(|caller| caller.key == self.open.salted(token.expose()));
        self.tokens(&self.router.table).by_token(token, own).await
    }

    /// The entry of the token with this accessor, if it is valid.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn find_token_by_accessor(
        &self,
        accessor: &str,
    ) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        self.tokens(&self.router.table).by_accessor(accessor).await
    }

    /// The entry of the token with this key (see [`TokenEntry::key`]), if it is valid.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn find_token_by_key(&self, key: &str) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        self.tokens(&self.router.table).valid(key, false).await
    }

    /// Accessors of stored tokens, at most `limit`.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn accessors(&self, limit: usize) -> Result<Vec<String>, LogicalError> {
        self.tokens(&self.router.table).accessors(limit).await
    }

    /// Renews a token; zero asks for as long as at its creation. Gives the new entry and warnings.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`]: `lease is not renewable`, or past its maximum.
    pub async fn renew_token(
        &self,
        entry: &TokenEntry,
        increment_seconds: u64,
    ) -> Result<(TokenEntry, Vec<String>), LogicalError> {
        self.tokens(&self.router.table).renew(entry, increment_seconds).await
    }

    /// Revokes a token and, with it, its children.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn revoke_token(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        self.tokens(&self.router.table).revoke(entry).await
    }

    /// Revokes a token and makes its children orphans, however many they are.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn revoke_orphan(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        self.tokens(&self.router.table).revoke_orphan(entry).await
    }

    // Mounts.

    /// All mounts, this request's changes not included.
    pub fn mounts(&self) -> &MountTable {
        &self.router.table
    }

    /// The mount that serves `path` (a whole request path), and the path inside it.
    pub fn route<'p>(&self, path: &'p str) -> Option<(&MountEntry, &'p str)> {
        self.router.route(path).map(|(mounted, rest)| (&mounted.entry, rest))
    }

    /// Adds a mount.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if the path is in use or the kind unknown, [`LogicalError::Denied`] on reserved paths.
    pub async fn mount(
        &self,
        class: MountClass,
        path: &str,
        spec: MountSpec,
    ) -> Result<MountEntry, LogicalError> {
        let table = self.current_mounts().await?;
        let (next, entry) = mounts::add(&table, self.random(), class, path, spec)?;
        let parts = self.core.parts();
        mounts::engine_for(&entry, &parts.kernel_engines, &parts.engines, &parts.auth_methods)?;
        self.store_mounts(&next)?;
        Ok(entry)
    }

    /// Removes a mount: nothing is reachable and its tokens end at once; the sweep removes its records. Removing an absent
    /// mount is no error.
    ///
    /// # Errors
    /// [`LogicalError::Denied`] on reserved paths.
    pub async fn unmount(&self, class: MountClass, path: &str) -> Result<Option<MountEntry>, LogicalError> {
        let table = self.current_mounts().await?;
        let Some((next, entry)) = mounts::remove(&table, class, path)? else { return Ok(None) };
        self.store_mounts(&next)?;
        let intent = format!("{}{}", records::UNMOUNT_PREFIX, entry.uuid);
        self.transaction.put(&intent, SecretBytes::new(entry.storage_prefix().into_bytes()))?;
        Ok(Some(entry))
    }

    /// Moves a mount to another path of its class.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if there is nothing to move or the target is in use.
    pub async fn remount(&self, class: MountClass, from: &str, to: &str) -> Result<(), LogicalError> {
        let next = mounts::rename(&self.current_mounts().await?, class, from, to)?;
        self.store_mounts(&next)
    }

    /// Changes a mount's settings, description or options. False if there is no such mount.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if the engine refuses the options.
    pub async fn tune(
        &self,
        class: MountClass,
        path: &str,
        change: impl FnOnce(&mut MountEntry) + Send,
    ) -> Result<bool, LogicalError> {
        let mut table = self.current_mounts().await?;
        let Some(at) = mounts::find(&table, class, path) else { return Ok(false) };
        let mut entry = table.entries[at].clone();
        change(&mut entry);
        let parts = self.core.parts();
        mounts::engine_for(&entry, &parts.kernel_engines, &parts.engines, &parts.auth_methods)?;
        // Identity and place are not for tuning.
        let old = &table.entries[at];
        entry = MountEntry {
            class: old.class,
            path: old.path.clone(),
            kind: old.kind.clone(),
            uuid: old.uuid.clone(),
            accessor: old.accessor.clone(),
            ..entry
        };
        table.entries[at] = entry;
        self.store_mounts(&table)?;
        Ok(true)
    }

    async fn current_mounts(&self) -> Result<MountTable, LogicalError> {
        let router = open::router(self.transaction, self.open, self.core.parts()).await?;
        Ok(router.table.clone())
    }

    fn store_mounts(&self, table: &MountTable) -> Result<(), LogicalError> {
        Ok(self.transaction.put(records::MOUNTS, to_json(records::MOUNTS, table)?)?)
    }

    // Policies.

    /// Names of all policies, `root` included, sorted.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn policies(&self) -> Result<Vec<String>, LogicalError> {
        policy::names(self.transaction).await
    }

    /// The text of a policy; `None` if there is none of this name.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn policy(&self, name: &str) -> Result<Option<String>, LogicalError> {
        policy::text(self.transaction, self.open, name).await
    }

    /// Stores a policy after parsing it.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] with the parser's message, or for built-in names.
    pub fn put_policy(&self, name: &str, text: &str) -> Result<(), LogicalError> {
        policy::put(self.transaction, name, text)
    }

    /// Removes a policy; removing an absent one is no error.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for `root` and `default`.
    pub fn delete_policy(&self, name: &str) -> Result<(), LogicalError> {
        policy::delete(self.transaction, name)
    }

    /// Capabilities of a token on `path`, in Vault's order: `["root"]`, `["deny"]`, or names.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn capabilities(
        &self,
        entry: &TokenEntry,
        path: &str,
    ) -> Result<Vec<&'static str>, LogicalError> {
        Ok(policy::acl(self.transaction, self.open, &entry.policies).await?.capabilities(path))
    }

    /// Whether a token may see anything at or below `prefix` (for listings of mounts).
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn has_access_below(&self, entry: &TokenEntry, prefix: &str) -> Result<bool, LogicalError> {
        Ok(policy::acl(self.transaction, self.open, &entry.policies).await?.has_access_below(prefix))
    }

    /// The rules that apply to a token: exact paths, then globs as they are written; each with its capabilities.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn resultant_acl(
        &self,
        entry: &TokenEntry,
    ) -> Result<(policy::ShownRules, policy::ShownRules), LogicalError> {
        Ok(policy::acl(self.transaction, self.open, &entry.policies).await?.rules())
    }

    // Keys and the cluster.

    /// The active encryption key's state.
    pub fn key_status(&self) -> KeyStatus {
        self.open.barrier.status()
    }

    /// Rotates the keyring: new records are encrypted by a new key once the request is committed.
    ///
    /// # Errors
    /// When this node cannot write.
    pub async fn rotate(&self) -> Result<(), LogicalError> {
        let stored = self.transaction.key_records().await?;
        let (record, keys) = self.open.barrier.rotate(&stored, self.time())?;
        self.transaction.put_plain(KEYRING_PATH, record)?;
        self.install_later(keys);
        Ok(())
    }

    /// Uses `keys` once the request is committed.
    pub(super) fn install_later(&self, keys: Keys) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// The cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.open.cluster.name
    }

    /// The cluster's UUID.
    pub fn cluster_id(&self) -> &str {
        &self.open.cluster.id
    }
}

impl SystemView for Kernel<'_> {
    fn time(&self) -> UnixMillis {
        Kernel::time(self)
    }

    fn default_lease_ttl_seconds(&self) -> u64 {
        effective(self.mounted.as_ref().map_or(0, |m| m.entry.config.default_lease_ttl_seconds))
    }

    fn max_lease_ttl_seconds(&self) -> u64 {
        effective(self.mounted.as_ref().map_or(0, |m| m.entry.config.max_lease_ttl_seconds))
    }

    fn random(&self) -> &dyn Random {
        Kernel::random(self)
    }
}

fn effective(seconds: u64) -> u64 {
    if seconds == 0 { super::token::MAX_TTL_SECONDS } else { seconds }
}
