//! What cannot be read is named, and nothing else suffers for it.

use asana_backup::error::ErrorKind;
use asana_simulator::{Fault, FaultKind, Options};

use crate::world::World;

fn status(path: &str, status: u16) -> Fault {
    Fault { path: path.into(), kind: FaultKind::Status { status, retry_after: None }, ..Fault::default() }
}

fn task_with_stories(world: &World) -> String {
    let stories = world.simulator.truth("stories", None);
    stories[0]["target"]["gid"].as_str().expect("a gid").to_owned()
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
