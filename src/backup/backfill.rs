//! Backfills: whether what somebody names can be read again, and the reading.
//!
//! Rule: a backfill of a part is a run over changes that reads that part as well. It proves nothing that was not proven:
//! it marks no slice, settles no lack, and takes no row for gone but those that a listing read to its end does not name,
//! each of which is asked for. So it needs a whole copy to add to, of the same tables and by the same token: what the next
//! run would walk everything for, a backfill must not hide.

use crate::asana::{Answer, Found};
use crate::backup::lookup::Lookup;
use crate::backup::work::Work;
use crate::backup::{Run, Walk, changes, planning};
use crate::crawl::{Backfill, Phase, Reach, Scope};
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Lane, TokenIdentity};
use crate::repository::Committed;
use crate::resources;

/// Refuses a backfill that cannot be, before anything is claimed or written.
pub(super) async fn admit(run: &Run, base: Option<&Committed>, token: &TokenIdentity) -> Result<()> {
    let Walk::Backfill(backfill) = &run.walk else { return Ok(()) };
    check_tables(backfill, &run.filters.tables)?;
    if backfill.since.is_some_and(|since| since > run.clock.now()) {
        return Err(wrong("--since lies ahead").remedy("name a day, or a moment, that is over"));
    }
    if backfill.is_everything() {
        return Ok(());
    }
    if let Some(reason) = planning::must_walk_everything(run, base, token).await? {
        return Err(wrong(format!("the next run has to walk everything first: {reason}"))
            .remedy("`asana-backup run` does that; then a part can be read again"));
    }
    check_projects(run, base, backfill).await
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, what.into())
}

fn check_tables(backfill: &Backfill, filters: &[String]) -> Result<()> {
    let scope = Scope::new(filters);
    let kept = resources::ALL.iter().filter(|resource| scope.keeps(resource));
    let known: Vec<_> = kept.map(|resource| resource.table).collect();
    for table in &backfill.tables {
        if resources::by_table(table).is_none() {
            return Err(wrong(format!("no table is called `{table}`"))
                .remedy(format!("name some of {}", known.join(", "))));
        }
        if !known.contains(&table.as_str()) {
            return Err(wrong(format!("the filters leave out the table `{table}`"))
                .remedy(format!("name some of {}, or change the filters", known.join(", "))));
        }
    }
    let projects = resources::named("projects");
    let leads_there = backfill.reads(projects) && scope.reads(projects);
    if !backfill.projects.is_empty() && !leads_there {
        return Err(wrong("none of the tables hangs below a project")
            .remedy("leave out --projects, or name tables such as tasks, stories, sections"));
    }
    Ok(())
}

/// Refuses projects that neither the copy has nor Asana shows as this organization's.
async fn check_projects(run: &Run, base: Option<&Committed>, backfill: &Backfill) -> Result<()> {
    let mut unknown = backfill.projects.iter().map(|gid| gid.as_str().into()).collect();
    if let Some(state) = base.and_then(|base| base.snapshot.tables.get("projects")) {
        let parts = run.repository.objects(state).await?.parts;
        for (_, row) in Lookup::new(run.repository.clone()).find(&parts, &unknown).await? {
            unknown.remove(&row.key);
        }
    }
    for gid in unknown {
        if !is_shown(run, &gid).await? {
            return Err(wrong(format!("the organization has no project {gid} that this token may see"))
                .remedy("name gids as the table `projects` has them, or as in the address of the project"));
        }
    }
    Ok(())
}

/// Whether Asana shows the project, and as one of this organization.
async fn is_shown(run: &Run, gid: &str) -> Result<bool> {
    // It goes into a path.
    if !gid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(false);
    }
    let fields = [("opt_fields".to_owned(), "workspace".to_owned())];
    let answer = run.client.get("getProject", &format!("/projects/{gid}"), &fields).await?;
    let Answer::Found(Found { data, .. }) = answer else { return Ok(false) };
    let Ok(project) = encode::parse(data.get()) else { return Ok(false) };
    let workspace = encode::field(&project, "workspace.gid").and_then(|gid| gid.as_str());
    Ok(workspace == Some(run.repository.organization()))
}

/// Reads again what was named.
pub(super) async fn read_again(work: &mut Work<'_>, backfill: &Backfill) -> Result<()> {
    if work.walk.phase() > Some(Phase::Again) {
        return Ok(());
    }
    work.run.progress.doing("read again what was asked for");
    let lane = if backfill.since.is_some() { Lane::Changes } else { Lane::Walk };
    work.walk.aim(Reach::Again(backfill.again()), lane);
    let roots = backfill.roots(work.walk.organization(), work.walk.scope());
    work.begin(Phase::Walk, roots).await?;
    work.drain().await?;
    let Some(since) = backfill.asks_since() else { return Ok(()) };
    if work.walk.phase() < Some(Phase::Again) {
        let walk = work.walk.clone();
        if !work.go(|told| async move { walk.modified_again(since, &told).await }).await? {
            let units = changes::modified_units(work, since).await?;
            return begin_and_drain(work, units).await;
        }
    }
    begin_and_drain(work, Vec::new()).await
}

/// Begins the last step: from here on a run that goes on searches no more.
async fn begin_and_drain(work: &mut Work<'_>, units: Vec<crate::crawl::Unit>) -> Result<()> {
    work.begin(Phase::Again, units).await?;
    work.drain().await
}
