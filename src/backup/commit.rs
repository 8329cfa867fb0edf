//! The commit of a run: tables, then the snapshot, then what readers without a catalog follow.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::asana::Client;
use crate::backup::stage::{Ready, Stage};
use crate::backup::{Outcome, Run, TableOutcome};
use crate::crawl::{Findings, Scope};
use crate::error::Result;
use crate::model::{FORMAT_VERSION, Gap, Lane, Snapshot, SnapshotNumber, TableState, TokenIdentity};
use crate::repository::{Committed, StageTable, commit_time};
use crate::resources::{self, Resource};

/// Makes the run's snapshot.
pub(super) async fn commit(
    run: &Run,
    base: Option<&Committed>,
    stage: &mut Stage,
    findings: Findings,
    mut token: TokenIdentity,
    started_at: DateTime<Utc>,
) -> Result<Outcome> {
    let number = SnapshotNumber(base.map_or(1, |base| base.snapshot.number.0 + 1));
    let mut ready = Vec::new();
    for resource in resources::ALL.iter().copied() {
        ready.push((resource, stage.finish(resource).await?));
    }
    let parts = ready.iter().map(|(_, ready)| ready.added.len() + ready.deletes.len()).sum::<usize>() as u64;
    let bytes = ready
        .iter()
        .flat_map(|(_, ready)| ready.added.iter().chain(&ready.deletes))
        .map(|one| one.part.bytes)
        .sum();
    let committed_at = commit_time(run.clock.now(), base.map(|base| &base.snapshot))?;
    let mut tables = BTreeMap::new();
    for (resource, ready) in ready {
        let state = table(run, base, resource, ready, &findings, (number, committed_at, started_at)).await?;
        tables.insert(resource.table.to_owned(), state);
    }
    let (gaps, new_gaps) = gaps(run, base, findings.gaps).await?;
    token.probes = findings.probes;
    let scope = Scope::new(&run.filters.tables);
    let complete = gaps.is_empty()
        && resources::ALL.iter().filter(|resource| scope.keeps(resource)).all(|resource| {
            tables.get(resource.table).is_some_and(|state: &TableState| state.proof.complete)
        });
    let snapshot = Snapshot {
        format: FORMAT_VERSION,
        number,
        previous: base.map(|base| base.sha256),
        run: run.id,
        organization: run.repository.organization().to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        resources: resources::VERSION,
        started_at,
        committed_at,
        complete,
        token,
        filters: BTreeMap::from([("tables".to_owned(), run.filters.tables.clone())]),
        tables,
        gap_count: gaps.len() as u64,
        gaps: run.repository.put_list(&gaps).await?,
        requests: by_operation(&run.client),
    };
    let committed = run.repository.commit(&snapshot).await?;
    tracing::info!(snapshot = %number, complete, "snapshot committed");
    run.repository.publish(&committed.snapshot).await?;
    Ok(outcome(committed.snapshot, gaps, new_gaps, findings.dangling, parts, bytes))
}

fn by_operation(client: &Client) -> BTreeMap<String, u64> {
    client
        .statistics()
        .by_operation
        .into_iter()
        .map(|(operation, count)| (operation.to_owned(), count))
        .collect()
}

/// The state of one table: as it was, where nothing changed.
async fn table(
    run: &Run,
    base: Option<&Committed>,
    resource: &'static Resource,
    ready: Ready,
    findings: &Findings,
    (number, committed_at, started_at): (SnapshotNumber, DateTime<Utc>, DateTime<Utc>),
) -> Result<TableState> {
    let previous = base.and_then(|base| base.snapshot.tables.get(resource.table));
    let proof = if Scope::new(&run.filters.tables).keeps(resource) {
        findings.proof(resource, started_at)
    } else {
        Findings::left_out(started_at)
    };
    let staged = StageTable {
        resource,
        previous,
        number,
        committed_at,
        run: run.id,
        added: ready.added,
        deletes: ready.deletes,
        lane: Lane::Walk,
        proof,
        counts: ready.counts,
    };
    run.repository.stage_table(staged).await
}

/// The gaps, each with when it was first seen, and how many the base did not have.
async fn gaps(run: &Run, base: Option<&Committed>, mut gaps: Vec<Gap>) -> Result<(Vec<Gap>, u64)> {
    let known: Vec<Gap> = match base {
        Some(base) => run.repository.list(base.snapshot.gaps).await?,
        None => Vec::new(),
    };
    let key = |gap: &Gap| (gap.table.clone(), gap.scope.clone(), gap.gid.clone());
    let first_seen: HashMap<_, _> = known.iter().map(|gap| (key(gap), gap.first_seen)).collect();
    let mut new = 0;
    for gap in &mut gaps {
        match first_seen.get(&key(gap)) {
            Some(first) => gap.first_seen = *first,
            None => new += 1,
        }
    }
    gaps.sort_by_key(key);
    Ok((gaps, new))
}

fn outcome(
    snapshot: Snapshot,
    gaps: Vec<Gap>,
    new_gaps: u64,
    dangling_references: u64,
    parts: u64,
    bytes: u64,
) -> Outcome {
    let table = |state: TableState| TableOutcome { counts: state.counts, proof: state.proof };
    Outcome {
        organization: snapshot.organization,
        run: snapshot.run,
        snapshot: snapshot.number,
        complete: snapshot.complete,
        started_at: snapshot.started_at,
        committed_at: snapshot.committed_at,
        tables: snapshot.tables.into_iter().map(|(name, state)| (name, table(state))).collect(),
        gaps,
        new_gaps,
        dangling_references,
        requests: snapshot.requests,
        parts,
        bytes,
    }
}
