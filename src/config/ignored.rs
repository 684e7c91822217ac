//! Vault's settings that are ignored on purpose: the one table of them. Each gives a warning.

/// A setting that is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored {
    /// The block that it stands in; empty at the top.
    pub block: &'static str,
    /// The types of that block that Vault reads it in; none: all of them.
    pub types: &'static [&'static str],
    /// The key.
    pub key: &'static str,
    /// Why, or what takes its place.
    pub reason: &'static str,
}

const fn ignored(block: &'static str, key: &'static str, reason: &'static str) -> Ignored {
    Ignored { block, types: &[], key, reason }
}

/// A setting of a `storage` block of some types alone: in the others it is a mistake.
const fn in_storage(types: &'static [&'static str], key: &'static str, reason: &'static str) -> Ignored {
    Ignored { block: "storage", types, key, reason }
}

/// Every setting that is ignored.
pub const IGNORED: &[Ignored] = &[
    ignored("", "ui", "there is no user interface"),
    ignored("", "disable_mlock", "memory is not locked; keep swap off on the node"),
    ignored("", "disable_cache", "what is read is always proven current"),
    ignored("", "cache_size", "the cache has no size of its own"),
    ignored("", "disable_sealwrap", "there is no seal wrapping"),
    ignored("", "disable_indexing", "there is no such index"),
    ignored("", "disable_printable_check", "paths with control characters are always refused"),
    ignored("", "enable_response_header_hostname", "the header is not sent"),
    ignored("", "enable_response_header_raft_node_id", "the header is not sent"),
    ignored("", "raw_storage_endpoint", "storage is not reachable through the API"),
    ignored("", "introspection_endpoint", "there is no such endpoint"),
    ignored("", "plugin_directory", "there are no external plugins"),
    ignored("", "plugin_file_uid", "there are no external plugins"),
    ignored("", "plugin_file_permissions", "there are no external plugins"),
    ignored("", "pid_file", "the process runs in the foreground"),
    ignored("", "license_path", "no licence is needed"),
    ignored("", "log_file", "the log goes to the standard error stream"),
    ignored("", "log_rotate_bytes", "the log goes to the standard error stream"),
    ignored("", "log_rotate_duration", "the log goes to the standard error stream"),
    ignored("", "log_rotate_max_files", "the log goes to the standard error stream"),
    ignored("", "log_requests_level", "set log_level to debug to see requests"),
    ignored("", "detect_deadlocks", "there is no such detector"),
    ignored("", "imprecise_lease_role_tracking", "there are no such quotas"),
    ignored("", "service_registration", "the operator labels the pods"),
    ignored("", "experiments", "there are no experiments"),
    ignored("", "user_lockout", "there is no login that could be locked"),
    in_storage(
        &["consul", "zookeeper"],
        "tls_min_version",
        "TLS 1.2 and 1.3 are spoken, both with strong suites alone",
    ),
    in_storage(&["zookeeper"], "tls_verify_ip", "the name or IP address of a server is always verified"),
    ignored("storage", "redirect_addr", "set api_addr at the top"),
    ignored("storage", "advertise_addr", "set api_addr at the top"),
    ignored("storage", "cluster_addr", "set cluster_addr at the top"),
    ignored("storage", "disable_clustering", "set disable_clustering at the top"),
    in_storage(
        &["postgresql"],
        "max_idle_connections",
        "a node keeps four connections to PostgreSQL, whatever the load",
    ),
    in_storage(
        &["consul", "postgresql"],
        "max_parallel",
        "requests share the connections to the storage, and their number is bounded already",
    ),
    in_storage(&["postgresql"], "max_connect_retries", "the server waits for its storage and never gives up"),
    in_storage(&["etcd"], "discovery_srv", "the members are those that address names"),
    in_storage(&["etcd"], "discovery_srv_name", "the members are those that address names"),
    in_storage(&["etcd"], "sync", "the members are those that address names"),
    in_storage(&["etcd"], "lock_timeout", "the lock is judged by lease_duration of ha"),
    ignored("listener", "telemetry", "metrics are served on probe_address of telemetry, without a token"),
    ignored("listener", "profiling", "there is no profiling endpoint"),
    ignored("listener", "inflight_requests_logging", "there is no such endpoint"),
    ignored("listener", "tls_cipher_suites", "the suites of the TLS library are all strong"),
    ignored("listener", "tls_prefer_server_cipher_suites", "the server's order is always preferred"),
    ignored("listener", "tls_max_version", "the newest version that both sides know is used"),
    ignored(
        "listener",
        "tls_disable_client_certs",
        "clients are asked for a certificate only with tls_client_ca_file",
    ),
    ignored("listener", "x_forwarded_for_authorized_addrs", "the peer's address is used"),
    ignored("listener", "x_forwarded_for_hop_skips", "the peer's address is used"),
    ignored("listener", "x_forwarded_for_reject_not_authorized", "the peer's address is used"),
    ignored("listener", "x_forwarded_for_reject_not_present", "the peer's address is used"),
    in_storage(
        &["consul"],
        "check_timeout",
        "no service is registered with Consul; the operator labels the pods",
    ),
    in_storage(&["consul"], "disable_registration", "no service is registered with Consul"),
    in_storage(&["consul"], "service", "no service is registered with Consul; the operator labels the pods"),
    in_storage(&["consul"], "service_address", "no service is registered with Consul"),
    in_storage(&["consul"], "service_meta", "no service is registered with Consul"),
    in_storage(&["consul"], "service_tags", "no service is registered with Consul"),
    in_storage(&["consul"], "session_ttl", "the lock needs no session of Consul; see lease_duration in ha"),
    in_storage(
        &["consul"],
        "lock_wait_time",
        "the lock is watched, not waited for; see lease_duration in ha",
    ),
    ignored("telemetry", "prometheus_retention_time", "metrics are never dropped"),
    ignored("telemetry", "disable_hostname", "metrics do not carry the host's name"),
    ignored("telemetry", "usage_gauge_period", "there are no usage gauges"),
    ignored("telemetry", "maximum_gauge_cardinality", "there are no usage gauges"),
    ignored(
        "telemetry",
        "unauthenticated_metrics_access",
        "metrics are served on probe_address, without a token",
    ),
    ignored("telemetry", "metrics_prefix", "metrics begin with vault_"),
    ignored("telemetry", "enable_hostname_label", "metrics do not carry the host's name"),
];

/// The entry of a key of a block of type `kind`, if it is in the table. What holds for a storage holds for a lock of the
/// same type.
pub(super) fn find(block: &str, kind: &str, key: &str) -> Option<&'static Ignored> {
    let block = if block == "ha_storage" { "storage" } else { block };
    let is_of = |entry: &&Ignored| entry.types.is_empty() || entry.types.contains(&kind);
    IGNORED.iter().filter(is_of).find(|entry| entry.block == block && entry.key == key)
}
