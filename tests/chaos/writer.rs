//! A PostgreSQL writer that stops in the middle of a commit, holding the row of the head.
//!
//! The server's process of the commit is made to wait where it has written the head and not yet the journal: another
//! transaction has the journal's next numbers. There it is stopped, and the other transaction ends.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls};

use crate::postgresql_server::{DATABASE, Postgresql};

/// Numbers of the journal that are taken: more commits than can happen until the taking is seen.
const NUMBERS: i64 = 2000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server's process that was stopped. It goes on when this is dropped.
pub struct Stopped(Pid);

impl Stopped {
    /// Stops process `number`.
    pub fn at(number: i32) -> Self {
        let pid = Pid::from_raw(number).expect("a process");
        kill_process(pid, Signal::STOP).expect("the server's process");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended meanwhile: another node may terminate it.
        kill_process(self.0, Signal::CONT).ok();
    }
}

async fn connect(server: &Postgresql) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(server.file("")).port(server.port).user("postgres").dbname(DATABASE);
    let (client, connection) = config.connect(NoTls).await.expect("a session of the administrator");
    tokio::spawn(connection);
    client
}

/// The transaction that stands in the way of every commit. It ends with [`Barrier::lift`], or when this is dropped.
pub struct Barrier {
    client: Client,
    watcher: Client,
    pid: i32,
}

impl Barrier {
    /// Takes the journal's next numbers.
    pub async fn put(server: &Postgresql) -> Self {
        let (client, watcher) = (connect(server).await, connect(server).await);
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a number").get(0);
        client.batch_execute("BEGIN").await.expect("a transaction");
        let taken = format!(
            "INSERT INTO holdfast_journal (seq, record) SELECT n, '' FROM \
             (SELECT seq AS first FROM holdfast_head) AS h, generate_series(first + 1, first + {NUMBERS}) AS n \
             ON CONFLICT DO NOTHING"
        );
        client.batch_execute(&taken).await.expect("numbers");
        Self { client, watcher, pid }
    }

    /// Waits for a commit that is held up; the number of the server's process of it.
    ///
    /// # Errors
    /// If there is none for twenty seconds.
    pub async fn held_up(&self) -> Result<i32, String> {
        let question = "SELECT a.pid FROM pg_stat_activity AS a WHERE a.application_name LIKE 'holdfast % writer' \
             AND $1 = ANY (pg_blocking_pids(a.pid)) AND EXISTS \
               (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND NOT l.granted AND l.locktype = 'transactionid')";
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let rows = self.watcher.query(question, &[&self.pid]).await.map_err(|error| error.to_string())?;
            if let Some(row) = rows.first() {
                return Ok(row.get(0));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("no commit was held up".to_owned())
    }

    /// Ends the transaction, which leaves nothing behind.
    pub async fn lift(self) {
        self.client.batch_execute("ROLLBACK").await.expect("the end of a transaction");
    }
}
