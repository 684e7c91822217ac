//! [`Inbound`]: a request with its body, and what of it goes into the pipeline.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use serde_json::{Map, Value};

use super::index::{INDEX, Index};
use super::query::{self, Query};
use super::respond::Refusal;
use super::serve::Staleness;
use crate::base::class::ErrorClass;
use crate::base::duration;
use crate::base::secret::SecretString;
use crate::vault::core::Call;
use crate::vault::logical::Operation;
use crate::vault::physical::Head;

/// Header: most staleness that a read accepts, as a duration.
pub(super) const MAX_STALENESS: &str = "x-holdfast-max-staleness";
/// Header of an answer: how old it may be, in milliseconds; present only where staleness was accepted and used.
pub(super) const STALENESS: &str = "x-holdfast-staleness";
/// Header: a standby answers with a redirect instead of forwarding.
pub(super) const NO_FORWARDING: &str = "x-vault-no-request-forwarding";

/// Header: `active-node` asks that a standby forwards the request even if it could answer it.
const FORWARD: &str = "x-vault-forward";
/// Indexes of one request that are looked at: client libraries keep one or two.
const INDEXES: usize = 16;

/// What a request says about the state that it wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The active node is to answer.
    pub active: bool,
    /// What the client has seen already.
    pub seen: Vec<Index>,
}

impl Wish {
    /// Whether something that the client has seen is not in the state at `head`.
    pub(super) fn misses(&self, head: &Head) -> bool {
        self.seen.iter().any(|index| index.is_missing_at(head))
    }
}

/// A request whose body has been read.
#[derive(Debug, Clone)]
pub(super) struct Inbound {
    /// UUID, in log and answer.
    pub id: String,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the client's connection came from.
    pub remote: Option<IpAddr>,
    /// Sent by a standby: it is never sent on.
    pub from_peer: bool,
}

impl Inbound {
    /// A header's text; `None` if it is absent or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The decoded path after `/v1/`.
    pub(super) fn path(&self) -> Result<String, Refusal> {
        let raw = self.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let path = query::decode_path(raw).ok_or_else(|| Refusal::invalid("the path is not valid UTF-8"))?;
        if path.chars().any(|c| c.is_control() || matches!(c, '\u{fffd}' | '\u{2028}' | '\u{2029}')) {
            return Err(Refusal::invalid("the path contains non-printable characters"));
        }
        if path.split('/').any(|segment| segment == "..") {
            return Err(Refusal::invalid("relative paths not supported"));
        }
        Ok(path)
    }

    /// The query.
    pub(super) fn query(&self) -> Result<Query, Refusal> {
        Query::parse(self.uri.query().unwrap_or_default())
            .ok_or_else(|| Refusal::invalid("the query string is not valid UTF-8"))
    }

    /// The JSON object in the body, or the form fields where that is what the body holds. Clients send JSON under any
    /// content type or none.
    pub(super) fn fields(&self) -> Result<Map<String, Value>, Refusal> {
        let first = self.body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let is_form = self
            .header(header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        match first {
            None => Ok(Map::new()),
            Some(byte) if is_form && !matches!(byte, b'{' | b'[') => {
                let text = std::str::from_utf8(&self.body).ok().and_then(Query::parse);
                text.map(Query::into_fields).ok_or_else(|| Refusal::invalid("the form is not valid UTF-8"))
            }
            Some(_) => serde_json::from_slice(&self.body).map_err(|error| {
                // The error's own text may quote the body: only its place is told.
                let (line, column) = (error.line(), error.column());
                Refusal::invalid(format!(
                    "failed to parse JSON input: no JSON object (line {line}, column {column})"
                ))
            }),
        }
    }

    /// The request as the pipeline takes it.
    ///
    /// # Errors
    /// With the status and text for the caller.
    pub(super) fn call(&self, staleness: Staleness) -> Result<Call, Refusal> {
        self.check_namespace()?;
        let mut path = self.path()?;
        let mut query = self.query()?;
        let operation = operation(&self.method, &mut query)?;
        let data = match operation {
            Operation::Update | Operation::Create | Operation::Patch => {
                if path.ends_with('/') {
                    return Err(Refusal::invalid("cannot write to a path ending in '/'"));
                }
                if operation == Operation::Patch {
                    self.check_patch()?;
                }
                self.fields()?
            }
            Operation::List => {
                if !path.ends_with('/') {
                    path.push('/');
                }
                query.into_fields()
            }
            Operation::Read | Operation::Delete => query.into_fields(),
        };
        Ok(Call {
            id: self.id.clone(),
            operation,
            path,
            data,
            token: self.token(),
            remote: self.remote,
            wrap_ttl_seconds: self.wrap_ttl()?,
            max_staleness_ms: self.max_staleness(staleness)?,
        })
    }

    /// What the request says about the state that it wants to see. `X-Vault-Inconsistent` adds nothing: a node that lacks
    /// what the client has seen waits for it and then sends the request on, whichever of its values was sent.
    ///
    /// # Errors
    /// Where a header has no meaning.
    pub(super) fn wish(&self) -> Result<Wish, Refusal> {
        let active = match self.header(FORWARD).map(str::trim) {
            None | Some("") => false,
            Some("active-node") => true,
            Some(other) => {
                return Err(Refusal::invalid(format!("X-Vault-Forward: {other:?} is not \"active-node\"")));
            }
        };
        let indexes = self.headers.get_all(INDEX).iter().take(INDEXES);
        let seen = indexes.map(|value| value.to_str().ok().and_then(Index::parse)).collect::<Option<_>>();
        let seen = seen.ok_or_else(|| Refusal::invalid("X-Vault-Index: it is not what an answer carried"))?;
        Ok(Wish { active, seen })
    }

    fn token(&self) -> SecretString {
        let given = self.header("x-vault-token");
        let bearer = || self.header(header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ");
        SecretString::from(given.or_else(bearer).unwrap_or_default().trim())
    }

    fn wrap_ttl(&self) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.header("x-vault-wrap-ttl").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let ttl =
            duration::parse(text).ok_or_else(|| Refusal::invalid("error parsing X-Vault-Wrap-TTL header"))?;
        Ok((ttl.as_secs() > 0).then_some(ttl.as_secs()))
    }

    /// A client that names an index wants to read its own writes: for it, and by default, reads are linearizable.
    fn max_staleness(&self, staleness: Staleness) -> Result<u64, Refusal> {
        if self.headers.contains_key(INDEX) {
            return Ok(0);
        }
        let Some(text) = self.header(MAX_STALENESS) else { return Ok(staleness.default_ms) };
        let span = duration::parse(text).ok_or_else(|| {
            Refusal::invalid(format!("{MAX_STALENESS}: {text:?} is not a duration such as 5s"))
        })?;
        Ok(u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(staleness.limit_ms))
    }

    fn check_namespace(&self) -> Result<(), Refusal> {
        match self.header("x-vault-namespace").map(|name| name.trim_matches('/')) {
            None | Some("" | "root") => Ok(()),
            Some(_) => Err(Refusal::of(ErrorClass::NotFound, "namespace not found")),
        }
    }

    fn check_patch(&self) -> Result<(), Refusal> {
        const MERGE: &str = "application/merge-patch+json";
        let kind =
            self.header(header::CONTENT_TYPE.as_str()).and_then(|kind| kind.split(';').next()).map(str::trim);
        match kind {
            Some(MERGE) => Ok(()),
            None | Some("") => Err(Refusal::invalid(format!("PATCH requires Content-Type: {MERGE}"))),
            Some(other) => {
                Err(Refusal::unsupported_media(format!("PATCH requires Content-Type: {MERGE}, not {other}")))
            }
        }
    }
}

fn operation(method: &Method, query: &mut Query) -> Result<Operation, Refusal> {
    match method.as_str() {
        "GET" => {
            let lists = match query.take("list") {
                None => false,
                Some(text) => query::parse_bool(&text)
                    .ok_or_else(|| Refusal::invalid(format!("list={text} is neither true nor false")))?,
            };
            Ok(if lists { Operation::List } else { Operation::Read })
        }
        "LIST" => {
            query.take("list");
            Ok(Operation::List)
        }
        "POST" | "PUT" => Ok(Operation::Update),
        "PATCH" => Ok(Operation::Patch),
        "DELETE" => Ok(Operation::Delete),
        _ => Err(Refusal::method_not_allowed()),
    }
}
