//! Names of a cluster's children and the paths inside its pods.

use crate::base::id;

/// The server's configuration, inside a pod.
pub(crate) const CONFIG_FOLDER: &str = "/etc/holdfast/config";
/// Key of the configuration in its Secret, and its file name.
pub(crate) const CONFIG_FILE: &str = "holdfast.json";
/// The issuer or the user's certificate, inside a pod.
pub(crate) const TLS_FOLDER: &str = "/etc/holdfast/tls";
/// The unseal key, inside a pod.
pub(crate) const UNSEAL_FOLDER: &str = "/etc/holdfast/unseal";
/// Key of the unseal key in its Secret, and its file name.
pub(crate) const UNSEAL_FILE: &str = "key";
/// Credentials of the storage, inside a pod.
pub(crate) const STORAGE_CREDENTIALS_FOLDER: &str = "/etc/holdfast/storage/credentials";
/// The pods' client certificate towards the storage, inside a pod.
pub(crate) const STORAGE_TLS_FOLDER: &str = "/etc/holdfast/storage/tls";
/// The storage's CA, inside a pod.
pub(crate) const STORAGE_CA_FOLDER: &str = "/etc/holdfast/storage/ca";
/// The volume of the storage in files, inside a pod.
pub(crate) const DATA_FOLDER: &str = "/var/lib/holdfast";
/// The id by which the seal names the unseal key.
pub(crate) const UNSEAL_KEY_ID: &str = "operator-1";

/// Names of the children of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The cluster's name: StatefulSet, Lease, head, main Service, service account, Role, RoleBinding and PDB.
    pub(crate) base: String,
    /// Its namespace.
    pub(crate) namespace: String,
}

impl Names {
    /// The Service that reaches the active pod.
    pub(crate) fn active(&self) -> String {
        format!("{}-active", self.base)
    }

    /// The Service that reaches the standbys.
    pub(crate) fn standby(&self) -> String {
        format!("{}-standby", self.base)
    }

    /// The headless Service that gives pods their names.
    pub(crate) fn internal(&self) -> String {
        format!("{}-internal", self.base)
    }

    /// The Secret with the CA's key; never mounted.
    pub(crate) fn ca(&self) -> String {
        format!("{}-ca", self.base)
    }

    /// The Secret with the CA's certificate alone, for clients.
    pub(crate) fn ca_cert(&self) -> String {
        format!("{}-ca-cert", self.base)
    }

    /// The Secret with the issuer that the pods mint their certificates from.
    pub(crate) fn issuer(&self) -> String {
        format!("{}-issuer", self.base)
    }

    /// The Secret with the unseal key.
    pub(crate) fn unseal_key(&self) -> String {
        format!("{}-unseal-key", self.base)
    }

    /// The Secret with the answer of init.
    pub(crate) fn init(&self) -> String {
        format!("{}-init", self.base)
    }

    /// The Secret with the server's configuration, by its content.
    pub(crate) fn config(&self, content: &str) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        let hash: String = id::hex(hash.as_ref()).chars().take(10).collect();
        format!("{}-config-{hash}", self.base)
    }

    /// DNS names of the Services, in every form in which clients write them. `domain` is the cluster's domain.
    pub(crate) fn service_dns_names(&self, domain: &str) -> Vec<String> {
        let mut out = Vec::new();
        for service in [self.base.clone(), self.active(), self.standby(), self.internal()] {
            let qualified = format!("{service}.{}", self.namespace);
            out.push(service);
            out.push(format!("{qualified}.svc"));
            out.push(format!("{qualified}.svc.{domain}"));
            out.push(qualified);
        }
        out
    }

    /// DNS subtrees for which the pods' issuer may issue: the Services, what lies below them, the pods' own names.
    pub(crate) fn permitted_dns(&self, domain: &str) -> Vec<String> {
        let mut out = vec!["localhost".to_owned()];
        out.extend(self.service_dns_names(domain));
        out.extend((0..MAX_REPLICAS).map(|ordinal| format!("{}-{ordinal}", self.base)));
        out
    }
}

/// As many pods as a cluster may have.
const MAX_REPLICAS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_cluster() {
        let names = Names { base: "main".to_owned(), namespace: "secrets".to_owned() };
        assert_eq!(names.active(), "main-active");
        let dns = names.service_dns_names("cluster.local");
        for name in
            ["main", "main.secrets", "main-active.secrets.svc", "main-internal.secrets.svc.cluster.local"]
        {
            assert!(dns.contains(&name.to_owned()), "{name}");
        }
        assert!(names.permitted_dns("cluster.local").contains(&"main-8".to_owned()));
        assert_eq!(names.config("{}"), names.config("{}"));
        assert_ne!(names.config("{}"), names.config("{ }"));
    }
}
