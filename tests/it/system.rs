//! The system tables say what the snapshots say: runs, gaps, tombstones, coverage.

use std::collections::BTreeMap;
use std::time::Duration;

use asana_backup::crawl::Coverage;
use asana_backup::encode;
use asana_backup::model::{Cell, Gap, Snapshot, system_tables};
use asana_backup::resources;
use asana_simulator::{Fault, Options, Size};
use serde_json::Value;

use crate::gaps::accept;
use crate::world::World;

/// A row of a system table, by column; what is null is left out.
pub(crate) type Cells = BTreeMap<&'static str, Cell>;

/// The rows of a system table as of a snapshot, in the order of its parts.
pub(crate) async fn cells(world: &World, number: u64, table: &str) -> Vec<Cells> {
    let repository = world.repository().await;
    let state = world.snapshot(number).await.tables[table].clone();
    let objects = repository.objects(&state).await.expect("the list of objects");
    assert!(objects.deletes.is_empty(), "{table} only grows, or is written whole");
    let columns = system_tables().into_iter().find(|one| one.table == table).expect("a table").columns;
    let mut rows = Vec::new();
    for part in &objects.parts {
        let bytes = repository.read_part(part).await.expect("a part");
        for row in encode::read_rows(&columns, bytes).expect("rows") {
            let named = columns.iter().map(|column| column.name).zip(row);
            rows.push(named.filter_map(|(name, cell)| Some((name, cell?))).collect());
        }
    }
    assert_eq!(rows.len() as u64, state.counts.rows, "{table} of snapshot {number}");
    rows
}

fn text(text: impl ToString) -> Cell {
    Cell::Text(text.to_string())
}

fn number(number: u64) -> Cell {
    Cell::Integer(number.try_into().expect("small"))
}

fn run_of(snapshot: &Snapshot) -> Cells {
    let mut sums = [0; 5];
    for resource in resources::ALL {
        let counts = snapshot.tables[resource.table].counts;
        let all = [counts.rows, counts.new, counts.changed, counts.unchanged, counts.gone];
        sums.iter_mut().zip(all).for_each(|(sum, count)| *sum += count);
    }
    let [rows, new, changed, unchanged, gone] = sums.map(number);
    BTreeMap::from([
        ("snapshot", number(snapshot.number.0)),
        ("run", text(snapshot.run)),
        ("writer", text(snapshot.writer)),
        ("program", text(&snapshot.program)),
        ("resources", number(snapshot.resources.into())),
        ("plan", text(&snapshot.plan)),
        ("started_at", Cell::Timestamp(snapshot.started_at)),
        ("committed_at", Cell::Timestamp(snapshot.committed_at)),
        ("complete", Cell::Boolean(snapshot.complete)),
        ("requests", number(snapshot.requests.values().sum())),
        ("gaps", number(snapshot.gap_count)),
        ("rows", rows),
        ("new", new),
        ("changed", changed),
        ("unchanged", unchanged),
        ("gone", gone),
    ])
}

fn gap_of(gap: &Gap) -> Cells {
    let mut cells = BTreeMap::from([
        ("table", text(&gap.table)),
        ("scope", text(&gap.scope)),
        ("gid", text(&gap.gid)),
        ("status", number(gap.status.into())),
        ("phrase", text(&gap.phrase)),
        ("first_seen", Cell::Timestamp(gap.first_seen)),
        ("last_seen", Cell::Timestamp(gap.last_seen)),
    ]);
    if let Some(accepted) = &gap.accepted {
        cells.insert("accepted_by", text(&accepted.by));
        cells.insert("accepted_reason", text(&accepted.reason));
        cells.insert("accepted_at", Cell::Timestamp(accepted.at));
        cells.extend(accepted.until.map(|until| ("accepted_until", Cell::Timestamp(until))));
    }
    cells
}

/// What was walked when, for each table: what hangs below tasks is walked in slices, and all else is listed.
fn covered(coverage: &[Coverage]) -> Vec<Cells> {
    let mut rows = Vec::new();
    for one in coverage {
        let of_tasks = one.scope != "listings";
        for resource in resources::ALL.iter().filter(|resource| resource.swept_with_tasks() == of_tasks) {
            rows.push(BTreeMap::from([
                ("scope", text(&one.scope)),
                ("table", text(resource.table)),
                ("fields", text(resource.field_set())),
                ("lane", text("walk")),
                ("covered_at", Cell::Timestamp(one.covered_at)),
            ]));
        }
    }
    rows
}

/// The tombstones that are due: what the snapshot before has and this one has not, as it was.
async fn went(world: &World, snapshot: &Snapshot) -> Vec<Cells> {
    let (now, before) = (snapshot.number.0, snapshot.number.0 - 1);
    let mut tombstones = Vec::new();
    for resource in resources::ALL.iter().filter(|_| before > 0) {
        let rows = world.rows(now, resource.table).await;
        for (key, row) in world.rows(before, resource.table).await {
            if rows.contains_key(&key) {
                continue;
            }
            let mut cells = BTreeMap::from([
                ("table", text(resource.table)),
                ("key", text(&key)),
                ("gone_at", Cell::Timestamp(snapshot.committed_at)),
                ("snapshot", number(now)),
                ("run", text(snapshot.run)),
                ("hash", text(row.hash)),
                ("raw", text(&row.raw)),
            ]);
            cells.extend(row.parent.map(|parent| ("parent", text(parent))));
            tombstones.push(cells);
        }
    }
    tombstones
}

/// Takes the proofs off tombstones; each has one.
fn unproven(mut tombstones: Vec<Cells>) -> Vec<Cells> {
    for cells in &mut tombstones {
        assert!(cells.remove("proof").is_some_and(|proof| !proof.text().unwrap_or_default().is_empty()));
    }
    tombstones
}

/// Rows in some order that does not depend on theirs.
fn sorted(mut rows: Vec<Cells>) -> Vec<Cells> {
    rows.sort_by_key(|cells| format!("{cells:?}"));
    rows
}

/// Holds the system tables of all snapshots to what the snapshots and their lists say.
async fn assert_say_what_the_snapshots_say(world: &World) {
    let repository = world.repository().await;
    let (mut runs, mut tombstones) = (Vec::new(), Vec::new());
    for number in world.numbers().await {
        let snapshot = world.snapshot(number).await;
        runs.push(run_of(&snapshot));
        assert_eq!(cells(world, number, "_runs").await, runs, "_runs of snapshot {number}");
        let gaps: Vec<Gap> = repository.list(snapshot.gaps).await.expect("gaps");
        assert_eq!(gaps.len() as u64, snapshot.gap_count, "snapshot {number}");
        let expected: Vec<Cells> = gaps.iter().map(gap_of).collect();
        assert_eq!(cells(world, number, "_gaps").await, expected, "_gaps of snapshot {number}");
        let coverage: Vec<Coverage> = repository.list(snapshot.coverage).await.expect("coverage");
        let found = cells(world, number, "_coverage").await;
        assert_eq!(found, covered(&coverage), "_coverage of snapshot {number}");
        tombstones = sorted([tombstones, went(world, &snapshot).await].concat());
        let found = sorted(unproven(cells(world, number, "_tombstones").await));
        assert_eq!(found, tombstones, "_tombstones of snapshot {number}");
    }
}

fn gid(record: &Value) -> String {
    record["gid"].as_str().expect("a gid").to_owned()
}

/// A task of a project that nothing but stories and attachments hangs below.
fn leaf(world: &World) -> String {
    let below = |table: &str, task: &Value, field: &str| {
        world.simulator.truth(table, None).iter().any(|record| record[field]["gid"] == task["gid"])
    };
    let tasks = world.simulator.truth("tasks", None);
    let is_leaf = |task: &&Value| {
        task["num_subtasks"] == 0
            && task["projects"].as_array().is_some_and(|projects| !projects.is_empty())
            && below("stories", task, "target")
            && below("attachments", task, "parent")
    };
    gid(tasks.iter().find(is_leaf).expect("such a task"))
}

#[tokio::test(start_paused = true)]
async fn the_system_tables_say_what_each_snapshot_of_a_history_says() {
    let mut world = World::new(Options { size: Size::Tasks(24), ..Options::default() });
    world.run().await;
    world.full = false;
    world.simulator.advance(20);
    world.run().await;
    let tasks: Vec<String> = world.simulator.truth("tasks", None).iter().map(gid).collect();
    for task in &tasks[..3] {
        world.simulator.fault(Fault::status(&format!("/tasks/{task}/stories"), 403));
    }
    world.simulator.rename_task(&tasks[0], "another name");
    assert!(world.reconcile().await.new_gaps > 0);
    accept(&world, Some(&tasks[0]), None).await;
    world.simulator.delete_task(&tasks[5]);
    world.simulator.clear_faults();
    world.simulator.fault(Fault::status(&format!("/tasks/{}/stories", tasks[1]), 451));
    world.run().await;
    // Nothing happens: what is a state stays as it is.
    world.run().await;
    tokio::time::sleep(Duration::from_hours(30)).await;
    world.simulator.advance(10);
    world.run().await;
    assert_eq!(world.numbers().await.len(), 7);
    assert_say_what_the_snapshots_say(&world).await;
    world.assert_verifies().await;
}

#[tokio::test(start_paused = true)]
async fn what_went_is_in_the_tombstones_with_all_that_hung_below_and_stays_there_when_it_is_back() {
    let mut world = World::new(Options { size: Size::Tasks(40), ..Options::default() });
    world.run().await;
    world.full = false;
    let task = leaf(&world);
    let mut went_at = Vec::new();
    for name in ["the first time", "the second time"] {
        world.simulator.rename_task(&task, name);
        let before = world.run().await.snapshot.0;
        world.simulator.delete_task(&task);
        let gone = world.run().await;
        went_at.push(gone.snapshot.0);
        let graves = cells(&world, gone.snapshot.0, "_tombstones").await;
        let of_now = graves.iter().filter(|row| row["snapshot"] == number(gone.snapshot.0));
        let of_now: BTreeMap<(&str, &str), &Cells> = of_now
            .map(|row| ((row["table"].text().expect("text"), row["key"].text().expect("text")), row))
            .collect();
        let grave = of_now[&("tasks", &*task)];
        assert!(grave["raw"].text().expect("text").contains(name));
        assert_eq!(grave["proof"], text("answered 404"));
        for table in ["stories", "attachments"] {
            let rows = world.rows(before, table).await;
            let below: Vec<_> =
                rows.iter().filter(|(_, row)| row.parent.as_deref() == Some(&*task)).collect();
            assert!(!below.is_empty(), "{table}");
            for (key, row) in below {
                let grave = of_now[&(table, &**key)];
                assert_eq!((&grave["raw"], &grave["parent"]), (&text(&row.raw), &text(&task)));
                assert_eq!(grave["proof"], text("what it hung below is gone"));
            }
        }
        world.simulator.undelete_task(&task);
        let back = world.run().await;
        assert!(world.rows(back.snapshot.0, "tasks").await.contains_key(&task));
        assert_eq!(cells(&world, back.snapshot.0, "_tombstones").await, graves, "history is not undone");
    }
    let last = world.run().await.snapshot.0;
    let graves = cells(&world, last, "_tombstones").await;
    let of_task = graves.iter().filter(|row| row["key"] == text(&task));
    let told: Vec<&Cell> = of_task.map(|row| &row["snapshot"]).collect();
    assert_eq!(told, [&number(went_at[0]), &number(went_at[1])]);
    assert_say_what_the_snapshots_say(&world).await;
}
