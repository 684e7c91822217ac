//! Who the cluster consists of, for `sys/ha-status`.

use std::sync::{Arc, Weak};

use crate::api::VERSION;
use crate::vault::core::{Member, Members};
use crate::vault::ha::{Ha, PeerStatus, Role, pod_of};

/// The nodes that leadership knows. It does not keep leadership alive: the kernel holds it, and leadership the kernel.
pub(super) struct HaMembers(Weak<Ha>);

impl HaMembers {
    pub(super) fn of(ha: &Arc<Ha>) -> Arc<dyn Members> {
        Arc::new(Self(Arc::downgrade(ha)))
    }
}

impl Members for HaMembers {
    fn members(&self) -> Vec<Member> {
        let Some(ha) = self.0.upgrade() else { return Vec::new() };
        let settings = ha.settings();
        let own = Member {
            hostname: pod_of(&settings.identity).to_owned(),
            api_address: settings.api_addr.clone(),
            cluster_address: settings.cluster_addr.clone(),
            active_node: matches!(ha.status().borrow().role, Role::Active { .. }),
            last_echo: None,
            version: VERSION.to_owned(),
        };
        let mut members = vec![own];
        members.extend(ha.peers().into_iter().map(peer));
        members.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        members
    }
}

fn peer(peer: PeerStatus) -> Member {
    Member {
        hostname: pod_of(&peer.identity).to_owned(),
        api_address: peer.api_addr,
        cluster_address: peer.cluster_addr,
        active_node: peer.is_active,
        last_echo: Some(peer.last_heard_unix),
        version: peer.version,
    }
}
