//! The status server: `/metrics`, `/livez`, `/readyz`, `/statusz`.
//!
//! Rule: it only tells, and tells no secret. Where other machines can reach it, whoever asks for more than a word must
//! bear the token; it is compared in constant time, and read anew for each question, so that it may be changed.
//! Whoever probes with `/livez` and `/readyz` cannot bear tokens, and learns one word.
//!
//! Everything a caller can make grow has a limit: connections, the time and the bytes of a request's head, and the time
//! of a connection. A connection serves one request. Where there are too many, the oldest goes: whoever opens some and
//! says nothing keeps no probe from its answer.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Listen, StatusSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::text;

/// Connections at once; a Prometheus, a probe and a person need three.
const CONNECTIONS: usize = 32;
/// Longest time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Longest time for a connection.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// Largest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// The wait before another connection is taken when the system refuses one.
const REST: Duration = Duration::from_millis(100);

/// Gives what `/statusz` shows.
pub type Describe = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the server tells.
#[derive(Clone)]
pub struct Told {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/livez` and `/readyz`.
    pub health: Arc<Health>,
    /// For `/statusz`.
    pub describe: Describe,
}

/// A server that listens and does not answer yet.
pub struct StatusServer {
    listener: TcpListener,
    site: Site,
}

#[derive(Clone)]
struct Site {
    told: Told,
    token_file: Option<PathBuf>,
}

impl StatusServer {
    /// Listens where the settings say; refuses to be open to other machines without a token.
    pub async fn bind(settings: &StatusSettings, told: Told) -> Result<Option<Self>> {
        let Listen::At(address) = settings.listen else { return Ok(None) };
        settings.check()?;
        if let Some(path) = &settings.token_file {
            try_token(path).await?;
        }
        let listener = TcpListener::bind(address).await.map_err(|cause| {
            // Whoever has the address may be about to leave it, or the address about to come: that is tried again.
            let kind = match cause.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorKind::Config,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("listen on {address}: {cause}"))
                .remedy("set status.listen to an address that is free, or to \"off\"")
        })?;
        Ok(Some(Self { listener, site: Site { told, token_file: settings.token_file.clone() } }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        let router = router(self.site);
        let (mut connections, mut oldest) = (JoinSet::new(), VecDeque::new());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => oldest.retain(|one: &AbortHandle| !one.is_finished()),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        oldest.push_back(connections.spawn(converse(stream, router.clone())));
                        if oldest.len() > CONNECTIONS {
                            oldest.pop_front().into_iter().for_each(|one| one.abort());
                        }
                    }
                    // Out of file descriptors, most likely: trying again at once would only burn time.
                    Err(_) => sleep(REST).await,
                },
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whoever breaks the connection does not want the answer.
    if !matches!(timeout(CONNECTION_TIME, connection).await, Ok(Ok(()))) {
        tracing::debug!("a connection to the status server ended early");
    }
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/statusz", get(statusz))
        .route_layer(middleware::from_fn_with_state(site.clone(), admit))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(site)
}

async fn metrics(State(site): State<Site>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, text::CONTENT_TYPE), (CACHE_CONTROL, "no-store")],
        text::encode(site.told.metrics.samples()),
    )
}

async fn statusz(State(site): State<Site>) -> impl IntoResponse {
    let mut described = format!("{:#}", (site.told.describe)());
    described.push('\n');
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], described)
}

async fn livez(State(site): State<Site>) -> (StatusCode, &'static str) {
    word(site.told.health.is_alive(), "alive\n", "stuck\n")
}

async fn readyz(State(site): State<Site>) -> (StatusCode, &'static str) {
    word(site.told.health.is_ready(), "ready\n", "not ready\n")
}

fn word(is_so: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if is_so { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}

/// Lets through whoever bears the token, if there is one.
async fn admit(State(site): State<Site>, request: Request, next: Next) -> Response {
    let Some(path) = &site.token_file else { return next.run(request).await };
    // A token that cannot be read, or is none, lets nobody in.
    let wanted = token(path).await.unwrap_or_default();
    if !wanted.is_empty() && bears(request.headers(), &wanted) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "a bearer token is asked for\n")
        .into_response()
}

/// Whether the file holds a token that may be asked for.
pub async fn try_token(path: &Path) -> Result<()> {
    let wrong = |what: String| {
        Error::new(ErrorKind::Config, format!("status.token_file {}: {what}", path.display()))
            .remedy("let it hold one line with a long random word")
    };
    match token(path).await {
        Ok(token) if token.is_empty() => Err(wrong("is empty".to_owned())),
        Ok(_) => Ok(()),
        Err(cause) => Err(wrong(cause.to_string())),
    }
}

async fn token(path: &Path) -> std::io::Result<Vec<u8>> {
    tokio::fs::read(path).await.map(|bytes| bytes.trim_ascii().to_vec())
}

fn bears(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let borne = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).and_then(|value| {
        let (scheme, token) = value.split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    });
    // Digests are of one length, so that the time tells not even that.
    borne.is_some_and(|borne| Sha256::digest(borne).ct_eq(&Sha256::digest(wanted)).into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[track_caller]
    fn check(header: &str, expected: bool) {
        let headers = [(AUTHORIZATION, header.parse().expect("a header"))].into_iter().collect();
        assert_eq!(bears(&headers, b"open sesame"), expected, "{header}");
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_no_probe_from_its_answer() {
        let told = Told {
            metrics: Metrics::default(),
            health: Arc::new(Health::new(CONNECTION_TIME)),
            describe: Arc::new(|| Value::Null),
        };
        let listen = Listen::At("127.0.0.1:0".parse().expect("an address"));
        let settings = StatusSettings { listen, ..StatusSettings::default() };
        let server = StatusServer::bind(&settings, told).await.expect("free").expect("not off");
        let address = server.address().expect("it listens");
        let (stop, mut silent) = (CancellationToken::new(), Vec::new());
        let mut served = JoinSet::new();
        served.spawn(server.serve(stop.clone()));
        for _ in 0..2 * CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(b"GET /livez HT").await.expect("open");
            silent.push(stream);
        }
        let mut probe = TcpStream::connect(address).await.expect("it listens");
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("open");
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        // The oldest gave way, and the youngest need not: nobody waited for the limit of either.
        let youngest = silent.last().expect("many").try_read(&mut [0]).expect_err("nothing was said");
        assert_eq!(youngest.kind(), std::io::ErrorKind::WouldBlock);
        assert!(!matches!(silent[0].read(&mut [0]).await, Ok(1..)));
        stop.cancel();
        served.join_next().await.expect("it was begun").expect("it ends");
    }

    #[test]
    fn only_the_whole_token_opens() {
        check("Bearer open sesame", true);
        check("bearer open sesame ", true);
        for wrong in
            ["Bearer open sesam", "Bearer open sesame!", "Bearer ", "Bearer", "Basic open sesame", "", "é"]
        {
            check(wrong, false);
        }
        assert!(!bears(&HeaderMap::new(), b"open sesame"));
    }
}
