//! What changed since the last run and during this one: by streams, by search, or by listing what was modified.
//!
//! Rule: an answer is stored before its next token is used, and what a stream may have missed is asked for in another
//! way. Whatever a crash leaves half read is in the journal; asking again brings the same once more.

use crate::asana::Refusal;
use crate::backup::journal::Planned;
use crate::backup::removal;
use crate::backup::work::Work;
use crate::crawl::plan::Source;
use crate::crawl::{self, Cursor, Phase, Reach, Unit};
use crate::error::Result;
use crate::model::Lane;
use crate::resources::{self, Below};

/// How often the streams are listened to before a run calls itself caught up: what happens after that is the next run's.
pub(super) const ROUNDS: usize = 5;
pub(super) const WORKSPACE_EVENTS: &str = "workspace events";
pub(super) const PROJECT_EVENTS: &str = "project events";

/// Reads what changed since the last run, and during this one.
pub(super) async fn changes(work: &mut Work<'_>) -> Result<()> {
    // What comes after it is read like this too.
    work.walk.aim(Reach::Changed, Lane::Changes);
    // Killed when it had caught up, a run goes on when more has happened: that is read too, or it would commit what was
    // true before it died, and leave the rest to the next.
    let had_caught_up = work.walk.phase() > Some(Phase::Changes);
    work.run.progress.doing("read what changed");
    let planned = work.planned.clone().expect("a run plans first");
    let walked = planned.walks();
    let had_begun = work.walk.phase() >= Some(Phase::Changes);
    if !had_begun {
        let first = unlisted(work, &planned);
        work.begin(Phase::Changes, first).await?;
    }
    // Accepted since the run began, or before: no earlier word says which of the two.
    let held = removal::held_units(work).await?;
    work.want(held).await?;
    work.drain().await?;
    match planned.changes {
        Source::WorkspaceEvents => listen(work, walked).await,
        Source::ProjectEvents => {
            // A project that is new to this run has a stream from here on.
            hear_projects(work, Vec::new()).await?;
            // What the streams told is read by then, and so is no news to the search.
            listen(work, true).await?;
            ask_modified(work).await
        }
        Source::Search => ask_modified(work).await,
        // Nothing says where the lists were left: all of them again would cost as much as the run to come.
        Source::ModifiedSince if had_caught_up => Ok(()),
        Source::ModifiedSince => list_modified(work).await,
    }
}

/// What no stream tells of, and what a walk may have missed.
fn unlisted(work: &mut Work<'_>, planned: &Planned) -> Vec<Unit> {
    let mut first = Vec::new();
    if planned.walks() {
        // Pages are positions: what went from one of them may have hidden a record of the next.
        first.extend(work.take_paged());
    } else if planned.changes != Source::WorkspaceEvents {
        let mut roots = Unit::roots(work.walk.organization(), work.walk.scope());
        // Those that a backfill has read need not be read twice.
        roots.retain(|unit| !work.is_listed(unit.resource, work.walk.organization()));
        first.extend(roots);
    }
    first
}

/// Listens until nothing happens any more; where nothing happened at first, what happens now is the next run's. What the
/// organization's stream has missed is searched for.
pub(super) async fn listen(work: &mut Work<'_>, walked: bool) -> Result<()> {
    let mut streams = work.walk.streams();
    for _ in 0..ROUNDS {
        let are_all = streams.len() == work.walk.streams().len();
        let polled = poll_some(work, streams).await?;
        // What was heard before a refusal will not be told again.
        let walk = work.walk.clone();
        work.go(|told| async move { walk.heed(&told).await }).await?;
        work.drain().await?;
        let later = removal::without_gone(work).await?;
        work.want(later).await?;
        work.drain().await?;
        match polled {
            Ok(lively) if lively.is_empty() => break,
            Ok(lively) => streams = lively,
            Err(refusal) => {
                tracing::warn!(%refusal, "an event stream does not answer: searching for what changed");
                let planned = work.planned.as_ref().map(|planned| planned.changes);
                let by_project = planned == Some(Source::ProjectEvents);
                if are_all {
                    work.refused(if by_project { PROJECT_EVENTS } else { WORKSPACE_EVENTS }, &refusal)?;
                }
                return ask_modified(work).await;
            }
        }
    }
    let organization: Box<str> = work.walk.organization().into();
    let (lost, opened) = work.walk.take_deaf();
    let everything = work.walks_everything();
    // A stream that was opened before everything was walked has missed nothing.
    if lost.contains(&organization) || (opened.contains(&organization) && !everything) {
        tracing::warn!(
            "the event stream has a hole: searching for what changed, and walking the rest in time"
        );
        if !walked {
            let roots = Unit::roots(work.walk.organization(), work.walk.scope());
            work.want(roots).await?;
            work.drain().await?;
        }
        return ask_modified(work).await;
    }
    Ok(())
}

/// Searches for what was modified; where that is refused, lists it.
async fn ask_modified(work: &mut Work<'_>) -> Result<()> {
    let since = work.since();
    let walk = work.walk.clone();
    let allowed = work.go(|told| async move { walk.modified(since, &told).await }).await?;
    work.drain().await?;
    if allowed { Ok(()) } else { list_modified(work).await }
}

/// Lists what was modified: in each project, of each user, and all subtasks, of which nothing else tells.
async fn list_modified(work: &mut Work<'_>) -> Result<()> {
    let units = modified_units(work, work.since()).await?;
    work.want(units).await?;
    work.drain().await
}

/// What lists the tasks that were modified since then.
pub(super) async fn modified_units(
    work: &mut Work<'_>,
    since: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<Unit>> {
    let everything = work.walks_everything();
    let tasks = resources::named("tasks");
    let mut units = Vec::new();
    for above in resources::ALL.iter().copied() {
        let leads =
            tasks.listings.iter().any(|one| one.below == Below::Table(above.table) && one.filters_changes());
        if leads {
            work.load(above).await?;
            for row in work.stage.rows(above)? {
                units.extend(Unit::changed_below(tasks, above, &row.key, since));
            }
        }
    }
    if !everything {
        work.load(tasks).await?;
        let parents = work.stage.rows(tasks)?.into_iter().filter_map(|row| row.parent);
        let parents: std::collections::BTreeSet<_> = parents.collect();
        units.extend(parents.iter().flat_map(|parent| Unit::proving(tasks, parent)));
    }
    Ok(units)
}

/// Listens to every project that the repository has, those that this run has met among them.
pub(super) async fn hear_projects(work: &mut Work<'_>, cursors: Vec<Cursor>) -> Result<()> {
    let projects = resources::named("projects");
    work.load(projects).await?;
    let streams = work.stage.rows(projects)?.into_iter().map(|row| row.key).collect();
    work.walk.listen(streams, cursors);
    Ok(())
}

/// Asks every stream; says which told of something.
pub(super) async fn poll(work: &mut Work<'_>) -> Result<std::result::Result<Vec<Box<str>>, Refusal>> {
    let streams = work.walk.streams();
    poll_some(work, streams).await
}

async fn poll_some(
    work: &mut Work<'_>,
    streams: Vec<Box<str>>,
) -> Result<std::result::Result<Vec<Box<str>>, Refusal>> {
    let walk = work.walk.clone();
    work.go(|told| async move { walk.poll(streams, &told).await }).await
}

impl Work<'_> {
    /// The moment from which changes are asked for: a while before the last run began, since clocks differ, and an index
    /// lags.
    fn since(&self) -> chrono::DateTime<chrono::Utc> {
        let base =
            self.base.as_ref().filter(|_| !self.walks_everything()).map(|base| base.snapshot.changed_until);
        base.unwrap_or(self.started_at) - crawl::OVERLAP
    }
}
