//! The verb `gaps`: what could not be read, and accepting it.

use chrono::{NaiveTime, TimeDelta};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::backup::{self, Accept, unless_stopped};
use crate::cli::arguments::{AcceptArguments, Arguments, GapsCommand};
use crate::cli::{chosen, show};
use crate::clock::Clock;
use crate::daemon::{alone, open};
use crate::error::Result;
use crate::model::{Acceptance, Gap, RunId};
use crate::repository::Repository;

/// Lists the gaps of the latest snapshot, or accepts some.
pub(super) async fn gaps(
    arguments: &Arguments,
    command: Option<&GapsCommand>,
    stop: &CancellationToken,
) -> Result<u8> {
    if matches!(command, Some(GapsCommand::Accept(_))) {
        chosen::one_only(chosen::repositories(arguments)?.len(), "gaps")?;
    }
    chosen::each(arguments, async |name, url, settings| {
        let repository = unless_stopped(stop, open::repository(url, settings)).await?;
        match command {
            None => list(arguments, name, &repository, url).await,
            Some(GapsCommand::Accept(wanted)) => accept(arguments, name, &repository, wanted).await,
        }
    })
    .await?;
    Ok(0)
}

/// A gap, and whose it is.
#[derive(Serialize)]
struct Line<'a> {
    /// The organization's name, or the repository's URL.
    name: &'a str,
    /// Its gid.
    organization: &'a str,
    #[serde(flatten)]
    gap: &'a Gap,
}

fn lines(name: &str, repository: &Repository, gaps: &[Gap]) -> Result<()> {
    let organization = repository.organization();
    gaps.iter().try_for_each(|gap| show::json(&Line { name, organization, gap }))
}

async fn list(arguments: &Arguments, name: &str, repository: &Repository, url: &str) -> Result<()> {
    let Some(latest) = repository.latest().await? else {
        if !arguments.json() {
            show::line(format!("{url} has no snapshot yet"));
        }
        return Ok(());
    };
    let gaps: Vec<Gap> = repository.list(latest.snapshot.gaps).await?;
    if arguments.json() {
        return lines(name, repository, &gaps);
    }
    if gaps.is_empty() {
        show::line(format!("snapshot {} has no gap", latest.snapshot.number));
    } else {
        show::line(show::gaps(&gaps));
    }
    Ok(())
}

async fn accept(
    arguments: &Arguments,
    name: &str,
    repository: &Repository,
    wanted: &AcceptArguments,
) -> Result<()> {
    let clock = Clock::wall();
    let alone = alone::alone(repository, None)?;
    // The day itself still counts.
    let until = wanted.until.map(|day| day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1));
    let word = Accept {
        table: wanted.table.clone(),
        scope: wanted.scope.clone(),
        gid: wanted.gid.clone(),
        acceptance: Acceptance { by: alone::who(), reason: wanted.reason.clone(), at: clock.now(), until },
        holder: alone.name().to_owned(),
    };
    let id = RunId(ulid::Ulid::generate());
    let (number, accepted) = backup::accept(repository, &clock, id, &word).await?;
    if arguments.json() {
        return lines(name, repository, &accepted);
    }
    show::line(show::gaps(&accepted));
    show::line(format!("\naccepted {} gaps, in snapshot {number}", accepted.len()));
    Ok(())
}
