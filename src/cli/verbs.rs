//! The verbs, from settings to exit code.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::backup::{Outcome, Walk};
use crate::cli::arguments::{Arguments, HowArguments};
use crate::cli::{chosen, show};
use crate::clock::Clock;
use crate::config::{Config, Organization, StoreSettings};
use crate::daemon::{self, Job, Outside, Wanted, Watch, open};
use crate::error::{Error, ErrorKind, Result};
use crate::model::SnapshotNumber;
use crate::telemetry::{self, Metrics, Outlets};
use crate::verify;

/// Backs up every chosen organization. One that fails does not stop the others; the first failure is the exit code.
pub(super) async fn run(
    arguments: &Arguments,
    walk: &Walk,
    how: &HowArguments,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<u8> {
    let (config, chosen) = chosen::settings(arguments)?;
    if how.accept_deletions {
        chosen::one_only(chosen.len(), "deletions")?;
    }
    let outside = Outside::real().telling(Outlets::new(&config.metrics, metrics.clone())?);
    let mut failed: Option<Error> = None;
    let mut code = 0;
    for (name, organization) in &chosen {
        match back_up(arguments, &outside, (name, organization), &config, walk, how, stop).await {
            Ok(outcome) => {
                if outcome.new_gaps > 0 {
                    code = how.gaps_exit_code;
                }
                if arguments.json() {
                    show::json(&outcome)?;
                } else {
                    show::line(show::outcome(&outcome));
                    if how.explain {
                        show::line(show::requests(&outcome));
                    }
                }
                outcome.told().await;
            }
            // Nobody wants the others either.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // Its job's last line has said all of it.
            Err(error) if chosen.len() > 1 => failed = failed.or(Some(error.doing(name.clone()).logged())),
            Err(error) => failed = Some(error.logged()),
        }
    }
    failed.map_or(Ok(code), Err)
}

/// Backs up one organization, with progress.
pub(super) async fn back_up(
    arguments: &Arguments,
    outside: &Outside,
    (name, organization): (&str, &Organization),
    config: &Config,
    walk: &Walk,
    how: &HowArguments,
    stop: &CancellationToken,
) -> Result<Outcome> {
    let (planned, mut plans) = mpsc::unbounded_channel();
    let wanted = Wanted {
        holder: how.holder.clone(),
        walk: walk.clone(),
        accept_deletions: how.accept_deletions,
        planned: how.explain.then_some(planned),
        failing: None,
    };
    let watch = Watch::default();
    let job = Job { name, organization, config, wanted: &wanted, watch: &watch };
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
    let span = tracing::info_span!("job", organization = name);
    let shown = telemetry::show(watch.progress(), || watch.readings()).instrument(span);
    tokio::select! {
        outcome = daemon::back_up(outside, job, stop) => outcome,
        failed = explained => Err(failed.expect_err("only a failure ends it")),
        () = shown => unreachable!("the display never ends by itself"),
    }
}

/// Lists snapshots.
pub(super) async fn snapshots(arguments: &Arguments) -> Result<u8> {
    chosen::each(arguments, async |_, url, settings| {
        let repository = open::repository(url, settings).await?;
        let mut all = Vec::new();
        for number in repository.snapshots().await? {
            all.push(repository.snapshot(number).await?.snapshot);
        }
        if arguments.json() {
            return all.iter().try_for_each(show::json);
        }
        if all.is_empty() {
            show::line(format!("{url} has no snapshot yet"));
        } else {
            show::line(show::snapshots(&all));
        }
        Ok(())
    })
    .await?;
    Ok(0)
}

/// Verifies repositories.
pub(super) async fn verify(
    arguments: &Arguments,
    metrics: &Metrics,
    snapshot: Option<u64>,
    deep: bool,
) -> Result<u8> {
    let scope = verify::Scope { snapshot: snapshot.map(SnapshotNumber), deep };
    let outlets = chosen::outlets(arguments, metrics)?;
    chosen::each(arguments, async |name, url, settings| {
        let verified = verify_one(arguments, url, settings, scope).await;
        // One snapshot found whole says nothing about the others.
        if let Some(outlets) = outlets.as_ref().filter(|_| verified.is_err() || snapshot.is_none()) {
            let code = verified.as_ref().map_or_else(|error| error.kind().exit_code(), |()| 0);
            outlets.verified(name, code, Clock::wall().now()).await;
        }
        verified
    })
    .await?;
    Ok(0)
}

async fn verify_one(
    arguments: &Arguments,
    url: &str,
    settings: &StoreSettings,
    scope: verify::Scope,
) -> Result<()> {
    let repository = open::repository(url, settings).await?;
    let report = verify::verify(&repository, scope).await?;
    if arguments.json() {
        show::json(&report)?
    } else {
        show::line(show::report(&report))
    }
    report.result()
}
