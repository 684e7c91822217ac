//! `sys/remount`: move a mount to another path, at once.

use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::base::id;
use crate::vault::core::MountClass;
use crate::vault::logical::{LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

pub(super) async fn handle(call: &Call<'_>, rest: &str) -> Answer {
    if !rest.is_empty() {
        return Err(LogicalError::UnsupportedPath);
    }
    if !matches!(call.operation, Operation::Create | Operation::Update) {
        return Err(LogicalError::UnsupportedOperation);
    }
    let missing = SystemError::RemountPaths.to_string();
    let from = call.fields.required_text("from", &missing)?;
    let to = call.fields.required_text("to", &missing)?;
    let ((from_class, from), (to_class, to)) = (class_of(&from), class_of(&to));
    if from_class != to_class {
        return Err(SystemError::RemountClass.into());
    }
    call.kernel.remount(from_class, from, to).await?;
    let mut data = Map::new();
    data.insert("migration_id".to_owned(), Value::from(id::uuid(call.kernel.random())));
    Ok(Some(Response { data_at_top: true, ..Response::data(data) }))
}

/// The table that a whole path is in, and the path inside that table.
fn class_of(path: &str) -> (MountClass, &str) {
    let path = path.trim_matches('/');
    match path.strip_prefix("auth/") {
        Some(inner) => (MountClass::Auth, inner),
        None => (MountClass::Secret, path),
    }
}
