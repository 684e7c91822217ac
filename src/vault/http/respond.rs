//! Answers: the one mapping from error classes to statuses, and the headers that every answer has.

use axum::body::Body as HttpBody;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::inbound::STALENESS;
use super::index::{INDEX, Index};
use crate::base::class::ErrorClass;
use crate::vault::core::{Body, Reply};
use crate::vault::physical::Confirmed;

/// Seconds after which a client should try again what was answered with 503.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// Room that most answers fit into.
const USUAL_BYTES: usize = 1 << 10;

/// The status of an error. The only place that decides it.
pub(super) fn status_of(class: ErrorClass) -> StatusCode {
    match class {
        ErrorClass::Invalid => StatusCode::BAD_REQUEST,
        ErrorClass::Denied => StatusCode::FORBIDDEN,
        ErrorClass::NotFound => StatusCode::NOT_FOUND,
        ErrorClass::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorClass::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorClass::Conflict => StatusCode::PRECONDITION_FAILED,
        ErrorClass::Unavailable | ErrorClass::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A request that the HTTP face itself refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub message: Option<String>,
}

impl Refusal {
    /// An error of `class` with a text for the caller.
    pub(super) fn of(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { status: status_of(class), message: Some(message.into()) }
    }

    /// The input is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::of(ErrorClass::Invalid, message)
    }

    /// The body is of a kind that is not understood.
    pub(super) fn unsupported_media(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, message: Some(message.into()) }
    }

    /// The method means nothing here.
    pub(super) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, message: None }
    }

    /// There is nothing at this path.
    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, message: None }
    }

    /// As an answer.
    pub(super) fn into_response(self) -> Response<HttpBody> {
        let errors: Vec<String> = self.message.into_iter().collect();
        json(self.status, &json!({ "errors": errors }))
    }
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &Value) -> Response<HttpBody> {
    let mut text = Vec::with_capacity(USUAL_BYTES);
    // Only a map whose keys are no texts has no JSON form, and a buffer takes everything.
    let _ = serde_json::to_writer(&mut text, body);
    text.push(b'\n');
    bytes(status, "application/json", text)
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<HttpBody> {
    with_headers(status, HttpBody::empty())
}

fn bytes(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<HttpBody> {
    let mut response = with_headers(status, HttpBody::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with_headers(status: StatusCode, body: HttpBody) -> Response<HttpBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The pipeline's answer as HTTP.
pub(super) fn reply(reply: Reply) -> Response<HttpBody> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.body {
        Body::Empty => empty(status),
        Body::Json(map) => json(status, &Value::Object(map)),
        Body::Raw { content_type, bytes: body } => bytes(status, content_type, body),
    };
    proof(&mut response, &reply.confirmed);
    response
}

fn proof(response: &mut Response<HttpBody>, confirmed: &Confirmed) {
    if let Ok(value) = HeaderValue::from_str(&Index::of(&confirmed.head).to_string()) {
        response.headers_mut().insert(HeaderName::from_static(INDEX), value);
    }
    if let Some(age) = confirmed.staleness_ms {
        response.headers_mut().insert(HeaderName::from_static(STALENESS), HeaderValue::from(age));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_status() {
        let statuses = [
            (ErrorClass::Invalid, 400),
            (ErrorClass::Denied, 403),
            (ErrorClass::NotFound, 404),
            (ErrorClass::Unsupported, 405),
            (ErrorClass::TooLarge, 413),
            (ErrorClass::Conflict, 412),
            (ErrorClass::Unavailable, 503),
            (ErrorClass::Unknown, 503),
            (ErrorClass::Internal, 500),
        ];
        for (class, status) in statuses {
            assert_eq!(status_of(class).as_u16(), status, "{class:?}");
        }
    }

    #[test]
    fn a_503_says_when_to_try_again() {
        let response = Refusal::of(ErrorClass::Unavailable, "Vault is sealed").into_response();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(!Refusal::not_found().into_response().headers().contains_key("retry-after"));
    }
}
