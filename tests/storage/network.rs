//! The network between a store and its instances, for the laws of the conformance suite about faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast::vault::physical::{Backend, HaBackend};
use tokio::time::Instant;

use crate::link::{Link, Way};

/// How long a request may be on its way on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(5);

static LOST: AtomicUsize = AtomicUsize::new(0);

/// A link to every server of a store. All instances of that store go through these links, and nobody else does.
pub struct Network {
    links: Vec<Link>,
    outages: AtomicUsize,
}

impl Network {
    /// Links to these ports of loopback.
    pub async fn to(ports: &[u16]) -> Arc<Self> {
        let mut links = Vec::new();
        for port in ports {
            links.push(Link::open(SocketAddr::from(([127, 0, 0, 1], *port)), 0).await);
        }
        Arc::new(Self { links, outages: AtomicUsize::new(0) })
    }

    /// Links to the servers that these addresses end with the ports of, and the addresses of the links.
    pub async fn before(addresses: &[String]) -> (Arc<Self>, Vec<String>) {
        let parts: Vec<(&str, u16)> = addresses.iter().filter_map(|address| split(address)).collect();
        assert_eq!(parts.len(), addresses.len(), "an address without a port: {addresses:?}");
        let ports: Vec<u16> = parts.iter().map(|(_, port)| *port).collect();
        let network = Self::to(&ports).await;
        let through = parts.iter().zip(network.ports()).map(|((host, _), port)| format!("{host}:{port}"));
        let through = through.collect();
        (network, through)
    }

    /// Where the links are, in the order of the servers.
    pub fn ports(&self) -> Vec<u16> {
        self.links.iter().map(|link| link.address.port()).collect()
    }

    /// Nothing passes any more. In turns what is on its way arrives after [`Network::heal`], as after a cut that TCP
    /// survives, or is lost together with all connections.
    pub fn fail(&self) {
        let is_breaking = self.outages.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        for link in &self.links {
            link.set(Way::Hold, Way::Hold);
            if is_breaking {
                link.heal(true);
                link.set(Way::Hold, Way::Hold);
            }
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.links.iter().for_each(|link| link.heal(false));
    }

    /// Loses the answer to what changes the store next, as `look` shows it past this network.
    ///
    /// Every answer waits until a look that began after it had come shows that nothing has changed yet. Once something
    /// has, every connection breaks, and with it the answer that would tell.
    fn lose_answer<T: PartialEq + Send + Sync + 'static>(
        self: &Arc<Self>,
        before: T,
        look: impl Fn() -> BoxFuture<'static, Option<T>> + Send + Sync + 'static,
    ) {
        self.links.iter().for_each(|link| link.set(Way::Pass, Way::Hold));
        let network = Arc::clone(self);
        tokio::spawn(async move {
            let looking = async {
                loop {
                    let begun = Instant::now();
                    match look().await {
                        Some(now) if now != before => return,
                        Some(_) => {
                            network.links.iter().for_each(|link| link.set(Way::Pass, Way::Before(begun)));
                        }
                        None => {}
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            if tokio::time::timeout(PATIENCE, looking).await.is_ok() {
                LOST.fetch_add(1, Ordering::SeqCst);
            }
            network.links.iter().for_each(|link| link.heal(true));
        });
    }

    /// Loses the answer to the next commit. `witness` is an instance that does not go through this network.
    pub async fn lose_commit(self: &Arc<Self>, witness: Arc<dyn Backend>) {
        let before = witness.check().await.expect("a check of the witness");
        self.lose_answer(before, move || {
            let witness = Arc::clone(&witness);
            async move { witness.check().await.ok() }.boxed()
        });
    }

    /// Loses the answer to the next swap. `witness` is an instance that does not go through this network.
    pub async fn lose_swap(self: &Arc<Self>, witness: Arc<dyn HaBackend>) {
        let before = witness.read().await.expect("a read of the witness");
        self.lose_answer(before, move || {
            let witness = Arc::clone(&witness);
            async move { witness.read().await.ok() }.boxed()
        });
    }
}

/// Answers that all networks lost so far.
pub fn lost() -> usize {
    LOST.load(Ordering::SeqCst)
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}
