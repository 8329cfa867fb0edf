//! A run copies everything, and the next one only what changed.

use asana_backup::error::ErrorKind;
use asana_backup::resources;
use asana_simulator::{Fault, FaultKind, Options, Size};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn every_record_of_the_organization_is_in_the_first_snapshot() {
    let world = World::tiny();
    let outcome = world.run().await;
    assert!(outcome.complete, "{:#?}", outcome.tables);
    world.assert_equals_truth(1).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_a_record_refers_to_is_in_the_copy_even_after_leaving() {
    let world = World::tiny();
    let outcome = world.run().await;
    let members = world.truth("users");
    let rows = world.rows(1, "users").await;
    assert!(rows.keys().any(|user| !members.contains_key(user)), "nobody who left is there");
    assert!(outcome.dangling_references > 0, "somebody who left does not answer any more");
}

#[tokio::test(start_paused = true)]
async fn after_any_life_the_next_snapshot_equals_the_organization_and_the_last_one_stays() {
    let world = World::new(Options { size: Size::Tasks(300), seed: 11, ..Options::default() });
    world.run().await;
    let before: Vec<_> =
        futures_util::future::join_all(resources::ALL.iter().map(|resource| world.rows(1, resource.table)))
            .await;
    for number in 2..5 {
        world.simulator.advance(150);
        let outcome = world.run().await;
        assert!(outcome.complete, "{:#?}", outcome.tables);
        world.assert_equals_truth(number).await;
    }
    for (resource, before) in resources::ALL.iter().zip(before) {
        assert_eq!(world.rows(1, resource.table).await, before, "snapshot 1 of {} changed", resource.table);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_organization_adds_no_part() {
    let world = World::tiny();
    world.run().await;
    let again = world.run().await;
    assert_eq!(again.parts, 0);
    let (first, second) = (world.snapshot(1).await, world.snapshot(2).await);
    for (table, state) in second.tables.iter().filter(|(table, _)| !table.starts_with('_')) {
        assert_eq!(state.metadata, first.tables[table].metadata, "{table} was touched");
        assert_eq!(state.counts.unchanged, state.counts.rows, "{table}");
    }
}

#[tokio::test(start_paused = true)]
async fn renaming_a_user_rewrites_one_row_of_users_and_no_task() {
    let world = World::tiny();
    world.run().await;
    let user = world.simulator.truth("users", None)[0]["gid"].as_str().expect("a gid").to_owned();
    world.simulator.rename_user(&user, "Somebody Else");
    let outcome = world.run().await;
    let changed = |table: &str| outcome.tables[table].counts.changed;
    assert_eq!(changed("users"), 1);
    for (table, state) in &outcome.tables {
        // Two tables hold texts that Asana writes with people's names in them, and changes with them: the text of
        // system stories, and the display value of a people field on a project, its only documented value there.
        let says_names = ["users", "stories", "projects"].contains(&table.as_str());
        assert!(says_names || state.counts.changed == 0, "{table}");
        assert_eq!((state.counts.new, state.counts.gone), (0, 0), "{table}");
    }
    world.assert_equals_truth(2).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_organization_gives_the_same_digests_in_two_fresh_repositories() {
    let (one, other) = (World::tiny(), World::tiny());
    one.run().await;
    other.run().await;
    for resource in resources::ALL {
        let digests = |rows: std::collections::BTreeMap<String, crate::world::Row>| {
            rows.into_iter().map(|(key, row)| (key, row.hash)).collect::<Vec<_>>()
        };
        assert_eq!(
            digests(one.rows(1, resource.table).await),
            digests(other.rows(1, resource.table).await),
            "{}",
            resource.table
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_below_a_deleted_task_goes_with_it_without_being_asked_for() {
    let world = World::tiny();
    world.run().await;
    let stories = world.simulator.truth("stories", None);
    let task = stories[0]["target"]["gid"].as_str().expect("a gid").to_owned();
    world.simulator.delete_task(&task);
    let before = world.simulator.requests().get("getStory").copied().unwrap_or(0);
    let outcome = world.run().await;
    assert!(outcome.tables["tasks"].counts.gone > 0);
    assert!(outcome.tables["stories"].counts.gone > 0);
    assert_eq!(world.simulator.requests().get("getStory").copied().unwrap_or(0), before);
    world.assert_equals_truth(2).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_tables_that_the_filters_name_are_kept() {
    let mut world = World::tiny();
    world.filters.tables = vec!["projects".into(), "sections".into()];
    let outcome = world.run().await;
    assert!(outcome.complete);
    world.assert_table_equals_truth(1, "sections").await;
    assert!(world.rows(1, "tasks").await.is_empty());
    assert!(!outcome.tables["tasks"].proof.complete, "what was left out is not proven");
    assert_eq!(world.simulator.requests().get("getStoriesForTask"), None);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_denied_and_commits_nothing() {
    let world = World::tiny().with_token("another");
    let error = world.try_run().await.expect_err("the token is wrong");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(world.repository().await.latest().await.expect("readable").is_none());
}

#[tokio::test(start_paused = true)]
async fn where_asana_does_not_answer_the_error_says_so_and_what_to_do() {
    let world = World::tiny();
    for fault in [Fault::on("/users/me", FaultKind::Reset), Fault::status("/users/me", 503)] {
        world.simulator.clear_faults();
        world.simulator.fault(fault);
        let error = world.try_run().await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.to_string().contains("answered no answer"), "{error}");
        assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("HTTPS_PROXY")), "{error}");
    }
}
