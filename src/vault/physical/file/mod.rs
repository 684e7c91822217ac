//! Storage in a file: an embedded store for one process on one machine, without a lock.
//!
//! One commit is one durable transaction of the embedded store, so nothing is half there after a crash. The folder is
//! locked by the process that uses it. After a failure of the disk the store is opened again, from what the disk has.
//! `docs/storage/file.md` says what that means for people.

mod backend;
mod client;
mod commit;
mod failure;
mod feed;
mod folder;
mod read;

pub use backend::{FileBackend, open};

/// The storage as configuration names it.
const KIND: &str = "file";
