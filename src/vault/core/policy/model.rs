//! What a policy says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::vault::logical::Operation;

/// One thing that a rule may grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `sudo`.
    Sudo,
    /// `read`.
    Read,
    /// `list`.
    List,
    /// `update`.
    Update,
    /// `delete`.
    Delete,
    /// `create`.
    Create,
    /// `patch`.
    Patch,
    /// `deny`: nothing, whatever other policies grant on the same path.
    Deny,
}

impl Capability {
    /// All of them in the order in which Vault lists them.
    pub const ALL: [Self; 8] = [
        Self::Sudo,
        Self::Read,
        Self::List,
        Self::Update,
        Self::Delete,
        Self::Create,
        Self::Patch,
        Self::Deny,
    ];

    /// Its name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Read => "read",
            Self::List => "list",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Deny => "deny",
        }
    }

    /// What `operation` needs.
    pub fn for_operation(operation: Operation) -> Self {
        match operation {
            Operation::Create => Self::Create,
            Operation::Read => Self::Read,
            Operation::Update => Self::Update,
            Operation::Patch => Self::Patch,
            Operation::Delete => Self::Delete,
            Operation::List => Self::List,
        }
    }
}

/// A set of capabilities. A set with `deny` holds nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Whether `capability` is in the set.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & bit(capability) != 0
    }

    /// Adds one.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        self.union(Self(bit(capability)))
    }

    /// Both sets; `deny` wins outright.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let all = self.0 | other.0;
        let deny = bit(Capability::Deny);
        Self(if all & deny == 0 { all } else { deny })
    }

    /// Whether it grants anything.
    pub fn grants(self) -> bool {
        self.0 != 0 && !self.has(Capability::Deny)
    }

    /// Names in Vault's order.
    pub fn names(self) -> Vec<&'static str> {
        Capability::ALL.into_iter().filter(|capability| self.has(*capability)).map(Capability::name).collect()
    }
}

fn bit(capability: Capability) -> u8 {
    1 << Capability::ALL.iter().position(|other| *other == capability).unwrap_or(7)
}

/// Values by parameter name (lower case); an empty list stands for any value.
pub type Parameters = BTreeMap<String, Vec<Value>>;

/// What a rule grants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Parameters that alone may be given; `None` for all.
    pub allowed: Option<Parameters>,
    /// Parameters that may not be given.
    pub denied: Option<Parameters>,
    /// Parameters that must be given.
    pub required: BTreeSet<String>,
    /// Least wrapping TTL in seconds; zero for none.
    pub min_wrapping_ttl_seconds: u64,
    /// Most wrapping TTL in seconds; zero for none.
    pub max_wrapping_ttl_seconds: u64,
}

impl Grant {
    /// What two policies grant together on the same path.
    pub(super) fn merge(&mut self, other: &Self) {
        self.capabilities = self.capabilities.union(other.capabilities);
        merge_parameters(&mut self.allowed, other.allowed.as_ref());
        merge_parameters(&mut self.denied, other.denied.as_ref());
        self.required.extend(other.required.iter().cloned());
        self.min_wrapping_ttl_seconds =
            smaller_set(self.min_wrapping_ttl_seconds, other.min_wrapping_ttl_seconds);
        self.max_wrapping_ttl_seconds =
            smaller_set(self.max_wrapping_ttl_seconds, other.max_wrapping_ttl_seconds);
    }
}

fn smaller_set(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

fn merge_parameters(into: &mut Option<Parameters>, from: Option<&Parameters>) {
    let Some(from) = from else { return };
    let Some(into) = into else {
        *into = Some(from.clone());
        return;
    };
    for (name, values) in from {
        match into.get_mut(name) {
            None => {
                into.insert(name.clone(), values.clone());
            }
            // "Any value" is the wider of the two.
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known
                .extend(values.iter().filter(|value| !known.contains(value)).cloned().collect::<Vec<_>>()),
        }
    }
}

/// One path of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The path as written, without a leading slash: may hold `+` segments and end in `*`.
    pub path: String,
    /// What it grants.
    pub grant: Grant,
}

/// A parsed policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Its rules.
    pub rules: Vec<Rule>,
}
