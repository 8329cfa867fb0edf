//! What is told of a job: metrics, pings and pushes, from what it counts and what came of it.
//!
//! Rule: called where a job begins and where it ends, and where the daemon reads its settings; nothing here can make a
//! job fail. A daemon that starts tells at once what the repository and its own disk know: an alert must neither begin nor
//! end because it was restarted.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::backup::Outcome;
use crate::config::{Config, Organization};
use crate::daemon::agenda;
use crate::daemon::job::{Job, Watch, exit_code};
use crate::daemon::{Last, Outside};
use crate::error::{ErrorKind, NEW_GAPS, Result};
use crate::model::{Gap, RunId};
use crate::telemetry::table;
use crate::telemetry::{Beginning, Health, Metrics, Sample, Watched, seconds};
use crate::verify::Report;

/// A job of which is told, and whose.
#[derive(Debug)]
pub(super) struct Told {
    watched: Watched,
    organization: String,
}

/// Tells how often snapshots of an organization are expected, whoever makes them.
pub(super) fn expects(outside: &Outside, config: &Config, name: &str, organization: &Organization) {
    let Some(outlets) = outside.outlets() else { return };
    let times = agenda::times(config, name, organization).ok();
    let interval = times.and_then(|times| times.get(&agenda::leads(&times)?)?.longest(outside.clock().now()));
    let sample =
        |interval: TimeDelta| Sample::new(&table::EXPECTED_INTERVAL, &[name], interval.as_seconds_f64());
    // What is no longer scheduled is no longer expected.
    outlets.metrics().replace(&table::EXPECTED_INTERVAL, name, interval.into_iter().map(sample).collect());
}

/// Tells nothing any more of what was told of an organization.
pub(super) fn forgets(outside: &Outside, name: &str) {
    if let Some(outlets) = outside.outlets() {
        outlets.metrics().forget(name);
    }
}

/// Tells that a run begins; whoever remembers what is told knows of it even if the process is killed.
pub(super) fn attempts(outside: &Outside, name: &str, now: DateTime<Utc>) {
    if let Some(outlets) = outside.outlets() {
        outlets.metrics().tell(&table::LAST_ATTEMPT, &[name], seconds(now));
    }
}

/// What was told of an organization in one number each, for the next process.
pub(super) fn remembered(outside: &Outside, name: &str) -> BTreeMap<String, f64> {
    let Some(outlets) = outside.outlets() else { return BTreeMap::new() };
    let told = table::LASTING
        .iter()
        .filter_map(|metric| Some((metric.name.to_owned(), outlets.metrics().told(metric, &[name])?)));
    told.collect()
}

/// Tells what the process before told. What this program does not know was told by another version.
pub(super) fn remembers(outside: &Outside, name: &str, told: &BTreeMap<String, f64>) {
    let Some(outlets) = outside.outlets() else { return };
    for metric in table::LASTING {
        if let Some(value) = told.get(metric.name) {
            outlets.metrics().tell(metric, &[name], *value);
        }
    }
}

/// Tells what a repository says of the runs before this process, or beside it.
pub(super) fn knows(outside: &Outside, name: &str, last: &Last) {
    let (Some(outlets), Some(snapshot)) = (outside.outlets(), &last.snapshot) else { return };
    let metrics = outlets.metrics();
    metrics.tell(&table::SNAPSHOT, &[name], snapshot.number.0 as f64);
    metrics.tell(&table::HELD_DELETIONS, &[name], snapshot.held_count as f64);
    let attempt = metrics.told(&table::LAST_ATTEMPT, &[name]).unwrap_or_default();
    metrics.tell(&table::LAST_ATTEMPT, &[name], attempt.max(seconds(snapshot.started_at)));
    if !last.unfinished {
        metrics.tell(&table::LAST_SUCCESS, &[name], seconds(snapshot.committed_at));
    }
    let of_asana = snapshot.tables.iter().filter(|(table, _)| !table.starts_with('_'));
    rows(metrics, name, of_asana.map(|(table, state)| (&**table, state.counts.rows)));
    gaps(metrics, name, &last.gaps, outside.clock().now());
}

/// Tells how large the tables are.
fn rows<'a>(metrics: &Metrics, name: &str, rows: impl Iterator<Item = (&'a str, u64)>) {
    let sample = |(table, rows)| Sample::new(&table::ROWS, &[name, table], rows as f64);
    metrics.replace(&table::ROWS, name, rows.map(sample).collect());
}

/// Tells what could not be read.
fn gaps(metrics: &Metrics, name: &str, gaps: &[Gap], now: DateTime<Utc>) {
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for gap in gaps {
        *counts.entry((&gap.table, gap.status, gap.is_accepted(now))).or_default() += 1;
    }
    let samples = counts.into_iter().map(|((table, status, accepted), count)| {
        let labels = [name, table, &status.to_string(), &accepted.to_string()];
        Sample::new(&table::GAPS, &labels, count as f64)
    });
    metrics.replace(&table::GAPS, name, samples.collect());
}

/// Notes what the end of a job says of the token and the store.
pub(super) fn tried(health: &Health, name: &str, exit_code: u8) {
    match exit_code {
        0 | NEW_GAPS => health.tried(name, true),
        10 | 12..=14 | 20 | 21 => health.tried(name, false),
        // Another run, patience, an end: nothing is known of either.
        _ => {}
    }
}

/// Tells how a verification ended; one that was stopped says nothing.
pub(super) async fn verified(outside: &Outside, name: &str, done: &Result<Report>) {
    let code = done.as_ref().map_or_else(|error| error.kind().exit_code(), |_| 0);
    if let Some(outlets) = outside.outlets().filter(|_| code != ErrorKind::Cancelled.exit_code()) {
        outlets.verified(name, code, outside.clock().now()).await;
    }
}

/// Tells that a job begins, where there is somebody to tell.
pub(super) fn begins(outside: &Outside, job: &Job<'_>, run: RunId) -> Option<Told> {
    let outlets = outside.outlets()?;
    expects(outside, job.config, job.name, job.organization);
    let heartbeat = job.organization.heartbeat().find().unwrap_or_else(|error| {
        tracing::warn!(%error, "no heartbeat");
        outlets.metrics().tell(&table::HEARTBEAT_FAILURES, &[job.name], 1.0);
        None
    });
    let beginning = Beginning { organization: job.name, run: run.0, heartbeat, at: outside.clock().now() };
    let (organization, watch) = (job.name.to_owned(), job.watch.clone());
    let watched = outlets.begin(beginning, {
        let organization = organization.clone();
        move || counted(&organization, &watch)
    });
    Some(Told { watched, organization })
}

/// What a job has counted so far.
fn counted(organization: &str, watch: &Watch) -> Vec<Sample> {
    let of = |metric, value| Sample::new(metric, &[organization], value);
    let (parts, bytes) = watch.progress().written();
    let mut samples = vec![
        of(&table::CHECKPOINT_AGE, watch.progress().since_kept().as_secs_f64()),
        of(&table::PARTS, parts as f64),
        of(&table::WRITTEN_BYTES, bytes as f64),
    ];
    let Some(client) = watch.client() else { return samples };
    let statistics = client.statistics();
    samples.push(of(&table::API_BYTES, statistics.bytes as f64));
    samples.push(of(&table::RATE_LIMIT_WAIT, statistics.waited.as_secs_f64()));
    for ((operation, status), count) in statistics.by_operation_and_status {
        let labels = [organization, operation, &status.to_string()];
        samples.push(Sample::new(&table::API_REQUESTS, &labels, count as f64));
    }
    samples
}

/// Tells what came of a job.
pub(super) async fn ends(told: Option<Told>, done: &Result<Outcome>, at: DateTime<Utc>) {
    let Some(Told { watched, organization }) = told else { return };
    let said = match done {
        Ok(outcome) => {
            committed(&watched, &organization, outcome, at);
            format!(
                "{organization}: snapshot {}, {}, {} gaps of which {} are new, {} parts, {} bytes\n",
                outcome.snapshot,
                if outcome.complete { "complete" } else { "not proven complete" },
                outcome.gaps.len(),
                outcome.new_gaps,
                outcome.parts,
                outcome.bytes
            )
        }
        Err(error) => {
            let remedy = error.remedy_text().map(|remedy| format!("remedy: {remedy}\n")).unwrap_or_default();
            format!("{organization}: {error}\n{remedy}")
        }
    };
    watched.end(exit_code(done), &said, at).await;
}

fn committed(watched: &Watched, organization: &str, outcome: &Outcome, now: DateTime<Utc>) {
    watched.tell(&table::LAST_SUCCESS, seconds(outcome.committed_at));
    watched.tell(&table::SNAPSHOT, outcome.snapshot.0 as f64);
    watched.tell(&table::NEW_GAPS, outcome.new_gaps as f64);
    watched.tell(&table::HELD_DELETIONS, outcome.held_deletions as f64);
    let metrics = watched.metrics();
    rows(metrics, organization, outcome.tables.iter().map(|(name, table)| (&**name, table.counts.rows)));
    gaps(metrics, organization, &outcome.gaps, now);
    for (name, table) in &outcome.tables {
        let counts = table.counts;
        let became = [
            ("new", counts.new),
            ("changed", counts.changed),
            ("unchanged", counts.unchanged),
            ("gone", counts.gone),
        ];
        for (change, count) in became {
            metrics.tell(&table::RECORDS, &[organization, name, change], count as f64);
        }
    }
}
