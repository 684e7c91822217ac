//! A TCP proxy in front of a server that can keep its answers to itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Text that is replaced in what the server says; both are equally long.
pub type Lie = (&'static [u8], &'static [u8]);

/// Whose answers are lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mute {
    Nobody,
    /// Connections are counted from 0.
    One(usize),
    Everybody,
}

/// A proxy; it ends with this value.
pub struct Proxy {
    pub port: u16,
    mute: Arc<Mutex<Mute>>,
    connections: Arc<AtomicUsize>,
    /// Changes when every connection must end.
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub async fn to(upstream: u16, lie: Option<Lie>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mute = Arc::new(Mutex::new(Mute::Nobody));
        let connections = Arc::new(AtomicUsize::new(0));
        let cut = watch::Sender::new(());
        let (muting, counting, cutting) = (Arc::clone(&mute), Arc::clone(&connections), cut.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = counting.fetch_add(1, Ordering::SeqCst);
                let (muting, mut ends) = (Arc::clone(&muting), cutting.subscribe());
                let is_mute = move || {
                    let mute = *muting.lock().expect("no panic");
                    mute == Mute::Everybody || mute == Mute::One(number)
                };
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pump(from_client, to_server, || false, None) => {}
                        () = pump(from_server, to_client, is_mute, lie) => {}
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self { port, mute, connections, cut, task }
    }

    /// From now on requests arrive, and answers are lost.
    pub fn swallow_answers(&self) {
        *self.mute.lock().expect("no panic") = Mute::Everybody;
    }

    /// As [`Proxy::swallow_answers`], on one connection alone; they are counted from 0.
    pub fn swallow_answers_of(&self, number: usize) {
        *self.mute.lock().expect("no panic") = Mute::One(number);
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends every connection; new ones get their answers.
    pub fn heal(&self) {
        *self.mute.lock().expect("no panic") = Mute::Nobody;
        self.cut.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut.send_replace(());
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_mute: impl Fn() -> bool, lie: Option<Lie>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        if is_mute() {
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
