//! `sys/capabilities`, `sys/capabilities-self`, `sys/capabilities-accessor`: what a token may do on paths.

use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::vault::core::TokenEntry;
use crate::vault::logical::{LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

/// Most paths of one question.
const PATHS_MAX: usize = 1000;

pub(super) async fn handle(call: &Call<'_>, which: &str, rest: &str) -> Answer {
    if !rest.is_empty() {
        return Err(LogicalError::UnsupportedPath);
    }
    if !matches!(call.operation, Operation::Create | Operation::Update) {
        return Err(LogicalError::UnsupportedOperation);
    }
    let paths = match call.fields.list("paths")? {
        Some(paths) if !paths.is_empty() => paths,
        _ => call.fields.list("path")?.unwrap_or_default(),
    };
    if paths.is_empty() {
        return Err(SystemError::Paths.into());
    }
    if paths.len() > PATHS_MAX {
        return Err(SystemError::TooManyPaths(PATHS_MAX).into());
    }
    let entry = token_entry(call, which).await?;
    let mut data = Map::new();
    for path in &paths {
        let granted = call.kernel.capabilities(&entry, path.trim_start_matches('/')).await?;
        if paths.len() == 1 {
            data.insert("capabilities".to_owned(), Value::from(granted.clone()));
        }
        data.insert(path.clone(), Value::from(granted));
    }
    Ok(Some(Response { data_at_top: true, ..Response::data(data) }))
}

async fn token_entry(call: &Call<'_>, which: &str) -> Result<TokenEntry, LogicalError> {
    let found = match which {
        "capabilities-self" => {
            let given = call.fields.text("token")?.filter(|token| !token.is_empty());
            match given {
                Some(token) => call.kernel.find_token(&token.into()).await?,
                None => return call.kernel.caller().cloned().ok_or(LogicalError::Denied),
            }
        }
        "capabilities-accessor" => {
            let accessor =
                call.fields.required_text("accessor", &SystemError::MissingAccessor.to_string())?;
            let found = call.kernel.find_token_by_accessor(&accessor).await?;
            return found
                .map(|entry| entry.as_ref().clone())
                .ok_or_else(|| SystemError::InvalidAccessor.into());
        }
        _ => {
            let token = call.fields.required_text("token", &SystemError::MissingToken.to_string())?;
            call.kernel.find_token(&token.into()).await?
        }
    };
    found.map(|entry| entry.as_ref().clone()).ok_or_else(|| SystemError::InvalidToken.into())
}
