//! Every metric there is, as data.
//!
//! Rule: this table is the one source of names, units, help and labels: the text that Prometheus reads, what OTLP
//! carries, and the test that compares the shipped alerts and dashboard with it. Names follow Prometheus' rules: base
//! units, `_total` on what only grows, no gid among the labels. The first label of each is the organization.

/// What every name begins with.
pub const PREFIX: &str = "asana_backup_";

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its unit, as OTLP writes units.
    pub unit: &'static str,
    /// What tells its series apart, the organization first.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const SECONDS: &str = "s";
const BYTES: &str = "By";
/// What is counted has no unit: of a gauge with the unit `1` a collector makes a ratio, by another name.
const ONE: &str = "";

const ORGANIZATION: &[&str] = &["organization"];
const BY_TABLE: &[&str] = &["organization", "table"];

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help }
}

impl Metric {
    /// Its whole name.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// When the newest snapshot that a run finished was committed.
pub static LAST_SUCCESS: Metric = gauge(
    "last_success_timestamp_seconds",
    SECONDS,
    ORGANIZATION,
    "When the last run that succeeded committed its snapshot.",
);
/// When the last run began.
pub static LAST_ATTEMPT: Metric =
    gauge("last_attempt_timestamp_seconds", SECONDS, ORGANIZATION, "When the last run began.");
/// How the last run ended.
pub static LAST_EXIT_CODE: Metric = gauge(
    "last_exit_code",
    ONE,
    ORGANIZATION,
    "How the last run ended: 0 complete, 3 with new gaps, else the code of its error.",
);
/// How often runs are expected.
pub static EXPECTED_INTERVAL: Metric = gauge(
    "expected_interval_seconds",
    SECONDS,
    ORGANIZATION,
    "The longest time between two runs of the schedule.",
);
/// When a repository was last found whole.
pub static LAST_VERIFIED: Metric = gauge(
    "last_verified_timestamp_seconds",
    SECONDS,
    ORGANIZATION,
    "When the last verification that found nothing wrong ended.",
);
/// How the last verification ended.
pub static LAST_VERIFY_EXIT_CODE: Metric = gauge(
    "last_verify_exit_code",
    ONE,
    ORGANIZATION,
    "How the last verification ended: 0 whole, 20 damaged, else the code of its error.",
);
/// How long the last run took.
pub static RUN_DURATION: Metric =
    gauge("run_duration_seconds", SECONDS, ORGANIZATION, "How long the last run took.");
/// What became of the records that runs read.
pub static RECORDS: Metric = counter(
    "records_total",
    ONE,
    &["organization", "table", "change"],
    "Records that runs read or took out, by table and what became of them: new, changed, unchanged, gone.",
);
/// How large the tables are.
pub static ROWS: Metric = gauge("rows", ONE, BY_TABLE, "Rows of a table in the newest snapshot.");
/// What could not be read.
pub static GAPS: Metric = gauge(
    "gaps",
    ONE,
    &["organization", "table", "status", "accepted"],
    "Gaps of the newest snapshot, by table, status of the refusal, and whether somebody accepted them.",
);
/// Gaps that the last run met first.
pub static NEW_GAPS: Metric =
    gauge("new_gaps", ONE, ORGANIZATION, "Gaps of the last run that the snapshot before did not have.");
/// Requests to Asana.
pub static API_REQUESTS: Metric = counter(
    "api_requests_total",
    ONE,
    &["organization", "operation", "status"],
    "Requests sent to Asana, by operation and the status of the answer; status 0 where none came.",
);
/// Time spent waiting for the pace.
pub static RATE_LIMIT_WAIT: Metric = counter(
    "rate_limit_wait_seconds_total",
    SECONDS,
    ORGANIZATION,
    "Time that requests waited for their turn, summed over all of them.",
);
/// Bytes that Asana sent.
pub static API_BYTES: Metric =
    counter("api_bytes_total", BYTES, ORGANIZATION, "Bytes of Asana's answers, after decompression.");
/// Bytes that were put.
pub static WRITTEN_BYTES: Metric =
    counter("written_bytes_total", BYTES, ORGANIZATION, "Bytes of the parts that runs wrote.");
/// Parts that were put.
pub static PARTS: Metric = counter("parts_total", ONE, ORGANIZATION, "Parts that runs wrote.");
/// How much an interruption would cost.
pub static CHECKPOINT_AGE: Metric = gauge(
    "checkpoint_age_seconds",
    SECONDS,
    ORGANIZATION,
    "How long ago the run that is under way last kept what it had read; absent between runs.",
);
/// The newest snapshot.
pub static SNAPSHOT: Metric =
    gauge("snapshot_number", ONE, ORGANIZATION, "The number of the newest snapshot.");
/// Deletions that wait for somebody.
pub static HELD_DELETIONS: Metric =
    gauge("held_deletions", ONE, ORGANIZATION, "Deletions that are held back until somebody accepts them.");
/// Pings that did not arrive.
pub static HEARTBEAT_FAILURES: Metric = counter(
    "heartbeat_failures_total",
    ONE,
    ORGANIZATION,
    "Heartbeat pings that did not arrive although tried again.",
);
/// The program.
pub static BUILD_INFO: Metric = gauge(
    "build_info",
    ONE,
    &["organization", "version"],
    "Always 1; the label is the version of the program that works for the organization.",
);

/// All of them, in the order they are shown.
pub static ALL: &[&Metric] = &[
    &LAST_SUCCESS,
    &LAST_ATTEMPT,
    &LAST_EXIT_CODE,
    &EXPECTED_INTERVAL,
    &LAST_VERIFIED,
    &LAST_VERIFY_EXIT_CODE,
    &RUN_DURATION,
    &RECORDS,
    &ROWS,
    &GAPS,
    &NEW_GAPS,
    &API_REQUESTS,
    &RATE_LIMIT_WAIT,
    &API_BYTES,
    &WRITTEN_BYTES,
    &PARTS,
    &CHECKPOINT_AGE,
    &SNAPSHOT,
    &HELD_DELETIONS,
    &HEARTBEAT_FAILURES,
    &BUILD_INFO,
];

/// Of an organization, in one number each, what still holds when the process is gone that told it. How often runs are
/// expected is not among them: the settings say that.
pub static LASTING: &[&Metric] = &[
    &LAST_SUCCESS,
    &LAST_ATTEMPT,
    &LAST_EXIT_CODE,
    &LAST_VERIFIED,
    &LAST_VERIFY_EXIT_CODE,
    &RUN_DURATION,
    &NEW_GAPS,
    &SNAPSHOT,
    &HELD_DELETIONS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_this_file_is_in_the_table() {
        let declared = include_str!("table.rs").matches("Metric =").count() - 1;
        assert_eq!(declared, ALL.len());
    }

    #[test]
    fn what_lasts_is_every_gauge_of_an_organization_but_what_settings_and_running_jobs_say() {
        let lasting = |metric: &&&Metric| {
            metric.kind == Kind::Gauge
                && metric.labels == ORGANIZATION
                && ![&EXPECTED_INTERVAL, &CHECKPOINT_AGE].contains(*metric)
        };
        assert_eq!(ALL.iter().filter(lasting).collect::<Vec<_>>(), LASTING.iter().collect::<Vec<_>>());
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), metric.unit == SECONDS, "{name}");
            assert_eq!(stem.ends_with("_bytes"), metric.unit == BYTES, "{name}");
            // Of a gauge with this unit the collector's translation to Prometheus makes a ratio.
            assert_ne!(metric.unit, "1", "{name}");
            assert_eq!(metric.labels[0], "organization", "{name}");
            assert!(!metric.labels.contains(&"gid"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }
}
