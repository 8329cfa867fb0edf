//! What is gone goes only as far as nobody has to be asked: many deletions at once, and whatever another token does not
//! show, wait for somebody's word.

use std::collections::{BTreeMap, BTreeSet};

use asana_backup::asana::Pacer;
use asana_backup::backup::Outcome;
use asana_backup::model::Gap;
use asana_simulator::{EventsPlan, Fault, FaultKind, Options, Size};
use serde_json::Value;

use crate::gaps::accept;
use crate::holes::{commit, forged};
use crate::power::{Point, Side};
use crate::system::cells;
use crate::world::{Row, World, unlimited};

/// A world copied once, whose runs hold deletions back.
async fn world(size: Size) -> World {
    let mut world = World::new(Options { size, ..Options::default() });
    world.accept_deletions = false;
    world.run().await;
    world
}

fn gids<'a>(records: impl Iterator<Item = &'a Value>) -> Vec<String> {
    records.map(|record| record["gid"].as_str().expect("a gid").to_owned()).collect()
}

/// Tasks of projects, of which the events tell, without any below them.
fn leaves(world: &World, count: usize) -> Vec<String> {
    let tasks = world.simulator.truth("tasks", None);
    let is_leaf = |task: &&Value| {
        task["num_subtasks"] == 0 && task["projects"].as_array().is_some_and(|projects| !projects.is_empty())
    };
    let leaves = gids(tasks.iter().filter(is_leaf).take(count));
    assert_eq!(leaves.len(), count, "there are too few");
    leaves
}

/// The gaps that say that deletions are held back, by table.
fn held_gaps(outcome: &Outcome) -> BTreeMap<&str, &Gap> {
    let held = outcome.gaps.iter().filter(|gap| gap.scope == "deletions");
    held.map(|gap| (&*gap.table, gap)).collect()
}

/// Table and key of what a snapshot holds back.
async fn held(world: &World, number: u64) -> BTreeSet<(String, String)> {
    let snapshot = world.snapshot(number).await;
    let held: Vec<(String, String)> = world.repository().await.list(snapshot.held).await.expect("a list");
    assert_eq!(held.len() as u64, snapshot.held_count);
    held.into_iter().collect()
}

/// All rows of the tables that a deleted task takes rows from.
async fn rows(world: &World, number: u64) -> BTreeMap<(String, String), Row> {
    let mut all = BTreeMap::new();
    for table in ["tasks", "stories", "attachments"] {
        let rows = world.rows(number, table).await.into_iter();
        all.extend(rows.map(|(key, row)| ((table.to_owned(), key), row)));
    }
    all
}

async fn keys(world: &World, number: u64) -> BTreeSet<(String, String)> {
    rows(world, number).await.into_keys().collect()
}

/// Holds what is not there any more to be what had been held back, and to lie in the tombstones as it was.
async fn assert_went(world: &World, outcome: &Outcome, before: u64, gone: &BTreeSet<(String, String)>) {
    let number = outcome.snapshot.0;
    let (was, is) = (rows(world, before).await, rows(world, number).await);
    let went: BTreeSet<_> = was.keys().filter(|name| !is.contains_key(*name)).cloned().collect();
    assert_eq!(went, *gone);
    let graves: BTreeMap<(String, String), String> = cells(world, number, "_tombstones")
        .await
        .iter()
        .map(|row| {
            let text = |column: &str| row[column].text().expect("text").to_owned();
            ((text("table"), text("key")), text("raw"))
        })
        .collect();
    assert_eq!(graves.keys().cloned().collect::<BTreeSet<_>>(), *gone);
    assert!(graves.iter().all(|(name, raw)| was[name].raw == *raw));
    assert_eq!((outcome.held_deletions, held(world, number).await.len()), (0, 0));
    assert!(outcome.complete && outcome.gaps.is_empty(), "{:?}", outcome.gaps);
}

fn requests(outcome: &Outcome) -> u64 {
    outcome.requests.values().sum()
}

#[tokio::test(start_paused = true)]
async fn more_than_a_tenth_of_a_table_gone_at_once_waits_for_somebodys_word() {
    for full in [true, false] {
        let mut world = world(Size::Tasks(40)).await;
        world.full = full;
        let tasks = leaves(&world, 12);
        tasks.iter().for_each(|task| drop(world.simulator.delete_task(task)));
        let first = world.run().await;
        let waiting = held(&world, 2).await;
        assert!(tasks.iter().all(|task| waiting.contains(&("tasks".to_owned(), task.clone()))));
        assert!(keys(&world, 2).await == keys(&world, 1).await, "something went");
        assert!(cells(&world, 2, "_tombstones").await.is_empty());
        let tables: BTreeSet<&str> = waiting.iter().map(|(table, _)| &**table).collect();
        let gaps = held_gaps(&first);
        assert_eq!(gaps.keys().copied().collect::<BTreeSet<_>>(), tables);
        let gap = gaps["tasks"];
        assert_eq!((&*gap.gid, gap.status), (&*world.simulator.organization(), 404));
        assert!(gap.phrase.starts_with("12 deletions are held back"), "{}", gap.phrase);
        assert_eq!((first.new_gaps, first.held_deletions), (tables.len() as u64, waiting.len() as u64));
        assert!(!first.complete && !first.tables["tasks"].proof.complete);
        assert_eq!(first.tables["tasks"].counts.gone, 0);

        let second = world.run().await;
        assert!(keys(&world, 3).await == keys(&world, 1).await, "something goes by waiting");
        assert_eq!(held(&world, 3).await, waiting);
        assert_eq!((second.new_gaps, second.complete), (0, false));
        assert_eq!(held_gaps(&second)["tasks"].first_seen, gap.first_seen);

        world.accept_deletions = true;
        let third = world.run().await;
        assert_went(&world, &third, 1, &waiting).await;
        // The events, twelve tasks, and nothing for what hung below them.
        assert!(full || requests(&third) <= 3 + 12, "{:?}", third.requests);

        world.accept_deletions = false;
        let quiet = world.run().await;
        assert!(quiet.complete && quiet.gaps.is_empty());
        assert_eq!((quiet.held_deletions, quiet.tables["tasks"].counts.gone, quiet.parts), (0, 0, 0));
        // That a task waits for one that is gone, no event tells.
        let tables: &[&str] =
            if full { &["tasks", "stories", "attachments"] } else { &["stories", "attachments"] };
        for table in tables {
            world.assert_table_equals_truth(5, table).await;
        }
        world.assert_verifies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_while_it_is_held_stays_and_waits_for_nothing() {
    let mut world = world(Size::Tasks(40)).await;
    let tasks = leaves(&world, 13);
    tasks.iter().for_each(|task| drop(world.simulator.delete_task(task)));
    world.full = false;
    let first = world.run().await;
    tasks[..2].iter().for_each(|task| drop(world.simulator.undelete_task(task)));
    let second = world.reconcile().await;
    let is_back = |task: &str| tasks[..2].iter().any(|back| back == task);
    let waiting = held(&world, second.snapshot.0).await;
    assert!(!waiting.iter().any(|(_, key)| is_back(key)), "what is back is not held");
    assert!(second.held_deletions < first.held_deletions);
    let tenth = tasks.iter().filter(|task| waiting.contains(&("tasks".to_owned(), (*task).clone())));
    assert_eq!(tenth.count(), 11);
    // Fewer would have gone without a word; these were held, and wait for one.
    tasks[2..4].iter().for_each(|task| drop(world.simulator.undelete_task(task)));
    let third = world.reconcile().await;
    let waiting = held(&world, third.snapshot.0).await;
    assert_eq!(waiting.iter().filter(|(table, _)| table == "tasks").count(), 9);
    assert_eq!((third.tables["tasks"].counts.gone, third.new_gaps), (0, 0));
    assert!(held_gaps(&third)["tasks"].phrase.starts_with("9 "), "{:?}", third.gaps);
    // A run without a walk asks for each before it goes.
    world.simulator.undelete_task(&tasks[4]);
    world.accept_deletions = true;
    let last = world.run().await;
    assert_eq!(last.tables["tasks"].counts.gone, 8);
    assert!(last.complete && last.gaps.is_empty());
    for table in ["tasks", "stories", "attachments"] {
        world.assert_table_equals_truth(last.snapshot.0, table).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_rows_of_a_small_table_or_a_tenth_of_a_large_one_go_without_a_word() {
    for (size, small) in [(Size::Tasks(10), true), (Size::Tasks(60), false)] {
        for one_more in [false, true] {
            let world = world(size).await;
            let truth = world.simulator.truth("stories", None);
            let few = if small { 10 } else { truth.len() / 10 };
            assert_eq!(truth.len() < 100, small, "{} stories", truth.len());
            let stories = gids(truth.iter().take(few + usize::from(one_more)));
            stories.iter().for_each(|story| drop(world.simulator.delete_story(story)));
            let outcome = world.run().await;
            let (held, gone) = (outcome.held_deletions, outcome.tables["stories"].counts.gone);
            let expected = if one_more { (stories.len() as u64, 0) } else { (0, stories.len() as u64) };
            assert_eq!((held, gone), expected, "{} of {}", stories.len(), truth.len());
            assert_eq!(outcome.complete, !one_more);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn more_that_is_held_is_news_although_what_was_held_is_accepted() {
    let mut world = world(Size::Tasks(40)).await;
    let stories = gids(world.simulator.truth("stories", None).iter().take(80));
    stories[..60].iter().for_each(|story| drop(world.simulator.delete_story(story)));
    assert_eq!(world.run().await.new_gaps, 1);
    let (number, _) = accept(&world, None, None).await;
    assert!(world.snapshot(number).await.complete, "somebody said so");
    let same = world.run().await;
    assert_eq!((same.new_gaps, same.complete, same.held_deletions), (0, true, 60));
    world.full = false;
    world.simulator.delete_story(&stories[60]);
    assert_eq!(world.run().await.tables["stories"].counts.gone, 1, "a few still go by themselves");
    world.full = true;
    stories[61..].iter().for_each(|story| drop(world.simulator.delete_story(story)));
    let more = world.run().await;
    assert_eq!((more.new_gaps, more.complete), (1, false));
    assert!(more.gaps[0].accepted.is_none());
    assert_eq!(more.gaps[0].first_seen, same.gaps[0].first_seen);
    assert_eq!(world.run().await.new_gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn another_token_that_sees_less_takes_nothing_out_before_somebody_says_so() {
    // One person of this organization does not see a project that is in a portfolio.
    let options =
        Options { size: Size::Tasks(40), seed: 6, people: vec![("p".into(), 1)], ..Options::default() };
    let mut world = World::new(options);
    world.run().await;
    let before = world.rows(1, "portfolio_items").await;
    world = world.with_token("p");
    (world.full, world.accept_deletions) = (false, false);
    let first = world.run().await;
    assert!(first.plan.contains("the token is another's"), "{}", first.plan);
    let waiting = held(&world, 2).await;
    assert!(waiting.iter().any(|(table, _)| table == "portfolio_items"), "it sees as much");
    assert!(held_gaps(&first)["portfolio_items"].phrase.contains("the token is"));
    assert!(!first.complete);
    for full in [true, false, true] {
        world.full = full;
        let next = world.run().await;
        assert_eq!(held(&world, next.snapshot.0).await, waiting, "it is the token of a run before now");
        assert_eq!(world.rows(next.snapshot.0, "portfolio_items").await, before);
        let gone: u64 = next.tables.values().map(|table| table.counts.gone).sum();
        assert_eq!((gone, next.new_gaps), (0, 0));
    }
    world.full = false;
    world.accept_deletions = true;
    let last = world.run().await;
    assert_eq!((last.held_deletions, held_gaps(&last).len()), (0, 0));
    let rows = world.rows(last.snapshot.0, "portfolio_items").await;
    let graves = cells(&world, last.snapshot.0, "_tombstones").await;
    for (table, key) in &waiting {
        assert!(table != "portfolio_items" || !rows.contains_key(key), "{key} is still there");
        let is_of = |row: &&crate::system::Cells| {
            row["table"].text() == Some(&**table) && row["key"].text() == Some(&**key)
        };
        assert_eq!(graves.iter().filter(is_of).count(), 1, "{table} {key} has no tombstone");
    }
}

#[tokio::test(start_paused = true)]
async fn another_token_that_sees_as_much_is_fine_but_a_single_deletion_waits_for_a_word() {
    let mut world = world(Size::Tasks(20)).await;
    for deletes in [false, true] {
        let snapshot = forged(&world, |snapshot| "another".clone_into(&mut snapshot.token.gid)).await;
        commit(&world, &snapshot).await;
        if deletes {
            let story = gids(world.simulator.truth("stories", None).iter().take(1));
            world.simulator.delete_story(&story[0]);
        }
        let outcome = world.run().await;
        assert_eq!((outcome.held_deletions, outcome.complete), (u64::from(deletes), !deletes));
    }
    // It is nobody else's token by now, and nobody has said anything.
    let next = world.run().await;
    assert_eq!((next.held_deletions, next.tables["stories"].counts.gone), (1, 0));
    world.accept_deletions = true;
    let last = world.run().await;
    assert_eq!((last.held_deletions, last.tables["stories"].counts.gone), (0, 1));
    world.assert_equals_truth(last.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn a_relation_that_was_held_goes_with_the_word_though_nothing_is_walked() {
    let mut world = world(Size::Tasks(20)).await;
    let snapshot = forged(&world, |snapshot| "another".clone_into(&mut snapshot.token.gid)).await;
    commit(&world, &snapshot).await;
    let item = world.simulator.truth("portfolio_items", None)[0]["item"].as_str().expect("a gid").to_owned();
    world.simulator.edit("delete_project", &item, "").expect("it lives");
    let first = world.run().await;
    let waiting = held(&world, first.snapshot.0).await;
    assert!(waiting.iter().any(|(table, _)| table == "portfolio_items"), "{waiting:?}");
    (world.full, world.accept_deletions) = (false, true);
    let last = world.run().await;
    assert!(last.plan.starts_with("walk nothing"), "{}", last.plan);
    for table in ["projects", "portfolio_items", "sections", "custom_field_settings"] {
        world.assert_table_equals_truth(last.snapshot.0, table).await;
    }
    assert_eq!(cells(&world, last.snapshot.0, "_tombstones").await.len(), waiting.len());
    assert!(last.complete && last.held_deletions == 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_while_it_is_held_is_held_no_more_though_nothing_is_walked() {
    let mut world = world(Size::Tasks(40)).await;
    world.full = false;
    let tasks = leaves(&world, 13);
    tasks.iter().for_each(|task| drop(world.simulator.delete_task(task)));
    let first = world.run().await;
    world.simulator.undelete_task(&tasks[0]);
    let second = world.run().await;
    assert!(second.plan.starts_with("walk nothing"), "{}", second.plan);
    let waiting = held(&world, second.snapshot.0).await;
    assert!(!waiting.contains(&("tasks".to_owned(), tasks[0].clone())), "it is back");
    assert!(waiting.contains(&("tasks".to_owned(), tasks[1].clone())), "it is not");
    assert!(second.held_deletions < first.held_deletions);
    // It is as any other by now: alone, it goes without a word.
    world.simulator.delete_task(&tasks[0]);
    let third = world.run().await;
    assert_eq!(third.tables["tasks"].counts.gone, 1);
    let rest: BTreeSet<_> = held(&world, third.snapshot.0).await;
    assert_eq!(rest, waiting);
}

#[tokio::test(start_paused = true)]
async fn a_relation_goes_only_when_the_second_listing_was_read_too() {
    let world = world(Size::Tasks(20)).await;
    let portfolios = world.simulator.truth("portfolios", None).len() as u64;
    let before = world.rows(1, "portfolio_items").await;
    let item = world.simulator.truth("portfolio_items", None)[0]["item"].as_str().expect("a gid").to_owned();
    world.simulator.edit("delete_project", &item, "").expect("it lives");
    let kind = FaultKind::Status { status: 403, retry_after: None };
    world.simulator.fault(Fault { after: portfolios, ..Fault::on("/portfolios/*/items", kind) });
    let outcome = world.run().await;
    assert!(outcome.gaps.iter().any(|gap| gap.scope == "getItemsForPortfolio"), "{:?}", outcome.gaps);
    assert_eq!(world.rows(2, "portfolio_items").await, before, "absent from one listing is not gone");
    world.simulator.clear_faults();
    let last = world.run().await;
    world.assert_table_equals_truth(last.snapshot.0, "portfolio_items").await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_between_its_listing_and_what_is_below_it_goes_in_that_run() {
    let options = Options { size: Size::Tasks(20), events: EventsPlan::None, ..Options::default() };
    let world = World::new(options);
    world.run().await;
    world.line.live(std::time::Duration::from_millis(40), None);
    let simulator = world.simulator.clone();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let noted = gone.clone();
    let tasks = gids(world.simulator.truth("tasks", None).iter().filter(|task| task["num_subtasks"] == 0));
    let task = tasks[0].clone();
    world.line.before(
        |target| target.contains("/stories?"),
        move || {
            noted.lock().expect("whole").clone_from(&task);
            simulator.delete_task(&task);
        },
    );
    let outcome = world.run().await;
    let task = gone.lock().expect("whole").clone();
    assert!(!task.is_empty());
    for table in ["tasks", "stories", "attachments"] {
        world.assert_table_equals_truth(outcome.snapshot.0, table).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_word_on_what_is_held_counts_for_a_run_that_goes_on_too() {
    let calls = {
        let (mut world, _) = holding().await;
        world.accept_deletions = true;
        world.power.on_until(None);
        world.try_run_now().await.expect("it succeeds");
        world.power.calls()
    };
    for call in (1..calls).step_by(11) {
        let (mut world, waiting) = holding().await;
        // The run that dies does not have the word, or has it: whoever goes on has.
        world.accept_deletions = call % 4 == 0;
        let point = Point { call, side: Side::Before };
        assert!(world.cut_run(Some(point), Pacer::new(unlimited())).await.is_none_or(|done| done.is_ok()));
        world.accept_deletions = true;
        let outcome = world.run().await;
        let rows = keys(&world, outcome.snapshot.0).await;
        let left: Vec<_> = waiting.iter().filter(|name| rows.contains(*name)).collect();
        assert!(left.is_empty(), "cut before call {call}: {left:?}");
        assert_eq!((outcome.held_deletions, outcome.complete), (0, true), "{:?}", outcome.gaps);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_cannot_be_asked_about_stays_held_whatever_the_word() {
    let (mut world, waiting) = holding().await;
    world.accept_deletions = true;
    let (_, refused) = waiting.iter().find(|(table, _)| table == "tasks").expect("a task");
    world.simulator.fault(Fault::status(&format!("/tasks/{refused}"), 403));
    let outcome = world.run().await;
    let left = held(&world, outcome.snapshot.0).await;
    assert!(left.contains(&("tasks".to_owned(), refused.clone())), "{left:?}");
    assert!(!outcome.complete && held_gaps(&outcome).contains_key("tasks"), "{:?}", outcome.gaps);
    world.simulator.clear_faults();
    let outcome = world.run().await;
    assert_eq!((outcome.held_deletions, outcome.complete), (0, true), "{:?}", outcome.gaps);
}

/// A world whose next run finds nothing new, and holds back the deletion of tasks; with what is held.
async fn holding() -> (World, BTreeSet<(String, String)>) {
    let mut world = world(Size::Tasks(40)).await;
    world.full = false;
    leaves(&world, 12).iter().for_each(|task| drop(world.simulator.delete_task(task)));
    let outcome = world.run().await;
    let waiting = held(&world, outcome.snapshot.0).await;
    assert!(!waiting.is_empty());
    (world, waiting)
}
