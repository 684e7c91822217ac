//! The keyring: one data key per term, the newest of which encrypts; and the barrier, which holds it in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry;
use super::error::BarrierError;
use super::stored::Stored;
use crate::base::clock::UnixMillis;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::{AeadError, AeadKey, random_key};

/// The record that holds the keyring, encrypted by the root key.
pub const KEYRING_PATH: &str = "core/keyring";
/// The record that holds the root key, encrypted by the active term, so that standbys follow a change of it.
pub const ROOT_KEY_PATH: &str = "core/root-key";

/// The pseudo-term of records encrypted by the root key itself.
const ROOT_TERM: u32 = 0;

/// Data keys by term.
#[derive(Clone)]
pub struct Keyring {
    /// Grows with every stored change, of the root key as well, which adds no term.
    generation: u64,
    terms: BTreeMap<u32, Arc<DataKey>>,
}

struct DataKey {
    key: AeadKey,
    raw: SecretBytes,
    installed: UnixMillis,
}

/// `sys/key-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    /// The active term.
    pub term: u32,
    /// When it was installed.
    pub installed: UnixMillis,
    /// Records that this process encrypted under it.
    pub encryptions: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredKeyring {
    #[serde(default)]
    generation: u64,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    term: u32,
    key: Stored,
    installed: UnixMillis,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("terms", &self.terms.keys()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// A keyring with one new key.
    ///
    /// # Errors
    /// [`AeadError::KeyLength`], never in practice.
    pub fn generate(random: &dyn Random, now: UnixMillis) -> Result<Self, AeadError> {
        Self { generation: 0, terms: BTreeMap::new() }.rotated(random, now)
    }

    /// The same keyring with a new active key.
    ///
    /// # Errors
    /// [`AeadError::KeyLength`], never in practice.
    pub fn rotated(&self, random: &dyn Random, now: UnixMillis) -> Result<Self, AeadError> {
        let mut next = Self { generation: self.generation + 1, terms: self.terms.clone() };
        let raw = random_key(random);
        let key = AeadKey::new(raw.expose())?;
        next.terms.insert(self.active_term() + 1, Arc::new(DataKey { key, raw, installed: now }));
        Ok(next)
    }

    /// Which of two keyrings of one vault is the newer one. Both numbers only grow; a server of before the generation
    /// counts the terms alone.
    fn order(&self) -> (u32, u64) {
        (self.active_term(), self.generation)
    }

    /// The term that encrypts; zero for an empty keyring, which is never stored.
    pub fn active_term(&self) -> u32 {
        self.terms.last_key_value().map_or(0, |(term, _)| *term)
    }

    fn encode(&self) -> Result<SecretBytes, serde_json::Error> {
        let keys = self
            .terms
            .iter()
            .map(|(term, key)| StoredKey {
                term: *term,
                key: Stored(key.raw.clone()),
                installed: key.installed,
            })
            .collect();
        let stored = StoredKeyring { generation: self.generation, keys };
        serde_json::to_vec(&stored).map(SecretBytes::new)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: StoredKeyring = serde_json::from_slice(bytes).ok()?;
        let mut terms = BTreeMap::new();
        for stored in stored.keys {
            let Stored(raw) = stored.key;
            let key = AeadKey::new(raw.expose()).ok()?;
            terms.insert(stored.term, Arc::new(DataKey { key, raw, installed: stored.installed }));
        }
        let is_whole = !terms.is_empty() && !terms.contains_key(&ROOT_TERM);
        is_whole.then_some(Self { generation: stored.generation, terms })
    }
}

/// The root key, and the keyring that it encrypts.
pub struct Keys {
    root: SecretBytes,
    ring: Keyring,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("ring", &self.ring).finish_non_exhaustive()
    }
}

/// The records of the keys as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecords {
    /// That of [`KEYRING_PATH`].
    pub keyring: Bytes,
    /// That of [`ROOT_KEY_PATH`].
    pub root_key: Bytes,
}

/// A new root key: what is to be stored in one commit, and the keys to install once it is committed.
#[derive(Debug)]
pub struct NewRoot {
    /// The records to store.
    pub records: KeyRecords,
    /// The root key itself, for the seal to wrap.
    pub root: SecretBytes,
    /// For [`Barrier::install`].
    pub keys: Keys,
}

/// The barrier of an unsealed vault. Dropping the last handle wipes its keys.
pub struct Barrier {
    cluster: String,
    random: Arc<dyn Random>,
    keys: ArcSwap<Keys>,
    encryptions: AtomicU64,
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Barrier {
    /// A barrier for a new vault.
    pub fn new(cluster: String, random: Arc<dyn Random>, root: SecretBytes, ring: Keyring) -> Self {
        Self {
            cluster,
            random,
            keys: ArcSwap::from_pointee(Keys { root, ring }),
            encryptions: AtomicU64::new(0),
        }
    }

    /// Opens the barrier: decrypts the stored keyring by the root key.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`] if the root key is not the right one.
    pub fn open(
        cluster: String,
        random: Arc<dyn Random>,
        root: SecretBytes,
        keyring_record: &[u8],
    ) -> Result<Self, BarrierError> {
        let ring = open_ring(&cluster, &root, keyring_record)?;
        Ok(Self::new(cluster, random, root, ring))
    }

    /// The cluster's UUID.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Encrypts `plain` for `path` under the active term.
    ///
    /// # Errors
    /// [`BarrierError::Cipher`] for absurdly large records.
    pub fn encrypt(&self, path: &str, plain: &[u8]) -> Result<Bytes, BarrierError> {
        let keys = self.keys.load();
        let Some((term, key)) = keys.ring.terms.last_key_value() else {
            return Err(BarrierError::UnknownTerm { path: path.to_owned(), term: ROOT_TERM });
        };
        self.encryptions.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(entry::seal(&key.key, self.random.as_ref(), *term, &self.cluster, path, plain)?))
    }

    /// Decrypts the record of `path`.
    ///
    /// # Errors
    /// [`BarrierError::UnknownTerm`], [`BarrierError::Damaged`].
    pub fn decrypt(&self, path: &str, record: &[u8]) -> Result<SecretBytes, BarrierError> {
        let damaged =
            |reason: &str| BarrierError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        let term = entry::term(record).ok_or_else(|| damaged("its layout is unknown"))?;
        let keys = self.keys.load();
        let key = keys
            .ring
            .terms
            .get(&term)
            .ok_or_else(|| BarrierError::UnknownTerm { path: path.to_owned(), term })?;
        entry::open(&key.key, &self.cluster, path, record).map_err(|_| damaged("it was altered or moved"))
    }

    /// The records that store this barrier's keys.
    ///
    /// # Errors
    /// [`BarrierError::Cipher`], never in practice.
    pub fn key_records(&self) -> Result<KeyRecords, BarrierError> {
        let keys = self.keys.load();
        Ok(KeyRecords {
            keyring: self.seal_ring(&keys.root, &keys.ring)?,
            root_key: self.encrypt(ROOT_KEY_PATH, keys.root.expose())?,
        })
    }

    /// Prepares a new active key beside the `stored` ones, as the same transaction has read them: the record to commit at
    /// [`KEYRING_PATH`], and the keys to [install](Barrier::install) once it is committed. Never from memory, which may lack
    /// what another node or a waiting request has changed.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`], [`BarrierError::UnknownTerm`] if no key that is known here opens them.
    pub fn rotate(&self, stored: &KeyRecords, now: UnixMillis) -> Result<(Bytes, Keys), BarrierError> {
        let Keys { root, ring } = self.read(stored)?;
        let ring = ring.rotated(self.random.as_ref(), now)?;
        Ok((self.seal_ring(&root, &ring)?, Keys { root, ring }))
    }

    /// Prepares a new root key for the `stored` keyring. The record for standbys is encrypted by the key that is in use
    /// here now, which was committed long ago: whoever follows has it.
    ///
    /// # Errors
    /// As [`Barrier::rotate`].
    pub fn rekey(&self, stored: &KeyRecords) -> Result<NewRoot, BarrierError> {
        let Keys { ring, .. } = self.read(stored)?;
        let ring = Keyring { generation: ring.generation + 1, ..ring };
        let root = random_key(self.random.as_ref());
        let records = KeyRecords {
            keyring: self.seal_ring(&root, &ring)?,
            root_key: self.encrypt(ROOT_KEY_PATH, root.expose())?,
        };
        Ok(NewRoot { records, root: root.clone(), keys: Keys { root, ring } })
    }

    /// Uses `keys`, which are stored, from now on, unless newer ones are in use already.
    pub fn install(&self, keys: Keys) {
        let next = Arc::new(keys);
        self.keys.rcu(|keys| {
            if next.ring.order() <= keys.ring.order() {
                return Arc::clone(keys);
            }
            if next.ring.active_term() > keys.ring.active_term() {
                self.encryptions.store(0, Ordering::Relaxed);
            }
            Arc::clone(&next)
        });
    }

    /// Takes up stored keys that may be newer than those in memory.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`], [`BarrierError::UnknownTerm`] if no key that is known here opens them.
    pub fn refresh(&self, stored: &KeyRecords) -> Result<(), BarrierError> {
        let keys = self.read(stored)?;
        self.install(keys);
        Ok(())
    }

    /// The stored keys, opened by the root key in memory or else by the stored one.
    fn read(&self, stored: &KeyRecords) -> Result<Keys, BarrierError> {
        let known = self.keys.load().root.clone();
        if let Ok(ring) = open_ring(&self.cluster, &known, &stored.keyring) {
            return Ok(Keys { root: known, ring });
        }
        let root = self.decrypt(ROOT_KEY_PATH, &stored.root_key)?;
        let ring = open_ring(&self.cluster, &root, &stored.keyring)?;
        Ok(Keys { root, ring })
    }

    /// Goes on counting from `encryptions`, if `term` is the active one and fewer have been counted.
    pub fn resume_count(&self, term: u32, encryptions: u64) {
        if term == self.keys.load().ring.active_term() {
            self.encryptions.fetch_max(encryptions, Ordering::Relaxed);
        }
    }

    /// The root key, for a seal that wraps it anew.
    pub fn root_key(&self) -> SecretBytes {
        self.keys.load().root.clone()
    }

    /// The active key's state.
    pub fn status(&self) -> KeyStatus {
        let keys = self.keys.load();
        KeyStatus {
            term: keys.ring.active_term(),
            installed: keys
                .ring
                .terms
                .last_key_value()
                .map_or_else(UnixMillis::default, |(_, key)| key.installed),
            encryptions: self.encryptions.load(Ordering::Relaxed),
        }
    }

    fn seal_ring(&self, root: &SecretBytes, ring: &Keyring) -> Result<Bytes, BarrierError> {
        let plain = ring.encode().map_err(|error| BarrierError::Damaged {
            path: KEYRING_PATH.to_owned(),
            reason: error.to_string(),
        })?;
        let key = AeadKey::new(root.expose())?;
        let record =
            entry::seal(&key, self.random.as_ref(), ROOT_TERM, &self.cluster, KEYRING_PATH, plain.expose())?;
        Ok(Bytes::from(record))
    }
}

fn open_ring(cluster: &str, root: &SecretBytes, record: &[u8]) -> Result<Keyring, BarrierError> {
    let damaged =
        |reason: &str| BarrierError::Damaged { path: KEYRING_PATH.to_owned(), reason: reason.to_owned() };
    let key = AeadKey::new(root.expose())?;
    let plain =
        entry::open(&key, cluster, KEYRING_PATH, record).map_err(|_| damaged("the root key does not fit"))?;
    Keyring::decode(plain.expose()).ok_or_else(|| damaged("it is not a keyring"))
}
