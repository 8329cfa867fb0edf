//! Makes a repository with a history that readers may get wrong, and says what they should see.
//!
//! `cargo run --example history -- <repository> <expected.json>`: a folder or an `s3://` URL that holds no repository
//! yet. Thirty snapshots of `tasks`: a part of several row groups whose gids begin alike for more than 64 bytes;
//! updates and deletions; enough small commits for manifests to be merged; one commit that changes nothing; and `tags`, a table
//! without rows. `history.py` reads it. Made twice, it is the same to the byte. At the end sixteen writers race for one name.

use std::collections::BTreeMap;
use std::sync::Arc;

use asana_backup::encode;
use asana_backup::model::{
    Counts, FORMAT_VERSION, Gap, Lane, Proof, Reading, Record, RunId, Snapshot, SnapshotNumber, TableState,
    TokenIdentity,
};
use asana_backup::repository::{
    Checked, Repository, StageTable, StagedPart, Store, StoreOptions, check_snapshot, commit_time, probe,
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

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [repository, expected] = arguments.as_slice() else {
        return Err("say where the repository shall be, and where to write what is expected".into());
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(make(repository, expected))
}

/// Where a row is, and the name it has.
#[derive(Clone)]
struct Place {
    url: String,
    position: u64,
    name: String,
}

struct History {
    repository: Repository,
    resource: &'static Resource,
    rows: BTreeMap<String, Place>,
    table: Option<TableState>,
    last: Option<(Snapshot, asana_backup::model::Hash)>,
    expected: Vec<serde_json::Value>,
}

async fn make(url: &str, expected: &str) -> Outcome<()> {
    let store = Store::open(url, &StoreOptions::default())?;
    let resource = resources::by_table("tasks").ok_or("tasks is a table")?;
    let repository = Repository::open_or_create(store, "12", moment(0)).await?;
    let (rows, table, last) = (BTreeMap::new(), None, None);
    let mut history = History { repository, resource, rows, table, last, expected: Vec::new() };
    for number in 1..=SNAPSHOTS {
        let (changed, gone) = plan(number);
        history.commit(number, &changed, &gone).await?;
    }
    history.check().await?;
    probe(history.repository.store(), ulid::Ulid::generate()).await?;
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
        let deletions = self.deletions(changed, gone);
        let (mut added, mut deletes) = (Vec::new(), Vec::new());
        if !changed.is_empty() {
            added.push(self.put_records(run, changed).await?);
        }
        if !deletions.is_empty() {
            let encoded = encode::encode_deletes(deletions)?;
            let part = self.repository.put_part(self.resource.table, &run, &encoded).await?;
            deletes.push(StagedPart::new(part, &encoded));
        }
        let number = SnapshotNumber(number);
        let stage = StageTable {
            resource: self.resource,
            previous: self.table.as_ref(),
            number,
            committed_at,
            run,
            added,
            deletes,
            lane: Lane::Walk,
            proof: Proof {
                complete: true,
                available: true,
                as_of: chrono::DateTime::UNIX_EPOCH,
                by: vec!["getTasks".to_owned()],
                lacks: Vec::new(),
            },
            counts: Counts { rows: self.rows.len() as u64, ..Counts::default() },
        };
        let empty = StageTable {
            resource: resources::by_table("tags").ok_or("tags is a table")?,
            previous: self.last.as_ref().and_then(|(snapshot, _)| snapshot.tables.get("tags")),
            added: Vec::new(),
            deletes: Vec::new(),
            counts: Counts::default(),
            ..stage.clone()
        };
        let tables = [
            ("tasks".to_owned(), self.repository.stage_table(stage).await?),
            ("tags".to_owned(), self.repository.stage_table(empty).await?),
        ];
        self.table = Some(tables[0].1.clone());
        let snapshot = self.snapshot(number, run, committed_at, tables.into()).await?;
        let committed = self.repository.commit(&snapshot).await?;
        self.repository.publish(&snapshot).await?;
        self.expect(&snapshot);
        self.last = Some((snapshot, committed.sha256));
        Ok(())
    }

    /// Where the rows are that go or are superseded, in the order a file of deletes wants.
    fn deletions(&mut self, changed: &[(u64, String)], gone: &[u64]) -> Vec<(String, i64)> {
        let keys = changed.iter().map(|(task, _)| *task).chain(gone.iter().copied()).map(gid);
        let places = keys.filter_map(|key| self.rows.remove(&key));
        let mut deletions: Vec<_> =
            places.filter_map(|place| Some((place.url, i64::try_from(place.position).ok()?))).collect();
        deletions.sort();
        deletions
    }

    async fn put_records(&mut self, run: RunId, tasks: &[(u64, String)]) -> Outcome<StagedPart> {
        let ids = self.repository.field_ids(self.resource, self.table.as_ref()).await?;
        let reading = Arc::new(Reading {
            lane: Lane::Walk,
            fields: self.resource.field_set().into(),
            began_at: moment(0),
            seen_at: moment(1),
        });
        let records = tasks.iter().map(|(task, name)| record(self.resource, *task, name, &reading));
        let encoded = encode::encode_part(self.resource, &ids, &run, records.collect::<Outcome<_>>()?)?;
        let part = self.repository.put_part(self.resource.table, &run, &encoded).await?;
        let names: BTreeMap<String, &String> = tasks.iter().map(|(task, name)| (gid(*task), name)).collect();
        for (position, row) in (0..).zip(encode::keys(encoded.bytes.clone())?) {
            let key = row?.key.to_string();
            let name = names[&key].clone();
            self.rows.insert(key, Place { url: self.repository.url_of(&part.key), position, name });
        }
        Ok(StagedPart::new(part, &encoded))
    }

    async fn snapshot(
        &self,
        number: SnapshotNumber,
        run: RunId,
        committed_at: DateTime<Utc>,
        tables: BTreeMap<String, TableState>,
    ) -> Outcome<Snapshot> {
        Ok(Snapshot {
            format: FORMAT_VERSION,
            number,
            previous: self.last.as_ref().map(|(_, sha256)| *sha256),
            run,
            organization: "12".to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            resources: resources::VERSION,
            started_at: moment(0),
            committed_at,
            complete: true,
            token: TokenIdentity { gid: "1".to_owned(), name: "Ada".to_owned(), probes: BTreeMap::new() },
            filters: BTreeMap::new(),
            tables,
            gap_count: 0,
            gaps: self.repository.put_list::<[Gap]>(&[]).await?,
            requests: BTreeMap::new(),
        })
    }

    fn expect(&mut self, snapshot: &Snapshot) {
        let rows: BTreeMap<&String, &String> =
            self.rows.iter().map(|(key, place)| (key, &place.name)).collect();
        let state = &snapshot.tables["tasks"];
        self.expected.push(json!({
            "number": snapshot.number,
            "committed_at": snapshot.committed_at.timestamp_millis(),
            "iceberg_snapshot": state.iceberg_snapshot,
            "metadata": self.repository.url_of(&state.metadata),
            "version": state.published_as,
            "rows": rows,
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

fn record(resource: &'static Resource, task: u64, name: &str, reading: &Arc<Reading>) -> Outcome<Record> {
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
    Ok(encode::record(resource, &raw.to_string(), None, reading)?.record)
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
