//! [`BarrierTransaction`]: one request's reads and writes, decrypted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::error::BarrierError;
use super::keyring::{Barrier, KEYRING_PATH, KeyRecords, ROOT_KEY_PATH};
use crate::base::secret::SecretBytes;
use crate::vault::physical::ledger::{Consistency, Ledger, Stamp, Transaction};

/// Above every character that a key may start a segment with, for jumping over a folder.
const LAST: char = '\u{10ffff}';

/// Reads of a transaction whose values are kept for asking once more: that it is there, then what it says.
const REMEMBERED: usize = 64;

/// One request's reads and writes through the barrier. Reads see its own writes; nothing is stored until
/// [`BarrierTransaction::finish`]'s result is submitted.
pub struct BarrierTransaction {
    ledger: Arc<dyn Ledger>,
    barrier: Arc<Barrier>,
    consistency: Consistency,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reads: Transaction,
    /// What the first reads found, as it is stored.
    found: HashMap<String, Option<Bytes>>,
    writes: BTreeMap<String, Write>,
}

#[derive(Clone)]
enum Write {
    Secret(SecretBytes),
    Plain(Bytes),
    Delete,
}

impl fmt::Debug for BarrierTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierTransaction").field("consistency", &self.consistency).finish_non_exhaustive()
    }
}

impl BarrierTransaction {
    /// An empty transaction on `ledger`.
    pub fn new(ledger: Arc<dyn Ledger>, barrier: Arc<Barrier>, consistency: Consistency) -> Self {
        Self { ledger, barrier, consistency, state: Mutex::default() }
    }

    /// The ledger that it runs on.
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// The barrier that it decrypts with.
    pub fn barrier(&self) -> &Arc<Barrier> {
        &self.barrier
    }

    /// Whether anything is to be written.
    pub fn has_writes(&self) -> bool {
        !self.lock().writes.is_empty()
    }

    /// Number of writes so far, for keeping within [`crate::vault::physical::Limits`].
    pub fn write_count(&self) -> usize {
        self.lock().writes.len()
    }

    /// The newest state that it has read.
    pub fn newest_read(&self) -> Option<Stamp> {
        self.lock().reads.newest_read()
    }

    /// Whether what it has read need not be of one state: commits came in between. Its values are then each true, but
    /// not together.
    pub fn is_torn(&self) -> bool {
        let state = self.lock();
        let mut stamps = state.reads.reads.values().chain(state.reads.lists.values());
        let first = stamps.next();
        stamps.any(|stamp| Some(stamp) != first)
    }

    /// Forgets all writes; what was read stays known.
    pub fn discard_writes(&self) {
        self.lock().writes.clear();
    }

    /// What this transaction itself has put at `key`, if it has.
    pub fn own_secret(&self, key: &str) -> Option<SecretBytes> {
        match self.lock().writes.get(key) {
            Some(Write::Secret(value)) => Some(value.clone()),
            Some(Write::Plain(_) | Write::Delete) | None => None,
        }
    }

    /// Reads and decrypts `key`.
    ///
    /// # Errors
    /// When the storage cannot answer or the record cannot be decrypted.
    pub async fn get(&self, key: &str) -> Result<Option<SecretBytes>, BarrierError> {
        match self.own_write(key) {
            Some(Write::Secret(value)) => return Ok(Some(value)),
            Some(Write::Delete) => return Ok(None),
            Some(Write::Plain(_)) | None => {}
        }
        match self.get_sealed(key).await? {
            Some(record) => self.decrypt(key, &record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether there is a record at `key`; it is not decrypted.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn contains(&self, key: &str) -> Result<bool, BarrierError> {
        let own = self.lock().writes.get(key).map(|write| !matches!(write, Write::Delete));
        match own {
            Some(is_there) => Ok(is_there),
            None => Ok(self.stored(key).await?.is_some()),
        }
    }

    /// Reads `key` without decrypting it: the record as stored, or a plain record.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn get_sealed(&self, key: &str) -> Result<Option<Bytes>, BarrierError> {
        match self.own_write(key) {
            Some(Write::Plain(value)) => return Ok(Some(value)),
            Some(Write::Delete) => return Ok(None),
            // Its ciphertext is made when the transaction is finished.
            Some(Write::Secret(value)) => return self.barrier.encrypt(key, value.expose()).map(Some),
            None => {}
        }
        self.stored(key).await
    }

    /// What is stored at `key`: the same whenever this transaction asks.
    async fn stored(&self, key: &str) -> Result<Option<Bytes>, BarrierError> {
        if let Some(found) = self.lock().found.get(key) {
            return Ok(found.clone());
        }
        let reading = self.ledger.get(key, self.consistency).await?;
        let mut state = self.lock();
        state.reads.note_read(key, reading.stamp);
        if state.found.len() < REMEMBERED {
            state.found.insert(key.to_owned(), reading.value.clone());
        }
        Ok(reading.value)
    }

    /// Decrypts a record that [`BarrierTransaction::get_sealed`] returned. A record of an unknown term makes the keyring
    /// be read again, as another node may have rotated it.
    ///
    /// # Errors
    /// When it cannot be decrypted.
    pub async fn decrypt(&self, key: &str, record: &[u8]) -> Result<SecretBytes, BarrierError> {
        match self.barrier.decrypt(key, record) {
            Err(BarrierError::UnknownTerm { .. }) => {
                self.refresh_keys().await?;
                self.barrier.decrypt(key, record)
            }
            result => result,
        }
    }

    /// Takes up the stored keys, if they are newer than those in memory. Committed state alone: a keyring that is waiting
    /// for its commit may never be stored, and what it had encrypted would be lost.
    ///
    /// # Errors
    /// When the storage cannot answer, or no known key opens them.
    pub async fn refresh_keys(&self) -> Result<(), BarrierError> {
        let committed = async |key| {
            let reading = self.ledger.get(key, Consistency::Committed).await?;
            Ok::<_, BarrierError>(reading.value.unwrap_or_default())
        };
        let keyring = committed(KEYRING_PATH).await?;
        self.barrier.refresh(&KeyRecords { keyring, root_key: committed(ROOT_KEY_PATH).await? })
    }

    /// The records of the keys as they are stored, to prepare a change of them; both join the read set, so that of two
    /// changes one is run again.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn key_records(&self) -> Result<KeyRecords, BarrierError> {
        let keyring = self.get_sealed(KEYRING_PATH).await?.unwrap_or_default();
        Ok(KeyRecords { keyring, root_key: self.get_sealed(ROOT_KEY_PATH).await?.unwrap_or_default() })
    }

    /// Stores `value` under `key`, encrypted.
    ///
    /// # Errors
    /// [`BarrierError::NotWritable`] on a standby.
    pub fn put(&self, key: &str, value: SecretBytes) -> Result<(), BarrierError> {
        self.write(key, Write::Secret(value))
    }

    /// Stores a record as it is; for what must be readable while sealed, and nothing else.
    ///
    /// # Errors
    /// [`BarrierError::NotWritable`] on a standby.
    pub fn put_plain(&self, key: &str, value: Bytes) -> Result<(), BarrierError> {
        self.write(key, Write::Plain(value))
    }

    /// Removes `key`.
    ///
    /// # Errors
    /// [`BarrierError::NotWritable`] on a standby.
    pub fn delete(&self, key: &str) -> Result<(), BarrierError> {
        self.write(key, Write::Delete)
    }

    /// Keys under `prefix` greater than `after`, at most `limit`, own writes included.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BarrierError> {
        let own: Vec<(String, bool)> = {
            let state = self.lock();
            let written =
                state.writes.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            written.map(|(key, write)| (key.clone(), !matches!(write, Write::Delete))).collect()
        };
        let removed = own.iter().filter(|(_, kept)| !kept).count();
        let stored = self.ledger.list(prefix, after, limit.saturating_add(removed), self.consistency).await?;
        self.lock().reads.note_list(prefix, stored.stamp);
        let mut keys: std::collections::BTreeSet<String> = stored.keys.into_iter().collect();
        // Own keys beyond the last stored one of a cut listing belong to a later page.
        let last = if stored.more { keys.last().cloned() } else { None };
        for (key, kept) in own {
            let in_page = after.is_none_or(|after| key.as_str() > after)
                && last.as_ref().is_none_or(|last| key <= *last);
            if !kept {
                keys.remove(&key);
            } else if in_page {
                keys.insert(key);
            }
        }
        Ok(keys.into_iter().take(limit).collect())
    }

    /// Names one level below `prefix` greater than `after`, folders with a trailing `/`, at most `limit`.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BarrierError> {
        let mut names: Vec<String> = Vec::new();
        let mut cursor = after.map(|after| past(prefix, after));
        while names.len() < limit {
            let page = limit.saturating_sub(names.len()).clamp(16, 512);
            let keys = self.keys(prefix, cursor.as_deref(), page).await?;
            let Some(last) = keys.last() else { break };
            let mut next = last.clone();
            for key in &keys {
                let rest = &key[prefix.len()..];
                let name = rest.split_inclusive('/').next().unwrap_or(rest);
                if names.last().is_none_or(|known| known != name) && names.len() < limit {
                    names.push(name.to_owned());
                }
                if name.ends_with('/') && key == last {
                    // The page ended inside a folder: the rest of it is skipped without being read.
                    next = past(prefix, name).max(next);
                }
            }
            cursor = Some(next);
            if keys.len() < page {
                break;
            }
        }
        Ok(names)
    }

    /// What was read and is to be written, encrypted, for the ledger.
    ///
    /// # Errors
    /// [`BarrierError::Cipher`] for absurdly large records.
    pub fn finish(self) -> Result<Transaction, BarrierError> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = state.reads;
        for (key, write) in state.writes {
            let value = match write {
                Write::Secret(value) => Some(self.barrier.encrypt(&key, value.expose())?),
                Write::Plain(value) => Some(value),
                Write::Delete => None,
            };
            transaction.writes.insert(key, value);
        }
        Ok(transaction)
    }

    fn own_write(&self, key: &str) -> Option<Write> {
        self.lock().writes.get(key).cloned()
    }

    fn write(&self, key: &str, write: Write) -> Result<(), BarrierError> {
        if !self.ledger.is_writable() {
            return Err(BarrierError::NotWritable);
        }
        self.lock().writes.insert(key.to_owned(), write);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last key that belongs to `name` below `prefix`.
fn past(prefix: &str, name: &str) -> String {
    let mut key = format!("{prefix}{name}");
    if name.ends_with('/') {
        key.push(LAST);
    }
    key
}
