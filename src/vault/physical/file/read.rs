//! Reads: each of one state of the store, with its head.

use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadableDatabase};

use super::KIND;
use super::client::{Client, DATA, JOURNAL, JOURNAL_END, TABLE, head_of};
use super::failure::Failure;
use crate::vault::physical::backend::{Listing, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalPage;
use crate::vault::physical::wire;

type Table = ReadOnlyTable<&'static str, &'static [u8]>;

impl Client {
    /// Reads from one state of the store.
    fn read<T>(&self, read: impl Fn(&Table) -> Result<T, Failure>) -> Result<T, StorageError> {
        Ok(self.retried(|database| read(&database.begin_read()?.open_table(TABLE)?))?)
    }

    /// One key. May block.
    pub(super) fn get(&self, key: &str) -> Result<Value, StorageError> {
        let stored = format!("{DATA}{key}");
        let (head, value) = self.read(|table| {
            let value = table.get(stored.as_str())?;
            Ok((head_of(table)?, value.map(|value| Bytes::copy_from_slice(value.value()))))
        })?;
        Ok(Value { value, head: head.ok_or(StorageError::Empty { storage: KIND })? })
    }

    /// One page of keys. May block.
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        let prefix = format!("{DATA}{prefix}");
        let after = after.map(|after| format!("{DATA}{after}")).filter(|after| *after >= prefix);
        let (head, keys, more) = self.read(|table| {
            let from = after.as_deref().map_or(Bound::Included(prefix.as_str()), Bound::Excluded);
            let mut keys = Vec::new();
            let mut more = false;
            for entry in table.range::<&str>((from, Bound::Unbounded))? {
                let (key, _) = entry?;
                let Some(key) = key.value().strip_prefix(DATA).filter(|_| key.value().starts_with(&prefix))
                else {
                    break;
                };
                if keys.len() == limit {
                    more = true;
                    break;
                }
                keys.push(key.to_owned());
            }
            Ok((head_of(table)?, keys, more))
        })?;
        Ok(Listing { keys, more, head: head.ok_or(StorageError::Empty { storage: KIND })? })
    }

    /// The head, if the file is still in its place. May block.
    pub(super) fn check(&self) -> Result<Option<Head>, StorageError> {
        self.stay_in_place()?;
        self.read(head_of)
    }

    /// One page of the journal. May block.
    pub(super) fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        let from = format!("{JOURNAL}{}", wire::seq_text(from_seq));
        self.read(|table| {
            let mut records = Vec::new();
            for entry in table.range::<&str>(from.as_str()..JOURNAL_END)?.take(limit) {
                records.push(wire::journal(entry?.1.value()).map_err(Failure::Damaged)?);
            }
            Ok(JournalPage { head: head_of(table)?, records })
        })
    }
}
