//! `auth/token/roles`: list, show, set and delete token roles.

use ipnet::IpNet;

use super::role::Role;
use super::{Answer, Call};
use crate::vault::core::Kernel;
use crate::vault::logical::{Fields, LogicalError, Operation, Response, StorageView, record};
use crate::vault::system::error::SystemError;

const FOLDER: &str = "roles/";
const KNOWN: &[&str] = &[
    "allowed_policies",
    "disallowed_policies",
    "allowed_policies_glob",
    "disallowed_policies_glob",
    "orphan",
    "renewable",
    "path_suffix",
    "token_bound_cidrs",
    "bound_cidrs",
    "token_explicit_max_ttl",
    "explicit_max_ttl",
    "token_period",
    "period",
    "token_no_default_policy",
    "token_num_uses",
    "token_type",
];

/// `name` is what follows `auth/token/roles/`.
pub(super) async fn handle(call: &Call<'_>, name: &str) -> Answer {
    if name.is_empty() {
        return match call.operation {
            Operation::List => {
                Ok(Response::keys(record::list(&call.kernel.storage(), FOLDER, call.fields).await?))
            }
            _ => Err(LogicalError::UnsupportedOperation),
        };
    }
    match call.operation {
        Operation::Read => Ok(load(call.kernel, name).await?.map(|role| Response::data(role.to_json(name)))),
        Operation::Create | Operation::Update => write(call, name).await,
        Operation::Delete => {
            call.kernel.storage().delete(&format!("{FOLDER}{name}")).await?;
            Ok(None)
        }
        Operation::List | Operation::Patch => Err(LogicalError::UnsupportedOperation),
    }
}

/// The role of this name.
pub(super) async fn load(kernel: &Kernel<'_>, name: &str) -> Result<Option<Role>, LogicalError> {
    if name.is_empty() || name.contains('/') {
        return Ok(None);
    }
    record::read(&kernel.storage(), &format!("{FOLDER}{name}")).await
}

async fn write(call: &Call<'_>, name: &str) -> Answer {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(SystemError::RoleName(name.to_owned()).into());
    }
    let old = load(call.kernel, name).await?.unwrap_or_default();
    let role = changed(old, call.fields)?;
    record::write(&call.kernel.storage(), &format!("{FOLDER}{name}"), &role).await?;
    Ok(call.fields.unrecognized(KNOWN).map(|warning| Response::default().with_warning(warning)))
}

fn changed(old: Role, fields: Fields<'_>) -> Result<Role, LogicalError> {
    let policies = |name: &str, old: Vec<String>| -> Result<Vec<String>, LogicalError> {
        let given = fields.list(name)?;
        Ok(given.map_or(old, |given| given.iter().map(|policy| policy.to_lowercase()).collect()))
    };
    let seconds = |name: &str, older: &str, old: u64| -> Result<u64, LogicalError> {
        Ok(fields.seconds(name)?.or(fields.seconds(older)?).unwrap_or(old))
    };
    let role = Role {
        allowed_policies: policies("allowed_policies", old.allowed_policies)?,
        disallowed_policies: policies("disallowed_policies", old.disallowed_policies)?,
        allowed_policies_glob: policies("allowed_policies_glob", old.allowed_policies_glob)?,
        disallowed_policies_glob: policies("disallowed_policies_glob", old.disallowed_policies_glob)?,
        orphan: fields.boolean("orphan")?.unwrap_or(old.orphan),
        renewable: fields.boolean("renewable")?.unwrap_or(old.renewable),
        path_suffix: fields.text("path_suffix")?.unwrap_or(old.path_suffix),
        token_bound_cidrs: fields
            .list("token_bound_cidrs")?
            .or(fields.list("bound_cidrs")?)
            .unwrap_or(old.token_bound_cidrs),
        token_explicit_max_ttl_seconds: seconds(
            "token_explicit_max_ttl",
            "explicit_max_ttl",
            old.token_explicit_max_ttl_seconds,
        )?,
        token_period_seconds: seconds("token_period", "period", old.token_period_seconds)?,
        token_no_default_policy: fields
            .boolean("token_no_default_policy")?
            .unwrap_or(old.token_no_default_policy),
        token_num_uses: fields.count("token_num_uses")?.unwrap_or(old.token_num_uses),
        token_type: fields.text("token_type")?.filter(|text| !text.is_empty()).unwrap_or(old.token_type),
    };
    check(&role)?;
    Ok(role)
}

fn check(role: &Role) -> Result<(), SystemError> {
    if !["default-service", "service", "default-batch", "batch"].contains(&role.token_type.as_str()) {
        return Err(SystemError::MountTokenType(role.token_type.clone()));
    }
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@'))
    };
    if !role.path_suffix.is_empty() && !role.path_suffix.split('/').all(is_segment) {
        return Err(SystemError::RoleSuffix(role.path_suffix.clone()));
    }
    for block in &role.token_bound_cidrs {
        if block.parse::<IpNet>().is_err() && block.parse::<std::net::IpAddr>().is_err() {
            return Err(SystemError::Cidr(block.clone()));
        }
    }
    Ok(())
}
