//! What is due for one organization, and what came of it.
//!
//! Rule: a job that has begun is not due again before its next tick, whatever came of it: the next tick is the retry. No
//! two jobs of one organization write at once; a verify only reads, and waits for none of them, nor they for it. Whatever
//! is turned off or missed, something walks: without reconciling jobs, or where they are late, backups walk the share
//! that is due.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::config::{Config, Organization, ScheduleSettings};
use crate::daemon::job::Failing;
use crate::daemon::jobs::JobId;
use crate::daemon::last::Last;
use crate::daemon::schedule::{Kind, Times};
use crate::daemon::state::Remembered;
use crate::daemon::status::{Ended, JobStatus, OrganizationStatus, Running};
use crate::error::{ErrorKind, Result};
use crate::model::Snapshot;
use crate::telemetry::table;

/// How many of the next times are told.
const UPCOMING: usize = 5;

/// The jobs of one organization.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The organization's name in the settings.
    name: String,
    pub(super) organization: Arc<Organization>,
    times: BTreeMap<Kind, Times>,
    zone: String,
    /// Whose ticks say when a copy is late.
    leads: Option<Kind>,
    /// When each job last began. One that never did is due at once.
    began: BTreeMap<Kind, DateTime<Utc>>,
    /// When those began that succeeded.
    succeeded: BTreeMap<Kind, DateTime<Utc>>,
    /// The same, unless the clock was set back since: from then on being late is counted anew.
    timely: BTreeMap<Kind, DateTime<Utc>>,
    /// Since when the settings name the repository: nothing was late before.
    since: DateTime<Utc>,
    /// What the repository says of earlier jobs; none as long as it was not asked, or did not answer.
    last: Option<Last>,
    /// Whether token and repository are being tried: until then nothing begins.
    pub(super) is_tried: bool,
    running: Option<Running>,
    verifying: Option<Running>,
    ended: BTreeMap<Kind, Ended>,
    /// How the last attempts to make a snapshot failed.
    failing: Option<Failing>,
    /// Whether somebody wants a backup at once.
    pub(super) wanted: bool,
}

/// The times of all jobs of an organization that are not turned off.
pub(super) fn times(
    config: &Config,
    name: &str,
    organization: &Organization,
) -> Result<BTreeMap<Kind, Times>> {
    let settings = config.schedule.with(&organization.schedule);
    all_times(&settings, &organization.gid)
        .map_err(|error| error.doing(format!("read the schedule of {name}")))
}

fn all_times(settings: &ScheduleSettings, gid: &str) -> Result<BTreeMap<Kind, Times>> {
    let mut all = BTreeMap::new();
    for kind in Kind::ALL {
        all.extend(Times::of(kind, settings, gid)?.map(|times| (kind, times)));
    }
    Ok(all)
}

/// The job by whose ticks a copy is in time or late: backups, and where they are turned off, reconciling.
pub(super) fn leads(times: &BTreeMap<Kind, Times>) -> Option<Kind> {
    [Kind::Backup, Kind::Reconcile].into_iter().find(|kind| times.contains_key(kind))
}

/// The times of that job; none, where nothing makes snapshots by itself.
pub(crate) fn leading(settings: &ScheduleSettings, gid: &str) -> Result<Option<Times>> {
    let mut times = all_times(settings, gid)?;
    Ok(leads(&times).and_then(|kind| times.remove(&kind)))
}

/// In words, when the jobs of an organization begin the next five times.
pub(crate) fn upcoming(config: &Config, organization: &Organization, now: DateTime<Utc>) -> Result<String> {
    let settings = config.schedule.with(&organization.schedule);
    let times = times(config, &organization.gid, organization)?;
    let mut words = Vec::new();
    for kind in [Kind::Backup, Kind::Reconcile, Kind::Verify] {
        let Some(times) = times.get(&kind) else {
            words.push(format!("{kind}: never"));
            continue;
        };
        let moments = times.upcoming(now, UPCOMING).into_iter();
        let moments: Vec<_> = moments.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).collect();
        words.push(format!("{kind}: {} {}: {}", times.expression(), settings.timezone, moments.join(", ")));
        words.extend(times.warning(now).filter(|_| kind == Kind::Backup));
    }
    Ok(format!("for the daemon\n         {}", words.join("\n         ")))
}

impl Agenda {
    /// An agenda. Nothing is known of earlier jobs but what is remembered on this machine.
    pub(super) fn new(
        config: &Config,
        name: &str,
        organization: Organization,
        remembered: Remembered,
    ) -> Result<Self> {
        let times = times(config, name, &organization)?;
        let Remembered { since, verify_began, succeeded, told } = remembered;
        let found_damage = told.get(table::LAST_VERIFY_EXIT_CODE.name).is_some_and(|code| *code != 0.0);
        // Whoever starts it has repaired something: what was wrong is looked at again at once.
        let verified = (!found_damage).then_some((Kind::Verify, verify_began.unwrap_or(since)));
        Ok(Self {
            name: name.to_owned(),
            leads: leads(&times),
            times,
            zone: config.schedule.with(&organization.schedule).timezone,
            organization: Arc::new(organization),
            began: verified.into_iter().collect(),
            timely: succeeded.clone(),
            succeeded,
            since,
            last: None,
            is_tried: false,
            running: None,
            verifying: None,
            ended: BTreeMap::new(),
            failing: None,
            wanted: false,
        })
    }

    /// Whether it is about the organization and the repository of these settings.
    pub(super) fn is_of(&self, other: &Organization) -> bool {
        self.organization.gid == other.gid && self.organization.repository == other.repository
    }

    /// What another agenda of the same repository knows, with these settings.
    pub(super) fn take_over(&mut self, before: Self) {
        let Self { times, zone, leads, organization, .. } = &*self;
        let (times, zone, leads) = (times.clone(), zone.clone(), *leads);
        let organization = Arc::clone(organization);
        // Whoever has changed the settings is told what comes of it, also if it is the same again.
        *self = Self { times, zone, leads, organization, failing: None, ..before };
    }

    /// Whether a job is one of its own.
    pub(super) fn holds(&self, id: JobId) -> bool {
        self.running.iter().chain(&self.verifying).any(|running| running.id == id)
    }

    /// What runs.
    pub(super) fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().chain(&self.verifying)
    }

    /// Whether there is no copy yet, or one that is not whole: whatever makes it may take long.
    pub(super) fn is_first_copy(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.snapshot.is_none() || last.unfinished)
    }

    /// What the repository says, as far as it was asked and answered.
    pub(super) fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    fn snapshot(&self) -> Option<&Snapshot> {
        self.last.as_ref()?.snapshot.as_ref()
    }

    /// How the last attempts to make a snapshot failed, if they did.
    pub(super) fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// Whether nothing is known of the repository.
    pub(super) fn is_new(&self) -> bool {
        self.snapshot().is_none() && self.ended.is_empty() && self.running.is_none()
    }

    /// Notes what the repository says of earlier jobs.
    pub(super) fn note(&mut self, last: Last) {
        // A run that has not finished goes on at once.
        let finished = last.backup.filter(|_| !last.unfinished);
        for (kind, at) in [(Kind::Backup, finished), (Kind::Reconcile, last.reconcile)] {
            let Some(at) = at else { continue };
            let began = self.began.entry(kind).or_insert(at);
            *began = at.max(*began);
        }
        for (kind, at) in [(Kind::Backup, last.backup), (Kind::Reconcile, last.reconcile)] {
            // What was heard before may lie ahead of a clock that was set back, and is no news.
            if let Some(at) = at.filter(|at| self.succeeded.get(&kind).is_none_or(|before| before < at)) {
                self.succeeds(kind, at);
            }
        }
        self.last = Some(last);
    }

    /// Notes that a job succeeded which began at `at`.
    fn succeeds(&mut self, kind: Kind, at: DateTime<Utc>) {
        self.succeeded.insert(kind, at);
        self.timely.insert(kind, at);
    }

    /// Goes by a clock that was set back, for what is due and for what is late.
    fn follow(&mut self, now: DateTime<Utc>) {
        self.since = self.since.min(now);
        for (kind, began) in &mut self.began {
            let Some(times) = self.times.get(kind) else { continue };
            let believed = times.believed(*began, now);
            if believed != *began {
                let organization = &self.name;
                tracing::warn!(organization, job = %kind, last = %began, "the clock was set back: going on from now");
                *began = believed;
            }
        }
        for (kind, at) in &mut self.timely {
            if let Some(times) = self.times.get(kind) {
                *at = times.believed(*at, now);
            }
        }
    }

    /// The jobs that are due at `now` and since when: at most one that makes a snapshot, and a verify.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, Kind)> {
        self.follow(now);
        if self.is_tried {
            return Vec::new();
        }
        let due = |kind: Kind| -> Option<(DateTime<Utc>, Kind)> {
            let times = self.times.get(&kind)?;
            let Some(began) = self.began.get(&kind) else { return Some((DateTime::UNIX_EPOCH, kind)) };
            let begins = times.begins(*began)?;
            (begins <= now).then_some((begins, kind))
        };
        let has_copy = self.snapshot().is_some();
        let makes = || {
            let wanted = self.wanted.then_some((DateTime::UNIX_EPOCH, Kind::Backup));
            // There is nothing yet that could be walked again; a job that walks makes a first copy as well.
            let first = if has_copy { Some(Kind::Reconcile) } else { self.leads };
            wanted.or_else(|| first.and_then(due)).or_else(|| due(Kind::Backup))
        };
        let makes = if self.running.is_none() { makes() } else { None };
        let verifies = has_copy && self.verifying.is_none();
        makes.into_iter().chain(verifies.then_some(Kind::Verify).and_then(due)).collect()
    }

    /// Notes that a job begins.
    pub(super) fn begin(&mut self, running: Running) {
        let (kind, now) = (running.job, running.began_at);
        self.began.insert(kind, now);
        if kind == Kind::Reconcile {
            // It reads what changed as well.
            self.began.insert(Kind::Backup, now);
        }
        if kind == Kind::Verify {
            self.verifying = Some(running);
        } else {
            self.wanted = false;
            self.running = Some(running);
        }
    }

    /// Notes what came of one of its jobs.
    pub(super) fn end(&mut self, id: JobId, ended: Ended, last: Option<Last>) {
        let ends = |running: &mut Option<Running>| running.take_if(|running| running.id == id);
        let Some(running) = ends(&mut self.running).or_else(|| ends(&mut self.verifying)) else { return };
        let succeeded = ended.error.is_none();
        if succeeded {
            self.succeeds(running.job, running.began_at);
            if running.job == Kind::Reconcile {
                // It reads what changed as well.
                self.succeeds(Kind::Backup, running.began_at);
            }
        }
        // A job that was stopped says nothing of what it would have met.
        if running.job != Kind::Verify && ended.exit_code != ErrorKind::Cancelled.exit_code() {
            let what = ended.error.as_deref().map(Failing::words);
            let before = self.failing.take().filter(|failing| Some(&failing.what) == what.as_ref());
            let (since, attempts) =
                before.map_or((running.began_at, 1), |before| (before.since, before.attempts + 1));
            self.failing = what.map(|what| Failing { what, since, attempts });
        }
        self.ended.insert(running.job, ended);
        if let Some(last) = last {
            self.note(last);
        }
    }

    /// Whether backups have to walk because nothing else does.
    pub(super) fn backups_walk(&self, now: DateTime<Utc>) -> bool {
        !self.times.contains_key(&Kind::Reconcile)
            || self.late_from(Kind::Reconcile).is_some_and(|late| late <= now)
    }

    fn late_from(&self, kind: Kind) -> Option<DateTime<Utc>> {
        let last = self.timely.get(&kind).copied().unwrap_or(self.since);
        self.times.get(&kind)?.late_from(last)
    }

    /// When the copy is late, whichever job makes the next snapshot.
    fn copy_late_from(&self) -> Option<DateTime<Utc>> {
        let made = [Kind::Backup, Kind::Reconcile].iter().filter_map(|kind| self.timely.get(kind)).max();
        self.times.get(&self.leads?)?.late_from(*made.unwrap_or(&self.since))
    }

    /// What a person should know of the schedule.
    pub(super) fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        match self.times.get(&Kind::Backup) {
            Some(times) => times.warning(now),
            None => {
                Some("backups are turned off: nothing is read by itself but by reconciling jobs".to_owned())
            }
        }
    }

    /// The moment at which a job begins next.
    pub(super) fn next(&self) -> Option<(DateTime<Utc>, Kind)> {
        let moments = self.times.iter().filter_map(|(kind, times)| {
            let began = self.began.get(kind).copied().unwrap_or(self.since);
            Some((times.begins(began)?, *kind))
        });
        moments.min()
    }

    pub(super) fn status(&self, now: DateTime<Utc>) -> OrganizationStatus {
        let jobs = self.times.iter().map(|(kind, times)| {
            let next = match self.began.get(kind) {
                Some(began) => times.begins(*began),
                None => Some(now),
            };
            let status = JobStatus {
                schedule: times.expression().to_owned(),
                timezone: self.zone.clone(),
                interval_seconds: times.interval(now).map(|interval| interval.num_seconds()),
                next,
                succeeded_at: self.succeeded.get(kind).copied(),
                late_from: self.late_from(*kind),
                late: false,
                last: self.ended.get(kind).cloned(),
            };
            (*kind, status)
        });
        OrganizationStatus {
            gid: self.organization.gid.clone(),
            jobs: jobs.collect(),
            running: self.running.clone(),
            verifying: self.verifying.clone(),
            snapshot: self.snapshot().map(|snapshot| snapshot.number.0),
            committed_at: self.snapshot().map(|snapshot| snapshot.committed_at),
            changed_until: self.last.as_ref().and_then(|last| last.backup),
            age_seconds: None,
            late_from: self.copy_late_from(),
            late: false,
        }
    }
}

#[cfg(test)]
mod tests;
