//! When the daemon works by itself.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// When jobs begin by themselves: cron expressions of five fields (minute, hour, day, month, weekday) in a time zone. An
/// empty one, or `never`, turns a job off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSettings {
    /// When what changed is read. Hourly, since the tokens of event streams die within a day and an hour's changes cost
    /// a handful of requests; not on the hour, when everybody's jobs begin.
    pub backup: String,
    /// When a share of everything is walked again; `run.reconcile` says how large a one. Daily, when few people work.
    /// Without it the first backup of a day walks that share.
    pub reconcile: String,
    /// When every object that snapshots name is read and compared, beside backups. Weekly: it reads the whole repository.
    pub verify: String,
    /// The time zone that the expressions are meant in, such as `Europe/Berlin`. UTC has no hour that is missing or
    /// comes twice.
    pub timezone: String,
    /// How many seconds a job may begin late, at most: each organization has a delay of its own that is always the
    /// same. A minute is enough for many installations with the same settings not to ask at the same second.
    pub jitter_seconds: u32,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            backup: "17 * * * *".to_owned(),
            reconcile: "30 2 * * *".to_owned(),
            verify: "0 5 * * 0".to_owned(),
            timezone: "UTC".to_owned(),
            jitter_seconds: 60,
        }
    }
}

impl ScheduleSettings {
    /// These, with what `own` says instead.
    #[must_use]
    pub fn with(&self, own: &OwnSchedule) -> Self {
        let text = |own: &Option<String>, all: &str| own.as_deref().unwrap_or(all).to_owned();
        Self {
            backup: text(&own.backup, &self.backup),
            reconcile: text(&own.reconcile, &self.reconcile),
            verify: text(&own.verify, &self.verify),
            timezone: text(&own.timezone, &self.timezone),
            jitter_seconds: own.jitter_seconds.unwrap_or(self.jitter_seconds),
        }
    }
}

/// What one organization's schedule says instead of the one of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnSchedule {
    /// When what changed is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// When a share of everything is walked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<String>,
    /// When every object is read and compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// The time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// How many seconds a job may begin late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_seconds: Option<u32>,
}

/// How the daemon works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonSettings {
    /// Organizations that are backed up at once. Two, since each needs the memory of a run; one token's pace is shared
    /// however many there are. The last of several places is not for first copies, which may take days, as long as
    /// another organization has a copy to keep current. A verify takes no place: one runs at a time, beside them.
    pub at_once: NonZeroUsize,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self { at_once: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN) }
    }
}
