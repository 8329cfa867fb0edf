//! The verbs, from settings to exit code.

use std::sync::Arc;

use crate::asana::Client;
use crate::backup;
use crate::cli::arguments::Arguments;
use crate::cli::{NEW_GAPS, open, show};
use crate::clock::Clock;
use crate::config::{Config, Filters};
use crate::error::{Error, Result};
use crate::model::{RunId, SnapshotNumber};
use crate::repository::Repository;
use crate::telemetry::{self, Progress, Readings};
use crate::verify;

/// Backs up every chosen organization. One that fails does not stop the others; the first failure is the exit code.
pub(super) async fn run(arguments: &Arguments) -> Result<u8> {
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
            back_up(&config, client, clock, repository, organization.filters.clone()).await
        };
        match one.await {
            Ok(outcome) => {
                if outcome.new_gaps > 0 {
                    code = NEW_GAPS;
                }
                if arguments.json() { show::json(&outcome)? } else { show::line(show::outcome(&outcome)) }
            }
            Err(error) => {
                tracing::error!(organization = %name, %error, "backup failed");
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(code), Err)
}

/// Backs up one organization, with progress.
pub(super) async fn back_up(
    config: &Config,
    client: Client,
    clock: Clock,
    repository: Repository,
    filters: Filters,
) -> Result<backup::Outcome> {
    let progress = Arc::new(Progress::default());
    let run = backup::Run {
        client: client.clone(),
        clock,
        repository,
        filters,
        id: RunId(ulid::Ulid::generate()),
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
    tokio::select! {
        outcome = backup::run(run) => outcome,
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
