//! What the tests of this room share: a repository in memory, and snapshots to put into it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{
    Bound, ColumnStatistics, Content, Counts, EncodedPart, FORMAT_VERSION, Gap, Hash, Lane, Proof, RunId,
    Snapshot, SnapshotNumber, TableColumn, TableState, TokenIdentity, table_columns,
};
pub(super) use crate::repository::store::tests::{Flaw, flawed, memory, moved, remove, s3, unfit_allowed};
use crate::repository::{Claim, Repository, StageTable, StagedPart};
use crate::resources::{self, Resource};

/// `seconds` after a fixed moment.
pub(crate) fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time") + TimeDelta::seconds(seconds)
}

/// The run number `n`.
pub(super) fn run(n: u128) -> RunId {
    RunId(ulid::Ulid(n))
}

/// An empty repository of organization 12.
pub(crate) async fn repository() -> Repository {
    Repository::open_or_create(memory(), "12", moment(0)).await.expect("a new repository")
}

/// A snapshot of no tables, committed `number` minutes after the fixed moment.
pub(crate) fn snapshot(number: u64, previous: Option<Hash>, run: RunId) -> Snapshot {
    Snapshot {
        format: FORMAT_VERSION,
        number: SnapshotNumber(number),
        previous,
        run,
        writer: run,
        organization: "12".to_owned(),
        program: "0.1.0".to_owned(),
        resources: 1,
        started_at: moment(0),
        committed_at: moment(60 * i64::try_from(number).expect("small")),
        complete: true,
        continues: None,
        plan: String::new(),
        changed_until: moment(0),
        cursors: Hash::of(b""),
        coverage: Hash::of(b""),
        lacks: BTreeMap::new(),
        held_count: 0,
        held: Hash::of(b""),
        token: TokenIdentity { gid: "1".to_owned(), name: "Ada".to_owned(), probes: BTreeMap::new() },
        filters: BTreeMap::new(),
        tables: BTreeMap::new(),
        gap_count: 0,
        gaps: Hash::of(b""),
        requests: BTreeMap::new(),
    }
}

/// Claim `attempt` on snapshot `base`.
pub(super) fn claim(base: u64, attempt: u32, run: RunId, writer: RunId) -> Claim {
    Claim {
        format: FORMAT_VERSION,
        base: SnapshotNumber(base),
        attempt,
        run,
        writer,
        holder: format!("host-{}", writer.0.0),
        at: moment(i64::from(attempt)),
    }
}

/// The resource whose table the tests fill.
pub(super) fn tags() -> &'static Resource {
    resources::named("tags")
}

/// What stands for a part of `rows` rows, whose content no test reads: its keys run from `least` to `greatest`.
pub(super) fn part(rows: u64, least: &str, greatest: &str, key_id: i32) -> EncodedPart {
    let bytes: bytes::Bytes = format!("{rows} rows from {least} to {greatest}").into();
    let column = ColumnStatistics {
        compressed_bytes: 10,
        values: rows,
        nulls: Some(0),
        bounds: Some((Bound::Text(least.to_owned()), Bound::Text(greatest.to_owned()))),
    };
    EncodedPart {
        content: Content::Records,
        sha256: Hash::of(&bytes),
        bytes,
        rows,
        statistics: BTreeMap::from([(key_id, column)]),
        misfits: BTreeMap::new(),
        split_offsets: vec![4],
    }
}

/// The same for a file of `rows` position deletes, all into `url`.
pub(super) fn deletes(rows: u64, url: &str) -> EncodedPart {
    let as_part = part(rows, url, url, i32::MAX - 101);
    EncodedPart { content: Content::Deletes, ..as_part }
}

/// The columns of the table that the tests fill.
pub(super) fn columns() -> Vec<TableColumn> {
    table_columns(tags())
}

/// The stage of tags for snapshot `number` by the run of that number, which changes nothing yet.
pub(super) fn quiet<'a>(
    columns: &'a [TableColumn],
    number: u64,
    previous: Option<&'a TableState>,
) -> StageTable<'a> {
    let run = run(u128::from(number));
    StageTable {
        table: "tags",
        columns,
        previous,
        number: SnapshotNumber(number),
        committed_at: snapshot(number, None, run).committed_at,
        writer: run,
        added: Vec::new(),
        deletes: Vec::new(),
        removed: Vec::new(),
        lane: Lane::Walk,
        proof: Proof {
            complete: true,
            available: true,
            as_of: chrono::DateTime::UNIX_EPOCH,
            by: Vec::new(),
            lacks: Vec::new(),
        },
        counts: Counts { rows: previous.map_or(0, |state| state.counts.rows), ..Counts::default() },
    }
}

/// Puts a part of `rows` rows of `table` into the store.
pub(super) async fn put(repository: &Repository, table: &str, number: u64, rows: u64) -> StagedPart {
    let ids = repository.field_ids(table, &columns(), None).await.expect("ids");
    let encoded = part(rows, &format!("{number}-a"), &format!("{number}-z"), ids["_key"]);
    let stored = repository.put_part(table, &run(u128::from(number)), &encoded).await.expect("stored");
    StagedPart::new(stored, &encoded)
}

/// Stages tags for snapshot `number`: `added` and `deleted` in rows, each one file.
pub(super) async fn stage(
    repository: &Repository,
    number: u64,
    previous: Option<&TableState>,
    added: u64,
    deleted: u64,
) -> TableState {
    let columns = columns();
    let mut stage = quiet(&columns, number, previous);
    stage.counts.rows = stage.counts.rows + added - deleted;
    if added > 0 {
        stage.added.push(put(repository, "tags", number, added).await);
    }
    if deleted > 0 {
        let encoded = deletes(deleted, &repository.url_of(&format!("tables/tags/data/{number}")));
        let stored = repository.put_part("tags", &stage.writer, &encoded).await.expect("stored");
        stage.deletes.push(StagedPart::new(stored, &encoded));
    }
    repository.stage_table(stage).await.expect("staged")
}

/// Commits and publishes snapshot `number` with tags in the state `state`.
pub(super) async fn commit(repository: &Repository, number: u64, state: &TableState) {
    let previous = repository.latest().await.expect("readable").map(|committed| committed.sha256);
    let mut next = snapshot(number, previous, run(u128::from(number)));
    next.gaps = repository.put_list::<[Gap]>(&[]).await.expect("stored");
    (next.cursors, next.coverage, next.held) = (next.gaps, next.gaps, next.gaps);
    next.tables.insert("tags".to_owned(), state.clone());
    repository.commit(&next).await.expect("committed");
    repository.publish(&next).await.expect("published");
}

/// A repository with four snapshots: one adds, one adds and deletes, one leaves the table as it is, and one puts all of
/// it into one part.
pub(crate) async fn history() -> Repository {
    let repository = repository().await;
    let first = stage(&repository, 1, None, 5, 0).await;
    commit(&repository, 1, &first).await;
    let second = stage(&repository, 2, Some(&first), 2, 3).await;
    commit(&repository, 2, &second).await;
    let third = stage(&repository, 3, Some(&second), 0, 0).await;
    commit(&repository, 3, &third).await;
    let fourth = replace(&repository, 4, &third).await;
    commit(&repository, 4, &fourth).await;
    repository
}

/// Stages tags for snapshot `number` with all of its rows in one new part, if there are any.
pub(super) async fn replace(repository: &Repository, number: u64, previous: &TableState) -> TableState {
    let columns = columns();
    let mut stage = quiet(&columns, number, Some(previous));
    if stage.counts.rows > 0 {
        stage.added.push(put(repository, "tags", number, stage.counts.rows).await);
    }
    let objects = repository.objects(previous).await.expect("listed");
    stage.removed = objects.parts.into_iter().chain(objects.deletes).map(|part| part.key).collect();
    repository.stage_table(stage).await.expect("staged")
}
