//! How what a run says leaves this machine: pings, pushes and spans.
//!
//! Rule: every request has a deadline, is tried a few times at most, follows no redirect, and an error never names the
//! address: it may be a secret.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use tokio::time::{sleep, timeout};
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Longest time for one try.
const DEADLINE: Duration = Duration::from_secs(2);
/// Tries for one message.
const TRIES: u32 = 3;
/// The wait before the second try; twice as long before the third.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest answer that is read; nobody looks at it.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends messages. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Post(reqwest::Client);

impl Post {
    /// Makes ready to send.
    pub(super) fn new() -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("asana-backup/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .build()
            .map_err(|cause| Error::new(ErrorKind::Config, cause.to_string()).doing("prepare connections"))?;
        Ok(Self(client))
    }

    /// Posts `body`, and tries again where that may help. The error says what went wrong, and not where.
    pub(super) async fn post(
        &self,
        url: &Url,
        content_type: &'static str,
        body: &str,
    ) -> std::result::Result<(), String> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let request = Request::post(url.as_str())
                .header(CONTENT_TYPE, content_type)
                .body(Bytes::copy_from_slice(body.as_bytes()))
                .map_err(|cause| cause.to_string())?;
            let why = match self.send(request, DEADLINE).await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if !is_passing(answer.status()) => {
                    return Err(format!("answered {}", answer.status()));
                }
                Ok(answer) => format!("answered {}", answer.status()),
                Err(why) => why,
            };
            if attempt == TRIES {
                return Err(why);
            }
            sleep(wait).await;
            wait *= 2;
        }
        Ok(())
    }

    /// Sends one request, once.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> std::result::Result<Response<Bytes>, String> {
        let exchange = async {
            let request = reqwest::Request::try_from(request)?;
            let mut response = self.0.execute(request).await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BYTES {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let mut answer = Response::new(Bytes::from(body));
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok::<_, reqwest::Error>(answer)
        };
        match timeout(deadline, exchange).await {
            Ok(outcome) => outcome.map_err(|cause| in_full(&cause.without_url())),
            Err(_) => Err(format!("no answer within {} s", deadline.as_secs_f64())),
        }
    }
}

/// Whether the same message may be taken a moment later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
