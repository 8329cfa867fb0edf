//! What a run sets out to do: what the token may do, what must be walked and why, and the lane that tells of changes.
//!
//! Rule: the best lane that answers, and everything where the repository cannot know what it lacks. A plan is noted in
//! the journal before it is followed: a run that goes on after a crash follows the same.

use chrono::Duration;

use crate::asana::Refusal;
use crate::backup::changes::{PROJECT_EVENTS, WORKSPACE_EVENTS, poll};
use crate::backup::journal::Planned;
use crate::backup::work::Work;
use crate::backup::{self, Run};
use crate::crawl::plan::{Facts, Walked};
use crate::crawl::{self, Scope};
use crate::error::Result;
use crate::model::{Snapshot, TokenIdentity};
use crate::repository::Committed;
use crate::resources;

/// Projects that are asked whether the token may listen to them: some may have gone since they were read.
const PROJECTS_ASKED: usize = 10;

/// What the plan is made of; asks what the token may do, the best lane first.
pub(super) async fn facts(work: &mut Work<'_>) -> Result<Facts> {
    let base = work.base.clone().map(|base| base.snapshot);
    let coverage = match &base {
        Some(base) => work.run.repository.list(base.coverage).await?,
        None => Vec::new(),
    };
    let now = work.started_at;
    let (run, token) = (work.run, &work.token);
    let mut everything = why_everything(run, base.as_ref(), token, &coverage);
    if work.asked.is_everything() {
        everything.get_or_insert("asked for");
    }
    let mut facts = Facts { everything: everything.map(str::to_owned), ..Facts::default() };
    if let (None, backup::Walk::Backfill(backfill)) = (&facts.everything, &work.asked) {
        let tasks = resources::named("tasks");
        facts.sweep = backfill.meets_all_of(tasks);
        facts.again = Some(backfill.clone());
    } else if facts.everything.is_none() {
        facts.slices = slices(&work.asked, &coverage, work.run.reconcile, now);
        let swept = coverage.iter().find(|one| one.scope == crate::backup::proof::SWEEP);
        facts.sweep = !facts.slices.is_empty()
            && swept.is_none_or(|swept| now - swept.covered_at + Duration::days(1) > work.run.reconcile);
    }
    if let Some(base) = &base {
        facts.rows = base.tables.iter().map(|(name, state)| (name.clone(), state.counts.rows)).collect();
    }
    let before = |lane: &str| base.as_ref().and_then(|base| base.token.probes.get(lane)).cloned();
    facts.workspace_events = match poll(work).await? {
        Ok(_) => work.probed(WORKSPACE_EVENTS, "allowed".to_owned())?,
        Err(refusal) => work.probed(WORKSPACE_EVENTS, format!("refused: {refusal}"))?,
    };
    if facts.workspace_events {
        facts.search = before("search").is_none_or(|answer| answer == "allowed");
        return Ok(facts);
    }
    let walk = work.walk.clone();
    facts.search = work.go(|told| async move { walk.may_search(&told).await }).await?;
    let walks = facts.everything.is_some() || !facts.slices.is_empty();
    facts.project_events = facts.search && may_hear_projects(work, base.as_ref(), walks).await?;
    Ok(facts)
}

/// The slices to walk.
fn slices(
    walk: &backup::Walk,
    coverage: &[crawl::Coverage],
    interval: Duration,
    now: chrono::DateTime<chrono::Utc>,
) -> crawl::Slices {
    match walk {
        backup::Walk::WhenDue | backup::Walk::Everything | backup::Walk::Backfill(_) => {
            crawl::due(coverage, interval, now)
        }
        backup::Walk::Share => crawl::share(coverage, interval, now),
        backup::Walk::Nothing => crawl::overdue(coverage, interval * backup::walk::PATIENCE, now),
    }
}

/// Why a run must walk everything, if it must, whatever it was asked for.
fn why_everything(
    run: &Run,
    base: Option<&Snapshot>,
    token: &TokenIdentity,
    coverage: &[crawl::Coverage],
) -> Option<&'static str> {
    let Some(base) = base else { return Some("there is no snapshot yet") };
    let scope = Scope::new(&run.filters.tables);
    let blind = resources::ALL.iter().any(|resource| scope.reads(resource) && !scope.keeps(resource));
    if base.resources != resources::VERSION {
        Some("this version reads other fields")
    } else if base.filters.get("tables") != Some(&run.filters.tables) {
        Some("the filters are others")
    } else if base.token.gid != token.gid {
        Some("the token is another's")
    } else if crawl::oldest(coverage).is_none() {
        Some("not everything was walked yet")
    } else if blind {
        Some("the filters leave out tables that lead to others")
    } else {
        None
    }
}

/// The same, before there is anything to work with.
pub(super) async fn must_walk_everything(
    run: &Run,
    base: Option<&Committed>,
    token: &TokenIdentity,
) -> Result<Option<&'static str>> {
    let coverage = match base {
        Some(base) => run.repository.list(base.snapshot.coverage).await?,
        None => Vec::new(),
    };
    Ok(why_everything(run, base.map(|base| &base.snapshot), token, &coverage))
}

/// Whether the token may listen to a project: asks one. Before the first copy there is none to ask. A no is believed
/// until a run walks: plans change.
async fn may_hear_projects(work: &mut Work<'_>, base: Option<&Snapshot>, walks: bool) -> Result<bool> {
    let Some(base) = base else { return Ok(true) };
    if let Some(answer) = base.token.probes.get(PROJECT_EVENTS)
        && base.token.gid == work.token.gid
        && answer != "allowed"
        && !walks
    {
        return work.probed(PROJECT_EVENTS, answer.clone());
    }
    let projects = resources::named("projects");
    work.load(projects).await?;
    let mut last = None;
    for one in work.stage.rows(projects)?.into_iter().take(PROJECTS_ASKED) {
        work.walk.listen(vec![one.key], Vec::new());
        match poll(work).await? {
            Ok(_) => return work.probed(PROJECT_EVENTS, "allowed".to_owned()),
            // It went, or is not shown any more, which says nothing of others.
            Err(refusal) if refusal.status == 404 => {}
            Err(refusal) => last = Some(refusal),
        }
    }
    match last {
        Some(refusal) => work.refused(PROJECT_EVENTS, &refusal),
        None => Ok(false),
    }
}

impl Work<'_> {
    /// Whether the run walks at all. Before it has planned, it walks nothing.
    pub(super) fn walks(&self) -> bool {
        self.planned.as_ref().is_some_and(Planned::walks)
    }

    /// Whether it walks everything.
    pub(super) fn walks_everything(&self) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.everything.is_some())
    }

    /// Notes what the probe of a lane answered; says whether it is allowed.
    fn probed(&mut self, lane: &str, answer: String) -> Result<bool> {
        let allowed = answer == "allowed";
        self.step(crawl::Step::Probe(lane.to_owned(), answer))?;
        Ok(allowed)
    }

    /// Notes that a lane was refused, where Asana has said so: what does not answer today may do so tomorrow.
    pub(super) fn refused(&mut self, lane: &str, refusal: &Refusal) -> Result<bool> {
        match refusal.status {
            402 | 403 | 451 => self.probed(lane, format!("refused: {refusal}")),
            _ => Ok(false),
        }
    }

    /// What the run set out to do.
    pub(super) fn plan_in_words(&self) -> String {
        let Some(planned) = &self.planned else { return String::new() };
        let walk = match (&planned.everything, planned.slices.len()) {
            (Some(reason), _) => format!("walk everything ({reason})"),
            (None, 0) => "walk nothing".to_owned(),
            (None, slices) => format!("walk {}", Walked::Slices(slices)),
        };
        let walk = match &self.asked {
            backup::Walk::Backfill(backfill) if planned.again.is_some() => format!("backfill {backfill}"),
            backup::Walk::Backfill(backfill) => format!("backfill {backfill}; {walk}"),
            _ => walk,
        };
        format!("{walk}; changes by {}", planned.changes)
    }
}
