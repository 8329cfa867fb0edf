//! Makes a repository with a history that readers may get wrong, and says what they should see.
//!
//! `cargo run --example history -- <repository> <expected.json>`: a folder or an `s3://` URL that holds no repository
//! yet. Thirty snapshots of `tasks`: a part of several row groups whose gids begin alike for more than 64 bytes;
//! updates and deletions; enough small commits for manifests to be merged; one commit that changes nothing; and three
//! that put several parts into one, so that those and their deletes leave. `tags` has no rows at first, then two, and
//! in the end none again because its part left. `history.py` reads it. Made twice, it is the same to the byte. At the end sixteen writers race for one name.

use std::collections::BTreeMap;
use std::sync::Arc;

use asana_backup::clock::Clock;
use asana_backup::config::StoreSettings;
use asana_backup::encode;
use asana_backup::model::{
    Counts, FORMAT_VERSION, Gap, Lane, Proof, Reading, Record, RunId, Snapshot, SnapshotNumber, TableState,
    TokenIdentity, table_columns,
};
use asana_backup::repository::{
    Checked, Repository, StageTable, StagedPart, Store, check_snapshot, commit_time, probe,
};
use asana_backup::resources::{self, Resource};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Snapshots to make.
const SNAPSHOTS: u64 = 30;
/// Tasks in the first: with notes that do not shrink, three row groups of 16 MiB.
const TASKS: u64 = 900;
/// The snapshot that changes nothing.
const QUIET: u64 = 7;
/// The snapshot in which tags has rows, and the one in which their part leaves.
const TAGS: (u64, u64) = (20, 23);
/// The gids and names of the tags.
const TAG_NAMES: &[&str] = &["1", "2"];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [repository, expected] = arguments.as_slice() else {
        return Err("say where the repository shall be, and where to write what is expected".into());
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(make(repository, expected))
}

/// The parts that snapshot `number` puts into one: those of the first and the last snapshot it names.
fn merged(number: u64) -> Option<(u64, u64)> {
    match number {
        12 => Some((1, 2)),
        19 => Some((3, 11)),
        28 => Some((1, SNAPSHOTS)),
        _ => None,
    }
}

/// Where a row is, and what it is.
#[derive(Clone)]
struct Place {
    url: String,
    position: u64,
    task: u64,
    name: String,
}

/// A live part, and the snapshot it came with.
struct Live {
    since: u64,
    key: String,
}

/// What a commit adds and takes away.
#[derive(Default)]
struct Moves {
    added: Vec<StagedPart>,
    deletes: Vec<StagedPart>,
    removed: Vec<String>,
}

struct History {
    repository: Repository,
    resource: &'static Resource,
    rows: BTreeMap<String, Place>,
    parts: Vec<Live>,
    /// What each live file of deletes deletes.
    deletes: Vec<(String, Vec<(String, i64)>)>,
    tags: u64,
    last: Option<(Snapshot, asana_backup::model::Hash)>,
    expected: Vec<serde_json::Value>,
}

async fn make(url: &str, expected: &str) -> Outcome<()> {
    let store = Store::open(url, &StoreSettings::default())?;
    let resource = resources::by_table("tasks").ok_or("tasks is a table")?;
    let repository = Repository::open_or_create(store, "12", moment(0)).await?;
    let mut history = History {
        repository,
        resource,
        rows: BTreeMap::new(),
        parts: Vec::new(),
        deletes: Vec::new(),
        tags: 0,
        last: None,
        expected: Vec::new(),
    };
    for number in 1..=SNAPSHOTS {
        let (changed, gone) = plan(number);
        history.commit(number, &changed, &gone).await?;
    }
    history.check().await?;
    for trial in probe(history.repository.store(), ulid::Ulid::generate(), &Clock::wall()).await {
        trial.found?;
    }
    let told = json!({"tables": history.repository.url_of("tables"), "snapshots": history.expected});
    std::fs::write(expected, serde_json::to_vec_pretty(&told)?)?;
    Ok(())
}

/// The tasks that snapshot `number` brings, with their names, and the ones it takes away.
fn plan(number: u64) -> (Vec<(u64, String)>, Vec<u64>) {
    let named = |task: u64| (task, format!("task {task} as of {number}"));
    match number {
        1 => ((0..TASKS).map(named).collect(), Vec::new()),
        2 => ((0..TASKS).step_by(3).map(named).collect(), (1..TASKS).step_by(50).collect()),
        QUIET => (Vec::new(), Vec::new()),
        _ => (vec![named(number), named(TASKS + number)], vec![(number * 3) + 2]),
    }
}

impl History {
    async fn commit(&mut self, number: u64, changed: &[(u64, String)], gone: &[u64]) -> Outcome<()> {
        let run = RunId(ulid::Ulid(u128::from(number)));
        let now = moment(i64::try_from(number)? * 3600);
        let committed_at = commit_time(now, self.last.as_ref().map(|(snapshot, _)| snapshot))?;
        let moves = self.moves(number, run, changed, gone).await?;
        let tags_moves = self.tags_moves(number, run).await?;
        let tags = resources::by_table("tags").ok_or("tags is a table")?;
        let stage =
            |resource: &Resource, moves: Moves, rows| (resource.table, table_columns(resource), moves, rows);
        let mut tables = BTreeMap::new();
        for (table, columns, Moves { added, deletes, removed }, rows) in
            [stage(self.resource, moves, self.rows.len() as u64), stage(tags, tags_moves, self.tags)]
        {
            let stage = StageTable {
                table,
                columns: &columns,
                previous: self.last.as_ref().and_then(|(snapshot, _)| snapshot.tables.get(table)),
                number: SnapshotNumber(number),
                committed_at,
                writer: run,
                added,
                deletes,
                removed,
                lane: Lane::Walk,
                proof: Proof {
                    complete: true,
                    available: true,
                    as_of: chrono::DateTime::UNIX_EPOCH,
                    by: vec!["getTasks".to_owned()],
                    lacks: Vec::new(),
                },
                counts: Counts { rows, ..Counts::default() },
            };
            tables.insert(table.to_owned(), self.repository.stage_table(stage).await?);
        }
        let snapshot = self.snapshot(SnapshotNumber(number), run, committed_at, tables).await?;
        let committed = self.repository.commit(&snapshot).await?;
        self.repository.publish(&snapshot).await?;
        self.expect(&snapshot);
        self.last = Some((snapshot, committed.sha256));
        Ok(())
    }

    /// Merges first, so that some deletes of a commit are into the part that the same commit adds.
    async fn moves(
        &mut self,
        number: u64,
        run: RunId,
        changed: &[(u64, String)],
        gone: &[u64],
    ) -> Outcome<Moves> {
        let mut moves = Moves::default();
        let mut deletions = Vec::new();
        if let Some((first, last)) = merged(number) {
            deletions = self.merge(&mut moves, number, run, first..=last).await?;
        }
        let keys = changed.iter().map(|(task, _)| *task).chain(gone.iter().copied()).map(gid);
        let places = keys.filter_map(|key| self.rows.remove(&key));
        deletions.extend(places.filter_map(|place| Some((place.url, i64::try_from(place.position).ok()?))));
        deletions.sort();
        if !changed.is_empty() {
            moves.added.push(self.put_records(number, run, changed).await?);
        }
        if !deletions.is_empty() {
            let encoded = encode::encode_deletes(deletions.clone())?;
            let part = self.repository.put_part(self.resource.table, &run, &encoded).await?;
            self.deletes.push((part.key.clone(), deletions));
            moves.deletes.push(StagedPart::new(part, &encoded));
        }
        Ok(moves)
    }

    /// Puts the live rows of the parts that came with the snapshots `since` into one. Gives the deletes of other rows
    /// that stood in a file with those of the parts that leave.
    async fn merge(
        &mut self,
        moves: &mut Moves,
        number: u64,
        run: RunId,
        since: std::ops::RangeInclusive<u64>,
    ) -> Outcome<Vec<(String, i64)>> {
        let leave: Vec<String> =
            self.parts.extract_if(.., |part| since.contains(&part.since)).map(|part| part.key).collect();
        let urls: Vec<String> = leave.iter().map(|key| self.repository.url_of(key)).collect();
        let live: Vec<(u64, String)> = self
            .rows
            .values()
            .filter(|place| urls.contains(&place.url))
            .map(|place| (place.task, place.name.clone()))
            .collect();
        let points_there = |positions: &[(String, i64)]| positions.iter().any(|(url, _)| urls.contains(url));
        let files: Vec<_> = self.deletes.extract_if(.., |(_, positions)| points_there(positions)).collect();
        moves.removed = leave.into_iter().chain(files.iter().map(|(key, _)| key.clone())).collect();
        moves.added.push(self.put_records(number, run, &live).await?);
        let others = files.into_iter().flat_map(|(_, positions)| positions);
        Ok(others.filter(|(url, _)| !urls.contains(url)).collect())
    }

    async fn put_records(&mut self, number: u64, run: RunId, tasks: &[(u64, String)]) -> Outcome<StagedPart> {
        let records = tasks.iter().map(|(task, name)| record(self.resource, *task, name));
        let (staged, keys) = self.put(self.resource, run, records.collect::<Outcome<_>>()?).await?;
        let named: BTreeMap<String, &(u64, String)> = tasks.iter().map(|one| (gid(one.0), one)).collect();
        let url = self.repository.url_of(&staged.part.key);
        for (position, key) in (0..).zip(keys) {
            let (task, name) = named[&key].clone();
            self.rows.insert(key, Place { url: url.clone(), position, task, name });
        }
        self.parts.push(Live { since: number, key: staged.part.key.clone() });
        Ok(staged)
    }

    async fn put(
        &self,
        resource: &'static Resource,
        run: RunId,
        records: Vec<Record>,
    ) -> Outcome<(StagedPart, Vec<String>)> {
        let state = self.last.as_ref().and_then(|(snapshot, _)| snapshot.tables.get(resource.table));
        let ids = self.repository.field_ids(resource.table, &table_columns(resource), state).await?;
        let encoded = encode::encode_part(resource, &ids, &run, records)?;
        let part = self.repository.put_part(resource.table, &run, &encoded).await?;
        let mut keys = Vec::new();
        for row in encode::keys(encoded.bytes.clone())? {
            keys.push(row?.key.to_string());
        }
        Ok((StagedPart::new(part, &encoded), keys))
    }

    async fn tags_moves(&mut self, number: u64, run: RunId) -> Outcome<Moves> {
        let mut moves = Moves::default();
        let tags = resources::by_table("tags").ok_or("tags is a table")?;
        if number == TAGS.0 {
            let made = TAG_NAMES.iter().map(|name| {
                let raw = json!({"gid": name, "resource_type": "tag", "name": name});
                Ok(encode::record(tags, &raw.to_string(), None, &reading(tags))?.record)
            });
            let (staged, keys) = self.put(tags, run, made.collect::<Outcome<_>>()?).await?;
            self.tags = keys.len() as u64;
            moves.added.push(staged);
        } else if number == TAGS.1 {
            let (snapshot, _) = self.last.as_ref().ok_or("not the first")?;
            let objects = self.repository.objects(&snapshot.tables["tags"]).await?;
            moves.removed = objects.parts.into_iter().map(|part| part.key).collect();
            self.tags = 0;
        }
        Ok(moves)
    }

    async fn snapshot(
        &self,
        number: SnapshotNumber,
        run: RunId,
        committed_at: DateTime<Utc>,
        tables: BTreeMap<String, TableState>,
    ) -> Outcome<Snapshot> {
        let nothing = self.repository.put_list::<[Gap]>(&[]).await?;
        Ok(Snapshot {
            format: FORMAT_VERSION,
            number,
            previous: self.last.as_ref().map(|(_, sha256)| *sha256),
            run,
            writer: run,
            organization: "12".to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            resources: resources::VERSION,
            started_at: moment(0),
            committed_at,
            complete: true,
            continues: None,
            plan: String::new(),
            changed_until: committed_at,
            cursors: nothing,
            coverage: nothing,
            lacks: BTreeMap::new(),
            held_count: 0,
            held: nothing,
            token: TokenIdentity { gid: "1".to_owned(), name: "Ada".to_owned(), probes: BTreeMap::new() },
            filters: BTreeMap::new(),
            tables,
            gap_count: 0,
            gaps: nothing,
            requests: BTreeMap::new(),
        })
    }

    fn expect(&mut self, snapshot: &Snapshot) {
        let rows: BTreeMap<&String, &String> =
            self.rows.iter().map(|(key, place)| (key, &place.name)).collect();
        let (state, tags) = (&snapshot.tables["tasks"], &snapshot.tables["tags"]);
        let names = if self.tags == 0 { &[][..] } else { TAG_NAMES };
        self.expected.push(json!({
            "number": snapshot.number,
            "committed_at": snapshot.committed_at.timestamp_millis(),
            "iceberg_snapshot": state.iceberg_snapshot,
            "metadata": self.repository.url_of(&state.metadata),
            "version": state.published_as,
            "rows": rows,
            "tags": {
                "iceberg_snapshot": tags.iceberg_snapshot,
                "metadata": self.repository.url_of(&tags.metadata),
                "rows": names.iter().map(|name| (*name, *name)).collect::<BTreeMap<_, _>>(),
            },
        }));
    }

    async fn check(&self) -> Outcome<()> {
        let (mut previous, mut checked) = (None, Checked::default());
        for number in self.repository.snapshots().await? {
            let committed = self.repository.snapshot(number).await?;
            let findings =
                check_snapshot(&self.repository, &committed, previous.as_ref(), &mut checked).await?;
            if let Some(finding) = findings.first() {
                return Err(finding.to_string().into());
            }
            previous = Some(committed);
        }
        Ok(())
    }
}

fn reading(resource: &Resource) -> Arc<Reading> {
    Arc::new(Reading {
        lane: Lane::Walk,
        fields: resource.field_set().into(),
        began_at: moment(0),
        seen_at: moment(1),
    })
}

fn record(resource: &'static Resource, task: u64, name: &str) -> Outcome<Record> {
    let raw = json!({
        "gid": gid(task),
        "resource_type": "task",
        "name": name,
        "notes": noise(task),
        "completed": task.is_multiple_of(2),
        "due_on": format!("2026-{:02}-{:02}", 1 + task % 12, 1 + task % 28),
        "modified_at": "2026-05-04T03:02:01.987Z",
        "assignee": {"gid": (task % 5).to_string(), "resource_type": "user", "name": "Ada"},
        "followers": (0..task % 3).map(|n| json!({"gid": n.to_string(), "resource_type": "user"})).collect::<Vec<_>>(),
    });
    Ok(encode::record(resource, &raw.to_string(), None, &reading(resource))?.record)
}

/// A gid longer than any truncated statistic, and in an order of its own: the last digits decide.
fn gid(task: u64) -> String {
    format!("{}{task:06}", "9".repeat(100))
}

/// 24 KB that no compressor makes shorter than 18 KB.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['-', '_']).collect();
    (0..24_000).map(|_| alphabet[usize::try_from(next() >> 58).unwrap_or(0)]).collect()
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_780_000_000 + seconds)
}
