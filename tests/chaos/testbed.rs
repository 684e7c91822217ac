//! Three servers, their storage, and a proxy on every link between them and to their clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::apiserver::ApiServer;
use crate::http::{Http, until};
use crate::link::Link;
use crate::members::{Members, account};
use crate::plan::Abilities;
use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::store::Store;

/// Servers of the cluster.
pub const NODES: usize = 3;
/// Within this the cluster must work again when nothing is wrong any more.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One server and its links.
pub struct Node {
    pub name: String,
    pub program: Program,
    pub process: Process,
    /// To itself, without a proxy.
    pub direct: Http,
    /// To it for clients.
    pub clients: Link,
    /// To it for the other nodes.
    pub peers: Link,
    /// From it to each member of the storage.
    pub storage: Vec<Link>,
    /// From it to each member of what the lock is taken from, where that is not the storage.
    pub lock: Vec<Link>,
}

impl Node {
    /// Sets how far the wall clock of a node of [`Program::Own`] with its files in `folder` is off, in seconds.
    pub fn step_clock(&self, folder: &Path, by: i64) {
        let new = folder.join(format!("{}.clock.new", self.name));
        std::fs::write(&new, (by * 1000).to_string()).unwrap();
        std::fs::rename(new, folder.join(format!("{}.clock", self.name))).unwrap();
    }
}

/// The cluster under test.
pub struct Testbed {
    pub nodes: Vec<Node>,
    pub token: String,
    key: String,
    pub folder: PathBuf,
    /// The stanzas of storage and lock without proxies.
    pub stanza: String,
    /// They end last.
    pub members: Members,
    /// What the lock is taken from, where that is not the storage.
    pub lock: Option<Members>,
}

/// What the nodes are.
pub struct Layout<'a> {
    /// By number.
    pub programs: [Program; NODES],
    /// Makes of a configuration with the true storage the stanza of another one around it.
    pub wrap: Option<&'a dyn Fn(&Path) -> String>,
}

impl Testbed {
    /// Starts it with its files in `folder`, initialised and unsealed.
    #[allow(dead_code, reason = "for programs that have no nodes of their own")]
    pub async fn start(store: Store, folder: &Path) -> Self {
        let programs = std::array::from_fn(|_| Program::built());
        Self::start_as(&Layout { programs, wrap: None }, store, None, folder).await
    }

    /// The same with nodes of another kind, and with the lock in `lock`.
    pub async fn start_as(layout: &Layout<'_>, store: Store, lock: Option<Store>, folder: &Path) -> Self {
        let mut parts = vec![(&store, named(&store, "storage", folder).await)];
        if let Some(lock) = &lock {
            parts.push((lock, named(lock, "ha_storage", folder).await));
        }
        let mut nodes = Vec::new();
        for number in 0..NODES {
            nodes.push(node(number, layout, &parts, folder).await);
        }
        let stanza = parts.iter().map(|(_, stanza)| stanza.as_str()).collect();
        let (members, lock) = (Members::new(store), lock.map(Members::new));
        let mut testbed = Self {
            nodes,
            token: String::new(),
            key: String::new(),
            folder: folder.to_owned(),
            stanza,
            members,
            lock,
        };
        testbed.initialise().await;
        testbed
    }

    async fn initialise(&mut self) {
        let first = self.nodes[0].direct.clone();
        let answer = until("init", PATIENCE, || async {
            let body = json!({"secret_shares": 1, "secret_threshold": 1});
            let answer = first.call("PUT", "sys/init", Some(&body)).await.map_err(|e| format!("{e:?}"))?;
            if answer.status == 200 { Ok(answer.body) } else { Err(answer.error()) }
        })
        .await;
        self.key = answer["keys"][0].as_str().unwrap().to_owned();
        self.token = answer["root_token"].as_str().unwrap().to_owned();
        for node in 0..NODES {
            unseal(self.nodes[node].direct.clone(), self.key.clone()).await;
        }
        until("a leader", PATIENCE, || async { self.leader().await.ok_or_else(|| "none".to_owned()) }).await;
        let root = self.nodes[0].direct.with_token(&self.token);
        for (path, version) in [("registers", "1"), ("counters", "2")] {
            let mount = json!({"type": "kv", "options": {"version": version}});
            until("a mount", PATIENCE, || async {
                let answer = root.call("POST", &format!("sys/mounts/{path}"), Some(&mount)).await;
                match answer {
                    Ok(answer) if answer.status == 204 || answer.error().contains("in use") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
    }

    /// What can be done to storage and lock.
    pub fn abilities(&self) -> Abilities {
        let storage = self.members.abilities();
        let Some(lock) = self.lock.as_ref().map(Members::abilities) else { return storage };
        let throttle = storage.throttle || lock.throttle;
        Abilities { lock: lock.lock, lock_members: lock.members, throttle, ..storage }
    }

    /// The servers that hold the lock.
    pub fn lock_members(&self) -> &Members {
        self.lock.as_ref().unwrap_or(&self.members)
    }

    /// The API server, if storage or lock is one.
    pub fn api_server(&self) -> Option<&ApiServer> {
        [Some(&self.members), self.lock.as_ref()].into_iter().flatten().find_map(|members| {
            match members.store() {
                Store::Kubernetes(server) => Some(server),
                _ => None,
            }
        })
    }

    /// The node that says that it leads; of several, any.
    pub async fn leader(&self) -> Option<usize> {
        let asked = self.nodes.iter().map(|node| async {
            let mut http = node.direct.clone();
            http.patience = Duration::from_secs(1);
            let answer = http.call("GET", "sys/leader", None).await.ok()?;
            (answer.body["is_self"] == true).then_some(())
        });
        join_all(asked).await.into_iter().position(|said| said.is_some())
    }

    /// Starts a node again that has ended; it is unsealed as soon as it can be.
    pub fn revive(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        at.process = Process::start(&at.program, &self.folder, &at.name);
        tokio::spawn(unseal(at.direct.clone(), self.key.clone()));
    }

    /// Waits until every node is active or a standby; those that are not after a minute, with what they say.
    pub async fn all_ready(&self) -> Vec<String> {
        let waits = self.nodes.iter().map(|node| async {
            let begun = tokio::time::Instant::now();
            loop {
                let state = match node.direct.call("GET", "sys/health", None).await {
                    Ok(answer) if matches!(answer.status, 200 | 429) => return None,
                    Ok(answer) => format!("{} {}", answer.status, answer.body),
                    Err(error) => format!("{error:?}"),
                };
                if begun.elapsed() > PATIENCE {
                    return Some(format!(
                        "{} is not ready after {PATIENCE:?}: {state}\n{}",
                        node.name,
                        node.process.log_tail(20)
                    ));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        join_all(waits).await.into_iter().flatten().collect()
    }
}

/// Unseals a server until it is unsealed or two minutes are over.
async fn unseal(http: Http, key: String) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < 2 * PATIENCE {
        let answer = http.call("PUT", "sys/unseal", Some(&json!({"key": key}))).await;
        if answer.is_ok_and(|answer| answer.body["sealed"] == false) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The stanza of `block` that names `store`; an API server with an account that it may throttle.
async fn named(store: &Store, block: &str, folder: &Path) -> String {
    let stanza = store.stanza(block);
    let Store::Kubernetes(server) = store else { return stanza };
    let file = folder.join("account.kubeconfig");
    std::fs::write(&file, account(&server.kubeconfig()).await).unwrap();
    stanza.replace(&server.kubeconfig().display().to_string(), &file.display().to_string())
}

/// The stanza of the node `name` for `store`, with a proxy before each of its members.
async fn linked(store: &Store, stanza: &str, name: &str, folder: &Path) -> (String, Vec<Link>) {
    let mut members = Vec::new();
    let stanza = if let Store::Kubernetes(_) = store {
        let (all, file) = (folder.join("account.kubeconfig"), folder.join(format!("{name}.kubeconfig")));
        let text = std::fs::read_to_string(&all).unwrap();
        std::fs::write(&file, redirected(&text, &mut members)).unwrap();
        stanza.replace(&all.display().to_string(), &file.display().to_string())
    } else {
        redirected(stanza, &mut members)
    };
    let mut links = Vec::new();
    for (port, target) in members {
        links.push(Link::open(loopback(target), port).await);
    }
    (stanza, links)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn node(number: usize, layout: &Layout<'_>, parts: &[(&Store, String)], folder: &Path) -> Node {
    let name = format!("vault-{number}");
    let (api, cluster) = (free_port(), free_port());
    let (mut stanza, mut links) = (String::new(), Vec::new());
    for (store, part) in parts {
        let (part, to) = linked(store, part, &name, folder).await;
        stanza.push_str(&part);
        links.push(to);
    }
    let mut links = links.into_iter();
    let (storage, lock) = (links.next().unwrap_or_default(), links.next().unwrap_or_default());
    let clients = Link::open(loopback(api), free_port()).await;
    let peers = Link::open(loopback(cluster), free_port()).await;
    if let Some(wrap) = layout.wrap {
        let inner = folder.join(format!("{name}.inner.hcl"));
        std::fs::write(
            &inner,
            format!("{stanza}\nlistener \"tcp\" {{ address = \"127.0.0.1:0\" tls_disable = true }}\n"),
        )
        .unwrap();
        stanza = wrap(&inner);
    }
    let text = format!(
        "{stanza}\nlistener \"tcp\" {{ address = \"127.0.0.1:{api}\" cluster_address = \"127.0.0.1:{cluster}\" tls_disable = true }}\n\
         api_addr = \"http://{}\"\ncluster_addr = \"https://{}\"\nlog_level = \"info\"\n",
        clients.address, peers.address
    );
    std::fs::write(folder.join(format!("{name}.hcl")), text).unwrap();
    let program = layout.programs[number].clone();
    let process = Process::start(&program, folder, &name);
    let direct = Http::new(&format!("http://127.0.0.1:{api}"));
    Node { name, program, process, direct, clients, peers, storage, lock }
}

/// `text` with another port in each address of loopback; `moved` gets the new and the old one of each.
fn redirected(text: &str, moved: &mut Vec<(u16, u16)>) -> String {
    let mut result = String::new();
    let mut rest = text;
    let next = |rest: &str| {
        let found = ["127.0.0.1:", "localhost:"].map(|host| rest.find(host).map(|at| at + host.len()));
        found.into_iter().flatten().min()
    };
    while let Some(at) = next(rest) {
        let (before, after) = rest.split_at(at);
        result.push_str(before);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if let Ok(target) = after[..digits].parse::<u16>() {
            let known = moved.iter().find(|(_, old)| *old == target).map(|(new, _)| *new);
            let port = known.unwrap_or_else(|| {
                let port = free_port();
                moved.push((port, target));
                port
            });
            result.push_str(&port.to_string());
        }
        rest = &after[digits..];
    }
    result + rest
}
