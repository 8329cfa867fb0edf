//! The course of a run, stage by stage.
//!
//! Rule: each stage can begin anew after a crash: what it still has to read is in the journal, and what it asks for by
//! itself it asks for only where that is still lacking.

use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, info_span};

use crate::backup::changes::{ROUNDS, changes, hear_projects, listen, poll};
use crate::backup::gaps::{self, Gaps};
use crate::backup::index::Index;
use crate::backup::journal::{Began, Entry, Planned, Terms};
use crate::backup::planning::facts;
use crate::backup::stage::Stage;
use crate::backup::tenure::{self, Tenure};
use crate::backup::work::{Beginning, Work};
use crate::backup::{Outcome, Run, backfill, removal, stopped, unless_stopped};
use crate::crawl::plan::{Facts, Source, plan};
use crate::crawl::{Ask, Cursor, Phase, Reach, Scope, Unit, Walk, Why};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Gap, Hash, Lane, SnapshotNumber, TokenIdentity, table_columns};
use crate::repository::{Committed, commit_time};
use crate::resources;

/// Gaps that a run asks about again when it walks nothing: there may be very many, and an hour is not long.
const GAPS_ASKED: usize = 500;

/// Backs up one organization.
pub(super) async fn run(run: &Run) -> Result<Outcome> {
    let scratch = tempfile::tempdir()
        .map_err(|cause| Error::new(ErrorKind::Unavailable, format!("make a scratch folder: {cause}")))?;
    // Until there is something to lay down, a stop is as good as a kill.
    let (mut work, tenure, terms) = unless_stopped(&run.stop, begin(run, scratch.path())).await?;
    let whole = Arc::clone(&work.whole);
    let asked = async {
        run.stop.cancelled().await;
        drop(whole.acquire().await);
    };
    let outcome = tokio::select! {
        biased;
        outcome = carry_out(&mut work, tenure, terms) => outcome,
        () = asked => Err(stopped()),
    };
    match outcome {
        // Somebody else goes on with it, or has finished: nothing of ours counts any more.
        Err(error) if error.kind() == ErrorKind::Conflict => Err(error),
        Err(error) => Err(work.lay_down(error).await),
        finished => finished,
    }
}

/// Finds out where the repository stands and who asks, claims, and makes ready what a run works with.
async fn begin<'a>(run: &'a Run, scratch: &Path) -> Result<(Work<'a>, Tenure, Terms)> {
    let (base, number) = latest(run).await?;
    if let Some(base) = &base {
        run.progress.doing("repair what the last run left");
        run.repository.publish(&base.snapshot).await?;
        // A clock that is off is better known now than when everything was read.
        commit_time(run.clock.now(), Some(&base.snapshot))?;
    }
    let token = run.token.clone();
    backfill::admit(run, base.as_ref(), &token).await?;
    let filters = Hash::of(run.filters.tables.join(",").as_bytes());
    let terms = Terms::new(filters, resources::VERSION, &token.gid, run.walk.clone());
    let tenure = tenure::begin(run, base.as_ref(), &terms).await?;
    if latest(run).await?.1 != number {
        return Err(Error::new(ErrorKind::Conflict, "another run has committed just now").remedy("run again"));
    }
    let work = open(run, base, token, &tenure, Index::new(scratch)?).await?;
    Ok((work, tenure, terms))
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
    let known_gaps = match &base {
        Some(base) => gaps::told(&run.repository, base, &gaps).await?,
        None => Gaps::default(),
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
    Ok(Work::new(Beginning {
        run,
        id,
        base,
        started_at,
        asked,
        token,
        walk,
        stage,
        segments,
        gaps,
        known_gaps,
    }))
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
    let whole = Arc::clone(&work.whole);
    let _whole = whole.acquire().await;
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
    let walked = work.walks();
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
    let mut gaps = work.gaps.unasked(work.opened_at);
    gaps.retain(|units| units.iter().all(|unit| work.walk.scope().reads(unit.resource)));
    if !work.walks() {
        gaps.truncate(GAPS_ASKED);
    }
    let mut units = Vec::new();
    for candidates in gaps {
        let is_one = candidates.len() == 1;
        for unit in candidates {
            if is_one || hangs_there(work, &unit).await? {
                units.push(removal::as_expected(work, unit).await?);
            }
        }
    }
    work.want(units).await?;
    work.drain().await?;
    explain(work).await
}

/// Sees to it that a record that was heard of and answers 404 is gone, or there: what the organization lists says so.
async fn explain(work: &mut Work<'_>) -> Result<()> {
    let unexplained = work.gaps.unexplained(work.opened_at);
    let mut roots = Unit::roots(work.walk.organization(), work.walk.scope());
    roots.retain(|root| {
        unexplained.iter().any(|unit| unit.resource == root.resource)
            && !work.is_listed(root.resource, work.walk.organization())
    });
    work.want(roots).await?;
    work.drain().await?;
    let mut units = Vec::new();
    for unit in work.gaps.unexplained(work.opened_at) {
        let unit = removal::as_expected(work, unit).await?;
        if matches!(unit.ask, Ask::Single(Why::Missing)) {
            units.push(unit);
        }
    }
    work.want(units).await?;
    work.drain().await
}

/// Whether the repository has what the listing hangs below. The wrong question would be answered by 404, as if what it is
/// about were gone.
async fn hangs_there(work: &mut Work<'_>, unit: &Unit) -> Result<bool> {
    let Some(above) = unit.above() else { return Ok(false) };
    work.stage.fetch(above, std::iter::once(&*unit.gid)).await?;
    work.stage.has(above, &unit.gid)
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

impl Work<'_> {
    /// Begins a stage with `units`, unless it had begun before a crash.
    pub(super) async fn begin(&mut self, phase: Phase, units: Vec<Unit>) -> Result<()> {
        let walk = self.walk.clone();
        self.go(|told| async move { walk.begin(phase, units, &told).await }).await
    }

    /// Sets the time of the next commit of a first copy.
    pub(super) fn commit_again(&mut self) {
        self.commit_at = Some(Instant::now() + self.run.commit_every);
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
