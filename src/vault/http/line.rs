//! [`Line`]: a connection between two nodes that carries questions and answers without HTTP.
//!
//! Every read on a standby waits for an answer of the active node, so what that answer costs is most of what a read there
//! costs more than one on the active node. A line is chosen in the TLS handshake ([`LINE`]). Each side first says who
//! it is; then each question and each answer is a frame: its length in four bytes, the most significant first, and JSON.
//! The next question follows the answer to the one before.
//!
//! [`LINE`]: super::cluster::LINE

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::cluster::ClusterTls;
use super::dial::dial;
use super::peer;
use crate::base::task::Shutdown;
use crate::vault::ha::{Ha, PeerAddress, PeerError, PeerRequest, PeerResponse};

/// Largest frame.
const FRAME_BYTES: usize = 64 << 10;
/// Longest time until the other side has said who it is.
const GREETING: Duration = Duration::from_secs(10);

/// A line to a peer, as the one that asks has it.
struct Line {
    stream: TlsStream<TcpStream>,
    /// The URL that it was made with.
    address: String,
    /// The identity of the other side; it says so before its first answer.
    peer: Option<String>,
}

/// The line to the peer that was asked last. Questions to it wait for nothing: while one is under way, the next makes
/// another line.
pub(super) struct Lines {
    tls: Arc<ClusterTls>,
    own: String,
    kept: Mutex<Option<Line>>,
}

impl Lines {
    /// Lines in the name of the node `own`.
    pub(super) fn new(tls: Arc<ClusterTls>, own: String) -> Self {
        Self { tls, own, kept: Mutex::default() }
    }

    /// Asks `peer` and waits for the answer. Dropping the future closes the line, so that the peer stops as well.
    ///
    /// # Errors
    /// See [`PeerError`]. The question may have been answered unless it is one that says that nothing was sent.
    pub(super) async fn ask(
        &self,
        peer: &PeerAddress,
        question: &PeerRequest,
    ) -> Result<PeerResponse, PeerError> {
        let config = self.tls.asker().ok_or_else(|| PeerError::NotSent("this node is sealed".to_owned()))?;
        let mut line = match self.take(&peer.cluster_addr) {
            Some(line) => line,
            None => {
                let stream = dial(&peer.cluster_addr, config).await?;
                Line { stream, address: peer.cluster_addr.clone(), peer: None }
            }
        };
        let answer = line.ask(&self.own, question).await;
        let answer = answer.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => PeerError::Maybe(error.to_string()),
            _ => PeerError::Reset(error.to_string()),
        })?;
        let speaker = line.peer.as_deref().unwrap_or_default();
        if speaker != peer.identity {
            return Err(peer::stranger(speaker, peer));
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        Ok(answer)
    }

    /// The line that was kept, if it leads to `address` and is still open.
    fn take(&self, address: &str) -> Option<Line> {
        let mut line = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (line.address == address && !line.is_closed()).then_some(line)
    }
}

impl Line {
    /// Whether the other side closed it, or speaks without being asked.
    fn is_closed(&mut self) -> bool {
        self.stream.read_u8().now_or_never().is_some()
    }

    async fn ask(&mut self, own: &str, question: &PeerRequest) -> io::Result<PeerResponse> {
        let mut sent = Vec::new();
        if self.peer.is_none() {
            append(&mut sent, &own)?;
        }
        append(&mut sent, question)?;
        self.stream.write_all(&sent).await?;
        self.stream.flush().await?;
        if self.peer.is_none() {
            self.peer = Some(receive(&mut self.stream).await?);
        }
        receive(&mut self.stream).await
    }
}

/// Answers the questions on `stream`, on which the other side has chosen a line, until it closes it, until it has asked
/// nothing for `idle`, or until `stop`.
///
/// # Errors
/// When the connection breaks, or the other side does not keep to the protocol.
pub(super) async fn serve<IO>(mut stream: IO, ha: &Ha, idle: Duration, stop: &Shutdown) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let from: String = tokio::time::timeout(GREETING, receive(&mut stream)).await.map_err(late)??;
    let mut sent = Vec::new();
    append(&mut sent, &ha.settings().identity)?;
    loop {
        let question = tokio::select! {
            question = tokio::time::timeout(idle, receive(&mut stream)) => question.map_err(late)??,
            () = stop.wait() => return Ok(()),
        };
        let answer = tokio::select! {
            biased;
            answer = ha.answer(&from, question) => answer,
            // Nobody waits for the answer any more.
            _ = stream.read_u8() => return Ok(()),
        };
        append(&mut sent, &answer)?;
        stream.write_all(&sent).await?;
        stream.flush().await?;
        sent.clear();
    }
}

/// Adds `value` as a frame to what is to be sent.
fn append<T: Serialize>(sent: &mut Vec<u8>, value: &T) -> io::Result<()> {
    let begin = sent.len();
    sent.extend([0; 4]);
    serde_json::to_writer(&mut *sent, value)?;
    let length = sent.len() - begin - 4;
    let stated =
        u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES).ok_or_else(|| too_long(length))?;
    if let Some(place) = sent.get_mut(begin..begin + 4) {
        place.copy_from_slice(&stated.to_be_bytes());
    }
    Ok(())
}

/// Reads one frame.
async fn receive<R: AsyncRead + Unpin, T: DeserializeOwned>(stream: &mut R) -> io::Result<T> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(too_long(length));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    serde_json::from_slice(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_long(length: usize) -> io::Error {
    let text = format!("a frame of {length} bytes, more than {FRAME_BYTES}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
