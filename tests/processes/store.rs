//! The storages that the tests run on: real servers, each with the stanza that names it.

use std::path::Path;

use crate::apiserver::ApiServer;
use crate::cluster::define;
use crate::consul_server::{Consul, MANAGEMENT};
use crate::etcd_server::{Etcd, PASSWORD};
use crate::postgresql_server::Postgresql;
use crate::zookeeper_server::Ensemble;

/// What all keys of these tests begin with.
const PATH: &str = "/gate/";

/// Running servers. They end with the value.
pub enum Store {
    Kubernetes(ApiServer),
    /// Three members, TLS with client certificates, a user with a password.
    Etcd(Etcd),
    /// Three servers, TLS with client certificates, a token.
    Consul(Consul),
    /// Three servers, TLS with client certificates, a digest.
    Zookeeper(Ensemble),
    /// One server, TLS, a password.
    Postgresql(Postgresql),
}

/// Starts servers without holding up the runtime.
async fn started<T: Send + 'static>(start: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// One setting of a stanza; JSON writes a text as HCL reads it.
fn setting(key: &str, value: &str) -> String {
    format!("{key} = {}\n", serde_json::Value::from(value))
}

fn file(key: &str, path: &Path) -> String {
    setting(key, &path.display().to_string())
}

impl Store {
    /// The storage called `kind`, as configurations call it.
    pub async fn open(kind: &str) -> Self {
        match kind {
            "kubernetes" => Self::kubernetes().await,
            "etcd" => Self::etcd().await,
            "consul" => Self::consul().await,
            "zookeeper" => Self::zookeeper().await,
            "postgresql" => Self::postgresql().await,
            other => panic!("{other} is no storage of these tests"),
        }
    }

    pub async fn kubernetes() -> Self {
        let server = started(|| ApiServer::start().unwrap()).await;
        define(&server.kubeconfig()).await;
        Self::Kubernetes(server)
    }

    pub async fn etcd() -> Self {
        Self::Etcd(started(|| Etcd::cluster(&[PATH])).await)
    }

    pub async fn consul() -> Self {
        Self::Consul(Consul::cluster().await)
    }

    pub async fn zookeeper() -> Self {
        Self::Zookeeper(started(Ensemble::three).await)
    }

    pub async fn postgresql() -> Self {
        Self::Postgresql(started(Postgresql::start).await)
    }

    /// The type, as configuration and banner name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Etcd(_) => "etcd",
            Self::Consul(_) => "consul",
            Self::Zookeeper(_) => "zookeeper",
            Self::Postgresql(_) => "postgresql",
        }
    }

    /// The stanza of `block`: `storage` or `ha_storage`.
    pub fn stanza(&self, block: &str) -> String {
        let settings = match self {
            Self::Kubernetes(server) => {
                setting("namespace", "default")
                    + &setting("name", "gate")
                    + &file("kubeconfig", &server.kubeconfig())
            }
            Self::Etcd(etcd) => {
                let pki = etcd.pki.as_ref().unwrap();
                setting("address", &etcd.addresses().join(","))
                    + &setting("path", PATH)
                    + &setting("username", "holdfast")
                    + &setting("password", PASSWORD)
                    + &file("tls_ca_file", &pki.ca)
                    + &file("tls_cert_file", &pki.server.cert)
                    + &file("tls_key_file", &pki.server.key)
            }
            Self::Consul(consul) => {
                setting("address", &consul.addresses().join(","))
                    + &setting("path", "gate/")
                    + &setting("token", MANAGEMENT)
                    + &file("tls_ca_file", &consul.file("ca.pem"))
                    + &file("tls_cert_file", &consul.file("client.pem"))
                    + &file("tls_key_file", &consul.file("client.key"))
            }
            Self::Zookeeper(ensemble) => {
                setting("address", &ensemble.addresses()) + &setting("path", "/gate") + &ensemble.settings()
            }
            Self::Postgresql(server) => setting("connection_url", &server.tls_url()),
        };
        format!("{block} \"{}\" {{\n{settings}}}\n", self.kind())
    }

    /// Stops all servers where they are: connections hang.
    pub fn freeze(&self) {
        match self {
            Self::Kubernetes(server) => server.freeze(),
            Self::Etcd(etcd) => (0..3).for_each(|member| etcd.freeze(member)),
            Self::Consul(consul) => (0..3).for_each(|member| consul.freeze(member)),
            Self::Zookeeper(ensemble) => (0..3).for_each(|member| ensemble.freeze(member)),
            Self::Postgresql(server) => server.freeze(),
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        match self {
            Self::Kubernetes(server) => server.thaw(),
            Self::Etcd(etcd) => (0..3).for_each(|member| etcd.thaw(member)),
            Self::Consul(consul) => (0..3).for_each(|member| consul.thaw(member)),
            Self::Zookeeper(ensemble) => (0..3).for_each(|member| ensemble.thaw(member)),
            Self::Postgresql(server) => server.thaw(),
        }
    }

    /// The API server, where it is one.
    pub fn api_server(&self) -> &ApiServer {
        match self {
            Self::Kubernetes(server) => server,
            other => panic!("{} is no API server", other.kind()),
        }
    }

    /// The server, where it is a PostgreSQL.
    pub fn postgresql_server(&self) -> &Postgresql {
        match self {
            Self::Postgresql(server) => server,
            other => panic!("{} is no PostgreSQL", other.kind()),
        }
    }
}
