//! One request and its answer, whole.
//!
//! Rule: an answer is whole or it is none. A connection that breaks, a body shorter than it was said to be, one that is
//! larger than we read and one that takes too long are told apart from what Asana says. No address, token or query is
//! part of what went wrong.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;
use tower::{BoxError, ServiceExt};
use url::Url;

use crate::asana::answer::{Envelope, Refusal};
use crate::asana::client::Inner;
use crate::asana::http::{Ask, Decode, date};
use crate::asana::network::{AnswerBody, Get};
use crate::asana::token::Bearer;
use crate::clock::Offset;

/// An answer to its last byte.
#[derive(Debug)]
pub(super) struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The number of the token that asked.
    pub token: u64,
    pub began_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

/// A good answer, read.
#[derive(Debug)]
pub(super) struct Reading<T> {
    pub data: T,
    pub next_offset: Option<String>,
    /// The number of the token that asked.
    pub token: u64,
    pub began_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

impl Whole {
    /// Takes from the envelope what is needed, or says in a few words why it cannot.
    pub(super) fn read<T>(&self, decode: Decode<T>) -> Result<Reading<T>, &'static str> {
        let envelope = Envelope::read(&self.body)?;
        let data = decode(&envelope)?;
        Ok(Reading {
            data,
            next_offset: envelope.next_offset,
            token: self.token,
            began_at: self.began_at,
            seen_at: self.seen_at,
        })
    }
}

/// Why there is no whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Late(Duration),
    Connection(String),
    Short { received: u64, promised: u64 },
    Large { limit: usize },
}

impl Broken {
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::without_answer(match self {
            Self::Late(deadline) => format!("no whole answer within {} s", deadline.as_secs_f64()),
            Self::Connection(what) => format!("the connection failed: {what}"),
            Self::Short { received, promised } => {
                format!("the answer was cut: {received} of {promised} bytes")
            }
            Self::Large { limit } => format!("the answer is larger than {limit} bytes"),
        })
    }
}

/// Sends one request and reads its answer to the end.
pub(super) async fn exchange(inner: &Inner, ask: &Ask<'_>, bearer: &Bearer) -> Result<Whole, Broken> {
    let options = &inner.options;
    let deadline = options.retry.deadline;
    let began_at = options.clock.now();
    let outcome = match timeout(deadline, travel(inner, ask, bearer)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Broken::Late(deadline)),
    };
    let seen_at = options.clock.now();
    let mut books = inner.books.open();
    let status = outcome.as_ref().map_or(0, |(status, ..)| status.as_u16());
    *books.by_status.entry(status).or_default() += 1;
    *books.by_operation_and_status.entry((ask.operation, status)).or_default() += 1;
    let (status, headers, body) = outcome?;
    books.bytes += body.len() as u64;
    if let Some(date) = date(&headers) {
        books.clock_offset = Some(Offset::of(date, began_at, seen_at));
    }
    Ok(Whole { status, headers, body, token: bearer.number, began_at, seen_at })
}

async fn travel(
    inner: &Inner,
    ask: &Ask<'_>,
    bearer: &Bearer,
) -> Result<(StatusCode, HeaderMap, Bytes), Broken> {
    let failed = |cause: BoxError| Broken::Connection(in_full(&*cause));
    let get = Get::new(address(&inner.options.base_url, ask.path, ask.query), bearer.header.clone());
    let response = inner.options.transport.clone().oneshot(get).await.map_err(failed)?;
    let (head, body) = response.into_parts();
    let promised = promised(&head.headers);
    let body = read(body, promised, inner.options.retry.answer_bytes).await?;
    Ok((head.status, head.headers, body))
}

fn address(base: &Url, path: &str, query: &[(String, String)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// The length of the body as it was sent; unknown when it was packed, since then it is not the length we count.
fn promised(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut body: AnswerBody, promised: Option<u64>, limit: usize) -> Result<Bytes, Broken> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| Broken::Connection(in_full(&*cause)))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Broken::Large { limit });
        }
        bytes.extend_from_slice(&data);
    }
    let received = bytes.len() as u64;
    match promised {
        Some(promised) if promised != received => Err(Broken::Short { received, promised }),
        _ => Ok(bytes.freeze()),
    }
}

/// An error with its causes: the outermost often says only that something failed.
pub(super) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_base_with_path_and_query() {
        let base = Url::parse("https://app.asana.com/api/1.0/").expect("a URL");
        let query = [
            ("opt_fields".to_owned(), "name,assignee.gid".to_owned()),
            ("text".to_owned(), "a&b".to_owned()),
        ];
        assert_eq!(
            address(&base, "/tasks/1?x/stories", &query).as_str(),
            "https://app.asana.com/api/1.0/tasks/1%3Fx/stories?opt_fields=name%2Cassignee.gid&text=a%26b"
        );
        assert_eq!(address(&base, "/users/me", &[]).as_str(), "https://app.asana.com/api/1.0/users/me");
    }
}
