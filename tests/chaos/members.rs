//! What can be done to the servers of a storage, and to the lock in it by hand.

use std::time::Duration;

use tokio::task::block_in_place;

use crate::plan::Abilities;
use crate::postgresql_server;
use crate::store::Store;

/// Name of the Lease, and of the folder of keys, as the stanza gives it.
const NAME: &str = "gate";
const ETCD_LOCK: &str = "/gate/lock";
const EDIT_ROW: &str = "UPDATE holdfast_lock SET version = version + 1, record = jsonb_set(record::jsonb, '{holder}', '\"somebody\"')::text";
const DELETE_ROW: &str = "DELETE FROM holdfast_lock";

/// The servers of a storage.
pub struct Members {
    store: Store,
}

impl Members {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub fn abilities(&self) -> Abilities {
        match &self.store {
            Store::Kubernetes(_) => Abilities { members: 1, lock: true },
            Store::Etcd(etcd) => Abilities { members: etcd.addresses().len(), lock: true },
            Store::Consul(consul) => Abilities { members: consul.members.len(), lock: true },
            // Its lock takes changes by its owner alone.
            Store::Zookeeper(ensemble) => Abilities { members: ensemble.count(), lock: false },
            Store::Postgresql(_) => Abilities { members: 1, lock: true },
        }
    }

    /// Ends one with SIGKILL.
    pub fn kill(&mut self, member: usize) {
        match &mut self.store {
            Store::Kubernetes(server) => server.stop(),
            Store::Etcd(etcd) => etcd.kill(member),
            Store::Consul(consul) => consul.kill(member),
            Store::Zookeeper(ensemble) => ensemble.kill(member),
            Store::Postgresql(server) => server.kill(),
        }
    }

    /// Starts one that was killed.
    pub fn start(&mut self, member: usize) {
        match &mut self.store {
            Store::Kubernetes(server) => server.start_again(),
            Store::Etcd(etcd) => etcd.restart(member),
            Store::Consul(consul) => consul.start(member),
            Store::Zookeeper(ensemble) => ensemble.launch(member),
            Store::Postgresql(server) => block_in_place(|| server.up()),
        }
    }

    /// Stops one where it is.
    pub fn freeze(&mut self, member: usize) {
        match &mut self.store {
            Store::Kubernetes(server) => server.freeze(),
            Store::Etcd(etcd) => etcd.stop(member),
            Store::Consul(consul) => consul.stop(member),
            Store::Zookeeper(ensemble) => ensemble.freeze(member),
            Store::Postgresql(server) => server.freeze(),
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self, member: usize) {
        match &mut self.store {
            Store::Kubernetes(server) => server.thaw(),
            Store::Etcd(etcd) => etcd.go_on(member),
            Store::Consul(consul) => consul.resume(member),
            Store::Zookeeper(ensemble) => ensemble.thaw(member),
            Store::Postgresql(server) => server.thaw(),
        }
    }

    /// The one that leads the others.
    pub async fn leading(&self) -> usize {
        match &self.store {
            Store::Kubernetes(_) | Store::Postgresql(_) => 0,
            Store::Etcd(etcd) => block_in_place(|| etcd.leader()),
            Store::Zookeeper(ensemble) => block_in_place(|| ensemble.leader()),
            Store::Consul(consul) => {
                for member in 0..consul.members.len() {
                    let (_, about) = consul.ask(member, "GET", "agent/self", None).await;
                    if about["Stats"]["consul"]["leader"] == "true" {
                        return member;
                    }
                }
                0
            }
        }
    }

    /// Waits until all of them answer, at most a minute each.
    pub async fn ready(&self) {
        match &self.store {
            Store::Kubernetes(server) => {
                let leases = leases(&server.kubeconfig()).await;
                crate::http::until("the API server", Duration::from_secs(60), || async {
                    let asked = leases.get_opt(NAME);
                    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
                    answer.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())
                })
                .await;
            }
            Store::Etcd(etcd) => block_in_place(|| {
                (0..etcd.addresses().len()).for_each(|member| etcd.wait_until_ready(member));
            }),
            Store::Consul(consul) => {
                for member in 0..consul.members.len() {
                    consul.ready(member).await;
                }
            }
            Store::Zookeeper(ensemble) => {
                crate::http::until("ZooKeeper", Duration::from_secs(60), || async {
                    let said = (0..ensemble.count()).map(|member| ensemble.said(member, "srvr"));
                    let silent = said.filter(|text| !text.contains("Mode: ")).count();
                    if silent == 0 { Ok(()) } else { Err(format!("{silent} do not serve")) }
                })
                .await;
            }
            Store::Postgresql(_) => {}
        }
    }

    /// Gives the lock to a stranger, as a person may who does not know better.
    pub async fn edit_lock(&self) -> Result<(), String> {
        match &self.store {
            Store::Kubernetes(server) => {
                let patch =
                    serde_json::json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 4}});
                let patch = kube::api::Patch::Merge(&patch);
                let patched = leases(&server.kubeconfig()).await;
                let patched = patched.patch(NAME, &kube::api::PatchParams::default(), &patch).await;
                patched.map(|_| ()).map_err(|error| error.to_string())
            }
            Store::Etcd(etcd) => block_in_place(|| {
                let old = etcd.ctl(&["get", ETCD_LOCK, "--print-value-only"]);
                let mut record: serde_json::Value =
                    serde_json::from_str(&old).map_err(|error| format!("{old}: {error}"))?;
                record["holder"] = "somebody".into();
                etcd.ctl(&["put", ETCD_LOCK, &record.to_string()]);
                Ok(())
            }),
            Store::Zookeeper(_) => Err("the lock takes changes by its owner alone".to_owned()),
            Store::Postgresql(server) => block_in_place(|| {
                server.sql(postgresql_server::DATABASE, &[EDIT_ROW]);
                Ok(())
            }),
            Store::Consul(consul) => {
                let path = format!("kv/{NAME}/lock");
                let (status, old) = consul.ask(0, "GET", &format!("{path}?raw"), None).await;
                let mut record = old.clone();
                record["holder"] = "somebody".into();
                let (put, answer) = consul.ask(0, "PUT", &path, Some(&record)).await;
                if put == 200 { Ok(()) } else { Err(format!("{status} {old}, {put} {answer}")) }
            }
        }
    }

    /// Deletes the lock.
    pub async fn delete_lock(&self) -> Result<(), String> {
        match &self.store {
            Store::Kubernetes(server) => {
                let deleted = leases(&server.kubeconfig()).await;
                let deleted = deleted.delete(NAME, &kube::api::DeleteParams::default()).await;
                deleted.map(|_| ()).map_err(|error| error.to_string())
            }
            Store::Etcd(etcd) => block_in_place(|| {
                etcd.ctl(&["del", ETCD_LOCK]);
                Ok(())
            }),
            Store::Zookeeper(_) => Err("the lock takes changes by its owner alone".to_owned()),
            Store::Postgresql(server) => block_in_place(|| {
                server.sql(postgresql_server::DATABASE, &[DELETE_ROW]);
                Ok(())
            }),
            Store::Consul(consul) => {
                let (status, answer) = consul.ask(0, "DELETE", &format!("kv/{NAME}/lock"), None).await;
                if status == 200 { Ok(()) } else { Err(format!("{status} {answer}")) }
            }
        }
    }
}

async fn leases(kubeconfig: &std::path::Path) -> kube::Api<k8s_openapi::api::coordination::v1::Lease> {
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    kube::Api::namespaced(kube::Client::try_from(config).unwrap(), "default")
}
