//! Every other path: a 404 whose warning tells clients of version 1 what to do; the CLI looks for it.

use super::not_found;
use crate::vault::logical::{Operation, Response};

pub(super) fn explain(operation: Operation, path: &str) -> Response {
    let warning = match path.trim_end_matches('/') {
        "metadata" | "data" | "delete" | "undelete" | "destroy" => {
            "Non-listing operations on the root of a K/V v2 mount are not supported.".to_owned()
        }
        _ => format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to \
             use. If using the Vault CLI, use 'vault kv {}' for this operation.",
            match operation {
                Operation::Create | Operation::Update => "put",
                Operation::Read => "get",
                Operation::List => "list",
                Operation::Delete => "delete",
                Operation::Patch => "patch",
            }
        ),
    };
    not_found(Response::default().with_warning(warning))
}
