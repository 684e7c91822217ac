//! Named tasks and shutdown: the only file that spawns.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Starts `future` as a task of its own; `name` appears in the log when it panics.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    use tracing::Instrument;
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)))
}

/// A task that ends when its handle is dropped.
#[derive(Debug)]
pub struct Guarded<T>(JoinHandle<T>);

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `future` as a task that is aborted when the returned guard is dropped.
pub fn guard<F>(name: &'static str, future: F) -> Guarded<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Guarded(spawn(name, future))
}

/// A signal that asks every task to end; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Asks every holder to end.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// A signal that is triggered with this one, and can be triggered alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Sleeps for `span`; false if the end was asked for meanwhile.
    pub async fn sleep(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.0.cancelled() => false,
            () = tokio::time::sleep(span) => true,
        }
    }
}
