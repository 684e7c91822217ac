//! One session with one server: requests are sent one behind the other without waiting, and answers are matched by number.
//!
//! A session means nothing to the store: when its connection ends, for whatever reason, it is forgotten.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::{ANSWER_BYTES, Settings};
use super::jute::Decoder;
use super::proto::{self, Code, XID_AUTH, XID_EVENT, XID_PING, opcode};
use super::stream::{self, Refusal, Stream};
use crate::base::clock::{Clock, Moment, SystemClock};
use crate::base::task;
use crate::config::{Credential, ZookeeperServer};
use crate::vault::physical::unusable::Unusable;

/// The session time-out that is asked for. The server grants something between 2 and 20 of its ticks, by default at least
/// 4 s. A third of the shorter one is the time between two pings; a connection on which nothing arrives for two thirds
/// has ended.
const SESSION: Duration = Duration::from_secs(3);
/// Requests that wait for being written.
const QUEUE: usize = 64;
/// How long the last message of a connection may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// What a server answered to a request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: Code,
    pub(super) body: Bytes,
}

/// The connection ended before the answer came: the request may have been executed, or may be later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost(pub(super) String);

struct Outgoing {
    opcode: i32,
    body: Vec<u8>,
    answer: oneshot::Sender<Reply>,
}

/// A session. It is closed when the last handle is dropped.
pub(super) struct Connection {
    outgoing: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
}

struct Shared {
    server: ZookeeperServer,
    opened: Moment,
    pending: Mutex<HashMap<i32, oneshot::Sender<Reply>>>,
    /// Why the connection ended.
    ended: Mutex<Option<String>>,
    give_up: CancellationToken,
    /// Wakes those who wait for a change: on every event, and when the connection ends.
    events: watch::Sender<()>,
}

/// The answer that will come to a request.
pub(super) struct Promise {
    answer: oneshot::Receiver<Reply>,
    shared: Arc<Shared>,
}

impl Promise {
    pub(super) async fn answer(self) -> Result<Reply, Lost> {
        self.answer.await.map_err(|_| self.shared.lost())
    }
}

impl Connection {
    /// Begins a session with `server` and proves who this node is. `events` is told of every event.
    pub(super) async fn open(
        settings: &Settings,
        server: &ZookeeperServer,
        events: watch::Sender<()>,
    ) -> Result<Self, Refusal> {
        let mut stream = stream::open(settings, server).await?;
        let session = begin(server, stream.as_mut()).await?;
        prove(settings, server, stream.as_mut()).await?;
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            server: server.clone(),
            opened: SystemClock.now(),
            pending: Mutex::default(),
            ended: Mutex::default(),
            give_up: CancellationToken::new(),
            events,
        });
        task::spawn("zookeeper-connection", run(stream, queue, Arc::clone(&shared), session));
        Ok(Self { outgoing, shared })
    }

    pub(super) fn server(&self) -> &ZookeeperServer {
        &self.shared.server
    }

    /// How long the session has lasted.
    pub(super) fn age(&self) -> Duration {
        SystemClock.now().since(self.shared.opened)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.shared.ended().is_none()
    }

    /// Ends the connection, for `reason`: what waits for an answer is lost.
    pub(super) fn give_up(&self, reason: &str) {
        self.shared.end(reason.to_owned());
        self.shared.give_up.cancel();
    }

    /// Sends a request behind those that were sent before.
    pub(super) async fn send(&self, opcode: i32, body: Vec<u8>) -> Result<Promise, Lost> {
        let (answer, receiver) = oneshot::channel();
        let sent = self.outgoing.send(Outgoing { opcode, body, answer }).await;
        sent.map_err(|_| self.shared.lost())?;
        Ok(Promise { answer: receiver, shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    fn ended(&self) -> MutexGuard<'_, Option<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<Reply>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: String) {
        self.ended().get_or_insert(reason);
        self.pending().clear();
        self.events.send_replace(());
    }

    fn lost(&self) -> Lost {
        let reason = self.ended().clone().unwrap_or_else(|| "the connection ended".to_owned());
        Lost(format!("{}: {reason}", self.server))
    }
}

/// Begins a session; the time-out to go by.
async fn begin(server: &ZookeeperServer, stream: &mut dyn Stream) -> Result<Duration, Refusal> {
    let session_millis = i32::try_from(SESSION.as_millis()).unwrap_or(i32::MAX);
    let failed = |error: io::Error| not_served(server, &error);
    write_frame(stream, &proto::connect(session_millis)).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let answer = read_frame(stream, SESSION).await.map_err(failed)?;
    let granted = proto::granted(answer).map_err(|error| wrong_service(server, error.to_string()))?;
    match u64::try_from(granted) {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis).min(SESSION)),
        _ => Err(Refusal::Away(format!("{server}: it granted no session"))),
    }
}

/// Proves who this node is, with the credential as it is now.
async fn prove(
    settings: &Settings,
    server: &ZookeeperServer,
    stream: &mut dyn Stream,
) -> Result<(), Refusal> {
    let Some(auth_info) = &settings.auth_info else { return Ok(()) };
    let setting = |reason: String| Refusal::Unusable(Unusable::Setting { key: "auth_info", reason });
    let secret = auth_info.read().await.map_err(|error| setting(error.to_string()))?;
    let Some((scheme, credential)) = secret.expose().split_once(':') else {
        let reason = "it must be scheme:secret, such as digest:user:password".to_owned();
        return Err(match auth_info {
            Credential::File(path) => {
                let path = path.display().to_string();
                Refusal::Unusable(Unusable::File { key: "auth_info", path, reason })
            }
            Credential::Text(_) => setting(reason),
        });
    };
    let failed = |error: io::Error| stream::meaning(server, &error);
    let body = zeroize::Zeroizing::new(proto::auth(scheme, credential.as_bytes()));
    let mut frame = zeroize::Zeroizing::new(Vec::with_capacity(body.len() + 8));
    frame.extend_from_slice(&XID_AUTH.to_be_bytes());
    frame.extend_from_slice(&opcode::AUTH.to_be_bytes());
    frame.extend_from_slice(&body);
    write_frame(stream, &frame).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let (_, reply) = read_reply(stream, SESSION).await.map_err(failed)?;
    if reply.code != Code::OK {
        let (address, reason) = (server.to_string(), format!("it does not accept the {scheme} credential"));
        return Err(Refusal::Unusable(Unusable::Refused { address, reason, check: "auth_info" }));
    }
    Ok(())
}

/// A server that does not serve, for want of a quorum, cuts the connection instead of answering.
fn not_served(server: &ZookeeperServer, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Refusal::Away(format!("{server}: it cut the connection instead of beginning a session"))
        }
        io::ErrorKind::InvalidData if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => {
            wrong_service(server, "its first answer is none of ZooKeeper's".to_owned())
        }
        _ => stream::meaning(server, error),
    }
}

fn wrong_service(server: &ZookeeperServer, reason: String) -> Refusal {
    let (address, expected) = (server.to_string(), "ZooKeeper");
    Refusal::Unusable(Unusable::WrongService { address, expected, reason })
}

/// Serves a session until it ends.
async fn run(
    stream: Box<dyn Stream>,
    queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    session: Duration,
) {
    let (reader, writer) = tokio::io::split(stream);
    let reading = pin!(read_all(reader, &shared, session * 2 / 3));
    let writing = pin!(write_all(writer, queue, &shared, session / 3));
    // Neither is dropped before the end is known: whoever finds the queue closed must not be given this connection again.
    let reason = tokio::select! {
        error = reading => error,
        error = writing => error,
        () = shared.give_up.cancelled() => "it was given up".to_owned(),
    };
    shared.end(reason);
}

async fn read_all(reader: ReadHalf<Box<dyn Stream>>, shared: &Shared, silence: Duration) -> String {
    let mut reader = BufReader::new(reader);
    loop {
        match read_reply(&mut reader, silence).await {
            Err(error) => return error.to_string(),
            Ok((XID_EVENT, _)) => {
                shared.events.send_replace(());
            }
            Ok((XID_PING, _)) => {}
            Ok((xid, reply)) => {
                let waiting = shared.pending().remove(&xid);
                let Some(waiting) = waiting else { return format!("an answer to nothing, number {xid}") };
                // Whoever asked may have given up meanwhile.
                waiting.send(reply).ok();
            }
        }
    }
}

async fn write_all(
    mut writer: WriteHalf<Box<dyn Stream>>,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: &Shared,
    ping: Duration,
) -> String {
    let mut last_xid = 0;
    loop {
        let written = match timeout(ping, queue.recv()).await {
            Ok(None) => {
                let farewell = async {
                    write_request(&mut writer, 0, opcode::CLOSE_SESSION, &[]).await?;
                    writer.flush().await
                };
                // The server finds out by itself otherwise.
                let _ = timeout(FAREWELL, farewell).await;
                return "it is not needed any more".to_owned();
            }
            Err(_) => write_request(&mut writer, XID_PING, opcode::PING, &[]).await,
            Ok(Some(Outgoing { opcode, body, answer })) => {
                last_xid = if last_xid == i32::MAX { 1 } else { last_xid + 1 };
                shared.pending().insert(last_xid, answer);
                write_request(&mut writer, last_xid, opcode, &body).await
            }
        };
        let written = match written {
            Ok(()) if queue.is_empty() => writer.flush().await,
            other => other,
        };
        if let Err(error) = written {
            return error.to_string();
        }
    }
}

async fn write_request(
    writer: &mut (impl AsyncWriteExt + Unpin),
    xid: i32,
    opcode: i32,
    body: &[u8],
) -> io::Result<()> {
    let mut frame = Vec::with_capacity(body.len() + 12);
    frame.extend_from_slice(&u32::try_from(body.len() + 8).map_err(|_| too_long())?.to_be_bytes());
    frame.extend_from_slice(&xid.to_be_bytes());
    frame.extend_from_slice(&opcode.to_be_bytes());
    frame.extend_from_slice(body);
    writer.write_all(&frame).await
}

async fn write_frame(writer: &mut (impl AsyncWriteExt + Unpin + ?Sized), frame: &[u8]) -> io::Result<()> {
    writer.write_u32(u32::try_from(frame.len()).map_err(|_| too_long())?).await?;
    writer.write_all(frame).await
}

/// Reads a frame; `silence` is how long nothing at all may come.
async fn read_frame(
    reader: &mut (impl AsyncReadExt + Unpin + ?Sized),
    silence: Duration,
) -> io::Result<Bytes> {
    let length = within(silence, reader.read_u32()).await?;
    let length = usize::try_from(length).map_err(|_| too_long())?;
    if length > ANSWER_BYTES {
        return Err(too_long());
    }
    let mut frame = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let more = within(silence, reader.read(&mut frame[filled..])).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += more;
    }
    Ok(frame.into())
}

async fn within<T>(silence: Duration, read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(silence, read).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} ms", silence.as_millis()))
    })?
}

async fn read_reply(
    reader: &mut (impl AsyncReadExt + Unpin + ?Sized),
    silence: Duration,
) -> io::Result<(i32, Reply)> {
    let mut decoder = Decoder(read_frame(reader, silence).await?);
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let xid = decoder.int().map_err(malformed)?;
    decoder.long().map_err(malformed)?;
    let code = Code(decoder.int().map_err(malformed)?);
    Ok((xid, Reply { code, body: decoder.0 }))
}

/// A message that is longer than any of ZooKeeper's may be.
#[derive(Debug, thiserror::Error)]
#[error("a message above the limit of {ANSWER_BYTES} bytes")]
struct TooLong;

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TooLong)
}
