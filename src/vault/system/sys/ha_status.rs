//! `sys/ha-status`: the nodes of the cluster, as the active one knows them.

use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::base::clock::UnixMillis;
use crate::vault::core::Member;
use crate::vault::logical::{LogicalError, Operation, Response};

pub(super) fn handle(call: &Call<'_>, path: &str) -> Answer {
    if path != "ha-status" {
        return Err(LogicalError::UnsupportedPath);
    }
    if call.operation != Operation::Read {
        return Err(LogicalError::UnsupportedOperation);
    }
    let nodes: Vec<Value> = call.kernel.core().members().iter().map(show).collect();
    let mut data = Map::new();
    data.insert("nodes".to_owned(), nodes.into());
    Ok(Some(Response { data_at_top: true, ..Response::data(data) }))
}

fn show(member: &Member) -> Value {
    json!({
        "hostname": member.hostname,
        "api_address": member.api_address,
        "cluster_address": member.cluster_address,
        "active_node": member.active_node,
        "last_echo": member.last_echo.map(UnixMillis::rfc3339),
        "version": member.version,
    })
}
