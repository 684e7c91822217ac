//! Who has the machine: tests that judge how soon a node answers must not count the load of the test beside them.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// For a test that loads the machine or judges times: no other test of this program runs until the guard is dropped.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// For every other test: may run beside its like.
pub async fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}
