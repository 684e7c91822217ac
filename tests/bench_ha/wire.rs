//! Clients, as light as they can be: they share the machine with the servers that they measure.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::Http;

/// Longest time of a call.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer.
const ANSWER_BYTES: usize = 16 << 10;

/// Runs clients side by side on one thread of their own.
pub fn on_one_thread<C>(clients: Vec<C>) -> JoinHandle<Vec<C::Output>>
where
    C: Future + Send + 'static,
    C::Output: Send + 'static,
{
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            // As tasks, each is looked at only when something came for it.
            let tasks: Vec<_> = clients.into_iter().map(tokio::spawn).collect();
            join_all(tasks).await.into_iter().map(|done| done.unwrap()).collect()
        })
    })
}

/// One connection: HTTP/1.1, one request after the other.
pub struct Wire {
    stream: TcpStream,
    /// Headers of every request.
    headers: String,
    answer: Vec<u8>,
}

impl Wire {
    /// Connects to the server of `http`, with its token.
    pub async fn open(http: &Http) -> Self {
        let host = http.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let headers = format!("host: {host}\r\nx-vault-token: {}\r\n", http.token);
        Self { stream, headers, answer: Vec::with_capacity(ANSWER_BYTES) }
    }

    /// Calls `/v1/<path>`; the answer must have status 200, and is read and thrown away.
    pub async fn call(&mut self, method: &str, path: &str, body: &str) {
        tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await.expect("an answer in time");
    }

    async fn exchange(&mut self, method: &str, path: &str, body: &str) {
        let (headers, length) = (&self.headers, body.len());
        let request =
            format!("{method} /v1/{path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.answer.clear();
        let mut end = None;
        while end.is_none_or(|end| self.answer.len() < end) {
            assert!(self.answer.len() < ANSWER_BYTES, "a longer answer than any that is asked for");
            assert!(self.stream.read_buf(&mut self.answer).await.unwrap() > 0, "the server hung up");
            end = end.or_else(|| end_of(&self.answer));
        }
        assert!(self.answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.answer));
        assert_eq!(Some(self.answer.len()), end, "more than one answer");
    }
}

/// Where the answer ends whose headers are in `bytes`, once they are.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(head + 4 + length.expect("the length of the answer").parse::<usize>().unwrap())
}
