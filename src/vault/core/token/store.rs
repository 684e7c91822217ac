//! The token store, within one transaction.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{IssuedToken, NewToken, TokenEntry};
use super::revoke::{orphan, revoke_path};
use super::ttl::{TtlError, TtlRequest, end, ttl};
use crate::base::clock::UnixMillis;
use crate::base::id;
use crate::base::random::Random;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::barrier::BarrierTransaction;
use crate::vault::core::mounts::{MountEntry, MountTable};
use crate::vault::core::open::{Open, from_json, read_cached, to_json};
use crate::vault::core::records;
use crate::vault::logical::{LogicalError, TokenType};

/// Deepest tree of tokens: every use of a token looks at its ancestors.
const MAX_DEPTH: u32 = 32;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;
/// How long after its last use began a token is swept, in seconds: longer than a request may run.
const LAST_USE_GRACE_SECONDS: u64 = 120;

/// What the accessor index holds.
#[derive(Serialize, Deserialize)]
struct AccessorRecord {
    accessor: String,
    key: String,
}

/// Where and when tokens are made: limits of the mount, and time.
pub(in crate::vault::core) struct TokenStore<'a> {
    pub(in crate::vault::core) open: &'a Open,
    pub(in crate::vault::core) transaction: &'a BarrierTransaction,
    pub(in crate::vault::core) mounts: &'a MountTable,
    pub(in crate::vault::core) random: &'a dyn Random,
    pub(in crate::vault::core) now: UnixMillis,
}

/// What tokens are made with.
pub(in crate::vault::core) struct Maker<'a> {
    pub(in crate::vault::core) open: &'a Open,
    pub(in crate::vault::core) random: &'a dyn Random,
    pub(in crate::vault::core) now: UnixMillis,
}

/// Records to store.
pub(in crate::vault::core) type Records = Vec<(String, SecretBytes)>;

impl Maker<'_> {
    /// Makes a token on behalf of `mount`: the token, and the records that store it.
    pub(in crate::vault::core) fn make(
        &self,
        spec: NewToken,
        mount: &MountEntry,
        path: &str,
    ) -> Result<(IssuedToken, Records), LogicalError> {
        if spec.token_type == TokenType::Batch {
            return Err(LogicalError::Invalid("batch tokens are not supported by this version".to_owned()));
        }
        let depth = spec.parent.as_ref().map_or(0, |parent| parent.depth + 1);
        if depth > MAX_DEPTH {
            return Err(LogicalError::Invalid(format!(
                "tokens cannot be nested deeper than {MAX_DEPTH}; make an orphan"
            )));
        }
        let policies = clean_policies(&spec.policies);
        if policies.iter().any(|policy| policy == "root") && policies.len() > 1 {
            return Err(LogicalError::Invalid("root tokens may not have other policies".to_owned()));
        }
        let (ttl_seconds, mut warnings) = first_ttl(&spec, &policies, mount)?;
        warnings.dedup();
        let token = match &spec.id {
            Some(id) => chosen_token(id)?,
            None => SecretString::new(format!("hvs.{}", id::base62(self.random, 24))),
        };
        let num_uses = i64::try_from(spec.num_uses)
            .map_err(|_| LogicalError::Invalid("number of uses is too large".to_owned()))?;
        let entry = TokenEntry {
            key: self.open.salted(token.expose()),
            accessor: id::base62(self.random, 24),
            parent: spec.parent.as_ref().map(|parent| parent.key.clone()),
            depth,
            policies,
            path: if spec.path.is_empty() { path.to_owned() } else { spec.path },
            mount_uuid: mount.uuid.clone(),
            metadata: spec.metadata,
            display_name: spec.display_name,
            created: self.now,
            creation_ttl_seconds: ttl_seconds,
            expires: (ttl_seconds > 0).then(|| end(self.now, ttl_seconds)),
            last_renewal: None,
            explicit_max_ttl_seconds: spec.explicit_max_ttl_seconds,
            max_ttl_seconds: spec.max_ttl_seconds,
            period_seconds: spec.period_seconds,
            num_uses,
            renewable: spec.renewable && ttl_seconds > 0,
            token_type: spec.token_type,
            entity_id: spec.entity_id,
            cubbyhole_id: id::base62(self.random, 24),
            role: spec.role,
            bound_cidrs: spec.bound_cidrs,
        };
        let records = self.records(&entry)?;
        Ok((IssuedToken { token, entry, ttl_seconds, warnings }, records))
    }

    fn records(&self, entry: &TokenEntry) -> Result<Records, LogicalError> {
        let empty = || SecretBytes::new(Vec::new());
        let path = token_path(&entry.key);
        let mut records = vec![(path.clone(), to_json(&path, entry)?)];
        let path = accessor_path(self.open, &entry.accessor);
        let record = AccessorRecord { accessor: entry.accessor.clone(), key: entry.key.clone() };
        records.push((path.clone(), to_json(&path, &record)?));
        if let Some(parent) = &entry.parent {
            records.push((parent_path(parent, &entry.key), empty()));
        }
        if let Some(expires) = entry.expires {
            records.push((expire_path(expires, &entry.key), empty()));
        }
        Ok(records)
    }
}

/// The first TTL of a token, with warnings; zero for a root token without end.
fn first_ttl(
    spec: &NewToken,
    policies: &[String],
    mount: &MountEntry,
) -> Result<(u64, Vec<String>), LogicalError> {
    let is_root = policies.iter().any(|policy| policy == "root");
    let parent_ends = spec.parent.as_ref().is_some_and(|parent| parent.expires.is_some());
    let unlimited = spec.ttl_seconds == 0 && spec.period_seconds == 0 && spec.explicit_max_ttl_seconds == 0;
    if is_root && unlimited {
        if parent_ends {
            return Err(LogicalError::Invalid(
                "expiring root tokens cannot create non-expiring root tokens".to_owned(),
            ));
        }
        return Ok((0, Vec::new()));
    }
    ttl(TtlRequest {
        backend_ttl: spec.ttl_seconds,
        period: spec.period_seconds,
        backend_max: spec.max_ttl_seconds,
        explicit_max: spec.explicit_max_ttl_seconds,
        mount_default: mount.config.default_lease_ttl_seconds,
        mount_max: mount.config.max_lease_ttl_seconds,
        ..TtlRequest::default()
    })
    .map_err(|error| LogicalError::Invalid(error.to_string()))
}

impl TokenStore<'_> {
    /// Makes and stores a token on behalf of `mount`.
    pub(in crate::vault::core) async fn create(
        &self,
        spec: NewToken,
        mount: &MountEntry,
        path: &str,
    ) -> Result<IssuedToken, LogicalError> {
        let maker = Maker { open: self.open, random: self.random, now: self.now };
        let is_chosen = spec.id.is_some();
        let (issued, records) = maker.make(spec, mount, path)?;
        let key = &issued.entry.key;
        // Children of a revoked token of this name must not become those of the new one.
        let is_ending = is_chosen && self.transaction.contains(&revoke_path(key)).await?;
        if is_ending || self.entry(key).await?.is_some() {
            return Err(LogicalError::Invalid("cannot create a token with a duplicate ID".to_owned()));
        }
        for (path, record) in records {
            self.transaction.put(&path, record)?;
        }
        Ok(issued)
    }

    pub(super) fn store(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        let path = token_path(&entry.key);
        Ok(self.transaction.put(&path, to_json(&path, entry)?)?)
    }

    /// The stored entry, valid or not.
    pub(in crate::vault::core) async fn entry(
        &self,
        key: &str,
    ) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        let path = token_path(key);
        read_cached(self.transaction, &self.open.tokens, &path, |bytes| from_json(&path, bytes)).await
    }

    /// The entry of a token as a client sends it, if it is valid. A token whose last use has begun is valid only where
    /// `in_last_use` says that this request is that use.
    pub(in crate::vault::core) async fn by_token(
        &self,
        token: &SecretString,
        in_last_use: bool,
    ) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        if token.is_empty() || token.expose().len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        self.valid(&self.open.salted(token.expose()), in_last_use).await
    }

    /// The entry under `key`, if it and all its ancestors are valid: so the revocation of a parent ends the whole tree at
    /// once, however large it is. A token whose parent was revoked alone is given as the orphan that it will be stored as.
    pub(in crate::vault::core) async fn valid(
        &self,
        key: &str,
        in_last_use: bool,
    ) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        let Some(entry) = self.entry(key).await? else { return Ok(None) };
        if entry.num_uses < 0 && !in_last_use {
            return Ok(None);
        }
        let mut current = Arc::clone(&entry);
        for _ in 0..=MAX_DEPTH {
            let expired = current.expires.is_some_and(|end| end <= self.now);
            if expired || self.mounts.by_uuid(&current.mount_uuid).is_none() {
                return Ok(None);
            }
            let Some(parent) = &current.parent else { return Ok(Some(entry)) };
            match self.entry(parent).await? {
                Some(parent) => current = parent,
                None if !self.frees_children(parent).await? => return Ok(None),
                None if current.key == entry.key => return Ok(Some(Arc::new(orphan(&entry)))),
                None => return Ok(Some(entry)),
            }
        }
        Ok(None)
    }

    /// The valid token with this accessor.
    pub(in crate::vault::core) async fn by_accessor(
        &self,
        accessor: &str,
    ) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
        let path = accessor_path(self.open, accessor);
        let Some(record) = self.transaction.get(&path).await? else { return Ok(None) };
        let record: AccessorRecord = from_json(&path, record.expose())?;
        self.valid(&record.key, false).await
    }

    /// Accessors of stored tokens, at most `limit`.
    pub(in crate::vault::core) async fn accessors(&self, limit: usize) -> Result<Vec<String>, LogicalError> {
        let mut found = Vec::new();
        for path in self.transaction.keys(records::ACCESSOR_PREFIX, None, limit).await? {
            if let Some(record) = self.transaction.get(&path).await? {
                found.push(from_json::<AccessorRecord>(&path, record.expose())?.accessor);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Renews a token by `increment_seconds` (zero: as at creation).
    pub(in crate::vault::core) async fn renew(
        &self,
        entry: &TokenEntry,
        increment_seconds: u64,
    ) -> Result<(TokenEntry, Vec<String>), LogicalError> {
        let Some(old_end) = entry.expires.filter(|_| entry.renewable) else {
            return Err(LogicalError::Invalid("lease is not renewable".to_owned()));
        };
        let mount = self.mounts.by_uuid(&entry.mount_uuid);
        let config = mount.map(|mount| mount.config.clone()).unwrap_or_default();
        let (ttl_seconds, warnings) = ttl(TtlRequest {
            increment: increment_seconds,
            backend_ttl: entry.creation_ttl_seconds,
            period: entry.period_seconds,
            backend_max: entry.max_ttl_seconds,
            explicit_max: entry.explicit_max_ttl_seconds,
            mount_default: config.default_lease_ttl_seconds,
            mount_max: config.max_lease_ttl_seconds,
            age: self.now.0.saturating_sub(entry.created.0) / 1000,
        })
        .map_err(|error: TtlError| LogicalError::Invalid(error.to_string()))?;
        let expires = end(self.now, ttl_seconds);
        let renewed = TokenEntry { expires: Some(expires), last_renewal: Some(self.now), ..entry.clone() };
        self.transaction.delete(&expire_path(old_end, &entry.key))?;
        self.transaction.put(&expire_path(expires, &entry.key), SecretBytes::new(Vec::new()))?;
        self.store(&renewed)?;
        Ok((renewed, warnings))
    }

    /// Takes one use; the last one marks the token and has it swept soon, whatever becomes of the request.
    pub(in crate::vault::core) fn take_use(&self, entry: &TokenEntry) -> Result<(), LogicalError> {
        let mut next = entry.clone();
        if entry.num_uses > 1 {
            next.num_uses -= 1;
        } else {
            next.num_uses = -1;
            let grace = end(self.now, LAST_USE_GRACE_SECONDS);
            let expires = entry.expires.map_or(grace, |expires| expires.min(grace));
            if let Some(old) = entry.expires {
                self.transaction.delete(&expire_path(old, &entry.key))?;
            }
            self.transaction.put(&expire_path(expires, &entry.key), SecretBytes::new(Vec::new()))?;
            next.expires = Some(expires);
        }
        self.store(&next)
    }
}

pub(super) fn accessor_path(open: &Open, accessor: &str) -> String {
    format!("{}{}", records::ACCESSOR_PREFIX, open.salted(accessor))
}

/// A token that the caller chose.
fn chosen_token(id: &SecretString) -> Result<SecretString, LogicalError> {
    let text = id.expose();
    let bad = text.is_empty()
        || text.len() > MAX_TOKEN_BYTES
        || text.contains('.')
        || text.chars().any(|c| c.is_control() || c.is_whitespace());
    if bad {
        return Err(LogicalError::Invalid("custom token ID cannot contain '.' or white space".to_owned()));
    }
    if text.starts_with("hvs") || text.starts_with("hvb") || text.starts_with("hvr") {
        return Err(LogicalError::Invalid("custom token ID cannot have a reserved prefix".to_owned()));
    }
    Ok(id.clone())
}

/// Policy names trimmed, in lower case, sorted, once each.
fn clean_policies(policies: &[String]) -> Vec<String> {
    let mut policies: Vec<String> = policies
        .iter()
        .map(|policy| policy.trim().to_lowercase())
        .filter(|policy| !policy.is_empty())
        .collect();
    policies.sort();
    policies.dedup();
    policies
}

pub(super) fn token_path(key: &str) -> String {
    format!("{}{key}", records::TOKEN_PREFIX)
}

pub(super) fn children_prefix(parent: &str) -> String {
    format!("{}{parent}/", records::PARENT_PREFIX)
}

pub(super) fn parent_path(parent: &str, child: &str) -> String {
    format!("{}{child}", children_prefix(parent))
}

/// The index record of something that ends at `time`.
pub(super) fn expire_path(time: UnixMillis, key: &str) -> String {
    format!("{}{:020}/{key}", records::EXPIRE_PREFIX, time.0)
}
