//! A client that dies after its k-th write, as the operator's process would.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

/// How many writes may still pass, and how many have.
#[derive(Debug, Default)]
pub struct Tally {
    left: AtomicI64,
    /// Writes that were answered.
    pub done: AtomicI64,
}

impl Tally {
    /// Lets `limit` writes pass.
    pub fn limited(limit: i64) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(limit), done: AtomicI64::new(0) })
    }

    /// Whether the last write that may pass has been answered.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }
}

#[derive(Clone)]
struct Counting(Arc<Tally>);

impl<S> Layer<S> for Counting {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { inner, tally: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
struct Door<S> {
    inner: S,
    tally: Arc<Tally>,
}

impl<S, B> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() != Method::GET;
        let tally = Arc::clone(&self.tally);
        let is_open =
            if is_write { tally.left.fetch_sub(1, Ordering::SeqCst) > 0 } else { !tally.is_spent() };
        if !is_open {
            return Box::pin(async { Err("the process is dead".into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            if is_write {
                tally.done.fetch_add(1, Ordering::SeqCst);
            }
            Ok(response)
        })
    }
}

/// A client of `kubeconfig` behind the door.
pub async fn client(kubeconfig: &std::path::Path, tally: &Arc<Tally>) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    ClientBuilder::try_from(config).unwrap().with_layer(&Counting(Arc::clone(tally))).build()
}
