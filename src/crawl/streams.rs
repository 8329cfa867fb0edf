//! The event streams: where they were left, and what they said.
//!
//! Rule: a token goes forward only. What an answer said is kept for good before the token it brought is used, so a
//! crash between the two asks with the same token again, which is safe; the one before would be refused. A token
//! dies within a day, so a long walk stops to listen at least every [`LISTEN_EVERY`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::asana::{Heard, Refusal};
use crate::crawl::heard::Questions;
use crate::crawl::told::{Step, StreamAnswer, Told};
use crate::crawl::walk::tell;
use crate::crawl::{Probe, Unit, Walk};
use crate::error::{Error, ErrorKind, Result};

/// How long a walk goes on without listening. Asana drops a token after a day, sooner under load.
const LISTEN_EVERY: Duration = Duration::minutes(30);
/// How long a token may be good for ("Events", read 2026-06).
const TOKEN_LIVES: Duration = Duration::days(1);
/// More answers in one go would mean that more happens than can be read; the next go continues.
const ANSWERS: usize = 1_000;

/// Where a stream was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The stream: the gid of the organization or of a project.
    pub stream: String,
    /// The token to go on with.
    pub sync: String,
    /// When Asana gave it.
    pub at: DateTime<Utc>,
}

/// The streams of one crawl.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The streams listened to.
    open: Vec<Box<str>>,
    cursors: BTreeMap<Box<str>, (String, DateTime<Utc>)>,
    /// What they told and nobody has heeded yet.
    heard: Questions,
    /// Heard of, and to be asked for when it is clear what else is gone.
    later: Vec<Unit>,
    /// Streams whose token was too old: what they had to say is lost.
    lost: Vec<Box<str>>,
    /// Streams that are listened to for the first time.
    opened: Vec<Box<str>>,
    listened_at: Option<DateTime<Utc>>,
}

impl Streams {
    fn take(&mut self, answer: &StreamAnswer) {
        self.cursors.insert(answer.stream.clone(), (answer.sync.clone(), answer.at));
        for event in &answer.events {
            self.heard.take(event);
        }
        if answer.lost {
            self.lost.push(answer.stream.clone());
        } else if answer.sent.is_none() {
            self.opened.push(answer.stream.clone());
        }
        self.listened_at = self.listened_at.max(Some(answer.at));
    }

    /// What was heard so far is wanted.
    pub(super) fn heeded(&mut self, later: &[Unit]) {
        self.heard = Questions::default();
        self.later.extend_from_slice(later);
    }
}

impl Walk {
    /// Listens to `streams` from now on, from where `cursors` left them.
    pub fn listen(&self, streams: Vec<Box<str>>, cursors: Vec<Cursor>) {
        let mut state = self.state();
        state.streams.open = streams;
        for cursor in cursors {
            // What this run has heard by itself is later.
            state.streams.cursors.entry(cursor.stream.into()).or_insert((cursor.sync, cursor.at));
        }
    }

    /// Where each stream was left. One that was not listened to this time may be heard again while its token lives.
    #[must_use]
    pub fn cursors(&self) -> Vec<Cursor> {
        let (state, now) = (self.state(), self.clock().now());
        let open = |stream: &str| state.streams.open.iter().any(|one| **one == *stream);
        let cursors = state.streams.cursors.iter();
        cursors
            .filter(|(stream, (_, at))| now - *at < TOKEN_LIVES || open(stream))
            .map(|(stream, (sync, at))| Cursor { stream: stream.to_string(), sync: sync.clone(), at: *at })
            .collect()
    }

    /// Takes the streams of which something was missed: those whose token was too old, and those that are listened to
    /// for the first time.
    #[must_use]
    pub fn take_deaf(&self) -> (Vec<Box<str>>, Vec<Box<str>>) {
        let streams = &mut self.state().streams;
        (std::mem::take(&mut streams.lost), std::mem::take(&mut streams.opened))
    }

    /// Whether streams told of something to be read that nobody has heeded yet, or lost something.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        let streams = &self.state().streams;
        !streams.heard.is_empty() || !streams.lost.is_empty()
    }

    /// The streams listened to.
    #[must_use]
    pub fn streams(&self) -> Vec<Box<str>> {
        self.state().streams.open.clone()
    }

    /// Whether the token may listen to a stream: asks for a first token, which nobody uses.
    pub(super) async fn may_hear(&self, stream: &str) -> Result<Probe> {
        let (_, answer) = self.clone().ask_stream(stream.into()).await?;
        Ok(answer.map_or_else(Probe::Refused, |_| Probe::Allowed))
    }

    /// Asks each of `streams` until it has no more to say. Says which told of something, or how it was refused.
    pub async fn poll(
        &self,
        mut streams: Vec<Box<str>>,
        told: &mpsc::Sender<Told>,
    ) -> Result<std::result::Result<Vec<Box<str>>, Refusal>> {
        let mut lively = BTreeSet::new();
        for _ in 0..ANSWERS {
            let (answers, more) = match self.round(streams).await? {
                Ok(round) => round,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let telling = answers.iter().filter(|answer| !answer.events.is_empty());
            lively.extend(telling.map(|answer| answer.stream.clone()));
            self.keep(answers, told).await?;
            streams = more;
            if streams.is_empty() {
                break;
            }
        }
        Ok(Ok(lively.into_iter().collect()))
    }

    /// Listens if it is time to.
    pub(super) async fn listen_in_time(&self, told: &mpsc::Sender<Told>) -> Result<()> {
        let now = self.clock().now();
        let late = |at: DateTime<Utc>| now - at >= LISTEN_EVERY;
        if !self.state().streams.listened_at.is_some_and(late) {
            return Ok(());
        }
        // Refused now, it will be heard later, or its token will be too old, which is noticed.
        if let Err(refusal) = self.poll(self.streams(), told).await? {
            tracing::warn!(%refusal, "an event stream does not answer");
            self.state().streams.listened_at = Some(now);
        }
        Ok(())
    }

    /// One question to each of `streams`; says which have more to tell.
    async fn round(
        &self,
        mut streams: Vec<Box<str>>,
    ) -> Result<std::result::Result<(Vec<StreamAnswer>, Vec<Box<str>>), Refusal>> {
        let (mut answers, mut more, mut refused) = (Vec::new(), Vec::new(), None);
        let mut running = JoinSet::new();
        streams.reverse();
        loop {
            while running.len() < self.workers() {
                let Some(stream) = streams.pop() else { break };
                running.spawn(self.clone().ask_stream(stream).in_current_span());
            }
            let Some(done) = running.join_next().await else { break };
            let ended = |cause| Error::new(ErrorKind::Bug, format!("a listener ended: {cause}"));
            match done.map_err(ended)?? {
                (stream, Ok((answer, has_more))) => {
                    if has_more {
                        more.push(stream);
                    }
                    answers.push(answer);
                }
                (stream, Err(refusal)) if &*stream == self.organization() => return Ok(Err(refusal)),
                // A project that went, or that is not shown any more, has no stream.
                (stream, Err(refusal)) => {
                    tracing::debug!(%stream, %refusal, "no event stream");
                    refused = Some(refusal);
                }
            }
        }
        answers.sort_by(|one, other| one.stream.cmp(&other.stream));
        more.sort();
        match refused {
            Some(refusal) if answers.is_empty() => Ok(Err(refusal)),
            _ => Ok(Ok((answers, more))),
        }
    }

    async fn ask_stream(
        self,
        stream: Box<str>,
    ) -> Result<(Box<str>, std::result::Result<(StreamAnswer, bool), Refusal>)> {
        let sent = self.state().streams.cursors.get(&stream).map(|(sync, _)| sync.clone());
        // Asana's description has no `opt_fields` for the first of the two; the compact form says what is needed.
        let (operation, path, query) = if &*stream == self.organization() {
            ("getWorkspaceEvents", format!("/workspaces/{stream}/events"), Vec::new())
        } else {
            ("getEvents", "/events".to_owned(), vec![("resource".to_owned(), stream.to_string())])
        };
        let heard = self.client().events(operation, &path, &query, sent.as_deref()).await?;
        let at = self.clock().now();
        let (sync, lost, events, has_more) = match heard {
            Heard::Found(found) => (found.sync, false, found.events, found.has_more),
            Heard::Expired { sync } => (sync, sent.is_some(), Vec::new(), false),
            Heard::Refused(refusal) => return Ok((stream, Err(refusal))),
        };
        let answer = StreamAnswer { stream: stream.clone(), sent, sync, at, lost, events };
        Ok((stream, Ok((answer, has_more))))
    }

    async fn keep(&self, answers: Vec<StreamAnswer>, told: &mpsc::Sender<Told>) -> Result<()> {
        // Where nobody was asked there is no token to be kept, and to keep nothing would cost a write.
        if answers.is_empty() {
            return Ok(());
        }
        let (kept, is_kept) = oneshot::channel();
        let copies = answers.clone();
        tell(told, Told::Streams { answers, kept }).await?;
        is_kept.await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody keeps events any more"))?;
        self.restore_streams(&copies);
        Ok(())
    }

    /// Wants whatever events were heard of. What goes with what it hangs below is for later: a deleted task may be told
    /// with each of its stories.
    pub async fn heed(&self, told: &mpsc::Sender<Told>) -> Result<()> {
        let heard = std::mem::take(&mut self.state().streams.heard);
        let scope = self.scope();
        if heard.is_empty() {
            return Ok(());
        }
        let (later, units) = heard
            .units()
            .into_iter()
            .filter(|unit| scope.reads(unit.resource))
            .partition(|unit| unit.resource.goes_with_parent);
        // One step: what was heard is never forgotten before it is wanted.
        self.take_step(Step::Heeded(units, later), told).await
    }

    /// Takes what was put off by [`Self::heed`].
    #[must_use]
    pub fn take_later(&self) -> Vec<Unit> {
        std::mem::take(&mut self.state().streams.later)
    }

    /// Takes up what streams answered before a crash.
    pub fn restore_streams(&self, answers: &[StreamAnswer]) {
        let mut state = self.state();
        answers.iter().for_each(|answer| state.streams.take(answer));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;

    use super::*;
    use crate::asana::{
        Client, ClientOptions, PaceOptions, Pacer, RetryOptions, Token, transport_in_process,
    };
    use crate::clock::Clock;
    use crate::crawl::Scope;

    /// A crawl that nobody answers.
    fn walk() -> Walk {
        let silent = tower::service_fn(|_: Request<Full<Bytes>>| async {
            std::future::pending::<std::result::Result<Response<Full<Bytes>>, std::io::Error>>().await
        });
        let clock = Clock::simulated(DateTime::UNIX_EPOCH);
        let client = Client::new(ClientOptions {
            base_url: "http://127.0.0.1/api/1.0".parse().expect("an address"),
            token: Token::fixed(&"1/canary".into()).expect("a token"),
            transport: transport_in_process(silent),
            pacer: Pacer::new(PaceOptions::default()),
            clock: clock.clone(),
            retry: RetryOptions::default(),
            seed: 0,
        });
        Walk::new(client.expect("a client"), clock, "12", Scope::new(&[]), 1, std::sync::Arc::default())
    }

    fn answer(at: DateTime<Utc>, events: &[&str]) -> StreamAnswer {
        let events = events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
        StreamAnswer {
            stream: "12".into(),
            sent: Some("a".into()),
            sync: "b".into(),
            at,
            lost: false,
            events,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_stream_is_listened_to_nothing_is_kept() {
        let (walk, (told, mut events)) = (walk(), mpsc::channel(1));
        walk.restore_streams(&[answer(walk.clock().now(), &[])]);
        tokio::time::advance(std::time::Duration::from_hours(2)).await;
        // Whoever tells something waits until it is kept.
        let listened =
            tokio::time::timeout(std::time::Duration::from_secs(1), walk.listen_in_time(&told)).await;
        assert!(events.try_recv().is_err(), "nothing was told, and is to be kept");
        listened.expect("nobody is waited for").expect("nobody is asked");
    }
}
