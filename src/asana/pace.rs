//! The pace of all requests that one token makes.
//!
//! Rule: requests leave one after another, evenly spaced under the limit of a minute, first come, first served. While
//! Asana asks for patience none leaves, and when the time is over they leave at the same even pace: Asana looks more
//! often than once a minute, and counts refused requests too.
//!
//! The limit is learned. Two refusals of different requests within two minutes are taken as "the limit is lower than we
//! think" (one alone may be the cost of a single expensive request), and the limit becomes what was let through in the
//! minute before. After a while without refusals more is tried: at first twice as much. Where that is refused, the
//! limit is what it was before, the while is doubled and the step halved. So a token of a free plan (150 a minute) is
//! found out in its first minute, and a minute spoilt by another program with the same token is forgotten soon.
//!
//! Dropping a waiting request loses nothing: its turn was not yet taken.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

const MINUTE: Duration = Duration::from_secs(60);
/// How late a request may leave and the next one still be on time, as a part of the space between two. Small enough
/// that a late one and the next do not count as a burst; larger than a millisecond, to which tokio's timer is exact,
/// and for searches than what they wait for others, so that no time is lost.
const LATENESS: u32 = 12;
/// Used of the limit, in percent: the rest is for the unevenness that the network adds.
const SHARE: u64 = 99;
/// Refusals further apart than this say nothing together.
const EVIDENCE: Duration = Duration::from_secs(120);
/// Fewer answers than this in the minute before say nothing about the limit.
const LEAST_OBSERVED: usize = 10;
/// The limit is never believed to be lower, in requests a minute: a fifth of the lowest that Asana has (150).
const LEAST_LIMIT: u32 = 30;
/// The largest and the smallest step up from a lowered limit, in percent of it.
const FIRST_STEP: u32 = 100;
const LAST_STEP: u32 = 5;
/// The first and the longest while after which more than a lowered limit is tried.
const FIRST_PROBE: Duration = MINUTE;
const LAST_PROBE: Duration = Duration::from_secs(16 * 60);

/// The limits of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceOptions {
    /// Requests a minute. Asana allows 1,500 on paid plans and 150 on free ones ("Rate limits", read 2026-06); a lower
    /// one is learned.
    pub per_minute: NonZeroU32,
    /// Requests in flight at once. Asana allows 50 GETs ("Rate limits", read 2026-06).
    pub in_flight: NonZeroU32,
    /// Searches a minute. Asana allows 60 ("Search tasks in a workspace", read 2026-06).
    pub searches_per_minute: NonZeroU32,
}

impl Default for PaceOptions {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).expect("not zero");
        Self { per_minute: number(1_500), in_flight: number(50), searches_per_minute: number(60) }
    }
}

/// Which limits a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Those of every request.
    All,
    /// Those of searches, and those of every request.
    Search,
}

/// Gives each request of one token its turn. Clones share the limits: make one for each token.
#[derive(Clone, Debug)]
pub struct Pacer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: PaceOptions,
    /// Where all but searches wait; its holder is the next of them to leave.
    line: tokio::sync::Mutex<()>,
    places: Arc<Semaphore>,
    /// Whose holder is the next to leave: the head of the line, or a search.
    turn: tokio::sync::Mutex<Turn>,
    search_turn: tokio::sync::Mutex<Turn>,
    in_flight: AtomicU32,
    knowledge: Mutex<Knowledge>,
}

/// Leave to send one request. Hold it until the answer is there.
#[derive(Debug)]
pub(super) struct Permit {
    pacer: Arc<Inner>,
    left_at: Instant,
    _place: OwnedSemaphorePermit,
}

/// The pace at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gauge {
    pub in_flight: u32,
    pub last_minute: usize,
    pub limit: u32,
    pub stands_still: Option<Duration>,
}

impl Pacer {
    /// A pacer for one token.
    #[must_use]
    pub fn new(options: PaceOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            line: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(options.in_flight.get() as usize)),
            turn: tokio::sync::Mutex::default(),
            search_turn: tokio::sync::Mutex::default(),
            in_flight: AtomicU32::new(0),
            knowledge: Mutex::new(Knowledge::new(options.per_minute.get())),
        }))
    }

    /// Waits for the turn of one request. A search whose own turn has come goes before the line: it would else lose
    /// its turn there, and it is one of twenty-five.
    pub(super) async fn admit(&self, queue: Queue) -> Permit {
        match queue {
            Queue::All => {
                let _head = self.0.line.lock().await;
                self.leave().await
            }
            Queue::Search => {
                // Kept until the search has really left: two could else come close together.
                let mut turn = self.0.search_turn.lock().await;
                let due = turn.wait().await;
                let permit = self.leave().await;
                turn.pass(due, spacing(self.0.options.searches_per_minute.get()));
                permit
            }
        }
    }

    async fn leave(&self) -> Permit {
        let inner = &self.0;
        let place = Arc::clone(&inner.places).acquire_owned().await.expect("the places are never closed");
        let mut turn = inner.turn.lock().await;
        let mut due = turn.wait().await;
        // Read after the wait: the hold may have begun, or grown, while we slept.
        while let Some(until) = inner.hold() {
            sleep_until(until).await;
            due = until;
        }
        let left_at = Instant::now();
        turn.pass(due, spacing(inner.knowledge().leaves(left_at)));
        inner.in_flight.fetch_add(1, Ordering::Relaxed);
        Permit { pacer: Arc::clone(inner), left_at, _place: place }
    }

    /// Lets nobody leave for `wait`, because the request with `permit` was refused. `is_news` is false when the same
    /// was refused before: then it may be the request, and says nothing about the limit.
    pub(super) fn refused(&self, permit: &Permit, wait: Duration, is_news: bool) {
        self.0.knowledge().refused(Instant::now(), permit.left_at, wait, is_news);
    }

    /// Lets nobody leave for `wait`.
    pub(super) fn stand_still(&self, wait: Duration) {
        self.0.knowledge().stand_still(Instant::now(), wait);
    }

    /// The pace now.
    pub(super) fn gauge(&self) -> Gauge {
        let now = Instant::now();
        let mut knowledge = self.0.knowledge();
        knowledge.forget(now);
        Gauge {
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            last_minute: knowledge.left.len(),
            limit: knowledge.limit,
            stands_still: knowledge.hold(now).map(|until| until - now),
        }
    }
}

impl Inner {
    fn hold(&self) -> Option<Instant> {
        self.knowledge().hold(Instant::now())
    }

    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pacer.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When the next request may leave. Whoever holds the lock around it is the next to go.
#[derive(Debug, Default)]
struct Turn {
    next: Option<Instant>,
}

impl Turn {
    /// Waits for the turn, and tells when it was due.
    async fn wait(&self) -> Instant {
        let due = self.next.unwrap_or_else(Instant::now);
        sleep_until(due).await;
        due
    }

    fn pass(&mut self, due: Instant, spacing: Duration) {
        let late = Instant::now() - due;
        // Nobody was late who was not there: after an idle time the spaces begin anew.
        let made_up = if late < spacing { late.min(spacing / LATENESS) } else { Duration::ZERO };
        self.next = Some(due + late - made_up + spacing);
    }
}

fn spacing(limit: u32) -> Duration {
    Duration::from_nanos(60_000_000_000 * 100 / (u64::from(limit) * SHARE))
}

/// What is known about the limit.
#[derive(Debug)]
struct Knowledge {
    configured: u32,
    limit: u32,
    /// When the requests of the last minute left, and those of them that were refused.
    left: VecDeque<Instant>,
    refused: VecDeque<Instant>,
    hold_until: Option<Instant>,
    last_refusal: Option<Instant>,
    /// When the limit last changed. A request that left earlier says nothing about the limit as it is.
    changed_at: Option<Instant>,
    /// What the limit was before it was raised, if that was its last change.
    raised_from: Option<u32>,
    /// What the limit is not lowered below by requests that left before it changed.
    floor: u32,
    step: u32,
    probe_after: Duration,
}

impl Knowledge {
    fn new(limit: u32) -> Self {
        Self {
            configured: limit,
            limit,
            left: VecDeque::new(),
            refused: VecDeque::new(),
            hold_until: None,
            last_refusal: None,
            changed_at: None,
            raised_from: None,
            floor: LEAST_LIMIT,
            step: FIRST_STEP,
            probe_after: FIRST_PROBE,
        }
    }

    /// Until when nobody may leave.
    fn hold(&self, now: Instant) -> Option<Instant> {
        self.hold_until.filter(|until| *until > now)
    }

    /// Counts a request that leaves, and tells the limit for the next one.
    fn leaves(&mut self, now: Instant) -> u32 {
        self.forget(now);
        self.left.push_back(now);
        if self.limit < self.configured && self.changed_at.is_some_and(|at| now - at >= self.probe_after) {
            self.raise(now);
        }
        self.limit
    }

    fn raise(&mut self, now: Instant) {
        if self.raised_from.replace(self.limit).is_some() {
            // The last raise has stood.
            self.step = (self.step * 2).min(FIRST_STEP);
            self.probe_after = FIRST_PROBE;
        }
        self.limit = (self.limit + (self.limit * self.step / 100).max(1)).min(self.configured);
        self.changed_at = Some(now);
        info!(limit = self.limit, "pace raised");
    }

    fn stand_still(&mut self, now: Instant, wait: Duration) {
        if self.hold(now).is_none() {
            info!(seconds = wait.as_secs_f64(), "standing still, as Asana asks");
        }
        self.hold_until = self.hold_until.max(Some(now + wait));
    }

    fn refused(&mut self, now: Instant, left_at: Instant, wait: Duration, is_news: bool) {
        let again = self.last_refusal.is_some_and(|at| now - at <= EVIDENCE);
        self.stand_still(now, wait);
        self.refused.push_back(left_at);
        if !is_news {
            return;
        }
        self.last_refusal = Some(now);
        if again {
            self.learn(now, left_at);
        }
    }

    /// Lowers the limit to what was let through, because a request that left at `left_at` was refused.
    fn learn(&mut self, now: Instant, left_at: Instant) {
        let Some(observed) = self.observed() else { return };
        let is_current = self.changed_at.is_none_or(|at| left_at > at);
        let floor = match self.raised_from {
            _ if !is_current => self.floor,
            Some(before) => before,
            None => LEAST_LIMIT,
        };
        let lowered = observed.max(floor);
        if lowered >= self.limit {
            return;
        }
        if is_current && self.raised_from.take().is_some() {
            self.step = (self.step / 2).max(LAST_STEP);
            self.probe_after = (self.probe_after * 2).min(LAST_PROBE);
        }
        self.floor = floor;
        self.limit = lowered;
        self.changed_at = Some(now);
        warn!(limit = self.limit, configured = self.configured, "pace lowered");
    }

    /// What Asana lets through in a minute: what it did in the one that ends with the hold, when it has room again.
    fn observed(&self) -> Option<u32> {
        let end = self.hold_until?;
        let since = |at: &&Instant| **at + MINUTE >= end;
        let span = (end - *self.left.iter().find(since)?).as_millis().max(1);
        let left = self.left.iter().filter(since).count();
        let passed = left.saturating_sub(self.refused.iter().filter(since).count());
        let observed = passed as u128 * MINUTE.as_millis() / span;
        (passed >= LEAST_OBSERVED).then(|| u32::try_from(observed).unwrap_or(u32::MAX))
    }

    fn forget(&mut self, now: Instant) {
        for times in [&mut self.left, &mut self.refused] {
            while times.front().is_some_and(|at| now - *at >= MINUTE) {
                times.pop_front();
            }
        }
    }
}
