//! Storage and lock in ZooKeeper.
//!
//! One persistent node holds the head; a commit is one `multi` that sets it at the version which was learned together with its
//! content, and every claim moves it to a node of another name. Keys are the children of one node, records of the
//! journal those of another one. Reads are `multiRead`s of head and value, so both are of one state. Nothing
//! depends on sessions: there are no ephemeral nodes, and after a lost connection a new session begins at another server.

mod backend;
mod client;
mod commit;
mod config;
mod connection;
mod feed;
mod index;
mod init;
mod jute;
mod layout;
mod open;
mod proto;
mod register;
mod state;
mod stream;

pub use backend::ZookeeperBackend;
pub use open::{open, open_lock};
pub use register::ZookeeperRegister;
