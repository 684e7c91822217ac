//! `ha`: leadership and reads.

use std::time::Duration;

use super::section::Section;

/// Leadership and reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaConfig {
    /// How long a lock that is not renewed keeps others away: 3 s to 120 s. It is renewed every third of it.
    pub lease_duration: Duration,
    /// How long the active node trusts its last proof of leadership for reads: zero (every read is proven by a
    /// check of its own) to 500 ms.
    pub read_lease: Duration,
    /// How old a read may be; zero: reads are linearizable.
    pub max_staleness: Duration,
    /// UUID of a cluster whose head names another lock and may be claimed nevertheless.
    pub adopt: Option<String>,
}

impl Default for HaConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(6),
            read_lease: Duration::from_millis(500),
            max_staleness: Duration::ZERO,
            adopt: None,
        }
    }
}

/// Reads `ha { … }`.
pub(super) fn ha(section: &mut Section<'_>) -> HaConfig {
    let mut ha = HaConfig::default();
    section.duration(
        "lease_duration",
        Duration::from_secs(3)..=Duration::from_secs(120),
        &mut ha.lease_duration,
    );
    section.duration("read_lease", Duration::ZERO..=Duration::from_millis(500), &mut ha.read_lease);
    section.duration("max_staleness", Duration::ZERO..=Duration::from_secs(86_400), &mut ha.max_staleness);
    let is_uuid = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    ha.adopt = section.text_where("adopt", is_uuid, "the UUID of a cluster");
    ha
}
