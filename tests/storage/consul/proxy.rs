//! A TCP proxy that can lose answers: the request is carried out, and nobody tells.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy on loopback; it ends with the runtime.
pub struct Proxy {
    pub port: u16,
    switch: Arc<Switch>,
}

#[derive(Default)]
struct Switch {
    swallows: AtomicBool,
    swallowed: AtomicUsize,
}

impl Proxy {
    /// A proxy to a port of this host that passes everything on.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let switch = Arc::new(Switch::default());
        let upstream = SocketAddr::from(([127, 0, 0, 1], port));
        let shared = Arc::clone(&switch);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, Arc::clone(&shared)));
            }
        });
        Self { port: own, switch }
    }

    /// From now on, or no longer: every answer is lost, and its connection with it.
    pub fn swallow(&self, swallows: bool) {
        self.switch.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Answers that were lost.
    pub fn swallowed(&self) -> usize {
        self.switch.swallowed.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, switch: Arc<Switch>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    };
    let answers = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if switch.swallows.load(Ordering::SeqCst) {
                switch.swallowed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
