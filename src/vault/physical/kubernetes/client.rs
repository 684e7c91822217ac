//! Requests to the API server, and what their answers mean.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, DeleteParams, ListParams, PartialObjectMeta, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::{Error, Resource as _};

use super::config::Settings;
use crate::crd::store::{VaultStoreHead, VaultStoreSegment, VaultStoreSegmentSpec};
use crate::k8s::client::{Clients, TIMEOUT};
use crate::k8s::words::{LABEL_STORE, STORE_HEAD};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;

/// The storage as configuration names it.
pub(super) const KIND: &str = "kubernetes";
/// A segment is a hundred times larger than a head.
const SEGMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the API server keeps a watch before it asks for a new one, in seconds.
const WATCH_SECONDS: u32 = 290;
/// Objects a page of a listing.
const PAGE: u32 = 500;

/// How a write of the head ended.
#[derive(Debug)]
pub(super) enum Put {
    /// It is stored.
    Stored(Box<ObjectMeta>),
    /// The object has another version, or exists already: this write is not stored.
    Conflict,
    /// There is no such object: this write is not stored.
    Absent,
    /// The API server turned it away unread.
    Busy,
    /// The API server says that the object is not valid; it will say so again.
    Invalid(StorageError),
    /// Not known.
    Unknown(String),
}

/// The objects of one store.
#[derive(Clone)]
pub(super) struct Objects {
    name: String,
    clients: Clients,
    heads: Api<VaultStoreHead>,
    watched: Api<VaultStoreHead>,
    segments: Api<VaultStoreSegment>,
    namespace: String,
}

impl Objects {
    pub(super) fn new(clients: &Clients, settings: &Settings) -> Self {
        Self {
            name: settings.name.clone(),
            heads: Api::namespaced(clients.requests.clone(), &settings.namespace),
            watched: Api::namespaced(clients.watches.clone(), &settings.namespace),
            segments: Api::namespaced(clients.watches.clone(), &settings.namespace),
            clients: clients.clone(),
            namespace: settings.namespace.clone(),
        }
    }

    /// The head object as the quorum has it; `None` if it is absent.
    pub(super) async fn head(&self) -> Result<Option<VaultStoreHead>, StorageError> {
        bounded(TIMEOUT, self.heads.get_opt(&self.name)).await
    }

    /// The head object's metadata as the quorum has it.
    pub(super) async fn head_meta(&self) -> Result<Option<ObjectMeta>, StorageError> {
        let found = bounded(TIMEOUT, self.heads.get_metadata_opt(&self.name)).await?;
        Ok(found.map(|object| object.metadata))
    }

    /// Watches the head object from `version` on.
    pub(super) async fn watch_head(
        &self,
        version: &str,
    ) -> Result<BoxStream<'static, Result<WatchEvent<VaultStoreHead>, Error>>, StorageError> {
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(WATCH_SECONDS);
        let stream = bounded(TIMEOUT, self.watched.watch(&params, version)).await?;
        Ok(stream.boxed())
    }

    /// Replaces the head object if its version is still the one that `object` carries, or creates it if `object` has
    /// none. `bytes` is the encoded object.
    pub(super) async fn put_head(&self, is_new: bool, bytes: Vec<u8>) -> Put {
        let path = VaultStoreHead::url_path(&(), Some(&self.namespace));
        let request = kube::core::Request::new(path);
        let params = PostParams::default();
        let request =
            if is_new { request.create(&params, bytes) } else { request.replace(&self.name, &params, bytes) };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Put::Unknown(error.to_string()),
        };
        let sent = self.clients.requests.request::<PartialObjectMeta<VaultStoreHead>>(request);
        match tokio::time::timeout(TIMEOUT, sent).await {
            Err(_) => Put::Unknown(format!("no answer within {} s", TIMEOUT.as_secs())),
            Ok(Ok(object)) => Put::Stored(Box::new(object.metadata)),
            Ok(Err(Error::Api(status))) => match status.code {
                409 => Put::Conflict,
                404 => Put::Absent,
                429 => Put::Busy,
                // Too large or against the schema: never stored. A 403 is not on this list, because a server
                // that has just started denies until it has read the roles.
                413 | 422 => {
                    Put::Invalid(StorageError::Denied { storage: KIND, reason: status.message.clone() })
                }
                _ => Put::Unknown(describe(&Error::Api(status))),
            },
            Ok(Err(error)) => Put::Unknown(describe(&error)),
        }
    }

    /// Creates a segment; its uid.
    pub(super) async fn create_segment(&self, name: &str, data: String) -> Result<String, StorageError> {
        let mut segment = VaultStoreSegment::new(name, VaultStoreSegmentSpec { data });
        segment.metadata.labels = Some([(LABEL_STORE.to_owned(), self.name.clone())].into());
        let params = PostParams::default();
        let path = VaultStoreSegment::url_path(&(), Some(&self.namespace));
        let bytes = serde_json::to_vec(&segment).map_err(|error| unavailable(error.to_string()))?;
        let request = kube::core::Request::new(path)
            .create(&params, bytes)
            .map_err(|error| unavailable(error.to_string()))?;
        let sent = self.clients.watches.request::<PartialObjectMeta<VaultStoreSegment>>(request);
        let created = bounded(SEGMENT_TIMEOUT, sent).await?;
        created.metadata.uid.ok_or_else(|| unavailable("a created object came back without uid".to_owned()))
    }

    /// A segment's content as text; `None` if it is absent.
    pub(super) async fn segment(&self, name: &str) -> Result<Option<String>, StorageError> {
        let found = bounded(SEGMENT_TIMEOUT, self.segments.get_opt(name)).await?;
        Ok(found.map(|object| object.spec.data))
    }

    /// Metadata of every segment of this store, at most `most`.
    pub(super) async fn segments(&self, most: usize) -> Result<Vec<ObjectMeta>, StorageError> {
        let mut found = Vec::new();
        let page = PAGE.min(u32::try_from(most).unwrap_or(PAGE));
        let mut params = ListParams::default().labels(&format!("{LABEL_STORE}={}", self.name)).limit(page);
        loop {
            let list = bounded(SEGMENT_TIMEOUT, self.segments.list_metadata(&params)).await?;
            let next = list.metadata.continue_.filter(|token| !token.is_empty());
            found.extend(list.items.into_iter().map(|object| object.metadata));
            match next {
                Some(token) if found.len() < most => params = params.continue_token(&token),
                _ => return Ok(found),
            }
        }
    }

    /// Deletes the segment `name` if it still has `uid`. Deleting what is gone is no error.
    pub(super) async fn delete_segment(&self, name: &str, uid: &str) -> Result<(), StorageError> {
        let preconditions = Preconditions { resource_version: None, uid: Some(uid.to_owned()) };
        let params = DeleteParams::background().preconditions(preconditions);
        let sent = self.segments.delete(name, &params);
        match tokio::time::timeout(TIMEOUT, sent).await {
            Err(_) => Err(late(TIMEOUT)),
            Ok(Err(Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(()),
            Ok(result) => result.map(|_| ()).map_err(|error| refine(&error)),
        }
    }
}

/// The head in an object's metadata.
///
/// # Errors
/// When the annotation is there and is no head.
pub(super) fn head_of(meta: &ObjectMeta) -> Result<Option<Head>, StorageError> {
    let Some(text) = meta.annotations.as_ref().and_then(|all| all.get(STORE_HEAD)) else { return Ok(None) };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| damaged(format!("the annotation {STORE_HEAD} of the head is not a head: {error}")))
}

pub(super) fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { storage: KIND, reason }
}

pub(super) fn unavailable(reason: String) -> StorageError {
    StorageError::Unavailable { storage: KIND, reason }
}

async fn bounded<T>(
    limit: Duration,
    sent: impl Future<Output = Result<T, Error>>,
) -> Result<T, StorageError> {
    match tokio::time::timeout(limit, sent).await {
        Err(_) => Err(late(limit)),
        Ok(result) => result.map_err(|error| refine(&error)),
    }
}

fn late(limit: Duration) -> StorageError {
    unavailable(format!("no answer from the API server within {} s", limit.as_secs()))
}

fn refine(error: &Error) -> StorageError {
    match error {
        Error::Api(status) if matches!(status.code, 401 | 403) => {
            StorageError::Denied { storage: KIND, reason: status.message.clone() }
        }
        // The kind itself is unknown to the API server: its definition is not installed.
        Error::Api(status) if status.code == 404 => {
            unavailable(format!("{} (are the custom resource definitions installed?)", status.message))
        }
        other => unavailable(describe(other)),
    }
}

/// An error with its causes: the outermost alone often says no more than "client error".
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
