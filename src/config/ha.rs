//! `ha`: leadership and reads.

use std::fmt;
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
    /// How old a read may be that does not say; zero: reads are linearizable.
    pub max_staleness: Duration,
    /// How old a read may be at most, whatever it asks for; at least `max_staleness`, and that by default.
    pub staleness_limit: Duration,
    /// UUID of a cluster whose head names another lock and may be claimed nevertheless.
    pub adopt: Option<String>,
    /// The one rollback of the storage that a person has accepted.
    pub accept_rollback: Option<AcceptedRollback>,
}

/// A rollback of the storage that a person accepts, written `<cluster>:<epoch>.<seq> over <epoch>`: the head that the
/// storage holds now, and the epoch that the lock remembers and whose history is given up.
///
/// It is good for one use: whoever leads by it writes a later epoch into the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRollback {
    /// UUID of the cluster.
    pub cluster: String,
    /// Epoch of the head that is accepted.
    pub epoch: u64,
    /// Sequence number of the head that is accepted.
    pub seq: u64,
    /// The epoch that the lock remembers.
    pub over: u64,
}

impl AcceptedRollback {
    /// Reads the form that [`fmt::Display`] writes; `None` if `text` is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, over) = text.split_once(" over ")?;
        let (cluster, position) = head.split_once(':')?;
        let (epoch, seq) = position.split_once('.')?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
        let read = Self {
            cluster: cluster.to_owned(),
            epoch: number(epoch)?,
            seq: number(seq)?,
            over: number(over.trim())?,
        };
        (is_uuid(cluster) && read.over > read.epoch).then_some(read)
    }

    /// Epoch and sequence number of the head that is accepted.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.seq)
    }
}

impl fmt::Display for AcceptedRollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}.{} over {}", self.cluster, self.epoch, self.seq, self.over)
    }
}

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

impl Default for HaConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(6),
            read_lease: Duration::from_millis(500),
            max_staleness: Duration::ZERO,
            staleness_limit: Duration::ZERO,
            adopt: None,
            accept_rollback: None,
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
    ha.staleness_limit = ha.max_staleness;
    section.duration(
        "staleness_limit",
        Duration::ZERO..=Duration::from_secs(86_400),
        &mut ha.staleness_limit,
    );
    if ha.staleness_limit < ha.max_staleness {
        section.conflict(
            "staleness_limit",
            "staleness_limit is shorter than max_staleness: raise it, or shorten max_staleness",
        );
    }
    ha.adopt = section.text_where("adopt", is_uuid, "the UUID of a cluster");
    ha.accept_rollback = section.parsed(
        "accept_rollback",
        "what a server that found the rollback says: <cluster>:<epoch>.<seq> over <later epoch>",
        AcceptedRollback::parse,
    );
    ha
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_rollback_is_read_as_it_is_written_and_nothing_else_is() {
        let text = "5f0c1d3a-9a0e-4a53-8f0e-3a0d2b6a7c11:5.100 over 9";
        let read = AcceptedRollback::parse(text).unwrap();
        assert_eq!((read.position(), read.over, read.to_string().as_str()), ((5, 100), 9, text));
        let cluster = &read.cluster;
        for wrong in [
            "",
            "yes",
            "*",
            cluster,
            &format!("{cluster}:5.100"),
            &format!("{cluster}:5 over 9"),
            &format!("{cluster}:5.100 over 5"),
            &format!("{cluster}:+5.100 over 9"),
            &format!("{cluster}:5.100 over *"),
            &format!("{cluster}:.100 over 9"),
            "vault:5.100 over 9",
        ] {
            assert_eq!(AcceptedRollback::parse(wrong), None, "{wrong}");
        }
    }
}
