//! What can be done to the servers of a storage, and to the lock in it by hand.

use std::path::Path;
use std::time::Duration;

use tokio::task::block_in_place;

use crate::plan::Abilities;
use crate::postgresql_server;
use crate::store::Store;

/// Name of the Lease, and of the folder of keys, as the stanza gives it.
const NAME: &str = "gate";
/// The service account that the servers have at the API server.
pub const ACCOUNT: &str = "holdfast";
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

    /// The servers themselves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn abilities(&self) -> Abilities {
        let several =
            |members, lock| Abilities { members, lock, writer: false, throttle: false, lock_members: 0 };
        match &self.store {
            Store::Kubernetes(_) => Abilities { throttle: true, ..several(1, true) },
            Store::Etcd(etcd) => several(etcd.addresses().len(), true),
            Store::Consul(consul) => several(consul.members.len(), true),
            // Its lock takes changes by its owner alone.
            Store::Zookeeper(ensemble) => several(ensemble.count(), false),
            Store::Postgresql(_) => Abilities { writer: true, ..several(1, true) },
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
            Store::Etcd(etcd) => etcd.freeze(member),
            Store::Consul(consul) => consul.freeze(member),
            Store::Zookeeper(ensemble) => ensemble.freeze(member),
            Store::Postgresql(server) => server.freeze(),
        }
    }

    /// Lets it go on.
    pub fn thaw(&mut self, member: usize) {
        match &mut self.store {
            Store::Kubernetes(server) => server.thaw(),
            Store::Etcd(etcd) => etcd.thaw(member),
            Store::Consul(consul) => consul.thaw(member),
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
            Store::Etcd(etcd) => attempt(|| {
                let old = etcd.ctl(&["get", ETCD_LOCK, "--print-value-only"]);
                let mut record: serde_json::Value =
                    serde_json::from_str(&old).map_err(|error| format!("{old}: {error}"))?;
                record["holder"] = "somebody".into();
                etcd.ctl(&["put", ETCD_LOCK, &record.to_string()]);
                Ok(())
            }),
            Store::Zookeeper(_) => Err("the lock takes changes by its owner alone".to_owned()),
            Store::Postgresql(server) => attempt(|| {
                server.sql(postgresql_server::DATABASE, &[EDIT_ROW]);
                Ok(())
            }),
            Store::Consul(consul) => {
                let path = format!("kv/{NAME}/lock");
                let (status, old) = consul.ask(0, "GET", &format!("{path}?raw"), None).await;
                let mut record = old.clone();
                if !record.is_object() {
                    return Err(format!("{status} {old}"));
                }
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
            Store::Etcd(etcd) => attempt(|| {
                etcd.ctl(&["del", ETCD_LOCK]);
                Ok(())
            }),
            Store::Zookeeper(_) => Err("the lock takes changes by its owner alone".to_owned()),
            Store::Postgresql(server) => attempt(|| {
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

/// Runs a command that panics if it fails: one that comes to nothing is no reason to lose a run.
fn attempt(command: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let guarded = std::panic::AssertUnwindSafe(command);
    block_in_place(|| {
        std::panic::catch_unwind(guarded).unwrap_or_else(|_| Err("the command failed".to_owned()))
    })
}

async fn leases(kubeconfig: &Path) -> kube::Api<k8s_openapi::api::coordination::v1::Lease> {
    kube::Api::namespaced(client(kubeconfig).await, "default")
}

/// A client of the API server with the rights of `kubeconfig`.
pub async fn client(kubeconfig: &Path) -> kube::Client {
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// `kubeconfig`, of an administrator, as one of an account that the API server may throttle, which it never does to
/// administrators.
pub async fn account(kubeconfig: &Path) -> String {
    use k8s_openapi::api::authentication::v1::TokenRequest;
    use k8s_openapi::api::core::v1::ServiceAccount;
    use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
    let client = client(kubeconfig).await;
    let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(client.clone(), "default");
    let account = serde_json::json!({"metadata": {"name": ACCOUNT}});
    let post = kube::api::PostParams::default();
    accounts.create(&post, &serde_json::from_value(account).unwrap()).await.unwrap();
    let binding = serde_json::json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
    });
    let bindings: kube::Api<ClusterRoleBinding> = kube::Api::all(client);
    bindings.create(&post, &serde_json::from_value(binding).unwrap()).await.unwrap();
    let asked: TokenRequest =
        serde_json::from_value(serde_json::json!({"spec": {"audiences": [], "expirationSeconds": 86_400}}))
            .unwrap();
    let token = accounts.create_token_request(ACCOUNT, &post, &asked).await.unwrap().status.unwrap().token;
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let (before, rest) = text.split_once("token: ").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    format!("{before}token: {token}}}{after}")
}
