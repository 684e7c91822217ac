//! `X-Vault-Index`: the state that an answer is based on, which clients send back to read their own writes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::id;
use crate::vault::physical::Head;

/// Name of the header, in answers and in requests.
pub(super) const INDEX: &str = "x-vault-index";

/// A position in a cluster's history.
///
/// Written as client libraries compare it: `v1:<cluster>:<local>:<replicated>:<checksum>` in base64. Both numbers must grow
/// together for one index to be the newer one; the sequence number stands for the local state and the epoch for the
/// replicated one, so that after an accepted rollback, which lowers the former and raises the latter, none replaces the
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    cluster: String,
    epoch: u64,
    seq: u64,
}

impl Index {
    /// Where `head` stands.
    pub(super) fn of(head: &Head) -> Self {
        Self { cluster: head.cluster.to_string(), epoch: head.epoch, seq: head.seq }
    }

    /// Reads what [`fmt::Display`] writes; `None` if `text` is no index at all.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
        let (content, _sum) = plain.rsplit_once(':')?;
        let mut parts = content.split(':');
        let (version, cluster) = (parts.next()?, parts.next()?);
        let (seq, epoch) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (version == "v1" && parts.next().is_none()).then(|| Self { cluster: cluster.to_owned(), epoch, seq })
    }

    /// Whether what this index names is missing from the state at `head`. An index of another cluster says nothing about
    /// this one.
    pub(super) fn is_missing_at(&self, head: &Head) -> bool {
        self.cluster == *head.cluster && (self.epoch, self.seq) > head.position()
    }

    fn content(&self) -> String {
        format!("v1:{}:{}:{}", self.cluster, self.seq, self.epoch)
    }
}

impl fmt::Display for Index {
    /// The checksum is for libraries that look for one: the index grants nothing, and a wrong one costs its sender an answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = self.content();
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        f.write_str(&STANDARD.encode(format!("{content}:{}", id::hex(sum.as_ref()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SystemRandom;
    use crate::vault::physical::{BatchId, LockName};

    fn index(cluster: &str, epoch: u64, seq: u64) -> Index {
        Index { cluster: cluster.to_owned(), epoch, seq }
    }

    #[test]
    fn an_index_is_read_as_it_is_written_and_nothing_else_is() {
        let written = index("5f0c1d3a-9a0e-4a53-8f0e-3a0d2b6a7c11", 3, 70);
        assert_eq!(Index::parse(&written.to_string()), Some(written));
        let encoded = |text: &str| STANDARD.encode(text);
        for text in
            ["", "soon", "v1:c:1:2:s", &encoded("v1:c:1:2"), &encoded("v2:c:1:2:s"), &encoded("v1:c:1:2:3:s")]
        {
            assert_eq!(Index::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_later_in_the_same_cluster_is_missing() {
        let head = Head {
            cluster: "c".into(),
            lock: LockName::none().into(),
            epoch: 3,
            seq: 70,
            batch_id: BatchId::new(&SystemRandom),
            node: "n".into(),
            format: 1,
            time: UnixMillis(1),
        };
        for (known, is_missing) in [
            (index("c", 3, 70), false),
            (index("c", 2, 900), false),
            (index("c", 3, 71), true),
            (index("c", 4, 1), true),
            (index("another", 9, 9), false),
        ] {
            assert_eq!(known.is_missing_at(&head), is_missing, "{known:?}");
        }
    }
}
