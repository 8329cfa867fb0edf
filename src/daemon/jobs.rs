//! The jobs that run, what each works on, and who may begin beside them.
//!
//! Rule: a job is known by a number of its own, so that its end is never taken for another's. No two jobs work for one
//! organization of the settings, or write one repository, at once; a verify only reads, and may run beside a backup of
//! its repository. Whoever takes long leaves room for those that do not: one verify at a time, which takes no place of a
//! backup, and no first copy in the last place while somebody has a copy to keep current.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::backup::{Outcome, Walk};
use crate::config::{Config, Organization};
use crate::daemon::last::Last;
use crate::daemon::schedule::Kind;
use crate::daemon::{Job, Outside, Wanted, Watch, job, trial};
use crate::error::{Error, ErrorKind, Result};
use crate::verify::Report;

/// The number of a job, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobId(u64);

/// A job that is due. Who has waited longest comes first, so that nobody waits for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) since: DateTime<Utc>,
    pub(super) kind: Kind,
    /// The organization's name in the settings.
    pub(super) name: String,
    pub(super) repository: String,
    /// Whether it makes a first copy, or goes on with one: that may take days.
    pub(super) is_first_copy: bool,
}

/// A job that begins, or runs.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) due: Due,
    pub(super) began_at: DateTime<Utc>,
    pub(super) watch: Watch,
    pub(super) stop: CancellationToken,
    /// Of a verify: when the one before began.
    pub(super) before: Option<DateTime<Utc>>,
}

/// A job that has ended.
#[derive(Debug)]
pub(super) struct Done {
    /// Of a backup. A verification has none.
    pub(super) outcome: Option<Outcome>,
    pub(super) error: Option<Error>,
    pub(super) exit_code: u8,
    /// What the repository says, where it was asked.
    pub(super) last: Option<Last>,
}

impl Done {
    /// Whether it was stopped, and nothing came of it.
    pub(super) fn is_stopped(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Cancelled)
    }
}

/// What a job needs beside what is due.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) outside: Outside,
    pub(super) config: Arc<Config>,
    pub(super) organization: Arc<Organization>,
    pub(super) wanted: Wanted,
    /// Whether the repository told of earlier runs already.
    pub(super) is_known: bool,
}

/// Those that run. They share the loop's task, so that a sign of life speaks for them too; what takes the processor long
/// has threads of its own.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    running: FuturesUnordered<LocalBoxFuture<'static, (JobId, Done)>>,
    begun: BTreeMap<JobId, Begun>,
    next: u64,
}

impl Jobs {
    /// A number that no other job has.
    pub(super) fn id(&mut self) -> JobId {
        self.next += 1;
        JobId(self.next)
    }

    /// Whether `due` may begin, where `at_once` jobs may write at once; `others` says that other organizations have copies
    /// that are to be kept current.
    pub(super) fn have_room_for(&self, due: &Due, at_once: usize, others: bool) -> bool {
        let is_moved = |one: &Due| one.name == due.name && one.repository != due.repository;
        if self.begun.values().any(|begun| is_moved(&begun.due)) {
            return false;
        }
        let is_verify = |due: &Due| due.kind == Kind::Verify;
        let mut like =
            self.begun.values().map(|begun| &begun.due).filter(|one| is_verify(one) == is_verify(due));
        if is_verify(due) {
            return like.next().is_none();
        }
        let (mut all, mut first_copies) = (0, 0);
        for one in like {
            if one.repository == due.repository {
                return false;
            }
            all += 1;
            first_copies += usize::from(one.is_first_copy);
        }
        let kept_free = usize::from(others && at_once > 1);
        all < at_once && (!due.is_first_copy || first_copies + kept_free < at_once)
    }

    /// Begins a job.
    pub(super) fn begin(&mut self, id: JobId, begun: Begun, means: Means) {
        let (work, stop) = (begun.clone(), begun.stop.clone());
        self.begun.insert(id, begun);
        self.running.push(Box::pin(async move {
            let carried_out = carry_out(&work, &means, &stop);
            let done = AssertUnwindSafe(carried_out)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| broke_off(&work.due.name));
            (id, done)
        }));
    }

    /// The next job that ends; none, where none runs.
    pub(super) async fn next(&mut self) -> Option<(JobId, Begun, Done)> {
        let (id, done) = self.running.next().await?;
        let begun = self.begun.remove(&id)?;
        Some((id, begun, done))
    }

    /// Stops those that nobody holds any more.
    pub(super) fn stop_unless(&self, is_held: impl Fn(JobId) -> bool) {
        for (_, begun) in self.begun.iter().filter(|(id, _)| !is_held(**id)) {
            tracing::info!(organization = begun.due.name, job = %begun.due.kind, "the settings ask for something else: stopping");
            begun.stop.cancel();
        }
    }

    /// All that run, to see whether they get on.
    pub(super) fn watched(&self) -> impl Iterator<Item = (JobId, &str, &Watch)> {
        self.begun.iter().map(|(id, begun)| (*id, begun.due.name.as_str(), &begun.watch))
    }
}

async fn carry_out(begun: &Begun, means: &Means, stop: &CancellationToken) -> Done {
    let Means { outside, config, organization, wanted, is_known } = means;
    let Begun { due: Due { kind, name, .. }, watch, .. } = begun;
    if *kind == Kind::Verify {
        return verified(job::verify(outside, name, organization, watch, stop).await);
    }
    let job = Job { name, organization, config, wanted, watch };
    let result = job::back_up(outside, job, stop).await;
    let exit_code = job::exit_code(&result);
    match result {
        Ok(outcome) => {
            // What a snapshot says is told by the snapshot, also of those that others made meanwhile.
            let last = trial::last(outside, organization).await.ok();
            outcome.told().await;
            Done { outcome: Some(outcome), error: None, exit_code, last }
        }
        Err(error) => {
            // A store that did not answer at the start may do so by now, whatever else went wrong.
            let asks = !is_known && error.kind() != ErrorKind::Cancelled;
            let last = if asks { trial::last(outside, organization).await.ok() } else { None };
            Done { outcome: None, error: Some(error), exit_code, last }
        }
    }
}

fn verified(result: Result<Report>) -> Done {
    let error = result.err();
    let exit_code = error.as_ref().map_or(0, |error| error.kind().exit_code());
    Done { outcome: None, error, exit_code, last: None }
}

/// What comes of a panic beside the job itself, as where it is told: it was one organization's, and the others go on.
fn broke_off(name: &str) -> Done {
    let error = job::broke_off();
    let remedy = error.remedy_text().unwrap_or_default();
    tracing::error!(organization = name, %error, remedy, "the job broke off");
    Done { outcome: None, error: Some(error), exit_code: ErrorKind::Bug.exit_code(), last: None }
}

/// How a job differs from a run that somebody types.
pub(super) fn wanted(kind: Kind, backups_walk: bool) -> Wanted {
    let walk = match kind {
        Kind::Reconcile => Walk::Share,
        Kind::Backup if backups_walk => Walk::WhenDue,
        Kind::Backup | Kind::Verify => Walk::Nothing,
    };
    Wanted { walk, ..Wanted::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(kind: Kind, name: &str, is_first_copy: bool) -> Due {
        let repository = format!("memory:///{name}");
        Due { since: DateTime::UNIX_EPOCH, kind, name: name.to_owned(), repository, is_first_copy }
    }

    fn jobs(running: &[Due]) -> Jobs {
        let mut jobs = Jobs::default();
        for due in running {
            let id = jobs.id();
            let begun = Begun {
                due: due.clone(),
                began_at: due.since,
                watch: Watch::default(),
                stop: CancellationToken::new(),
                before: None,
            };
            jobs.begun.insert(id, begun);
        }
        jobs
    }

    #[test]
    fn first_copies_leave_a_place_to_those_that_have_a_copy_to_keep_current() {
        let first = |name| due(Kind::Backup, name, true);
        let hourly = |name| due(Kind::Backup, name, false);
        let one = jobs(&[first("a")]);
        assert!(!one.have_room_for(&first("b"), 2, true));
        assert!(one.have_room_for(&hourly("b"), 2, true));
        assert!(one.have_room_for(&first("b"), 3, true));
        // A place that nobody else could take is not kept free.
        assert!(one.have_room_for(&first("b"), 2, false));
        assert!(jobs(&[]).have_room_for(&first("a"), 1, true));
        assert!(jobs(&[hourly("a")]).have_room_for(&first("b"), 2, true));
        assert!(!jobs(&[hourly("a"), first("b")]).have_room_for(&hourly("c"), 2, true));
        assert!(!jobs(&[first("a"), first("b")]).have_room_for(&first("c"), 3, true));
    }

    #[test]
    fn one_verify_runs_at_a_time_and_takes_no_place_of_a_backup() {
        let verify = |name| due(Kind::Verify, name, false);
        let full = jobs(&[due(Kind::Backup, "a", false), due(Kind::Backup, "b", false)]);
        assert!(full.have_room_for(&verify("a"), 2, true));
        let one = jobs(&[verify("a")]);
        assert!(!one.have_room_for(&verify("b"), 9, true));
        assert!(one.have_room_for(&due(Kind::Backup, "a", false), 1, true));
    }

    #[test]
    fn no_two_jobs_write_one_repository_or_work_for_one_name() {
        let running = jobs(&[due(Kind::Backup, "a", false)]);
        let renamed = Due { name: "b".to_owned(), ..due(Kind::Reconcile, "a", false) };
        let moved = Due { repository: "memory:///b".to_owned(), ..due(Kind::Backup, "a", false) };
        assert!(!running.have_room_for(&renamed, 9, true));
        assert!(!running.have_room_for(&moved, 9, true));
    }
}
