//! What cannot be read is named, and nothing else suffers for it.

use std::collections::BTreeSet;
use std::time::Duration;

use asana_backup::asana::Pacer;
use asana_backup::backup::{self, Accept, Outcome};
use asana_backup::error::ErrorKind;
use asana_backup::model::{Acceptance, Gap, RunId};
use asana_simulator::{EventsPlan, Fault, FaultKind, Options, Size};
use chrono::{DateTime, Utc};

use crate::power::{Point, Side};
use crate::store::Kind;
use crate::world::{World, unlimited};

fn status(path: &str, status: u16) -> Fault {
    Fault { path: path.into(), kind: FaultKind::Status { status, retry_after: None }, ..Fault::default() }
}

fn small() -> World {
    World::new(Options { size: Size::Tasks(20), ..Options::default() })
}

fn task_with_stories(world: &World) -> String {
    tasks_with_stories(world, 1).remove(0)
}

fn tasks_with_stories(world: &World, count: usize) -> Vec<String> {
    let stories = world.simulator.truth("stories", None);
    let tasks: BTreeSet<_> = stories.iter().filter_map(|story| story["target"]["gid"].as_str()).collect();
    tasks.into_iter().take(count).map(str::to_owned).collect()
}

/// A world whose next run reads what changed: the name of a task.
async fn renamed() -> (World, String) {
    let mut world = small();
    world.run().await;
    world.full = false;
    let task = task_with_stories(&world);
    world.simulator.rename_task(&task, "another name");
    (world, task)
}

/// Accepts the gaps about an object, or all; says in which snapshot, and which.
pub(crate) async fn accept(
    world: &World,
    gid: Option<&str>,
    until: Option<DateTime<Utc>>,
) -> (u64, Vec<Gap>) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    let at = world.clock.now();
    let (by, reason) = ("ada@elsewhere".to_owned(), "it is private".to_owned());
    let acceptance = Acceptance { by, reason, at, until };
    let word = Accept {
        table: None,
        scope: None,
        gid: gid.map(str::to_owned),
        acceptance,
        holder: "tests".to_owned(),
    };
    let milliseconds = at.timestamp_millis().unsigned_abs();
    let id = RunId(ulid::Ulid::from_parts(milliseconds, 7));
    let accepted = backup::accept(&world.repository().await, &world.clock, id, &word).await;
    let (number, gaps) = accepted.expect("there are such gaps");
    (number.0, gaps)
}

/// The one gap that there is.
#[track_caller]
fn only(outcome: &Outcome) -> &Gap {
    let [gap] = &outcome.gaps[..] else { panic!("{:?}", outcome.gaps) };
    gap
}

#[tokio::test(start_paused = true)]
async fn one_listing_that_always_fails_becomes_one_gap_and_everything_else_is_there() {
    for code in [403, 500, 503] {
        let world = World::tiny();
        let task = task_with_stories(&world);
        world.simulator.fault(status(&format!("/tasks/{task}/stories"), code));
        let outcome = world.run().await;
        assert_eq!(outcome.gaps.len(), 1, "{:?}", outcome.gaps);
        let gap = &outcome.gaps[0];
        assert_eq!((&*gap.table, &*gap.scope, &*gap.gid), ("stories", "getStoriesForTask", &*task));
        assert_eq!(gap.status, code);
        assert!(!outcome.complete && !outcome.tables["stories"].proof.complete);
        assert!(outcome.tables["users"].proof.complete, "what has no gap is proven");
        world.assert_table_equals_truth(1, "tasks").await;
        world.assert_table_equals_truth(1, "attachments").await;
    }
}

#[tokio::test(start_paused = true)]
async fn rows_of_what_became_unreadable_stay_and_come_back_into_proof() {
    let world = World::tiny();
    world.run().await;
    let before = world.rows(1, "stories").await;
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    world.simulator.fault(status("/stories/*", 403));
    let outcome = world.run().await;
    assert_eq!(outcome.tables["stories"].counts.gone, 0);
    assert_eq!(world.rows(2, "stories").await, before);
    assert!(outcome.new_gaps > 0);
    let again = world.run().await;
    assert_eq!(again.new_gaps, 0, "a gap that was there before is not new");
    assert_eq!(again.gaps[0].first_seen, outcome.gaps[0].first_seen);
    world.simulator.clear_faults();
    assert!(world.run().await.complete);
}

#[tokio::test(start_paused = true)]
async fn a_refused_root_listing_never_becomes_an_empty_snapshot() {
    for (path, code, kind) in [
        ("/workspaces/*/projects", 403, ErrorKind::Denied),
        ("/users", 403, ErrorKind::Denied),
        ("/workspaces/*/teams", 500, ErrorKind::Unavailable),
        ("/workspaces/*", 404, ErrorKind::Config),
    ] {
        let world = World::tiny();
        world.simulator.fault(status(path, code));
        let error = world.try_run().await.expect_err("a backup without it would be worthless");
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(world.repository().await.latest().await.expect("readable").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_the_plan_does_not_have_is_no_gap() {
    let world = World::tiny();
    world.simulator.fault(status("/portfolios", 402));
    let outcome = world.run().await;
    assert!(outcome.gaps.is_empty());
    assert!(outcome.complete);
    assert!(!outcome.tables["portfolios"].proof.available);
    assert!(outcome.tables["portfolios"].proof.lacks[0].contains("402"));
}

#[tokio::test(start_paused = true)]
async fn a_table_below_others_that_the_plan_does_not_have_is_no_gap_for_each_of_them() {
    let path = "/projects/*/custom_field_settings";
    let mut world = World::tiny();
    world.simulator.fault(status(path, 402));
    let outcome = world.run().await;
    assert_eq!(outcome.gaps, []);
    let proof = &outcome.tables["custom_field_settings"].proof;
    assert!(!proof.available && proof.lacks[0].contains("402"), "{proof:?}");
    // A run that reads only what changed leaves it at that.
    world.full = false;
    let project = world.simulator.truth("projects", None)[0]["gid"].as_str().expect("a gid").to_owned();
    world.simulator.rename_project(&project, "another name");
    let again = world.run().await;
    assert_eq!((&again.gaps[..], again.tables["custom_field_settings"].proof.available), (&[][..], false));
    // The plan has it from now on: before a walk has read it all, nothing is proven.
    world.simulator.clear_faults();
    world.simulator.rename_project(&project, "one more name");
    let outcome = world.run().await;
    let proof = &outcome.tables["custom_field_settings"].proof;
    let is_read = outcome.requests.contains_key("getCustomFieldSettingsForProject");
    assert!(!is_read || (proof.available && !proof.complete && !outcome.complete), "{proof:?}");
    let outcome = world.reconcile().await;
    assert!(outcome.tables["custom_field_settings"].proof.available && outcome.complete);
    world.assert_table_equals_truth(4, "custom_field_settings").await;
    // What is there stays, and that it cannot be read any more is a gap for each.
    world.simulator.fault(status(path, 402));
    let outcome = world.reconcile().await;
    assert!(outcome.tables["custom_field_settings"].proof.available && !outcome.complete);
    assert!(outcome.new_gaps > 1, "{:?}", outcome.gaps);
    world.assert_table_equals_truth(5, "custom_field_settings").await;
}

/// A run of which nobody is told.
async fn run_untold(world: &World) -> Outcome {
    world.try_run_untold(Pacer::new(unlimited())).await.expect("it succeeds")
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_news_until_a_run_lives_to_tell_of_it_however_many_did_not() {
    let refusing = || {
        let world = small();
        for task in tasks_with_stories(&world, 2) {
            world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
        }
        world
    };
    let world = refusing();
    world.power.on_until(None);
    assert_eq!(run_untold(&world).await.new_gaps, 2);
    let calls = world.weather.calls();
    let commit = calls.iter().find(|call| call.kind == Kind::Create && call.key.starts_with("snapshots/0"));
    let commit = commit.expect("a commit").in_power;
    assert_eq!(run_untold(&world).await.new_gaps, 2, "nobody was told");
    // A word on one of them is none on the other, and tells of nothing.
    let (_, accepted) = accept(&world, Some(&tasks_with_stories(&world, 1)[0]), None).await;
    assert_eq!(accepted.len(), 1);
    assert_eq!(run_untold(&world).await.new_gaps, 2);
    assert_eq!(world.run().await.new_gaps, 2);
    assert_eq!(world.run().await.new_gaps, 0, "it was told");
    for (call, side) in [(commit, Side::After), (commit + 1, Side::Before)] {
        let (world, cut) = (refusing(), Point { call, side });
        assert!(world.cut_run(Some(cut), Pacer::new(unlimited())).await.is_none(), "cut at {cut}");
        let outcome = world.run().await;
        assert_eq!((outcome.snapshot.0, outcome.new_gaps), (2, 2), "cut at {cut}");
        assert_eq!(world.run().await.new_gaps, 0, "told once");
    }
}

#[tokio::test(start_paused = true)]
async fn without_search_the_snapshot_says_that_tasks_may_be_missing() {
    let world = World::new(Options { search: false, ..Options::default() });
    let outcome = world.run().await;
    assert!(!outcome.complete);
    let proof = &outcome.tables["tasks"].proof;
    assert!(proof.lacks[0].contains("402"), "{proof:?}");
    assert!(!outcome.tables["stories"].proof.complete, "what hangs below tasks may be missing with them");
    assert!(outcome.tables["projects"].proof.complete);
    assert!(world.snapshot(1).await.token.probes["search"].starts_with("refused"));
}

#[tokio::test(start_paused = true)]
async fn faults_that_pass_are_ridden_out_and_nothing_is_missing() {
    let world = World::tiny();
    for kind in [
        FaultKind::Status { status: 503, retry_after: None },
        FaultKind::Status { status: 429, retry_after: Some(7) },
        FaultKind::CutBody,
        FaultKind::WrongJson,
        FaultKind::Reset,
    ] {
        world.simulator.fault(Fault { kind, probability: 0.03, ..Fault::default() });
    }
    let outcome = world.run().await;
    assert!(outcome.complete, "{:?}", outcome.gaps);
    world.assert_equals_truth(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_ends_the_run() {
    let world = World::tiny();
    world.simulator.fault(Fault { after: 60, ..status("*", 503) });
    let error = world.try_run().await.expect_err("nothing answers any more");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(world.repository().await.latest().await.expect("readable").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_404_on_the_listing_of_something_alive_is_a_gap() {
    let world = World::tiny();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 404));
    let outcome = world.run().await;
    assert_eq!(outcome.gaps.len(), 1);
    assert_eq!(outcome.gaps[0].status, 404);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_refused_is_a_gap_that_says_what_was_asked_and_what_was_answered() {
    let reset = || FaultKind::Reset;
    let code = |status| FaultKind::Status { status, retry_after: None };
    for (kind, status) in [
        (code(402), 402),
        (code(403), 403),
        (code(404), 404),
        (code(451), 451),
        (code(500), 500),
        (code(503), 503),
        (reset(), 0),
    ] {
        let world = small();
        let task = task_with_stories(&world);
        let path = format!("/tasks/{task}/stories");
        let mut fault = Fault { path, kind: kind.clone(), ..Fault::default() };
        world.simulator.fault(fault.clone());
        // A listing without which a backup is still worth something.
        "/workspaces/*/tags".clone_into(&mut fault.path);
        let is_root = status != 402;
        if is_root {
            world.simulator.fault(fault);
        }
        let began_at = world.clock.now();
        let outcome = world.run().await;
        let about = |gap: &Gap| (gap.table.clone(), gap.scope.clone(), gap.gid.clone());
        let story = ("stories".to_owned(), "getStoriesForTask".to_owned(), task);
        let tags = ("tags".to_owned(), "getTagsForWorkspace".to_owned(), world.simulator.organization());
        let expected = if is_root { vec![story, tags] } else { vec![story] };
        assert_eq!(outcome.gaps.iter().map(about).collect::<Vec<_>>(), expected, "{kind:?}");
        for gap in &outcome.gaps {
            assert_eq!(gap.status, status, "{gap:?}");
            assert!(!gap.phrase.is_empty(), "{gap:?}");
            assert!(began_at < gap.first_seen && gap.first_seen == gap.last_seen, "{gap:?}");
            assert!(gap.accepted.is_none());
            assert!(!outcome.tables[&gap.table].proof.complete);
        }
        assert_eq!((outcome.new_gaps, outcome.complete), (expected.len() as u64, false));
        world.assert_table_equals_truth(1, "tasks").await;
        world.assert_table_equals_truth(1, "projects").await;
        world.assert_whole(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_object_that_cannot_be_read_is_a_gap_and_its_row_stays() {
    for code in [402, 403, 451, 500] {
        let mut world = small();
        world.run().await;
        world.full = false;
        let task = task_with_stories(&world);
        let before = world.rows(1, "tasks").await;
        world.simulator.rename_task(&task, "another name");
        world.simulator.fault(status(&format!("/tasks/{task}"), code));
        let outcome = world.run().await;
        let gap = only(&outcome);
        assert_eq!((&*gap.table, &*gap.scope, &*gap.gid), ("tasks", "getTask", &*task));
        assert_eq!((gap.status, outcome.new_gaps), (code, 1));
        assert_eq!(world.rows(2, "tasks").await[&task], before[&task]);
        world.simulator.clear_faults();
        let healed = world.run().await;
        assert!(healed.complete && healed.gaps.is_empty(), "{:?}", healed.gaps);
        assert!(world.rows(3, "tasks").await[&task].raw.contains("another name"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_walks_nothing_asks_about_gaps_again_and_closes_those_that_are_answered() {
    let mut world = small();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    let first = world.run().await;
    world.full = false;
    let second = world.run().await;
    let third = world.run().await;
    assert!(third.plan.starts_with("walk nothing"), "{}", third.plan);
    let (one, two, three) = (only(&first), only(&second), only(&third));
    assert_eq!((two.first_seen, three.first_seen), (one.first_seen, one.first_seen));
    assert!(one.last_seen < two.last_seen && two.last_seen < three.last_seen, "{one:?} {two:?} {three:?}");
    assert_eq!((second.new_gaps, third.new_gaps), (0, 0));
    let below = |row: &crate::world::Row| row.parent.as_deref() == Some(&*task);
    assert!(!world.rows(3, "stories").await.values().any(below));
    world.simulator.clear_faults();
    let healed = world.run().await;
    assert!(healed.plan.starts_with("walk nothing"), "{}", healed.plan);
    assert!(healed.gaps.is_empty() && healed.complete && healed.tables["stories"].proof.complete);
    world.assert_equals_truth(4).await;
}

#[tokio::test(start_paused = true)]
async fn an_accepted_gap_counts_no_more_until_its_time_is_over_and_the_snapshot_says_whose_word_it_is() {
    let mut world = small();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    let first = world.run().await;
    let until = world.clock.now() + chrono::Duration::hours(2);
    let (number, accepted) = accept(&world, Some(&task), Some(until)).await;
    let snapshot = world.snapshot(number).await;
    assert!(snapshot.complete && number == 2, "nothing else is lacking");
    let kept: Vec<Gap> = world.repository().await.list(snapshot.gaps).await.expect("gaps");
    assert_eq!(kept, accepted);
    let word = kept[0].accepted.clone().expect("it is accepted");
    assert_eq!((&*word.by, &*word.reason, word.until), ("ada@elsewhere", "it is private", Some(until)));
    assert_eq!(Gap { accepted: None, ..kept[0].clone() }, *only(&first), "only the word is new");

    let second = world.run().await;
    assert_eq!((second.new_gaps, second.complete), (0, true));
    assert_eq!(only(&second).accepted.as_ref(), Some(&word), "a run keeps it");
    assert!(!second.tables["stories"].proof.complete, "it is lacking all the same");

    world.full = false;
    let walks_nothing = world.run().await;
    assert_eq!((walks_nothing.new_gaps, walks_nothing.complete), (0, true));
    tokio::time::sleep(Duration::from_hours(2)).await;
    let third = world.run().await;
    assert_eq!((third.new_gaps, third.complete), (1, false));
    assert_eq!(only(&third).first_seen, only(&first).first_seen);
    world.simulator.clear_faults();
    assert!(world.run().await.complete);
    // Closed, it is forgotten with the word: the next is another one.
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    let again = world.reconcile().await;
    assert_eq!((again.new_gaps, only(&again).accepted.is_none()), (1, true));
    world.assert_verifies().await;
}

#[tokio::test(start_paused = true)]
async fn one_more_gap_is_news_and_those_before_it_are_not() {
    let world = small();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    world.run().await;
    accept(&world, None, None).await;
    let other = world.simulator.truth("stories", None).iter().find_map(|story| {
        let other = story["target"]["gid"].as_str().expect("a gid");
        (other != task).then(|| other.to_owned())
    });
    world.simulator.fault(status(&format!("/tasks/{}/stories", other.expect("another task")), 403));
    let before = world.rows(1, "stories").await;
    let outcome = world.run().await;
    assert_eq!((outcome.gaps.len(), outcome.new_gaps, outcome.complete), (2, 1, false));
    let after = world.rows(outcome.snapshot.0, "stories").await;
    assert_eq!(after, before, "what was read before is still there");
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_is_not_there_cannot_be_accepted_nor_any_while_a_run_is_unfinished() {
    let world = small();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 403));
    world.run().await;
    let at = world.clock.now();
    let acceptance = Acceptance { by: "a".into(), reason: "b".into(), at, until: None };
    let word = |gid: &str| Accept {
        table: Some("stories".into()),
        scope: Some("getStoriesForTask".into()),
        gid: Some(gid.into()),
        acceptance: acceptance.clone(),
        holder: "b".into(),
    };
    let repository = world.repository().await;
    let id = RunId(ulid::Ulid::from_parts(1, 1));
    let none = backup::accept(&repository, &world.clock, id, &word("1")).await.expect_err("no such gap");
    assert_eq!(none.kind(), ErrorKind::Config);
    world.line.live(Duration::from_secs(20), None);
    assert!(tokio::time::timeout(Duration::from_secs(60), world.try_run_now()).await.is_err());
    let busy =
        backup::accept(&repository, &world.clock, id, &word(&task)).await.expect_err("a run is at work");
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    assert_eq!(world.numbers().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_listed_any_more_keeps_its_rows() {
    for (path, code, listing) in [
        ("/portfolios", 402, None),
        ("/portfolios", 403, Some("getPortfolios")),
        ("/portfolios*", 402, None),
        ("/portfolios*", 500, Some("getPortfolios")),
        ("/portfolios/*/items", 402, Some("getItemsForPortfolio")),
    ] {
        let world = small();
        world.run().await;
        let before = [world.rows(1, "portfolios").await, world.rows(1, "portfolio_items").await];
        world.simulator.fault(status(path, code));
        let outcome = world.run().await;
        let after = [world.rows(2, "portfolios").await, world.rows(2, "portfolio_items").await];
        assert_eq!(after, before, "{path} {code}");
        // A listing of the organization's that costs money is no gap: the plan does not have the table.
        let proof = &outcome.tables["portfolios"].proof;
        assert_eq!(proof.available, listing.is_some(), "{path} {code}: {proof:?}");
        let listings = outcome.gaps.iter().map(|gap| &*gap.scope).filter(|scope| *scope != "getPortfolio");
        assert_eq!(listings.collect::<BTreeSet<_>>(), listing.into_iter().collect(), "{path} {code}");
        world.simulator.clear_faults();
        assert!(world.run().await.complete, "{path} {code}");
        world.assert_equals_truth(3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_goes_with_what_it_was_about() {
    for (what, listing) in [("", false), ("/stories", true)] {
        for full in [true, false] {
            let mut world = small();
            world.run().await;
            let task = task_with_stories(&world);
            world.simulator.fault(status(&format!("/tasks/{task}{what}"), 403));
            world.simulator.touch_task(&task);
            world.full = listing;
            assert!(world.run().await.new_gaps > 0);
            world.simulator.delete_task(&task);
            world.simulator.clear_faults();
            world.full = full;
            let outcome = world.run().await;
            assert!(outcome.gaps.is_empty() && outcome.complete, "{:?}", outcome.gaps);
            assert!(!world.rows(3, "tasks").await.contains_key(&task));
            let below = |row: &crate::world::Row| row.parent.as_deref() == Some(&*task);
            assert!(!world.rows(3, "stories").await.values().any(below));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_sees_a_part_yields_that_part_and_a_gap_for_whatever_leads_beyond_it() {
    let mut beyond = 0;
    for seed in [1, 6] {
        let people = vec![("p".into(), 1)];
        let options = Options { size: Size::Tasks(40), seed, people, ..Options::default() };
        let world = World::new(options).with_token("p");
        let outcome = world.run().await;
        let mut unseen = BTreeSet::new();
        for (table, operation) in [("teams", "getTeam"), ("projects", "getProject"), ("tasks", "getTask")] {
            let rows = world.rows(1, table).await;
            for gid in world.truth(table).into_keys() {
                let sees = world.answers(operation, &format!("/{table}/{gid}")).await;
                assert_eq!(rows.contains_key(&gid), sees, "seed {seed}: {table} {gid}");
                unseen.extend((!sees).then_some(gid));
            }
        }
        for gap in &outcome.gaps {
            assert_eq!(gap.status, 403, "seed {seed}: {gap:?}");
            assert!(gap.scope.starts_with("get") && !outcome.tables[&gap.table].proof.complete, "{gap:?}");
        }
        let told: BTreeSet<_> = outcome.gaps.iter().map(|gap| gap.gid.clone()).collect();
        beyond += unseen.intersection(&told).count();
        assert_eq!(outcome.complete, told.is_empty());
        world.assert_verifies().await;
    }
    assert!(beyond > 0, "everybody sees everything: this test shows nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_listing_answers_of_the_last_hour_does_not_close_the_gap_of_the_whole_listing() {
    let options =
        Options { size: Size::Tasks(20), events: EventsPlan::None, search: false, ..Options::default() };
    let mut world = World::new(options);
    world.simulator.fault(status("/tasks", 403));
    world.simulator.fault(status("/user_task_lists/*/tasks", 403));
    let of_projects = |outcome: &Outcome| outcome.gaps.iter().any(|gap| gap.scope == "getTasks");
    assert!(of_projects(&world.run().await));
    world.simulator.clear_faults();
    world.full = false;
    let outcome = world.run().await;
    assert!(outcome.plan.starts_with("walk nothing"), "{}", outcome.plan);
    assert!(!of_projects(&outcome));
    let rows = world.rows(outcome.snapshot.0, "tasks").await;
    let tasks = world.simulator.truth("tasks", None);
    let in_project =
        |task: &&serde_json::Value| task["projects"].as_array().is_some_and(|all| !all.is_empty());
    let lost: Vec<_> = tasks
        .iter()
        .filter(in_project)
        .filter(|task| !rows.contains_key(task["gid"].as_str().expect("a gid")))
        .collect();
    assert!(lost.is_empty(), "{} tasks are neither there nor a gap", lost.len());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_what_asana_describes_is_a_gap_on_whichever_page_it_is() {
    let world = small();
    let task = task_with_stories(&world);
    for word in 0..150 {
        world.simulator.add_comment(&task, &format!("word {word}"));
    }
    world.run().await;
    world.line.spoil(|target| target.contains("/stories?") && !target.contains("offset="));
    let outcome = world.run().await;
    let is_it = |gap: &&Gap| gap.scope == "record" && gap.gid == task;
    assert_eq!(outcome.gaps.iter().filter(is_it).count(), 1, "{:?}", outcome.gaps);
    assert!(!outcome.complete);
    world.line.alter_no_more();
    assert!(world.run().await.complete);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_not_absent() {
    let world = small();
    world.run().await;
    let before = world.rows(1, "portfolio_items").await;
    assert!(!before.is_empty());
    world.line.spoil(|target| target.contains("/items?"));
    let outcome = world.run().await;
    assert_eq!(world.rows(outcome.snapshot.0, "portfolio_items").await, before);
    assert!(outcome.new_gaps > 0 && !outcome.complete);
}

#[tokio::test(start_paused = true)]
async fn what_has_a_row_has_what_hangs_below_it_or_a_gap() {
    for seed in 0..6 {
        let options = Options { size: Size::Tasks(30), search: seed % 2 == 0, seed, ..Options::default() };
        let world = World::new(options);
        for path in ["/tasks", "/tasks/*", "/user_task_lists/*/tasks"] {
            world.simulator.fault(Fault { probability: 0.4, ..status(path, 403) });
        }
        let outcome = world.run().await;
        let (tasks, stories) = (world.rows(1, "tasks").await, world.rows(1, "stories").await);
        for story in world.simulator.truth("stories", None) {
            let (gid, task) = (&story["gid"], story["target"]["gid"].as_str().expect("a gid"));
            let is_gap = outcome.gaps.iter().any(|gap| gap.table == "stories" && gap.gid == task);
            let is_there = stories.contains_key(gid.as_str().expect("a gid"));
            assert!(!tasks.contains_key(task) || is_there || is_gap, "seed {seed}: {gid} of {task}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_asked_again_as_the_question_that_was_not_answered() {
    let mut world = small();
    let attachments = world.simulator.truth("attachments", None);
    let of_project = |one: &&serde_json::Value| one["parent"]["resource_type"] == "project";
    let project = attachments.iter().find(of_project).expect("one of a project")["parent"]["gid"].clone();
    let project = project.as_str().expect("a gid").to_owned();
    let wanted = project.clone();
    let refuse = move |world: &World| {
        world.simulator.fault(status(&format!("/projects/{wanted}/sections"), 403));
        world.simulator.fault(status("/attachments", 403));
    };
    refuse(&world);
    let first = world.run().await;
    let of_it = |outcome: &Outcome| -> BTreeSet<String> {
        outcome.gaps.iter().filter(|gap| gap.gid == project).map(|gap| gap.scope.clone()).collect()
    };
    let gaps = of_it(&first);
    assert!(gaps.contains("getAttachmentsForObject") && gaps.contains("getSectionsForProject"), "{gaps:?}");
    for full in [false, true] {
        world.full = full;
        let outcome = world.run().await;
        assert_eq!(of_it(&outcome), gaps, "full: {full}");
        assert!(!outcome.complete);
    }
    world.simulator.clear_faults();
    world.full = false;
    let outcome = world.run().await;
    assert!(of_it(&outcome).is_empty(), "{:?}", outcome.gaps);
    world.assert_table_equals_truth(outcome.snapshot.0, "attachments").await;
    world.assert_table_equals_truth(outcome.snapshot.0, "sections").await;
}

#[tokio::test(start_paused = true)]
async fn a_404_that_nothing_else_explains_is_a_gap_and_no_deletion() {
    for comes_back in [false, true] {
        let mut world = small();
        world.run().await;
        world.full = false;
        let task = task_with_stories(&world);
        if comes_back {
            world.simulator.delete_task(&task);
            assert_eq!(world.reconcile().await.tables["tasks"].counts.gone, 1);
            world.full = false;
            world.simulator.undelete_task(&task);
        } else {
            world.simulator.rename_task(&task, "another name");
        }
        world.simulator.fault(status(&format!("/tasks/{task}"), 404));
        let before = world.rows(world.numbers().await.len() as u64, "tasks").await;
        let outcome = world.run().await;
        let rows = world.rows(outcome.snapshot.0, "tasks").await;
        assert_eq!(rows.contains_key(&task), before.contains_key(&task), "a 404 alone took it out");
        let gap = only(&outcome);
        assert_eq!((&*gap.table, &*gap.scope, &*gap.gid, gap.status), ("tasks", "getTask", &*task, 404));
        world.simulator.clear_faults();
        let next = world.run().await;
        assert!(next.gaps.is_empty(), "{:?}", next.gaps);
        for table in ["tasks", "stories"] {
            world.assert_table_equals_truth(next.snapshot.0, table).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_what_is_gone_ends_with_the_walk_that_does_not_meet_it() {
    let (mut world, task) = renamed().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.simulator.fault(status(&format!("/tasks/{task}"), 404));
    assert_eq!(only(&world.run().await).status, 404);
    // Nobody hears of the deletion.
    world.simulator.delete_task(&task);
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.lose_events();
    world.simulator.clear_faults();
    let walked = world.reconcile().await;
    assert!(walked.complete, "{:?}", walked.gaps);
    world.assert_equals_truth(walked.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_redirects_is_a_gap_and_ends_no_run() {
    let world = World::tiny();
    let task = task_with_stories(&world);
    world.simulator.fault(status(&format!("/tasks/{task}/stories"), 302));
    let outcome = world.run().await;
    assert_eq!((only(&outcome).status, &*only(&outcome).gid), (302, &*task));
    world.simulator.fault(status("/users/me", 307));
    let error = world.try_run().await.expect_err("nothing can be read");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_record_is_a_gap() {
    let (mut world, task) = renamed().await;
    let (asked, gid) = (format!("/tasks/{task}?"), format!("\"gid\":\"{task}\""));
    world.line.alter(move |target| target.contains(&asked), move |text| text.replace(&gid, "\"gid\":\"7\""));
    let outcome = world.run().await;
    world.line.alter_no_more();
    let gap = only(&outcome);
    assert_eq!((&*gap.scope, &*gap.gid), ("record", &*task));
    assert!(!world.rows(outcome.snapshot.0, "tasks").await.contains_key("7"));
    assert!(world.run().await.gaps.len() <= 1);
    assert!(world.reconcile().await.gaps.is_empty());
}
