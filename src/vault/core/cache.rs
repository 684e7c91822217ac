//! A cache of decoded records that needs no invalidation: an entry counts only for the very ciphertext it was made from.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Decoded records by key.
pub(super) struct Decoded<T> {
    most: usize,
    entries: Mutex<HashMap<String, (Bytes, Arc<T>)>>,
}

impl<T> fmt::Debug for Decoded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<T> Decoded<T> {
    /// A cache of at most `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: Mutex::default() }
    }

    /// The decoded form of `record`, if it is known.
    pub(super) fn get(&self, key: &str, record: &Bytes) -> Option<Arc<T>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, value) = entries.get(key)?;
        (known == record).then(|| Arc::clone(value))
    }

    /// Remembers the decoded form of `record`.
    pub(super) fn put(&self, key: &str, record: Bytes, value: Arc<T>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most && !entries.contains_key(key) {
            // Any victim will do: what is used again is decoded again.
            let victim = entries.keys().next().cloned();
            if let Some(victim) = victim {
                entries.remove(&victim);
            }
        }
        entries.insert(key.to_owned(), (record, value));
    }
}
