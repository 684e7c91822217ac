//! Where a token's private values lie.

use crate::vault::logical::{LogicalError, Request};

/// The prefix in the engine's storage that holds everything of the cubbyhole `id`.
pub fn prefix_of(id: &str) -> String {
    format!("{id}/")
}

/// The storage key of the request's path.
///
/// # Errors
/// [`LogicalError::Invalid`] if the token has no cubbyhole (batch tokens have none).
pub(super) fn key(request: &Request) -> Result<String, LogicalError> {
    let id = &request.principal.cubbyhole_id;
    if id.is_empty() {
        return Err(LogicalError::Invalid(
            "cubbyhole operations are only supported by \"service\" type tokens".to_owned(),
        ));
    }
    Ok(prefix_of(id) + &request.path)
}
