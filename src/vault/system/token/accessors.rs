//! `auth/token/accessors`: all tokens, by accessor.

use super::{Answer, Call};
use crate::base::class::ErrorClass;
use crate::vault::logical::record::LISTED_NAMES_MAX;
use crate::vault::logical::{LogicalError, Operation, Response};

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    if call.operation != Operation::List {
        return Err(LogicalError::UnsupportedOperation);
    }
    let accessors = call.kernel.accessors(LISTED_NAMES_MAX + 1).await?;
    if accessors.len() > LISTED_NAMES_MAX {
        return Err(LogicalError::Refused {
            class: ErrorClass::TooLarge,
            message: format!("there are more than {LISTED_NAMES_MAX} tokens"),
        });
    }
    Ok(Response::keys(accessors))
}
