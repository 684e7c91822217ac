//! A TCP proxy in front of one server that can be told to do what networks do.
//!
//! What is held in one direction is delivered when that direction passes again, as after a cut that TCP survives,
//! also if its sender has gone meanwhile: that is how a write arrives late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Chunks of a connection that may be held in one direction; then its sender waits.
const CHUNKS: usize = 1024;
const CHUNK_BYTES: usize = 16 << 10;

/// What happens to bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    #[default]
    Pass,
    /// Nothing arrives, and nobody is told.
    Hold,
    /// Everything arrives this much later.
    Delay(Duration),
    /// Only what came before this moment arrives.
    Before(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    to: Way,
    back: Way,
    is_refusing: bool,
    /// Connections of a lower number break.
    generation: u64,
}

/// Answers that are to be lost.
#[derive(Default)]
struct Losses {
    /// Counts the orders.
    orders: AtomicU64,
    /// The order that waits for an answer; zero: none.
    armed: AtomicU64,
    lost: AtomicU64,
}

/// The proxy. It closes when it is dropped.
pub struct Link {
    /// Where its clients connect.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    losses: Arc<Losses>,
    task: JoinHandle<()>,
}

impl Link {
    /// Opens a link to `target`, which need not be there, at the port `port` of loopback.
    pub async fn open(target: SocketAddr, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port for a link");
        let address = listener.local_addr().expect("an address");
        let (state, changes) = watch::channel(State::default());
        let losses = Arc::new(Losses::default());
        let task = tokio::spawn(accept(listener, address, target, changes, Arc::clone(&losses)));
        Self { address, state, losses, task }
    }

    /// Sets what happens to requests and to answers, of open connections and of new ones.
    pub fn set(&self, to: Way, back: Way) {
        self.state.send_modify(|state| (state.to, state.back) = (to, back));
    }

    /// Breaks all connections and refuses new ones.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.is_refusing = true;
            state.generation += 1;
        });
    }

    /// Lets everything pass again. `breaks`: what was held is lost together with its connections.
    pub fn heal(&self, breaks: bool) {
        self.state.send_modify(|state| {
            *state = State { generation: state.generation + u64::from(breaks), ..State::default() };
        });
    }

    /// Loses the next answer to something that is sent from now on, and its connection with it.
    pub fn lose_next_answer(&self) {
        let order = self.losses.orders.fetch_add(1, Ordering::SeqCst) + 1;
        self.losses.armed.store(order, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> u64 {
        self.losses.lost.load(Ordering::SeqCst)
    }

    /// Lets answers pass that were to be lost and did not come.
    pub fn lose_nothing(&self) {
        self.losses.armed.store(0, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut changes: watch::Receiver<State>,
    losses: Arc<Losses>,
) {
    let mut listener = Some(listener);
    loop {
        let is_refusing = changes.borrow_and_update().is_refusing;
        if is_refusing {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None if is_refusing => std::future::pending().await,
                None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            accepted = accepted => if let Some((client, _)) = accepted {
                tokio::spawn(carry(client, target, changes.clone(), Arc::clone(&losses)));
            }
        }
    }
}

async fn carry(client: TcpStream, target: SocketAddr, state: watch::Receiver<State>, losses: Arc<Losses>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let generation = state.borrow().generation;
    let mut breaks = state.clone();
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    // The order that was in force when something was sent to the server last.
    let sent_under = AtomicU64::new(0);
    let to = async {
        let tap = || {
            sent_under.store(losses.armed.load(Ordering::SeqCst), Ordering::SeqCst);
            true
        };
        pump(client_read, server_write, state.clone(), |state| state.to, tap).await
    };
    let back = async {
        let tap = || {
            let order = sent_under.load(Ordering::SeqCst);
            let mut is_lost = order != 0;
            is_lost = is_lost
                && losses.armed.compare_exchange(order, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if is_lost {
                losses.lost.fetch_add(1, Ordering::SeqCst);
            }
            !is_lost
        };
        pump(server_read, client_write, state.clone(), |state| state.back, tap).await
    };
    let both = async {
        tokio::pin!(to, back);
        let mut has_back_ended = false;
        loop {
            tokio::select! {
                end = &mut to => {
                    // A server that is gone takes nothing any more; a client that is gone may still want its answer.
                    if end.is_ok() && !has_back_ended {
                        back.await.ok();
                    }
                    return;
                }
                end = &mut back, if !has_back_ended => match end {
                    Err(End::Lost) => return,
                    // What the client sent before it went still arrives.
                    _ => has_back_ended = true,
                },
            }
        }
    };
    tokio::select! {
        // What breaks a connection may let its direction pass again: nothing of what was held gets through then.
        biased;
        _ = breaks.wait_for(|state| state.generation != generation) => {}
        () = both => {}
    }
}

enum End {
    /// The receiver is gone.
    Gone,
    /// The answer was to be lost.
    Lost,
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    way: fn(&State) -> Way,
    passes: impl Fn() -> bool,
) -> Result<(), End> {
    let (sender, mut queue) = mpsc::channel::<(Instant, Bytes)>(CHUNKS);
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now(), Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((arrived, bytes)) = queue.recv().await {
            open(&mut state, way, arrived).await;
            if !passes() {
                return Err(End::Lost);
            }
            to.write_all(&bytes).await.map_err(|_| End::Gone)?;
        }
        open(&mut state, way, Instant::now()).await;
        to.shutdown().await.map_err(|_| End::Gone)
    };
    tokio::pin!(read, write);
    tokio::select! {
        end = &mut write => end,
        () = &mut read => write.await,
    }
}

/// Waits until what arrived at `arrived` may go on.
async fn open(state: &mut watch::Receiver<State>, way: fn(&State) -> Way, arrived: Instant) {
    loop {
        let now = way(&state.borrow_and_update());
        match now {
            Way::Pass => return,
            Way::Delay(by) => return tokio::time::sleep_until(arrived + by).await,
            Way::Before(moment) if arrived < moment => return,
            Way::Hold | Way::Before(_) => {
                if state.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
