//! The system tables: what the program knows itself, beside what it copied.
//!
//! Rule: they are tables like the others, staged by the same commit. What is a state (gaps, coverage) is written whole
//! when it changes; what is a history (runs, tombstones) grows, and its small parts are merged now and then.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::backup::commit::{is_same, sum};
use crate::backup::stage::{Last, blocking};
use crate::crawl::Coverage;
use crate::encode;
use crate::error::Result;
use crate::model::{
    Cell, Counts, Gap, Lane, Proof, Snapshot, SystemRow, SystemTable, TableState, system_tables,
};
use crate::repository::{Committed, Repository, StageTable, StagedPart};
use crate::resources;

/// A history is merged when it has so many parts.
const PARTS: usize = 24;
/// Parts of this size are merged no more.
const LARGE_BYTES: u64 = 8 << 20;
/// Rows in one part: a tombstone holds a whole record.
const ROWS: usize = 2_000;

/// How rows enter a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// They are all there is.
    Whole,
    /// They are added.
    More,
    /// Nothing changes.
    Nothing,
}

/// Stages the system tables of `snapshot`, and names them in it.
pub(super) async fn stage(
    repository: &Repository,
    base: Option<&Committed>,
    snapshot: &mut Snapshot,
    gaps: &[Gap],
    coverage: &[Coverage],
    last: &[Last],
) -> Result<()> {
    let whole = |before: Option<crate::model::Hash>, now| {
        if is_same(before, now) { Entry::Nothing } else { Entry::Whole }
    };
    let before = base.map(|base| &base.snapshot);
    for table in system_tables() {
        let (rows, entry) = match table.table {
            "_runs" => (vec![run_row(snapshot)], Entry::More),
            "_gaps" => (gap_rows(gaps), whole(before.map(|base| base.gaps), snapshot.gaps)),
            "_coverage" => (
                coverage_rows(coverage, snapshot),
                whole(before.map(|base| base.coverage), snapshot.coverage),
            ),
            _ => (tombstone_rows(last, snapshot), Entry::More),
        };
        let previous = before.and_then(|base| base.tables.get(table.table));
        let state = stage_one(repository, snapshot, &table, previous, rows, entry).await?;
        snapshot.tables.insert(table.table.to_owned(), state);
    }
    Ok(())
}

async fn stage_one(
    repository: &Repository,
    snapshot: &Snapshot,
    table: &SystemTable,
    previous: Option<&TableState>,
    mut rows: Vec<SystemRow>,
    entry: Entry,
) -> Result<TableState> {
    let mut removed = Vec::new();
    let mut kept = previous.map_or(0, |previous| previous.counts.rows);
    let nothing = rows.is_empty() && entry == Entry::More;
    if let Some(previous) = previous.filter(|_| entry != Entry::Nothing && !nothing) {
        let parts = repository.objects(previous).await?.parts;
        if entry == Entry::Whole {
            removed = parts.into_iter().map(|part| part.key).collect();
            kept = 0;
        } else if parts.len() >= PARTS {
            let mut merged = Vec::new();
            for part in parts.iter().filter(|part| part.bytes < LARGE_BYTES) {
                merged.extend(encode::read_rows(&table.columns, repository.read_part(part).await?)?);
                removed.push(part.key.clone());
            }
            kept -= merged.len() as u64;
            merged.append(&mut rows);
            rows = merged;
        }
    }
    if entry == Entry::Nothing {
        rows.clear();
    }
    let count = rows.len() as u64;
    let ids = repository.field_ids(table.table, &table.columns, previous).await?;
    let mut added = Vec::new();
    for rows in rows.chunks(ROWS) {
        let (columns, ids, rows) = (table.columns.clone(), ids.clone(), rows.to_vec());
        let encoded = blocking(move || encode::encode_rows(&columns, &ids, &rows)).await?;
        let part = repository.put_part(table.table, &snapshot.run, &encoded).await?;
        added.push(StagedPart::new(part, &encoded));
    }
    let counts = Counts { rows: kept + count, new: count, ..Counts::default() };
    let staged = StageTable {
        table: table.table,
        columns: &table.columns,
        previous,
        number: snapshot.number,
        committed_at: snapshot.committed_at,
        writer: snapshot.writer,
        added,
        deletes: Vec::new(),
        removed,
        lane: Lane::Walk,
        proof: own(snapshot.committed_at),
        counts,
    };
    repository.stage_table(staged).await
}

/// What the program knows itself needs no proof.
fn own(at: DateTime<Utc>) -> Proof {
    Proof { complete: true, available: true, as_of: at, by: Vec::new(), lacks: Vec::new() }
}

fn text(text: impl Into<String>) -> Option<Cell> {
    Some(Cell::Text(text.into()))
}

fn number(number: u64) -> Option<Cell> {
    Some(Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn moment(at: DateTime<Utc>) -> Option<Cell> {
    Some(Cell::Timestamp(at))
}

fn run_row(snapshot: &Snapshot) -> SystemRow {
    vec![
        number(snapshot.number.0),
        text(snapshot.run.to_string()),
        text(snapshot.writer.to_string()),
        text(&snapshot.program),
        number(u64::from(snapshot.resources)),
        text(&snapshot.plan),
        moment(snapshot.started_at),
        moment(snapshot.committed_at),
        Some(Cell::Boolean(snapshot.complete)),
        number(snapshot.requests.values().sum()),
        number(snapshot.gap_count),
        number(sum(snapshot, |counts| counts.rows)),
        number(sum(snapshot, |counts| counts.new)),
        number(sum(snapshot, |counts| counts.changed)),
        number(sum(snapshot, |counts| counts.unchanged)),
        number(sum(snapshot, |counts| counts.gone)),
    ]
}

fn gap_rows(gaps: &[Gap]) -> Vec<SystemRow> {
    let row = |gap: &Gap| {
        let accepted = gap.accepted.as_ref();
        vec![
            text(&gap.table),
            text(&gap.scope),
            text(&gap.gid),
            number(u64::from(gap.status)),
            text(&gap.phrase),
            moment(gap.first_seen),
            moment(gap.last_seen),
            accepted.and_then(|accepted| text(&accepted.by)),
            accepted.and_then(|accepted| text(&accepted.reason)),
            accepted.and_then(|accepted| moment(accepted.at)),
            accepted.and_then(|accepted| accepted.until).and_then(moment),
        ]
    };
    gaps.iter().map(row).collect()
}

fn tombstone_rows(last: &[Last], snapshot: &Snapshot) -> Vec<SystemRow> {
    let row = |last: &Last| {
        vec![
            text(last.resource.table),
            text(&*last.key),
            last.parent.as_deref().and_then(text),
            text(last.proof),
            moment(snapshot.committed_at),
            number(snapshot.number.0),
            text(snapshot.run.to_string()),
            text(last.hash.to_string()),
            text(&*last.raw),
        ]
    };
    last.iter().map(row).collect()
}

/// One row for each scope and each table that it speaks for.
fn coverage_rows(coverage: &[Coverage], snapshot: &Snapshot) -> Vec<SystemRow> {
    let lanes: BTreeMap<&str, Lane> =
        snapshot.tables.iter().map(|(name, state)| (name.as_str(), state.lane)).collect();
    let mut rows = Vec::new();
    for one in coverage {
        for resource in resources::ALL
            .iter()
            .filter(|resource| resource.swept_with_tasks() == (one.scope != crate::backup::proof::LISTINGS))
        {
            if !lanes.contains_key(resource.table) {
                continue;
            }
            rows.push(vec![
                text(&one.scope),
                text(resource.table),
                text(resource.field_set()),
                text(Lane::Walk.to_string()),
                moment(one.covered_at),
            ]);
        }
    }
    rows
}
