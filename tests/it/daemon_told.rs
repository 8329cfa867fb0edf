//! What a daemon tells outlasts it: that it was restarted lets no alert begin, and none end.

use asana_backup::daemon::Notify;
use asana_backup::telemetry::table::{self, Kind, Metric};
use asana_backup::telemetry::{Sample, seconds};
use asana_simulator::{Options, Size};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::daemon::{File, LOOK, Life, at, live, live_on, settings};
use crate::seeds::paused;
use crate::store::{Sky, Stroke};
use crate::world::World;

/// What was told that a restart must not change: which version works is told when it does.
fn gauges(life: &Life<'_>) -> Vec<Sample> {
    let told = life.metrics.samples().into_iter();
    told.filter(|one| one.metric.kind == Kind::Gauge && *one.metric != table::BUILD_INFO).collect()
}

fn of(told: &[Sample], metric: &Metric) -> Vec<Sample> {
    told.iter().filter(|one| one.metric == metric).cloned().collect()
}

/// Loses one part.
async fn damage(world: &World) {
    let objects: Vec<_> = world.objects.list(None).try_collect().await.expect("a listing");
    let part = objects.iter().find(|one| one.location.as_ref().ends_with(".parquet")).expect("a part");
    world.objects.delete(&part.location).await.expect("it goes");
}

#[test]
fn a_daemon_that_is_restarted_tells_what_the_one_before_told() {
    paused(async {
        let options =
            Options { epoch: at("2026-02-26T08:10:00Z"), size: Size::Tasks(40), ..Options::default() };
        let world = World::new(options);
        let disk = tempfile::tempdir().expect("a folder");
        let disk = Some(disk.path().to_owned());
        let mut chosen = settings("UTC", &[("acme", &world)]);
        chosen.0.schedule.verify = "30,45 8 * * *".to_owned();
        let file = File::new(chosen);
        let worlds = [("acme", &world)];

        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T08:16:00Z")).await;
            for story in world.simulator.truth("stories", None).iter().take(60) {
                world.simulator.delete_story(story["gid"].as_str().expect("a gid"));
            }
            life.go_on_until(at("2026-02-26T08:40:00Z")).await;
            damage(&world).await;
            life.go_on_until(at("2026-02-26T08:50:00Z")).await;
            let told = |metric| life.told(metric, "acme");
            assert_eq!((told(&table::LAST_EXIT_CODE), told(&table::HELD_DELETIONS)), (Some(3.0), Some(60.0)));
            assert_eq!(
                (told(&table::NEW_GAPS), told(&table::LAST_VERIFY_EXIT_CODE)),
                (Some(1.0), Some(20.0))
            );
            for metric in table::LASTING {
                assert!(told(metric).is_some(), "{}", metric.name);
            }
            gauges(&life)
        };
        let before = live_on(&worlds, file.read(), Notify::default(), disk.clone(), story).await;
        assert!(before.iter().any(|one| *one.metric == table::GAPS));
        assert!(before.iter().any(|one| *one.metric == table::ROWS));

        let story = async |life: Life<'_>| {
            life.go_by(LOOK).await;
            gauges(&life)
        };
        assert_eq!(live_on(&worlds, file.read(), Notify::default(), disk.clone(), story).await, before);

        // The repository alone says what it knows.
        let snapshot = world.snapshot(2).await;
        let story = async |life: Life<'_>| {
            life.go_by(LOOK).await;
            let attempt = life.told(&table::LAST_ATTEMPT, "acme");
            assert_eq!(attempt, Some(seconds(snapshot.started_at)));
            assert_eq!(life.told(&table::LAST_EXIT_CODE, "acme"), None);
            gauges(&life)
        };
        let alone = live(&worlds, file.read(), Notify::default(), story).await;
        for metric in
            [&table::LAST_SUCCESS, &table::SNAPSHOT, &table::HELD_DELETIONS, &table::ROWS, &table::GAPS]
        {
            assert_eq!(of(&alone, metric), of(&before, metric));
        }

        // So does the disk alone, also of a run that was killed.
        world.weather.turn(Sky::Always(Stroke::Stall(std::time::Duration::from_secs(86_400))));
        let story = async |life: Life<'_>| {
            // Who does not answer is asked again by a job, at once.
            life.go_by(3 * LOOK).await;
            assert!(life.of("acme").running.is_some());
            life.told(&table::LAST_ATTEMPT, "acme")
        };
        let attempt = live_on(&worlds, file.read(), Notify::default(), disk.clone(), story).await;
        assert!(attempt >= Some(seconds(at("2026-02-26T08:50:00Z"))));
        let story = async |life: Life<'_>| {
            // Before the repository is given up and a job begins.
            tokio::time::sleep(LOOK / 2).await;
            assert_eq!(life.told(&table::LAST_ATTEMPT, "acme"), attempt);
            for metric in table::LASTING.iter().filter(|metric| ***metric != table::LAST_ATTEMPT) {
                assert_eq!(life.told(metric, "acme"), Some(of(&before, metric)[0].value), "{}", metric.name);
            }
        };
        live_on(&worlds, file.read(), Notify::default(), disk, story).await;
    });
}
