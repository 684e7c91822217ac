//! A plain-HTTP door to the API server that counts writes: it forwards everything, and when the k-th write has been
//! answered by the API server it stops forwarding and says so, before the operator sees the answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;

type Body = BoxBody<Bytes, hyper::Error>;

pub struct Door {
    pub address: SocketAddr,
    pub writes: Arc<AtomicU64>,
    pub reached: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a door to `server` (host:port over TLS trusted by `ca`), authenticating with `token`. After `limit` answered
/// writes nothing passes any more.
pub async fn open(server: &str, ca: &str, token: &str, limit: u64) -> Result<Door, String> {
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(|e| format!("{e:?}"))?).map_err(|e| e.to_string())?;
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let https =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Incoming>(https);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let writes = Arc::new(AtomicU64::new(0));
    let reached = Arc::new(Notify::new());
    let (server, token) = (server.to_owned(), token.to_owned());
    let task = tokio::spawn({
        let (writes, reached) = (writes.clone(), reached.clone());
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (client, server, token) = (client.clone(), server.clone(), token.clone());
                let (writes, reached) = (writes.clone(), reached.clone());
                tokio::spawn(async move {
                    let serve = service_fn(move |mut request: hyper::Request<Incoming>| {
                        let (client, writes, reached) = (client.clone(), writes.clone(), reached.clone());
                        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
                        let uri = format!("https://{server}{path}");
                        let token = token.clone();
                        async move {
                            if writes.load(Ordering::SeqCst) >= limit {
                                std::future::pending::<()>().await;
                            }
                            let is_write = request.method() != "GET";
                            *request.uri_mut() = uri.parse().expect("a valid address");
                            request.headers_mut().remove("host");
                            request.headers_mut().insert(
                                "authorization",
                                format!("Bearer {token}").parse().expect("a valid header"),
                            );
                            let answer = match client.request(request).await {
                                Ok(answer) => answer.map(BodyExt::boxed),
                                Err(error) => hyper::Response::builder()
                                    .status(502)
                                    .body(
                                        Full::new(Bytes::from(error.to_string()))
                                            .map_err(|n| match n {})
                                            .boxed(),
                                    )
                                    .expect("a valid answer"),
                            };
                            if is_write && writes.fetch_add(1, Ordering::SeqCst) + 1 >= limit {
                                reached.notify_one();
                                std::future::pending::<()>().await;
                            }
                            Ok::<hyper::Response<Body>, Infallible>(answer)
                        }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), serve)
                        .await
                        .ok();
                });
            }
        }
    });
    Ok(Door { address, writes, reached, task })
}
