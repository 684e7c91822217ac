//! What the system's engines refuse; the texts are Vault's where clients look at them.

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::vault::logical::LogicalError;

/// Why a request to `sys/` or `auth/token/` was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SystemError {
    /// A mount without a type.
    #[error("backend type must be specified as a string")]
    MountType,
    /// Type `plugin` without a name.
    #[error("plugin_name must be provided for plugin backend")]
    PluginName,
    /// A plugin version was asked for.
    #[error("plugin_version {0:?} is not available: all engines are built in")]
    PluginVersion(String),
    /// The default TTL of a mount is above its maximum.
    #[error("given default lease TTL greater than given max lease TTL")]
    DefaultTtlAboveMax,
    /// The default TTL of a mount is above the system's maximum.
    #[error("given default lease TTL greater than system max lease TTL of {0}")]
    DefaultTtlAboveSystem(u64),
    /// `listing_visibility` is not known.
    #[error("invalid listing visibility type {0:?}: must be \"\", \"hidden\" or \"unauth\"")]
    ListingVisibility(String),
    /// `token_type` is not known.
    #[error("invalid value for 'token_type': {0:?}")]
    MountTokenType(String),
    /// No secrets engine at the path.
    #[error("No secret engine mount at {0}")]
    NoSecretsMount(String),
    /// No auth method at the path.
    #[error("No auth engine at {0}")]
    NoAuthMount(String),
    /// Tuning of what is not mounted.
    #[error("cannot fetch sysview for path {0:?}")]
    NothingToTune(String),
    /// Tuning of a mount that is part of the system.
    #[error("cannot tune {0:?}")]
    CannotTune(String),
    /// A change of the version of a KV mount.
    #[error(
        "cannot change the version of a kv mount from {from:?} to {to:?}: make a new mount and copy the data"
    )]
    KvVersionChange {
        /// The version it has.
        from: String,
        /// The version asked for.
        to: String,
    },
    /// `from` or `to` of a remount is missing.
    #[error("both 'from' and 'to' path must be specified as a string")]
    RemountPaths,
    /// A remount from one table to the other.
    #[error("cannot remount between a secrets engine and an auth method")]
    RemountClass,
    /// A policy without a name.
    #[error("missing policy name")]
    PolicyName,
    /// A policy write without text.
    #[error("'policy' parameter not supplied or empty")]
    PolicyText,
    /// A capabilities question without paths.
    #[error("paths must be supplied")]
    Paths,
    /// A capabilities question with too many paths.
    #[error("at most {0} paths can be asked at once")]
    TooManyPaths(usize),
    /// A token field is missing.
    #[error("missing token ID")]
    MissingToken,
    /// The token of a capabilities question is not valid.
    #[error("invalid token")]
    InvalidToken,
    /// An accessor field is missing.
    #[error("missing accessor")]
    MissingAccessor,
    /// There is no valid token with this accessor.
    #[error("invalid accessor")]
    InvalidAccessor,
    /// A lease field is missing.
    #[error("lease_id must be specified")]
    MissingLease,
    /// There is no such lease.
    #[error("invalid lease")]
    InvalidLease,
    /// There is no such lease to renew.
    #[error("lease not found")]
    LeaseNotFound,
    /// A token's lease is renewed through the token.
    #[error("tokens cannot be renewed through this endpoint")]
    TokenLease,
    /// `bytes` is too small.
    #[error("\"bytes\" cannot be less than 1")]
    TooFewBytes,
    /// `bytes` is too large.
    #[error("\"bytes\" should be less than {0}")]
    TooManyBytes(u64),
    /// `format` is not known.
    #[error("unsupported encoding format {0:?}; must be \"hex\" or \"base64\"")]
    Encoding(String),
    /// `source` is not known.
    #[error("unsupported entropy source {0:?}; must be \"platform\", \"seal\", or \"all\"")]
    Source(String),
    /// `input` is not base64.
    #[error("unable to decode input as base64: {0}")]
    HashInput(String),
    /// `algorithm` is not known.
    #[error("unsupported algorithm {0}")]
    Algorithm(String),
    /// A limited-use token tried to make another.
    #[error("restricted use token cannot generate child tokens")]
    RestrictedParent,
    /// A policy that the parent has not.
    #[error("child policies must be subset of parent")]
    PoliciesNotSubset,
    /// A root token from another than a root token.
    #[error("root tokens may not be created without parent token being root")]
    RootFromOther,
    /// An orphan without sudo.
    #[error("root or sudo privileges required to create orphan token")]
    OrphanNeedsSudo,
    /// A chosen token without sudo.
    #[error("root or sudo privileges required to specify token id")]
    IdNeedsSudo,
    /// A period without sudo.
    #[error("root or sudo privileges required to create periodic token")]
    PeriodNeedsSudo,
    /// The type of a token is not known.
    #[error("invalid 'type' value {0:?}: must be \"service\" or \"batch\"")]
    TokenType(String),
    /// An entity alias, which needs the identity engine.
    #[error("'entity_alias' is not supported by this version")]
    EntityAlias,
    /// A token to renew does not exist.
    #[error("token not found")]
    TokenNotFound,
    /// A token whose children shall become orphans does not exist.
    #[error("token to revoke not found")]
    TokenToRevokeNotFound,
    /// There is no such role.
    #[error("unknown role {0}")]
    UnknownRole(String),
    /// A role allows other policies than those asked for.
    #[error("token policies ({asked}) must be subset of the role's allowed policies ({allowed})")]
    RolePolicies {
        /// Policies asked for.
        asked: String,
        /// Policies and patterns allowed.
        allowed: String,
    },
    /// A role forbids a policy.
    #[error("token policy {0:?} is disallowed by this role")]
    RoleDisallows(String),
    /// A role's path suffix has wrong characters.
    #[error("given role path suffix contains invalid characters; must match [\\w@-]+ segments: {0:?}")]
    RoleSuffix(String),
    /// A name has wrong characters.
    #[error("invalid role name {0:?}")]
    RoleName(String),
    /// A network is not one.
    #[error("invalid CIDR block {0:?}")]
    Cidr(String),
}

impl SystemError {
    /// The class of the error.
    pub(super) fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl From<SystemError> for LogicalError {
    fn from(error: SystemError) -> Self {
        debug_assert_eq!(error.class(), ErrorClass::Invalid);
        Self::Invalid(error.to_string())
    }
}
