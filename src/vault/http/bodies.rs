//! [`Bodies`]: the bodies of requests, bounded each and all together.
//!
//! A body is kept until its request is answered, since it may have to be sent again. Whoever can connect can send one,
//! token or not; so what all of them may take of the memory is limited, however many connections there are.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::respond::Refusal;
use super::serve::RequestLimits;
use crate::base::class::ErrorClass;

/// Bytes that larger bodies take together.
const TOTAL_BYTES: usize = 256 << 20;
/// Bodies up to this size need no place: the number of connections and of their streams bounds them.
const SMALL_BYTES: usize = 4 << 10;
/// Places are counted in units of this size.
const UNIT_BYTES: usize = 4 << 10;
/// How long a body waits for its place.
const PATIENCE: Duration = Duration::from_secs(2);

/// The memory that the bodies of a node's requests may take.
#[derive(Debug)]
pub(super) struct Bodies {
    places: Arc<Semaphore>,
    units: u32,
}

/// A body that was read, and its place; given back on drop.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::of(TOTAL_BYTES)
    }
}

impl Bodies {
    fn of(total_bytes: usize) -> Self {
        let units = u32::try_from(total_bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        Self { places: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Takes every place.
    #[cfg(test)]
    pub(super) async fn fill(&self) -> OwnedSemaphorePermit {
        self.place(usize::MAX).await.unwrap()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// 413 if it is larger than the listener takes, 408 if it does not arrive in time, 503 if too many others are large,
    /// and 400 if it ends early.
    pub(super) async fn read(&self, body: HttpBody, limits: &RequestLimits) -> Result<Kept, Refusal> {
        tokio::time::timeout(limits.read, self.collect(body, limits.body_bytes)).await.unwrap_or_else(|_| {
            Err(Refusal {
                status: StatusCode::REQUEST_TIMEOUT,
                message: Some(format!(
                    "the request's body did not arrive within {} s",
                    limits.read.as_secs()
                )),
            })
        })
    }

    async fn collect(&self, mut body: HttpBody, most: usize) -> Result<Kept, Refusal> {
        let declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > most) {
            return Err(too_large(most));
        }
        let mut place = match declared {
            Some(bytes) if bytes > SMALL_BYTES => Some(self.place(bytes).await?),
            _ => None,
        };
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::invalid("the request's body ended early"))?;
            // Trailers mean nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if all.is_empty() && body.is_end_stream() && data.len() <= most {
                return Ok(Kept { bytes: data, _place: place });
            }
            let length = all.len() + data.len();
            if length > most {
                return Err(too_large(most));
            }
            if place.is_none() && length > SMALL_BYTES {
                // It did not say how much will come.
                place = Some(self.place(most).await?);
            }
            if all.is_empty() {
                all.reserve(declared.unwrap_or(length));
            }
            all.extend_from_slice(&data);
        }
        Ok(Kept { bytes: all.freeze(), _place: place })
    }

    async fn place(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        // One that is larger than all may be together comes alone.
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_many_owned(units)).await;
        match place {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => Err(Refusal::of(
                ErrorClass::Unavailable,
                "too many large requests are under way on this node: try again".to_owned(),
            )),
        }
    }
}

fn too_large(most: usize) -> Refusal {
    Refusal::of(ErrorClass::TooLarge, format!("http: request body too large: more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const MOST: usize = 1 << 20;

    fn limits() -> RequestLimits {
        RequestLimits { body_bytes: MOST, ..RequestLimits::default() }
    }

    /// A body in parts, whose length nobody knows before it has ended.
    fn parts(count: usize, bytes: usize) -> HttpBody {
        let part = move |_| Ok::<_, std::io::Error>(Bytes::from(vec![7; bytes]));
        HttpBody::from_stream(stream::iter((0..count).map(part)))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_together_and_give_their_place_back() {
        let bodies = Bodies::of(2 * MOST);
        let large = || HttpBody::from(vec![1; MOST]);
        let first = bodies.read(large(), &limits()).await.unwrap();
        let second = bodies.read(parts(16, MOST / 16), &limits()).await.unwrap();
        assert_eq!((first.bytes.len(), second.bytes.len()), (MOST, MOST));
        for body in [large(), parts(2, SMALL_BYTES)] {
            let refused = bodies.read(body, &limits()).await.unwrap_err();
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        }
        // Small ones are not held up by large ones, also in parts.
        for body in [HttpBody::from(vec![1; SMALL_BYTES]), parts(2, SMALL_BYTES / 2), HttpBody::empty()] {
            bodies.read(body, &limits()).await.unwrap();
        }
        drop(first);
        assert_eq!(bodies.read(large(), &limits()).await.unwrap().bytes.len(), MOST);
        drop(second);
        assert_eq!(bodies.places.available_permits(), 2 * MOST / UNIT_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_large_or_late_is_refused_for_that() {
        let bodies = Bodies::of(MOST / 2);
        for body in [HttpBody::from(vec![1; MOST + 1]), parts(3, MOST / 2)] {
            let refused = bodies.read(body, &limits()).await.unwrap_err();
            assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
        let whole = bodies.read(HttpBody::from(vec![1; MOST]), &limits()).await.unwrap();
        assert_eq!(whole.bytes.len(), MOST, "alone it may be larger than all together");
        let never = HttpBody::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = bodies.read(never, &limits()).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
        let refused = bodies.read(HttpBody::from_stream(broken), &limits()).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
}
