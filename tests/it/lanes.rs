//! A run costs what changed, whichever lane tells it; and what no lane tells lives a week at most.

use std::num::NonZeroU32;
use std::time::Duration;

use asana_backup::asana::{PaceOptions, Pacer};
use asana_backup::backup::{Outcome, Walk};
use asana_backup::resources;
use asana_simulator::{EventsPlan, Fault, FaultKind, Options, Size};
use chrono::TimeDelta;
use serde_json::Value;

use crate::holes::{commit, forged};
use crate::world::World;

/// A way to learn what changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// As the plan calls it.
    pub(crate) name: &'static str,
    events: EventsPlan,
    pub(crate) search: bool,
    /// Requests of a run in which nothing happened, at most: 40 tasks, of which some have subtasks, in 6 projects.
    pub(crate) quiet: u64,
}

pub(crate) const LANES: [Lane; 4] = [
    Lane { name: "the organization's events", events: EventsPlan::Workspace, search: true, quiet: 3 },
    Lane {
        name: "the events of each project, and the search",
        events: EventsPlan::Resources,
        search: true,
        quiet: 40,
    },
    Lane { name: "the search by modification", events: EventsPlan::None, search: true, quiet: 16 },
    Lane {
        name: "the tasks of each project and user modified since, and all subtasks",
        events: EventsPlan::None,
        search: false,
        quiet: 80,
    },
];

impl Lane {
    /// A world whose token has this lane and no better one, copied once.
    pub(crate) async fn world(self, seed: u64) -> World {
        self.world_of(40, seed).await
    }

    async fn world_of(self, tasks: u32, seed: u64) -> World {
        let mut world = World::new(Options {
            size: Size::Tasks(tasks),
            seed,
            events: self.events,
            search: self.search,
            ..Options::default()
        });
        world.run().await;
        world.full = false;
        world
    }
}

pub(crate) fn requests(outcome: &Outcome) -> u64 {
    outcome.requests.values().sum()
}

pub(crate) fn some(world: &World, table: &str, nth: usize) -> String {
    world.simulator.truth(table, None)[nth]["gid"].as_str().expect("a gid").to_owned()
}

pub(crate) fn some_of_a_project(world: &World, nth: usize) -> String {
    let tasks = world.simulator.truth("tasks", None);
    let in_project = |task: &&Value| task["projects"].as_array().is_some_and(|projects| !projects.is_empty());
    tasks.iter().filter(in_project).nth(nth).expect("so many")["gid"].as_str().expect("a gid").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_run_costs_next_to_nothing_and_writes_no_part() {
    for lane in LANES {
        let world = lane.world(7).await;
        let outcome = world.run().await;
        assert!(outcome.plan.contains(lane.name), "{lane:?}: {}", outcome.plan);
        assert!(requests(&outcome) <= lane.quiet, "{lane:?}: {:?}", outcome.requests);
        assert_eq!(outcome.parts, 0, "{lane:?}");
        if lane.search {
            world.assert_equals_truth(outcome.snapshot.0).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_in_the_next_snapshot_by_whichever_lane() {
    for lane in LANES {
        for seed in [1, 2, 3] {
            let world = lane.world(seed).await;
            // Tasks of projects: without the search nothing leads to some others.
            let (touched, talked) = (some_of_a_project(&world, 3), some_of_a_project(&world, 9));
            world.simulator.rename_task(&touched, "another name");
            world.simulator.add_comment(&talked, "a word");
            let outcome = world.run().await;
            let rows = world.rows(outcome.snapshot.0, "tasks").await;
            assert!(rows[&touched].raw.contains("another name"), "{lane:?}, seed {seed}");
            let truth = world.simulator.truth("stories", None);
            let mut told = truth.iter().filter(|story| story["target"]["gid"] == *talked);
            let stories = world.rows(outcome.snapshot.0, "stories").await;
            let is_there = |story: &Value| stories.contains_key(story["gid"].as_str().expect("a gid"));
            assert!(told.all(is_there), "{lane:?}, seed {seed}");
            assert!(requests(&outcome) <= lane.quiet + 20, "{lane:?}, seed {seed}: {:?}", outcome.requests);
            world.assert_whole(outcome.snapshot.0).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_task_is_read_once_however_many_tell_of_it() {
    for lane in LANES {
        for seed in [1, 2, 3] {
            let world = lane.world(seed).await;
            for nth in 0..5 {
                world.simulator.touch_task(&some_of_a_project(&world, 3 * nth));
            }
            let outcome = world.run().await;
            assert_eq!(outcome.tables["tasks"].counts.changed, 5, "{lane:?}, seed {seed}");
            assert_eq!(
                outcome.requests.get("getStoriesForTask"),
                Some(&5),
                "{lane:?}, seed {seed}: {:?}",
                outcome.requests
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_streams_that_told_of_something_are_asked_again() {
    let lane = LANES[1];
    for seed in [1, 2, 3] {
        let world = lane.world(seed).await;
        let before = world.simulator.log().len();
        let quiet = world.run().await.requests["getEvents"];
        // One is asked ahead of the others, to see whether it may be, and has told all by then.
        let asked = world.simulator.log().split_off(before);
        let probed =
            asked.into_iter().find(|request| request.target.contains("/events?")).expect("one").target;
        let apart = |task: &Value| {
            let projects = task["projects"].as_array().expect("its projects");
            let of = |project: &Value| probed.contains(project["gid"].as_str().expect("a gid"));
            !projects.is_empty() && !projects.iter().any(of)
        };
        let touched = world.simulator.truth("tasks", None).into_iter().find(apart);
        let touched = touched.expect("some");
        world.simulator.touch_task(touched["gid"].as_str().expect("a gid"));
        let projects = touched["projects"].as_array().expect("its projects").len() as u64;
        let outcome = world.run().await;
        assert_eq!(outcome.requests["getEvents"], quiet + projects, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_run_does_not_ask_again_for_what_was_gone_before() {
    for lane in &LANES[1..3] {
        let options =
            Options { size: Size::Tiny, events: lane.events, search: lane.search, ..Options::default() };
        let mut world = World::new(options);
        let first = world.run().await;
        assert!(first.dangling_references > 0, "somebody who left does not answer any more");
        world.full = false;
        let quiet = world.run().await;
        assert_eq!(quiet.dangling_references, 0, "{lane:?}: {:?}", quiet.requests);
        assert!(!quiet.requests.contains_key("getTasks"), "{lane:?}: {:?}", quiet.requests);
        world.assert_equals_truth(quiet.snapshot.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_task_goes_at_once_where_events_tell_it_and_comes_back_with_all_that_hung_below() {
    for lane in &LANES[..2] {
        for seed in [1, 2, 3, 4] {
            let world = lane.world(seed).await;
            let stories = world.simulator.truth("stories", None);
            // A task of a project: the events of projects tell nothing of others.
            let in_project = |task: &&Value| {
                let has_stories = stories.iter().any(|story| story["target"]["gid"] == task["gid"]);
                has_stories && task["projects"].as_array().is_some_and(|projects| !projects.is_empty())
            };
            let tasks = world.simulator.truth("tasks", None);
            let task = tasks.iter().find(in_project).expect("such a task")["gid"].as_str().expect("a gid");
            world.simulator.delete_task(task);
            let gone = world.run().await;
            let rows = world.rows(gone.snapshot.0, "tasks").await;
            assert!(!rows.contains_key(task), "{lane:?}, seed {seed}");
            // What others say of it, as that they wait for it, no event tells; what hung below it is its own.
            let below = |row: &crate::world::Row| row.parent.as_deref() == Some(task);
            for table in ["stories", "attachments"] {
                assert!(!world.rows(gone.snapshot.0, table).await.values().any(below), "{table}");
            }
            world.simulator.undelete_task(task);
            let back = world.run().await;
            assert!(world.rows(back.snapshot.0, "tasks").await.contains_key(task), "{lane:?}, seed {seed}");
            for table in ["stories", "attachments"] {
                world.assert_table_equals_truth(back.snapshot.0, table).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_archived_project_keeps_all_that_is_in_it_and_says_that_it_is_archived_until_it_is_none() {
    for lane in LANES {
        let mut world = lane.world(7).await;
        let tasks = world.simulator.truth("tasks", None);
        let of = |task: &Value| task["projects"][0]["gid"].as_str().map(str::to_owned);
        let projects = world.simulator.truth("projects", None);
        let is_there = |gid: &String| {
            projects.iter().any(|project| project["gid"] == **gid && project["archived"] == false)
        };
        let project = tasks.iter().filter_map(of).find(is_there).expect("a project with tasks");
        let below = ["sections", "tasks", "stories"];
        let before = below.map(|table| world.simulator.truth(table, None).len());
        for archived in [true, false] {
            world.simulator.edit("archive_project", &project, "").expect("it lives");
            let outcome = world.run().await;
            let row = &world.rows(outcome.snapshot.0, "projects").await[&project];
            assert!(row.raw.contains(&format!("\"archived\":{archived}")), "{lane:?}: {}", row.raw);
            for (table, count) in below.iter().zip(before) {
                let counts = outcome.tables[*table].counts;
                assert_eq!(counts.gone, 0, "{lane:?}: {table}");
                assert!(!lane.search || counts.rows == count as u64, "{lane:?}: {table}");
            }
            // Nor does a walk take an archive for a deletion.
            let walked = world.reconcile().await;
            assert_eq!(walked.tables["tasks"].counts.gone + walked.tables["projects"].counts.gone, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_forgot_to_tell_is_searched_for() {
    let world = LANES[0].world(7).await;
    let task = some(&world, "tasks", 5);
    world.simulator.touch_task(&task);
    world.simulator.expire_sync_tokens();
    let outcome = world.run().await;
    world.assert_table_equals_truth(outcome.snapshot.0, "tasks").await;
    assert!(outcome.requests.contains_key("searchTasksForWorkspace"));
    let quiet = world.run().await;
    assert!(requests(&quiet) <= LANES[0].quiet, "{:?}", quiet.requests);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_answers_nonsense_ends_no_run_and_another_lane_does_its_work() {
    let world = LANES[2].world(7).await;
    let task = some_of_a_project(&world, 3);
    world.simulator.rename_task(&task, "another name");
    world.line.spoil(|target| target.contains("/tasks/search?"));
    let outcome = world.run().await;
    assert!(world.rows(outcome.snapshot.0, "tasks").await[&task].raw.contains("another name"));
    let probes = world.snapshot(outcome.snapshot.0).await.token.probes;
    assert!(probes["search"].starts_with("odd: "), "{probes:?}");
    world.line.alter_no_more();
    let next = world.run().await;
    world.assert_equals_truth(next.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_tells_is_found_within_a_week_and_a_run() {
    let world = LANES[0].world(7).await;
    world.simulator.lose_events(Some(1.0));
    let user = some(&world, "users", 0);
    world.simulator.rename_user(&user, "Somebody Else");
    let story = some(&world, "stories", 4);
    world.simulator.delete_story(&story);
    let (mut walked, mut found) = (0, false);
    for _ in 0..=4 * 7 {
        tokio::time::sleep(Duration::from_hours(6) - Duration::from_mins(2)).await;
        let outcome = world.run().await;
        walked += u64::from(outcome.plan.contains("slices"));
        found |= outcome.tables["stories"].counts.gone > 0;
    }
    assert!((7..=8).contains(&walked), "{walked} days were walked");
    assert!(found, "the deleted story is still there");
    let last = world.repository().await.latest().await.expect("readable").expect("a snapshot").snapshot;
    for resource in resources::ALL {
        world.assert_table_equals_truth(last.number.0, resource.table).await;
        let age = last.committed_at - last.tables[resource.table].proof.as_of;
        assert!(age <= chrono::Duration::days(7), "{} is proven as of {age} ago", resource.table);
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_asked_for_twice_is_walked_once_and_runs_asked_for_nothing_walk_nothing() {
    let mut world = LANES[0].world(7).await;
    world.walk = Walk::Nothing;
    tokio::time::sleep(Duration::from_hours(30)).await;
    let quiet = world.run().await;
    assert!(quiet.plan.contains("walk nothing"), "{}", quiet.plan);
    world.walk = Walk::Share;
    let shared = world.run().await;
    assert!(shared.plan.contains("30 of 168 slices"), "{}", shared.plan);
    let again = world.run().await;
    assert!(again.plan.contains("walk nothing"), "{}", again.plan);
    // Half a day is no reason to wait for the other half.
    tokio::time::sleep(Duration::from_hours(12)).await;
    let shared = world.run().await;
    assert!(shared.plan.contains("12 of 168 slices"), "{}", shared.plan);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_walks_is_walked_after_two_weeks_whatever_was_asked_for() {
    let mut world = LANES[0].world(7).await;
    world.walk = Walk::Nothing;
    world.simulator.lose_events(Some(1.0));
    world.simulator.delete_story(&some(&world, "stories", 4));
    let mut walks = Vec::new();
    for day in 1..=15 {
        tokio::time::sleep(Duration::from_hours(24) - Duration::from_mins(2)).await;
        let outcome = world.run().await;
        if !outcome.plan.contains("walk nothing") {
            walks.push((day, outcome.plan));
        }
    }
    assert!(matches!(&walks[..], [(14, plan)] if plan.contains("168 of 168")), "{walks:?}");
    let last = world.repository().await.latest().await.expect("readable").expect("a snapshot").snapshot;
    world.assert_table_equals_truth(last.number.0, "stories").await;
}

#[tokio::test(start_paused = true)]
async fn a_walk_of_hours_stops_to_listen_at_least_every_hour() {
    for lane in &LANES[..2] {
        let mut world = lane.world_of(250, 7).await;
        world.full = true;
        let before = world.simulator.log().len();
        // Fifty questions wait in line before the one for news.
        let pace = NonZeroU32::new(4).expect("not zero");
        let slow = PaceOptions { per_minute: pace, searches_per_minute: pace, ..PaceOptions::default() };
        let outcome = world.try_run_at(Pacer::new(slow)).await.expect("it succeeds");
        let log = world.simulator.log().split_off(before);
        let heard = log.iter().filter(|request| request.target.contains("/events")).map(|request| request.at);
        let ends = [outcome.started_at, outcome.committed_at];
        let mut moments: Vec<_> = heard.chain(ends).collect();
        moments.sort();
        let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some");
        assert!(
            outcome.committed_at - outcome.started_at > TimeDelta::hours(2),
            "{lane:?}: {} for {} requests is too short to tell",
            outcome.committed_at - outcome.started_at,
            log.len()
        );
        assert!(longest <= TimeDelta::hours(1), "{lane:?}: nobody listened for {longest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_other_tables_or_of_another_version_walks_everything_anew() {
    let mut world = LANES[0].world(7).await;
    world.filters.tables = vec!["users".into(), "tasks".into()];
    let fewer = world.run().await;
    assert!(fewer.plan.contains("walk everything (the filters are others)"), "{}", fewer.plan);
    world.simulator.rename_project(&some(&world, "projects", 0), "another name");
    world.simulator.delete_story(&some(&world, "stories", 4));
    world.filters.tables = Vec::new();
    let all = world.run().await;
    assert!(all.plan.contains("walk everything (the filters are others)"), "{}", all.plan);
    world.assert_equals_truth(all.snapshot.0).await;
    assert!(all.complete, "{:?}", all.tables);
    let quiet = world.run().await;
    assert!(quiet.plan.contains("walk nothing"), "{}", quiet.plan);

    let user = some(&world, "users", 0);
    world.simulator.lose_events(Some(1.0));
    world.simulator.rename_user(&user, "Somebody Else");
    let earlier = forged(&world, |snapshot| snapshot.resources = resources::VERSION + 1).await;
    commit(&world, &earlier).await;
    let other = world.run().await;
    assert!(other.plan.contains("walk everything (this version reads other fields)"), "{}", other.plan);
    assert_eq!(world.snapshot(other.snapshot.0).await.resources, resources::VERSION);
    world.assert_equals_truth(other.snapshot.0).await;
    assert!(world.run().await.plan.contains("walk nothing"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_did_not_answer_once_is_listened_to_again() {
    for (lane, path) in [(LANES[0], "/workspaces/*/events"), (LANES[1], "/events")] {
        let world = lane.world(7).await;
        let task = some_of_a_project(&world, 3);
        world.simulator.delete_task(&task);
        world.simulator.fault(Fault::status(path, 503));
        let deaf = world.run().await;
        world.simulator.clear_faults();
        let last = world.run().await;
        assert!(last.plan.contains(lane.name), "{lane:?}: {} after {}", last.plan, deaf.plan);
        let rows = world.rows(last.snapshot.0, "tasks").await;
        assert!(!rows.contains_key(&task), "{lane:?}: its token was still good");
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_that_is_gone_says_nothing_of_the_streams_of_others() {
    let lane = LANES[1];
    let world = lane.world(7).await;
    let mut projects: Vec<_> = world.rows(1, "projects").await.into_keys().collect();
    projects.sort();
    for project in &projects[..2] {
        world.simulator.edit("delete_project", project, "").expect("it lives");
    }
    for _ in 0..2 {
        let outcome = world.run().await;
        assert!(outcome.plan.contains(lane.name), "{}", outcome.plan);
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_of_hours_stops_to_listen_too() {
    let mut world = LANES[0].world_of(1_000, 7).await;
    world.full = true;
    world.filters.tables = vec!["projects".into(), "tasks".into()];
    let before = world.simulator.log().len();
    // Ten searches and some.
    let wait = FaultKind::Status { status: 429, retry_after: Some(480) };
    world.simulator.fault(Fault::on("/workspaces/*/tasks/search", wait).every(2));
    let outcome = world.try_run_now().await.expect("it succeeds");
    let log = world.simulator.log().split_off(before);
    let heard = log.iter().filter(|request| request.target.contains("/events")).map(|request| request.at);
    let mut moments: Vec<_> = heard.chain([outcome.committed_at]).collect();
    moments.sort();
    let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some");
    let took = outcome.committed_at - outcome.started_at;
    assert!(took > TimeDelta::minutes(70), "{took} is too short to tell");
    assert!(longest <= TimeDelta::minutes(45), "nobody listened for {longest} of {took}");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_while_a_run_settles_is_heard() {
    let mut world = LANES[0].world_of(200, 7).await;
    let stories = world.simulator.truth("stories", None);
    let talked = stories[0]["target"]["gid"].as_str().expect("a gid").to_owned();
    let story = stories[0]["gid"].as_str().expect("a gid").to_owned();
    world.simulator.lose_events(Some(1.0));
    let leaves: Vec<_> = world
        .simulator
        .truth("tasks", None)
        .iter()
        .filter(|task| task["num_subtasks"] == 0 && task["gid"] != *talked)
        .map(|task| task["gid"].as_str().expect("a gid").to_owned())
        .take(120)
        .collect();
    leaves.iter().for_each(|task| drop(world.simulator.delete_task(task)));
    world.full = true;
    let simulator = world.simulator.clone();
    let gone = story.clone();
    let mut asked = 0;
    world.line.before(
        move |target| {
            let path = target.split('?').next().unwrap_or_default();
            asked += usize::from(leaves.iter().any(|task| path.ends_with(&format!("/tasks/{task}"))));
            asked > 60
        },
        move || {
            simulator.lose_events(None);
            simulator.delete_story(&gone);
        },
    );
    let pace = NonZeroU32::new(2).expect("not zero");
    let slow = PaceOptions { per_minute: pace, searches_per_minute: pace, ..PaceOptions::default() };
    let first = world.try_run_at(Pacer::new(slow)).await.expect("it succeeds");
    assert!(!world.truth("stories").contains_key(&story), "it was deleted meanwhile");
    world.full = false;
    let second = world.run().await;
    let rows = world.rows(second.snapshot.0, "stories").await;
    assert!(!rows.contains_key(&story), "{}, {}", first.plan, second.plan);
}

#[tokio::test(start_paused = true)]
async fn what_slips_between_two_pages_of_the_projects_is_there_all_the_same() {
    let mut world = World::new(Options { size: Size::Small, ..Options::default() });
    world.filters.tables = vec!["projects".into()];
    let first = world.simulator.truth("projects", None);
    assert!(first.len() > 100, "{} projects", first.len());
    let simulator = world.simulator.clone();
    world.line.before(
        |target| target.contains("/projects?") && target.contains("offset="),
        move || {
            for project in &first[..3] {
                simulator.edit("delete_project", project["gid"].as_str().expect("a gid"), "");
            }
        },
    );
    let outcome = world.run().await;
    let (rows, truth) = (world.rows(1, "projects").await, world.truth("projects"));
    let lost: Vec<_> = truth.keys().filter(|gid| !rows.contains_key(*gid)).collect();
    assert!(
        lost.is_empty() || !outcome.complete,
        "{lost:?} lived throughout, and {} calls itself complete",
        outcome.snapshot
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_told_before_it_refused_is_read_all_the_same() {
    for status in [403, 503] {
        let world = LANES[0].world(7).await;
        let task = some_of_a_project(&world, 3);
        world.simulator.rename_task(&task, "another name");
        tokio::time::sleep(Duration::from_secs(120)).await;
        // The first question is the plan's: it hears of the task, and its token goes on.
        world.simulator.fault(Fault { after: 1, ..Fault::status("/workspaces/*/events", status) });
        let outcome = world.run().await;
        let rows = world.rows(outcome.snapshot.0, "tasks").await;
        assert!(rows[&task].raw.contains("another name"), "{status}: what was heard is not read");
        assert!(outcome.requests.contains_key("searchTasksForWorkspace"), "{:?}", outcome.requests);
        world.simulator.clear_faults();
        let next = world.run().await;
        world.assert_table_equals_truth(next.snapshot.0, "tasks").await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_project_that_may_not_be_heard_does_not_silence_the_others() {
    let world = LANES[1].world(7).await;
    let task = some_of_a_project(&world, 3);
    world.simulator.rename_task(&task, "another name");
    // The plan asks about one project, and then about another.
    world.simulator.fault(Fault::status("/events", 403).times(1));
    let outcome = world.run().await;
    assert!(outcome.plan.contains(LANES[1].name), "{}", outcome.plan);
    assert!(world.rows(outcome.snapshot.0, "tasks").await[&task].raw.contains("another name"));
}
