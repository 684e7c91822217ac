//! Servers on this machine's loopback as pods of the lab see them: at addresses of the control plane's machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// Most connections through a door; others wait.
const CONNECTIONS: usize = 512;
/// The first server's address in the lab's network; the next ones follow. Nodes begin at 198.18.0.11.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// An open door. It closes, with all that goes through it, when it is dropped.
pub struct Door(JoinHandle<()>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The address in the lab of the server with this number, counted from zero.
pub fn address(number: u8) -> Ipv4Addr {
    let [a, b, c, last] = FIRST.octets();
    Ipv4Addr::new(a, b, c, last + number)
}

impl Door {
    /// Lets the lab reach `port` of the loopback at port `outside` of the server's address.
    pub async fn open(number: u8, outside: u16, port: u16) -> Result<Self, String> {
        let address = address(number);
        let given = format!("{address}/32");
        let added = Command::new("ip").args(["addr", "replace", &given, "dev", "br0"]).output();
        let added = added.map_err(|e| format!("ip: {e}"))?;
        if !added.status.success() {
            return Err(format!("ip addr replace {given}: {}", String::from_utf8_lossy(&added.stderr)));
        }
        let listener = TcpListener::bind(SocketAddr::from((address, outside)))
            .await
            .map_err(|e| format!("{address}:{outside}: {e}"))?;
        Ok(Self(tokio::spawn(serve(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))))
    }
}

async fn serve(listener: TcpListener, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        while open.try_join_next().is_some() {}
        let Ok((mut client, _)) = listener.accept().await else { continue };
        open.spawn(async move {
            let _place = place;
            if let Ok(mut server) = TcpStream::connect(to).await {
                client.set_nodelay(true).ok();
                server.set_nodelay(true).ok();
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            }
        });
    }
}
