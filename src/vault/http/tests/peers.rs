//! What a standby says when the active node does not take or does not answer what was sent on.

use std::net::SocketAddr;

use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::base::task::{Guarded, guard};
use crate::vault::physical::{ActiveRecord, LockRecord};

/// An API address that nobody is asked at.
pub(super) const API: &str = "http://127.0.0.1:1";

/// A standby whose lock says that another node leads.
pub(super) struct Standby {
    pub(super) node: Node,
    register: InmemRegister,
    epoch: u64,
    /// A request has reached the other node.
    pub(super) arrived: Arc<Notify>,
    /// A request that the other node let hang was given up.
    pub(super) gone: Arc<Notify>,
}

/// What the other node does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Speaks no TLS.
    Plain,
    /// Says nothing at all.
    Silent,
    /// Reads the request and closes.
    Closes,
    /// Reads the request and lets it hang.
    Hangs,
    /// Answers that it did not carry the request out.
    Declines,
    /// Answers with more than anybody passes on.
    Floods,
}

impl Standby {
    /// It waits for a leader, or for one that can be reached, for `patience`.
    pub(super) async fn new(patience: Duration) -> Self {
        let register = InmemRegister::new();
        let mut standby = Self {
            node: Node::new(),
            register: register.clone(),
            epoch: 1,
            arrived: Arc::default(),
            gone: Arc::default(),
        };
        standby.names("https://127.0.0.1:1", API).await;
        standby.node = Node::unsealed(Some(register), patience).await;
        standby
    }

    /// Lets the lock name a node with these addresses; 120 s pass before its record runs out.
    async fn names(&self, cluster_addr: &str, api_addr: &str) {
        let found = self.register.read().await.unwrap();
        let record = LockRecord {
            holder: "other_1_x".to_owned(),
            duration_seconds: 120,
            renewals: found.as_ref().map_or(1, |found| found.record.renewals + 1),
            active: Some(ActiveRecord {
                identity: "other_1_x".to_owned(),
                epoch: self.epoch,
                api_addr: api_addr.to_owned(),
                cluster_addr: cluster_addr.to_owned(),
            }),
            ..LockRecord::default()
        };
        self.register.swap(found.as_ref().map(|found| &found.version), &record).await;
    }

    /// The same, once the node knows.
    pub(super) async fn follows(&self, cluster_addr: &str, api_addr: &str) {
        self.names(cluster_addr, api_addr).await;
        let mut status = self.node.lifecycle.ha.status();
        let knows = status.wait_for(|status| {
            status.leader.as_ref().is_some_and(|leader| {
                (leader.cluster_addr.as_str(), leader.api_addr.as_str()) == (cluster_addr, api_addr)
            })
        });
        tokio::time::timeout(Duration::from_secs(30), knows).await.expect("it hears of the leader").unwrap();
    }

    /// The text of a write that is refused with 503.
    async fn write(&self) -> String {
        let got = self.node.send("PUT", "/v1/secret/data/a", &[], "{\"data\": {}}").await;
        assert_eq!(got.status, 503, "{}", got.body);
        assert_eq!(got.headers["retry-after"], "1");
        got.body["errors"][0].as_str().unwrap_or_default().to_owned()
    }

    /// A server with this habit, for as long as the second value lives.
    pub(super) async fn peer(&self, habit: Habit) -> (SocketAddr, Guarded<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = TlsAcceptor::from(self.node.lifecycle.cluster_tls.server().unwrap());
        let notes = (Arc::clone(&self.arrived), Arc::clone(&self.gone));
        let serve = async move {
            let mut open: Vec<Guarded<()>> = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(guard("peer", behave(stream, tls.clone(), habit, notes.clone())));
            }
        };
        (address, guard("peers", serve))
    }
}

async fn behave(
    mut stream: TcpStream,
    tls: TlsAcceptor,
    habit: Habit,
    (arrived, gone): (Arc<Notify>, Arc<Notify>),
) {
    match habit {
        Habit::Plain => return drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
        Habit::Silent => return std::future::pending().await,
        _ => {}
    }
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut buffer = [0; 4096];
    if stream.read(&mut buffer).await.is_err() {
        return;
    }
    arrived.notify_one();
    let answer: &[u8] = match habit {
        Habit::Hangs => {
            while let Ok(1..) = stream.read(&mut buffer).await {}
            gone.notify_one();
            return;
        }
        Habit::Declines => {
            b"HTTP/1.1 421 Misdirected Request\r\nx-holdfast-outcome: not-executed\r\ncontent-length: 0\r\n\r\n"
        }
        Habit::Floods => b"HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n",
        _ => return,
    };
    let mut is_open = stream.write_all(answer).await.is_ok();
    let block = vec![b'x'; 1 << 20];
    while is_open && habit == Habit::Floods {
        is_open = stream.write_all(&block).await.is_ok();
    }
    // The connection is kept and used again, until the other side closes it.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let is_head = buffer[..read].windows(9).any(|window| window == b" HTTP/1.1");
        if is_head && stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// A port of loopback that nobody listens on.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A listener whose queue is full, so that connections to it hang; and what keeps it so.
async fn full_listener() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    let connect =
        async || tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await;
    while let Ok(Ok(stream)) = connect().await {
        held.push(stream);
    }
    (address, listener, held)
}

/// Everything that goes wrong between a standby and the active node.
pub(super) async fn refusals(texts: &mut Vec<String>) {
    let standby = Standby::new(HASTE).await;
    unsent(&standby, texts).await;
    crowded(&standby, texts).await;
    sent(&standby, texts).await;
    refused_here(&standby, texts).await;
    redirected(&standby).await;
    let sealed = Pool::new(Arc::default()).send("https://127.0.0.1:1", Request::new(Full::default())).await;
    let text = sealed.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, "nothing was sent: this node is sealed");
    texts.push(text);
    leaderless(standby, texts).await;
}

/// Nothing reached the active node: it is tried again until the patience is over.
async fn unsent(standby: &Standby, texts: &mut Vec<String>) {
    let prefix = "the active node cannot be reached: ";
    let closed = closed_port().await;
    let (plain, _plain) = standby.peer(Habit::Plain).await;
    let (silent, _silent) = standby.peer(Habit::Silent).await;
    let (declines, _declines) = standby.peer(Habit::Declines).await;
    let (full, _listener, _held) = full_listener().await;
    for (address, text) in [
        ("nonsense".to_owned(), "nothing was sent: \"nonsense\" is not the address of a peer".to_owned()),
        (format!("https://{closed}"), format!("connection refused: {closed}")),
        (format!("https://{plain}"), format!("nothing was sent: TLS with {plain}: ")),
        (format!("https://{silent}"), format!("nothing was sent: TLS with {silent} took over 2s")),
        (format!("https://{full}"), format!("nothing was sent: {full} did not answer in 1s")),
        (format!("https://{declines}"), "other_1_x is not active any more".to_owned()),
    ] {
        standby.follows(&address, API).await;
        let said = standby.write().await;
        assert!(said.starts_with(&format!("{prefix}{text}")), "{address}: {said}");
        texts.push(said);
    }
}

/// An active node without an address for peers takes requests from clients alone.
async fn redirected(standby: &Standby) {
    standby.follows("", API).await;
    let got = standby.node.send("PUT", "/v1/secret/data/a", &[], "{\"data\": {}}").await;
    assert_eq!(got.status, 307, "{}", got.body);
    assert_eq!(got.headers["location"].to_str().unwrap(), format!("{API}/v1/secret/data/a"));
}

/// So many requests at once for a node that says nothing that not all can even connect.
async fn crowded(standby: &Standby, texts: &mut Vec<String>) {
    let (silent, _silent) = standby.peer(Habit::Silent).await;
    let address = format!("https://{silent}");
    let pool = Pool::new(Arc::clone(&standby.node.lifecycle.cluster_tls));
    let asks = (0..100).map(|_| pool.send(&address, Request::new(Full::default())));
    let answers = futures_util::future::join_all(asks).await;
    let said: Vec<String> = answers.into_iter().map(|answer| answer.unwrap_err().to_string()).collect();
    let text =
        format!("nothing was sent: 32 connections to {address} are being made, and none was within 2s");
    assert!(said.contains(&text), "{said:?}");
    texts.push(text);
}

/// The active node may have carried the request out.
async fn sent(standby: &Standby, texts: &mut Vec<String>) {
    let prefix = "the outcome of the request is unknown: it may or may not have been carried out: ";
    for (habit, text) in [
        (Habit::Closes, "the connection was closed before the answer: "),
        (Habit::Floods, "the answer cannot be used: it is larger than 67108864 bytes"),
    ] {
        let (address, _peer) = standby.peer(habit).await;
        standby.follows(&format!("https://{address}"), API).await;
        let said = standby.write().await;
        assert!(said.starts_with(&format!("{prefix}{text}")), "{said}");
        texts.push(said);
    }
    let (address, _peer) = standby.peer(Habit::Hangs).await;
    standby.follows(&format!("https://{address}"), API).await;
    let said = standby.write().await;
    assert_eq!(said, format!("{prefix}other_1_x has not been heard of for 3 s"));
    texts.push(said);
    let hasty = RequestLimits { duration: Duration::from_millis(500), ..RequestLimits::default() };
    let routes = client_routes(Arc::clone(&standby.node.api), hasty);
    let body = Body::from("{\"data\": {}}");
    let got = standby.node.send_to(&routes, "PUT", "/v1/secret/data/a", &[], body).await;
    let text = "the request took longer than 0 s and was given up; it may or may not have been carried out";
    assert_eq!((got.status, got.body), (503, json!({ "errors": [text] })));
    texts.push(text.to_owned());
}

/// Requests that a standby neither carries out nor sends on.
async fn refused_here(standby: &Standby, texts: &mut Vec<String>) {
    let got = standby.node.send("PUT", "/v1/sys/seal", &[], "").await;
    let text = "vault cannot seal when in standby mode; please restart instead";
    assert_eq!((got.status, got.body), (400, json!({ "errors": [text] })));
    texts.push(text.to_owned());
    standby.follows("https://127.0.0.1:1", "http://127.0.0.1:1\n").await;
    let header = [("x-vault-no-request-forwarding", "1")];
    let got = standby.node.send("PUT", "/v1/secret/data/a", &header, "{}").await;
    let text = "the active node advertises no usable address";
    assert_eq!((got.status, got.body), (503, json!({ "errors": [text] })));
    texts.push(text.to_owned());
}

/// Another node takes over while a request is under way, and then nobody leads.
async fn leaderless(mut standby: Standby, texts: &mut Vec<String>) {
    standby.arrived = Arc::default();
    let (address, _peer) = standby.peer(Habit::Hangs).await;
    standby.follows(&format!("https://{address}"), API).await;
    standby.epoch = 2;
    let (said, ()) = tokio::join!(standby.write(), async {
        standby.arrived.notified().await;
        standby.names("https://127.0.0.1:1", API).await;
    });
    assert!(said.ends_with(": other_1_x lost the leadership before it answered"), "{said}");
    texts.push(said);

    let found = standby.register.read().await.unwrap().unwrap();
    let nobody = LockRecord { active: None, renewals: found.record.renewals + 1, ..found.record };
    standby.register.swap(Some(&found.version), &nobody).await;
    let mut status = standby.node.lifecycle.ha.status();
    let alone = status.wait_for(|status| status.leader.is_none());
    tokio::time::timeout(Duration::from_secs(30), alone).await.expect("it hears that nobody leads").unwrap();
    let said = standby.write().await;
    assert_eq!(said, "no node is active at the moment: the lock of the last one has not run out yet");
    texts.push(said);

    let held: Vec<_> = std::iter::from_fn(|| standby.node.api.hold.enter(0)).collect();
    assert_eq!(held.len(), 1024);
    let said = standby.write().await;
    assert_eq!(said, "no node is active at the moment and too many requests are waiting for one");
    texts.push(said);
}
