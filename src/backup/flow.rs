//! The course of a run, stage by stage.
//!
//! Rule: each stage can begin anew after a crash: what it still has to read is in the journal, and what it asks for by
//! itself it asks for only where that is still lacking.

use chrono::Duration;
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use crate::asana::Refusal;
use crate::backup::index::Index;
use crate::backup::journal::{Began, Entry, Planned, Terms};
use crate::backup::stage::Stage;
use crate::backup::tenure::{self, Tenure};
use crate::backup::work::{Beginning, Work};
use crate::backup::{self, Outcome, Run, backfill, identity, removal};
use crate::crawl::plan::{Facts, Source, Walked, plan};
use crate::crawl::{self, Cursor, Phase, Reach, Scope, Unit, Walk};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Gap, Hash, Lane, Snapshot, SnapshotNumber, TokenIdentity, table_columns};
use crate::repository::{Committed, commit_time};
use crate::resources::{self, Below};

/// How often the streams are listened to before a run calls itself caught up: what happens after that is the next run's.
const ROUNDS: usize = 5;
/// Gaps that a run asks about again when it walks nothing: there may be very many, and an hour is not long.
const GAPS_ASKED: usize = 500;
/// Projects that are asked whether the token may listen to them: some may have gone since they were read.
const PROJECTS_ASKED: usize = 10;
const WORKSPACE_EVENTS: &str = "workspace events";
const PROJECT_EVENTS: &str = "project events";

/// Backs up one organization.
pub(super) async fn run(run: &Run) -> Result<Outcome> {
    let (base, number) = latest(run).await?;
    if let Some(base) = &base {
        run.progress.doing("repair what the last run left");
        run.repository.publish(&base.snapshot).await?;
        // A clock that is off is better known now than when everything was read.
        commit_time(run.clock.now(), Some(&base.snapshot))?;
    }
    let token = identity::of(&run.client).await?;
    backfill::admit(run, base.as_ref(), &token).await?;
    let filters = Hash::of(run.filters.tables.join(",").as_bytes());
    let terms = Terms::new(filters, resources::VERSION, &token.gid, run.walk.clone());
    let tenure = tenure::begin(run, base.as_ref(), &terms).await?;
    if latest(run).await?.1 != number {
        return Err(Error::new(ErrorKind::Conflict, "another run has committed just now").remedy("run again"));
    }
    let folder = tempfile::tempdir()
        .map_err(|cause| Error::new(ErrorKind::Unavailable, format!("make a scratch folder: {cause}")))?;
    let mut work = open(run, base, token, &tenure, Index::new(folder.path())?).await?;
    let outcome = carry_out(&mut work, tenure, terms).await;
    match outcome {
        // Somebody else goes on with it, or has finished: nothing of ours counts any more.
        Err(error) if error.kind() == ErrorKind::Conflict => Err(error),
        Err(error) => Err(work.lay_down(error).await),
        finished => finished,
    }
}

async fn latest(run: &Run) -> Result<(Option<Committed>, Option<SnapshotNumber>)> {
    let latest = run.repository.latest().await?;
    let number = latest.as_ref().map(|latest| latest.snapshot.number);
    Ok((latest, number))
}

/// Makes ready what a run works with. Nothing of the tables is read yet.
async fn open<'a>(
    run: &'a Run,
    base: Option<Committed>,
    token: TokenIdentity,
    tenure: &Tenure,
    index: Index,
) -> Result<Work<'a>> {
    let started_at = tenure.resumed.as_ref().map_or(run.clock.now(), |began| began.started_at);
    let mut stage = Stage::new(run.repository.clone(), tenure.run, started_at, index, run.open_bytes);
    for resource in resources::ALL {
        let state = base.as_ref().and_then(|base| base.snapshot.tables.get(resource.table));
        let ids = run.repository.field_ids(resource.table, &table_columns(resource), state).await?;
        stage.add(resource, state, ids).await?;
    }
    let gaps: Vec<Gap> = match &base {
        Some(base) => run.repository.list(base.snapshot.gaps).await?,
        None => Vec::new(),
    };
    let walk = Walk::new(
        run.client.clone(),
        run.clock.clone(),
        run.repository.organization(),
        Scope::new(&run.filters.tables),
        run.workers,
        run.progress.clone(),
    );
    let (id, segments) = (tenure.run, tenure.segments);
    let asked = tenure.resumed.as_ref().map_or_else(|| run.walk.clone(), |began| began.terms.walk.clone());
    Ok(Work::new(Beginning { run, id, base, started_at, asked, token, walk, stage, segments, gaps }))
}

async fn carry_out(work: &mut Work<'_>, tenure: Tenure, terms: Terms) -> Result<Outcome> {
    if tenure.resumed.is_some() {
        work.run.progress.doing("go on where the last run stopped");
        work.replay(tenure.segments).await?;
    } else {
        let base = work.base.as_ref().map(|base| (base.snapshot.number, base.sha256));
        work.note(&Entry::Began(Began { terms, base, started_at: work.started_at }))?;
        if !tenure.heard.is_empty() {
            work.note(&Entry::Streams(tenure.heard.clone()))?;
            work.walk.restore_streams(&tenure.heard);
        }
    }
    prepare(work).instrument(info_span!("stage", stage = "fence")).await?;
    walk(work).instrument(info_span!("stage", stage = "walk")).await?;
    sweep(work).instrument(info_span!("stage", stage = "sweep")).await?;
    changes(work).instrument(info_span!("stage", stage = "changes")).await?;
    settle(work).instrument(info_span!("stage", stage = "settle")).await?;
    work.run.progress.doing("commit");
    work.commit().instrument(info_span!("stage", stage = "commit")).await
}

/// Asks for what should have been met and was not.
async fn settle(work: &mut Work<'_>) -> Result<()> {
    work.run.progress.doing("ask for what is missing");
    if let Some(again) = work.planned.as_ref().and_then(|planned| planned.again.as_ref()) {
        // What is asked for because it was not met, and is there, brings no more than was named.
        work.walk.aim(Reach::Again(again.again()), Lane::Walk);
    }
    work.begin(Phase::Settle, Vec::new()).await?;
    ask_gaps_again(work).await?;
    settle_absent(work).await
}

/// Settles what is missing. That may take so long that the streams are listened to meanwhile: what they told then would
/// be lost with the next token.
async fn settle_absent(work: &mut Work<'_>) -> Result<()> {
    let walked = work.planned.as_ref().is_some_and(Planned::walks);
    for _ in 0..ROUNDS {
        removal::settle(work).await?;
        if !work.walk.has_heard() {
            break;
        }
        listen(work, walked).await?;
    }
    Ok(())
}

/// Asks once more what no run could read, unless this one has asked already.
async fn ask_gaps_again(work: &mut Work<'_>) -> Result<()> {
    let mut units = work.gaps.unasked(work.opened_at);
    units.retain(|unit| work.walk.scope().reads(unit.resource));
    if !work.planned.as_ref().is_some_and(Planned::walks) {
        units.truncate(GAPS_ASKED);
    }
    work.want(units).await?;
    work.drain().await
}

/// Opens the streams, and plans.
async fn prepare(work: &mut Work<'_>) -> Result<()> {
    let cursors: Vec<Cursor> = match &work.base {
        Some(base) => work.run.repository.list(base.snapshot.cursors).await?,
        None => Vec::new(),
    };
    let organization: Box<str> = work.walk.organization().into();
    work.walk.listen(vec![organization], cursors.clone());
    if work.planned.is_none() {
        work.run.progress.doing("plan");
        let facts = facts(work).await?;
        let plan = plan(&facts);
        tracing::info!(walk = %plan.walk, changes = %plan.changes, requests = plan.requests(), "planned");
        if let Some(told) = &work.run.planned {
            // Whoever asked for the plan may have gone.
            _ = told.send(plan.clone());
        }
        let Facts { everything, again, slices, .. } = facts;
        let planned = Planned { everything, again, slices, sweep: plan.sweep, changes: plan.changes };
        work.note(&Entry::Planned(planned.clone()))?;
        work.planned = Some(planned);
    }
    work.load_what_is_read().await?;
    let planned = work.planned.clone().expect("just planned");
    match planned.changes {
        Source::WorkspaceEvents => {}
        Source::ProjectEvents => {
            hear_projects(work, cursors).await?;
            // Nothing that happens during a walk is missed; without one, the first question comes soon enough.
            if (planned.walks() || planned.again.is_some())
                && let Err(refusal) = poll(work).await?
            {
                tracing::warn!(%refusal, "no project's event stream answers");
            }
        }
        Source::Search | Source::ModifiedSince => work.walk.listen(Vec::new(), Vec::new()),
    }
    let is_first_copy = work.base.as_ref().is_none_or(|base| base.snapshot.continues.is_some());
    if is_first_copy && planned.everything.is_some() {
        work.commit_again();
    }
    Ok(())
}

/// What the plan is made of; asks what the token may do, the best lane first.
async fn facts(work: &mut Work<'_>) -> Result<Facts> {
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
        let tasks = resources::by_table("tasks").expect("a table");
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

/// Listens to every project that the repository has, those that this run has met among them.
async fn hear_projects(work: &mut Work<'_>, cursors: Vec<Cursor>) -> Result<()> {
    let projects = resources::by_table("projects").expect("a table");
    work.load(projects).await?;
    let streams = work.stage.rows(projects)?.into_iter().map(|row| row.key).collect();
    work.walk.listen(streams, cursors);
    Ok(())
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
    let projects = resources::by_table("projects").expect("a table");
    work.load(projects).await?;
    for one in work.stage.rows(projects)?.into_iter().take(PROJECTS_ASKED) {
        work.walk.listen(vec![one.key], Vec::new());
        match poll(work).await? {
            Ok(_) => return work.probed(PROJECT_EVENTS, "allowed".to_owned()),
            // It went, which says nothing of others.
            Err(refusal) if refusal.status == 404 => {}
            Err(refusal) => return work.refused(PROJECT_EVENTS, &refusal),
        }
    }
    Ok(false)
}

/// Asks every stream; says which told of something.
async fn poll(work: &mut Work<'_>) -> Result<std::result::Result<Vec<Box<str>>, Refusal>> {
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

/// Reads what listings lead to.
async fn walk(work: &mut Work<'_>) -> Result<()> {
    let planned = work.planned.clone().expect("a run plans first");
    if let Some(again) = &planned.again {
        return backfill::read_again(work, again).await;
    }
    if work.walk.phase() > Some(Phase::Walk) {
        return Ok(());
    }
    let reach = match planned.everything {
        Some(_) => Reach::Everything,
        None if planned.slices.is_empty() => return Ok(()),
        None => Reach::Slices(planned.slices),
    };
    work.run.progress.doing("walk");
    work.walk.aim(reach, Lane::Walk);
    let roots = Unit::roots(work.walk.organization(), work.walk.scope());
    work.begin(Phase::Walk, roots).await?;
    work.drain().await
}

/// Searches for tasks that no listing leads to.
async fn sweep(work: &mut Work<'_>) -> Result<()> {
    let planned = work.planned.clone().expect("a run plans first");
    let scope = work.walk.scope();
    let reads = resources::ALL.iter().any(|resource| resource.swept_with_tasks() && scope.reads(resource));
    if !planned.sweep || !reads || work.walk.phase() > Some(Phase::Sweep) {
        return Ok(());
    }
    work.run.progress.doing("sweep");
    work.walk.aim(Reach::Everything, Lane::Walk);
    work.begin(Phase::Sweep, Vec::new()).await?;
    if work.walk.findings().swept_until.is_none() {
        let walk = work.walk.clone();
        work.go(|told| async move { walk.sweep(&told).await }).await?;
    }
    work.drain().await
}

/// Reads what changed since the last run, and during this one.
async fn changes(work: &mut Work<'_>) -> Result<()> {
    // What comes after it is read like this too.
    work.walk.aim(Reach::Changed, Lane::Changes);
    if work.walk.phase() > Some(Phase::Changes) {
        return Ok(());
    }
    work.run.progress.doing("read what changed");
    let planned = work.planned.clone().expect("a run plans first");
    let walked = planned.walks();
    let mut first = removal::held_units(work).await?;
    if walked {
        // Pages are positions: what went from one of them may have hidden a record of the next.
        first.extend(work.take_paged());
    } else if planned.changes != Source::WorkspaceEvents {
        let mut roots = Unit::roots(work.walk.organization(), work.walk.scope());
        // Those that a backfill has read need not be read twice.
        roots.retain(|unit| !work.is_listed(unit.resource, work.walk.organization()));
        first.extend(roots);
    }
    work.begin(Phase::Changes, first).await?;
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
        Source::ModifiedSince => list_modified(work).await,
    }
}

/// Listens until nothing happens any more; where nothing happened at first, what happens now is the next run's. What the
/// organization's stream has missed is searched for.
async fn listen(work: &mut Work<'_>, walked: bool) -> Result<()> {
    let mut streams = work.walk.streams();
    for _ in 0..ROUNDS {
        let lively = match poll_some(work, streams).await? {
            Ok(lively) => lively,
            Err(refusal) => {
                tracing::warn!(%refusal, "the event streams do not answer");
                let planned = work.planned.as_ref().map(|planned| planned.changes);
                let by_project = planned == Some(Source::ProjectEvents);
                work.refused(if by_project { PROJECT_EVENTS } else { WORKSPACE_EVENTS }, &refusal)?;
                break;
            }
        };
        let walk = work.walk.clone();
        work.go(|told| async move { walk.heed(&told).await }).await?;
        work.drain().await?;
        let later = removal::without_gone(work).await?;
        work.want(later).await?;
        work.drain().await?;
        if lively.is_empty() {
            break;
        }
        streams = lively;
    }
    let organization: Box<str> = work.walk.organization().into();
    let (lost, opened) = work.walk.take_deaf();
    let everything = work.planned.as_ref().is_some_and(|planned| planned.everything.is_some());
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
    let everything = work.planned.as_ref().is_some_and(|planned| planned.everything.is_some());
    let tasks = resources::by_table("tasks").expect("a table");
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

impl Work<'_> {
    /// The moment from which changes are asked for: a while before the last run began, since clocks differ, and an index
    /// lags.
    fn since(&self) -> chrono::DateTime<chrono::Utc> {
        let everything = self.planned.as_ref().is_some_and(|planned| planned.everything.is_some());
        let base = self.base.as_ref().filter(|_| !everything).map(|base| base.snapshot.changed_until);
        base.unwrap_or(self.started_at) - crawl::OVERLAP
    }

    /// Begins a stage with `units`, unless it had begun before a crash.
    pub(super) async fn begin(&mut self, phase: Phase, units: Vec<Unit>) -> Result<()> {
        let walk = self.walk.clone();
        self.go(|told| async move { walk.begin(phase, units, &told).await }).await
    }

    /// Notes what the probe of a lane answered; says whether it is allowed.
    fn probed(&mut self, lane: &str, answer: String) -> Result<bool> {
        let allowed = answer == "allowed";
        self.step(crawl::Step::Probe(lane.to_owned(), answer))?;
        Ok(allowed)
    }

    /// Notes that a lane was refused, where Asana has said so: what does not answer today may do so tomorrow.
    fn refused(&mut self, lane: &str, refusal: &Refusal) -> Result<bool> {
        match refusal.status {
            402 | 403 | 451 => self.probed(lane, format!("refused: {refusal}")),
            _ => Ok(false),
        }
    }

    /// Sets the time of the next commit of a first copy.
    pub(super) fn commit_again(&mut self) {
        self.commit_at = Some(Instant::now() + self.run.commit_every);
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

    /// Keeps what was read for whoever goes on, after `error` ended the run.
    async fn lay_down(&mut self, error: Error) -> Error {
        let kept = match self.note(&Entry::Ended) {
            Ok(()) => self.flush().await,
            failed => failed,
        };
        if let Err(failure) = kept {
            tracing::warn!(error = %failure, "the journal's last minute could not be written");
        }
        error
    }
}
