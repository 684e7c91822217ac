//! The types of conditions.

/// A type of condition. Those of [`ConditionType::ALWAYS`] are always present, the others only while they are relevant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The specification is carried out and every pod serves.
    Ready,
    /// An active pod serves.
    Available,
    /// The storage holds an initialised vault.
    Initialized,
    /// Every pod is unsealed.
    Unsealed,
    /// The Lease is held by a pod of ours that says that it leads.
    LeaderElected,
    /// Every pod runs what the specification asks for.
    UpToDate,
    /// The certificates are valid.
    TLSReady,
    /// The storage answers and is whole.
    StorageReady,
    /// Backups are fresh. Not reported yet.
    BackupHealthy,
    /// The operator works on the current generation.
    Reconciling,
    /// It cannot go on without a person.
    Stalled,
    /// It serves with less redundancy than asked for.
    Degraded,
    /// Something about keys or transport should be changed by a person.
    SecurityRisk,
    /// The operator was told to change nothing.
    Paused,
    /// The wall clock of a node differs from those of the others.
    ClockSkew,
    /// The storage is close to its limit.
    StorageFull,
}

impl ConditionType {
    /// The conditions that are always present.
    pub const ALWAYS: [Self; 11] = [
        Self::Ready,
        Self::Available,
        Self::Initialized,
        Self::Unsealed,
        Self::LeaderElected,
        Self::UpToDate,
        Self::TLSReady,
        Self::StorageReady,
        Self::Reconciling,
        Self::Stalled,
        Self::Degraded,
    ];

    /// The word in `type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Initialized => "Initialized",
            Self::Unsealed => "Unsealed",
            Self::LeaderElected => "LeaderElected",
            Self::UpToDate => "UpToDate",
            Self::TLSReady => "TLSReady",
            Self::StorageReady => "StorageReady",
            Self::BackupHealthy => "BackupHealthy",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Degraded => "Degraded",
            Self::SecurityRisk => "SecurityRisk",
            Self::Paused => "Paused",
            Self::ClockSkew => "ClockSkew",
            Self::StorageFull => "StorageFull",
        }
    }
}

/// The value of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell.
    Unknown,
}

impl ConditionStatus {
    /// The word in `status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}
