//! One connection of a client, as light as it can be: clients share the machine with the servers that they measure.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::http::Http;

/// Longest time of a call.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Wire {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Wire {
    /// Connects to the server of `http`, with its token.
    pub async fn open(http: &Http) -> Self {
        let host = http.url.strip_prefix("http://").unwrap().to_owned();
        let stream = TcpStream::connect(&host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the sender; what breaks it is told to the sender.
        tokio::spawn(connection);
        Self { sender, host, token: http.token.clone() }
    }

    /// Calls `/v1/<path>`; the answer must have status 200, and is read and thrown away.
    pub async fn call(&mut self, method: Method, path: &str, body: Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("host", &self.host)
            .header("x-vault-token", &self.token)
            .body(Full::new(body))
            .unwrap();
        let call = async {
            self.sender.ready().await.unwrap();
            let response = self.sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        };
        tokio::time::timeout(PATIENCE, call).await.expect("an answer in time");
    }
}
