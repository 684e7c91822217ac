//! `sys/seal`, `sys/step-down`: what the node does once the answer has been sent.

use super::{Answer, Call};
use crate::vault::core::Effect;
use crate::vault::logical::{LogicalError, Operation};

pub(super) fn handle(call: &Call<'_>, path: &str) -> Answer {
    let effect = match path {
        "seal" => Effect::Seal,
        "step-down" => Effect::StepDown,
        _ => return Err(LogicalError::UnsupportedPath),
    };
    if !matches!(call.operation, Operation::Create | Operation::Update) {
        return Err(LogicalError::UnsupportedOperation);
    }
    call.kernel.request_effect(effect);
    Ok(None)
}
