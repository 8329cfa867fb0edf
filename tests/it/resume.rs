//! A run that was stopped, however it was stopped, goes on where it was.

use std::time::Duration;

use asana_backup::asana::Pacer;
use asana_backup::backup::Walk;
use asana_backup::error::ErrorKind;
use asana_simulator::{Fault, Options, Size};

use crate::lanes::some;
use crate::power::{Point, Side};
use crate::seeds::{full, paused, try_all};
use crate::store::Kind;
use crate::world::{World, unlimited};

/// Answers take so long that a run lasts some minutes.
pub(crate) fn slow() -> Options {
    Options { size: Size::Tasks(60), latency: Duration::from_secs(20), ..Options::default() }
}

pub(crate) fn sent(world: &World) -> u64 {
    world.simulator.requests().values().sum()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_stop_goes_on_with_no_question_asked_twice_but_those_in_flight() {
    let undisturbed = World::new(slow());
    undisturbed.run().await;
    let usual = sent(&undisturbed);
    for percent in [10, 50, 80] {
        let world = World::new(slow());
        let stop = world.stop.clone();
        let simulator = world.simulator.clone();
        let watch = async {
            while simulator.requests().values().sum::<u64>() < usual * percent / 100 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let asked_at = tokio::time::Instant::now();
            stop.cancel();
            asked_at
        };
        let (stopped, asked_at) = tokio::join!(world.try_run_now(), watch);
        assert!(asked_at.elapsed() < Duration::from_secs(5), "it took {:?}", asked_at.elapsed());
        assert_eq!(stopped.expect_err("it was stopped").kind(), ErrorKind::Cancelled);
        let before = sent(&world);
        assert!(before >= usual * percent / 100);
        let mut world = world;
        world.stop = Default::default();
        let outcome = world.run().await;
        let twice = sent(&world).saturating_sub(usual);
        // Fifty in flight, who the token is, and the event stream once more.
        assert!(twice <= 50 + 4, "{percent} %: {twice} questions were asked twice");
        assert!(outcome.complete);
        world.assert_equals_truth(outcome.snapshot.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_repeats_no_more_than_its_last_minute() {
    let undisturbed = World::new(slow());
    undisturbed.run().await;
    let usual = sent(&undisturbed);
    let world = World::new(slow());
    let took = Duration::from_secs(240);
    assert!(tokio::time::timeout(took, world.try_run_now()).await.is_err(), "it lasts longer");
    let killed_at = sent(&world);
    let outcome = world.run().await;
    let twice = sent(&world).saturating_sub(usual);
    // A minute holds three rounds of fifty questions at most, and fifty more were in flight.
    assert!(twice <= 4 * 50 + 4 && killed_at > 100, "{twice} of {killed_at} questions were asked twice");
    world.assert_equals_truth(outcome.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn other_terms_start_anew() {
    let mut world = World::new(slow());
    assert!(tokio::time::timeout(Duration::from_secs(240), world.try_run_now()).await.is_err());
    world.filters.tables = vec!["projects".into()];
    let outcome = world.run().await;
    assert!(!world.simulator.requests().is_empty());
    assert_eq!(outcome.snapshot.0, 1);
    world.assert_table_equals_truth(1, "projects").await;
    assert!(world.rows(1, "tasks").await.is_empty(), "what the other run read does not count");
}

#[tokio::test(start_paused = true)]
async fn a_share_that_was_killed_is_walked_on_by_whoever_comes_next_and_never_passed_off_as_one() {
    for (after, goes_on) in [(Walk::Nothing, true), (Walk::WhenDue, true), (Walk::Everything, false)] {
        let mut world = World::new(slow());
        world.run().await;
        (world.full, world.walk) = (false, Walk::Share);
        tokio::time::sleep(Duration::from_hours(24)).await;
        assert!(tokio::time::timeout(Duration::from_secs(90), world.try_run_now()).await.is_err());
        world.walk = after.clone();
        let outcome = world.run().await;
        assert_eq!(outcome.plan.contains("24 of 168 slices"), goes_on, "{after:?}: {}", outcome.plan);
    }
    let mut world = World::new(slow());
    world.run().await;
    (world.full, world.walk) = (false, Walk::Nothing);
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert!(tokio::time::timeout(Duration::from_secs(25), world.try_run_now()).await.is_err());
    world.walk = Walk::Share;
    let outcome = world.run().await;
    assert!(outcome.plan.contains("24 of 168 slices"), "{}", outcome.plan);
}

/// Whatever snapshots a first copy commits, each row is counted in one of them.
async fn assert_counted_once(world: &World) {
    let (mut seen, mut new, mut rows) = (0, 0, 0);
    for number in world.numbers().await {
        let counts = world.snapshot(number).await.tables["tasks"].counts;
        (seen, new, rows) = (seen + counts.seen, new + counts.new, counts.rows);
        assert_eq!(counts.unchanged, 0, "snapshot {number}");
    }
    assert_eq!((seen, new), (rows, rows));
}

#[tokio::test(start_paused = true)]
async fn a_first_copy_that_takes_long_commits_as_it_goes() {
    let mut world = World::new(slow());
    world.commit_every = Duration::from_secs(90);
    let outcome = world.run().await;
    let number = outcome.snapshot.0;
    assert!(number > 2, "there is only snapshot {number}");
    let mut rows = 0;
    for earlier in 1..number {
        let snapshot = world.snapshot(earlier).await;
        assert!(!snapshot.complete && snapshot.continues.is_some(), "snapshot {earlier}");
        let proven =
            snapshot.tables.iter().any(|(name, state)| !name.starts_with('_') && state.proof.complete);
        assert!(!proven, "snapshot {earlier} proves what was not read yet");
        let counted = snapshot.tables["tasks"].counts.rows;
        assert!(counted >= rows, "snapshot {earlier} has fewer tasks than the one before");
        rows = counted;
    }
    assert!(rows > 0, "nothing was of use before the end");
    assert_counted_once(&world).await;
    assert!(outcome.complete);
    world.assert_equals_truth(number).await;
    world.assert_verifies().await;
    let complete = world.repository().await.latest_complete().await.expect("readable").expect("one is");
    assert_eq!(complete.snapshot.number.0, number);
}

#[tokio::test(start_paused = true)]
async fn a_first_copy_killed_between_its_commits_goes_on() {
    for seconds in [120, 200, 260, 320] {
        let mut world = World::new(slow());
        world.commit_every = Duration::from_secs(90);
        let killed = tokio::time::timeout(Duration::from_secs(seconds), world.try_run_now()).await;
        assert!(killed.is_err(), "it lasts longer");
        let outcome = world.run().await;
        assert!(outcome.complete);
        world.assert_equals_truth(outcome.snapshot.0).await;
        assert_counted_once(&world).await;
        world.assert_verifies().await;
        let again = world.run().await;
        assert_eq!(again.parts, 0, "killed after {seconds} s: it is all there once");
    }
}

/// One run over changes that events tell, cut at `point`, and those that follow.
async fn cut(point: Point) {
    let mut world = World::new(Options { size: Size::Mini, ..Options::default() });
    world.run().await;
    world.full = false;
    for task in world.simulator.truth("tasks", None).iter().take(2) {
        let gid = task["gid"].as_str().expect("a gid");
        world.simulator.rename_task(gid, "another name");
        world.simulator.add_comment(gid, "a word");
        // Two edits of one millisecond cannot be told apart.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    _ = world.cut_run(Some(point), Pacer::new(unlimited())).await;
    // However far the dead run had come, whoever goes on with it does not commit what was true then.
    world.simulator.rename_task(&some(&world, "tasks", 2), "a name from after its death");
    let outcome = world.run().await;
    for table in ["tasks", "stories"] {
        world.assert_table_equals_truth(outcome.snapshot.0, table).await;
    }
    world.assert_verifies().await;
    let log = world.simulator.log();
    let refused = log.iter().filter(|request| request.status == 412).count();
    assert_eq!(
        refused, 1,
        "only the very first question has no token, and no token is used after its successor"
    );
    let reconciled = world.reconcile().await;
    world.assert_equals_truth(reconciled.snapshot.0).await;
}

#[test]
fn a_run_over_events_cut_at_any_call_hears_every_event() {
    // A run over so little makes about as many calls.
    let calls = 1..=120;
    let step = if full() > 0 { 1 } else { 3 };
    let points: Vec<Point> = calls
        .flat_map(|call| [Point { call, side: Side::Before }, Point { call, side: Side::After }])
        .step_by(step)
        .collect();
    let repeat = |point: &Point| format!("{point} of a_run_over_events_cut_at_any_call_hears_every_event");
    try_all(&points, |point| paused(cut(*point)), repeat);
}

#[tokio::test(start_paused = true)]
async fn gaps_of_a_first_copy_are_news_whatever_it_committed_before_it_was_killed() {
    let mut world = World::new(slow());
    world.commit_every = Duration::from_secs(90);
    world.simulator.fault(Fault::status("/tasks/*/stories", 403));
    let killed = tokio::time::timeout(Duration::from_secs(200), world.try_run_now()).await;
    assert!(killed.is_err(), "it lasts longer");
    let latest = world.repository().await.latest().await.expect("readable").expect("some").snapshot;
    assert!(latest.gap_count > 0 && latest.continues.is_some());
    let outcome = world.run().await;
    assert_eq!(outcome.new_gaps, outcome.gaps.len() as u64, "nobody was ever told of them");
}

/// The call of an undisturbed run that creates the claim, and the one that is its commit.
fn calls_of(world: &World) -> (u64, u64) {
    let calls = world.weather.calls();
    let of = |wanted: &str| {
        let found = calls.iter().rev().find(|call| call.kind == Kind::Create && call.key.starts_with(wanted));
        found.expect("such a call").in_power
    };
    (of("runs/00000"), of("snapshots/0"))
}

/// One that a task was deleted in, of which only the events tell; and that task.
async fn deleted_task() -> (World, String) {
    let options = Options { size: Size::Mini, event_delay: Duration::ZERO, ..Options::default() };
    let mut world = World::new(options);
    world.run().await;
    world.full = false;
    let tasks = world.simulator.truth("tasks", None);
    let leaf = tasks.iter().find(|task| task["num_subtasks"] == 0).expect("a leaf");
    let task = leaf["gid"].as_str().expect("a gid").to_owned();
    world.simulator.delete_task(&task);
    tokio::time::sleep(Duration::from_secs(120)).await;
    (world, task)
}

#[test]
fn what_a_stream_told_a_dead_run_is_heard_by_whoever_comes_whatever_came_between() {
    let (claim, commit) = paused(async {
        let (world, _) = deleted_task().await;
        world.power.on_until(None);
        world.try_run_now().await.expect("it succeeds");
        calls_of(&world)
    });
    for call in (claim..claim + 24).step_by(3) {
        paused(async {
            let (mut world, task) = deleted_task().await;
            let cut = |call| Some(Point { call, side: Side::After });
            assert!(world.cut_run(cut(commit - 1), Pacer::new(unlimited())).await.is_none());
            // Other terms: it starts anew, and takes over what the streams told; and dies.
            world.full = true;
            assert!(world.cut_run(cut(call), Pacer::new(unlimited())).await.is_none());
            world.full = false;
            let outcome = world.run().await;
            let rows = world.rows(outcome.snapshot.0, "tasks").await;
            assert!(!rows.contains_key(&task), "cut after call {call}: {}", outcome.plan);
        });
    }
}
