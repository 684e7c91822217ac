//! Label and annotation keys, names of children and of environment variables: the words in which the operator and
//! the server meet.

/// The API group of our resources, and the prefix of our labels and annotations.
pub const GROUP: &str = "holdfast.dev";
/// The version of our resources.
pub const VERSION: &str = "v1alpha1";

/// Label: the VaultCluster that an object belongs to.
pub const LABEL_CLUSTER: &str = "holdfast.dev/cluster";
/// Label of pods: whether it is the active node (`true` or `false`).
pub const LABEL_ACTIVE: &str = "vault-active";
/// Label of pods: whether it is an unsealed standby.
pub const LABEL_STANDBY: &str = "vault-standby";
/// Label of pods: whether it is sealed.
pub const LABEL_SEALED: &str = "vault-sealed";
/// Label of pods: whether the cluster is initialised.
pub const LABEL_INITIALIZED: &str = "vault-initialized";
/// Label of pods: the version that the server reports.
pub const LABEL_VERSION: &str = "vault-version";

/// Annotation of a VaultStoreHead: JSON of the head.
pub const STORE_HEAD: &str = "holdfast.dev/head";
/// Label of VaultStoreSegments: name of the head that they belong to.
pub const LABEL_STORE: &str = "holdfast.dev/store";

/// Annotation of the Lease: JSON of the active node (`identity`, `epoch`, `api_addr`, `cluster_addr`).
pub const LEASE_ACTIVE: &str = "holdfast.dev/active";
/// Annotation of the Lease: identity or pod name of a node that is about to go and must not become active.
pub const LEASE_LEAVING: &str = "holdfast.dev/leaving";
/// Annotation of the Lease: JSON of a wish to hand over (`nonce`, `to`).
pub const LEASE_HANDOVER: &str = "holdfast.dev/handover";
/// Annotation of the Lease: identity of a process whose container the operator saw terminated.
pub const LEASE_ENDED: &str = "holdfast.dev/ended";
/// Annotation of the Lease: the epoch that the releasing node held.
pub const LEASE_RELEASED_EPOCH: &str = "holdfast.dev/released-epoch";
/// Annotation of the Lease: the epoch whose read lease was renounced in a transfer.
pub const LEASE_RENOUNCED_EPOCH: &str = "holdfast.dev/renounced-epoch";
/// Annotation of the Lease: the identity that alone may take the lock at once.
pub const LEASE_SUCCESSOR: &str = "holdfast.dev/successor";
/// Annotation of the Lease: changes with every renewal.
pub const LEASE_RENEWALS: &str = "holdfast.dev/renewals";

/// Environment of the server, from the downward API: the pod's IP.
pub const ENV_POD_IP: &str = "POD_IP";
/// Environment of the server, from the downward API: the pod's name.
pub const ENV_POD_NAME: &str = "POD_NAME";
/// Environment of the server, from the downward API: the pod's UID.
pub const ENV_POD_UID: &str = "POD_UID";
/// Environment of the server, from the downward API: the pod's namespace.
pub const ENV_POD_NAMESPACE: &str = "POD_NAMESPACE";

/// Port of the API.
pub const PORT_API: u16 = 8200;
/// Port on which nodes of a cluster speak to each other.
pub const PORT_CLUSTER: u16 = 8201;
/// Port of probes and metrics.
pub const PORT_PROBE: u16 = 8202;
