//! `sys/policies/acl`, and `sys/policy` as clients knew it before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::vault::logical::{LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

/// Whose words an answer uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Acl,
    Legacy,
}

/// `rest` is what follows `sys/policies/`.
pub(super) async fn handle(call: &Call<'_>, rest: &str) -> Answer {
    match rest.split_once('/') {
        None if rest == "acl" => all(call, Dialect::Acl).await,
        Some(("acl", name)) => one(call, name, Dialect::Acl).await,
        _ => Err(LogicalError::UnsupportedPath),
    }
}

/// `rest` is what follows `sys/policy/`.
pub(super) async fn handle_legacy(call: &Call<'_>, rest: &str) -> Answer {
    if rest.is_empty() { all(call, Dialect::Legacy).await } else { one(call, rest, Dialect::Legacy).await }
}

async fn all(call: &Call<'_>, dialect: Dialect) -> Answer {
    match (call.operation, dialect) {
        (Operation::List, _) | (Operation::Read, Dialect::Legacy) => {}
        (Operation::Create | Operation::Update | Operation::Delete, _) => {
            return Err(SystemError::PolicyName.into());
        }
        _ => return Err(LogicalError::UnsupportedOperation),
    }
    let names = call.kernel.policies().await?;
    let mut data = Map::new();
    data.insert("keys".to_owned(), Value::from(names.clone()));
    if dialect == Dialect::Acl {
        return Ok(Some(Response::data(data)));
    }
    data.insert("policies".to_owned(), Value::from(names));
    Ok(Some(Response { data_at_top: true, ..Response::data(data) }))
}

async fn one(call: &Call<'_>, name: &str, dialect: Dialect) -> Answer {
    match call.operation {
        Operation::Read => read(call, name, dialect).await,
        Operation::Create | Operation::Update => write(call, name, dialect),
        Operation::Delete => {
            call.kernel.delete_policy(name)?;
            Ok(None)
        }
        Operation::List | Operation::Patch => Err(LogicalError::UnsupportedOperation),
    }
}

async fn read(call: &Call<'_>, name: &str, dialect: Dialect) -> Answer {
    let Some(text) = call.kernel.policy(name).await? else { return Ok(None) };
    let mut data = Map::new();
    data.insert("name".to_owned(), Value::from(name.to_lowercase()));
    let member = if dialect == Dialect::Acl { "policy" } else { "rules" };
    data.insert(member.to_owned(), Value::from(text));
    Ok(Some(Response { data_at_top: dialect == Dialect::Legacy, ..Response::data(data) }))
}

fn write(call: &Call<'_>, name: &str, dialect: Dialect) -> Answer {
    let mut text = call.fields.text("policy")?.unwrap_or_default();
    if text.is_empty() && dialect == Dialect::Legacy {
        text = call.fields.text("rules")?.unwrap_or_default();
    }
    if text.is_empty() {
        return Err(SystemError::PolicyText.into());
    }
    // Some clients send the text in base64; no policy is valid base64 by itself.
    let decoded = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    call.kernel.put_policy(name, decoded.as_deref().unwrap_or(&text))?;
    let lower = name.to_lowercase();
    Ok((lower != name)
        .then(|| Response::default().with_warning(format!("policy name was converted to {lower}"))))
}
