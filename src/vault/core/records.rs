//! Names of the kernel's records.

/// Plain: kind of seal, shares, threshold.
pub(super) const SEAL_CONFIG: &str = "core/seal-config";
/// Plain: the wrapped root key.
pub(super) const SEAL_KEYS: &str = "core/seal-keys";
/// Plain, encrypted by the nonce that the initialiser gave: the answer of init.
pub(super) const INIT_ANSWER: &str = "core/init-answer";
/// The cluster's own secrets.
pub(super) const CLUSTER: &str = "core/cluster";
/// How much the active encryption key has been used.
pub(super) const KEY_USAGE: &str = "core/key-usage";
/// What checks the recovery key, where the seal has one.
pub(super) const RECOVERY_KEY: &str = "core/recovery-key";
/// The making of a root token by key shares.
pub(super) const GENERATE_ROOT: &str = "core/generate-root";
/// The replacement of the unseal key's shares.
pub(super) const REKEY: &str = "core/rekey";
/// The replacement of the recovery key's shares.
pub(super) const RECOVERY_REKEY: &str = "core/recovery-rekey";
/// The mount table, auth mounts included.
pub(super) const MOUNTS: &str = "core/mounts";
/// Policies by name.
pub(super) const POLICY_PREFIX: &str = "sys/policy/";
/// Tokens by key.
pub(super) const TOKEN_PREFIX: &str = "sys/token/id/";
/// Token keys by the HMAC of their accessor.
pub(super) const ACCESSOR_PREFIX: &str = "sys/token/accessor/";
/// Children by parent: `<parent key>/<child key>`.
pub(super) const PARENT_PREFIX: &str = "sys/token/parent/";
/// What ends when: `<time in milliseconds, 20 digits>/<token key>`.
pub(super) const EXPIRE_PREFIX: &str = "sys/expire/";
/// Revoked tokens whose children or private storage are still to be removed, by key.
pub(super) const REVOKE_PREFIX: &str = "sys/revoke/";
/// Unmounted storage that is still to be removed, by mount UUID.
pub(super) const UNMOUNT_PREFIX: &str = "sys/unmount/";
