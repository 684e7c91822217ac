//! Sending a request on to the active node, and the words in which nodes say what became of it.

use std::net::IpAddr;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::inbound::Inbound;
use super::pool::Pool;
use super::respond;
use crate::vault::physical::ActiveRecord;

/// Header between nodes: the identity of the one that speaks.
pub(super) const NODE: &str = "x-holdfast-node";
/// Header between nodes: the client's address.
pub(super) const REMOTE: &str = "x-holdfast-remote";
/// Header between nodes: the request's UUID, the same in every node's log.
pub(super) const REQUEST_ID: &str = "x-holdfast-request-id";
/// Header between nodes: what became of a request that was not answered. Never sent to clients.
pub(super) const OUTCOME: &str = "x-holdfast-outcome";
/// Value of [`OUTCOME`]: the node is not, or no longer, active, and nothing was written.
const NOT_EXECUTED: HeaderValue = HeaderValue::from_static("not-executed");

/// Headers that belong to a connection, not to a request.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// What became of a request that was sent on.
pub(super) enum Forwarded {
    /// The active node's answer.
    Answer(Response<HttpBody>),
    /// It certainly was not carried out.
    NotExecuted(String),
    /// It may have been carried out.
    Maybe(String),
}

/// Sends `inbound` to the active node and waits for its answer.
pub(super) async fn forward(pool: &Pool, own: &str, leader: &ActiveRecord, inbound: &Inbound) -> Forwarded {
    let request = match request(own, leader, inbound) {
        Ok(request) => request,
        Err(error) => return Forwarded::NotExecuted(error.to_string()),
    };
    match pool.send(&leader.cluster_addr, request).await {
        Ok(response) if response.headers().contains_key(OUTCOME) => {
            Forwarded::NotExecuted(format!("{} is not active any more", leader.identity))
        }
        Ok(response) => Forwarded::Answer(pass_on(response)),
        Err(error) if error.is_unsent() => Forwarded::NotExecuted(error.to_string()),
        Err(error) => Forwarded::Maybe(error.to_string()),
    }
}

fn request(own: &str, leader: &ActiveRecord, inbound: &Inbound) -> Result<Request<Full<Bytes>>, http::Error> {
    let target = inbound.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder()
        .method(inbound.method.clone())
        .uri(target)
        .body(Full::new(inbound.body.clone()))?;
    let headers = request.headers_mut();
    *headers = inbound.headers.clone();
    strip(headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    let authority = leader.cluster_addr.split("://").last().unwrap_or_default();
    headers.insert(header::HOST, HeaderValue::from_str(authority)?);
    headers.insert(NODE, HeaderValue::from_str(own)?);
    headers.insert(REQUEST_ID, HeaderValue::from_str(&inbound.id)?);
    headers.remove(REMOTE);
    if let Some(remote) = inbound.remote {
        headers.insert(REMOTE, HeaderValue::from_str(&remote.to_string())?);
    }
    Ok(request)
}

fn pass_on(response: Response<Bytes>) -> Response<HttpBody> {
    let (mut parts, body) = response.into_parts();
    strip(&mut parts.headers);
    parts.headers.remove(NODE);
    // The client's connection may speak another version of HTTP than the nodes among themselves.
    parts.version = http::Version::default();
    Response::from_parts(parts, HttpBody::from(body))
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The answer to a peer that sent a request on to a node that is not active.
pub(super) fn not_executed() -> Response<HttpBody> {
    let mut response = respond::empty(StatusCode::MISDIRECTED_REQUEST);
    response.headers_mut().insert(OUTCOME, NOT_EXECUTED);
    response
}

/// What a peer says of the client: its address and the request's UUID.
pub(super) fn origin(headers: &HeaderMap) -> (Option<IpAddr>, Option<String>) {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let remote = text(REMOTE).and_then(|ip| ip.parse().ok());
    let id = text(REQUEST_ID).filter(|id| id.len() <= 64).map(str::to_owned);
    (remote, id)
}

/// Removes what only peers may say, from the headers of a client's request.
pub(super) fn distrust(headers: &mut HeaderMap) {
    for name in [NODE, REMOTE, REQUEST_ID, OUTCOME] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_request_is_sent_on_without_what_belongs_to_its_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("host", "vault.example"),
            ("x-vault-token", "t"),
            ("x-holdfast-remote", "6.6.6.6"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let inbound = Inbound {
            id: "id-1".to_owned(),
            method: Method::PUT,
            uri: "/v1/secret/a%20b?x=1".parse().unwrap(),
            headers,
            body: Bytes::from_static(b"{}"),
            remote: Some("10.0.0.9".parse().unwrap()),
            from_peer: false,
        };
        let leader = ActiveRecord {
            identity: "vault-0_u_r".to_owned(),
            epoch: 3,
            api_addr: "https://10.1.2.3:8200".to_owned(),
            cluster_addr: "https://10.1.2.3:8201".to_owned(),
        };
        let request = request("vault-1_u_r", &leader, &inbound).unwrap();
        assert_eq!(request.uri(), "/v1/secret/a%20b?x=1");
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", NODE, REMOTE, REQUEST_ID, "x-vault-token"]);
        assert_eq!(request.headers()["host"], "10.1.2.3:8201");
        assert_eq!(request.headers()[REMOTE], "10.0.0.9");
    }
}
