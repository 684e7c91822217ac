//! The worked example of a storage of one's own: it passes the conformance suite, and servers with it form a cluster.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used
)]

#[path = "../examples/shelf/backend.rs"]
mod backend;
#[path = "support/http.rs"]
mod http;
#[path = "processes/node.rs"]
mod node;
#[path = "../examples/shelf/register.rs"]
mod register;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{Lock, Locks, Store, Stores, report_lock, report_storage};
use holdfast::vault::physical::{Backend, Commit, HaBackend};
use serde_json::json;
use tempfile::TempDir;

use backend::Shelf;
use http::until;
use node::Node;
use register::ShelfRegister;

/// Long enough for a lock that has to run out, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Folders;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shelf")
    }

    fn away(&self) -> PathBuf {
        self.0.path().join("away")
    }

    fn rename(&self, from: PathBuf, to: PathBuf) -> bool {
        std::fs::rename(from, to).is_ok()
    }
}

#[async_trait]
impl Stores for Folders {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(Folder::new())
    }
}

#[async_trait]
impl Store for Folder {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(Shelf::open(&self.path()).expect("a shelf"))
    }

    async fn fail(&self) -> bool {
        self.rename(self.path(), self.away())
    }

    async fn heal(&self) {
        self.rename(self.away(), self.path());
    }
}

#[async_trait]
impl Locks for Folders {
    async fn create(&self) -> Box<dyn Lock> {
        let folder = Folder::new();
        std::fs::create_dir(folder.path()).expect("a folder");
        Box::new(folder)
    }
}

#[async_trait]
impl Lock for Folder {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(ShelfRegister::open(&self.path()).expect("a lock"))
    }

    async fn fail(&self) -> bool {
        self.rename(self.path(), self.away())
    }

    async fn heal(&self) {
        self.rename(self.away(), self.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shelf_keeps_the_laws() {
    let report = report_storage("shelf", &Folders).await;
    println!("{report}");
    assert_eq!(report.violations(), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_the_shelf_keeps_the_laws() {
    let report = report_lock("shelf", &Folders).await;
    println!("{report}");
    assert_eq!(report.violations(), vec![]);
}

#[tokio::test]
async fn what_a_crash_left_of_a_line_is_cut_off_and_damage_is_not() {
    let folder = Folder::new();
    let shelf = Shelf::open(&folder.path()).expect("a shelf");
    let head: holdfast::vault::physical::Head = serde_json::from_value(json!({
        "cluster": "c", "lock": {"kind": "shelf", "namespace": "n", "name": "l"}, "epoch": 1, "seq": 1,
        "batch_id": "000102030405060708090a0b0c0d0e0f", "node": "a", "format": 1, "time": 0,
    }))
    .expect("a head");
    assert_eq!(shelf.commit(None, &head, &[]).await, Commit::Committed);
    let log = folder.path().join("shelf.log");
    let whole = std::fs::read(&log).expect("a log");
    std::fs::write(&log, [&whole[..], &whole[..whole.len() / 2]].concat()).expect("a log");
    assert_eq!(shelf.check().await, Ok(Some(head.clone())), "half a line is not there");
    let next = holdfast::vault::physical::Head { seq: 2, ..head.clone() };
    assert_eq!(shelf.commit(Some(&head), &next, &[]).await, Commit::Committed);
    assert_eq!(Shelf::open(&folder.path()).expect("a shelf").check().await, Ok(Some(next)));
    let mut damaged = std::fs::read(&log).expect("a log");
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&log, damaged).expect("a log");
    assert!(Shelf::open(&folder.path()).is_err(), "damage before the last line is told");
}

/// The example as a program: built by `cargo test` already, or now.
fn program() -> PathBuf {
    let mut folder = std::env::current_exe().expect("this program");
    folder.pop();
    folder.pop();
    let target = folder.parent().expect("a target folder");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--example", "shelf", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo").success());
    folder.join("examples/shelf")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_a_shelf_elect_forward_and_survive() {
    let (program, folder) = (program(), tempfile::tempdir().unwrap());
    let storage = format!("storage \"shelf\" {{ path = \"{}\" }}", folder.path().join("shelf").display());
    let start = |name: &str| Node::start_program(&program, folder.path(), name, &storage);
    let mut nodes = vec![start("vault-0"), start("vault-1")];
    let banner = nodes[0].banner.join("\n");
    assert!(banner.contains("Storage: shelf (HA available)"), "{banner}");

    let first = nodes[0].http.clone();
    let vault = until("init", PATIENCE, || async {
        let answer = first.put("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).await;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.error()) }
    })
    .await;
    let token = vault["root_token"].as_str().unwrap();
    for node in &nodes {
        until("unseal", PATIENCE, || async {
            let answer = node.http.put("sys/unseal", &json!({"key": vault["keys"][0]})).await;
            if answer.body["sealed"] == false { Ok(()) } else { Err(answer.body.to_string()) }
        })
        .await;
    }
    let leader = until("an active node and a standby", PATIENCE, || async {
        let health =
            [nodes[0].http.get("sys/health").await.status, nodes[1].http.get("sys/health").await.status];
        match health {
            [200, 429] => Ok(0),
            [429, 200] => Ok(1),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let standby = 1 - leader;

    // The standby sends writes on, and reads what was written at once.
    let at_standby = nodes[standby].http.with_token(token);
    let mount = json!({"type": "kv", "options": {"version": "2"}});
    at_standby.call("POST", "sys/mounts/secret", Some(&mount)).await.unwrap().expect(204);
    for n in 1..=20 {
        let answer = at_standby.put("secret/data/app", &json!({"data": {"n": n}})).await;
        assert_eq!(answer.expect(200)["data"]["version"], n);
        for node in &nodes {
            let found = node.http.with_token(token).get("secret/data/app").await.expect(200);
            assert_eq!(found["data"]["data"]["n"], n, "at {}", node.name);
        }
    }

    let begun = Instant::now();
    nodes[leader].kill();
    let answer = until("a write after the death of the leader", PATIENCE, || async {
        let answer = at_standby.put("secret/data/app", &json!({"data": {"n": 21}})).await;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.body.to_string()) }
    })
    .await;
    println!("SIGKILL of the leader: acknowledged write after {} ms", begun.elapsed().as_millis());
    let version = answer["data"]["version"].as_u64().unwrap();
    assert!(version >= 21, "nothing that was acknowledged is lost: {version}");
    let found = at_standby.get("secret/data/app?version=20").await.expect(200);
    assert_eq!(found["data"]["data"]["n"], 20);
    assert_eq!(at_standby.get("sys/health").await.status, 200);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let program = program();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("holdfast.hcl");
    let cases = [
        ("", "path is missing: name a folder"),
        ("path = \"/a\" height = 3", "unknown key \"height\": there is only path"),
    ];
    for (settings, expected) in cases {
        let listener = "listener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }";
        std::fs::write(&config, format!("storage \"shelf\" {{ {settings} }}\n{listener}")).unwrap();
        let ran = Command::new(&program).arg("server").arg(format!("-config={}", config.display())).output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains(&format!("shelf: {expected}")) && ran.status.code() == Some(1), "{said}");
    }
}
