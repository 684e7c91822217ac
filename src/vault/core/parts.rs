//! [`Core`]: one node's kernel.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwapOption;

use super::audit::AuditBroker;
use super::engines::{EngineTable, KernelTable};
use super::members::{Member, Members};
use super::open::Open;
use super::status::SealState;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::vault::seal::Seal;

/// What a kernel is made of.
pub struct CoreParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for keys and identifiers.
    pub random: Arc<dyn Random>,
    /// Secrets engines by kind (`kv`, `cubbyhole`, …).
    pub engines: EngineTable,
    /// Auth methods by kind.
    pub auth_methods: EngineTable,
    /// The kernel's own engines: `system` and `token`.
    pub kernel_engines: KernelTable,
    /// The seal.
    pub seal: Arc<dyn Seal>,
    /// The cluster's name for a new vault; empty for a random one.
    pub cluster_name: String,
    /// The version as `sys/health` reports it.
    pub version: String,
    /// The audit devices.
    pub audit: Arc<AuditBroker>,
}

impl fmt::Debug for CoreParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreParts").field("version", &self.version).finish_non_exhaustive()
    }
}

/// One node's kernel: sealed, or unsealed and able to carry out requests on a ledger.
pub struct Core {
    parts: CoreParts,
    pub(super) open: ArcSwapOption<Open>,
    pub(super) state: Mutex<SealState>,
    members: OnceLock<Arc<dyn Members>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

impl Core {
    /// A sealed kernel.
    pub fn new(parts: CoreParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            open: ArcSwapOption::empty(),
            state: Mutex::default(),
            members: OnceLock::new(),
        })
    }

    /// What it is made of.
    pub fn parts(&self) -> &CoreParts {
        &self.parts
    }

    /// Tells who the cluster consists of; the first call counts.
    pub fn set_members(&self, members: Arc<dyn Members>) {
        // A second source would only ever be the same one again.
        let _ = self.members.set(members);
    }

    /// The nodes of the cluster; empty until [`Core::set_members`].
    pub fn members(&self) -> Vec<Member> {
        self.members.get().map(|members| members.members()).unwrap_or_default()
    }

    /// Whether it is sealed.
    pub fn is_sealed(&self) -> bool {
        self.open.load().is_none()
    }

    /// Seals: forgets every key. Requests that are under way fail or finish with what they have read.
    pub fn seal(&self) {
        self.open.store(None);
        self.forget_shares();
    }

    /// The authority of node certificates, as init was given it; `None` while sealed.
    pub fn cluster_authority(&self) -> Option<SecretBytes> {
        self.open.load().as_ref().map(|open| open.cluster.authority.0.clone())
    }

    /// The cluster's UUID; `None` while sealed.
    pub fn cluster_id(&self) -> Option<String> {
        self.open.load().as_ref().map(|open| open.cluster.id.clone())
    }
}
