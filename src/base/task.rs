//! Named tasks and shutdown: the only file that spawns.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
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

/// The one thread of what must not wait for requests.
static APART: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let built = Builder::new_multi_thread().worker_threads(1).thread_name("apart").enable_all().build();
    built.inspect_err(|error| tracing::warn!(%error, "there is no thread for commits alone")).ok()
});

/// As [`spawn`], on a thread that requests do not share: a busy runtime looks after what has arrived for a connection only
/// when it has been round all of its tasks. What `future` connects to and starts in its turn lives there as well.
pub fn spawn_apart<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    use tracing::Instrument;
    match &*APART {
        Some(runtime) => runtime.spawn(future.instrument(tracing::debug_span!("task", name))),
        None => spawn(name, future),
    }
}

/// Carries `future` out where [`spawn_apart`] does. It is aborted if the caller stops waiting.
///
/// # Errors
/// [`BrokenOff`] if it panicked.
pub async fn apart<F>(name: &'static str, future: F) -> Result<F::Output, BrokenOff>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut task = Guarded(spawn_apart(name, future));
    (&mut task.0).await.map_err(|_| BrokenOff(name))
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

/// How much work may block at a time; more of it waits for its turn.
const BLOCKING: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(BLOCKING);

/// Work that gave no result, since it panicked or the runtime is ending. It may have been done in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} was broken off")]
pub struct BrokenOff(&'static str);

/// Runs `work`, which may block (on files, on locks), on a thread that nothing else waits for. It goes on to its end
/// even if the returned future is dropped.
///
/// # Errors
/// [`BrokenOff`], with `name` in its text.
pub async fn blocking<T, F>(name: &'static str, work: F) -> Result<T, BrokenOff>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let turn = TURNS.acquire().await.map_err(|_| BrokenOff(name))?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|_| BrokenOff(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_apart_waits_for_nothing_here_and_ends_with_its_caller() {
        let (sender, receiver) = std::sync::mpsc::channel();
        spawn_apart("a message", async move { sender.send(std::thread::current().id()) });
        // The one thread of this runtime does nothing else until the message is there.
        assert_ne!(receiver.recv().unwrap(), std::thread::current().id());
        assert_eq!(apart("a sum", async { 1 + 1 }).await, Ok(2));
        let broken = apart("a division", async { panic!("on purpose") }).await;
        assert_eq!(broken, Err::<(), _>(BrokenOff("a division")));
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let forever = apart("a wait", async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(10), forever).await.is_err());
        // The sender goes with the task.
        assert!(
            receiver
                .recv_timeout(Duration::from_secs(30))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Disconnected)
        );
    }

    #[tokio::test]
    async fn what_blocks_runs_to_its_end_and_a_panic_is_told() {
        assert_eq!(blocking("a sum", || 1 + 1).await, Ok(2));
        let broken = blocking("a division", || -> u32 { panic!("on purpose") }).await;
        assert_eq!(broken.unwrap_err().to_string(), "a division was broken off");
        let (sender, receiver) = std::sync::mpsc::channel();
        drop(tokio::time::timeout(Duration::ZERO, blocking("a message", move || sender.send(1))).await);
        // Either it never began, or it was carried out in full: it is never cut off in between.
        assert!(blocking("an answer", move || receiver.recv()).await.is_ok());
    }
}
