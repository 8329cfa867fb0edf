//! Jobs of a daemon beside each other: none holds up another, and none outlives the settings that it was begun for.

use std::num::NonZeroUsize;
use std::time::Duration;

use asana_backup::daemon::{Call, Kind, Notify};
use asana_backup::error::ErrorKind;
use asana_backup::telemetry::{Sample, table};
use asana_simulator::Fault;
use chrono::{TimeDelta, Timelike};

use crate::daemon::{
    File, HOUR, LOOK, Life, Listener, MINUTE, assert_kept, at, hourly, live, live_on, logged, runs, settings,
    world,
};
use crate::seeds::paused;
use crate::store::{Sky, Stroke};

/// A store that is so slow that what would take a moment takes an hour.
const SLOW: Sky = Sky::Always(Stroke::Stall(MINUTE));

#[test]
fn a_verify_holds_up_no_backup_and_gives_signs_of_life_as_long_as_it_gets_on() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 10);
        let mut chosen = settings("UTC", &[("acme", &world)]);
        chosen.0.schedule.verify = "0 10 * * *".to_owned();
        chosen.0.schedule.reconcile = "never".to_owned();
        chosen.0.daemon.at_once = NonZeroUsize::MIN;
        let listener = Listener::new();
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T09:59:00Z")).await;
            world.weather.turn(SLOW);
            life.go_on_until(at("2026-02-26T10:07:00Z")).await;
            listener.heard();
            let mut signs = 0;
            while world.clock.now() < at("2026-02-26T10:16:00Z") {
                life.go_by(MINUTE).await;
                signs += listener.heard().iter().filter(|said| *said == "WATCHDOG=1").count();
            }
            assert!(signs >= 8, "{signs}");
            let status = life.of("acme");
            assert!(status.verifying.is_some() && status.running.is_none(), "{status:?}");
            life.go_on_until(at("2026-02-26T10:18:00Z")).await;
            let status = life.of("acme");
            assert!(status.verifying.is_some() && status.running.is_some(), "{status:?}");
            world.weather.turn(Sky::Clear);
            life.go_on_until(at("2026-02-26T11:10:00Z")).await;
            let status = life.of("acme");
            for kind in [Kind::Backup, Kind::Verify] {
                let last = status.jobs[&kind].last.as_ref().expect("it ended");
                assert_eq!((last.exit_code, last.began_at.hour()), (0, 10), "{last:?}");
            }
            // The next one hangs.
            life.go_on_until(at("2026-02-27T09:59:00Z")).await;
            world.weather.turn(Sky::Always(Stroke::Stall(86_400 * Duration::from_secs(1))));
            let mut lines = logged(life.go_on_until(at("2026-02-27T10:10:00Z"))).await;
            listener.heard();
            assert!(life.of("acme").running.is_none());
            lines.extend(logged(life.go_on_until(at("2026-02-27T10:16:00Z"))).await);
            // Once, however often it is looked at.
            let stuck = lines.iter().filter(|line| line.contains("the job does not get on")).count();
            assert_eq!(stuck, 1, "{lines:?}");
            let heard = listener.heard();
            assert!(!heard.iter().any(|said| said == "WATCHDOG=1"), "{heard:?}");
        };
        let notify = listener.notify(12 * MINUTE);
        live(&[("acme", &world)], move || Ok(chosen.clone()), notify, story).await;
    });
}

#[test]
fn a_job_that_panics_is_told_as_a_bug_of_its_organization_and_the_next_tick_tries_again() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 18);
        let mut chosen = settings("UTC", &[("acme", &world)]);
        chosen.0.schedule.verify = "30 9 * * *".to_owned();
        let story = async |life: Life<'_>| {
            let told = |metric| life.told(metric, "acme");
            life.go_on_until(at("2026-02-26T09:00:00Z")).await;
            world.weather.turn(Sky::Always(Stroke::Panic));
            let lines = logged(life.go_on_until(at("2026-02-26T09:40:00Z"))).await;
            let broken: Vec<_> = lines.iter().filter(|line| line.contains("the job broke off")).collect();
            let is_whole =
                |line: &str| line.contains("organization=\"acme\"") && line.contains("exit_code=70");
            assert!(broken.len() == 2 && broken.iter().all(|line| is_whole(line)), "{lines:?}");
            assert_eq!(
                (told(&table::LAST_EXIT_CODE), told(&table::LAST_VERIFY_EXIT_CODE)),
                (Some(70.0), Some(70.0))
            );
            world.weather.turn(Sky::Clear);
            life.go_on_until(at("2026-02-26T10:40:00Z")).await;
            assert_eq!(told(&table::LAST_EXIT_CODE), Some(0.0));
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
    });
}

#[test]
fn a_panic_where_an_organization_is_tried_at_the_start_is_told_of_it_and_holds_up_nobody() {
    paused(async {
        let [broken, good] = [19, 20].map(|seed| world("2026-02-26T08:10:00Z", seed));
        broken.weather.turn(Sky::Always(Stroke::Panic));
        let named = [("acme", &broken), ("hooli", &good)];
        let chosen = settings("UTC", &named);
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T09:00:00Z")).await;
            let code = |name| life.told(&table::LAST_EXIT_CODE, name);
            assert_eq!((code("acme"), code("hooli")), (Some(70.0), Some(0.0)));
            broken.weather.turn(Sky::Clear);
            life.go_on_until(at("2026-02-26T10:00:00Z")).await;
            assert_eq!(code("acme"), Some(0.0));
        };
        let lines = logged(live(&named, move || Ok(chosen.clone()), Notify::default(), story)).await;
        let is_told = |line: &String| line.contains("the repository was tried") && line.contains("acme");
        assert!(lines.iter().any(is_told), "{lines:?}");
    });
}

#[test]
fn a_run_whose_clock_is_set_back_goes_on_by_the_time_that_it_began_with() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 16);
        let chosen = settings("UTC", &[("acme", &world)]);
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T08:16:00Z")).await;
            world.weather.turn(SLOW);
            life.go_on_until(at("2026-02-26T08:18:00Z")).await;
            assert!(life.of("acme").running.is_some());
            world.clock.set_by(-TimeDelta::minutes(30));
            world.weather.turn(Sky::Clear);
            life.go_by(10 * MINUTE).await;
            let snapshot = world.snapshot(2).await;
            assert!(snapshot.started_at >= at("2026-02-26T08:17:00Z"), "{}", snapshot.started_at);
            assert!(snapshot.committed_at > snapshot.started_at, "{}", snapshot.committed_at);
            // The schedule goes by the clock as it is.
            assert!(
                life.of("acme").jobs[&Kind::Backup].last.as_ref().is_some_and(|last| last.exit_code == 0)
            );
            assert_eq!(world.clock.now().hour(), 7);
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
    });
}

#[test]
fn first_copies_that_take_days_leave_room_for_who_has_a_copy_to_keep_current() {
    paused(async {
        let worlds = [11, 12, 13].map(|seed| world("2026-02-26T08:10:00Z", seed));
        let [old, new, newer] = &worlds;
        let named = [("acme", old), ("hooli", new), ("umbrella", newer)];
        let file = File::new(settings("UTC", &named[..1]));
        new.weather.turn(SLOW);
        newer.weather.turn(SLOW);
        let story = async |life: Life<'_>| {
            life.go_by(MINUTE).await;
            file.write(settings("UTC", &named));
            life.calls.send(Call::Reload).await.expect("it listens");
            life.go_on_until(at("2026-02-26T11:30:00Z")).await;
            let is_running = |name: &str| life.of(name).running.is_some();
            assert_eq!((is_running("hooli"), is_running("umbrella")), (true, false));
            new.weather.turn(Sky::Clear);
            newer.weather.turn(Sky::Clear);
            life.go_by(HOUR).await;
            assert!(life.of("umbrella").snapshot.is_some());
        };
        live(&named, file.read(), Notify::default(), story).await;
        let mut ticks = vec![at("2026-02-26T08:10:00Z")];
        ticks.extend(hourly("2026-02-26T08:17:00Z", 5));
        assert_kept(&runs(old).await, &ticks);
    });
}

#[test]
fn a_job_whose_repository_is_another_by_now_is_stopped_and_books_nothing() {
    paused(async {
        let (old, new) = (world("2026-02-26T08:10:00Z", 14), world("2026-02-26T08:10:00Z", 15));
        let worlds = [("acme", &old), ("moved", &new)];
        let file = File::new(settings("UTC", &worlds[..1]));
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T08:16:00Z")).await;
            assert_eq!(life.told(&table::SNAPSHOT, "acme"), Some(1.0));
            old.weather.turn(SLOW);
            life.go_on_until(at("2026-02-26T08:18:00Z")).await;
            assert!(life.of("acme").running.is_some());
            let (config, mut chosen) = settings("UTC", &worlds[1..]);
            chosen[0].0 = "acme".to_owned();
            file.write((config, chosen));
            new.weather.turn(SLOW);
            life.calls.send(Call::Reload).await.expect("it listens");
            life.go_by(2 * LOOK).await;
            let status = life.of("acme");
            assert_eq!((status.snapshot, life.told(&table::SNAPSHOT, "acme")), (None, None), "{status:?}");
            new.weather.turn(Sky::Clear);
            life.go_on_until(at("2026-02-26T09:10:00Z")).await;
            let status = life.of("acme");
            let last = status.jobs[&Kind::Backup].last.as_ref().expect("it ended");
            assert_eq!((last.exit_code, status.snapshot, last.snapshot), (0, Some(1), Some(1)), "{status:?}");
            assert_eq!(life.told(&table::SNAPSHOT, "acme"), Some(1.0));
        };
        live(&worlds, file.read(), Notify::default(), story).await;
        assert_eq!((runs(&old).await.len(), runs(&new).await.len()), (1, 1));
    });
}

#[test]
fn an_organization_that_is_taken_out_and_put_back_waits_for_its_own_job_and_meets_no_conflict() {
    paused(async {
        let (one, other) = (world("2026-02-26T08:10:00Z", 16), world("2026-02-26T08:10:00Z", 17));
        let worlds = [("acme", &one), ("umbrella", &other)];
        let file = File::new(settings("UTC", &worlds));
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T08:16:00Z")).await;
            other.weather.turn(SLOW);
            life.go_on_until(at("2026-02-26T08:18:00Z")).await;
            assert!(life.of("umbrella").running.is_some());
            for chosen in [settings("UTC", &worlds[..1]), settings("UTC", &worlds)] {
                file.write(chosen);
                life.calls.send(Call::Reload).await.expect("it listens");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            life.calls.send(Call::BackUp).await.expect("it listens");
            let ends = at("2026-02-26T09:10:00Z");
            while one.clock.now() < ends {
                life.go_by(MINUTE).await;
                other.weather.turn(Sky::Clear);
                let last = life.of("umbrella").jobs[&Kind::Backup].last.clone();
                assert!(last.as_ref().is_none_or(|last| last.exit_code == 0), "{last:?}");
            }
            let last = life.of("umbrella").jobs[&Kind::Backup].last.clone().expect("it ended");
            assert!(last.snapshot >= Some(2), "{last:?}");
        };
        live(&worlds, file.read(), Notify::default(), story).await;
    });
}

#[test]
fn a_reload_changes_what_is_expected_at_once_and_ends_what_is_told_of_who_is_taken_out() {
    paused(async {
        let (one, other) = (world("2026-02-26T08:10:00Z", 18), world("2026-02-26T08:10:00Z", 19));
        let worlds = [("acme", &one), ("umbrella", &other)];
        let file = File::new(settings("UTC", &worlds));
        let story = async |life: Life<'_>| {
            life.go_by(MINUTE).await;
            assert_eq!(life.told(&table::EXPECTED_INTERVAL, "acme"), Some(3_600.0));
            assert_eq!(life.told(&table::SNAPSHOT, "umbrella"), Some(1.0));
            let mut chosen = settings("UTC", &worlds[..1]);
            chosen.0.schedule.backup = "17 */2 * * *".to_owned();
            file.write(chosen);
            life.calls.send(Call::Reload).await.expect("it listens");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(life.told(&table::EXPECTED_INTERVAL, "acme"), Some(7_200.0));
            let of_other = |sample: &Sample| sample.organization() == "umbrella";
            assert!(!life.metrics.samples().iter().any(of_other));
        };
        live(&worlds, file.read(), Notify::default(), story).await;
    });
}

#[test]
fn a_reload_that_tries_what_does_not_answer_holds_up_nobody() {
    paused(async {
        let (one, other) = (world("2026-02-26T08:10:00Z", 20), world("2026-02-26T08:10:00Z", 21));
        let worlds = [("acme", &one), ("umbrella", &other)];
        let file = File::new(settings("UTC", &worlds[..1]));
        let listener = Listener::new();
        other.weather.turn(Sky::Always(Stroke::Stall(Duration::from_secs(86_400))));
        let story = async |life: Life<'_>| {
            life.go_by(MINUTE).await;
            listener.heard();
            file.write(settings("UTC", &worlds));
            life.calls.send(Call::Reload).await.expect("it listens");
            life.calls.send(Call::BackUp).await.expect("it listens");
            tokio::time::sleep(Duration::from_secs(5)).await;
            let heard = listener.heard();
            assert!(heard.iter().any(|said| said == "READY=1"), "{heard:?}");
            assert_eq!(runs(&one).await.len(), 2);
            // Who does not answer is not taken for who has nothing.
            let status = life.of("umbrella");
            assert!(status.running.is_none() && status.jobs[&Kind::Backup].last.is_none(), "{status:?}");
        };
        live(&worlds, file.read(), listener.notify(4 * MINUTE), story).await;
    });
}

#[test]
fn a_repository_that_did_not_answer_at_the_start_is_asked_again_whatever_the_jobs_meet() {
    asked_again(SLOW, 23);
}

#[test]
fn a_repository_that_refused_its_keys_at_the_start_is_not_taken_for_none_and_is_asked_again() {
    asked_again(Sky::Always(Stroke::Denied), 24);
}

fn asked_again(sky: Sky, seed: u64) {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", seed);
        let file = File::new(settings("UTC", &[("acme", &world)]));
        let worlds = [("acme", &world)];
        live(&worlds, file.read(), Notify::default(), async |life: Life<'_>| life.go_by(MINUTE).await).await;
        world.simulator.fault(Fault::status("/users/me", 401));
        world.weather.turn(sky);
        let story = async |life: Life<'_>| {
            life.go_by(2 * LOOK).await;
            assert_eq!(life.of("acme").snapshot, None);
            world.weather.turn(Sky::Clear);
            life.go_by(10 * MINUTE).await;
            let status = life.of("acme");
            let last = status.jobs[&Kind::Backup].last.as_ref().expect("it was tried");
            assert_eq!(
                (last.exit_code, status.snapshot),
                (ErrorKind::Denied.exit_code(), Some(1)),
                "{last:?}"
            );
            assert_eq!(life.told(&table::SNAPSHOT, "acme"), Some(1.0));
        };
        live(&worlds, file.read(), Notify::default(), story).await;
    });
}

#[test]
fn a_verify_that_was_missed_or_stopped_is_made_up_for_at_the_next_start() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 22);
        let disk = tempfile::tempdir().expect("a folder");
        let disk = Some(disk.path().to_owned());
        let mut chosen = settings("UTC", &[("acme", &world)]);
        chosen.0.schedule.verify = "0 10 * * *".to_owned();
        let file = File::new(chosen);
        let worlds = [("acme", &world)];
        let story = async |life: Life<'_>| life.go_by(MINUTE).await;
        live_on(&worlds, file.read(), Notify::default(), disk.clone(), story).await;
        tokio::time::sleep(3 * HOUR).await;
        world.weather.turn(Sky::Always(Stroke::Stall(Duration::from_secs(1))));
        let story = async |life: Life<'_>| {
            life.go_by(MINUTE).await;
            let status = life.of("acme");
            assert!(status.verifying.is_some(), "the tick of 10:00 was missed: {status:?}");
            life.stop.cancel();
            life.go_by(LOOK).await;
        };
        live_on(&worlds, file.read(), Notify::default(), disk.clone(), story).await;
        world.weather.turn(Sky::Clear);
        let story = async |life: Life<'_>| {
            life.go_by(5 * MINUTE).await;
            let last = life.of("acme").jobs[&Kind::Verify].last.clone().expect("it was stopped");
            assert_eq!((last.exit_code, last.began_at.hour()), (0, 11), "{last:?}");
        };
        live_on(&worlds, file.read(), Notify::default(), disk, story).await;
    });
}
