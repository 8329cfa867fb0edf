//! The commit of a run: tables, then the snapshot, then what readers without a catalog follow.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::asana::Client;
use crate::backup::holding::Holding;
use crate::backup::journal::Planned;
use crate::backup::proof::{Evidence, LISTINGS, SWEEP};
use crate::backup::stage::{Last, Ready};
use crate::backup::system;
use crate::backup::work::Work;
use crate::backup::{Outcome, TableOutcome, tenure};
use crate::crawl::{self, Coverage, Scope};
use crate::error::Result;
use crate::model::{
    Counts, FORMAT_VERSION, Gap, Hash, Lane, Snapshot, SnapshotNumber, TableState, table_columns,
};
use crate::repository::{Committed, Repository, StageTable, commit_time};
use crate::resources::{self, Resource};

/// The number and the times of a snapshot to come.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) number: SnapshotNumber,
    pub(super) committed_at: DateTime<Utc>,
}

/// What a commit adds up.
#[derive(Default)]
struct Sums {
    parts: u64,
    bytes: u64,
    published: bool,
}

impl Work<'_> {
    /// Commits the finished run.
    pub(super) async fn commit(&mut self) -> Result<Outcome> {
        // Stopped from here on, nothing is asked again.
        self.flush().await?;
        let Holding { held, last } = self.hold_or_take_out().await?;
        self.settle_unavailable()?;
        let (committed, sums) = self.commit_snapshot(held, last, true).await?;
        let dangling = self.walk.findings().dangling;
        let gaps = self.gaps.all();
        let new_gaps = self.gaps.new_at(committed.snapshot.committed_at, &self.known_gaps);
        let repository = self.run.repository.clone();
        Ok(outcome(committed.snapshot, gaps, new_gaps, dangling, &sums, repository))
    }

    /// Commits what was read so far, and goes on: hours of reading are soon of use.
    pub(super) async fn commit_so_far(&mut self) -> Result<()> {
        self.flush().await?;
        let held = self.base_held().await?;
        let (committed, _) = self.commit_snapshot(held, Vec::new(), false).await?;
        tenure::renew(self.run, self.id, committed.snapshot.number).await?;
        self.base = Some(committed);
        self.commit_again();
        Ok(())
    }

    async fn commit_snapshot(
        &mut self,
        held: Vec<(String, String)>,
        last: Vec<Last>,
        is_finished: bool,
    ) -> Result<(Committed, Sums)> {
        let base = self.base.take();
        let snapshot = self.stage_snapshot(base.as_ref(), held, last, is_finished).await;
        self.base = base;
        let (snapshot, deletes, mut sums) = snapshot?;
        let committed = self.run.repository.commit(&snapshot).await?;
        self.run.progress.wrote(sums.parts, sums.bytes);
        if !is_finished {
            self.stage.committed(deletes);
        }
        let (number, complete) = (snapshot.number, snapshot.complete);
        tracing::info!(snapshot = %number, complete, "snapshot committed");
        sums.published = publish(&self.run.repository, &committed.snapshot).await;
        Ok((committed, sums))
    }

    async fn stage_snapshot(
        &mut self,
        base: Option<&Committed>,
        held: Vec<(String, String)>,
        last: Vec<Last>,
        is_finished: bool,
    ) -> Result<(Snapshot, Vec<Vec<crate::model::Part>>, Sums)> {
        let run = self.run;
        let number = SnapshotNumber(base.map_or(1, |base| base.snapshot.number.0 + 1));
        let mut ready = Vec::new();
        for resource in resources::ALL.iter().copied() {
            run.progress.step();
            ready.push((resource, self.stage.finish(resource, is_finished).await?));
        }
        let committed_at = commit_time(run.clock.now(), base.map(|base| &base.snapshot))?;
        let moment = Moment { number, committed_at };
        let coverage = self.coverage(base, is_finished).await?;
        let (findings, gaps) = (self.found_out(), self.gaps.all());
        let evidence = Evidence {
            base: base.map(|base| &base.snapshot),
            planned: self.proving(),
            findings: &findings,
            gaps: &gaps,
            coverage: &coverage,
            started_at: self.started_at,
            is_finished,
        };
        let lacks = evidence.lacks();
        let (mut tables, mut deletes, mut sums) = (BTreeMap::new(), Vec::new(), Sums::default());
        for (resource, ready) in ready {
            let entering = ready.added.iter().chain(&ready.deletes);
            sums.parts += entering.clone().count() as u64;
            sums.bytes += entering.map(|one| one.part.bytes).sum::<u64>();
            deletes.push(ready.deletes.iter().map(|one| one.part.clone()).collect());
            let proof = evidence.proof(resource, self.walk.scope(), &lacks);
            let state = self.stage_table(base, resource, ready, proof, moment).await?;
            tables.insert(resource.table.to_owned(), state);
        }
        let complete = is_finished && is_complete(&evidence, self.walk.scope(), committed_at);
        let mut token = self.token.clone();
        token.probes = findings.probes;
        if let Some(base) = base.filter(|base| base.snapshot.token.gid == token.gid) {
            for (lane, answer) in &base.snapshot.token.probes {
                token.probes.entry(lane.clone()).or_insert_with(|| answer.clone());
            }
        }
        let mut snapshot = Snapshot {
            format: FORMAT_VERSION,
            number,
            previous: base.map(|base| base.sha256),
            run: self.id,
            writer: run.id,
            organization: run.repository.organization().to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            resources: resources::VERSION,
            started_at: self.started_at,
            committed_at,
            complete,
            continues: (!is_finished).then(|| self.journal.segments()),
            plan: self.plan_in_words(),
            changed_until: self.started_at,
            cursors: run.repository.put_list(&self.walk.cursors()).await?,
            coverage: run.repository.put_list(&coverage).await?,
            lacks,
            held_count: held.len() as u64,
            held: run.repository.put_list(&held).await?,
            token,
            filters: BTreeMap::from([("tables".to_owned(), run.filters.tables.clone())]),
            tables,
            gap_count: gaps.len() as u64,
            gaps: run.repository.put_list(&gaps).await?,
            requests: by_operation(&run.client),
        };
        system::stage(&run.repository, base, &mut snapshot, &gaps, &coverage, &last).await?;
        Ok((snapshot, deletes, sums))
    }

    /// The plan, as far as it proves anything: a part that was read again does not.
    fn proving(&self) -> Option<&Planned> {
        self.planned.as_ref().filter(|planned| planned.again.is_none())
    }

    /// What was walked when, with what this run walked, once it is over.
    async fn coverage(&self, base: Option<&Committed>, is_finished: bool) -> Result<Vec<Coverage>> {
        let mut coverage: Vec<Coverage> = match base {
            Some(base) => self.run.repository.list(base.snapshot.coverage).await?,
            None => Vec::new(),
        };
        let Some(planned) = self.proving().filter(|_| is_finished) else { return Ok(coverage) };
        let everything = planned.everything.is_some();
        if planned.walks() {
            crawl::cover(&mut coverage, [LISTINGS.to_owned()], self.started_at);
        }
        if everything {
            crawl::cover(&mut coverage, crawl::Slices::all().scopes(), self.started_at);
        } else {
            crawl::cover(&mut coverage, planned.slices.scopes(), self.started_at);
        }
        if let Some(until) = self.walk.findings().swept_until {
            crawl::cover(&mut coverage, [SWEEP.to_owned()], until);
        }
        Ok(coverage)
    }

    /// The state of one table: as it was, where nothing changed.
    async fn stage_table(
        &self,
        base: Option<&Committed>,
        resource: &'static Resource,
        ready: Ready,
        proof: crate::model::Proof,
        moment: Moment,
    ) -> Result<TableState> {
        let again = |planned: &Planned| {
            planned.again.as_ref().is_some_and(|again| again.since.is_none() && again.reads(resource))
        };
        let walked = self.planned.as_ref().is_some_and(|planned| planned.walks() || again(planned));
        let staged = StageTable {
            table: resource.table,
            columns: &table_columns(resource),
            previous: base.and_then(|base| base.snapshot.tables.get(resource.table)),
            number: moment.number,
            committed_at: moment.committed_at,
            writer: self.run.id,
            added: ready.added,
            deletes: ready.deletes,
            removed: ready.removed,
            lane: if walked { Lane::Walk } else { Lane::Changes },
            proof,
            counts: ready.counts,
        };
        self.run.repository.stage_table(staged).await
    }
}

/// Whether every table is proven, but for the gaps that somebody accepted.
pub(super) fn is_complete(evidence: &Evidence<'_>, scope: &Scope, now: DateTime<Utc>) -> bool {
    let open: Vec<Gap> = evidence.gaps.iter().filter(|gap| !gap.is_accepted(now)).cloned().collect();
    let evidence = Evidence { gaps: &open, ..*evidence };
    let lacks = evidence.lacks();
    let mut kept = resources::ALL.iter().copied().filter(|resource| scope.keeps(resource));
    open.is_empty() && kept.all(|resource| evidence.proof(resource, scope, &lacks).complete)
}

fn by_operation(client: &Client) -> BTreeMap<String, u64> {
    client
        .statistics()
        .by_operation
        .into_iter()
        .map(|(operation, count)| (operation.to_owned(), count))
        .collect()
}

fn outcome(
    snapshot: Snapshot,
    gaps: Vec<Gap>,
    new_gaps: u64,
    dangling_references: u64,
    sums: &Sums,
    repository: Repository,
) -> Outcome {
    let table = |state: TableState| TableOutcome { counts: state.counts, proof: state.proof };
    let of_asana = |(name, _): &(String, TableState)| !name.starts_with('_');
    Outcome {
        organization: snapshot.organization,
        run: snapshot.run,
        snapshot: snapshot.number,
        complete: snapshot.complete,
        started_at: snapshot.started_at,
        committed_at: snapshot.committed_at,
        plan: snapshot.plan,
        tables: snapshot
            .tables
            .into_iter()
            .filter(of_asana)
            .map(|(name, state)| (name, table(state)))
            .collect(),
        gaps,
        new_gaps,
        held_deletions: snapshot.held_count,
        dangling_references,
        requests: snapshot.requests,
        parts: sums.parts,
        bytes: sums.bytes,
        published: sums.published,
        repository,
    }
}

/// Shows a committed snapshot to readers without a catalog; says whether they see it. That they see it a run later is no
/// reason to call a run failed.
pub(super) async fn publish(repository: &Repository, snapshot: &Snapshot) -> bool {
    let published = repository.publish(snapshot).await;
    if let Err(error) = &published {
        tracing::warn!(snapshot = %snapshot.number, %error, "readers without a catalog see it after the next run");
    }
    published.is_ok()
}

/// The sum of what a snapshot's run did to Asana's tables.
pub(super) fn sum(snapshot: &Snapshot, of: fn(&Counts) -> u64) -> u64 {
    let tables = snapshot.tables.iter().filter(|(name, _)| !name.starts_with('_'));
    tables.map(|(_, state)| of(&state.counts)).sum()
}

/// The digest of an empty list names nothing: for snapshots that have none.
pub(super) fn is_same(one: Option<Hash>, other: Hash) -> bool {
    one == Some(other)
}
