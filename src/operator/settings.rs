//! What the operator itself is told when it starts.

use std::net::SocketAddr;

use crate::crd::cluster::PullPolicy;

/// Settings of the operator's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The image that clusters run unless they name their own: `repository:tag` or `repository@sha256:…`.
    pub image: String,
    /// When that image is pulled.
    pub pull_policy: PullPolicy,
    /// The domain of the cluster's DNS, usually `cluster.local`.
    pub cluster_domain: String,
    /// Whether servers listen on IPv6 (and with it on IPv4, where there is both).
    pub is_ipv6: bool,
    /// The one namespace to watch; all of them if `None`.
    pub namespace: Option<String>,
    /// Where probes and metrics are served; nowhere if `None`.
    pub probe_address: Option<SocketAddr>,
    /// Name of the operator's pod, shown in Events; may be empty.
    pub instance: String,
}

impl Settings {
    /// Settings for `image` in which everything else is at its default.
    pub fn for_image(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            pull_policy: PullPolicy::IfNotPresent,
            cluster_domain: "cluster.local".to_owned(),
            is_ipv6: false,
            namespace: None,
            probe_address: None,
            instance: String::new(),
        }
    }
}
