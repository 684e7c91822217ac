//! `sys/key-status`, `sys/rotate`: the barrier's encryption key.

use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::vault::logical::{LogicalError, Operation, Response};

pub(super) async fn handle(call: &Call<'_>, path: &str) -> Answer {
    match (path, call.operation) {
        ("key-status", Operation::Read) => {
            let status = call.kernel.key_status();
            let mut data = Map::new();
            data.insert("term".to_owned(), Value::from(status.term));
            data.insert("install_time".to_owned(), Value::from(status.installed.rfc3339()));
            data.insert("encryptions".to_owned(), Value::from(status.encryptions));
            Ok(Some(Response { data_at_top: true, ..Response::data(data) }))
        }
        ("rotate" | "rotate/keyring", Operation::Create | Operation::Update) => {
            call.kernel.rotate().await?;
            Ok(None)
        }
        ("key-status" | "rotate" | "rotate/keyring", _) => Err(LogicalError::UnsupportedOperation),
        _ => Err(LogicalError::UnsupportedPath),
    }
}
