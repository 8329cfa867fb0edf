//! A run goes by a clock that is right, or it does not begin.

use asana_backup::error::ErrorKind;
use chrono::TimeDelta;

use crate::program::{Served, ends};
use crate::seeds::paused;
use crate::world::World;

#[test]
fn a_run_by_a_clock_far_off_asanas_says_so_and_writes_nothing() {
    paused(async {
        let world = World::tiny();
        for off in [TimeDelta::minutes(6), TimeDelta::minutes(-6)] {
            world.clock.set_by(off);
            let error = world.try_run().await.expect_err("the clock is wrong");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("NTP")), "{error}");
            assert!(world.is_untouched().await, "something was written");
            world.clock.set_by(-off);
        }
        world.run().await;
        // Less is followed: no commit is earlier than the one before it.
        world.clock.set_by(TimeDelta::minutes(4));
        world.run().await;
        world.clock.set_by(TimeDelta::minutes(-7));
        world.run().await;
        let (second, third) = (world.snapshot(2).await, world.snapshot(3).await);
        assert!(second.committed_at < third.committed_at, "{third:?}");
        world.assert_verifies().await;
        world.clock.set_by(TimeDelta::minutes(-9));
        let before = world.published().await;
        world.try_run().await.expect_err("the clock is wrong");
        assert_eq!(world.published().await, before);
    });
}

#[test]
fn a_run_and_a_backfill_refuse_the_clock_that_check_calls_wrong() {
    // Asana's clock, long ago.
    let served = Served::start(&["--epoch", "2026-01-01T00:00:00Z"]);
    for verb in [&["run"][..], &["backfill", "--all"]] {
        let said = ends(&served.run(verb), 10);
        assert!(said.contains("this machine's clock is at least") && said.contains("remedy"), "{said}");
        assert_eq!(served.folder.path().read_dir().expect("a folder").count(), 0, "something was written");
    }
    let check = ends(&served.run(&["check"]), 10);
    let wrong: Vec<_> = check.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.len() == 1 && wrong[0].contains("clock: this machine's clock is at least"), "{check}");
}
