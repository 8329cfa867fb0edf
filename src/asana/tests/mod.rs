//! A client against fakes of Asana in this process, under paused time.

mod pace;
mod pages;
mod requests;

use std::future::{Future, ready};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use secrecy::SecretString;
use tokio::time::Instant;
use tower::BoxError;
use url::Url;

use crate::asana::{
    Answer, AnswerBody, Client, ClientOptions, PaceOptions, Pacer, Refusal, RetryOptions, Token, Transport,
    transport_in_process,
};
use crate::clock::Clock;
use crate::error::Result;

type Asked = Request<Full<Bytes>>;
type Said = Response<AnswerBody>;

/// When each request arrived, since the test began.
#[derive(Clone, Debug)]
struct Arrivals(Arc<Mutex<Vec<Duration>>>, Instant);

impl Arrivals {
    fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    /// Notes one more, and tells how many there were.
    fn note(&self) -> usize {
        let mut arrivals = self.0.lock().expect("no panic");
        arrivals.push(self.1.elapsed());
        arrivals.len() - 1
    }

    fn all(&self) -> Vec<Duration> {
        self.0.lock().expect("no panic").clone()
    }

    fn millis(&self) -> Vec<u128> {
        self.all().iter().map(Duration::as_millis).collect()
    }
}

/// A fake that answers request `n`, counted from 0, at once.
fn fake<F>(arrivals: &Arrivals, answer: F) -> Transport
where
    F: Fn(usize, Asked) -> Said + Clone + Send + Sync + 'static,
{
    slow_fake(arrivals, move |n, asked| ready(answer(n, asked)))
}

/// A fake that answers request `n` when the future is ready.
fn slow_fake<F, R>(arrivals: &Arrivals, answer: F) -> Transport
where
    F: Fn(usize, Asked) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Said> + Send + 'static,
{
    let arrivals = arrivals.clone();
    transport_in_process(tower::service_fn(move |asked: Asked| {
        let said = answer(arrivals.note(), asked);
        async move { Ok::<_, BoxError>(said.await) }
    }))
}

fn said(status: u16, body: impl Into<Bytes>) -> Said {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("a valid answer")
}

fn with(mut said: Said, name: &'static str, value: &str) -> Said {
    said.headers_mut().insert(name, value.parse().expect("a header value"));
    said
}

fn good() -> Said {
    said(200, r#"{"data":{"gid":"1"}}"#)
}

fn slow_down(seconds: u64) -> Said {
    with(
        said(429, r#"{"errors":[{"message":"You have made too many requests"}]}"#),
        "retry-after",
        &seconds.to_string(),
    )
}

fn options(transport: Transport) -> ClientOptions {
    ClientOptions {
        base_url: Url::parse("http://localhost/api/1.0").expect("a URL"),
        token: Token::fixed(&SecretString::from("2/canary")).expect("a good token"),
        transport,
        pacer: Pacer::new(PaceOptions::default()),
        clock: Clock::simulated(DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time")),
        retry: RetryOptions::default(),
        seed: 7,
    }
}

fn client(transport: Transport) -> Client {
    Client::new(options(transport)).expect("good options")
}

async fn get(client: &Client) -> Result<Answer> {
    client.get("getTask", "/tasks/1", &[]).await
}

#[track_caller]
fn refused(answer: Result<Answer>) -> Refusal {
    match answer.expect("an answer") {
        Answer::Refused(refusal) => refusal,
        Answer::Found(found) => panic!("found {}", found.data),
    }
}

#[track_caller]
fn found(answer: Result<Answer>) -> String {
    match answer.expect("an answer") {
        Answer::Found(found) => found.data.get().to_owned(),
        Answer::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not zero")
}
