//! How far a run has come: numbers that anybody may read while it works.
//!
//! Rule: the work counts, the display reads. A terminal gets lines that redraw themselves; anything else gets a log
//! line now and then.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::resources;

/// How often a log line is written where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(30);
/// How often a terminal is redrawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Counts what a run does.
#[derive(Debug)]
pub struct Progress {
    /// Different records read, by table, in the order of [`resources::ALL`].
    seen: Vec<AtomicU64>,
    /// Units read, and units known to be wanted.
    done: AtomicU64,
    wanted: AtomicU64,
    /// Anything else that shows that the work gets on.
    steps: Arc<AtomicU64>,
    doing: Mutex<&'static str>,
    started: Instant,
    /// When what was read was last kept in the journal.
    kept_at: Mutex<Instant>,
    /// Parts that were committed, and their bytes.
    parts: AtomicU64,
    bytes: AtomicU64,
}

/// What the client counts, for the display.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// Requests sent so far.
    pub requests: u64,
    /// Requests sent in the last minute.
    pub last_minute: u64,
    /// Requests allowed in a minute.
    pub limit: u64,
}

impl Default for Progress {
    fn default() -> Self {
        let seen = resources::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            seen,
            done: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            steps: Arc::default(),
            doing: Mutex::new("starting"),
            started: Instant::now(),
            kept_at: Mutex::new(Instant::now()),
            parts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Progress {
    /// Says what is being done now.
    pub fn doing(&self, what: &'static str) {
        *self.doing.lock().expect("no holder panics") = what;
        self.step();
        // On a terminal the line that redraws itself says so, and a log line would run into it.
        if !stderr().is_terminal() {
            tracing::info!(step = what, "next step");
        }
    }

    /// Counts records of the resource at `place` in [`resources::ALL`].
    pub fn records(&self, place: usize, count: u64) {
        self.seen[place].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts units that are wanted from now on.
    pub fn want(&self, count: u64) {
        self.wanted.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a unit that is read.
    pub fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What is being done now.
    #[must_use]
    pub fn doing_now(&self) -> &'static str {
        *self.doing.lock().expect("no holder panics")
    }

    /// Says that the work gets on, where nothing else is counted.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The count of those, for work that knows nothing of progress.
    #[must_use]
    pub fn steps(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.steps)
    }

    /// Grows as long as the work gets on.
    #[must_use]
    pub fn moved(&self) -> u64 {
        let counts = [&self.done, &self.wanted, &*self.steps];
        self.total() + counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>()
    }

    /// What was read up to now is in the journal.
    pub fn kept(&self) {
        *self.kept_at.lock().expect("no holder panics") = Instant::now();
    }

    /// How long ago that was.
    pub fn since_kept(&self) -> Duration {
        self.kept_at.lock().expect("no holder panics").elapsed()
    }

    /// Counts parts that were committed.
    pub fn wrote(&self, parts: u64, bytes: u64) {
        self.parts.fetch_add(parts, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Parts that were committed, and their bytes.
    pub fn written(&self) -> (u64, u64) {
        (self.parts.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Different records read.
    pub fn total(&self) -> u64 {
        self.seen.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The time that is left at the pace so far: units are only known once what they hang below is read, so early
    /// on this is short of the truth.
    fn left(&self) -> Option<Duration> {
        let (done, wanted) = (self.done.load(Ordering::Relaxed), self.wanted.load(Ordering::Relaxed));
        let open = wanted.checked_sub(done).filter(|_| done > 0)?;
        Some(self.started.elapsed().mul_f64(open as f64 / done as f64))
    }

    fn line(&self, readings: Readings) -> String {
        let doing = *self.doing.lock().expect("no holder panics");
        let left =
            self.left().map_or_else(|| "?".to_owned(), |left| format!("{}", indicatif::HumanDuration(left)));
        format!(
            "{doing}: {} records, {} of {} listings, {} requests, {} of {} a minute, about {left} left",
            self.total(),
            self.done.load(Ordering::Relaxed),
            self.wanted.load(Ordering::Relaxed),
            readings.requests,
            readings.last_minute,
            readings.limit,
        )
    }
}

/// Shows `progress` for as long as it is polled; never ends by itself.
pub async fn show(progress: &Progress, readings: impl Fn() -> Readings) {
    if stderr().is_terminal() { draw(progress, readings).await } else { log(progress, readings).await }
}

async fn draw(progress: &Progress, readings: impl Fn() -> Readings) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}").expect("a valid template"),
    );
    let clear = Clear(bar);
    loop {
        clear.0.set_message(progress.line(readings()));
        clear.0.tick();
        tokio::time::sleep(DRAW_EVERY).await;
    }
}

/// Takes the line off the terminal, however the display ends.
struct Clear(ProgressBar);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn log(progress: &Progress, readings: impl Fn() -> Readings) {
    loop {
        tokio::time::sleep(LOG_EVERY).await;
        let now = readings();
        tracing::info!(
            doing = *progress.doing.lock().expect("no holder panics"),
            records = progress.total(),
            listings = progress.done.load(Ordering::Relaxed),
            listings_known = progress.wanted.load(Ordering::Relaxed),
            requests = now.requests,
            last_minute = now.last_minute,
            limit = now.limit,
            "progress"
        );
    }
}
