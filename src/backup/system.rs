//! The system tables: what the program knows itself, beside what it copied.
//!
//! Rule: they are tables like the others, staged by the same commit. What is a state (gaps, coverage) is written whole
//! when it changes; what is a history (runs, tombstones) grows, and its small parts are merged tier by tier, as those of
//! other tables are: a run that adds one row never reads or writes years of them. Memory: the rows of one merged part.

use chrono::{DateTime, Utc};

use crate::backup::commit::{is_same, sum};
use crate::backup::stage::{Last, blocking, full_tiers};
use crate::crawl::Coverage;
use crate::encode;
use crate::error::Result;
use crate::model::{
    Cell, Counts, FieldIds, Gap, Lane, Part, Proof, Snapshot, SystemRow, SystemTable, TableState,
    system_tables,
};
use crate::repository::{Committed, Repository, StageTable, StagedPart};
use crate::resources;

/// Parts are merged into one until they have so many bytes: more than the largest that counts as small, so that each
/// merge but a last one joins two at least, and no row is merged for ever.
const MERGED_BYTES: u64 = 4 << 20;
/// Rows of one run in one part: a tombstone holds a whole record.
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
    let parts = match previous {
        Some(previous) => repository.objects(previous).await?.parts,
        None => Vec::new(),
    };
    let ids = repository.field_ids(table.table, &table.columns, previous).await?;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let mut kept = previous.map_or(0, |previous| previous.counts.rows);
    match entry {
        Entry::Nothing => rows.clear(),
        Entry::Whole => {
            removed.extend(parts.into_iter().map(|part| part.key));
            kept = 0;
        }
        Entry::More if rows.is_empty() => {}
        Entry::More => {
            for parts in together(&parts) {
                let mut merged = Vec::new();
                for part in parts {
                    merged.extend(encode::read_rows(&table.columns, repository.read_part(part).await?)?);
                    removed.push(part.key.clone());
                }
                added.push(put(repository, snapshot, table, &ids, merged).await?);
            }
        }
    }
    let count = rows.len() as u64;
    for rows in rows.chunks(ROWS) {
        added.push(put(repository, snapshot, table, &ids, rows.to_vec()).await?);
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

/// The parts of a history that are due to be merged, those that become one part together.
fn together(parts: &[Part]) -> Vec<Vec<&Part>> {
    let mut groups: Vec<Vec<&Part>> = Vec::new();
    let mut bytes = MERGED_BYTES;
    for number in full_tiers(parts) {
        let part = &parts[number as usize];
        if bytes >= MERGED_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += part.bytes;
        groups.last_mut().expect("there is one by now").push(part);
    }
    // One that would be alone stays as it is.
    groups.retain(|group| group.len() > 1);
    groups
}

async fn put(
    repository: &Repository,
    snapshot: &Snapshot,
    table: &SystemTable,
    ids: &FieldIds,
    rows: Vec<SystemRow>,
) -> Result<StagedPart> {
    let (columns, ids) = (table.columns.clone(), ids.clone());
    let encoded = blocking(move || encode::encode_rows(&columns, &ids, &rows)).await?;
    let part = repository.put_part(table.table, &snapshot.run, &encoded).await?;
    Ok(StagedPart::new(part, &encoded))
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
    let kept: Vec<_> = resources::ALL
        .iter()
        .filter(|resource| snapshot.tables.contains_key(resource.table))
        .map(|resource| (resource.table, resource.swept_with_tasks(), resource.field_set()))
        .collect();
    let mut rows = Vec::new();
    for one in coverage {
        let is_swept = one.scope != crate::backup::proof::LISTINGS;
        for (table, _, fields) in kept.iter().filter(|(_, swept, _)| *swept == is_swept) {
            rows.push(vec![
                text(&one.scope),
                text(*table),
                text(fields),
                text(Lane::Walk.to_string()),
                moment(one.covered_at),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, Hash, RunId};
    use crate::repository::fixtures;

    fn part(bytes: u64) -> Part {
        Part { key: format!("{bytes}"), content: Content::Records, bytes, sha256: Hash::of(b""), rows: 1 }
    }

    #[track_caller]
    fn check(bytes: &[u64], expected: &[usize]) {
        let parts: Vec<Part> = bytes.iter().copied().map(part).collect();
        let groups: Vec<usize> = together(&parts).iter().map(Vec::len).collect();
        assert_eq!(groups, expected);
    }

    #[test]
    fn merged_parts_are_cut_by_their_bytes_and_join_two_at_least() {
        check(&[1_000; 7], &[]);
        check(&[1_000; 8], &[8]);
        check(&[500 << 10; 24], &[9, 9, 6]);
        // Six of eight are within what one merge reads.
        check(&[(4 << 20) - 1; 8], &[2, 2, 2]);
        check(&[4 << 20; 100], &[]);
        // The ninth would be alone, and stays.
        check(&[500 << 10; 10], &[9]);
    }

    fn tombstone(table: &SystemTable, snapshot: &Snapshot, number: usize) -> SystemRow {
        let cell = |at: usize| match table.columns[at].name {
            "gone_at" => moment(snapshot.committed_at),
            "snapshot" => Some(Cell::Integer(1)),
            name => text(format!("{name} {number}")),
        };
        (0..table.columns.len()).map(cell).collect()
    }

    #[tokio::test]
    async fn a_run_with_one_deletion_does_not_write_a_large_history_anew() {
        let repository = fixtures::repository().await;
        let table = system_tables().into_iter().find(|table| table.table == "_tombstones").expect("it");
        let mut counts = vec![50_000];
        counts.extend([1; 12]);
        let (mut previous, mut before, mut written): (Option<TableState>, Vec<Part>, _) =
            (None, Vec::new(), Vec::new());
        for (number, count) in (1..).zip(counts) {
            let snapshot = fixtures::snapshot(number, None, RunId(ulid::Ulid(number.into())));
            let rows = (0..count).map(|row| tombstone(&table, &snapshot, row)).collect();
            let state = stage_one(&repository, &snapshot, &table, previous.as_ref(), rows, Entry::More).await;
            let state = state.expect("staged");
            assert_eq!(state.counts.rows, 50_000 + number - 1);
            let parts = repository.objects(&state).await.expect("its parts").parts;
            let rows = parts.iter().filter(|part| !before.contains(part)).map(|part| part.rows).sum::<u64>();
            written.push(rows);
            (previous, before) = (Some(state), parts);
        }
        // The many parts of the first become few once; from then on only what is small is written again.
        assert_eq!(written[..2], [50_000, 50_001]);
        assert!(written[2..].iter().all(|rows| *rows <= 12), "{written:?}");
        assert!(before.len() < 12, "{} parts", before.len());
    }
}
