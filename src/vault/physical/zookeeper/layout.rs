//! Which node holds what, and how keys and records of the journal are written. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::id;
use crate::vault::physical::backend::{Journal, Op};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// The nodes of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    root: String,
}

impl Layout {
    /// `root` begins with a slash and does not end with one.
    pub(super) fn new(root: &str) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Holds the name of the head's node.
    pub(super) fn current(&self) -> String {
        format!("{}/current", self.root)
    }

    /// Parent of the data.
    pub(super) fn data(&self) -> String {
        format!("{}/d", self.root)
    }

    /// Parent of the journal's records.
    pub(super) fn journal(&self) -> String {
        format!("{}/j", self.root)
    }

    /// What a quorum check writes to.
    pub(super) fn check(&self) -> String {
        format!("{}/check", self.root)
    }

    pub(super) fn lock(&self) -> String {
        format!("{}/lock", self.root)
    }

    /// The node with the name that `current` holds.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    pub(super) fn key(&self, key: &str) -> String {
        format!("{}/d/{}", self.root, node_name(key))
    }

    pub(super) fn record(&self, seq: u64) -> String {
        format!("{}/j/{}", self.root, wire::seq_text(seq))
    }

    /// The nodes that must exist before anything else does, parents first.
    pub(super) fn foundation(&self) -> Vec<String> {
        let ends = self.root.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let mut nodes: Vec<String> = ends.map(|at| self.root[..at].to_owned()).collect();
        nodes.extend([self.root.clone(), self.data(), self.journal(), self.check()]);
        nodes
    }
}

/// The name of the node that a head moves to. No two commits ever give the same one.
pub(super) fn head_name(head: &Head) -> String {
    format!("head-{}-{}", head.epoch, head.batch_id)
}

/// Whether `name` may be the name of a head's node.
pub(super) fn is_head_name(name: &str) -> bool {
    name.starts_with("head-") && !name.contains('/')
}

/// A key as the name of a node: bytes that ZooKeeper does not take in names are written as `%` and two digits.
pub(super) fn node_name(key: &str) -> String {
    let is_dots = key == "." || key == "..";
    let mut name = String::with_capacity(key.len() + 8);
    for byte in key.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' && byte != b'/' && !is_dots {
            name.push(char::from(byte));
        } else {
            name.push('%');
            name.push_str(&id::hex(&[byte]));
        }
    }
    name
}

/// The key whose node has this name; `None` for a node that somebody else made.
pub(super) fn key_of(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.extend(id::unhex(rest.get(at + 1..at + 3)?)?);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    let key = String::from_utf8(bytes).ok()?;
    (node_name(&key) == name).then_some(key)
}

/// A record of the journal as it is stored: also which of its keys were deleted, so that a list of all keys can be kept by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) record: Journal,
    /// Positions in the record's keys.
    deleted: Vec<usize>,
}

impl Entry {
    /// The record of the commit that replaces `expected` by `next`.
    pub(super) fn new(expected: Option<&Head>, next: &Head, ops: &[Op]) -> Self {
        let keys = ops.iter().map(|op| op.key().to_owned()).collect();
        let deletes = ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Delete { .. }));
        let deleted = deletes.map(|(at, _)| at).collect();
        Self { record: wire::record_of(expected, next, keys), deleted }
    }

    /// The keys in their order, each with whether it is there after the commit.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, bool)> {
        let keys = self.record.keys.iter().enumerate();
        keys.map(|(at, key)| (key.as_str(), self.deleted.binary_search(&at).is_err()))
    }

    pub(super) fn bytes(&self) -> Bytes {
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes)
            .map_err(|error| format!("a record of the journal cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_become_names_that_zookeeper_takes() {
        for (key, name) in [
            ("sys/a b", "sys%2fa b"),
            (".", "%2e"),
            ("..", "%2e%2e"),
            ("...", "..."),
            ("100%", "100%25"),
            ("\u{e4}", "%c3%a4"),
            ("zookeeper", "zookeeper"),
        ] {
            assert_eq!(node_name(key), name);
            assert_eq!(key_of(name).as_deref(), Some(key));
        }
        for foreign in ["%", "%2", "%zz", "%ff", "\u{e4}", "%41", "%2F"] {
            assert_eq!(key_of(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn any_key_is_read_back(key in "\\PC{1,40}") {
            let name = node_name(&key);
            prop_assert!(!name.contains('/') && name.is_ascii());
            prop_assert_eq!(key_of(&name), Some(key));
        }
    }

    #[test]
    fn the_foundation_names_parents_first() {
        let nodes = Layout::new("/a/b").foundation();
        assert_eq!(nodes, ["/a", "/a/b", "/a/b/d", "/a/b/j", "/a/b/check"]);
    }
}
