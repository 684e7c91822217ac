//! The servers of one kind of storage: started, reachable from pods, with the Secrets that a user would make.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::door::{self, Door};
use crate::consul_server::Consul;
use crate::etcd_server::{self, Etcd};
use crate::lab::Lab;
use crate::postgresql_server::{self, Postgresql};
use crate::zookeeper_server::{self, Ensemble};

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Etcd,
    Consul,
    ZooKeeper,
    PostgreSQL,
}

impl Kind {
    /// The file in `deploy/samples/`, and the section below `spec.storage`.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Etcd => ("etcd.yaml", "etcd"),
            Self::Consul => ("consul.yaml", "consul"),
            Self::ZooKeeper => ("zookeeper.yaml", "zooKeeper"),
            Self::PostgreSQL => ("postgresql.yaml", "postgreSQL"),
        }
    }
}

/// Running servers. They end when this is dropped.
pub struct Servers {
    pub kind: Kind,
    processes: Processes,
    /// By name, what the Secrets hold.
    pub secrets: BTreeMap<&'static str, Value>,
    /// The Services that stand for the servers.
    services: Vec<(&'static str, &'static str)>,
    _doors: Vec<Door>,
}

enum Processes {
    Etcd(Etcd),
    Consul(Consul),
    /// With the number of nodes that it had at first.
    ZooKeeper(Ensemble, u64),
    PostgreSQL(Postgresql),
}

impl Servers {
    /// Starts the servers for the cluster `vault` in `namespace`, who alone may use its part of them.
    pub async fn start(kind: Kind, lab: &Lab, namespace: &str) -> Result<Self, String> {
        let own = format!("holdfast/{namespace}/vault");
        let (processes, secrets, place) = match kind {
            Kind::Etcd => etcd(&own)?,
            Kind::Consul => consul(&own).await?,
            Kind::ZooKeeper => zookeeper()?,
            Kind::PostgreSQL => postgresql()?,
        };
        let mut doors = Vec::new();
        for (number, port) in (0..).zip(&place.ports) {
            doors.push(Door::open(number, place.outside, *port).await?);
        }
        lab.apply(&place.objects())?;
        let services = vec![(place.namespace, place.service)];
        Ok(Self { kind, processes, secrets, services, _doors: doors })
    }

    /// How many entries of the cluster in `namespace` the storage has, by its own account.
    pub async fn entries(&self, namespace: &str) -> Result<u64, String> {
        let own = format!("holdfast/{namespace}/vault");
        let count = match &self.processes {
            Processes::Etcd(etcd) => {
                let own = format!("/{own}/data/");
                etcd.ctl(&["get", "--prefix", "--keys-only", &own]).split_whitespace().count()
            }
            Processes::Consul(consul) => {
                let (status, keys) = consul.ask(0, "GET", &format!("kv/{own}/data/?keys"), None).await;
                keys.as_array().ok_or_else(|| format!("Consul's keys: {status} {keys}"))?.len()
            }
            // Only the vault may list its nodes; nobody else makes any.
            Processes::ZooKeeper(ensemble, at_first) => return Ok(nodes(ensemble)?.saturating_sub(*at_first)),
            Processes::PostgreSQL(server) => {
                let count = server.sql(postgresql_server::DATABASE, &["SELECT count(*) FROM holdfast_kv"]);
                count.parse().map_err(|e| format!("{count}: {e}"))?
            }
        };
        Ok(count as u64)
    }

    /// Takes the Services away that stood for the servers.
    pub fn forget(&self, lab: &Lab) -> Result<(), String> {
        for (namespace, service) in &self.services {
            lab.kubectl(&["delete", "service,endpointslice", "-n", namespace, "-l", &label(service)])?;
        }
        Ok(())
    }
}

/// How many nodes an ensemble has.
fn nodes(ensemble: &Ensemble) -> Result<u64, String> {
    let told = ensemble.said(0, "mntr");
    let line = told.lines().find_map(|line| line.strip_prefix("zk_znode_count"));
    line.and_then(|count| count.trim().parse().ok()).ok_or(told)
}

/// Where the samples look for the servers.
struct Place {
    namespace: &'static str,
    service: &'static str,
    outside: u16,
    /// Whether every server has a name of its own below the Service's: `<service>-0.<service>`.
    has_names: bool,
    /// The servers' ports on the loopback.
    ports: Vec<u16>,
}

fn label(service: &str) -> String {
    format!("kubernetes.io/service-name={service}")
}

impl Place {
    /// Namespace, Service and its endpoints.
    fn objects(&self) -> String {
        let labels = json!({"kubernetes.io/service-name": self.service});
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.service, "namespace": self.namespace, "labels": labels},
            "spec": {"ports": [{"port": self.outside}]},
        });
        if self.has_names {
            service["spec"]["clusterIP"] = json!("None");
        }
        let endpoint = |(number, _): (u8, &u16)| {
            let mut endpoint =
                json!({"addresses": [door::address(number).to_string()], "conditions": {"ready": true}});
            if self.has_names {
                endpoint["hostname"] = json!(format!("{}-{number}", self.service));
            }
            endpoint
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": self.service, "namespace": self.namespace, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"port": self.outside}],
            "endpoints": (0..).zip(&self.ports).map(endpoint).collect::<Vec<_>>(),
        });
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        json!({"apiVersion": "v1", "kind": "List", "items": [namespace, service, slice]}).to_string()
    }
}

type Started = (Processes, BTreeMap<&'static str, Value>, Place);

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn etcd(own: &str) -> Result<Started, String> {
    let servers = Etcd::cluster(&[&format!("/{own}/")]);
    let pki = servers.pki.as_ref().ok_or("etcd without TLS")?;
    let secrets = BTreeMap::from([
        ("etcd-credentials", json!({"username": "holdfast", "password": etcd_server::PASSWORD})),
        ("etcd-ca", json!({"ca.crt": read(&pki.ca)?})),
        ("etcd-client", json!({"tls.crt": read(&pki.client.cert)?, "tls.key": read(&pki.client.key)?})),
    ]);
    let ports = (0..servers.addresses().len()).map(|member| servers.port(member)).collect();
    let place = Place { namespace: "storage", service: "etcd", outside: 2379, has_names: true, ports };
    Ok((Processes::Etcd(servers), secrets, place))
}

async fn consul(own: &str) -> Result<Started, String> {
    let servers = Consul::cluster().await;
    let rule = format!("key_prefix \"{own}/\" {{\n  policy = \"write\"\n}}\n");
    let token = servers.token("vault", &rule).await;
    let file = |name: &str| read(&servers.file(name));
    let secrets = BTreeMap::from([
        ("consul-token", json!({"token": token})),
        ("consul-ca", json!({"ca.crt": file("ca.pem")?})),
        ("consul-client", json!({"tls.crt": file("client.pem")?, "tls.key": file("client.key")?})),
    ]);
    let ports = servers.members.iter().map(|member| member.https).collect();
    let place =
        Place { namespace: "consul", service: "consul-server", outside: 8501, has_names: false, ports };
    Ok((Processes::Consul(servers), secrets, place))
}

fn zookeeper() -> Result<Started, String> {
    let servers = Ensemble::three();
    let file = |name: &str| read(&servers.file(name));
    let secrets = BTreeMap::from([
        ("zookeeper-auth", json!({"auth-info": zookeeper_server::CREDENTIAL})),
        ("zookeeper-ca", json!({"ca.crt": file("ca.pem")?})),
        ("zookeeper-client", json!({"tls.crt": file("client.pem")?, "tls.key": file("client.key")?})),
    ]);
    let port = |member| {
        let address = servers.address(member);
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.ok_or_else(|| format!("no port in {address}"))
    };
    let ports = (0..servers.count()).map(port).collect::<Result<Vec<u16>, _>>()?;
    let place = Place { namespace: "storage", service: "zookeeper", outside: 2281, has_names: true, ports };
    let at_first = nodes(&servers)?;
    Ok((Processes::ZooKeeper(servers, at_first), secrets, place))
}

fn postgresql() -> Result<Started, String> {
    let server = Postgresql::start();
    let url = format!(
        "postgres://{}:{}@postgresql.storage.svc:5432/{}",
        postgresql_server::ROLE,
        postgresql_server::PASSWORD_ESCAPED,
        postgresql_server::DATABASE
    );
    let secrets = BTreeMap::from([
        ("postgresql-connection", json!({"url": url})),
        ("postgresql-ca", json!({"ca.crt": read(&server.file("ca.pem"))?})),
    ]);
    let place = Place {
        namespace: "storage",
        service: "postgresql",
        outside: 5432,
        has_names: false,
        ports: vec![server.port],
    };
    Ok((Processes::PostgreSQL(server), secrets, place))
}
