//! A TCP proxy that loses what the server answers, when told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// In front of a port on 127.0.0.1.
pub struct Proxy {
    pub port: u16,
    /// Answers are thrown away instead of passed on.
    swallows: Arc<AtomicBool>,
    swallowed: Arc<AtomicUsize>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (swallows, swallowed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (flag, count) = (Arc::clone(&swallows), Arc::clone(&swallowed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, Arc::clone(&flag), Arc::clone(&count)));
            }
        });
        Self { port, swallows, swallowed }
    }

    /// From now on answers are lost, those of connections that are open already included.
    pub fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }

    /// How many pieces of answers were lost so far.
    pub fn swallowed(&self) -> usize {
        self.swallowed.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: u16, swallows: Arc<AtomicBool>, swallowed: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
        to_server.shutdown().await.ok();
    };
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if swallows.load(Ordering::SeqCst) {
                swallowed.fetch_add(1, Ordering::SeqCst);
            } else if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        to_client.shutdown().await.ok();
    };
    tokio::join!(up, down);
}
