//! The Service that clients use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service `<name>`, which reaches every pod that can serve. `<name>-active` reaches the active pod alone,
/// `<name>-standby` the others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSettings {
    /// How it is reached: inside the cluster alone (ClusterIP), through a port of every node (NodePort) or through a
    /// load balancer.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations of the Service, for a load balancer's settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// How a Service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster alone.
    #[default]
    ClusterIP,
    /// Through a port of every node.
    NodePort,
    /// Through a load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// Kubernetes' word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}
