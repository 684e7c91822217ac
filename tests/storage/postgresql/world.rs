//! What the tests share: one server, tables of their own for each store, and a writer.

use std::sync::atomic::{AtomicU32, Ordering};

use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::config::{ClientTls, Credential, PostgresqlStorage};
use holdfast::vault::physical::postgresql::{PostgresqlBackend, PostgresqlRegister, open};
use holdfast::vault::physical::{Backend, BatchId, FORMAT, Head, LockName, Op};
use tokio::sync::OnceCell;

use crate::server_postgresql::{CERTIFICATE_ROLE, DATABASE, Postgresql};
pub use crate::steps::{event, next_head, put, read, settle, until};

static SERVER: OnceCell<Postgresql> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// A server of its own, for a test that does something to it.
pub async fn own_server() -> Postgresql {
    tokio::task::spawn_blocking(Postgresql::start).await.expect("a server")
}

/// The server of all tests that leave it alone.
pub async fn common_server() -> &'static Postgresql {
    SERVER.get_or_init(own_server).await
}

/// A table name that nobody has.
pub fn fresh_table() -> String {
    format!("s{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// A store with this URL, in tables of its own.
pub fn storage(url: &str) -> PostgresqlStorage {
    let url = Credential::Text(url.into());
    PostgresqlStorage { table: fresh_table(), ..PostgresqlStorage::at(url) }
}

/// Where a client without a password finds its database.
pub fn certified_url(server: &Postgresql) -> String {
    format!("postgres://{CERTIFICATE_ROLE}@127.0.0.1:{}/{DATABASE}", server.port)
}

/// A store that is reached with TLS and a client certificate instead of a password.
pub fn certified(server: &Postgresql) -> PostgresqlStorage {
    let url = certified_url(server);
    let tls = ClientTls {
        ca_file: Some(server.file("ca.pem")),
        cert_file: Some(server.file("client.pem")),
        key_file: Some(server.file("client.key")),
        server_name: Some("localhost".to_owned()),
    };
    PostgresqlStorage { tls, ..storage(&url) }
}

pub async fn opened(config: &PostgresqlStorage) -> PostgresqlBackend {
    both(config).await.0
}

pub async fn both(config: &PostgresqlStorage) -> (PostgresqlBackend, PostgresqlRegister) {
    open(config).await.unwrap_or_else(|reason| panic!("{reason}"))
}

pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName {
            kind: "postgresql".to_owned(),
            namespace: "vault".to_owned(),
            name: "holdfast_lock".to_owned(),
        }
        .into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "vault-0".into(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
}

pub fn claim_head(head: &Head) -> Head {
    Head { epoch: head.epoch + 1, node: "vault-1".into(), ..next_head(head) }
}

/// Makes the first head.
pub async fn init(backend: &dyn Backend) -> Head {
    let head = first_head();
    settle(backend, None, &head, &[]).await.expect("init");
    head
}

/// Commits after `head`.
pub async fn write(backend: &dyn Backend, head: &Head, ops: &[Op]) -> Head {
    let next = next_head(head);
    settle(backend, Some(head), &next, ops).await.expect("a commit");
    next
}
