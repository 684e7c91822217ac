//! The tables, and every statement that is sent.

/// Most bytes of a page of the journal, unless its first two records are larger.
const PAGE_BYTES: usize = 16 << 20;
/// What the name of every session begins with.
const MARK: &str = "holdfast ";
/// The end of all keys: longer than a key may be, of the character that sorts last.
const END_CHARS: usize = 257;

/// Which tables a user of the database needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Those of the data and that of the lock.
    All,
    /// That of the lock.
    Lock,
}

/// The names of the tables, quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) needs: Needs,
    pub(super) head: String,
    pub(super) kv: String,
    pub(super) journal: String,
    pub(super) lock: String,
    /// The lock's table as it is configured.
    pub(super) lock_name: String,
    /// The channels of head and lock.
    pub(super) head_channel: String,
    pub(super) lock_channel: String,
}

impl Tables {
    /// The tables whose names begin with `table`, which the configuration has checked.
    pub(super) fn new(table: &str, ha_table: Option<&str>, needs: Needs) -> Self {
        let lock_name = ha_table.map_or_else(|| format!("{table}_lock"), str::to_owned);
        let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        Self {
            needs,
            head: quoted(&format!("{table}_head")),
            kv: quoted(&format!("{table}_kv")),
            journal: quoted(&format!("{table}_journal")),
            lock: quoted(&lock_name),
            head_channel: bare(&format!("{table}_head")),
            lock_channel: bare(&lock_name),
            lock_name,
        }
    }

    /// The tables that are needed.
    pub(super) fn names(&self) -> Vec<&str> {
        match self.needs {
            Needs::All => vec![&self.head, &self.kv, &self.journal, &self.lock],
            Needs::Lock => vec![&self.lock],
        }
    }

    /// What makes the tables, one statement an element; making them twice is no error.
    pub(super) fn create(&self) -> Vec<String> {
        let Self { head, kv, journal, lock, .. } = self;
        // Rows that are replaced all the time find room on their page, so that no index is touched.
        let mut all = vec![format!(
            "CREATE TABLE IF NOT EXISTS {lock} (id smallint PRIMARY KEY CHECK (id = 1), version bigint NOT NULL, record text NOT NULL) WITH (fillfactor = 10)"
        )];
        if self.needs == Needs::All {
            all.extend([
                format!(
                    "CREATE TABLE IF NOT EXISTS {head} (id smallint PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL, seq bigint NOT NULL, head text COLLATE \"C\" NOT NULL) WITH (fillfactor = 10)"
                ),
                format!("CREATE TABLE IF NOT EXISTS {kv} (key text COLLATE \"C\" PRIMARY KEY, value bytea NOT NULL)"),
                // Ciphertext does not get smaller.
                format!("ALTER TABLE {kv} ALTER COLUMN value SET STORAGE EXTERNAL"),
                format!("CREATE TABLE IF NOT EXISTS {journal} (seq bigint PRIMARY KEY, record text NOT NULL)"),
            ]);
        }
        all
    }

    /// What an administrator must run so that `role` finds its tables.
    pub(super) fn manual(&self, role: &str) -> String {
        let (names, role) = (self.names(), quoted_one(role));
        let mut schemas: Vec<_> =
            names.iter().filter_map(|name| name.split_once('.')).map(|(schema, _)| schema).collect();
        schemas.dedup();
        let mut all: Vec<_> =
            schemas.iter().map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema}")).collect();
        all.extend(self.create());
        all.extend(schemas.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role}")));
        all.push(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {role}", names.join(", ")));
        all.join(";\n") + ";"
    }

    /// The commit after a head. Who expects a head has seen it, so the state that the statement looks at is
    /// never older than that head; and after waiting for the row the comparison is made again with the newest
    /// one.
    pub(super) fn commit(&self) -> String {
        let head = &self.head;
        self.batch(&format!(
            "UPDATE {head} SET epoch = $1, seq = $2, head = $3 WHERE id = 1 AND head = $9 RETURNING seq"
        ))
    }

    /// The commit that makes the first head, into a store without data.
    pub(super) fn init(&self) -> String {
        let Self { head, kv, .. } = self;
        self.batch(&format!(
            "INSERT INTO {head} (id, epoch, seq, head) SELECT 1, $1, $2, $3 WHERE NOT EXISTS (SELECT FROM {kv}) ON CONFLICT (id) DO NOTHING RETURNING seq"
        ))
    }

    fn batch(&self, head: &str) -> String {
        let Self { kv, journal, head_channel, .. } = self;
        format!(
            "WITH h AS ({head}), \
             p AS (INSERT INTO {kv} (key, value) SELECT x.key, x.value FROM h, unnest($4::text[], $5::bytea[]) AS x (key, value) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value), \
             d AS (DELETE FROM {kv} USING h WHERE key = ANY ($6::text[])), \
             j AS (INSERT INTO {journal} (seq, record) SELECT h.seq, $7::text FROM h \
               ON CONFLICT (seq) DO UPDATE SET record = excluded.record), \
             t AS (DELETE FROM {journal} AS old USING h WHERE old.seq = $8::bigint) \
             SELECT h.seq, pg_notify('{head_channel}', h.seq::text) FROM h"
        )
    }

    /// The head, and whether the server refuses writes. The message to nobody makes it a transaction that is
    /// written to the log and, as every commit, answered only after the synchronous standbys have it: a proof
    /// that this server is the primary with its quorum. Unlike an update it locks no row and leaves none
    /// behind.
    pub(super) fn prove(&self) -> String {
        format!(
            "SELECT (SELECT head FROM {} WHERE id = 1), current_setting('transaction_read_only'), pg_logical_emit_message(true, 'holdfast', ''::text)::text",
            self.head
        )
    }

    /// Whether there is any data.
    pub(super) fn has_data(&self) -> String {
        format!("SELECT EXISTS (SELECT FROM {})", self.kv)
    }

    /// The head and the value of a key, of one state.
    pub(super) fn get(&self) -> String {
        let Self { head, kv, .. } = self;
        format!("SELECT head, (SELECT value FROM {kv} WHERE key = $1) FROM {head} WHERE id = 1")
    }

    /// The head and the keys from $1 to before $2, of one state.
    pub(super) fn list(&self) -> String {
        let Self { head, kv, .. } = self;
        format!(
            "SELECT head, ARRAY (SELECT key FROM {kv} WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3) FROM {head} WHERE id = 1"
        )
    }

    /// The head and the records of the journal from $1 on, of one state. What lies beyond the head is of a history
    /// that was given up.
    pub(super) fn page(&self) -> String {
        let Self { head, journal, .. } = self;
        format!(
            "SELECT head, ARRAY (SELECT record FROM \
               (SELECT seq, record, row_number() OVER (ORDER BY seq) AS n, sum(octet_length(record)) OVER (ORDER BY seq) AS size \
                FROM (SELECT j.seq, j.record FROM {journal} AS j WHERE j.seq >= $1 AND j.seq <= h.seq ORDER BY j.seq LIMIT $2) AS w) AS r \
               WHERE n <= 2 OR size <= {PAGE_BYTES} ORDER BY seq) FROM {head} AS h WHERE id = 1"
        )
    }

    /// The version and content of the lock.
    pub(super) fn lock_read(&self) -> String {
        format!("SELECT version, record FROM {} WHERE id = 1", self.lock)
    }

    /// Makes the lock.
    pub(super) fn lock_insert(&self) -> String {
        self.swap(&format!(
            "INSERT INTO {} (id, version, record) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING RETURNING version",
            self.lock
        ))
    }

    /// Replaces the lock's content if its version is $1.
    pub(super) fn lock_swap(&self) -> String {
        self.swap(&format!(
            "UPDATE {} SET version = version + 1, record = $2 WHERE id = 1 AND version = $1 RETURNING version",
            self.lock
        ))
    }

    fn swap(&self, write: &str) -> String {
        let channel = &self.lock_channel;
        format!("WITH w AS ({write}) SELECT version, pg_notify('{channel}', version::text) FROM w")
    }

    /// Listens to what commits and swaps notify.
    pub(super) fn listen(&self) -> String {
        let lock = format!("LISTEN {};", quoted_one(&self.lock_channel));
        match self.needs {
            Needs::All => format!("LISTEN {}; {lock}", quoted_one(&self.head_channel)),
            Needs::Lock => lock,
        }
    }
}

/// Ends those sessions of other nodes, or of this one, that hold the row for which session $1 waits and wait
/// for nothing themselves: their client stopped in the middle of a statement. Only a wait for a row counts,
/// none for the turn to notify.
pub(super) fn unblock() -> String {
    format!(
        "WITH RECURSIVE chain (pid) AS ( \
           SELECT unnest(pg_blocking_pids($1)) WHERE EXISTS \
             (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted AND locktype IN ('transactionid', 'tuple')) \
           UNION SELECT unnest(pg_blocking_pids(chain.pid)) FROM chain) \
         SELECT a.application_name::text, pg_terminate_backend(a.pid) FROM chain JOIN pg_stat_activity AS a USING (pid) \
         WHERE a.usename = current_user AND a.pid <> $1 AND a.application_name LIKE '{MARK}%' \
           AND cardinality(pg_blocking_pids(a.pid)) = 0"
    )
}

/// The name of a session, of the instance `id`, that is there for `purpose`.
pub(super) fn application_name(id: &str, purpose: &str) -> String {
    format!("{MARK}{id} {purpose}")
}

/// What every session is set to. `lock_timeout_millis` ends the wait for a row, and nothing else: a limit for
/// whole statements could break off the wait for a standby.
pub(super) fn settings(lock_timeout_millis: u128) -> String {
    format!(
        "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false); \
         SET client_min_messages = warning; SET statement_timeout = 0; SET lock_timeout = {lock_timeout_millis}; \
         SET default_transaction_isolation = 'read committed'; SET row_security = off; \
         SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan; \
         SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
    )
}

/// What must be known of a server, and of the tables whose names are in $1.
pub(super) const ABOUT: &str = "\
    SELECT pg_backend_pid(), current_setting('server_version_num')::int, current_setting('server_version'), \
      current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), \
      current_setting('server_encoding'), pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, current_user::text, \
      ARRAY (SELECT t FROM unnest($1) AS t WHERE to_regclass(t) IS NULL), \
      ARRAY (SELECT t FROM unnest($1) AS t JOIN pg_class AS c ON c.oid = to_regclass(t) WHERE c.relpersistence <> 'p'), \
      ARRAY (SELECT t FROM unnest($1) AS t JOIN pg_class AS c ON c.oid = to_regclass(t) WHERE NOT (has_table_privilege(c.oid, 'SELECT') \
        AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))";

/// One node makes the tables, the others wait for it.
pub(super) const CREATE_TURN: &str = "SELECT pg_advisory_xact_lock(5285473290474385520)";

/// From which key to before which key a listing goes. Keys hold no control characters, so the key after `after`
/// is not before `after` with the least character behind it.
pub(super) fn range(prefix: &str, after: Option<&str>) -> (String, String) {
    let from = match after {
        Some(after) if after >= prefix => format!("{after}\u{1}"),
        _ => prefix.to_owned(),
    };
    (from, end(prefix))
}

/// The first text in byte order that is above all that begin with `prefix`.
fn end(prefix: &str) -> String {
    let mut rest = prefix;
    while let Some(last) = rest.chars().next_back() {
        rest = &rest[..rest.len() - last.len_utf8()];
        // The order of UTF-8 is that of the characters' numbers, some of which are no characters.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            return format!("{rest}{next}");
        }
    }
    char::MAX.to_string().repeat(END_CHARS)
}

fn quoted(name: &str) -> String {
    name.split('.').map(quoted_one).collect::<Vec<_>>().join(".")
}

fn quoted_one(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::physical::KEY_BYTES;

    #[test]
    fn names_are_quoted_and_channels_have_no_schema() {
        let tables = Tables::new("vault.store", None, Needs::All);
        assert_eq!(tables.names()[1], "\"vault\".\"store_kv\"");
        assert_eq!(
            (tables.lock_name.as_str(), tables.lock_channel.as_str()),
            ("vault.store_lock", "store_lock")
        );
        assert_eq!(tables.listen(), "LISTEN \"store_head\"; LISTEN \"store_lock\";");
        let tables = Tables::new("store", Some("locks.l"), Needs::Lock);
        assert_eq!(tables.names(), ["\"locks\".\"l\""]);
        assert!(tables.manual("o\"dd").ends_with("ON \"locks\".\"l\" TO \"o\"\"dd\";"));
        assert_eq!(tables.create().len(), 1);
    }

    #[test]
    fn a_range_holds_what_begins_with_the_prefix() {
        let long = char::MAX.to_string().repeat(KEY_BYTES / 4);
        let keys = ["a", "a/", "a/1", "a/\u{d7ff}x", "a0", "b", "\u{d7ff}", "\u{e000}", long.as_str()];
        let prefixes = ["", "a", "a/", "\u{d7ff}", "\u{e000}", "\u{10ffff}", "a\u{10ffff}"];
        for (prefix, after) in
            prefixes.iter().flat_map(|p| [None, Some("a/1"), Some("z")].map(|after| (*p, after)))
        {
            let (from, to) = range(prefix, after);
            for key in keys {
                let is_meant = key.starts_with(prefix) && after.is_none_or(|after| key > after);
                let is_in = key >= from.as_str() && key < to.as_str();
                assert_eq!(is_in, is_meant, "{key:?} with {prefix:?} after {after:?}");
            }
        }
    }
}
