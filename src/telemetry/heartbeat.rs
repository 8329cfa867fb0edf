//! Heartbeat pings, as healthchecks.io and those like it take them: a run has started, has succeeded, has failed.
//!
//! Rule: a ping can neither fail a run nor hold it up: the first is sent while the run begins its work, the last is
//! given up after a few seconds. The address is a secret. Whoever listens concludes by itself from a start without
//! an end that a run was killed.
//!
//! A run that somebody stopped is no failure: the next one goes on with it, so it is only noted (`/log`).

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use ulid::Ulid;
use url::Url;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::post::Post;
use crate::telemetry::table::HEARTBEAT_FAILURES;

/// Longest body; healthchecks.io keeps as much.
const BODY_BYTES: usize = 10_000;
/// Longest time that the end of a run waits for the ping of its start.
const START_GRACE: Duration = Duration::from_secs(1);
/// Longest time that the end of a run waits for its own ping.
const LONGEST: Duration = Duration::from_secs(3);

/// Pings for one run of one organization.
#[derive(Debug)]
pub(super) struct Heartbeat {
    post: Post,
    url: Url,
    run: Ulid,
    organization: String,
    metrics: Metrics,
    start: JoinSet<()>,
}

impl Heartbeat {
    /// Tells that `run` has started, and does not wait for it to be heard.
    pub(super) fn start(post: Post, url: Url, run: Ulid, organization: &str, metrics: Metrics) -> Self {
        let organization = organization.to_owned();
        let mut heartbeat = Self { post, url, run, organization, metrics, start: JoinSet::new() };
        let ping = heartbeat.ping("start", "");
        heartbeat.start.spawn(ping);
        heartbeat
    }

    /// Tells how the run ended.
    pub(super) async fn end(mut self, code: u8, said: &str) {
        // In order, as far as that is in our hands: a start after the end would look like a run under way.
        if timeout(START_GRACE, self.start.join_next()).await.is_err() {
            self.start.abort_all();
        }
        let ping = self.ping(&path(code), said);
        if timeout(LONGEST, ping).await.is_err() {
            self.metrics.tell(&HEARTBEAT_FAILURES, &[&self.organization], 1.0);
            tracing::warn!(organization = self.organization, "heartbeat ping given up");
        }
    }

    fn ping(&self, path: &str, said: &str) -> impl Future<Output = ()> + Send + 'static {
        let url = address(&self.url, path, self.run);
        let (post, metrics, organization) =
            (self.post.clone(), self.metrics.clone(), self.organization.clone());
        let body = capped(said).to_owned();
        let path = path.to_owned();
        async move {
            if let Err(why) = post.post(&url, "text/plain; charset=utf-8", &body).await {
                metrics.tell(&HEARTBEAT_FAILURES, &[&organization], 1.0);
                tracing::warn!(organization, ping = path, why, "heartbeat ping failed");
            }
        }
    }
}

/// What follows the address: nothing for success, which a committed snapshot with new gaps is too.
fn path(code: u8) -> String {
    match code {
        0 | 3 => String::new(),
        130 | 143 => "log".to_owned(),
        code => code.to_string(),
    }
}

fn address(base: &Url, path: &str, run: Ulid) -> Url {
    let mut url = base.clone();
    if !path.is_empty() {
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    }
    url.query_pairs_mut().append_pair("rid", &uuid(run));
    url
}

/// The same 128 bits as they write them.
fn uuid(run: Ulid) -> String {
    let hex = format!("{:032x}", run.0);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn capped(text: &str) -> &str {
    let mut end = text.len().min(BODY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, code: u8, expected: &str) {
        let base = Url::parse(base).expect("an address");
        let run = Ulid(0x0190_0000_0000_0000_0000_0000_0000_00ff);
        let rid = "rid=01900000-0000-0000-0000-0000000000ff";
        assert_eq!(address(&base, &path(code), run).as_str(), format!("{expected}{rid}"));
    }

    #[test]
    fn the_path_says_how_a_run_ended() {
        check("https://example.com/ping/abc", 0, "https://example.com/ping/abc?");
        check("https://example.com/ping/abc", 3, "https://example.com/ping/abc?");
        check("https://example.com/ping/abc/", 12, "https://example.com/ping/abc/12?");
        check("https://example.com/ping/abc?create=1", 75, "https://example.com/ping/abc/75?create=1&");
        check("https://example.com/ping/abc", 143, "https://example.com/ping/abc/log?");
    }

    #[test]
    fn a_long_body_is_cut_between_letters() {
        assert_eq!(capped("short"), "short");
        let long = format!("{}é", "x".repeat(BODY_BYTES - 1));
        assert_eq!(capped(&long).len(), BODY_BYTES - 1);
    }
}
