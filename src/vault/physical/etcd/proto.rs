//! The messages of etcd's v3 API that are used here, with the field numbers of its `rpc.proto` and `kv.proto`.
//!
//! Fields that are never read or set are left out; an unknown field of an answer is skipped.

use std::fmt;

use bytes::Bytes;
use prost::{Message, Oneof};

/// `KV.Range`.
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
/// `KV.Txn`.
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";
/// `Watch.Watch`, a stream both ways.
pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// `Auth.Authenticate`.
pub(super) const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
/// `Maintenance.Status`, answered by a member alone.
pub(super) const STATUS: &str = "/etcdserverpb.Maintenance/Status";

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseHeader {
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    /// Empty: `key` alone; else all keys from `key` up to this one, which is left out.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) range_end: Bytes,
    /// 0: all.
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    #[prost(bool, tag = "8")]
    pub(super) keys_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub(super) more: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRangeResponse {}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Request {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    Delete(DeleteRangeRequest),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestOp {
    #[prost(oneof = "Request", tags = "1, 2, 3")]
    pub(super) request: Option<Request>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Response {
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    #[prost(message, tag = "2")]
    Put(PutResponse),
    #[prost(message, tag = "3")]
    Delete(DeleteRangeResponse),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseOp {
    #[prost(oneof = "Response", tags = "1, 2, 3")]
    pub(super) response: Option<Response>,
}

/// `Compare.CompareTarget.VERSION`; `CompareResult.EQUAL` is 0 and never set.
pub(super) const TARGET_VERSION: i32 = 0;
/// `Compare.CompareTarget.CREATE`.
pub(super) const TARGET_CREATE: i32 = 1;
/// `Compare.CompareTarget.MOD`.
pub(super) const TARGET_MOD: i32 = 2;
/// `Compare.CompareTarget.VALUE`.
pub(super) const TARGET_VALUE: i32 = 3;

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Target {
    #[prost(int64, tag = "4")]
    Version(i64),
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
}

/// A condition; it always asks whether the two are equal.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Compare {
    #[prost(int32, tag = "2")]
    pub(super) target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) key: Bytes,
    #[prost(oneof = "Target", tags = "4, 5, 6, 7")]
    pub(super) to: Option<Target>,
    /// With it the condition must hold for every key from `key` up to this one, and holds if there is none.
    #[prost(bytes = "bytes", tag = "64")]
    pub(super) range_end: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    #[prost(bool, tag = "2")]
    pub(super) succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    pub(super) responses: Vec<ResponseOp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    #[prost(string, tag = "6")]
    pub(super) cancel_reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(int64, tag = "3")]
    pub(super) db_size: i64,
    /// Grows with every election.
    #[prost(uint64, tag = "6")]
    pub(super) raft_term: u64,
    #[prost(bool, tag = "10")]
    pub(super) is_learner: bool,
    /// From 3.6 on; 0 before.
    #[prost(int64, tag = "12")]
    pub(super) db_size_quota: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AuthenticateRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) password: String,
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthenticateRequest({})", self.name)
    }
}

impl Drop for AuthenticateRequest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.password);
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AuthenticateResponse {
    #[prost(string, tag = "2")]
    pub(super) token: String,
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticateResponse(..)")
    }
}

impl RangeRequest {
    /// Asks for one key.
    pub(super) fn of(key: Bytes) -> Self {
        Self { key, ..Self::default() }
    }
}

impl From<RangeRequest> for RequestOp {
    fn from(range: RangeRequest) -> Self {
        Self { request: Some(Request::Range(range)) }
    }
}

impl RequestOp {
    /// Stores a key.
    pub(super) fn put(key: Bytes, value: Bytes) -> Self {
        Self { request: Some(Request::Put(PutRequest { key, value })) }
    }

    /// Removes a key.
    pub(super) fn delete(key: Bytes) -> Self {
        Self { request: Some(Request::Delete(DeleteRangeRequest { key })) }
    }
}

impl Compare {
    /// There is no key from `key` up to `range_end` (empty: there is no `key`).
    pub(super) fn absent(key: Bytes, range_end: Bytes) -> Self {
        Self { target: TARGET_CREATE, key, to: Some(Target::CreateRevision(0)), range_end }
    }

    /// `key` is there with this very value.
    pub(super) fn value(key: Bytes, value: Bytes) -> Self {
        Self { target: TARGET_VALUE, key, to: Some(Target::Value(value)), ..Self::default() }
    }

    /// `key` was last changed at this revision.
    pub(super) fn changed_at(key: Bytes, revision: i64) -> Self {
        Self { target: TARGET_MOD, key, to: Some(Target::ModRevision(revision)), ..Self::default() }
    }

    /// What never holds: no key has a version below zero.
    pub(super) fn never(key: Bytes) -> Self {
        Self { target: TARGET_VERSION, key, to: Some(Target::Version(-1)), ..Self::default() }
    }
}

impl TxnResponse {
    /// What the range at this place of the branch found.
    pub(super) fn range(&mut self, place: usize) -> Option<RangeResponse> {
        match self.responses.get_mut(place)?.response.take()? {
            Response::Range(range) => Some(range),
            Response::Put(_) | Response::Delete(_) => None,
        }
    }
}
