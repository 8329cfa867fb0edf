//! A run that ends anywhere leaves nothing that a reader takes for a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use asana_backup::verify::{self, verify};
use asana_simulator::Options;

use crate::world::World;

fn slow() -> Options {
    Options { latency: Duration::from_millis(200), ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_leaves_the_last_snapshot_and_the_next_run_completes() {
    let world = World::new(slow());
    let first = world.run().await;
    let took = (first.committed_at - first.started_at).to_std().expect("time goes forward");
    let mut number = 1;
    for percent in [2, 30, 60, 80, 90] {
        world.simulator.advance(40);
        let published = world.published().await;
        let killed = tokio::time::timeout(took * percent / 100, world.try_run_now()).await;
        assert!(killed.is_err(), "the run was over at {percent} % of the first one's time");
        assert_eq!(world.published().await, published, "a reader sees something new");
        let latest = world.repository().await.latest().await.expect("readable").expect("there");
        assert_eq!(latest.snapshot.number.0, number);
        world.run().await;
        number += 1;
        world.assert_equals_truth(number).await;
    }
    let report = verify(&world.repository().await, verify::Scope { snapshot: None, deep: true }).await;
    let report = report.expect("readable");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.rows_compared > 0);
}

#[tokio::test(start_paused = true)]
async fn life_during_a_crawl_leaves_every_row_as_it_was_at_some_moment_of_it() {
    let world = World::new(slow());
    world.simulator.live_at(Some(5.0));
    let outcome = world.try_run_now().await.expect("the run succeeds");
    world.simulator.live_at(None);
    assert!(outcome.committed_at - outcome.started_at > chrono::Duration::seconds(1), "life had time");
    // Latency comes before the answer: it was true when it was there.
    for table in ["users", "projects", "tasks", "stories"] {
        let mut truths = BTreeMap::new();
        for (key, row) in world.rows(1, table).await {
            let truth = truths.entry(row.seen_at).or_insert_with(|| world.truth_at(table, Some(row.seen_at)));
            let left = table == "users" && !truth.contains_key(&key);
            assert!(left || truth.get(&key) == Some(&row.hash), "{table} {key} was never so: {}", row.raw);
        }
    }
    // When life stands still, one more run finds everything.
    world.run().await;
    world.assert_equals_truth(2).await;
}
