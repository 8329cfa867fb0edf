//! What the daemon says of itself, for whoever asks: what runs, what came of the last runs, what comes next, what is late.
//!
//! Rule: the daemon writes, anybody reads, at any moment; what runs is read as it is then. Nothing here is a secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::clock::Clock;
use crate::daemon::jobs::JobId;
use crate::daemon::{Kind, Watch};
use crate::telemetry::Health;

/// How long the loop may stand still: it turns once a minute, and waits for nothing.
const STUCK: Duration = Duration::from_secs(180);

/// The daemon as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// Whether settings, tokens and stores were tried, so that jobs may begin.
    pub ready: bool,
    /// Whether it is about to end.
    pub stopping: bool,
    /// What is wrong with the settings as they are now, if they could not be read again; those before hold.
    pub settings_error: Option<String>,
    /// When its loop last turned.
    pub turned_at: Option<DateTime<Utc>>,
    /// By name.
    pub organizations: BTreeMap<String, OrganizationStatus>,
}

/// One organization.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OrganizationStatus {
    /// Its gid.
    pub gid: String,
    /// Its jobs; those that are turned off are left out.
    pub jobs: BTreeMap<Kind, JobStatus>,
    /// What runs now, and makes a snapshot.
    pub running: Option<Running>,
    /// The verify that runs now, perhaps beside it.
    pub verifying: Option<Running>,
    /// The newest snapshot.
    pub snapshot: Option<u64>,
    /// When it was committed.
    pub committed_at: Option<DateTime<Utc>>,
    /// The moment up to which it speaks for what changed.
    pub changed_until: Option<DateTime<Utc>>,
    /// How old the copy is: seconds since then.
    pub age_seconds: Option<i64>,
    /// When the copy is late, unless a job that makes snapshots succeeds before; none, where none is scheduled.
    pub late_from: Option<DateTime<Utc>>,
    /// Whether that has come: two ticks have passed since the last such job that succeeded began.
    pub late: bool,
}

/// One job of one organization.
#[derive(Clone, Debug, Serialize)]
pub struct JobStatus {
    /// Its expression.
    pub schedule: String,
    /// The zone it is meant in.
    pub timezone: String,
    /// Seconds from its next tick to the one after.
    pub interval_seconds: Option<i64>,
    /// When it begins next; now, if it is due.
    pub next: Option<DateTime<Utc>>,
    /// When the last one began that succeeded.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When it is late, unless one that began after a tick succeeds before.
    pub late_from: Option<DateTime<Utc>>,
    /// Whether that has come.
    pub late: bool,
    /// What came of the last one of this process.
    pub last: Option<Ended>,
}

/// What came of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// What the command line would have exited with.
    pub exit_code: u8,
    /// What went wrong.
    pub error: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The snapshot it committed.
    pub snapshot: Option<u64>,
    /// Gaps that the snapshot before did not have.
    pub new_gaps: u64,
}

/// A job that runs, and how far it is.
#[derive(Clone, Debug, Serialize)]
pub struct Running {
    /// Which.
    pub job: Kind,
    /// Since when.
    pub began_at: DateTime<Utc>,
    /// What it is doing.
    pub doing: &'static str,
    /// Different records it has read.
    pub records: u64,
    /// Requests it has sent.
    pub requests: u64,
    /// For how many seconds no request leaves, because Asana asked for patience.
    pub stands_still_seconds: Option<u64>,
    /// Tells all of that.
    #[serde(skip)]
    pub watch: Watch,
    /// Its number.
    #[serde(skip)]
    pub(super) id: JobId,
}

impl Running {
    pub(super) fn new(id: JobId, job: Kind, began_at: DateTime<Utc>, watch: Watch) -> Self {
        let (doing, records, requests, stands_still_seconds) = ("", 0, 0, None);
        let mut running = Self { job, began_at, doing, records, requests, stands_still_seconds, watch, id };
        running.look();
        running
    }

    fn look(&mut self) {
        let live = self.watch.live();
        self.doing = self.watch.progress().doing_now();
        self.records = self.watch.progress().total();
        self.requests = live.map_or(0, |live| live.requests);
        self.stands_still_seconds = live.and_then(|live| live.stands_still).map(|still| still.as_secs());
    }
}

/// Where the daemon writes its status and others read it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Board {
    clock: Clock,
    status: Arc<Mutex<Status>>,
    health: Arc<Health>,
}

impl Board {
    /// An empty one.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, status: Arc::default(), health: Arc::new(Health::new(STUCK)) }
    }

    /// Whether it is alive and ready, for probes.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The status as it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.clock.now();
        let mut status = self.open().clone();
        for organization in status.organizations.values_mut() {
            organization.running.iter_mut().chain(&mut organization.verifying).for_each(Running::look);
            organization.age_seconds = organization.changed_until.map(|until| (now - until).num_seconds());
            for job in organization.jobs.values_mut() {
                job.late = job.late_from.is_some_and(|from| from <= now);
                job.next = job.next.map(|next| next.max(now));
            }
            organization.late = organization.late_from.is_some_and(|from| from <= now);
        }
        status
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Status> {
        // A panic elsewhere leaves a status behind that is whole in each field.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
