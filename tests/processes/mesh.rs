//! Three servers with a link of its own from each to each other one, so that two nodes can be cut from each other while both
//! reach the third one, the storage and their clients.
//!
//! All nodes advertise the address of a gate, which sends a connection over the link of the process that opened it. Only
//! root may see whose a connection is; for anybody else it counts as the one of the nodes that are cut.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::link::{Link, Way};
use crate::node::Node;
use crate::store::Store;

/// Servers of the cluster.
const NODES: usize = 3;
/// How often the kernel is asked whose a connection is, and how long is waited in between: a wrong answer would cut off a node
/// that is not to be.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(5);

/// What the gates learn once all servers run.
struct Paths {
    pids: Vec<u32>,
    /// `[from][to]`; the last row is for connections whose owner is not known.
    links: Vec<Vec<Link>>,
}

/// The cluster and the links between its nodes.
pub struct Mesh {
    pub cluster: Cluster,
    paths: Arc<OnceLock<Paths>>,
    gates: Vec<JoinHandle<()>>,
}

/// Which packets between two nodes are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All.
    Both,
    /// Those from the first node to the second.
    There,
    /// Those from the second node to the first.
    Back,
}

impl Mesh {
    /// On `store`, with its own lock.
    pub async fn on(store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths: Arc<OnceLock<Paths>> = Arc::default();
        let stanza = store.stanza("storage");
        let (mut nodes, mut gates) = (Vec::new(), Vec::new());
        for number in 0..NODES {
            let gate = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let settings = format!("{stanza}\ncluster_addr = \"https://{}\"", gate.local_addr().unwrap());
            let name = format!("vault-{number}");
            Node::configure(folder.path(), &name, &settings);
            let program = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
            nodes.push(Node::run(program, folder.path(), &name));
            gates.push(tokio::spawn(open_gate(gate, number, Arc::clone(&paths))));
        }
        let mut links = Vec::new();
        for _ in 0..=NODES {
            let mut row = Vec::new();
            for node in &nodes {
                row.push(Link::open(cluster_listener(node), 0).await);
            }
            links.push(row);
        }
        let pids = nodes.iter().map(Node::pid).collect();
        assert!(paths.set(Paths { pids, links }).is_ok(), "set once");
        let cluster = Cluster::of(nodes, folder, vec![store]).await;
        Self { cluster, paths, gates }
    }

    fn links(&self) -> &[Vec<Link>] {
        &self.paths.get().expect("all servers run").links
    }

    /// Loses packets between the nodes `first` and `second`, silently.
    pub fn cut(&self, first: usize, second: usize, cut: Cut) {
        let hold = |is_lost: bool| if is_lost { Way::Hold } else { Way::Pass };
        let (there, back) = (hold(cut != Cut::Back), hold(cut != Cut::There));
        for owner in [first, NODES] {
            self.links()[owner][second].set(there, back);
        }
        for owner in [second, NODES] {
            self.links()[owner][first].set(back, there);
        }
    }

    /// Breaks all connections to `node` and closes new ones, as a firewall does that answers with resets.
    pub fn refuse(&self, node: usize) {
        for row in self.links() {
            row[node].refuse();
        }
    }

    /// Lets everything pass again; what was held arrives late.
    pub fn heal(&self) {
        for link in self.links().iter().flatten() {
            link.heal(false);
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for gate in &self.gates {
            gate.abort();
        }
    }
}

/// Where a node listens for its peers.
fn cluster_listener(node: &Node) -> SocketAddr {
    let told = node.banner.iter().find_map(|line| line.split("cluster address: \"").nth(1));
    told.and_then(|rest| rest.split('"').next()?.parse().ok()).expect("a cluster listener")
}

async fn open_gate(gate: TcpListener, to: usize, paths: Arc<OnceLock<Paths>>) {
    loop {
        let Ok((mut client, remote)) = gate.accept().await else { continue };
        let paths = Arc::clone(&paths);
        tokio::spawn(async move {
            let Some(known) = paths.get() else { return };
            let pids = known.pids.clone();
            let found = tokio::task::spawn_blocking(move || owner(remote.port(), &pids)).await;
            let owner = found.ok().flatten().unwrap_or(NODES);
            // A link that refuses ends the connection.
            let Ok(mut link) = TcpStream::connect(known.links[owner][to].address).await else { return };
            client.set_nodelay(true).ok();
            link.set_nodelay(true).ok();
            tokio::io::copy_bidirectional(&mut client, &mut link).await.ok();
        });
    }
}

/// Which of the processes has opened the connection from `port`. Asked again if none seems to have: the kernel's table is
/// read in pieces, and misses lines while others come and go.
fn owner(port: u16, pids: &[u32]) -> Option<usize> {
    let later = || {
        std::thread::sleep(PAUSE);
        look_for_owner(port, pids)
    };
    look_for_owner(port, pids).or_else(|| (1..LOOKS).find_map(|_| later()))
}

fn look_for_owner(port: u16, pids: &[u32]) -> Option<usize> {
    // The table holds the sockets of the whole machine: only the line that counts is taken apart.
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let line = &table[table.find(&format!(": 0100007F:{port:04X} "))?..];
    let inode = line.split_whitespace().nth(9)?;
    let socket = format!("socket:[{inode}]");
    let has = |pid: &u32| {
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&socket)))
    };
    pids.iter().position(has)
}
