//! [`Meter`]: what a connection has been doing, so that slow headers and idle connections can be ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    read_bytes: AtomicU64,
    running: AtomicUsize,
    started: AtomicU64,
    is_h2: AtomicBool,
}

/// Counts a running request while it lives.
pub(super) struct Running(Arc<Meter>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meter {
    /// Notes that a request has started.
    pub(super) fn start(self: &Arc<Self>, is_h1: bool) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
        if !is_h1 {
            self.is_h2.store(true, Ordering::Relaxed);
        }
        Running(Arc::clone(self))
    }

    /// A watch that is asked once every `tick`.
    pub(super) fn watch(self: &Arc<Self>, headers: Duration, idle: Duration, tick: Duration) -> Watch {
        let ticks = |span: Duration| span.as_millis().div_ceil(tick.as_millis().max(1)).max(1);
        Watch {
            meter: Arc::clone(self),
            header_ticks: ticks(headers),
            idle_ticks: ticks(idle),
            started: 0,
            idle_from_bytes: 0,
            waiting: 0,
            partial: 0,
        }
    }
}

/// Counts ticks without a running request.
pub(super) struct Watch {
    meter: Arc<Meter>,
    header_ticks: u128,
    idle_ticks: u128,
    started: u64,
    idle_from_bytes: u64,
    waiting: u128,
    partial: u128,
}

impl Watch {
    /// Whether the connection is to be ended; call once a tick.
    pub(super) fn is_over(&mut self) -> bool {
        let started = self.meter.started.load(Ordering::Relaxed);
        let bytes = self.meter.read_bytes.load(Ordering::Relaxed);
        let is_busy = self.meter.running.load(Ordering::Relaxed) > 0 || started != self.started;
        if is_busy {
            // What was read up to here belongs to requests that have started.
            (self.started, self.idle_from_bytes, self.waiting, self.partial) = (started, bytes, 0, 0);
            return false;
        }
        self.waiting += 1;
        // Bytes without a request are headers that have begun; on HTTP/2 they may be pings, which hyper limits.
        if bytes > self.idle_from_bytes && !self.meter.is_h2.load(Ordering::Relaxed) {
            self.partial += 1;
        }
        self.waiting > self.idle_ticks || self.partial > self.header_ticks
    }
}

/// A stream that counts what is read from it.
pub(super) struct Metered<IO> {
    stream: IO,
    meter: Arc<Meter>,
}

impl<IO> Metered<IO> {
    /// Counts in `meter`.
    pub(super) fn new(stream: IO, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Metered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.meter.read_bytes.fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Metered<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Arc<Meter>, Watch) {
        let meter = Arc::new(Meter::default());
        let watch = meter.watch(Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(1));
        (meter, watch)
    }

    #[test]
    fn headers_that_come_slowly_end_the_connection() {
        let (meter, mut watch) = watch();
        meter.read_bytes.fetch_add(10, Ordering::Relaxed);
        assert_eq!([watch.is_over(), watch.is_over(), watch.is_over()], [false, false, true]);
    }

    #[test]
    fn a_running_request_may_take_its_time_and_idle_time_starts_after_it() {
        let (meter, mut watch) = watch();
        meter.read_bytes.fetch_add(10, Ordering::Relaxed);
        let running = meter.start(true);
        assert!((0..20).all(|_| !watch.is_over()));
        drop(running);
        assert!((0..5).all(|_| !watch.is_over()));
        assert!(watch.is_over());
    }

    #[test]
    fn bytes_on_an_idle_http2_connection_are_no_headers() {
        let (meter, mut watch) = watch();
        drop(meter.start(false));
        assert!(!watch.is_over());
        meter.read_bytes.fetch_add(17, Ordering::Relaxed);
        assert!((0..5).all(|_| !watch.is_over()));
    }
}
