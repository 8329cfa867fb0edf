//! A backfill brings what it was asked for, and is no less honest for reading a part alone.

use std::collections::BTreeMap;
use std::time::Duration;

use asana_backup::asana::Pacer;
use asana_backup::backup::{Outcome, Walk};
use asana_backup::crawl::{Backfill, LAG};
use asana_backup::error::ErrorKind;
use asana_backup::resources;
use asana_simulator::{Options, Size};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::lanes::{LANES, requests, some, some_of_a_project};
use crate::power::{Point, Side};
use crate::resume::{sent, slow};
use crate::seeds::{full, paused, try_all};
use crate::world::{Row, World, unlimited};

fn backfill(since: Option<DateTime<Utc>>, tables: &[&str], projects: &[&str]) -> Walk {
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Walk::Backfill(Backfill { since, tables: set(tables), projects: set(projects) })
}

/// A task of a project that has no task of `other` among its projects, and that project.
fn task_and_project(world: &World, other: Option<&str>) -> (String, String) {
    let text = |value: &Value| value["gid"].as_str().expect("a gid").to_owned();
    for task in world.simulator.truth("tasks", None) {
        let projects: Vec<_> = task["projects"].as_array().into_iter().flatten().map(text).collect();
        if projects.len() == 1 && Some(&*projects[0]) != other && task["parent"].is_null() {
            return (text(&task), projects[0].clone());
        }
    }
    panic!("no task is in one project only");
}

async fn all_rows(world: &World, number: u64) -> BTreeMap<&'static str, BTreeMap<String, Row>> {
    let mut all = BTreeMap::new();
    for resource in resources::ALL {
        all.insert(resource.table, world.rows(number, resource.table).await);
    }
    all
}

/// The stories of a task are those it has. Without the search, nothing leads to some tasks, nor to their stories.
async fn assert_stories_of(world: &World, number: u64, task: &str) {
    let rows = world.rows(number, "stories").await;
    let there = rows.iter().filter(|(_, row)| row.parent.as_deref() == Some(task)).map(|(gid, _)| &**gid);
    let truth = world.simulator.truth("stories", None);
    let told = truth.iter().filter(|story| story["target"]["gid"] == *task);
    let mut told: Vec<_> = told.map(|story| story["gid"].as_str().expect("a gid")).collect();
    told.sort_unstable();
    assert_eq!(there.collect::<Vec<_>>(), told);
}

fn gone(outcome: &Outcome) -> u64 {
    outcome.tables.values().map(|table| table.counts.gone).sum()
}

#[tokio::test(start_paused = true)]
async fn what_no_event_told_is_brought_by_a_backfill_since_then_by_whichever_lane() {
    for lane in LANES {
        let mut world = lane.world(3).await;
        world.walk = Walk::Nothing;
        let since = world.clock.now();
        world.simulator.lose_events(Some(1.0));
        let (touched, talked) = (some_of_a_project(&world, 3), some_of_a_project(&world, 9));
        world.simulator.rename_task(&touched, "another name");
        world.simulator.add_comment(&talked, "a word");
        let deaf = world.run().await;
        let rows = world.rows(deaf.snapshot.0, "tasks").await;
        let heard = rows[&touched].raw.contains("another name");
        assert_eq!(heard, lane.name != LANES[0].name, "{lane:?}");
        world.walk = backfill(Some(since), &[], &[]);
        let outcome = world.run().await;
        let rows = world.rows(outcome.snapshot.0, "tasks").await;
        assert!(rows[&touched].raw.contains("another name"), "{lane:?}");
        assert_stories_of(&world, outcome.snapshot.0, &talked).await;
        assert!(outcome.plan.starts_with("backfill --since 20"), "{}", outcome.plan);
        // Both are read again, whether the copy has them or not; and nothing else is.
        assert_eq!(outcome.requests.get("getStoriesForTask"), Some(&2), "{lane:?}: {:?}", outcome.requests);
        assert_eq!(gone(&outcome), 0, "{lane:?}");
        world.assert_whole(outcome.snapshot.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_a_project_brings_what_is_below_it_and_leaves_the_rest_alone() {
    let start = Utc::now() - chrono::TimeDelta::days(40_000);
    for since in [None, Some(start)] {
        let mut world = LANES[0].world(7).await;
        world.simulator.lose_events(Some(1.0));
        let (inside, project) = task_and_project(&world, None);
        let (outside, _) = task_and_project(&world, Some(&project));
        for task in [&inside, &outside] {
            world.simulator.rename_task(task, "another name");
            world.simulator.add_comment(task, "a word");
        }
        let stories = world.simulator.truth("stories", None);
        let of = |task: &str| {
            let found = stories.iter().find(|story| story["target"]["gid"] == *task);
            found.map(|story| story["gid"].as_str().expect("a gid").to_owned())
        };
        world.simulator.delete_story(&of(&inside).expect("it has one"));
        world.simulator.delete_story(&of(&outside).expect("it has one"));
        let before = all_rows(&world, 1).await;
        world.walk = backfill(since, &[], &[&project]);
        let outcome = world.run().await;
        let after = all_rows(&world, outcome.snapshot.0).await;
        assert!(after["tasks"][&inside].raw.contains("another name"));
        assert!(!after["tasks"][&outside].raw.contains("another name"));
        assert_stories_of(&world, outcome.snapshot.0, &inside).await;
        assert_eq!(gone(&outcome), 1, "since {since:?}: {:?}", outcome.tables);
        for (table, rows) in &before {
            for (key, row) in rows {
                let same = after[table].get(key).is_some_and(|now| now.hash == row.hash);
                let named = *key == inside || row.parent.as_deref() == Some(&inside);
                assert!(same || named, "{table} {key} is not what it was");
            }
        }
        world.assert_verifies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_a_part_marks_nothing_as_proven_and_loses_no_cursor() {
    for lane in LANES {
        let mut world = lane.world(5).await;
        let project = some(&world, "projects", 1);
        let since = world.clock.now() - chrono::TimeDelta::days(3);
        let parts = [
            backfill(None, &["tasks"], &[]),
            backfill(None, &["stories", "users"], &[]),
            backfill(None, &[], &[&project]),
            backfill(Some(since), &[], &[]),
            backfill(Some(since), &["sections"], &[&project]),
        ];
        for part in parts {
            let number = *world.numbers().await.last().expect("one");
            let before = world.snapshot(number).await;
            tokio::time::sleep(Duration::from_mins(30)).await;
            world.walk = part;
            let outcome = world.run().await;
            let after = world.snapshot(outcome.snapshot.0).await;
            assert_eq!(after.coverage, before.coverage, "{lane:?}: {}", after.plan);
            assert_eq!((&after.filters, &after.lacks), (&before.filters, &before.lacks), "{lane:?}");
            assert_eq!(after.complete, before.complete, "{lane:?}: {}", after.plan);
            for resource in resources::ALL {
                let proof =
                    |snapshot: &asana_backup::model::Snapshot| snapshot.tables[resource.table].proof.clone();
                assert_eq!(proof(&after), proof(&before), "{lane:?} {}: {}", resource.table, after.plan);
            }
            assert_eq!((gone(&outcome), outcome.parts), (0, 0), "{lane:?}: {}", after.plan);
        }
        world.walk = Walk::Nothing;
        let quiet = world.run().await;
        assert!(requests(&quiet) <= lane.quiet, "{lane:?}: {:?}", quiet.requests);
        let refused = world.simulator.log().iter().filter(|request| request.status == 412).count() as u64;
        let streams = world.simulator.truth("projects", None).len() as u64 + 1;
        assert!(refused <= streams, "{lane:?}: a token was used twice, or lost: {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_backfill_of_one_table_finds_changed_brings_all_that_hangs_below_it() {
    for lane in LANES {
        let mut world = lane.world(4).await;
        world.simulator.lose_events(Some(1.0));
        let talked = some_of_a_project(&world, 2);
        world.simulator.add_comment(&talked, "a word");
        world.walk = backfill(None, &["tasks"], &[]);
        let outcome = world.run().await;
        assert_eq!(outcome.tables["tasks"].counts.changed, 1, "{lane:?}");
        // The next run will see no difference any more.
        assert_stories_of(&world, outcome.snapshot.0, &talked).await;
        assert_eq!(outcome.requests.get("getStoriesForTask"), Some(&1), "{lane:?}: {:?}", outcome.requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_a_table_finds_out_what_is_gone_from_it_and_asks_for_nothing_else() {
    let mut world = LANES[0].world(7).await;
    world.simulator.lose_events(Some(1.0));
    let (task, _) = task_and_project(&world, None);
    world.simulator.delete_task(&task);
    world.simulator.rename_user(&some(&world, "users", 0), "Somebody Else");
    world.walk = backfill(None, &["tasks"], &[]);
    let outcome = world.run().await;
    assert!(!world.rows(outcome.snapshot.0, "tasks").await.contains_key(&task));
    world.assert_table_equals_truth(outcome.snapshot.0, "tasks").await;
    assert!(!outcome.requests.contains_key("getTeamsForWorkspace"), "{:?}", outcome.requests);
    world.assert_whole(outcome.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_all_equals_the_truth_and_proves_it() {
    for lane in LANES {
        let mut world = lane.world(6).await;
        world.simulator.lose_events(Some(1.0));
        world.simulator.rename_user(&some(&world, "users", 0), "Somebody Else");
        world.simulator.delete_story(&some(&world, "stories", 4));
        tokio::time::sleep(Duration::from_hours(1)).await;
        world.walk = backfill(None, &[], &[]);
        let outcome = world.run().await;
        assert!(outcome.plan.starts_with("backfill --all; walk everything"), "{}", outcome.plan);
        if lane.search {
            world.assert_equals_truth(outcome.snapshot.0).await;
        }
        let since = outcome.started_at - LAG;
        assert!(outcome.tables.values().all(|table| table.proof.as_of >= since), "{lane:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_that_was_killed_goes_on_and_one_of_something_else_starts_anew() {
    let mut world = World::new(slow());
    world.run().await;
    world.full = false;
    let before = sent(&world);
    world.walk = backfill(None, &["stories"], &[]);
    world.run().await;
    let usual = sent(&world) - before;
    let before = sent(&world);
    assert!(tokio::time::timeout(Duration::from_secs(200), world.try_run_now()).await.is_err());
    let killed = sent(&world) - before;
    let outcome = world.run().await;
    let twice = sent(&world) - before - usual;
    // Who the token is, what a minute holds, and what was in flight.
    assert!(killed > 60 && twice < killed, "{twice} of {killed} questions were asked twice");
    assert!(outcome.plan.contains("--tables stories"), "{}", outcome.plan);
    assert!(tokio::time::timeout(Duration::from_secs(200), world.try_run_now()).await.is_err());
    for other in [backfill(None, &["attachments"], &[]), Walk::Nothing] {
        world.walk = other;
        let outcome = world.run().await;
        assert!(!outcome.plan.contains("stories"), "{}", outcome.plan);
    }
    // Whoever holds the claim is not disturbed by it.
    assert!(tokio::time::timeout(Duration::from_secs(60), world.try_run_now()).await.is_err());
    let mut other = world.same();
    (other.full, other.walk, other.holder) = (false, backfill(None, &["tasks"], &[]), "another".to_owned());
    assert_eq!(other.try_run_now().await.expect_err("held").kind(), ErrorKind::Conflict);
}

/// A backfill cut at `point`, and those that follow.
async fn cut(since: bool, point: Point) {
    let mut world = World::new(Options { size: Size::Mini, ..Options::default() });
    world.run().await;
    world.full = false;
    let since = Some(world.clock.now()).filter(|_| since);
    world.simulator.lose_events(Some(1.0));
    for task in world.simulator.truth("tasks", None).iter().take(2) {
        let gid = task["gid"].as_str().expect("a gid");
        world.simulator.rename_task(gid, "another name");
        world.simulator.add_comment(gid, "a word");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.walk = backfill(since, if since.is_some() { &[] } else { &["stories"] }, &[]);
    _ = world.cut_run(Some(point), Pacer::new(unlimited())).await;
    let outcome = world.run().await;
    for table in ["tasks", "stories"] {
        world.assert_table_equals_truth(outcome.snapshot.0, table).await;
    }
    world.assert_verifies().await;
    let reconciled = world.reconcile().await;
    world.assert_equals_truth(reconciled.snapshot.0).await;
}

#[test]
fn a_backfill_cut_at_any_call_brings_what_it_was_asked_for() {
    let step = if full() > 0 { 1 } else { 23 };
    let cases: Vec<(bool, Point)> = (1..=200)
        .flat_map(|call| [Point { call, side: Side::Before }, Point { call, side: Side::After }])
        .flat_map(|point| [(false, point), (true, point)])
        .step_by(step)
        .collect();
    let repeat = |(_, point): &(bool, Point)| {
        format!("{point} of a_backfill_cut_at_any_call_brings_what_it_was_asked_for")
    };
    try_all(&cases, |(since, point)| paused(cut(*since, *point)), repeat);
}

#[tokio::test(start_paused = true)]
async fn a_backfill_that_cannot_be_is_refused_before_anything_is_claimed() {
    let refused = async |world: &World, walk: Walk, words: &str| {
        let mut other = world.same();
        (other.full, other.walk) = (false, walk);
        let number = world.numbers().await.last().copied().unwrap_or(0);
        let error = other.try_run_now().await.expect_err("refused");
        let said = format!("{error} {}", error.remedy_text().unwrap_or_default());
        assert_eq!(error.kind(), ErrorKind::Config, "{said}");
        assert!(said.contains(words), "`{words}` is not said: {said}");
        let claims = world.repository().await.claims(asana_backup::model::SnapshotNumber(number)).await;
        assert!(claims.expect("readable").is_empty(), "{words}: it is claimed");
    };
    let empty = World::tiny();
    refused(&empty, backfill(None, &["tasks"], &[]), "there is no snapshot yet").await;
    let world = LANES[0].world(7).await;
    refused(&world, backfill(None, &["taks"], &[]), "name some of workspaces, users").await;
    refused(&world, backfill(None, &[], &["17"]), "no project 17").await;
    refused(&world, backfill(None, &[], &["../users/me"]), "no project ../users/me").await;
    refused(&world, backfill(None, &["users"], &[&some(&world, "projects", 0)]), "leave out --projects")
        .await;
    let ahead = world.clock.now() + chrono::TimeDelta::hours(1);
    refused(&world, backfill(Some(ahead), &[], &[]), "lies ahead").await;
    let mut fewer = world.same();
    fewer.filters.tables = vec!["users".into(), "teams".into()];
    refused(&fewer, backfill(None, &["tasks"], &[]), "the filters leave out").await;
    refused(&fewer, backfill(None, &["users"], &[]), "the filters are others").await;
}
