//! Two runs never build on one snapshot, whoever sleeps, dies or starts twice.

use std::time::Duration;

use asana_backup::backup::PATIENCE;
use asana_backup::clock::Clock;
use asana_backup::error::ErrorKind;
use asana_simulator::{Options, Size};

use crate::store::{Sky, Stroke};
use crate::world::World;

fn slow() -> Options {
    Options { size: Size::Tasks(20), latency: Duration::from_secs(20), ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn a_second_run_says_who_holds_the_claim_and_leaves_it_to_them() {
    let world = World::new(slow());
    let mut other = world.same();
    other.holder = "somebody@elsewhere".to_owned();
    let late = async {
        tokio::time::sleep(Duration::from_secs(200)).await;
        other.try_run_now().await
    };
    let (first, second) = tokio::join!(world.try_run_now(), late);
    let error = second.expect_err("the claim is held");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("tests holds the claim"), "{error}");
    assert_eq!(first.expect("it was left alone").snapshot.0, 1);
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_after_the_time_without_a_sign_of_life_and_goes_on() {
    let world = World::new(slow());
    let mut other = world.same();
    other.holder = "somebody@elsewhere".to_owned();
    assert!(tokio::time::timeout(Duration::from_secs(150), world.try_run_now()).await.is_err());
    let died_at = world.clock.now();
    assert_eq!(other.try_run_now().await.expect_err("too early").kind(), ErrorKind::Conflict);
    tokio::time::sleep(PATIENCE.to_std().expect("positive")).await;
    let outcome = other.try_run_now().await.expect("it is dead");
    assert!(outcome.started_at < died_at, "it goes on with the run of the dead one");
    other.assert_equals_truth(outcome.snapshot.0).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_holder_and_whoever_follows_one_that_ended_take_over_at_once() {
    let world = World::new(slow());
    assert!(tokio::time::timeout(Duration::from_secs(150), world.try_run_now()).await.is_err());
    let stop = world.stop.clone();
    let asked = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        stop.cancel();
    };
    let (stopped, ()) = tokio::join!(world.try_run_now(), asked);
    assert_eq!(stopped.expect_err("asked to stop").kind(), ErrorKind::Cancelled);
    let mut other = world.same();
    other.holder = "somebody@elsewhere".to_owned();
    assert!(other.try_run_now().await.expect("the claim is free").complete);
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_while_nothing_is_told_ends_at_once_and_leaves_the_claim_to_others() {
    let moment = Duration::from_secs(1);
    // While nobody has said yet who the token is of.
    let world = World::new(slow());
    let mut run = std::pin::pin!(world.try_run_now());
    assert!(tokio::time::timeout(Duration::from_secs(10), &mut run).await.is_err());
    world.stop.cancel();
    let stopped = tokio::time::timeout(moment, run).await.expect("at once");
    assert_eq!(stopped.expect_err("asked to stop").kind(), ErrorKind::Cancelled);
    // While what is there is loaded, to be compared with.
    let mut world = World::new(slow());
    world.run().await;
    world.stop = tokio_util::sync::CancellationToken::new();
    let before = world.weather.calls().len();
    let mut run = std::pin::pin!(world.try_run_now());
    world.weather.turn(Sky::Always(Stroke::Stall(60 * moment)));
    let loads = || world.weather.calls()[before..].iter().any(|call| call.key.ends_with(".parquet"));
    while !loads() {
        assert!(tokio::time::timeout(moment, &mut run).await.is_err(), "it was over before it was stopped");
    }
    world.weather.turn(Sky::Clear);
    world.stop.cancel();
    let stopped = tokio::time::timeout(moment, run).await.expect("at once");
    assert_eq!(stopped.expect_err("asked to stop").kind(), ErrorKind::Cancelled);
    let mut other = world.same();
    other.holder = "somebody@elsewhere".to_owned();
    assert!(other.try_run_now().await.expect("the claim is free").complete);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_slept_and_woke_cannot_commit() {
    for seconds in [70, 110, 150] {
        let world = World::new(slow());
        let mut other = world.same();
        other.holder = "somebody@elsewhere".to_owned();
        let mut sleeper = std::pin::pin!(world.try_run_now());
        assert!(tokio::time::timeout(Duration::from_secs(seconds), &mut sleeper).await.is_err());
        tokio::time::sleep(PATIENCE.to_std().expect("positive")).await;
        let outcome = other.try_run_now().await.expect("it shows no sign of life");
        let woken = sleeper.await;
        assert_eq!(woken.expect_err("it lost the claim").kind(), ErrorKind::Conflict, "after {seconds} s");
        let numbers = other.repository().await.snapshots().await.expect("readable");
        assert_eq!(numbers.len() as u64, outcome.snapshot.0, "after {seconds} s");
        other.assert_equals_truth(outcome.snapshot.0).await;
        other.assert_verifies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_with_a_run_that_ended_holds_it_from_the_first_moment() {
    let world = World::new(slow());
    let stop = world.stop.clone();
    let asked = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        stop.cancel();
    };
    let (stopped, ()) = tokio::join!(world.try_run_now(), asked);
    assert_eq!(stopped.expect_err("asked to stop").kind(), ErrorKind::Cancelled);
    let second = world.same();
    let mut third = world.same();
    third.holder = "somebody@elsewhere".to_owned();
    let late = async {
        // Before the second has given another sign of life.
        tokio::time::sleep(Duration::from_secs(10)).await;
        third.try_run_now().await
    };
    let (second, third) = tokio::join!(second.try_run_now(), late);
    let error = third.expect_err("the claim is held");
    assert!(error.to_string().contains("tests holds the claim"), "{error}");
    assert!(second.expect("it was left alone").complete);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_clock_is_behind_the_last_snapshot_ends_before_it_has_read_anything() {
    let world = World::tiny();
    world.run().await;
    let mut other = world.same();
    other.clock = Clock::simulated(world.clock.now() - chrono::TimeDelta::seconds(330));
    // Else Asana's clock says so already.
    other.line.tell_no_time();
    let error = other.try_run_now().await.expect_err("its clock is wrong");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("clock is far off"), "{error}");
    assert!(other.line.trace().iter().all(|line| line.contains("/users/me")), "{:?}", other.line.trace());
    other.clock = Clock::simulated(world.clock.now() - chrono::TimeDelta::seconds(270));
    other.try_run_now().await.expect("clocks differ");
}
