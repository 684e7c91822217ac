//! A server from its start to its end: signals, handover, draining.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::backends::{BackendTable, Surroundings};
use super::error::NodeError;
use super::server::Server;
use crate::config::{Environment, ServerConfig};

/// Longest handover.
const HANDOVER: Duration = Duration::from_secs(10);
/// Shortest time that a node of a cluster goes on to accept connections after its handover: that long others may
/// take to notice that it is about to go.
const LINGER: Duration = Duration::from_secs(3);
/// Longest time that clients get to leave.
const LEAVE: Duration = Duration::from_secs(15);
/// Longest time that running requests get after that.
const FINISH: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Runs a server until it is asked to end (SIGTERM or SIGINT); a second signal ends it at once. SIGHUP changes nothing.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    config: &ServerConfig,
    environment: &Environment,
    backends: &BackendTable,
) -> Result<(), NodeError> {
    run_in(config, environment, backends, Surroundings::system()).await
}

/// [`run`] with time and randomness of the caller's.
///
/// # Errors
/// When it cannot start.
pub async fn run_in(
    config: &ServerConfig,
    environment: &Environment,
    backends: &BackendTable,
    around: Surroundings,
) -> Result<(), NodeError> {
    forbid_core_dumps();
    allow_files();
    let listen = |kind| signal(kind).map_err(|error| NodeError::Signals(error.to_string()));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    // Vault re-reads certificates on SIGHUP, and scripts send it. Here they are re-read all the time: it must only not
    // end the server.
    let _hang_up = listen(SignalKind::hangup())?;
    let server = Server::start_in(config, environment, backends, around).await?;
    say(&server)?;
    wait(&mut terminate, &mut interrupt).await;
    tokio::select! {
        () = server.end() => {}
        () = wait(&mut terminate, &mut interrupt) => warn!("asked to end twice: ending at once"),
    }
    Ok(())
}

async fn wait(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: this server hands over and ends"),
        _ = interrupt.recv() => info!("SIGINT: this server hands over and ends"),
    }
}

fn say(server: &Server) -> Result<(), NodeError> {
    let mut out = std::io::stdout().lock();
    let mut text = server.banner.to_string();
    text.push_str(server.development.as_deref().unwrap_or_default());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| NodeError::Output(error.to_string()))
}

/// Keys must not reach a file when the process crashes, nor another process of the same user.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err()
        || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err()
    {
        warn!("core dumps could not be forbidden");
    }
}

/// As many open files as the system lets this process have: every connection is one, and where clients use them up, none
/// is left for the storage. Many systems give a thousand unless a program asks.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let given = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given }).is_err() {
        warn!(limit = given.current, "the limit of open files could not be raised");
    }
}

impl Server {
    /// Ends the server in order: hand over, go on as a forwarding proxy until connections drain, stop. Takes about
    /// half a minute at most.
    pub async fn end(self) {
        self.ending.trigger();
        let ha = &self.lifecycle.ha;
        // Without a lock there is nobody to hand over to.
        let has_others = !ha.settings().lock_disabled;
        if has_others {
            ha.shutdown_handover(HANDOVER).await;
        }
        self.drain.lame.store(true, Ordering::Relaxed);
        if has_others {
            // New connections still come in, are served by forwarding, and are asked to close.
            tokio::time::sleep(LINGER).await;
            self.until_drained(LEAVE - LINGER).await;
        }
        self.drain.stop.trigger();
        self.until_drained(FINISH).await;
        let open = self.drain.open.load(Ordering::Relaxed);
        if open > 0 {
            warn!(open, "connections are cut: their clients did not leave in time");
        }
        self.peers.stop.trigger();
        self.shutdown.trigger();
        info!("this server has ended");
    }

    async fn until_drained(&self, patience: Duration) {
        let drained = async {
            while self.drain.open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }
}
