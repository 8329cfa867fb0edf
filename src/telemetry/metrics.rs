//! What is counted, and the moment it is read.
//!
//! Rule: a number is kept once, under a metric of the table and its labels; whoever shows it (the text for Prometheus,
//! OTLP, the file, the push) reads the same samples. What a run counts while it lasts is asked for when somebody looks,
//! and is added to what earlier runs counted when it ends, however it ends: a counter never goes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::telemetry::table::{Kind, Metric};

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of which metric.
    pub metric: &'static Metric,
    /// The values of its labels, in the metric's order.
    pub labels: Vec<String>,
    /// The number.
    pub value: f64,
}

impl Sample {
    /// A sample of `metric`.
    #[must_use]
    pub fn new(metric: &'static Metric, labels: &[&str], value: f64) -> Self {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        Self { metric, labels: labels.iter().map(|&label| label.to_owned()).collect(), value }
    }

    /// The organization it is about.
    #[must_use]
    pub fn organization(&self) -> &str {
        self.labels.first().map_or("", String::as_str)
    }
}

/// Everything that is counted in this process. Clones share it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Books>>);

type Asked = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

#[derive(Default)]
struct Books {
    kept: Kept,
    /// Of runs that are under way, by a number of their own.
    live: BTreeMap<u64, Asked>,
    next: u64,
}

/// Samples by name and labels.
#[derive(Clone, Debug, Default)]
struct Kept(BTreeMap<(&'static str, Vec<String>), Sample>);

impl Kept {
    fn take_in(&mut self, sample: Sample) {
        let place = (sample.metric.name, sample.labels.clone());
        match (sample.metric.kind, self.0.get_mut(&place)) {
            (Kind::Counter, Some(kept)) => kept.value += sample.value,
            _ => {
                self.0.insert(place, sample);
            }
        }
    }
}

impl Metrics {
    fn open(&self) -> MutexGuard<'_, Books> {
        // A panic elsewhere leaves numbers behind, not a broken invariant.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a gauge, or adds to a counter.
    pub fn tell(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.open().kept.take_in(Sample::new(metric, labels, value));
    }

    /// What was told last, by no run that is under way.
    #[must_use]
    pub fn told(&self, metric: &'static Metric, labels: &[&str]) -> Option<f64> {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.open().kept.0.get(&(metric.name, labels)).map(|sample| sample.value)
    }

    /// Replaces all series of a gauge that `organization` has.
    pub fn replace(&self, metric: &'static Metric, organization: &str, samples: Vec<Sample>) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        let mut books = self.open();
        let others = |sample: &Sample| sample.metric != metric || sample.organization() != organization;
        books.kept.0.retain(|_, sample| others(sample));
        samples.into_iter().for_each(|sample| books.kept.take_in(sample));
    }

    /// Asks `live` whenever somebody looks, until the watch is dropped; its counters are kept then.
    #[must_use]
    pub fn watch(&self, live: impl Fn() -> Vec<Sample> + Send + Sync + 'static) -> Watch {
        let mut books = self.open();
        let number = books.next;
        books.next += 1;
        books.live.insert(number, Box::new(live));
        Watch { metrics: self.clone(), number }
    }

    /// Drops every series that `organization` has; what a run of it counts while it lasts stays until it ends.
    pub fn forget(&self, organization: &str) {
        self.open().kept.0.retain(|_, sample| sample.organization() != organization);
    }

    /// What still holds when this process is gone: everything but the gauges of runs that are under way.
    #[must_use]
    pub fn lasting(&self) -> Vec<Sample> {
        let books = self.open();
        let mut all = books.kept.clone();
        let live = books.live.values().flat_map(|live| live());
        live.filter(|sample| sample.metric.kind == Kind::Counter).for_each(|sample| all.take_in(sample));
        all.0.into_values().collect()
    }

    /// Everything there is now, sorted by name and labels.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let books = self.open();
        let mut all = books.kept.clone();
        for live in books.live.values() {
            live().into_iter().for_each(|sample| all.take_in(sample));
        }
        all.0.into_values().collect()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// That a run is under way.
#[derive(Debug)]
pub struct Watch {
    metrics: Metrics,
    number: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut books = self.metrics.open();
        // In one go, so that nobody sees the numbers twice, or not at all.
        let last = books.live.remove(&self.number).map(|live| live()).unwrap_or_default();
        let counters = last.into_iter().filter(|sample| sample.metric.kind == Kind::Counter);
        counters.for_each(|sample| books.kept.take_in(sample));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::telemetry::table::{API_BYTES, CHECKPOINT_AGE, ROWS, SNAPSHOT};

    fn value(metrics: &Metrics, metric: &'static Metric) -> Option<f64> {
        let found = metrics.samples().into_iter().find(|sample| sample.metric == metric);
        found.map(|sample| sample.value)
    }

    #[test]
    fn a_gauge_is_set_and_a_counter_grows() {
        let metrics = Metrics::default();
        for number in [1.0, 2.0] {
            metrics.tell(&SNAPSHOT, &["acme"], number);
            metrics.tell(&API_BYTES, &["acme"], number);
        }
        assert_eq!((value(&metrics, &SNAPSHOT), value(&metrics, &API_BYTES)), (Some(2.0), Some(3.0)));
    }

    #[test]
    fn what_a_run_counts_is_seen_at_once_and_stays_when_it_ends() {
        let metrics = Metrics::default();
        metrics.tell(&API_BYTES, &["acme"], 5.0);
        let bytes = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&bytes);
        let watch = metrics.watch(move || {
            let bytes = read.load(Ordering::Relaxed) as f64;
            vec![Sample::new(&API_BYTES, &["acme"], bytes), Sample::new(&CHECKPOINT_AGE, &["acme"], 1.0)]
        });
        bytes.store(7, Ordering::Relaxed);
        assert_eq!((value(&metrics, &API_BYTES), value(&metrics, &CHECKPOINT_AGE)), (Some(12.0), Some(1.0)));
        bytes.store(8, Ordering::Relaxed);
        drop(watch);
        assert_eq!((value(&metrics, &API_BYTES), value(&metrics, &CHECKPOINT_AGE)), (Some(13.0), None));
    }

    #[test]
    fn a_gauge_of_a_run_that_is_under_way_does_not_outlast_it() {
        let metrics = Metrics::default();
        let labels = &["acme"];
        let live =
            || vec![Sample::new(&API_BYTES, &["acme"], 2.0), Sample::new(&CHECKPOINT_AGE, &["acme"], 1.0)];
        let _watch = metrics.watch(live);
        metrics.tell(&SNAPSHOT, labels, 7.0);
        assert_eq!(
            metrics.lasting(),
            [Sample::new(&API_BYTES, labels, 2.0), Sample::new(&SNAPSHOT, labels, 7.0)]
        );
    }

    #[test]
    fn what_is_forgotten_is_gone_and_other_organizations_stay() {
        let metrics = Metrics::default();
        metrics.tell(&ROWS, &["acme", "tasks"], 1.0);
        metrics.tell(&API_BYTES, &["acme"], 1.0);
        metrics.tell(&API_BYTES, &["other"], 2.0);
        metrics.forget("acme");
        assert_eq!(metrics.samples(), [Sample::new(&API_BYTES, &["other"], 2.0)]);
    }

    #[test]
    fn replacing_takes_out_what_is_no_longer_so_and_leaves_other_organizations_alone() {
        let metrics = Metrics::default();
        metrics.tell(&ROWS, &["acme", "tasks"], 1.0);
        metrics.tell(&ROWS, &["other", "tasks"], 2.0);
        metrics.replace(&ROWS, "acme", vec![Sample::new(&ROWS, &["acme", "users"], 3.0)]);
        let labels: Vec<_> = metrics.samples().into_iter().map(|sample| sample.labels.join("/")).collect();
        assert_eq!(labels, ["acme/users", "other/tasks"]);
    }
}
