//! What becomes of several readings of one record, in whichever order they arrive.

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::{Lane, Reading, field_ids, table_columns};
use crate::repository::fixtures::repository;
use crate::resources;

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a valid time")
}

fn of(table: &str) -> &'static Resource {
    resources::by_table(table).expect("a table")
}

/// An empty stage of a run that began at second 0, whose open parts hold so much.
async fn stage(budget_bytes: usize) -> (Stage, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Index::new(folder.path()).expect("an index");
    let run = RunId(ulid::Ulid(7));
    let mut stage = Stage::new(repository().await, run, moment(0), index, budget_bytes);
    for resource in resources::ALL {
        stage.add(resource, None, field_ids(&table_columns(resource))).await.expect("a table");
    }
    (stage, folder)
}

/// A reading of a record, whose request began so many seconds after the run did.
fn read(table: &str, gid: &str, name: &str, modified: Option<i64>, began: i64) -> Record {
    let modified = modified.map(moment);
    let raw = json!({"gid": gid, "name": name, "text": name, "modified_at": modified}).to_string();
    let (began_at, seen_at) = (moment(began), moment(began + 1));
    let reading = Arc::new(Reading { lane: Lane::Walk, fields: "f".into(), began_at, seen_at });
    let above = of(table).goes_with_parent.then_some("1");
    encode::record(of(table), &raw, above, &reading).expect("a record").record
}

/// What a commit would bring, by key: the names of the rows that no delete names.
async fn committed(stage: &mut Stage, table: &str) -> Vec<(String, String)> {
    let ready = stage.finish(of(table), false).await.expect("ready");
    let mut deleted = HashSet::new();
    for part in &ready.deletes {
        let bytes = stage.repository.read_part(&part.part).await.expect("a part");
        deleted.extend(encode::deletes(bytes).expect("deletes").map(|delete| delete.expect("a delete")));
    }
    let mut rows = Vec::new();
    for part in &ready.added {
        let url = stage.repository.url_of(&part.part.key);
        let bytes = stage.repository.read_part(&part.part).await.expect("a part");
        for row in encode::rows(bytes).expect("rows").map(|row| row.expect("a row")) {
            let position = i64::try_from(row.head.position).expect("small");
            let raw: serde_json::Value = serde_json::from_str(&row.raw).expect("JSON");
            if !deleted.contains(&(url.clone(), position)) {
                rows.push((row.head.key.to_string(), raw["name"].as_str().expect("a name").to_owned()));
            }
        }
    }
    rows
}

/// The first reading arrives before the second; each is a time of modification and the beginning of its request.
async fn check(table: &str, first: (Option<i64>, i64), second: (Option<i64>, i64), stays: &str) {
    // With no budget the first is in a part when the second arrives.
    for budget_bytes in [usize::MAX, 0] {
        let (mut stage, _folder) = stage(budget_bytes).await;
        let case = format!("{table}: {first:?}, then {second:?}, budget {budget_bytes}");
        let met = stage.observe(read(table, "5", "first", first.0, first.1)).expect("taken");
        assert_eq!(met, Observed::New, "{case}");
        stage.keep_within_budget().await.expect("sealed");
        let met = stage.observe(read(table, "5", "second", second.0, second.1)).expect("taken");
        let expected = if stays == "second" { Observed::Changed } else { Observed::Stale };
        assert_eq!(met, expected, "{case}");
        stage.keep_within_budget().await.expect("sealed");
        let rows = committed(&mut stage, table).await;
        assert_eq!(rows, [("5".to_owned(), stays.to_owned())], "{case}");
        let counts = stage.counts(of(table));
        assert_eq!((counts.rows, counts.new, counts.seen), (1, 1, 1), "{case}");
    }
}

#[tokio::test]
async fn an_older_reading_that_arrives_later_never_replaces_a_newer_one() {
    check("tasks", (Some(10), 5), (Some(10), 3), "first").await;
    check("tasks", (Some(10), 3), (Some(10), 5), "second").await;
    check("users", (None, 5), (None, 3), "first").await;
    check("users", (None, 3), (None, 5), "second").await;
}

#[tokio::test]
async fn what_was_modified_later_stays_whenever_it_was_asked_for() {
    check("tasks", (Some(20), 3), (Some(10), 5), "first").await;
    check("tasks", (Some(10), 5), (Some(20), 3), "second").await;
}

#[tokio::test]
async fn a_third_reading_is_held_to_the_one_that_stayed() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    for (name, began, met) in [
        ("first", 5, Observed::New),
        ("second", 3, Observed::Stale),
        ("third", 4, Observed::Stale),
        ("fourth", 6, Observed::Changed),
        ("fifth", 5, Observed::Stale),
    ] {
        let record = read("tasks", "5", name, Some(10), began);
        assert_eq!(stage.observe(record).expect("taken"), met, "{name}");
    }
    assert_eq!(committed(&mut stage, "tasks").await, [("5".to_owned(), "fourth".to_owned())]);
}

#[tokio::test]
async fn whatever_this_run_reads_is_newer_than_what_an_earlier_one_left() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    stage.observe(read("tasks", "5", "first", Some(20), 5)).expect("taken");
    // As if an earlier run had read it.
    stage.began[0] = 0;
    let met = stage.observe(read("tasks", "5", "second", Some(10), 3)).expect("taken");
    assert_eq!(met, Observed::Changed);
    assert_eq!(committed(&mut stage, "tasks").await, [("5".to_owned(), "second".to_owned())]);
}

#[tokio::test]
async fn a_proof_that_something_is_gone_yields_to_a_reading_that_began_later_and_to_no_other() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    let tasks = of("tasks");
    stage.observe(read("tasks", "5", "first", Some(10), 5)).expect("taken");
    stage.gone(tasks, "5", moment(4), "answered 404").expect("noted");
    assert!(!stage.is_gone(tasks, "5"), "it was read since");
    stage.gone(tasks, "5", moment(6), "answered 404").expect("noted");
    assert!(stage.is_gone(tasks, "5"));
    let late = stage.observe(read("tasks", "5", "first", Some(10), 5)).expect("taken");
    assert_eq!((late, stage.is_gone(tasks, "5")), (Observed::Stale, true));
    let back = stage.observe(read("tasks", "5", "back", Some(10), 7)).expect("taken");
    assert_eq!((back, stage.is_gone(tasks, "5")), (Observed::New, false));
}

#[tokio::test]
async fn what_was_read_after_its_parent_was_proven_gone_does_not_go_with_it() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    let (tasks, stories) = (of("tasks"), of("stories"));
    stage.observe(read("tasks", "1", "task", Some(10), 3)).expect("taken");
    stage.observe(read("stories", "8", "before", None, 4)).expect("taken");
    stage.observe(read("stories", "9", "after", None, 6)).expect("taken");
    stage.gone(tasks, "1", moment(5), "answered 404").expect("noted");
    stage.gone_below(stories, tasks).expect("noted");
    assert_eq!(stage.gone_of(stories).collect::<Vec<_>>(), ["8"]);
}

#[tokio::test]
async fn what_goes_leaves_its_last_content_wherever_this_run_has_put_that() {
    // Read again so often, and each time sealed at once or not at all.
    for (readings, budget_bytes) in
        [(0, usize::MAX), (1, usize::MAX), (2, usize::MAX), (1, 0), (2, 0), (3, 0)]
    {
        let (mut stage, _folder) = stage(budget_bytes).await;
        let tasks = of("tasks");
        stage.observe(read("tasks", "5", "reading 0", Some(10), 1)).expect("taken");
        stage.finish(tasks, false).await.expect("ready");
        stage.committed(Vec::new());
        for reading in 1..=readings {
            let name = format!("reading {reading}");
            let met = stage.observe(read("tasks", "5", &name, Some(10), 1 + reading)).expect("taken");
            assert_eq!(met, Observed::Changed);
            stage.keep_within_budget().await.expect("sealed");
        }
        // New to this run, and gone before it is over: nobody ever had it.
        stage.observe(read("tasks", "6", "passing", Some(10), 2)).expect("taken");
        stage.keep_within_budget().await.expect("sealed");
        for gid in ["5", "6"] {
            stage.gone(tasks, gid, moment(9), "answered 404").expect("noted");
        }
        let case = format!("{readings} readings, budget {budget_bytes}");
        let last = stage.take_out().await.expect("taken out");
        let told: Vec<_> = last.iter().map(|last| (&*last.key, last.proof)).collect();
        assert_eq!(told, [("5", "answered 404")], "{case}");
        assert!(last[0].raw.contains(&format!("reading {readings}")), "{case}: {}", last[0].raw);
        let counts = stage.counts(tasks);
        assert_eq!((counts.rows, counts.new, counts.gone), (0, 0, 1), "{case}: {counts:?}");
        assert!(committed(&mut stage, "tasks").await.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn what_was_gone_and_is_back_is_news_though_it_is_the_same() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    let tasks = of("tasks");
    assert_eq!(stage.observe(read("tasks", "5", "one", Some(1), 1)).expect("taken"), Observed::New);
    stage.gone(tasks, "5", moment(3), "answered 404").expect("noted");
    assert_eq!(stage.observe(read("tasks", "5", "one", Some(1), 2)).expect("taken"), Observed::Stale);
    assert!(stage.is_gone(tasks, "5") && !stage.is_met(tasks, "5").expect("known"));
    assert_eq!(stage.observe(read("tasks", "5", "one", Some(1), 4)).expect("taken"), Observed::New);
    assert!(!stage.is_gone(tasks, "5") && stage.is_met(tasks, "5").expect("known"));
    assert_eq!(stage.counts(tasks).rows, 1);
}

#[tokio::test]
async fn what_the_journal_says_was_met_is_held_to_what_was_gone_later() {
    let (mut stage, _folder) = stage(usize::MAX).await;
    let tasks = of("tasks");
    stage.observe(read("tasks", "5", "one", Some(1), 1)).expect("taken");
    stage.gone(tasks, "5", moment(3), "answered 404").expect("noted");
    stage.met(tasks, "5", moment(2)).expect("noted");
    assert!(stage.is_gone(tasks, "5"), "it was asked for before");
    stage.met(tasks, "5", moment(4)).expect("noted");
    assert!(!stage.is_gone(tasks, "5"));
    stage.met(tasks, "5", moment(2)).expect("noted");
    stage.gone(tasks, "5", moment(3), "answered 404").expect("noted");
    assert!(!stage.is_gone(tasks, "5"), "it was read since");
}
