//! The verbs, from settings to exit code.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::asana::Client;
use crate::backup;
use crate::cli::arguments::{Arguments, RunArguments};
use crate::cli::{alone, open, show};
use crate::clock::Clock;
use crate::config::{Config, Filters};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{RunId, SnapshotNumber};
use crate::repository::Repository;
use crate::telemetry::{self, Progress, Readings};
use crate::verify;

/// Backs up every chosen organization. One that fails does not stop the others; the first failure is the exit code.
pub(super) async fn run(
    arguments: &Arguments,
    wanted: &RunArguments,
    stop: &CancellationToken,
) -> Result<u8> {
    let (config, chosen) = open::settings(arguments)?;
    let mut clients = open::Clients::default();
    let mut failed: Option<Error> = None;
    let mut code = 0;
    for (name, organization) in chosen {
        let one = async {
            let client = clients.open(&config, &organization)?;
            let store = open::store(&organization.repository, &organization.store)?;
            let clock = Clock::wall();
            let repository = Repository::open_or_create(store, &organization.gid, clock.now()).await?;
            let job =
                Job { config: &config, client, clock, repository, filters: organization.filters.clone() };
            back_up(arguments, job, wanted, stop).await
        };
        match one.await {
            Ok(outcome) => {
                if outcome.new_gaps > 0 {
                    code = wanted.gaps_exit_code;
                }
                if arguments.json() {
                    show::json(&outcome)?;
                } else {
                    show::line(show::outcome(&outcome));
                    if wanted.explain {
                        show::line(show::requests(&outcome));
                    }
                }
            }
            // Nobody wants the others either.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                tracing::error!(organization = %name, %error, "backup failed");
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(code), Err)
}

/// What is backed up, by whom, to where.
pub(super) struct Job<'a> {
    pub(super) config: &'a Config,
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) repository: Repository,
    pub(super) filters: Filters,
}

/// Backs up one organization, with progress.
pub(super) async fn back_up(
    arguments: &Arguments,
    job: Job<'_>,
    wanted: &RunArguments,
    stop: &CancellationToken,
) -> Result<backup::Outcome> {
    let Job { config, client, clock, repository, filters } = job;
    let holder = wanted.holder.clone().or_else(|| config.run.holder.clone()).unwrap_or_else(alone::name);
    let _alone = alone::alone(&repository, &holder)?;
    let progress = Arc::new(Progress::default());
    let (planned, mut plans) = mpsc::unbounded_channel();
    let run = backup::Run {
        client: client.clone(),
        clock,
        repository,
        filters,
        id: RunId(ulid::Ulid::generate()),
        holder,
        full: wanted.full,
        accept_deletions: wanted.accept_deletions,
        reconcile: config.run.reconcile.interval(),
        commit_every: Duration::from_secs(60) * config.run.commit_every_minutes.get(),
        stop: stop.clone(),
        planned: wanted.explain.then_some(planned),
        workers: config.pace.in_flight.get() as usize,
        open_bytes: config.memory.open_parts_mib.get() << 20,
        progress: Arc::clone(&progress),
    };
    let readings = || {
        let live = client.live();
        Readings {
            requests: live.requests,
            last_minute: live.last_minute as u64,
            limit: u64::from(live.limit),
        }
    };
    let explained = async {
        while let Some(plan) = plans.recv().await {
            if arguments.json() {
                show::json(&plan)?;
            } else {
                show::line(show::plan(&plan));
            }
        }
        // Whoever shows the progress goes on.
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        outcome = backup::run(run) => outcome,
        failed = explained => Err(failed.expect_err("only a failure ends it")),
        () = async { telemetry::show(&progress, readings).await } => unreachable!("the display never ends by itself"),
    }
}

/// Lists snapshots.
pub(super) async fn snapshots(arguments: &Arguments) -> Result<u8> {
    for (_, url, settings) in open::repositories(arguments)? {
        let repository = open::repository(&url, &settings).await?;
        let mut all = Vec::new();
        for number in repository.snapshots().await? {
            all.push(repository.snapshot(number).await?.snapshot);
        }
        if arguments.json() {
            all.iter().try_for_each(show::json)?;
        } else if all.is_empty() {
            show::line(format!("{url} has no snapshot yet"));
        } else {
            show::line(show::snapshots(&all));
        }
    }
    Ok(0)
}

/// Verifies repositories.
pub(super) async fn verify(arguments: &Arguments, snapshot: Option<u64>, deep: bool) -> Result<u8> {
    let scope = verify::Scope { snapshot: snapshot.map(SnapshotNumber), deep };
    let mut failed = Ok(());
    for (_, url, settings) in open::repositories(arguments)? {
        let repository = open::repository(&url, &settings).await?;
        let report = verify::verify(&repository, scope).await?;
        if arguments.json() {
            show::json(&report)?
        } else {
            show::line(show::report(&report))
        }
        failed = failed.and(report.result());
    }
    failed.map(|()| 0)
}
