//! What a store in ZooKeeper needs to know, and its limits.

use std::time::Duration;

use super::layout::Layout;
use super::proto::Owner;
use crate::config::{ClientTls, Credential, ZookeeperServer, ZookeeperStorage};
use crate::vault::physical::backend::Limits;

/// The storage as configuration names it.
pub(super) const KIND: &str = "zookeeper";

/// Most bytes of a request: what a server reads with `jute.maxbuffer` at its default. It cuts the connection of a client that
/// sends more, which would look as if the request may have been executed.
pub(super) const REQUEST_BYTES: usize = 0xf_ffff;
/// Bytes of a request before its body: its number and its kind.
pub(super) const HEADER_BYTES: usize = 8;
/// Most bytes of an answer.
pub(super) const ANSWER_BYTES: usize = 64 << 20;

/// The limits of a commit. In the worst case a byte of a key costs four (three in the name of a node, one in the journal),
/// and an operation half a KiB beside it (path and owner); with heads and journal that stays below
/// [`REQUEST_BYTES`] whatever the keys are.
pub(super) const LIMITS: Limits =
    Limits { operations: 128, commit_bytes: 512 << 10, value_bytes: 511 << 10, data_bytes: None };

/// A store in ZooKeeper.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) servers: Vec<ZookeeperServer>,
    pub(super) layout: Layout,
    pub(super) auth_info: Option<Credential>,
    /// Who owns the nodes that are created.
    pub(super) owner: Owner,
    pub(super) tls: Option<ClientTls>,
    pub(super) request_timeout: Duration,
}

impl Settings {
    pub(super) fn new(config: &ZookeeperStorage) -> Self {
        Self {
            servers: config.addresses.clone(),
            layout: Layout::new(&config.path),
            auth_info: config.auth_info.clone(),
            owner: owner(config),
            tls: config.tls.clone(),
            request_timeout: config.request_timeout,
        }
    }

    /// Whether anybody who reaches the servers may read and change what is stored.
    pub(super) fn is_open_to_anyone(&self) -> bool {
        self.owner.scheme == "world"
    }

    /// What the ACL of the store's nodes must be, for a person who has to set it.
    pub(super) fn needed_acl(&self) -> String {
        let whom = match self.owner.scheme.as_str() {
            "auth" => "the user of auth_info".to_owned(),
            _ => self.owner.to_string(),
        };
        format!("the ACL must give {whom} all rights (cdrwa)")
    }
}

fn owner(config: &ZookeeperStorage) -> Owner {
    let (scheme, id) = match (&config.znode_owner, &config.auth_info) {
        (Some(owner), _) => owner.split_once(':').unwrap_or(("world", "anyone")),
        // Stands for every identity that the session has proven.
        (None, Some(_)) => ("auth", ""),
        (None, None) => ("world", "anyone"),
    };
    Owner { scheme: scheme.to_owned(), id: id.to_owned() }
}
