//! Policy text (HCL1 or JSON) to rules.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::model::{Capabilities, Capability, Grant, Parameters, Policy, Rule};
use crate::base::duration;
use crate::config::hcl::{self, Body, HclError, Item, Value};
use crate::vault::logical::LogicalError;

/// Members of a path that change nothing here: comments, and features that this version does not have but whose absence
/// grants nothing.
const IGNORED: &[&str] = &["comment"];

/// Reads a policy.
///
/// # Errors
/// [`LogicalError::Invalid`]: `failed to parse policy: …`.
pub fn parse(text: &str) -> Result<Policy, LogicalError> {
    hcl::parse(text)
        .and_then(|body| policy(&body))
        .map_err(|error| LogicalError::Invalid(format!("failed to parse policy: {error}")))
}

fn policy(body: &Body) -> Result<Policy, HclError> {
    if let Some(unknown) = body.items.iter().find(|item| !matches!(item.key.as_str(), "name" | "path")) {
        return Err(unknown.error(format!("invalid key {:?}", unknown.key)));
    }
    let blocks = body.blocks("path", 1)?;
    let rules = blocks.iter().map(|block| rule(block.labels[0], block.body, block.item));
    Ok(Policy { rules: rules.collect::<Result<_, _>>()? })
}

fn rule(path: &str, body: &Body, item: &Item) -> Result<Rule, HclError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.contains("+*") {
        return Err(item.error(format!("path {path:?}: invalid use of wildcards ('+*' is forbidden)")));
    }
    let mut grant = Grant::default();
    for item in &body.items {
        member(item, &mut grant)?;
    }
    let (min, max) = (grant.min_wrapping_ttl_seconds, grant.max_wrapping_ttl_seconds);
    if min > 0 && max > 0 && max < min {
        return Err(
            item.error(format!("path {path:?}: max_wrapping_ttl cannot be less than min_wrapping_ttl"))
        );
    }
    Ok(Rule { path: path.to_owned(), grant })
}

fn member(item: &Item, grant: &mut Grant) -> Result<(), HclError> {
    match item.key.as_str() {
        "capabilities" => {
            for name in texts(item)? {
                grant.capabilities = grant.capabilities.union(capability(&name, item)?);
            }
        }
        "policy" => grant.capabilities = grant.capabilities.union(legacy(item)?),
        "allowed_parameters" => grant.allowed = Some(parameters(item)?),
        "denied_parameters" => grant.denied = Some(parameters(item)?),
        "required_parameters" => {
            grant.required =
                texts(item)?.into_iter().map(|name| name.to_lowercase()).collect::<BTreeSet<_>>();
        }
        "min_wrapping_ttl" => grant.min_wrapping_ttl_seconds = seconds(item)?,
        "max_wrapping_ttl" => grant.max_wrapping_ttl_seconds = seconds(item)?,
        key if IGNORED.contains(&key) => {}
        key => return Err(item.error(format!("invalid key {key:?}"))),
    }
    Ok(())
}

fn capability(name: &str, item: &Item) -> Result<Capabilities, HclError> {
    let found = Capability::ALL.into_iter().find(|capability| capability.name() == name);
    let capability = found.ok_or_else(|| item.error(format!("invalid capability {name:?}")))?;
    Ok(Capabilities::default().with(capability))
}

/// The old way to write capabilities.
fn legacy(item: &Item) -> Result<Capabilities, HclError> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    let granted: &[Capability] = match item.value.as_text() {
        Some("deny") => &[Deny],
        Some("read") => &[Read, List],
        Some("write") => &[Create, Read, Update, Delete, List],
        Some("sudo") => &[Create, Read, Update, Delete, List, Sudo],
        Some(_) | None => return Err(item.error("policy must be deny, read, write or sudo")),
    };
    Ok(granted.iter().fold(Capabilities::default(), |all, capability| all.with(*capability)))
}

fn texts(item: &Item) -> Result<Vec<String>, HclError> {
    let Value::List(values) = &item.value else {
        return Err(item.error(format!("{} must be a list, not {}", item.key, item.value.kind())));
    };
    let text = |value: &Value| {
        value
            .as_text()
            .map(str::to_owned)
            .ok_or_else(|| item.error(format!("{} must hold strings", item.key)))
    };
    values.iter().map(text).collect()
}

fn parameters(item: &Item) -> Result<Parameters, HclError> {
    let Value::Block(body) = &item.value else {
        return Err(item.error(format!("{} must be a block, not {}", item.key, item.value.kind())));
    };
    let one = |item: &Item| match &item.value {
        Value::List(values) => Ok((item.key.to_lowercase(), values.iter().map(json).collect())),
        other => Err(item.error(format!("{} must be a list, not {}", item.key, other.kind()))),
    };
    body.items.iter().map(one).collect()
}

fn seconds(item: &Item) -> Result<u64, HclError> {
    duration::from_json(&json(&item.value))
        .map(|span| span.as_secs())
        .ok_or_else(|| item.error(format!("{} must be a duration", item.key)))
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::from(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Text(value) => Json::from(value.as_str()),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Block(body) => {
            Json::Object(body.items.iter().map(|item| (item.key.clone(), json(&item.value))).collect())
        }
    }
}
