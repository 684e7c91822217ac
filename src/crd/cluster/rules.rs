//! The rules of a `VaultCluster`, once: as CEL for the API server and as a function for the operator.
//!
//! The operator asks them again because an object may have been stored before a rule existed. A rule without a
//! bad-input case fails `tests/operator`.

use super::pods::Image;
use super::spec::{Profile, VaultCluster, VaultClusterSpec};
use super::storage::{Storage, StorageType};
use super::tls::TlsMode;
use super::unseal::UnsealType;

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// A short name, for tests and the log.
    pub id: &'static str,
    /// Where the CEL text stands: property names from the object's root.
    pub at: &'static [&'static str],
    /// The rule for the API server. It may name `oldSelf`.
    pub cel: &'static str,
    /// What a person reads when it does not hold.
    pub message: &'static str,
    /// The rule for the operator: the object, and its former specification where it is known.
    pub holds: fn(&VaultCluster, Option<&VaultClusterSpec>) -> bool,
}

/// The path of a field in messages: `spec.storage`.
pub fn path(at: &[&str]) -> String {
    if at.is_empty() { "metadata.name".to_owned() } else { at.join(".") }
}

/// The rules that `cluster` breaks; `former` is its specification before, where it is known.
pub fn broken<'a>(
    cluster: &'a VaultCluster,
    former: Option<&'a VaultClusterSpec>,
) -> impl Iterator<Item = &'static Rule> + 'a {
    RULES.iter().filter(move |rule| !(rule.holds)(cluster, former))
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "name",
        at: &[],
        cel: "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name must have at most 40 characters of a-z, 0-9 and -, begin with a letter and end with a letter or digit: the names of Services are made from it",
        holds: |cluster, _| cluster.metadata.name.as_deref().is_some_and(is_service_name),
    },
    Rule {
        id: "replicas",
        at: &["spec", "replicas"],
        cel: "self >= 1 && self <= 9",
        message: "replicas must be 1 to 9",
        holds: |cluster, _| (1..=9).contains(&cluster.spec.replicas),
    },
    Rule {
        id: "shared-storage",
        at: &["spec"],
        cel: "self.replicas == 1 || !(self.storage.type in ['File', 'Memory'])",
        message: "pods cannot share storage.type File or Memory: set replicas: 1, or storage.type: Kubernetes",
        holds: |cluster, _| cluster.spec.replicas == 1 || cluster.spec.storage.kind.is_shared(),
    },
    Rule {
        id: "storage-section",
        at: &["spec", "storage"],
        cel: "(!has(self.kubernetes) || self.type == 'Kubernetes') && (!has(self.etcd) || self.type == 'Etcd') && (!has(self.consul) || self.type == 'Consul') && (!has(self.zooKeeper) || self.type == 'ZooKeeper') && (!has(self.postgreSQL) || self.type == 'PostgreSQL') && (!has(self.file) || self.type == 'File') && (!has(self.memory) || self.type == 'Memory')",
        message: "only the section that storage.type names may be set",
        holds: |cluster, _| {
            let storage = &cluster.spec.storage;
            storage.sections().iter().all(|section| *section == storage.kind)
        },
    },
    Rule {
        id: "storage-immutable",
        at: &["spec", "storage"],
        cel: "self.type == oldSelf.type",
        message: "storage.type cannot be changed: create another cluster and move the data",
        holds: |cluster, former| former.is_none_or(|f| f.storage.kind == cluster.spec.storage.kind),
    },
    Rule {
        id: "storage-data-limit",
        at: &["spec", "storage"],
        cel: "!has(self.kubernetes) || !has(self.kubernetes.dataLimitBytes) || (self.kubernetes.dataLimitBytes >= 1048576 && self.kubernetes.dataLimitBytes <= 268435456)",
        message: "storage.kubernetes.dataLimitBytes must be 1048576 (1 MiB) to 268435456 (256 MiB): more belongs into etcd, Consul, ZooKeeper or PostgreSQL",
        holds: |cluster, _| {
            let limit = cluster.spec.storage.kubernetes.as_ref().and_then(|k| k.data_limit_bytes);
            limit.is_none_or(|bytes| (1 << 20..=256 << 20).contains(&bytes))
        },
    },
    Rule {
        id: "storage-budget-rate",
        at: &["spec", "storage"],
        cel: "!has(self.kubernetes) || !has(self.kubernetes.budgetBytesPerSecond) || (self.kubernetes.budgetBytesPerSecond >= 4096 && self.kubernetes.budgetBytesPerSecond <= 16777216)",
        message: "storage.kubernetes.budgetBytesPerSecond must be 4096 to 16777216 (16 MiB)",
        holds: |cluster, _| {
            let rate = cluster.spec.storage.kubernetes.as_ref().and_then(|k| k.budget_bytes_per_second);
            rate.is_none_or(|bytes| (4096..=16 << 20).contains(&bytes))
        },
    },
    Rule {
        id: "storage-address",
        at: &["spec", "storage"],
        cel: "(self.type != 'Etcd' || (has(self.etcd) && has(self.etcd.endpoints) && self.etcd.endpoints.size() > 0)) && (self.type != 'Consul' || (has(self.consul) && has(self.consul.address) && self.consul.address != '')) && (self.type != 'ZooKeeper' || (has(self.zooKeeper) && has(self.zooKeeper.servers) && self.zooKeeper.servers.size() > 0)) && (self.type != 'PostgreSQL' || (has(self.postgreSQL) && has(self.postgreSQL.connectionSecretRef)))",
        message: "the storage needs an address: set etcd.endpoints, consul.address, zooKeeper.servers or postgreSQL.connectionSecretRef",
        holds: |cluster, _| has_address(&cluster.spec.storage),
    },
    Rule {
        id: "storage-server-name",
        at: &["spec", "storage"],
        cel: "[has(self.etcd) && has(self.etcd.tlsServerName) ? self.etcd.tlsServerName : 'unset', has(self.consul) && has(self.consul.tlsServerName) ? self.consul.tlsServerName : 'unset', has(self.zooKeeper) && has(self.zooKeeper.tlsServerName) ? self.zooKeeper.tlsServerName : 'unset', has(self.postgreSQL) && has(self.postgreSQL.tlsServerName) ? self.postgreSQL.tlsServerName : 'unset'].all(name, isIP(name) || name.matches('^[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$'))",
        message: "storage.*.tlsServerName must be a DNS name or an IP address, without scheme and port",
        holds: |cluster, _| server_names(&cluster.spec.storage).all(is_host),
    },
    Rule {
        id: "storage-server-name-unused",
        at: &["spec", "storage"],
        cel: "(!has(self.etcd) || !has(self.etcd.tlsServerName) || (has(self.etcd.endpoints) && self.etcd.endpoints.exists(endpoint, endpoint.startsWith('https://')))) && (!has(self.consul) || !has(self.consul.tlsServerName) || (has(self.consul.address) && self.consul.address.contains('https://'))) && (!has(self.zooKeeper) || !has(self.zooKeeper.tlsServerName) || has(self.zooKeeper.caSecretRef))",
        message: "storage.*.tlsServerName is of no use without TLS: write addresses that begin with https://, or, for ZooKeeper, name the CA in caSecretRef",
        holds: |cluster, _| has_tls_for_its_name(&cluster.spec.storage),
    },
    Rule {
        id: "file-volume",
        at: &["spec", "storage"],
        cel: "(has(self.file) && has(self.file.size) ? self.file.size : '') == (has(oldSelf.file) && has(oldSelf.file.size) ? oldSelf.file.size : '') && (has(self.file) && has(self.file.storageClassName) ? self.file.storageClassName : '') == (has(oldSelf.file) && has(oldSelf.file.storageClassName) ? oldSelf.file.storageClassName : '')",
        message: "storage.file cannot be changed: the volume is there already",
        holds: |cluster, former| {
            let of = |spec: &VaultClusterSpec| {
                let file = spec.storage.file.clone().unwrap_or_default();
                (file.size.unwrap_or_default(), file.storage_class_name.unwrap_or_default())
            };
            former.is_none_or(|former| of(former) == of(&cluster.spec))
        },
    },
    Rule {
        id: "file-size",
        at: &["spec", "storage"],
        cel: "!has(self.file) || !has(self.file.size) || isQuantity(self.file.size)",
        message: "storage.file.size must be a quantity such as 1Gi",
        holds: |cluster, _| {
            let size = cluster.spec.storage.file.as_ref().and_then(|file| file.size.as_deref());
            size.is_none_or(is_quantity)
        },
    },
    Rule {
        id: "memory-profile",
        at: &["spec"],
        cel: "self.storage.type != 'Memory' || self.profile == 'Development'",
        message: "storage.type Memory loses everything when the pod ends: it needs profile: Development",
        holds: |cluster, _| {
            cluster.spec.storage.kind != StorageType::Memory || cluster.spec.profile == Profile::Development
        },
    },
    Rule {
        id: "tls-profile",
        at: &["spec"],
        cel: "self.tls.mode != 'Disabled' || self.profile == 'Development'",
        message: "tls.mode Disabled sends tokens and secrets in the clear: it needs profile: Development",
        holds: |cluster, _| {
            cluster.spec.tls.mode != TlsMode::Disabled || cluster.spec.profile == Profile::Development
        },
    },
    Rule {
        id: "hardened-unseal",
        at: &["spec"],
        cel: "self.profile != 'Hardened' || self.unseal.type != 'Static'",
        message: "profile Hardened keeps no key in a Secret: set unseal.type: Shamir",
        holds: |cluster, _| {
            cluster.spec.profile != Profile::Hardened || cluster.spec.unseal.kind != UnsealType::Static
        },
    },
    Rule {
        id: "hardened-stays",
        at: &["spec", "profile"],
        cel: "!(oldSelf == 'Hardened' && self == 'Development')",
        message: "profile cannot go from Hardened to Development",
        holds: |cluster, former| {
            cluster.spec.profile != Profile::Development
                || former.is_none_or(|f| f.profile != Profile::Hardened)
        },
    },
    Rule {
        id: "unseal-immutable",
        at: &["spec", "unseal", "type"],
        cel: "self == oldSelf",
        message: "unseal.type cannot be changed: seal migration is not available yet",
        holds: |cluster, former| former.is_none_or(|f| f.unseal == cluster.spec.unseal),
    },
    Rule {
        id: "lease-duration",
        at: &["spec", "ha", "leaseDurationSeconds"],
        cel: "self >= 3 && self <= 120",
        message: "ha.leaseDurationSeconds must be 3 to 120",
        holds: |cluster, _| (3..=120).contains(&cluster.spec.ha.lease_duration_seconds),
    },
    Rule {
        id: "staleness",
        at: &["spec", "ha", "maxStalenessSeconds"],
        cel: "self >= 0 && self <= 86400",
        message: "ha.maxStalenessSeconds must be 0 to 86400",
        holds: |cluster, _| (0..=86_400).contains(&cluster.spec.ha.max_staleness_seconds),
    },
    Rule {
        id: "staleness-limit",
        at: &["spec", "ha"],
        cel: "!has(self.stalenessLimitSeconds) || self.stalenessLimitSeconds >= self.maxStalenessSeconds && self.stalenessLimitSeconds <= 86400",
        message: "ha.stalenessLimitSeconds must be at least ha.maxStalenessSeconds, and at most 86400",
        holds: |cluster, _| {
            let ha = &cluster.spec.ha;
            ha.staleness_limit_seconds
                .is_none_or(|limit| (ha.max_staleness_seconds..=86_400).contains(&limit))
        },
    },
    Rule {
        id: "tls-secret",
        at: &["spec", "tls"],
        cel: "self.mode != 'Secret' || has(self.secretRef)",
        message: "tls.mode Secret needs tls.secretRef",
        holds: |cluster, _| cluster.spec.tls.mode != TlsMode::Secret || cluster.spec.tls.secret_ref.is_some(),
    },
    Rule {
        id: "tls-secret-unused",
        at: &["spec", "tls"],
        cel: "self.mode == 'Secret' || !has(self.secretRef)",
        message: "tls.secretRef is used with tls.mode Secret only: set the mode, or remove the reference",
        holds: |cluster, _| cluster.spec.tls.mode == TlsMode::Secret || cluster.spec.tls.secret_ref.is_none(),
    },
    Rule {
        id: "image-tag",
        at: &["spec", "image"],
        cel: "!has(self.tag) || self.tag != 'latest'",
        message: "image.tag latest moves, and pods of one cluster would differ: name a version",
        holds: |cluster, _| image(cluster).and_then(|i| i.tag.as_deref()) != Some("latest"),
    },
    Rule {
        id: "image-repository",
        at: &["spec", "image"],
        cel: "!has(self.repository) || !(self.repository.contains('@') || self.repository.matches(':[^/]*$'))",
        message: "image.repository must not hold a tag or digest: write the tag into image.tag",
        holds: |cluster, _| {
            let repository = image(cluster).and_then(|i| i.repository.as_deref()).unwrap_or_default();
            let last = repository.rsplit('/').next().unwrap_or_default();
            !repository.contains('@') && !last.contains(':')
        },
    },
    Rule {
        id: "resources",
        at: &["spec", "resources"],
        cel: "(!has(self.requests) || self.requests.all(k, type(self.requests[k]) == int || isQuantity(string(self.requests[k])))) && (!has(self.limits) || self.limits.all(k, type(self.limits[k]) == int || isQuantity(string(self.limits[k]))))",
        message: "resources must be quantities such as 100m, 0.5, 128Mi or 1Gi",
        holds: |cluster, _| {
            cluster
                .spec
                .resources
                .iter()
                .flat_map(|r| r.requests.values().chain(r.limits.values()))
                .all(|quantity| is_quantity(&quantity.0))
        },
    },
];

fn has_address(storage: &Storage) -> bool {
    match storage.kind {
        StorageType::Etcd => storage.etcd.as_ref().is_some_and(|etcd| !etcd.endpoints.is_empty()),
        StorageType::Consul => {
            let address = storage.consul.as_ref().and_then(|consul| consul.address.as_deref());
            address.is_some_and(|address| !address.is_empty())
        }
        StorageType::ZooKeeper => storage.zoo_keeper.as_ref().is_some_and(|z| !z.servers.is_empty()),
        StorageType::PostgreSQL => {
            storage.postgresql.as_ref().is_some_and(|p| p.connection_secret_ref.is_some())
        }
        StorageType::Kubernetes | StorageType::File | StorageType::Memory => true,
    }
}

/// The names that the sections expect in certificates.
fn server_names(storage: &Storage) -> impl Iterator<Item = &str> {
    [
        storage.etcd.as_ref().and_then(|etcd| etcd.tls_server_name.as_deref()),
        storage.consul.as_ref().and_then(|consul| consul.tls_server_name.as_deref()),
        storage.zoo_keeper.as_ref().and_then(|zookeeper| zookeeper.tls_server_name.as_deref()),
        storage.postgresql.as_ref().and_then(|postgresql| postgresql.tls_server_name.as_deref()),
    ]
    .into_iter()
    .flatten()
}

/// Whether the connection has TLS wherever a name is expected in certificates; PostgreSQL's always has.
fn has_tls_for_its_name(storage: &Storage) -> bool {
    let etcd = storage.etcd.as_ref().filter(|etcd| etcd.tls_server_name.is_some());
    let consul = storage.consul.as_ref().filter(|consul| consul.tls_server_name.is_some());
    let zookeeper = storage.zoo_keeper.as_ref().filter(|zookeeper| zookeeper.tls_server_name.is_some());
    etcd.is_none_or(|etcd| etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")))
        && consul.is_none_or(|c| c.address.as_ref().is_some_and(|address| address.contains("https://")))
        && zookeeper.is_none_or(|zookeeper| zookeeper.ca_secret_ref.is_some())
}

/// An IP address, or labels with dots between them, as certificates name servers.
fn is_host(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(|c| inner(*c))) && bytes.iter().all(|c| inner(*c) || *c == b'-')
    };
    name.parse::<std::net::IpAddr>().is_ok() || name.split('.').all(is_label)
}

fn image(cluster: &VaultCluster) -> Option<&Image> {
    cluster.spec.image.as_ref()
}

fn is_service_name(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    name.len() <= 40
        && name.bytes().all(inner)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// Kubernetes' grammar of quantities: a signed number with a suffix.
fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let is_number = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_exponent = |rest: &str| {
        let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
    };
    let units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    is_number && (units.contains(&suffix) || suffix.strip_prefix(['e', 'E']).is_some_and(is_exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_told_from_other_text() {
        for good in ["1", "100m", "0.5", ".5", "128Mi", "1Gi", "1e3", "2E-3", "+4k"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "m", "1 Gi", "1gb", "1.2.3", "e3", "1e", "much"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn hosts_are_told_from_addresses() {
        for good in ["localhost", "etcd-0.etcd.storage.svc", "_a.b", "10.0.0.1", "fd00::1", "9"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "-", "a.", ".a", "a..b", "https://a", "a:2379", "[fd00::1]", "a b", "-a", "a-.b"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let mut ids: Vec<_> = RULES.iter().map(|r| r.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
    }
}
