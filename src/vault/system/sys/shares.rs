//! What the endpoints have in common at which people give key shares: their input, and answers without Vault's envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Call;
use crate::base::id;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::logical::{LogicalError, RawBody, Response};
use crate::vault::seal::read_share;

/// The share in `key`.
pub(super) fn key(call: &Call<'_>) -> Result<SecretBytes, LogicalError> {
    let text = call.fields.required_text("key", "'key' must be specified in request body as JSON")?;
    let invalid = || LogicalError::Invalid("'key' must be a valid hex or base64 string".to_owned());
    read_share(&SecretString::new(text)).ok_or_else(invalid)
}

/// The operation's name in `nonce`.
pub(super) fn nonce(call: &Call<'_>) -> Result<String, LogicalError> {
    call.fields.required_text("nonce", "'nonce' must be specified in request body as JSON")
}

/// Refuses what would be answered in the clear.
pub(super) fn refuse_pgp(call: &Call<'_>, field: &str) -> Result<(), LogicalError> {
    let asks = match call.fields.raw(field) {
        None => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(keys)) => !keys.is_empty(),
        Some(_) => true,
    };
    if asks {
        let text =
            format!("PGP keys are not supported: leave {field} out, and the answer comes in the clear");
        return Err(LogicalError::Invalid(text));
    }
    Ok(())
}

/// Shares in hexadecimal and in base64.
pub(super) fn encoded(keys: &[SecretBytes]) -> (Vec<String>, Vec<String>) {
    keys.iter().map(|key| (id::hex(key.expose()), STANDARD.encode(key.expose()))).unzip()
}

/// An answer that is `body` alone.
pub(super) fn body(status: u16, body: &Value) -> Option<Response> {
    let raw = RawBody { content_type: "application/json", status, body: body.to_string().into_bytes() };
    Some(Response { raw: Some(raw), ..Response::default() })
}

/// 400, and what the request has written is kept nevertheless: the shares that did not fit are forgotten.
pub(super) fn wrong(text: &str) -> Option<Response> {
    body(400, &json!({ "errors": [text] }))
}
