//! The storage is restored from an older copy of itself, under the running cluster. The last fault of a run, judged by
//! itself: from then on no node may serve anything, until a person decides.
//!
//! The copies are those of an administrator who copies files: all servers are ended, their data is copied, they go on.
//! The lock lies in the storage and goes back with it, but the active node may have renewed it since. The decision is to
//! start all servers again, and to accept what they then refuse (docs/adr/006).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::task::block_in_place;

use crate::load::Load;
use crate::members::Members;
use crate::record::{Outcome, Record, Time};
use crate::store::Store;
use crate::testbed::{NODES, PATIENCE, Testbed};

/// How long nothing may be served: longer than two Leases of six seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// How long more is written after the copy.
const WRITING: Duration = Duration::from_secs(2);
/// A read that began before the storage went away may be answered within the read lease of 500 ms, and a loaded machine
/// may take the same time once more.
const READ_LEASE: Time = 1_000_000;
/// What a node says of itself that found it out.
const SAYING: &str = "went back in time";

/// Copies, goes on, restores, and watches; what was wrong, and a line about it.
pub async fn restore_older_copy(testbed: &mut Testbed, seed: u64) -> (Vec<String>, String) {
    let record = Arc::new(Record::new());
    let load = Load::of(testbed, 1, seed, &record);
    let copy = testbed.folder.join("older-copy");
    end_all(&mut testbed.members);
    block_in_place(|| duplicate(testbed.members.store(), &copy, false));
    start_all(&mut testbed.members).await;
    let copied = record.now();
    let mut wrong = Vec::new();
    let begun = tokio::time::Instant::now();
    while !record.has_written_since(copied) {
        if begun.elapsed() > PATIENCE {
            wrong.push(format!("restore older copy: no write within {PATIENCE:?} of the copy"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(WRITING).await;
    end_all(&mut testbed.members);
    let gone = record.now();
    block_in_place(|| duplicate(testbed.members.store(), &copy, true));
    start_all(&mut testbed.members).await;
    let restored = record.now();
    let silent = until_all_say_it(testbed).await;
    wrong.extend(silent);
    let known = record.now();
    tokio::time::sleep(SILENCE).await;
    load.end().await;
    let events = record.events();
    let late =
        events.iter().filter(|event| event.outcome == Outcome::Done && event.begin > gone + READ_LEASE);
    let before = wrong.len();
    wrong.extend(late.map(|event| {
        format!(
            "C2: node {} carried out {:?} at {} us, after the storage was restored at {restored} us",
            event.node, event.what, event.begin
        )
    }));
    let served = wrong.len() - before;
    let refused = events.iter().filter(|event| event.begin > known).count();
    let served_again = accept(testbed, &mut wrong).await;
    let line = format!(
        "restore older copy: all {NODES} nodes say so {:.1} s after, {refused} requests in {SILENCE:?} and {served} of them served; {served_again}",
        (known - restored) as f64 / 1e6,
    );
    (wrong, line)
}

/// Every node finds it out, and says it to whoever asks.
async fn until_all_say_it(testbed: &Testbed) -> Vec<String> {
    let mut silent = Vec::new();
    for node in &testbed.nodes {
        let http = node.direct.with_token(&testbed.token);
        let begun = tokio::time::Instant::now();
        loop {
            let said = match http.call("GET", "registers/r0", None).await {
                Ok(answer) if answer.status == 503 && answer.error().contains(SAYING) => break,
                Ok(answer) => format!("{} {}", answer.status, answer.body),
                Err(error) => format!("{error:?}"),
            };
            if begun.elapsed() > PATIENCE {
                silent.push(format!("restore older copy: {} says after {PATIENCE:?}: {said}", node.name));
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    silent
}

/// Starts all nodes again. If the lock remembers more than the storage, as when the active node renewed it before it found
/// out, they refuse, and say what a person has to set: it is set, and they are started once more. How it went.
async fn accept(testbed: &mut Testbed, wrong: &mut Vec<String>) -> String {
    let begun = tokio::time::Instant::now();
    let mut accepted = String::new();
    for _ in 0..2 {
        (0..NODES).for_each(|node| testbed.nodes[node].process.kill());
        (0..NODES).for_each(|node| testbed.revive(node));
        match wait_for_service(testbed).await {
            Ok(None) => {
                return format!(
                    "started again{accepted} they serve after {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
            }
            Ok(Some(value)) => {
                for node in &testbed.nodes {
                    let file = testbed.folder.join(format!("{}.hcl", node.name));
                    let text = std::fs::read_to_string(&file).unwrap();
                    std::fs::write(&file, format!("{text}\nha {{ accept_rollback = \"{value}\" }}\n"))
                        .unwrap();
                }
                accepted = format!(" with accept_rollback = {value}");
            }
            Err(why) => wrong.push(format!("restore older copy: started again{accepted}: {why}")),
        }
    }
    wrong.push(format!("restore older copy: nothing is served, started again{accepted}"));
    "they do not serve any more".to_owned()
}

/// Waits until every node serves, or one says which value would accept the rollback.
async fn wait_for_service(testbed: &Testbed) -> Result<Option<String>, String> {
    let begun = tokio::time::Instant::now();
    loop {
        let mut waits = Vec::new();
        for node in &testbed.nodes {
            let http = node.direct.with_token(&testbed.token);
            match http.call("GET", "registers/r0", None).await {
                Ok(answer) if matches!(answer.status, 200 | 404) => {}
                Ok(answer) => match answer.error().split_once("set ha.accept_rollback = \"") {
                    Some((_, value)) => return Ok(value.split('"').next().map(str::to_owned)),
                    None => waits.push(format!("{}: {} {}", node.name, answer.status, answer.body)),
                },
                Err(error) => waits.push(format!("{}: {error:?}", node.name)),
            }
        }
        if waits.is_empty() {
            return Ok(None);
        }
        if begun.elapsed() > PATIENCE {
            return Err(waits.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn end_all(members: &mut Members) {
    (0..members.abilities().members).for_each(|member| members.kill(member));
    if let Store::Kubernetes(server) = members.store() {
        end_etcd(&server.kubeconfig());
    }
}

/// Ends the etcd of an API server and holds it down.
fn end_etcd(kubeconfig: &Path) {
    std::fs::write(kubeconfig.with_file_name("etcd.hold"), "").unwrap();
    let text = std::fs::read_to_string(kubeconfig.with_file_name("etcd.pid")).unwrap();
    let pid = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).ok();
    let begun = std::time::Instant::now();
    while test_kill_process(pid).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "etcd does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn start_all(members: &mut Members) {
    if let Store::Kubernetes(server) = members.store() {
        std::fs::remove_file(server.kubeconfig().with_file_name("etcd.hold")).ok();
    }
    (0..members.abilities().members).for_each(|member| members.start(member));
    members.ready().await;
}

/// Where the servers keep their data.
fn data(store: &Store) -> Vec<PathBuf> {
    match store {
        Store::Kubernetes(server) => vec![server.kubeconfig().with_file_name("etcd")],
        Store::Etcd(etcd) => {
            (0..etcd.addresses().len()).map(|n| etcd.folder().join(format!("n{n}"))).collect()
        }
        Store::Consul(consul) => (0..consul.members.len()).map(|n| consul.file(&format!("n{n}"))).collect(),
        Store::Zookeeper(ensemble) => {
            (0..ensemble.count()).map(|n| ensemble.file(&format!("data-{n}"))).collect()
        }
        Store::Postgresql(server) => vec![server.file("data")],
    }
}

/// Copies the data to `copy`, or back.
fn duplicate(store: &Store, copy: &Path, back: bool) {
    std::fs::create_dir_all(copy).unwrap();
    for data in data(store) {
        let there = copy.join(data.file_name().unwrap());
        let (from, to) = if back { (&there, &data) } else { (&data, &there) };
        std::fs::remove_dir_all(to).ok();
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success(), "{} was not copied", from.display());
    }
}
