//! One request: how it travels, what its answer means, and when it is sent again.
//!
//! Rule: this is the only place that sends the token and the only place that tries again. What a status means is
//! decided by [`verdict`] alone. A token that was replaced is no reason to fail: what it was refused for is asked again
//! with its successor.
//!
//! Numbers: 8 tries wait at most half a second, then twice as long each time, so a request is given up after a minute
//! of waiting and at most 8 minutes of silence. A brief outage is bridged; a long one is the caller's to judge, who
//! sees many requests. Refusals by 429 are counted apart, because they end by themselves.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use url::Url;

use crate::asana::answer::{Envelope, Refusal};
use crate::asana::client::Inner;
use crate::asana::exchange::{Broken, Reading, Whole, exchange};
use crate::asana::identity;
use crate::asana::pace::{Permit, Queue};
use crate::asana::token::Bearer;
use crate::error::{Error, ErrorKind, Result};

/// Longest wait before another try, however many went before: about as long as Asana's limits look back.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Tokens that one answer may cost: a file that brings a bad one after the other is a setting to change.
const DENIALS: u32 = 10;

/// How often, and how patiently, to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Requests for one answer, when the service fails or cannot be reached. Eight bridge a minute.
    pub tries: NonZeroU32,
    /// Requests for one answer, when each is refused by 429. Waiting as asked, one that is refused so often asks for
    /// something that Asana finds too expensive.
    pub throttled_tries: NonZeroU32,
    /// Longest wait before the second try, and twice as long before each further one.
    pub first_wait: Duration,
    /// Longest time for one request, to the last byte of its answer. Asana gives up after about as long.
    pub deadline: Duration,
    /// Longest `Retry-After` that a run can wait for; Asana's limits are of a minute.
    pub longest_hold: Duration,
    /// Largest answer. A page of a hundred large records has less than a tenth of it.
    pub answer_bytes: usize,
}

impl Default for RetryOptions {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).expect("not zero");
        Self {
            tries: number(8),
            throttled_tries: number(20),
            first_wait: Duration::from_millis(500),
            deadline: Duration::from_secs(60),
            longest_hold: Duration::from_secs(15 * 60),
            answer_bytes: 64 << 20,
        }
    }
}

/// What the status and headers of an answer ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read the data.
    Read,
    /// Asana says no to this object: an answer.
    Refused,
    /// The token is refused: read it again, once.
    Denied,
    /// Everybody waits this long, or as long as we see fit, then send it again.
    Throttled(Option<Duration>),
    /// The service failed: send it again after a while, and not before this time.
    Failed(Option<Duration>),
    /// Another address is named: not for us to follow with the token.
    Redirected,
}

/// Decides what an answer asks for. Pure.
#[must_use]
pub fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Read,
        300..=399 => Verdict::Redirected,
        401 => Verdict::Denied,
        408 => Verdict::Failed(retry_after(headers)),
        429 => Verdict::Throttled(retry_after(headers)),
        400..=499 => Verdict::Refused,
        _ => Verdict::Failed(retry_after(headers)),
    }
}

/// `Retry-After` in seconds, or as a time beside the answer's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    (until.to_utc() - date(headers)?).to_std().ok()
}

/// When the answer was sent, by Asana's clock.
pub(super) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok().map(|date| date.to_utc())
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub operation: &'static str,
    pub path: &'a str,
    pub query: &'a [(String, String)],
    pub queue: Queue,
    /// Whether less can be asked for, should this be too much.
    pub can_shrink: bool,
    /// Whether more was too much: a refusal then says nothing about the limit of all requests.
    pub is_heavy: bool,
    /// Whether this asks who the token is, which nobody need know before.
    pub identifies: bool,
}

/// Takes from an envelope what the caller needs, or says in a few words what is wrong with it.
pub(super) type Decode<T> = fn(&Envelope<'_>) -> std::result::Result<T, &'static str>;

/// What came of it.
#[derive(Debug)]
pub(super) enum Reply<T> {
    Read(Reading<T>),
    Refused(Refusal),
    /// Only where less can be asked for.
    TooMuch(Refusal),
}

/// Asks until there is an answer, or until asking again is no use.
pub(super) async fn send<T>(inner: &Inner, ask: &Ask<'_>, decode: Decode<T>) -> Result<Reply<T>> {
    let mut course = Course { inner, ask, failed: 0, heavy: 0, throttled: 0, denied: 0 };
    loop {
        let (permit, bearer) = course.admit().await?;
        let outcome = exchange(inner, ask, &bearer).await;
        match course.judge(&permit, outcome, decode)? {
            Step::Done(reply) => return Ok(reply),
            Step::After(wait) => {
                drop(permit); // its place is free for others meanwhile
                sleep(wait).await;
            }
            Step::Denied(refusal) => {
                drop(permit);
                if !inner.options.token.another(bearer.number).await {
                    return Err(denied(&refusal));
                }
            }
        }
    }
}

enum Step<T> {
    Done(Reply<T>),
    After(Duration),
    /// Only another token is worth another try.
    Denied(Refusal),
}

/// How one request has fared so far.
struct Course<'a> {
    inner: &'a Inner,
    ask: &'a Ask<'a>,
    failed: u32,
    /// Failures that a smaller page might not have met.
    heavy: u32,
    throttled: u32,
    denied: u32,
}

impl Course<'_> {
    /// Waits for its turn. Who a new token is, is asked first: by one, while the others hold no place.
    async fn admit(&self) -> Result<(Permit, Bearer)> {
        let asked_at = Instant::now();
        let inner = self.inner;
        loop {
            let permit = inner.options.pacer.admit(self.ask.queue).await;
            let bearer = inner.options.token.bearer();
            if self.ask.identifies || inner.identity.covers(bearer.number) {
                let mut books = inner.books.open();
                books.waited += asked_at.elapsed();
                *books.by_operation.entry(self.ask.operation).or_default() += 1;
                return Ok((permit, bearer));
            }
            drop(permit);
            identity::confirm(inner).await?;
        }
    }

    fn judge<T>(
        &mut self,
        permit: &Permit,
        outcome: std::result::Result<Whole, Broken>,
        decode: Decode<T>,
    ) -> Result<Step<T>> {
        let whole = match outcome {
            Ok(whole) => whole,
            // The same question would bring the same large answer.
            Err(broken @ Broken::Large { .. }) if self.ask.can_shrink => {
                return Ok(self.answered(Reply::TooMuch(broken.refusal())));
            }
            Err(broken @ Broken::Large { .. }) => return Ok(self.answered(Reply::Refused(broken.refusal()))),
            Err(broken) => {
                let heavy = matches!(broken, Broken::Late(_));
                return Ok(self.failed(broken.refusal(), heavy, None));
            }
        };
        let refusal = || Refusal::read(whole.status, &whole.body);
        if whole.status != StatusCode::UNAUTHORIZED {
            self.inner.options.token.accepted(whole.token);
        }
        match verdict(whole.status, &whole.headers) {
            Verdict::Read => match whole.read(decode) {
                Ok(reading) => Ok(self.answered(Reply::Read(reading))),
                Err(what) => Ok(self.failed(Refusal::without_answer(what), false, None)),
            },
            Verdict::Refused if self.ask.can_shrink && refusal().is_too_much() => {
                Ok(self.answered(Reply::TooMuch(refusal())))
            }
            Verdict::Refused => Ok(self.answered(Reply::Refused(refusal()))),
            Verdict::Redirected => Ok(self.redirected(whole.status, &whole.headers)),
            Verdict::Denied => Ok(self.denied(refusal(), whole.token)),
            Verdict::Throttled(wait) => self.throttled(permit, refusal(), wait),
            Verdict::Failed(wait) => {
                let heavy = whole.status == StatusCode::GATEWAY_TIMEOUT;
                Ok(self.failed(refusal(), heavy, wait))
            }
        }
    }

    fn answered<T>(&self, reply: Reply<T>) -> Step<T> {
        self.inner.books.open().unreadable_in_a_row = 0;
        let tries = self.failed + self.throttled + self.denied + 1;
        if tries > 1 {
            warn!(
                operation = self.ask.operation,
                path = self.ask.path,
                tries,
                "answered after more than one try"
            );
        }
        Step::Done(reply)
    }

    /// Nothing is read elsewhere, and asking again would not help: it counts as no answer.
    fn redirected<T>(&self, status: StatusCode, headers: &HeaderMap) -> Step<T> {
        self.inner.books.open().unreadable_in_a_row += 1;
        let phrase = format!("redirects to {}, where the token must not go", elsewhere(headers));
        Step::Done(Reply::Refused(Refusal { status: status.as_u16(), phrase, help: None, sync: None }))
    }

    fn failed<T>(&mut self, refusal: Refusal, heavy: bool, at_least: Option<Duration>) -> Step<T> {
        self.failed += 1;
        self.heavy += u32::from(heavy);
        if self.ask.can_shrink && self.heavy > 1 {
            return Step::Done(Reply::TooMuch(refusal));
        }
        if self.failed >= self.inner.options.retry.tries.get() {
            return self.spent(refusal);
        }
        if let Some(wait) = at_least {
            self.inner.options.pacer.stand_still(wait.min(self.inner.options.retry.longest_hold));
        }
        self.again(&refusal, self.backoff())
    }

    fn throttled<T>(&mut self, permit: &Permit, refusal: Refusal, wait: Option<Duration>) -> Result<Step<T>> {
        let retry = &self.inner.options.retry;
        self.throttled += 1;
        let wait = wait.unwrap_or_else(|| self.backoff());
        if wait > retry.longest_hold {
            return Err(Error::new(
                ErrorKind::Throttled,
                format!("Asana asks for {} s of patience", wait.as_secs()),
            )
            .remedy("run again after that time"));
        }
        let is_news = self.throttled == 1 && !self.ask.is_heavy;
        self.inner.options.pacer.refused(permit, wait, is_news);
        if self.ask.can_shrink && self.throttled > 1 {
            return Ok(Step::Done(Reply::TooMuch(refusal)));
        }
        if self.throttled >= retry.throttled_tries.get() {
            return Ok(self.spent(refusal));
        }
        // The pacer lets nobody leave before the time is over, so there is nothing to wait for here.
        Ok(self.again(&refusal, Duration::ZERO))
    }

    /// A refusal may be an accident, once; and it says nothing of a token that came meanwhile.
    fn denied<T>(&mut self, refusal: Refusal, token: u64) -> Step<T> {
        let replaced = self.inner.options.token.refused(token);
        self.denied += 1;
        if self.denied <= 1 || (replaced && self.denied < DENIALS) {
            return self.again(&refusal, Duration::ZERO);
        }
        Step::Denied(refusal)
    }

    fn again<T>(&self, refusal: &Refusal, wait: Duration) -> Step<T> {
        self.inner.books.open().retries += 1;
        let (status, attempt) = (refusal.status, self.failed + self.throttled + self.denied);
        debug!(
            operation = self.ask.operation,
            path = self.ask.path,
            status,
            attempt,
            phrase = refusal.phrase,
            wait = wait.as_secs_f64(),
            "asking again"
        );
        Step::After(wait)
    }

    fn spent<T>(&self, refusal: Refusal) -> Step<T> {
        self.inner.books.open().unreadable_in_a_row += 1;
        let (status, attempt) = (refusal.status, self.failed + self.throttled);
        // Whoever asked says what became of it: a gap, or the end of a run.
        debug!(operation = self.ask.operation, path = self.ask.path, status, attempt, "gave up asking");
        Step::Done(Reply::Refused(refusal))
    }

    /// The wait before the next try: twice as long each time, and somewhere in its upper half, so that requests which
    /// failed together do not come back together. The same seed, path and try give the same wait.
    fn backoff(&self) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(16);
        let longest = (self.inner.options.retry.first_wait * 2_u32.pow(doublings)).min(LONGEST_WAIT);
        let mut hasher = DefaultHasher::new();
        (self.inner.options.seed, self.ask.path, self.failed, self.throttled).hash(&mut hasher);
        let jitter = u32::try_from(hasher.finish() % 1_000).unwrap_or(0);
        longest / 2 + longest / 2_000 * jitter
    }
}

fn denied(refusal: &Refusal) -> Error {
    Error::new(ErrorKind::Denied, format!("Asana refuses the token: {}", refusal.phrase))
        .remedy(
            "put a valid token where the settings say: a token file is read again by itself; what systemd loads, or a \
             variable holds, when the service is started again",
        )
}

/// Where a redirect points to. Only the origin: the rest of the address may hold a secret.
fn elsewhere(headers: &HeaderMap) -> String {
    let named = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| Url::parse(to).ok());
    named.map_or_else(|| "another address".to_owned(), |to| to.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, headers: &[(http::HeaderName, &str)], expected: Verdict) {
        let status = StatusCode::from_u16(status).expect("a valid status");
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header value")));
        assert_eq!(verdict(status, &headers.collect()), expected, "{status}");
    }

    #[test]
    fn every_status_has_one_verdict() {
        let seconds = |n| Some(Duration::from_secs(n));
        check(200, &[], Verdict::Read);
        check(201, &[], Verdict::Read);
        check(302, &[], Verdict::Redirected);
        check(307, &[], Verdict::Redirected);
        check(401, &[], Verdict::Denied);
        for status in [400, 402, 403, 404, 410, 412, 413, 424, 451] {
            check(status, &[(RETRY_AFTER, "5")], Verdict::Refused);
        }
        check(429, &[(RETRY_AFTER, "30")], Verdict::Throttled(seconds(30)));
        check(429, &[(RETRY_AFTER, " 0 ")], Verdict::Throttled(seconds(0)));
        check(429, &[], Verdict::Throttled(None));
        for nonsense in ["soon", "-1", "1.5", "99999999999999999999", ""] {
            check(429, &[(RETRY_AFTER, nonsense)], Verdict::Throttled(None));
        }
        for status in [408, 500, 502, 503, 504, 520, 599] {
            check(status, &[], Verdict::Failed(None));
        }
        check(503, &[(RETRY_AFTER, "7")], Verdict::Failed(seconds(7)));
    }

    #[test]
    fn retry_after_may_be_a_time_beside_the_answers_own_date() {
        let until = (RETRY_AFTER, "Sun, 06 Nov 1994 08:50:00 GMT");
        let sent = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = (DATE, "Sun, 06 Nov 1994 08:51:00 GMT");
        check(429, &[until.clone(), sent], Verdict::Throttled(Some(Duration::from_secs(23))));
        check(429, &[until.clone(), later], Verdict::Throttled(None));
        check(429, &[until], Verdict::Throttled(None));
    }
}
