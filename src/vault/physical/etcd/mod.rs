//! Storage and lock in etcd (v3 API over gRPC).
//!
//! A commit is one `Txn` that compares the value of the head key; reads are one linearizable `Txn`, so that a value comes
//! with the head of its own revision. Everything lies under `path`: `head`, `lock`, `journal/<seq>` and `data/<key>`.
//! `docs/storage/etcd.md` says how to set it up.

mod address;
mod answer;
mod attend;
mod backend;
mod client;
mod commit;
mod connect;
mod dial;
mod feed;
mod keys;
mod line;
mod open;
mod proto;
mod register;
mod tls;
mod watch;

pub use backend::EtcdBackend;
pub use open::open;
pub use register::EtcdRegister;
