//! The commit: one durable transaction that compares the head and writes everything.

use std::os::unix::fs::MetadataExt;

use redb::{Database, Durability, ReadableTable, Table};
use tracing::warn;

use super::KIND;
use super::client::{Client, DATA, HEAD, JOURNAL, TABLE, USED, head_of, used_of};
use super::failure::Failure;
use crate::vault::physical::backend::{Commit, Limits, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// Room on the disk that growth leaves free: deletes and claims find it when nothing else does.
const RESERVE_BYTES: u64 = 8 << 20;

/// What became of a transaction.
enum Outcome {
    /// It is stored, durably; so many bytes are in use now.
    Stored { used_bytes: u64 },
    /// Nothing is.
    Not(Commit),
}

impl Client {
    /// The limits of commits and data.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            operations: 4096,
            commit_bytes: 32 << 20,
            value_bytes: 16 << 20,
            data_bytes: self.data_limit_bytes,
        }
    }

    /// Commits at the head. May block. One at a time, or the embedded store makes the others wait.
    pub(super) fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = self.limits().admit(KIND, ops) {
            return Commit::Refused(error);
        }
        let unknown = |failure: Failure| Commit::Unknown { reason: failure.to_string() };
        if let Err(failure) = self.stay_in_place() {
            return unknown(failure);
        }
        let (count, stored) = self.once(|database| self.store(database, expected, next, ops));
        match stored {
            Ok(Outcome::Stored { used_bytes }) => {
                // Somebody may have taken the file away meanwhile.
                if let Err(failure) = self.stay_in_place() {
                    return unknown(failure);
                }
                self.note(Some(next.clone()), used_bytes);
                Commit::Committed
            }
            Ok(Outcome::Not(outcome)) => outcome,
            Err(failure) => self.judge(count, expected, failure),
        }
    }

    /// What a failed transaction is to be called. It is over once the store is open again: if the head has not moved
    /// then, nothing of it was stored.
    fn judge(&self, count: u64, expected: Option<&Head>, failure: Failure) -> Commit {
        warn!(folder = %self.folder.path().display(), %failure, "a commit failed");
        let is_over = self.reopen(count).is_ok() && self.check().is_ok_and(|head| head.as_ref() == expected);
        match failure {
            Failure::NoRoom(_) if is_over => Commit::Refused(self.full(0)),
            failure => Commit::Unknown { reason: failure.to_string() },
        }
    }

    fn store(
        &self,
        database: &Database,
        expected: Option<&Head>,
        next: &Head,
        ops: &[Op],
    ) -> Result<Outcome, Failure> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let outcome = {
            let mut table = transaction.open_table(TABLE)?;
            self.write(&mut table, expected, next, ops)?
        };
        match outcome {
            Outcome::Stored { .. } => transaction.commit()?,
            // What fails here fails the next one; that nothing was stored is certain.
            Outcome::Not(_) => drop(transaction.abort()),
        }
        Ok(outcome)
    }

    fn write(
        &self,
        table: &mut Table<'_, &'static str, &'static [u8]>,
        expected: Option<&Head>,
        next: &Head,
        ops: &[Op],
    ) -> Result<Outcome, Failure> {
        let is_expected = match (table.get(HEAD)?, expected) {
            (Some(stored), Some(expected)) => stored.value() == wire::head_bytes(expected),
            (stored, expected) => stored.is_none() && expected.is_none(),
        };
        if !is_expected {
            return Ok(Outcome::Not(Commit::Fenced { current: head_of(table)? }));
        }
        let before = used_of(table)?;
        let mut used_bytes = before;
        for op in ops {
            let stored = format!("{DATA}{}", op.key());
            let (old, added) = match op {
                Op::Put { value, .. } => (table.insert(stored.as_str(), &value[..])?, op.size_bytes()),
                Op::Delete { .. } => (table.remove(stored.as_str())?, 0),
            };
            let removed = old.map_or(0, |old| op.key().len() + old.value().len());
            used_bytes = used_bytes.saturating_add(bytes(added)).saturating_sub(bytes(removed));
        }
        if used_bytes > before
            && let Err(error) = self.admit_growth(used_bytes, ops)
        {
            return Ok(Outcome::Not(Commit::Refused(error)));
        }
        let record = wire::record_of(expected, next, ops.iter().map(|op| op.key().to_owned()).collect());
        let journal = |seq| format!("{JOURNAL}{}", wire::seq_text(seq));
        table.insert(journal(next.seq).as_str(), &wire::journal_bytes(&record)[..])?;
        if let Some(seq) = wire::trimmed_by(next) {
            table.remove(journal(seq).as_str())?;
        }
        table.insert(USED, &used_bytes.to_le_bytes()[..])?;
        table.insert(HEAD, &wire::head_bytes(next)[..])?;
        Ok(Outcome::Stored { used_bytes })
    }

    /// Whether the data may grow to `used_bytes` by `ops`: within the limit, and with room on the disk.
    fn admit_growth(&self, used_bytes: u64, ops: &[Op]) -> Result<(), StorageError> {
        if let Some(limit_bytes) = self.data_limit_bytes
            && used_bytes > limit_bytes
        {
            return Err(StorageError::Full { storage: KIND, used_bytes: self.used_bytes(), limit_bytes });
        }
        // Pages are copied before they are changed: a commit needs more room than it has bytes.
        let needed = RESERVE_BYTES + 2 * bytes(ops.iter().map(Op::size_bytes).sum());
        match self.room_bytes() {
            Some(room_bytes) if room_bytes < needed => Err(self.full(room_bytes)),
            _ => Ok(()),
        }
    }

    fn full(&self, room_bytes: u64) -> StorageError {
        let used_bytes = self.used_bytes();
        StorageError::Full { storage: KIND, used_bytes, limit_bytes: used_bytes.saturating_add(room_bytes) }
    }

    /// Bytes that the store can still grow by, estimated low; `None` if the system does not tell.
    fn room_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.folder.path()).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let file_bytes = std::fs::metadata(self.folder.data()).ok()?.blocks().saturating_mul(512);
        // Pages take powers of two, half of which may be empty, and the journal needs some too.
        let occupied = self.used_bytes().saturating_mul(9) / 4 + (4 << 20);
        Some(free.saturating_add(file_bytes.saturating_sub(occupied)))
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
