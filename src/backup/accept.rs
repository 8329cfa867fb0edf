//! Accepting gaps: somebody's word that something need not be read, kept in a snapshot of its own.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::backup::commit::{is_complete, publish};
use crate::backup::proof::Evidence;
use crate::backup::system;
use crate::clock::Clock;
use crate::crawl::{Coverage, Findings, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Acceptance, Counts, FORMAT_VERSION, Gap, RunId, Snapshot, SnapshotNumber};
use crate::repository::{Claim, Repository, commit_time};

/// Which gaps are accepted, and who says so.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Only gaps of this table.
    pub table: Option<String>,
    /// Only gaps of this operation.
    pub scope: Option<String>,
    /// Only the gap about this object.
    pub gid: Option<String>,
    /// Who says so, why, and until when.
    pub acceptance: Acceptance,
    /// Names the process, for its claim.
    pub holder: String,
}

impl Accept {
    fn fits(&self, gap: &Gap) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.table, &gap.table) && is(&self.scope, &gap.scope) && is(&self.gid, &gap.gid)
    }
}

/// Accepts gaps of the latest snapshot, and commits that as the next one. Says which.
///
/// # Errors
/// Config, if no gap fits; Conflict, if a run is at work or unfinished.
pub async fn accept(
    repository: &Repository,
    clock: &Clock,
    id: RunId,
    accept: &Accept,
) -> Result<(SnapshotNumber, Vec<Gap>)> {
    let doing = |error: Error| error.doing("accept gaps");
    accept_gaps(repository, clock, id, accept).await.map_err(doing)
}

async fn accept_gaps(
    repository: &Repository,
    clock: &Clock,
    id: RunId,
    accept: &Accept,
) -> Result<(SnapshotNumber, Vec<Gap>)> {
    let none = || Error::new(ErrorKind::Config, "no gap is like that").remedy("`gaps` lists them");
    let base = repository.latest().await?.ok_or_else(none)?;
    let number = base.snapshot.number;
    if base.snapshot.continues.is_some() || !repository.claims(number).await?.is_empty() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("an unfinished run builds on snapshot {number}"),
        )
        .remedy("let `run` finish first: it goes on where that run stopped"));
    }
    let mut gaps: Vec<Gap> = repository.list(base.snapshot.gaps).await?;
    let mut accepted = Vec::new();
    for gap in gaps.iter_mut().filter(|gap| accept.fits(gap)) {
        gap.accepted = Some(accept.acceptance.clone());
        accepted.push(gap.clone());
    }
    if accepted.is_empty() {
        return Err(none());
    }
    let now = clock.now();
    let claim = Claim {
        format: FORMAT_VERSION,
        base: number,
        attempt: 1,
        run: id,
        writer: id,
        holder: accept.holder.clone(),
        at: now,
    };
    repository.claim(&claim).await?;
    let coverage: Vec<Coverage> = repository.list(base.snapshot.coverage).await?;
    let committed_at = commit_time(now, Some(&base.snapshot))?;
    let mut snapshot = next(&base.snapshot, id, now, committed_at);
    snapshot.previous = Some(base.sha256);
    snapshot.gaps = repository.put_list(&gaps).await?;
    let findings = Findings::default();
    let evidence = Evidence {
        base: Some(&base.snapshot),
        planned: None,
        findings: &findings,
        gaps: &gaps,
        coverage: &coverage,
        started_at: now,
        is_finished: true,
    };
    let tables = base.snapshot.filters.get("tables").cloned().unwrap_or_default();
    snapshot.complete = is_complete(&evidence, &Scope::new(&tables), committed_at);
    system::stage(repository, Some(&base), &mut snapshot, &gaps, &coverage, &[]).await?;
    let committed = repository.commit(&snapshot).await?;
    publish(repository, &committed.snapshot).await;
    Ok((committed.snapshot.number, accepted))
}

/// The snapshot after `base` in which no table changes.
fn next(base: &Snapshot, id: RunId, now: DateTime<Utc>, committed_at: DateTime<Utc>) -> Snapshot {
    let mut snapshot = base.clone();
    snapshot.number = SnapshotNumber(base.number.0 + 1);
    (snapshot.run, snapshot.writer) = (id, id);
    env!("CARGO_PKG_VERSION").clone_into(&mut snapshot.program);
    (snapshot.started_at, snapshot.committed_at) = (now, committed_at);
    "accept gaps".clone_into(&mut snapshot.plan);
    snapshot.requests = BTreeMap::new();
    for state in snapshot.tables.values_mut() {
        state.counts = Counts { rows: state.counts.rows, ..Counts::default() };
    }
    snapshot
}
