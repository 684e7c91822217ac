//! [`Place`]: where a store or a lock of the conformance suite lies, behind a network of its own that can fail.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{Lock, Store};
use holdfast::vault::physical::{Backend, CachedBackend, HaBackend};

use crate::network::Network;

/// Which way an instance takes to its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the network that can fail.
    Network,
    /// Past it: a witness.
    Past,
}

/// How instances are opened at a place.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    async fn backend(&self, route: Route) -> Arc<dyn Backend>;

    async fn lock(&self, route: Route) -> Arc<dyn HaBackend>;

    /// See [`Lock::mark`].
    async fn mark(&self) -> bool {
        false
    }

    /// See [`Lock::is_marked`].
    async fn is_marked(&self) -> bool {
        false
    }
}

/// One store, and one lock, at a site.
pub struct Place<S> {
    pub site: S,
    pub network: Arc<Network>,
    /// The cache above every instance of the store, if there is one.
    pub cache_bytes: Option<usize>,
}

#[async_trait]
impl<S: Site> Store for Place<S> {
    async fn open(&self) -> Arc<dyn Backend> {
        let backend = self.site.backend(Route::Network).await;
        match self.cache_bytes {
            Some(bytes) => Arc::new(CachedBackend::start(backend, bytes)),
            None => backend,
        }
    }

    async fn lose_next_answer(&self) -> bool {
        self.network.lose_commit(self.site.backend(Route::Past).await).await;
        true
    }

    async fn fail(&self) -> bool {
        self.network.fail();
        true
    }

    async fn heal(&self) {
        self.network.heal();
    }
}

#[async_trait]
impl<S: Site> Lock for Place<S> {
    async fn open(&self) -> Arc<dyn HaBackend> {
        self.site.lock(Route::Network).await
    }

    async fn lose_next_answer(&self) -> bool {
        self.network.lose_swap(self.site.lock(Route::Past).await).await;
        true
    }

    async fn fail(&self) -> bool {
        self.network.fail();
        true
    }

    async fn heal(&self) {
        self.network.heal();
    }

    async fn mark(&self) -> bool {
        self.site.mark().await
    }

    async fn is_marked(&self) -> bool {
        self.site.is_marked().await
    }
}
