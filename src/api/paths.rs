//! Paths of the API below `/v1/`, so that client and server cannot disagree.

/// Prefix of every path of the API.
pub const PREFIX: &str = "/v1/";

/// GET: whether the vault is initialised; PUT: initialise it.
pub const INIT: &str = "sys/init";
/// GET: how the vault is sealed.
pub const SEAL_STATUS: &str = "sys/seal-status";
/// PUT: enter a share.
pub const UNSEAL: &str = "sys/unseal";
/// PUT: seal this node.
pub const SEAL: &str = "sys/seal";
/// GET, HEAD: health, told by the status code.
pub const HEALTH: &str = "sys/health";
/// GET: who leads.
pub const LEADER: &str = "sys/leader";
/// GET: the nodes of the cluster.
pub const HA_STATUS: &str = "sys/ha-status";
/// PUT: give up leadership.
pub const STEP_DOWN: &str = "sys/step-down";
/// GET: which mount a path belongs to, with the path behind it.
pub const UI_MOUNTS: &str = "sys/internal/ui/mounts";
/// GET: the token that is sent.
pub const LOOKUP_SELF: &str = "auth/token/lookup-self";

/// Header that carries the token.
pub const TOKEN_HEADER: &str = "X-Vault-Token";
/// Header that carries the namespace.
pub const NAMESPACE_HEADER: &str = "X-Vault-Namespace";
/// Header that official clients always send, as a guard against forged requests.
pub const REQUEST_HEADER: &str = "X-Vault-Request";
/// Header that asks a standby to redirect instead of forwarding.
pub const NO_FORWARDING_HEADER: &str = "X-Vault-No-Request-Forwarding";
/// Header that asks for the answer to be wrapped for so long.
pub const WRAP_TTL_HEADER: &str = "X-Vault-Wrap-TTL";
