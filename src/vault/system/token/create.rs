//! `auth/token/create`, `create-orphan`, `create/<role>`: make tokens.

use super::{Answer, Call, roles};
use crate::vault::core::{NewToken, TokenEntry};
use crate::vault::logical::{LogicalError, Response, TokenType};
use crate::vault::system::error::SystemError;

const KNOWN: &[&str] = &[
    "id",
    "policies",
    "meta",
    "no_parent",
    "no_default_policy",
    "renewable",
    "ttl",
    "lease",
    "explicit_max_ttl",
    "period",
    "num_uses",
    "display_name",
    "type",
];

/// `role` is the name of a role, empty for none.
pub(super) async fn handle(call: &Call<'_>, is_orphan: bool, role: &str) -> Answer {
    call.require_update()?;
    let parent = call.kernel.caller().ok_or(LogicalError::Denied)?;
    if parent.num_uses != 0 {
        return Err(SystemError::RestrictedParent.into());
    }
    let role = match role {
        "" => None,
        name => Some((name, roles::load(call.kernel, name).await?.ok_or_else(|| unknown(name))?)),
    };
    let mut wishes = Wishes::read(call)?;
    if let Some((_, role)) = &role {
        role.impose_on(&mut wishes);
    }
    let has_sudo = call.request.principal.has_sudo;
    wishes.check_privileges(has_sudo)?;
    let policies = match &role {
        Some((_, role)) if role.limits_policies() => {
            role.policies(&wishes.policies, wishes.no_default_policy)?
        }
        _ => policies(&wishes, parent, has_sudo)?,
    };
    if policies.iter().any(|policy| policy == "root") && !parent.is_root() {
        return Err(SystemError::RootFromOther.into());
    }
    let is_orphan = is_orphan || wishes.no_parent || role.as_ref().is_some_and(|(_, role)| role.orphan);
    let mut warnings = missing_policies(call, &policies).await?;
    let spec = NewToken {
        id: wishes.id.clone().map(Into::into),
        policies,
        metadata: wishes.metadata,
        display_name: wishes.display_name,
        ttl_seconds: wishes.ttl_seconds,
        max_ttl_seconds: 0,
        explicit_max_ttl_seconds: wishes.explicit_max_ttl_seconds,
        period_seconds: wishes.period_seconds,
        num_uses: wishes.num_uses,
        renewable: wishes.renewable,
        token_type: wishes.token_type,
        parent: (!is_orphan).then(|| parent.clone()),
        path: role.as_ref().map(|(name, role)| role.creation_path(name)).unwrap_or_default(),
        entity_id: if is_orphan { String::new() } else { parent.entity_id.clone() },
        role: role.as_ref().map(|(name, _)| (*name).to_owned()).unwrap_or_default(),
        bound_cidrs: role.map(|(_, role)| role.token_bound_cidrs).unwrap_or_default(),
    };
    let issued = call.kernel.create_token(spec).await?;
    warnings.extend(issued.warnings.iter().cloned());
    warnings.extend(call.fields.unrecognized(KNOWN));
    Ok(Some(Response { auth: Some(issued.auth()), warnings, ..Response::default() }))
}

/// What the caller asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) id: Option<String>,
    pub(super) policies: Vec<String>,
    pub(super) metadata: std::collections::BTreeMap<String, String>,
    pub(super) no_parent: bool,
    pub(super) no_default_policy: bool,
    pub(super) renewable: bool,
    pub(super) ttl_seconds: u64,
    pub(super) explicit_max_ttl_seconds: u64,
    pub(super) period_seconds: u64,
    pub(super) num_uses: u64,
    pub(super) display_name: String,
    pub(super) token_type: TokenType,
    /// Whether the period was the caller's own wish.
    pub(super) asks_period: bool,
}

impl Wishes {
    fn read(call: &Call<'_>) -> Result<Self, LogicalError> {
        let fields = call.fields;
        if fields.text("entity_alias")?.is_some_and(|alias| !alias.is_empty()) {
            return Err(SystemError::EntityAlias.into());
        }
        let token_type = match fields.text("type")?.as_deref() {
            None | Some("" | "service") => TokenType::Service,
            Some("batch") => TokenType::Batch,
            Some(other) => return Err(SystemError::TokenType(other.to_owned()).into()),
        };
        let period_seconds = fields.seconds("period")?.unwrap_or(0);
        Ok(Self {
            id: fields.text("id")?.filter(|id| !id.is_empty()),
            policies: fields.list("policies")?.unwrap_or_default(),
            metadata: fields.text_map("meta")?.unwrap_or_default(),
            no_parent: fields.boolean("no_parent")?.unwrap_or(false),
            no_default_policy: fields.boolean("no_default_policy")?.unwrap_or(false),
            renewable: fields.boolean("renewable")?.unwrap_or(true),
            ttl_seconds: match fields.seconds("ttl")? {
                Some(ttl) => ttl,
                None => fields.seconds("lease")?.unwrap_or(0),
            },
            explicit_max_ttl_seconds: fields.seconds("explicit_max_ttl")?.unwrap_or(0),
            period_seconds,
            num_uses: fields.count("num_uses")?.unwrap_or(0),
            display_name: display_name(&fields.text("display_name")?.unwrap_or_default()),
            token_type,
            asks_period: period_seconds > 0,
        })
    }

    fn check_privileges(&self, has_sudo: bool) -> Result<(), SystemError> {
        if has_sudo {
            return Ok(());
        }
        if self.id.is_some() {
            return Err(SystemError::IdNeedsSudo);
        }
        if self.no_parent {
            return Err(SystemError::OrphanNeedsSudo);
        }
        if self.asks_period {
            return Err(SystemError::PeriodNeedsSudo);
        }
        Ok(())
    }
}

/// Policies of a token that no role limits.
fn policies(wishes: &Wishes, parent: &TokenEntry, has_sudo: bool) -> Result<Vec<String>, SystemError> {
    let lower = |names: &[String]| -> Vec<String> { names.iter().map(|name| name.to_lowercase()).collect() };
    let mut policies =
        if wishes.policies.is_empty() { parent.policies.clone() } else { lower(&wishes.policies) };
    if !has_sudo && policies.iter().any(|policy| !parent.policies.contains(policy)) {
        return Err(SystemError::PoliciesNotSubset);
    }
    let is_root = policies.iter().any(|policy| policy == "root");
    let has_default = has_sudo || parent.policies.iter().any(|policy| policy == "default");
    if wishes.no_default_policy {
        policies.retain(|policy| policy != "default" || wishes.policies.contains(policy));
    } else if has_default && !is_root {
        policies.push("default".to_owned());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// A display name as it is stored: `token`, or `token-` and letters, digits and dashes.
fn display_name(given: &str) -> String {
    let clean: String = given.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match clean.trim_matches('-') {
        "" => "token".to_owned(),
        clean => format!("token-{clean}"),
    }
}

async fn missing_policies(call: &Call<'_>, policies: &[String]) -> Result<Vec<String>, LogicalError> {
    let mut warnings = Vec::new();
    for name in policies {
        if call.kernel.policy(name).await?.is_none() {
            warnings.push(format!("Policy \"{name}\" does not exist"));
        }
    }
    Ok(warnings)
}

fn unknown(name: &str) -> SystemError {
    SystemError::UnknownRole(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_are_cleaned() {
        for (given, stored) in [("", "token"), ("a b/c", "token-a-b-c"), ("--x--", "token-x"), ("!", "token")]
        {
            assert_eq!(display_name(given), stored, "{given}");
        }
    }
}
