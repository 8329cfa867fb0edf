//! A job: one attempt to bring the repository of one organization up to date, from its settings to its outcome.
//!
//! Rule: whoever wants a backup calls [`back_up`]: a tick, a signal, the command line. It is idempotent, has no retry
//! inside, and is alone on this machine under its holder's name. Every line that is logged meanwhile names the
//! organization. A crash leaves what a crash of its run leaves; the lock goes with the process.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::asana::{Client, Live};
use crate::backup::{self, Outcome};
use crate::config::{Config, Organization};
use crate::crawl::Plan;
use crate::daemon::{Outside, alone, tell};
use crate::error::{Error, ErrorKind, NEW_GAPS, Result};
use crate::model::RunId;
use crate::repository::Repository;
use crate::telemetry::{Progress, Readings};
use crate::verify::{self, Report};

/// What is backed up, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The organization's name in the settings.
    pub name: &'a str,
    /// Its settings.
    pub organization: &'a Organization,
    /// The settings of all.
    pub config: &'a Config,
    /// How this run differs from the usual.
    pub wanted: &'a Wanted,
    /// Lets others see how far it is.
    pub watch: &'a Watch,
}

/// How a run differs from the usual.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names whoever runs; without it the settings do, or user, host and lock.
    pub holder: Option<String>,
    /// How much to walk, beside reading what changed.
    pub walk: backup::Walk,
    /// Whether deletions that would be held back may happen.
    pub accept_deletions: bool,
    /// Is told the plan, once there is one.
    pub planned: Option<mpsc::UnboundedSender<Plan>>,
    /// How the attempts before this one failed, if they did.
    pub failing: Option<Failing>,
}

/// Attempts that failed alike, one after the other: of an outage the log has a line where it begins and one where it is
/// over, however many ticks it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// What went wrong, without numbers: which page or object met it makes no other outage of it.
    pub what: String,
    /// When the first began.
    pub since: DateTime<Utc>,
    /// How many there were.
    pub attempts: u32,
}

impl Failing {
    /// What is compared of an error.
    #[must_use]
    pub fn words(error: &str) -> String {
        error.chars().filter(|letter| !letter.is_ascii_digit()).collect()
    }
}

/// How far a job is, for whoever looks at it while it works. Clones look at the same job.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    progress: Arc<Progress>,
    client: Arc<OnceLock<Client>>,
}

impl Watch {
    /// What the run counts.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What its client is doing, once there is one.
    #[must_use]
    pub fn live(&self) -> Option<Live> {
        self.client.get().map(Client::live)
    }

    /// Whether it keeps still because Asana asked for patience.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.live().is_some_and(|live| live.stands_still.is_some())
    }

    /// Grows as long as the job gets on.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.progress.moved() + self.live().map_or(0, |live| live.requests)
    }

    /// The same, for a display.
    #[must_use]
    pub fn readings(&self) -> Readings {
        self.live().map_or_else(Readings::default, |live| Readings {
            requests: live.requests,
            last_minute: live.last_minute as u64,
            limit: u64::from(live.limit),
        })
    }

    /// The client of the job, once there is one: its statistics are what the job asked.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.client.get()
    }
}

/// Backs up one organization. The future may be dropped at any moment, as by a crash.
pub async fn back_up(outside: &Outside, job: Job<'_>, stop: &CancellationToken) -> Result<Outcome> {
    let id = RunId(ulid::Ulid::generate());
    let span = tracing::info_span!("job", organization = job.name, run = %id);
    let whole = async {
        begins(&job);
        let told = tell::begins(outside, &job, id);
        let done = or_broken_off(attempt(outside, &job, id, stop)).await;
        ends(&done, job.wanted.failing.as_ref());
        tell::ends(told, &done, outside.clock().now()).await;
        done
    };
    whole.instrument(span).await
}

/// Verifies the repository of one organization: every object that snapshots name.
pub async fn verify(
    outside: &Outside,
    name: &str,
    organization: &Organization,
    watch: &Watch,
    stop: &CancellationToken,
) -> Result<Report> {
    let span = tracing::info_span!("job", organization = name);
    let whole = async {
        let reads = async {
            let repository = Repository::open(outside.store(organization).await?).await?;
            let scope = verify::Scope { snapshot: None, deep: false };
            let report = verify::verify_watched(&repository, scope, watch.progress()).await?;
            report.result().map(|()| report)
        };
        tracing::info!(gid = organization.gid, "verify begins");
        watch.progress().doing("verifying");
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::new(ErrorKind::Cancelled, "stopped while verifying")),
            done = or_broken_off(reads) => done,
        };
        match &done {
            Ok(report) => tracing::info!(objects = report.objects, bytes = report.bytes, "verify ends"),
            Err(error) if error.kind() == ErrorKind::Cancelled => tracing::warn!("verify was stopped"),
            Err(error) => {
                let remedy = error.remedy_text().unwrap_or_default();
                tracing::error!(exit_code = error.kind().exit_code(), %error, remedy, "verify failed");
            }
        }
        tell::verified(outside, name, &done).await;
        done
    };
    whole.instrument(span).await
}

/// What comes of `work`, also where it panics: that is told like any other end, and is one organization's.
pub(super) async fn or_broken_off<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(broke_off()))
}

/// What is said of a panic.
pub(super) fn broke_off() -> Error {
    Error::new(ErrorKind::Bug, "the job broke off").remedy("report it, with the lines before")
}

/// The one place where a job begins.
fn begins(job: &Job<'_>) {
    let gid = &job.organization.gid;
    match &job.wanted.failing {
        None => tracing::info!(gid, "backup begins"),
        Some(_) => tracing::debug!(gid, "backup begins"),
    }
}

/// The one place where a job ends, however it does. The error is logged here, and nowhere else.
fn ends(done: &Result<Outcome>, failing: Option<&Failing>) {
    let code = exit_code(done);
    match done {
        Ok(outcome) => tracing::info!(
            exit_code = code,
            failed_since = failing.map(|failing| tracing::field::display(failing.since)),
            failed_attempts = failing.map(|failing| failing.attempts),
            snapshot = %outcome.snapshot,
            complete = outcome.complete,
            gaps = outcome.gaps.len(),
            new_gaps = outcome.new_gaps,
            "backup ends"
        ),
        Err(error) if failing.is_some_and(|failing| failing.what == Failing::words(&error.to_string())) => {
            tracing::debug!(exit_code = code, %error, "backup fails still");
        }
        // Nobody has to act: it was asked for, or another run is at work.
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Conflict) => {
            tracing::warn!(exit_code = code, %error, "backup ends without a snapshot");
        }
        Err(error) => {
            let remedy = error.remedy_text().unwrap_or_default();
            tracing::error!(exit_code = code, %error, remedy, "backup failed");
        }
    }
}

/// The exit code of what came of a job.
#[must_use]
pub fn exit_code(done: &Result<Outcome>) -> u8 {
    match done {
        Ok(outcome) if outcome.new_gaps > 0 => NEW_GAPS,
        Ok(_) => 0,
        Err(error) => error.kind().exit_code(),
    }
}

async fn attempt(outside: &Outside, job: &Job<'_>, id: RunId, stop: &CancellationToken) -> Result<Outcome> {
    let Job { organization, config, wanted, watch, .. } = job;
    // All moments of a run are on one line, also where somebody sets the machine's clock meanwhile.
    let clock = outside.clock().anchored();
    let client = outside.client(config, organization, &clock)?;
    watch
        .client
        .set(client.clone())
        .map_err(|_| Error::new(ErrorKind::Bug, "somebody watches two jobs at once"))?;
    let opened = async {
        let token = backup::identify(&client).await?;
        let store = outside.store(organization).await?;
        Ok((token, Repository::open_or_create(store, &organization.gid, clock.now()).await?))
    };
    let (token, repository) = backup::unless_stopped(stop, opened).await?;
    let alone = alone::alone(&repository, wanted.holder.clone().or_else(|| config.run.holder.clone()))?;
    let run = backup::Run {
        client,
        token,
        clock,
        repository,
        filters: organization.filters.clone(),
        id,
        holder: alone.name().to_owned(),
        walk: wanted.walk.clone(),
        accept_deletions: wanted.accept_deletions,
        reconcile: config.run.reconcile.interval(),
        commit_every: Duration::from_secs(60) * config.run.commit_every_minutes.get(),
        stop: stop.clone(),
        planned: wanted.planned.clone(),
        workers: config.pace.in_flight.get() as usize,
        open_bytes: config.memory.open_parts_mib.get() << 20,
        progress: Arc::clone(&watch.progress),
    };
    backup::run(run).await
}
