//! What a server says about itself when it starts, in Vault's form.

use std::fmt;
use std::net::SocketAddr;

use crate::api::VERSION;

/// What the rows say.
#[derive(Debug, Clone)]
pub struct Banner {
    /// Address for clients.
    pub api_address: String,
    /// Address for peers; `None` without a cluster.
    pub cluster_address: Option<String>,
    /// Type of the storage.
    pub storage: String,
    /// Type of a lock of its own.
    pub ha_storage: Option<String>,
    /// Whether there is a lock.
    pub is_ha: bool,
    /// For clients, for peers, and whether with TLS.
    pub listeners: Vec<(SocketAddr, Option<SocketAddr>, bool)>,
    /// Address of probes and metrics.
    pub probes: Option<SocketAddr>,
    /// Type of the seal.
    pub seal: &'static str,
    /// Lowest level that is logged.
    pub log_level: &'static str,
}

impl Banner {
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![("Api Address".to_owned(), self.api_address.clone())];
        let mut row = |name: &str, text: String| rows.push((name.to_owned(), text));
        if let Some(address) = &self.cluster_address {
            row("Cluster Address", address.clone());
        }
        row("Fencing", "head".to_owned());
        for (number, (api, cluster, tls)) in self.listeners.iter().enumerate() {
            let cluster =
                cluster.map(|address| format!(", cluster address: \"{address}\"")).unwrap_or_default();
            let tls = if *tls { "enabled" } else { "disabled" };
            row(
                &format!("Listener {}", number + 1),
                format!("tcp (addr: \"{api}\"{cluster}, tls: \"{tls}\")"),
            );
        }
        row("Log Level", self.log_level.to_owned());
        if let Some(address) = self.probes {
            row("Probes", address.to_string());
        }
        row("Seal Type", self.seal.to_owned());
        let ha = if self.is_ha { "HA available" } else { "HA disabled" };
        match &self.ha_storage {
            Some(lock) => {
                row("Storage", self.storage.clone());
                row("HA Storage", format!("{lock} ({ha})"));
            }
            None => row("Storage", format!("{} ({ha})", self.storage)),
        }
        row("Version", format!("Holdfast v{} (API {VERSION})", env!("CARGO_PKG_VERSION")));
        rows
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "==> Holdfast server configuration:\n")?;
        for (name, text) in self.rows() {
            writeln!(f, "{name:>24}: {text}")?;
        }
        writeln!(f, "\n==> Holdfast server started! Log data will stream in below:\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> Banner {
        Banner {
            api_address: "https://10.1.2.3:8200".to_owned(),
            cluster_address: Some("https://10.1.2.3:8201".to_owned()),
            storage: "kubernetes".to_owned(),
            ha_storage: None,
            is_ha: true,
            listeners: vec![("0.0.0.0:8200".parse().unwrap(), "0.0.0.0:8201".parse().ok(), true)],
            probes: "0.0.0.0:8202".parse().ok(),
            seal: "static",
            log_level: "info",
        }
    }

    #[test]
    fn the_rows_are_those_that_people_know() {
        let text = banner().to_string();
        for row in [
            "             Api Address: https://10.1.2.3:8200\n",
            "         Cluster Address: https://10.1.2.3:8201\n",
            "                 Fencing: head\n",
            "              Listener 1: tcp (addr: \"0.0.0.0:8200\", cluster address: \"0.0.0.0:8201\", tls: \"enabled\")\n",
            "                 Storage: kubernetes (HA available)\n",
        ] {
            assert!(text.contains(row), "{row}in\n{text}");
        }
        assert!(!text.contains("HA Storage"));
    }

    #[test]
    fn a_lock_of_its_own_and_no_lock_are_told() {
        let split =
            Banner { ha_storage: Some("kubernetes".to_owned()), storage: "etcd".to_owned(), ..banner() };
        let text = split.to_string();
        assert!(
            text.contains(" Storage: etcd\n") && text.contains("HA Storage: kubernetes (HA available)\n"),
            "{text}"
        );
        let alone = Banner { is_ha: false, storage: "inmem".to_owned(), ..banner() };
        assert!(alone.to_string().contains(" Storage: inmem (HA disabled)\n"));
    }
}
