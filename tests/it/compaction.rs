//! Many small runs leave a repository that is as good to read as one large run does.

use asana_backup::resources;
use asana_simulator::{Options, Size};

use crate::world::World;

/// Runs: more than twice what fills the first tier of small parts.
const RUNS: u64 = 20;

#[tokio::test(start_paused = true)]
async fn many_small_runs_leave_few_parts_and_every_row() {
    let options =
        Options { size: Size::Tasks(30), event_delay: std::time::Duration::ZERO, ..Options::default() };
    let mut world = World::new(options);
    world.run().await;
    let mut snapshots = vec![(1, world.rows(1, "tasks").await)];
    world.full = false;
    for _ in 0..RUNS {
        for task in world.simulator.truth("tasks", None).iter().take(3) {
            world.simulator.touch_task(task["gid"].as_str().expect("a gid"));
        }
        let number = world.run().await.snapshot.0;
        snapshots.push((number, world.rows(number, "tasks").await));
        world.assert_table_equals_truth(number, "tasks").await;
    }
    let last = world.snapshot(RUNS + 1).await;
    let repository = world.repository().await;
    for resource in resources::ALL {
        let objects = repository.objects(&last.tables[resource.table]).await.expect("readable");
        assert!(objects.parts.len() < 16, "{}: {} parts", resource.table, objects.parts.len());
        assert!(objects.deletes.len() <= 8, "{}: {} files of deletes", resource.table, objects.deletes.len());
    }
    let parts = repository.objects(&last.tables["_runs"]).await.expect("readable").parts.len();
    assert!(parts <= 25, "{parts} parts of _runs");
    for (number, rows) in snapshots {
        assert_eq!(world.rows(number, "tasks").await, rows, "snapshot {number} changed");
    }
    world.assert_verifies().await;
}
