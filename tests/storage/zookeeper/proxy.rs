//! A small TCP proxy that can swallow answers: the request arrives, and nobody learns what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A proxy in front of one server. It ends with the test's runtime.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    swallows: AtomicBool,
    refuses: AtomicBool,
    /// Connections that were cut because an answer was swallowed.
    cut: AtomicU32,
    /// Bytes that clients sent.
    sent: AtomicU32,
    /// How many connections are cut at a large request, and whether new ones are refused then.
    cuts_large: AtomicU32,
    refuses_after: AtomicBool,
    /// Ends every connection.
    end: Notify,
}

/// More bytes on a connection than small requests have.
const LARGE: usize = 200 << 10;

impl Proxy {
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared::default());
        let proxy = Self { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let (server, shared) = (server.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        carry(client, server, &shared).await;
                    }
                });
            }
        });
        proxy
    }

    /// From now on the next bytes of the server are swallowed and the connection is cut.
    pub fn swallow(&self, swallows: bool) {
        self.shared.swallows.store(swallows, Ordering::SeqCst);
    }

    /// From now on new connections are cut at once, or carried again; those that there are end.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
        self.cut_all();
    }

    /// Cuts the connections that there are.
    pub fn cut_all(&self) {
        self.shared.end.notify_waiters();
    }

    /// The next connections are cut at a large request; after the last one new ones are refused, if so.
    pub fn cut_large(&self, times: u32, refuses_after: bool) {
        self.shared.refuses_after.store(refuses_after, Ordering::SeqCst);
        self.shared.cuts_large.store(times, Ordering::SeqCst);
    }

    /// Connections cut so far.
    pub fn cut(&self) -> u32 {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// Bytes that clients sent so far.
    pub fn sent(&self) -> u32 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Whether a connection on which so many bytes were sent is to be cut.
    fn is_too_large(&self, sent: usize) -> bool {
        let cuts = |left: u32| left.checked_sub(1);
        let is_cut =
            sent > LARGE && self.cuts_large.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cuts).is_ok();
        if is_cut && self.cuts_large.load(Ordering::SeqCst) == 0 && self.refuses_after.load(Ordering::SeqCst)
        {
            self.refuses.store(true, Ordering::SeqCst);
        }
        is_cut
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let end = shared.end.notified();
    tokio::pin!(end);
    let mut sent = 0;
    loop {
        tokio::select! {
            () = &mut end => return,
            read = client.read(&mut up) => match read {
                Ok(count) if count > 0 => {
                    shared.sent.fetch_add(u32::try_from(count).unwrap_or(0), Ordering::SeqCst);
                    sent += count;
                    if shared.is_too_large(sent) { return }
                    if server.write_all(&up[..count]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(count) if count > 0 => {
                    if shared.swallows.load(Ordering::SeqCst) {
                        shared.cut.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if client.write_all(&down[..count]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
