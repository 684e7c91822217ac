//! Mounts: the table, and the router made from it.

mod change;
mod router;
mod table;

#[cfg(test)]
mod tests;

pub use change::MountSpec;
pub use router::{Mounted, Router};
pub use table::{MountClass, MountConfig, MountEntry, MountTable};

pub(super) use change::{add, find, remove, rename};
pub(super) use router::Dispatch;
pub(super) use router::engine_for;
pub(super) use table::new_entry;
