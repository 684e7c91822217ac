//! Three servers on a storage, with or without proxies on their links, handled alike.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, PATIENCE};
use crate::http::{Http, until};
use crate::link::Way;
use crate::store::Store;
use crate::testbed::Testbed;

pub enum Bed {
    /// As they are: who is dead refuses connections.
    Plain(Box<Cluster>),
    /// A proxy on every link between them and to the storage; clients use none.
    Linked(Box<Testbed>),
}

impl Bed {
    /// Starts it on new servers of `backend`.
    pub async fn start(backend: &str, is_linked: bool, folder: &Path) -> Self {
        let store = Store::open(backend).await;
        if is_linked {
            return Self::Linked(Box::new(Testbed::start(store, folder).await));
        }
        let stanzas = store.stanza("storage") + "log_level = \"info\"\n";
        Self::Plain(Box::new(Cluster::with(3, stanzas, vec![store]).await))
    }

    /// The stanza of its storage.
    pub fn stanza(&self) -> String {
        match self {
            Self::Plain(cluster) => cluster.stores[0].stanza("storage"),
            Self::Linked(testbed) => testbed.stanza.clone(),
        }
    }

    /// The mount of KV version 2.
    pub fn mount(&self) -> &'static str {
        match self {
            Self::Plain(_) => "secret",
            Self::Linked(_) => "counters",
        }
    }

    /// A client with the root token of each node, with connections of its own and without a proxy.
    pub fn clients(&self) -> Vec<Http> {
        match self {
            Self::Plain(cluster) => cluster
                .nodes
                .iter()
                .map(|node| Http::new(&node.http.url).with_token(&cluster.token))
                .collect(),
            Self::Linked(testbed) => {
                let nodes = testbed.nodes.iter();
                nodes.map(|node| Http::new(&node.direct.url).with_token(&testbed.token)).collect()
            }
        }
    }

    /// Waits until all nodes serve and agree on one leader: that one.
    pub async fn leader(&self) -> usize {
        let nodes = self.clients();
        until("one leader that all nodes agree on", PATIENCE, || async {
            let (mut active, mut named) = (Vec::new(), Vec::new());
            for (number, http) in nodes.iter().enumerate() {
                let health = http.call("GET", "sys/health", None).await.map_err(|e| format!("{e:?}"))?;
                if !matches!(health.status, 200 | 429) {
                    return Err(format!("node {number} says {}", health.status));
                }
                let leader = http.call("GET", "sys/leader", None).await.map_err(|e| format!("{e:?}"))?;
                if leader.body["is_self"] == true {
                    active.push(number);
                }
                named.push(leader.body["leader_address"].as_str().unwrap_or_default().to_owned());
            }
            match active[..] {
                [leader] if named.iter().all(|url| !url.is_empty() && *url == named[0]) => Ok(leader),
                _ => Err(format!("active {active:?}, named {named:?}")),
            }
        })
        .await
    }

    /// Waits until `leader` has led for more than the ten seconds before which evidence of its end counts for nothing.
    pub async fn until_mature(&self, leader: usize) {
        match self {
            Self::Plain(cluster) => cluster.until_mature(leader).await,
            Self::Linked(_) => {}
        }
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        match self {
            Self::Plain(cluster) => cluster.nodes[node].signal(signal),
            Self::Linked(testbed) => testbed.nodes[node].process.signal(signal),
        }
    }

    /// Waits for the end of a process that was asked to end, or was killed.
    pub async fn ended(&mut self, node: usize) {
        const LONGEST: Duration = Duration::from_secs(60);
        match self {
            Self::Plain(cluster) => drop(cluster.nodes[node].ended(LONGEST).await),
            Self::Linked(testbed) => {
                assert!(testbed.nodes[node].process.ended(LONGEST).await, "node {node} does not end");
            }
        }
    }

    /// Starts one that has ended, and waits until it stands by.
    pub async fn restart(&mut self, node: usize) {
        match self {
            Self::Plain(cluster) => cluster.restart(node).await,
            Self::Linked(testbed) => {
                testbed.revive(node);
                let stuck = testbed.all_ready().await;
                assert!(stuck.is_empty(), "{stuck:?}");
            }
        }
    }

    /// Nothing passes between `node` and the storage, nor from and to peers that ask it. Connections stay open.
    pub fn cut(&self, node: usize) {
        let Self::Linked(testbed) = self else { panic!("there is nothing to cut") };
        let node = &testbed.nodes[node];
        node.storage.iter().chain([&node.peers]).for_each(|link| link.set(Way::Hold, Way::Hold));
    }

    /// What was held is delivered.
    pub fn heal(&self, node: usize) {
        let Self::Linked(testbed) = self else { panic!("there is nothing to heal") };
        let node = &testbed.nodes[node];
        node.storage.iter().chain([&node.peers]).for_each(|link| link.heal(false));
    }
}
