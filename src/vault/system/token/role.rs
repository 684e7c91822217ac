//! A token role: what tokens made by it are like. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::create::Wishes;
use crate::vault::logical::TokenType;
use crate::vault::system::error::SystemError;

/// A token role as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) allowed_policies: Vec<String>,
    pub(super) disallowed_policies: Vec<String>,
    pub(super) allowed_policies_glob: Vec<String>,
    pub(super) disallowed_policies_glob: Vec<String>,
    pub(super) orphan: bool,
    pub(super) renewable: bool,
    pub(super) path_suffix: String,
    pub(super) token_bound_cidrs: Vec<String>,
    pub(super) token_explicit_max_ttl_seconds: u64,
    pub(super) token_period_seconds: u64,
    pub(super) token_no_default_policy: bool,
    pub(super) token_num_uses: u64,
    pub(super) token_type: String,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            allowed_policies: Vec::new(),
            disallowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            token_bound_cidrs: Vec::new(),
            token_explicit_max_ttl_seconds: 0,
            token_period_seconds: 0,
            token_no_default_policy: false,
            token_num_uses: 0,
            token_type: "default-service".to_owned(),
        }
    }
}

impl Role {
    /// Whether the role itself decides which policies a token may have.
    pub(super) fn limits_policies(&self) -> bool {
        [
            &self.allowed_policies,
            &self.allowed_policies_glob,
            &self.disallowed_policies,
            &self.disallowed_policies_glob,
        ]
        .iter()
        .any(|list| !list.is_empty())
    }

    /// Policies of a token for which `asked` were asked; the allowed ones if none were.
    pub(super) fn policies(&self, asked: &[String], no_default: bool) -> Result<Vec<String>, SystemError> {
        let adds_default = !no_default && !self.token_no_default_policy;
        let has_allowed = !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let mut policies: Vec<String> = match asked {
            [] => self.allowed_policies.clone(),
            asked => asked.iter().map(|policy| policy.to_lowercase()).collect(),
        };
        let is_allowed = |policy: &String| {
            self.allowed_policies.contains(policy)
                || self.allowed_policies_glob.iter().any(|glob| glob_matches(glob, policy))
                || (adds_default && policy == "default")
        };
        if has_allowed && !policies.iter().all(is_allowed) {
            let allowed: Vec<_> =
                self.allowed_policies.iter().chain(&self.allowed_policies_glob).cloned().collect();
            return Err(SystemError::RolePolicies {
                asked: policies.join(", "),
                allowed: allowed.join(", "),
            });
        }
        let is_forbidden = |policy: &String| {
            self.disallowed_policies.contains(policy)
                || self.disallowed_policies_glob.iter().any(|glob| glob_matches(glob, policy))
        };
        if let Some(policy) = policies.iter().find(|policy| is_forbidden(policy)) {
            return Err(SystemError::RoleDisallows(policy.clone()));
        }
        if adds_default && !is_forbidden(&"default".to_owned()) {
            policies.push("default".to_owned());
        }
        policies.sort();
        policies.dedup();
        Ok(policies)
    }

    /// What the role decides, whatever the caller wishes.
    pub(super) fn impose_on(&self, wishes: &mut Wishes) {
        wishes.renewable = wishes.renewable && self.renewable;
        wishes.no_parent = false;
        wishes.no_default_policy = wishes.no_default_policy || self.token_no_default_policy;
        let smaller =
            |wish: u64, limit: u64| if wish == 0 || limit == 0 { wish.max(limit) } else { wish.min(limit) };
        wishes.explicit_max_ttl_seconds =
            smaller(wishes.explicit_max_ttl_seconds, self.token_explicit_max_ttl_seconds);
        wishes.num_uses = smaller(wishes.num_uses, self.token_num_uses);
        if self.token_period_seconds > 0 {
            wishes.period_seconds = self.token_period_seconds;
        }
        match self.token_type.as_str() {
            "service" => wishes.token_type = TokenType::Service,
            "batch" => wishes.token_type = TokenType::Batch,
            _ => {}
        }
    }

    /// Where its tokens are said to be made.
    pub(super) fn creation_path(&self, name: &str) -> String {
        if self.path_suffix.is_empty() {
            format!("auth/token/create/{name}")
        } else {
            format!("auth/token/create/{name}/{}", self.path_suffix)
        }
    }

    /// The role as it is shown.
    pub(super) fn to_json(&self, name: &str) -> Map<String, Value> {
        let shown = json!({
            "name": name,
            "allowed_policies": self.allowed_policies,
            "disallowed_policies": self.disallowed_policies,
            "allowed_policies_glob": self.allowed_policies_glob,
            "disallowed_policies_glob": self.disallowed_policies_glob,
            "allowed_entity_aliases": [],
            "orphan": self.orphan,
            "renewable": self.renewable,
            "path_suffix": self.path_suffix,
            "period": self.token_period_seconds,
            "explicit_max_ttl": self.token_explicit_max_ttl_seconds,
            "token_bound_cidrs": self.token_bound_cidrs,
            "token_explicit_max_ttl": self.token_explicit_max_ttl_seconds,
            "token_period": self.token_period_seconds,
            "token_no_default_policy": self.token_no_default_policy,
            "token_num_uses": self.token_num_uses,
            "token_type": self.token_type,
        });
        shown.as_object().cloned().unwrap_or_default()
    }
}

/// Whether `text` matches `glob`, in which every `*` stands for any text.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn globs_match() {
        for (glob, text, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "a-b-c", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*b", "abc", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_role_decides_on_policies() {
        let role = Role {
            allowed_policies: names(&["dev"]),
            allowed_policies_glob: names(&["team-*"]),
            disallowed_policies: names(&["team-root"]),
            ..Role::default()
        };
        assert_eq!(role.policies(&[], false), Ok(names(&["default", "dev"])));
        assert_eq!(role.policies(&names(&["team-a"]), true), Ok(names(&["team-a"])));
        assert_eq!(
            role.policies(&names(&["ops"]), false),
            Err(SystemError::RolePolicies { asked: "ops".into(), allowed: "dev, team-*".into() })
        );
        assert_eq!(
            role.policies(&names(&["team-root"]), false),
            Err(SystemError::RoleDisallows("team-root".into()))
        );
    }

    #[test]
    fn a_role_limits_wishes() {
        let role = Role {
            renewable: false,
            token_num_uses: 5,
            token_explicit_max_ttl_seconds: 60,
            token_period_seconds: 30,
            ..Role::default()
        };
        let mut wishes = Wishes { renewable: true, num_uses: 9, no_parent: true, ..Wishes::default() };
        role.impose_on(&mut wishes);
        assert_eq!((wishes.renewable, wishes.num_uses, wishes.no_parent), (false, 5, false));
        assert_eq!((wishes.explicit_max_ttl_seconds, wishes.period_seconds), (60, 30));
    }
}
