//! Clients that go away before they were answered.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::peers::{API, Habit, Standby};
use super::*;
use crate::base::task::{Guarded, guard};
use crate::vault::http::listen::{Drain, ListenLimits, Listener, ListenerTlsSource};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The node's API at a real socket, for as long as the second value lives.
async fn listen(node: &Node) -> (SocketAddr, Guarded<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener {
        socket,
        tls: ListenerTlsSource::Plain,
        limits: ListenLimits::default(),
        drain: Drain::default(),
    };
    let routes = node.routes.clone();
    (address, guard("listener", listener.run(move |request| answer(routes.clone(), request))))
}

/// A client that has sent a write.
async fn writer(node: &Node, address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "PUT /v1/secret/data/a HTTP/1.1\r\nhost: a\r\nx-vault-token: {}\r\ncontent-length: 12\r\n\r\n{{\"data\": {{}}}}",
        node.token
    );
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

async fn until_waiting(node: &Node, count: usize) {
    let waiting = async {
        while node.api.hold.count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the number of those that wait");
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_among_those_that_wait_back() {
    // Far longer than the test: nothing ends by itself.
    let standby = Standby::new(Duration::from_secs(600)).await;
    let (address, _listener) = listen(&standby.node).await;
    let clients = [writer(&standby.node, address).await, writer(&standby.node, address).await];
    until_waiting(&standby.node, 2).await;
    drop(clients);
    until_waiting(&standby.node, 0).await;
}

#[tokio::test]
async fn what_was_sent_on_for_a_client_that_went_away_is_given_up() {
    let standby = Standby::new(Duration::from_secs(600)).await;
    let (peer, _peer) = standby.peer(Habit::Hangs).await;
    standby.follows(&format!("https://{peer}"), API).await;
    let (address, _listener) = listen(&standby.node).await;
    let client = writer(&standby.node, address).await;
    tokio::time::timeout(PATIENCE, standby.arrived.notified()).await.expect("the request arrives");
    drop(client);
    tokio::time::timeout(PATIENCE, standby.gone.notified()).await.expect("the active node is let go");
}
