//! The line between the program and the simulated Asana: it takes time, life goes on while it does, and it goes dead
//! when the power is cut.
//!
//! Rule: how long a request takes and when somebody edits something depend on the seed and on how many requests there
//! were. No two edits share a millisecond, so that the simulator can tell what was true between them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asana_backup::asana::{Transport, transport_in_process};
use asana_simulator::Simulator;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, ServiceExt};

use crate::power::Power;
use crate::seeds::Dice;

type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

type Matches = Arc<dyn Fn(&str) -> bool + Send + Sync>;
type Alters = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What is true of some requests.
type Sign = Box<dyn FnMut(&str) -> bool + Send>;
/// Something that is done when a request sets out.
type Deed = Box<dyn FnOnce() + Send>;

/// The line of one world. Clones are the same line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    simulator: Simulator,
    power: Power,
    state: Arc<Mutex<State>>,
}

struct State {
    dice: Dice,
    /// The longest that a request takes; nothing by default.
    longest: Duration,
    /// Of so many requests one finds an edit made.
    one_edit_in: Option<u64>,
    edited_at: Option<DateTime<Utc>>,
    /// Nobody may ask anything between these.
    hold: Option<(DateTime<Utc>, DateTime<Utc>)>,
    impatient: Vec<String>,
    trace: Vec<String>,
    /// The numbers of the calls by which an event stream moves on.
    streams: Vec<u64>,
    /// What waits for a request of which this is true.
    deeds: Vec<(Sign, Deed)>,
    /// What becomes of the text of an answer to such requests.
    alters: Option<(Matches, Alters)>,
    /// Whether answers say when they were given.
    tells_time: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("trace", &self.trace).finish_non_exhaustive()
    }
}

impl Line {
    pub(crate) fn new(simulator: Simulator, seed: u64, power: Power) -> Self {
        let state = State {
            dice: Dice::new(seed, "line"),
            longest: Duration::ZERO,
            one_edit_in: None,
            edited_at: None,
            hold: None,
            impatient: Vec::new(),
            trace: Vec::new(),
            streams: Vec::new(),
            deeds: Vec::new(),
            alters: None,
            tells_time: true,
        };
        Self { simulator, power, state: Arc::new(Mutex::new(state)) }
    }

    /// From now on a request takes up to so long, and one in so many finds an edit made.
    pub(crate) fn live(&self, longest: Duration, one_edit_in: Option<u64>) {
        let mut state = self.state();
        (state.longest, state.one_edit_in, state.hold) = (longest, one_edit_in, None);
    }

    /// From now on nothing happens, and requests take no time.
    pub(crate) fn rest(&self) {
        self.live(Duration::ZERO, None);
    }

    /// Does something right before the first request of which `is_it` is true arrives.
    pub(crate) fn before(
        &self,
        is_it: impl FnMut(&str) -> bool + Send + 'static,
        deed: impl FnOnce() + Send + 'static,
    ) {
        self.state().deeds.push((Box::new(is_it), Box::new(deed)));
    }

    /// From now on answers to requests of which `is_it` is true lack the gid of their first record.
    pub(crate) fn spoil(&self, is_it: fn(&str) -> bool) {
        self.alter(is_it, |text| text.replacen("\"gid\"", "\"no\"", 1));
    }

    /// From now on answers to requests of which `is_it` is true have another text.
    pub(crate) fn alter(
        &self,
        is_it: impl Fn(&str) -> bool + Send + Sync + 'static,
        alter: impl Fn(&str) -> String + Send + Sync + 'static,
    ) {
        self.state().alters = Some((Arc::new(is_it), Arc::new(alter)));
    }

    /// From now on answers are as they are.
    pub(crate) fn alter_no_more(&self) {
        self.state().alters = None;
    }

    /// From now on no answer says when it was given, so that nobody can tell whose clock is wrong.
    pub(crate) fn tell_no_time(&self) {
        self.state().tells_time = false;
    }

    /// Requests that came while Asana asked for patience.
    pub(crate) fn impatient(&self) -> Vec<String> {
        self.state().impatient.clone()
    }

    /// The numbers of the calls by which an event stream moves on: Asana knows then that its answer was given.
    pub(crate) fn streams(&self) -> Vec<u64> {
        self.state().streams.clone()
    }

    /// A line for each request: the same seed gives the same lines.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// How the client reaches Asana.
    pub(crate) fn transport(&self) -> Transport {
        let line = self.clone();
        transport_in_process(tower::service_fn(move |request| {
            let line = line.clone();
            async move { Ok::<_, Infallible>(line.carry(request).await) }
        }))
    }

    async fn carry(&self, request: Request<Full<Bytes>>) -> Response<AnswerBody> {
        // Of all tests that reach Asana through here, none may find the program writing to it.
        assert_eq!(request.method(), Method::GET, "{}", request.uri());
        let call = self.power.sets_out().await;
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        if target.split('?').next().is_some_and(|path| path.ends_with("/events")) {
            self.state().streams.push(call);
        }
        let takes = self.sets_out(&target);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let deed = {
            let mut state = self.state();
            let due = state.deeds.iter_mut().position(|(is_it, _)| is_it(&target));
            due.map(|at| state.deeds.remove(at).1)
        };
        if let Some(deed) = deed {
            deed();
        }
        let Ok(mut response) = self.simulator.router().oneshot(request).await;
        if !self.state().tells_time {
            response.headers_mut().remove(http::header::DATE);
        }
        self.power.took_effect(call).await;
        self.arrives(&target, &response);
        let response = response.map(|body| body.map_err(BoxError::from).boxed_unsync());
        let alters = self.state().alters.clone();
        match alters.filter(|(is_it, _)| is_it(&target)) {
            Some((_, alter)) => altered(response, &*alter).await,
            None => response,
        }
    }

    /// Lets somebody edit something, if it is time, and says how long the request takes.
    fn sets_out(&self, target: &str) -> Duration {
        let now = self.simulator.now();
        let mut state = self.state();
        if state.hold.is_some_and(|(since, until)| since < now && now < until) {
            state.impatient.push(format!("{now} {target}"));
        }
        let distinct = state.edited_at.is_none_or(|last| now - last > TimeDelta::milliseconds(1));
        if let Some(times) = state.one_edit_in
            && distinct
            && state.dice.once_in(times)
        {
            let edits = self.simulator.advance(1);
            state.trace.extend(edits.iter().map(|edit| format!("{} {} {}", edit.at, edit.kind, edit.gid)));
            state.edited_at = Some(now);
        }
        let longest = u64::try_from(state.longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(if longest == 0 { 0 } else { state.dice.below(longest) })
    }

    fn arrives<B>(&self, target: &str, response: &Response<B>) {
        let now = self.simulator.now();
        let mut state = self.state();
        state.trace.push(format!("{now} {} {target}", response.status()));
        let patience =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        if let (429, Some(seconds)) = (response.status().as_u16(), patience) {
            let until = now + TimeDelta::seconds(seconds);
            // What leaves in the millisecond in which the answer comes cannot know of it yet.
            let since = now + TimeDelta::milliseconds(1);
            if state.hold.is_none_or(|(_, other)| until > other) {
                state.hold = Some((since, until));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same answer with another text.
async fn altered(
    response: Response<AnswerBody>,
    alter: &(dyn Fn(&str) -> String + Send + Sync),
) -> Response<AnswerBody> {
    let (mut head, body) = response.into_parts();
    let text = body.collect().await.expect("a whole body").to_bytes();
    let text = alter(std::str::from_utf8(&text).expect("JSON is text"));
    head.headers.remove("content-length");
    let body = Full::new(Bytes::from(text)).map_err(BoxError::from);
    Response::from_parts(head, body.boxed_unsync())
}
