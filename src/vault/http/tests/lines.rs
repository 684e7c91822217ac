//! Questions between nodes on lines, over real sockets.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::base::task::{Guarded, guard};
use crate::vault::ha::{PeerAddress, PeerError, PeerRequest, PeerResponse};
use crate::vault::http::line::{self, Lines};
use crate::vault::http::listen::{Drain, ListenLimits, Listener, ListenerTlsSource};

/// A node's cluster listener, for as long as the guard lives or until the drain's `stop`.
async fn listen(node: &Node, address: &str) -> (SocketAddr, Drain, Guarded<()>) {
    let socket = TcpListener::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    let drain = Drain::default();
    let tls = ListenerTlsSource::Cluster {
        tls: Arc::clone(&node.lifecycle.cluster_tls),
        ha: Arc::clone(&node.lifecycle.ha),
    };
    let listener = Listener { socket, tls, limits: ListenLimits::default(), drain: drain.clone() };
    let routes = node.routes.clone();
    let run = listener.run(move |request| answer(routes.clone(), request));
    (address, drain, guard("listener", run))
}

fn peer(identity: &str, address: SocketAddr) -> PeerAddress {
    PeerAddress { identity: identity.to_owned(), cluster_addr: format!("https://{address}") }
}

#[tokio::test]
async fn a_line_carries_one_question_after_the_other() {
    let node = Node::ready().await;
    let (address, drain, listener) = listen(&node, "127.0.0.1:0").await;
    let lines = Lines::new(Arc::clone(&node.lifecycle.cluster_tls), "asker_1_x".to_owned());
    let active = peer("n_u_r", address);
    for _ in 0..3 {
        let answer = lines.ask(&active, &PeerRequest::ReadIndex).await.unwrap();
        assert!(matches!(answer, PeerResponse::Head(_)), "{answer:?}");
        let open = drain.open.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(open, 1, "connections");
    }
    // The next question finds the line closed, and makes another one; then nobody listens.
    drain.stop.trigger();
    drop(listener);
    let ended = async {
        while drain.open.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("the line is closed by the side that ends");
    let refused = lines.ask(&active, &PeerRequest::ReadIndex).await.unwrap_err();
    assert_eq!(refused, PeerError::Refused(address.to_string()));
    let (again, _drain, _listener) = listen(&node, &address.to_string()).await;
    assert_eq!(again, address);
    let answer = lines.ask(&active, &PeerRequest::ReadIndex).await.unwrap();
    assert!(matches!(answer, PeerResponse::Head(_)), "{answer:?}");
}

#[tokio::test]
async fn only_the_node_that_was_asked_may_answer() {
    let node = Node::ready().await;
    let (address, _drain, _listener) = listen(&node, "127.0.0.1:0").await;
    let lines = Lines::new(Arc::clone(&node.lifecycle.cluster_tls), "asker_1_x".to_owned());
    let error = lines.ask(&peer("other_u_r", address), &PeerRequest::ReadIndex).await.unwrap_err();
    assert_eq!(error, PeerError::Maybe("n_u_r answered in the place of other_u_r".to_owned()));
    let sealed = Lines::new(Arc::default(), "asker_1_x".to_owned());
    let error = sealed.ask(&peer("n_u_r", address), &PeerRequest::ReadIndex).await.unwrap_err();
    assert_eq!(error, PeerError::NotSent("this node is sealed".to_owned()));
    let other_cluster = Node::ready().await;
    let stranger = Lines::new(Arc::clone(&other_cluster.lifecycle.cluster_tls), "asker_1_x".to_owned());
    let error = stranger.ask(&peer("n_u_r", address), &PeerRequest::ReadIndex).await.unwrap_err();
    assert!(matches!(error, PeerError::NotSent(_)), "{error:?}");
}

const GREETING: &[u8] = b"\0\0\0\x09\"a_u_r_1\"";
const QUESTION: &[u8] = b"\0\0\0\x0c\"read_index\"";

/// What is not a question in its frame ends a line.
pub(super) async fn refusals(texts: &mut Vec<String>) {
    let node = Node::ready().await;
    for (sent, kind) in [
        (vec![0xff; 4], ErrorKind::InvalidData),
        (b"\0\0\0\x03{}}".to_vec(), ErrorKind::InvalidData),
        ([GREETING, b"\0\0\0\x03\"x\""].concat(), ErrorKind::InvalidData),
        ([GREETING, &QUESTION[..5]].concat(), ErrorKind::UnexpectedEof),
        (GREETING.to_vec(), ErrorKind::UnexpectedEof),
    ] {
        let (mut near, far) = tokio::io::duplex(1 << 10);
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        let stop = Shutdown::default();
        let served = line::serve(far, &node.lifecycle.ha, Duration::from_secs(10), &stop).await;
        let error = served.unwrap_err();
        assert_eq!(error.kind(), kind, "{sent:?}");
        texts.push(error.to_string());
    }
    assert!(texts.contains(&"a frame of 4294967295 bytes, more than 65536".to_owned()), "{texts:?}");
}

#[tokio::test]
async fn a_line_on_which_nothing_is_asked_any_more_ends() {
    let node = Node::ready().await;
    let (mut near, far) = tokio::io::duplex(1 << 10);
    near.write_all(&[GREETING, QUESTION].concat()).await.unwrap();
    let stop = Shutdown::default();
    let served = line::serve(far, &node.lifecycle.ha, Duration::from_millis(10), &stop).await;
    assert_eq!(served.unwrap_err().kind(), ErrorKind::TimedOut);
    let mut said = Vec::new();
    near.read_to_end(&mut said).await.unwrap();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("\"n_u_r\"") && text.contains("\"head\""), "{text}");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_answered() {
    let node = Node::ready().await;
    let (mut near, far) = tokio::io::duplex(1 << 10);
    // Waits for a commit that never comes.
    let question = b"\0\0\0\x1c{\"confirm_head\":{\"seq\":999}}";
    near.write_all(&[GREETING, question].concat()).await.unwrap();
    near.shutdown().await.unwrap();
    let stop = Shutdown::default();
    line::serve(far, &node.lifecycle.ha, Duration::from_secs(10), &stop)
        .await
        .expect("an end without an answer");
    let mut said = Vec::new();
    near.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
