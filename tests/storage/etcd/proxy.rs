//! A TCP proxy in front of a server that can keep its answers to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Text that is replaced in what the server says; both are equally long.
pub type Lie = (&'static [u8], &'static [u8]);

/// A proxy; it ends with this value.
pub struct Proxy {
    pub port: u16,
    is_mute: Arc<AtomicBool>,
    /// Changes when every connection must end.
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub async fn to(upstream: u16, lie: Option<Lie>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let is_mute = Arc::new(AtomicBool::new(false));
        let cut = watch::Sender::new(());
        let (mute, cutting) = (Arc::clone(&is_mute), cut.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mute, mut ends) = (Arc::clone(&mute), cutting.subscribe());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pump(from_client, to_server, None, None) => {}
                        () = pump(from_server, to_client, Some(mute), lie) => {}
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self { port, is_mute, cut, task }
    }

    /// From now on requests arrive, and answers are lost.
    pub fn swallow_answers(&self) {
        self.is_mute.store(true, Ordering::SeqCst);
    }

    /// Ends every connection; new ones get their answers.
    pub fn heal(&self) {
        self.is_mute.store(false, Ordering::SeqCst);
        self.cut.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut.send_replace(());
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mute: Option<Arc<AtomicBool>>,
    lie: Option<Lie>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        if mute.as_ref().is_some_and(|mute| mute.load(Ordering::SeqCst)) {
            continue;
        }
        let mut bytes = buffer[..count].to_vec();
        if let Some((truth, lie)) = lie {
            while let Some(at) = bytes.windows(truth.len()).position(|window| window == truth) {
                bytes[at..at + lie.len()].copy_from_slice(lie);
            }
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
