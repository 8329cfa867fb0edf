//! A server over real HTTP that answers as a test says.
//!
//! Rule: it listens on this machine alone, for as long as it is held. Sockets in a test of this room are an exception, made
//! for the clients of buckets: what they repeat, follow and believe is theirs.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path without the bucket `bucket`.
    pub(super) key: String,
    pub(super) query: String,
    /// The first line and the headers, in small letters.
    pub(super) head: String,
    pub(super) body: Bytes,
}

type Answering = dyn Fn(Request) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send>> + Send + Sync;

/// A server.
pub(super) struct Stub {
    pub(super) endpoint: String,
    seen: Arc<Mutex<Vec<Request>>>,
    _serving: JoinSet<()>,
}

impl Stub {
    /// Answers each request as `answer` says; a connection is open `latency` after it was asked for.
    pub(super) async fn start<F>(
        latency: Duration,
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<u8>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let answer: Arc<Answering> = Arc::new(move |request| Box::pin(answer(request)));
        let (seen, mut serving) = (Arc::<Mutex<Vec<Request>>>::default(), JoinSet::new());
        let noted = Arc::clone(&seen);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                connections.spawn(async move {
                    tokio::time::sleep(latency).await;
                    while let Some(request) = read(&mut stream).await {
                        noted.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                        if stream.write_all(&answer(request).await).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { endpoint, seen, _serving: serving }
    }

    /// A store of objects that looks whether a name is taken, and writes `window` later.
    pub(super) async fn hasty(latency: Duration, window: Duration) -> Self {
        let objects = Arc::<Mutex<BTreeMap<String, Bytes>>>::default();
        Self::start(latency, move |Request { method, key, body, .. }| {
            let objects = Arc::clone(&objects);
            async move {
                let there = objects.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
                match there {
                    Some(bytes) if method == "GET" => response(200, &bytes, false),
                    None if method == "GET" => response(404, b"<Error><Code>NoSuchKey</Code></Error>", false),
                    Some(_) => response(412, b"<Error><Code>PreconditionFailed</Code></Error>", false),
                    None => {
                        tokio::time::sleep(window).await;
                        objects.lock().unwrap_or_else(PoisonError::into_inner).insert(key, body);
                        response(200, b"", false)
                    }
                }
            }
        })
        .await
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The next request on a connection; none when it ends.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("headers are text").to_lowercase();
    let first = std::str::from_utf8(&bytes[..end]).expect("text").lines().next()?.to_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse::<usize>().expect("a number"));
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let key = path.trim_start_matches("/bucket").trim_start_matches('/').to_owned();
    let body = Bytes::copy_from_slice(&bytes[end..end + length]);
    Some(Request { method, key, query: query.to_owned(), head, body })
}

/// An answer of `status`.
pub(super) fn response(status: u16, body: &[u8], head_only: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-length: {}\r\netag: \"1\"\r\n\
         last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
        body.len()
    );
    let body = if head_only { &[][..] } else { body };
    [head.as_bytes(), body].concat()
}
