//! Data in one storage and the lock in another, in a ring: each kind elects for the data of another one, with no more rights
//! than its page asks for.

use std::time::Instant;

use serde_json::json;

use crate::cluster::Cluster;
use crate::consul_server::MANAGEMENT;
use crate::etcd_server::PASSWORD;
use crate::postgresql_server::{DATABASE, PASSWORD_ESCAPED, ROLE};
use crate::store::Store;
use crate::turns;

/// What `docs/storage/postgresql.md` lets an administrator run for the table of the lock, under another name.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS \"elect_lock\" (id smallint PRIMARY KEY CHECK (id = 1), \
    version bigint NOT NULL, record text NOT NULL) WITH (fillfactor = 10)";
const GRANT: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON \"elect_lock\" TO guest";

/// The stanza of a lock in `store`, for somebody who may use that lock and cannot reach the data beside it.
async fn lock(store: &Store) -> String {
    let stanza = store.stanza("ha_storage");
    match store {
        Store::Etcd(etcd) => {
            etcd.ctl(&["role", "add", "elector"]);
            etcd.ctl(&["role", "grant-permission", "elector", "--prefix=true", "readwrite", "/elect/"]);
            etcd.ctl(&["user", "add", &format!("elector:{PASSWORD}")]);
            etcd.ctl(&["user", "grant-role", "elector", "elector"]);
            replaced(stanza, &[("path = \"/gate/\"", "path = \"/elect/\""), ("\"holdfast\"", "\"elector\"")])
        }
        Store::Consul(consul) => {
            let token = consul.token("elector", "key_prefix \"elect/\" { policy = \"write\" }").await;
            replaced(stanza, &[("path = \"gate/\"", "path = \"elect/\""), (MANAGEMENT, &token)])
        }
        Store::Zookeeper(_) => replaced(
            stanza,
            &[("path = \"/gate\"", "path = \"/elect\""), ("digest:holdfast:", "digest:elector:")],
        ),
        Store::Postgresql(server) => {
            server.sql(DATABASE, &[TABLE, GRANT]);
            let owner = format!("{ROLE}:{PASSWORD_ESCAPED}@");
            let ending = "}\n";
            replaced(stanza, &[(&owner, "guest:guest@"), (ending, "table = \"elect\"\n}\n")])
        }
        Store::Kubernetes(_) => stanza,
    }
}

/// `text` with what must be in it replaced.
fn replaced(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in {text}");
        text.replace(old, new)
    })
}

/// Three servers elect by `by`, forward, and go on after the leader's death.
async fn elects(storage: &Store, by: &Store) {
    let begun = Instant::now();
    let (kind, lock_kind) = (storage.kind(), by.kind());
    let stanzas =
        format!("{}{}ha {{ lease_duration = \"3s\" }}\n", storage.stanza("storage"), lock(by).await);
    let mut cluster = Cluster::with(3, stanzas, Vec::new()).await;
    let banner = cluster.nodes[0].banner.join("\n");
    for row in [format!(" Storage: {kind}\n"), format!(" HA Storage: {lock_kind} (HA available)\n")] {
        assert!(banner.contains(&row), "{row} is missing in\n{banner}");
    }
    let leader = cluster.leader().await;
    let others = cluster.standbys(leader);
    let put = |password: &str| json!({"data": {"password": password}});
    let answer = cluster.client(others[0]).put("secret/data/app", &put("correct horse")).await;
    assert_eq!(answer.expect(200)["data"]["version"], 1);
    for node in 0..3 {
        let read = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(read["data"]["data"]["password"], "correct horse", "node {node}");
    }

    cluster.nodes[leader].kill();
    let killed = Instant::now();
    let answer = cluster.client(others[0]).put("secret/data/app", &put("battery staple")).await;
    assert_eq!(answer.expect(200)["data"]["version"], 2);
    let gap = killed.elapsed();
    for &node in &others {
        let read = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(read["data"]["data"]["password"], "battery staple", "node {node}");
    }
    assert_ne!(cluster.leader().await, leader);
    println!(
        "{kind} with a lock in {lock_kind}: first write {} ms after SIGKILL of a young leader; {} s in all",
        gap.as_millis(),
        begun.elapsed().as_secs()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_lock_elects_for_data_that_lies_elsewhere() {
    let _turn = turns::beside_others().await;
    let (etcd, consul, zookeeper, postgresql) =
        tokio::join!(Store::etcd(), Store::consul(), Store::zookeeper(), Store::postgresql());
    let ring = [(&etcd, &consul), (&consul, &zookeeper), (&zookeeper, &postgresql), (&postgresql, &etcd)];
    for (storage, by) in ring {
        elects(storage, by).await;
    }
}
