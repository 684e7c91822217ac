//! Statuses and bodies, decided in one place.

use serde_json::{Map, Value, json};

use super::call::Body;
use super::error::CoreError;
use crate::base::class::ErrorClass;
use crate::vault::logical::{LogicalError, Operation, Response};

/// What an engine's result becomes.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// A status and a body; `keep` says whether the writes of the request are kept.
    Body { status: u16, body: Body, keep: bool },
    /// The active node must do it.
    NeedsActive,
    /// No answer.
    Failed(CoreError),
}

/// The HTTP status of an error class.
pub(super) fn status_of(class: ErrorClass) -> u16 {
    match class {
        ErrorClass::Invalid => 400,
        ErrorClass::Denied => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::Unsupported => 405,
        ErrorClass::TooLarge => 413,
        ErrorClass::Conflict => 412,
        ErrorClass::Unavailable | ErrorClass::Unknown => 503,
        ErrorClass::Internal => 500,
    }
}

/// `{"errors": [...]}`.
pub(super) fn errors(texts: &[&str]) -> Body {
    let mut body = Map::new();
    body.insert("errors".to_owned(), json!(texts));
    Body::Json(body)
}

/// An error answer, whose writes are dropped.
pub(super) fn refusal(status: u16, text: &str) -> Answer {
    let body = if text.is_empty() { errors(&[]) } else { errors(&[text]) };
    Answer::Body { status, body, keep: false }
}

/// Decides status and body.
pub(super) fn answer(
    request_id: &str,
    operation: Operation,
    result: Result<Option<Response>, LogicalError>,
) -> Answer {
    match result {
        Ok(response) => success(request_id, operation, response),
        Err(LogicalError::NeedsActive) => Answer::NeedsActive,
        Err(LogicalError::Unavailable(text)) => Answer::Failed(CoreError::Unavailable(text)),
        Err(LogicalError::Internal(text)) => {
            tracing::error!(request_id, error = text, "a request failed");
            refusal(500, "internal error")
        }
        Err(error) => refusal(status_of(error.class()), &error.to_string()),
    }
}

fn success(request_id: &str, operation: Operation, response: Option<Response>) -> Answer {
    let is_read = matches!(operation, Operation::Read | Operation::List);
    let nothing = |keep| match is_read {
        true => Answer::Body { status: 404, body: errors(&[]), keep },
        false => Answer::Body { status: 204, body: Body::Empty, keep },
    };
    let Some(response) = response else { return nothing(true) };
    if let Some(raw) = response.raw {
        let body = Body::Raw { content_type: raw.content_type, bytes: raw.body };
        return Answer::Body { status: raw.status, body, keep: true };
    }
    let is_empty = response.data.is_none()
        && response.auth.is_none()
        && response.warnings.is_empty()
        && response.lease_id.is_empty()
        && response.status.is_none();
    if is_empty || (operation == Operation::List && lists_nothing(&response)) {
        return nothing(true);
    }
    let status = response.status.unwrap_or(200);
    Answer::Body { status, body: Body::Json(envelope(request_id, response)), keep: true }
}

/// A list without keys, other data or warnings.
fn lists_nothing(response: &Response) -> bool {
    let keys_only = response.data.as_ref().is_none_or(|data| {
        data.iter().all(|(name, value)| name == "keys" && value.as_array().is_none_or(Vec::is_empty))
    });
    keys_only && response.warnings.is_empty() && response.status.is_none()
}

/// The nine members that every logical answer has.
fn envelope(request_id: &str, response: Response) -> Map<String, Value> {
    let mut body = Map::new();
    if let (true, Some(data)) = (response.data_at_top, &response.data) {
        body.extend(data.clone());
    }
    body.insert("request_id".to_owned(), json!(request_id));
    body.insert("lease_id".to_owned(), json!(response.lease_id));
    body.insert("renewable".to_owned(), json!(response.renewable));
    body.insert("lease_duration".to_owned(), json!(response.lease_duration_seconds));
    body.insert("data".to_owned(), response.data.map_or(Value::Null, Value::Object));
    body.insert("wrap_info".to_owned(), Value::Null);
    let warnings = if response.warnings.is_empty() { Value::Null } else { json!(response.warnings) };
    body.insert("warnings".to_owned(), warnings);
    body.insert("auth".to_owned(), response.auth.unwrap_or(Value::Null));
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::logical::RawBody;

    fn status(operation: Operation, result: Result<Option<Response>, LogicalError>) -> (u16, Body, bool) {
        match answer("id", operation, result) {
            Answer::Body { status, body, keep } => (status, body, keep),
            other => panic!("{other:?}"),
        }
    }

    fn data(value: Value) -> Option<Response> {
        Some(Response::data(value.as_object().cloned().expect("object")))
    }

    #[test]
    fn nothing_is_404_for_reads_and_204_for_writes() {
        for operation in [Operation::Read, Operation::List] {
            assert_eq!(status(operation, Ok(None)), (404, errors(&[]), true));
            assert_eq!(status(operation, Ok(Some(Response::default()))), (404, errors(&[]), true));
        }
        for operation in [Operation::Create, Operation::Update, Operation::Patch, Operation::Delete] {
            assert_eq!(status(operation, Ok(None)), (204, Body::Empty, true));
            assert_eq!(status(operation, Ok(Some(Response::default()))), (204, Body::Empty, true));
        }
    }

    #[test]
    fn lists_without_keys_are_404_unless_they_say_something_else() {
        assert_eq!(status(Operation::List, Ok(data(json!({"keys": []})))).0, 404);
        assert_eq!(status(Operation::List, Ok(data(json!({})))).0, 404);
        assert_eq!(status(Operation::List, Ok(data(json!({"keys": ["a"]})))).0, 200);
        assert_eq!(status(Operation::List, Ok(data(json!({"keys": [], "key_info": {}})))).0, 200);
        let warned = data(json!({"keys": []})).map(|response| response.with_warning("w"));
        assert_eq!(status(Operation::List, Ok(warned)).0, 200);
    }

    #[test]
    fn the_envelope_has_its_members_and_repeats_data_where_asked() {
        let (code, body, _) = status(Operation::Read, Ok(data(json!({"a": 1}))));
        let expected = json!({
            "request_id": "id", "lease_id": "", "renewable": false, "lease_duration": 0, "data": {"a": 1},
            "wrap_info": null, "warnings": null, "auth": null,
        });
        assert_eq!((code, body), (200, Body::Json(expected.as_object().cloned().expect("object"))));
        let mut response = data(json!({"sys/": {}})).expect("response");
        response.data_at_top = true;
        let Body::Json(body) = status(Operation::Read, Ok(Some(response))).1 else { panic!("not JSON") };
        assert_eq!(body["sys/"], body["data"]["sys/"]);
    }

    #[test]
    fn warnings_alone_make_a_write_200() {
        let response = Response::default().with_warning("careful");
        assert_eq!(status(Operation::Update, Ok(Some(response))).0, 200);
    }

    #[test]
    fn a_status_of_the_engine_and_raw_bodies_are_kept() {
        let mut response = data(json!({"data": null, "metadata": {}})).expect("response");
        response.status = Some(404);
        let (code, body, keep) = status(Operation::Read, Ok(Some(response)));
        assert!(code == 404 && keep && matches!(body, Body::Json(body) if body.contains_key("request_id")));
        let raw = RawBody { content_type: "text/plain", status: 200, body: b"x".to_vec() };
        let response = Response { raw: Some(raw), ..Response::default() };
        let expected = Body::Raw { content_type: "text/plain", bytes: b"x".to_vec() };
        assert_eq!(status(Operation::Read, Ok(Some(response))), (200, expected, true));
    }

    #[test]
    fn every_error_has_its_status_and_text() {
        let cases = [
            (LogicalError::Invalid("bad".to_owned()), 400, "bad"),
            (LogicalError::Denied, 403, "permission denied"),
            (LogicalError::UnsupportedPath, 404, "unsupported path"),
            (LogicalError::UnsupportedOperation, 405, "unsupported operation"),
            (LogicalError::Internal("disk /dev/x".to_owned()), 500, "internal error"),
            (LogicalError::Refused { class: ErrorClass::TooLarge, message: "big".to_owned() }, 413, "big"),
        ];
        for (error, code, text) in cases {
            assert_eq!(status(Operation::Update, Err(error)), (code, errors(&[text]), false));
        }
        assert_eq!(answer("id", Operation::Read, Err(LogicalError::NeedsActive)), Answer::NeedsActive);
        assert_eq!(
            answer("id", Operation::Read, Err(LogicalError::Unavailable("away".to_owned()))),
            Answer::Failed(CoreError::Unavailable("away".to_owned()))
        );
    }
}
