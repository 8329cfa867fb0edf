//! A daemon keeps its schedule, whatever happens to Asana, to the store, to clocks and to itself, and does not hide what
//! is late. Days go by under paused time; they lie in the past, since the table format reads the clock on the wall.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asana_backup::config::{Config, MetricsSettings, Organization};
use asana_backup::daemon::{
    self, Board, Call, Chosen, Daemon, Kind, Notify, OrganizationStatus, State, Status,
};
use asana_backup::error::{Error, ErrorKind, Result};
use asana_backup::telemetry::table::{self, Metric};
use asana_backup::telemetry::{Metrics, Outlets};
use asana_simulator::{Fault, Options};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::seeds::paused;
use crate::simulation::Logs;
use crate::store::{Sky, Stroke};
use crate::world::World;

/// How often the wall clock wakes the daemon.
pub(crate) const LOOK: Duration = Duration::from_secs(20);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// How long a run may take here: the clock stands still unless somebody waits.
const RUN: TimeDelta = TimeDelta::minutes(2);

/// One life of a daemon, from its start to a kill.
pub(crate) struct Life<'a> {
    world: &'a World,
    board: Board,
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Metrics,
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

/// A world at some moment, with changes read by the cheapest lane.
pub(crate) fn world(epoch: &str, seed: u64) -> World {
    World::new(Options { epoch: at(epoch), seed, ..Options::default() })
}

/// Settings with worlds as organizations of these names.
pub(crate) fn settings(zone: &str, worlds: &[(&str, &World)]) -> Chosen {
    let mut config = Config::default();
    config.schedule.timezone = zone.to_owned();
    config.schedule.jitter_seconds = 0;
    // Worlds of one seed are alike to the locks of this machine: each test, on its thread, is a holder of its own.
    config.run.holder = Some(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    let organization = |world: &World, name: &str| Organization::new(&world.simulator.organization(), name);
    let chosen = worlds.iter().map(|(name, world)| ((*name).to_owned(), organization(world, name))).collect();
    (config, chosen)
}

/// Lives through `story` with a daemon at work; at its end the daemon is killed.
pub(crate) async fn live<T>(
    worlds: &[(&'static str, &World)],
    settings: impl Fn() -> Result<Chosen> + Send + Sync + 'static,
    notify: Notify,
    story: impl AsyncFnOnce(Life<'_>) -> T,
) -> T {
    live_on(worlds, settings, notify, None, story).await
}

/// The same, on a machine whose disk keeps what the daemon remembers.
pub(crate) async fn live_on<T>(
    worlds: &[(&'static str, &World)],
    settings: impl Fn() -> Result<Chosen> + Send + Sync + 'static,
    notify: Notify,
    disk: Option<PathBuf>,
    story: impl AsyncFnOnce(Life<'_>) -> T,
) -> T {
    let metrics = Metrics::default();
    let outlets = Outlets::new(&MetricsSettings::default(), metrics.clone()).expect("settings");
    let outside = World::outside(worlds).telling(outlets);
    let (calls, called) = mpsc::channel(8);
    let (board, stop) = (Board::new(outside.clock().clone()), CancellationToken::new());
    let daemon = Daemon {
        outside,
        settings: Box::new(settings),
        calls: called,
        stop: stop.clone(),
        notify,
        board: board.clone(),
        state: State::open(disk),
    };
    let life = Life { world: worlds[0].1, board, calls, stop, metrics };
    let told = async { story(life).await };
    tokio::pin!(told);
    tokio::select! {
        biased;
        ended = daemon::run(daemon) => {
            ended.expect("the settings are good");
            told.await
        }
        told = &mut told => told,
    }
}

impl Life<'_> {
    /// Lets time go by, with wakings.
    pub(crate) async fn go_by(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            // Who is at work looks by itself.
            self.calls.try_send(Call::Look).ok();
        }
    }

    /// Lets time go by until the clock shows a moment.
    pub(crate) async fn go_on_until(&self, moment: DateTime<Utc>) {
        let left = moment - self.world.clock.now();
        self.go_by(left.to_std().expect("a moment to come")).await;
    }

    fn status(&self) -> Status {
        self.board.status()
    }

    pub(crate) fn of(&self, name: &str) -> OrganizationStatus {
        self.status().organizations.remove(name).expect("an organization of the settings")
    }

    /// What a metric of an organization says, where it has no other label.
    pub(crate) fn told(&self, metric: &'static Metric, name: &str) -> Option<f64> {
        let samples = self.metrics.samples();
        samples.iter().find(|one| one.metric == metric && one.labels == [name]).map(|one| one.value)
    }
}

/// Settings that are read again, and may change.
#[derive(Clone)]
pub(crate) struct File(Arc<Mutex<Chosen>>);

impl File {
    pub(crate) fn new(chosen: Chosen) -> Self {
        Self(Arc::new(Mutex::new(chosen)))
    }

    pub(crate) fn write(&self, chosen: Chosen) {
        *self.0.lock().expect("no holder panics") = chosen;
    }

    pub(crate) fn read(&self) -> impl Fn() -> Result<Chosen> + Send + Sync + 'static {
        let file = Arc::clone(&self.0);
        move || Ok(file.lock().expect("no holder panics").clone())
    }
}

/// When the runs began that made snapshots.
pub(crate) async fn runs(world: &World) -> Vec<DateTime<Utc>> {
    let mut runs = Vec::new();
    for number in world.numbers().await {
        runs.push(world.snapshot(number).await.started_at);
    }
    runs
}

/// The ticks of an hourly schedule from `first`, so many.
pub(crate) fn hourly(first: &str, count: i32) -> Vec<DateTime<Utc>> {
    (0..count).map(|hour| at(first) + TimeDelta::hours(hour.into())).collect()
}

/// Each tick has one run that began when it came, and there is no other.
#[track_caller]
pub(crate) fn assert_kept(runs: &[DateTime<Utc>], ticks: &[DateTime<Utc>]) {
    let kept = runs.len() == ticks.len()
        && runs.iter().zip(ticks).all(|(run, tick)| *tick <= *run && *run - *tick <= RUN);
    assert!(kept, "the ticks are\n{ticks:?}\nand the runs\n{runs:?}");
}

#[test]
fn a_schedule_is_kept_over_days_and_the_night_in_which_an_hour_is_missing() {
    paused(async {
        let world = world("2026-03-28T20:00:00Z", 1);
        let chosen = settings("Europe/Berlin", &[("acme", &world)]);
        let story = async |life: Life<'_>| {
            for _ in 0..26 {
                life.go_by(HOUR).await;
                world.simulator.advance(3);
            }
            let status = life.of("acme");
            assert!(!status.late && status.running.is_none(), "{status:?}");
            // 02:30 is not there that night: the walk begins when the clock shows 03:00.
            let walked = status.jobs[&Kind::Reconcile].succeeded_at.expect("it walks every night");
            let expected = at("2026-03-29T01:00:00Z");
            assert!(walked >= expected && walked - expected <= RUN, "{walked}");
            status.jobs[&Kind::Reconcile].next
        };
        let next = live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        assert_eq!(next, Some(at("2026-03-30T00:30:00Z")));
        let mut ticks = vec![at("2026-03-28T20:00:00Z")];
        ticks.extend(hourly("2026-03-28T20:17:00Z", 26));
        ticks.push(at("2026-03-29T01:00:00Z"));
        ticks.sort();
        assert_kept(&runs(&world).await, &ticks);
    });
}

#[test]
fn a_daemon_that_starts_while_an_hour_comes_again_keeps_its_schedule_each_job_a_moment_after_its_tick() {
    paused(async {
        // Berlin, 2027-10-31: it is 02:10 for the second time.
        let world = world("2027-10-31T01:10:00Z", 22);
        let mut chosen = settings("Europe/Berlin", &[("acme", &world)]);
        chosen.0.schedule.backup = "30 2 * * *".to_owned();
        chosen.0.schedule.reconcile = "never".to_owned();
        chosen.0.schedule.jitter_seconds = 600;
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2027-11-02T12:00:00Z")).await;
            let status = life.of("acme");
            assert!(!status.late, "{status:?}");
            status.jobs[&Kind::Backup].next.expect("there is always a next day")
        };
        let next = live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        let delay = next - at("2027-11-03T01:30:00Z");
        assert!(delay > TimeDelta::zero() && delay <= TimeDelta::minutes(10), "{next}");
        let days = ["2027-11-01T01:30:00Z", "2027-11-02T01:30:00Z"].map(|day| at(day) + delay);
        assert_kept(&runs(&world).await, &[at("2027-10-31T01:10:00Z"), days[0], days[1]]);
    });
}

#[test]
fn an_outage_of_asana_is_seen_within_an_interval_and_over_with_the_first_tick_after_it() {
    paused(async {
        let world = world("2026-02-26T08:00:00Z", 2);
        let chosen = settings("UTC", &[("acme", &world)]);
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T10:00:00Z")).await;
            world.simulator.fault(Fault::status("/**", 503));
            outage(&life).await;
            world.simulator.clear_faults();
            life.go_on_until(at("2026-02-26T14:30:00Z")).await;
            assert!(!life.of("acme").late);
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        assert_over(&world).await;
    });
}

#[test]
fn an_outage_of_the_store_is_seen_within_an_interval_and_over_with_the_first_tick_after_it() {
    paused(async {
        let world = world("2026-02-26T08:00:00Z", 3);
        let chosen = settings("UTC", &[("acme", &world)]);
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T10:00:00Z")).await;
            world.weather.turn(Sky::Always(Stroke::Lost));
            outage(&life).await;
            world.weather.turn(Sky::Clear);
            life.go_on_until(at("2026-02-26T14:30:00Z")).await;
            assert!(!life.of("acme").late);
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        assert_over(&world).await;
    });
}

/// What is logged while `story` is lived through, from INFO on.
pub(crate) async fn logged(story: impl Future<Output = ()>) -> Vec<String> {
    let logs = Logs::default();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(logs.clone());
    let logging = tracing::subscriber::set_default(lines.with_max_level(tracing::Level::INFO).finish());
    story.await;
    drop(logging);
    let text = logs.0.lock().expect("no holder panics").clone();
    String::from_utf8(text).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_says(lines: &[String], said: &[&str]) {
    let are_said =
        lines.len() == said.len() && lines.iter().zip(said).all(|(line, said)| line.contains(said));
    assert!(are_said, "{said:?} is to be said, and that was:\n{}", lines.join("\n"));
}

#[test]
fn an_outage_over_many_ticks_is_one_line_of_the_log_where_it_begins_and_one_where_it_is_over() {
    for of_asana in [true, false] {
        paused(async {
            let world = world("2026-02-26T08:00:00Z", 17);
            let chosen = settings("UTC", &[("acme", &world)]);
            let story = async |life: Life<'_>| {
                life.go_on_until(at("2026-02-26T10:00:00Z")).await;
                if of_asana {
                    world.simulator.fault(Fault::status("/**", 503));
                } else {
                    world.weather.turn(Sky::Always(Stroke::Lost));
                }
                let six_ticks = logged(life.go_on_until(at("2026-02-26T16:00:00Z"))).await;
                assert_says(&six_ticks, &["backup begins", "ERROR job"]);
                assert!(six_ticks[1].contains("backup failed") && six_ticks[1].contains("exit_code=13"));
                world.simulator.clear_faults();
                world.weather.turn(Sky::Clear);
                let after = logged(life.go_on_until(at("2026-02-26T18:00:00Z"))).await;
                let over: Vec<_> =
                    after.iter().filter(|line| line.contains("failed_since=2026-02-26 10:17")).collect();
                assert!(over.len() == 1 && over[0].contains("failed_attempts=6"), "{after:?}");
                // From then on each job is told again.
                assert_eq!(
                    after.iter().filter(|line| line.contains("backup begins")).count(),
                    1,
                    "{after:?}"
                );
                assert_eq!(after.iter().filter(|line| line.contains("backup ends")).count(), 2, "{after:?}");
            };
            live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        });
    }
}

#[test]
fn another_cause_with_the_same_exit_code_is_told_and_so_is_whatever_comes_of_what_somebody_did() {
    paused(async {
        let world = world("2026-02-26T08:00:00Z", 21);
        let chosen = settings("UTC", &[("acme", &world)]);
        let failures = async |life: &Life<'_>, until: &str| {
            let lines = logged(life.go_on_until(at(until))).await;
            lines.into_iter().filter(|line| line.contains("backup failed")).collect::<Vec<_>>()
        };
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T10:00:00Z")).await;
            world.simulator.fault(Fault::status("/**", 503));
            assert_eq!(failures(&life, "2026-02-26T12:00:00Z").await.len(), 1);
            // The service is back, and the disk is full.
            world.simulator.clear_faults();
            world.weather.turn(Sky::Always(Stroke::Lost));
            let told = failures(&life, "2026-02-26T14:00:00Z").await;
            assert!(told.len() == 1 && told[0].contains("exit_code=13"), "{told:?}");
            // Whoever mends something and asks for a run, or changes the settings, is told that it was not enough.
            for call in [Call::BackUp, Call::Reload] {
                life.calls.send(call).await.expect("it listens");
                let until =
                    if call == Call::BackUp { "2026-02-26T14:10:00Z" } else { "2026-02-26T14:30:00Z" };
                assert_eq!(failures(&life, until).await.len(), 1, "{call:?}");
            }
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
    });
}

/// From 10:00 to 13:30: the tick of 10:17 is missed, and that is told when the next has come.
async fn outage(life: &Life<'_>) {
    life.go_on_until(at("2026-02-26T11:16:00Z")).await;
    let status = life.of("acme");
    assert!(!status.late, "the outage was not to be seen yet: {status:?}");
    life.go_on_until(at("2026-02-26T11:18:00Z")).await;
    let status = life.of("acme");
    assert!(status.late && status.age_seconds > Some(7_000), "{status:?}");
    life.go_on_until(at("2026-02-26T13:30:00Z")).await;
    let status = life.of("acme");
    let last = status.jobs[&Kind::Backup].last.as_ref().expect("it was tried");
    assert_eq!(last.exit_code, ErrorKind::Unavailable.exit_code(), "{last:?}");
    assert!(last.error.is_some(), "{last:?}");
}

async fn assert_over(world: &World) {
    let runs = runs(world).await;
    let moments: Vec<_> = runs.iter().map(|run| (run.hour(), run.minute())).collect();
    assert_eq!(moments[..3], [(8, 0), (8, 17), (9, 17)], "{runs:?}");
    // Whoever goes on with a run that was cut off began when that did; either way it is over by the tick after.
    assert_eq!(moments.len(), 4, "{runs:?}");
    let newest = world.snapshot(4).await;
    assert!(newest.committed_at - at("2026-02-26T14:17:00Z") <= RUN, "{newest:?}");
    assert!(newest.complete, "{newest:?}");
}

#[test]
fn a_copy_that_reconciling_alone_keeps_is_made_expected_and_late_like_any_other() {
    paused(async {
        let world = world("2026-02-24T08:00:00Z", 9);
        let mut chosen = settings("UTC", &[("acme", &world)]);
        chosen.0.schedule.backup = "never".to_owned();
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-25T04:00:00Z")).await;
            assert_eq!(runs(&world).await.len(), 2);
            assert_eq!(life.told(&table::EXPECTED_INTERVAL, "acme"), Some(86_400.0));
            world.simulator.fault(Fault::status("/**", 503));
            life.go_on_until(at("2026-02-27T02:29:00Z")).await;
            assert!(!life.of("acme").late);
            life.go_on_until(at("2026-02-27T02:31:00Z")).await;
            assert!(life.of("acme").late);
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
    });
}

#[test]
fn ticks_that_were_missed_while_it_was_down_are_made_up_for_once() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 4);
        let chosen = settings("UTC", &[("acme", &world)]);
        let again = chosen.clone();
        let until = |moment| async move |life: Life<'_>| life.go_on_until(at(moment)).await;
        live(
            &[("acme", &world)],
            move || Ok(chosen.clone()),
            Notify::default(),
            until("2026-02-26T09:30:00Z"),
        )
        .await;
        tokio::time::sleep(5 * HOUR).await;
        // At 14:30, on another machine, it knows by the repository alone.
        let two = again.clone();
        live(
            &[("acme", &world)],
            move || Ok(again.clone()),
            Notify::default(),
            until("2026-02-26T15:00:00Z"),
        )
        .await;
        live(&[("acme", &world)], move || Ok(two.clone()), Notify::default(), until("2026-02-26T15:30:00Z"))
            .await;
        let ticks = ["08:10", "08:17", "09:17", "14:30", "15:17"];
        let ticks: Vec<_> = ticks.iter().map(|time| at(&format!("2026-02-26T{time}:00Z"))).collect();
        assert_kept(&runs(&world).await, &ticks);
    });
}

#[test]
fn a_clock_that_jumps_neither_repeats_nor_starves_a_job() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 5);
        let chosen = settings("UTC", &[("acme", &world)]);
        // Else no run would begin by a clock that Asana's proves wrong.
        world.line.tell_no_time();
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T09:30:00Z")).await;
            // Three ticks are jumped over, and made up for once.
            world.clock.set_by(TimeDelta::hours(3));
            life.go_on_until(at("2026-02-26T13:30:00Z")).await;
            assert_eq!(runs(&world).await.len(), 5);
            // Back by half an hour: the tick of 13:17 is not repeated.
            world.clock.set_by(TimeDelta::minutes(-30));
            life.go_on_until(at("2026-02-26T13:40:00Z")).await;
            assert_eq!(runs(&world).await.len(), 5);
            life.go_on_until(at("2026-02-26T14:20:00Z")).await;
            assert_eq!(runs(&world).await.len(), 6);
            // Back by a day: what the repository has lies ahead, and runs say so, but are not left out.
            world.clock.set_by(TimeDelta::days(-1));
            life.go_on_until(at("2026-02-25T15:30:00Z")).await;
            let last = life.of("acme").jobs[&Kind::Backup].last.clone().expect("it was tried");
            assert_eq!(last.began_at.hour(), 15, "{last:?}");
            assert_eq!(last.exit_code, ErrorKind::Config.exit_code(), "{last:?}");
        };
        live(&[("acme", &world)], move || Ok(chosen.clone()), Notify::default(), story).await;
        let ticks = ["08:10", "08:17", "09:17", "12:30", "13:17", "14:17"];
        let ticks: Vec<_> = ticks.iter().map(|time| at(&format!("2026-02-26T{time}:00Z"))).collect();
        assert_kept(&runs(&world).await, &ticks);
    });
}

#[test]
fn one_organization_that_fails_or_is_taken_out_stops_no_other() {
    paused(async {
        let (good, bad) = (world("2026-02-26T08:10:00Z", 6), world("2026-02-26T08:10:00Z", 7));
        let worlds = [("acme", &good), ("umbrella", &bad)];
        let shared = Arc::new(Mutex::new(Ok::<_, &str>(settings("UTC", &worlds))));
        let read = Arc::clone(&shared);
        let settings_of = move || {
            let read = read.lock().expect("no holder panics").clone();
            read.map_err(|wrong| Error::new(ErrorKind::Config, wrong))
        };
        bad.simulator.fault(Fault::status("/users/me", 401));
        let story = async |life: Life<'_>| {
            life.go_on_until(at("2026-02-26T09:30:00Z")).await;
            let status = life.of("umbrella");
            let last = status.jobs[&Kind::Backup].last.as_ref().expect("it was tried");
            assert_eq!(last.exit_code, ErrorKind::Denied.exit_code(), "{last:?}");
            assert!(!life.of("acme").late);
            // Settings that are wrong leave those before in place.
            *shared.lock().expect("no holder panics") = Err("a typing error");
            life.calls.send(Call::Reload).await.expect("it listens");
            life.go_on_until(at("2026-02-26T10:30:00Z")).await;
            assert!(life.status().settings_error.is_some_and(|error| error.contains("typing")));
            assert_eq!(runs(&good).await.len(), 4);
            *shared.lock().expect("no holder panics") = Ok(settings("UTC", &[("acme", &good)]));
            life.calls.send(Call::Reload).await.expect("it listens");
            life.go_by(MINUTE).await;
            assert_eq!(life.status().settings_error, None);
            assert_eq!(life.status().organizations.keys().collect::<Vec<_>>(), ["acme"]);
            life.calls.send(Call::BackUp).await.expect("it listens");
            life.go_by(MINUTE).await;
            assert_eq!(runs(&good).await.len(), 5);
        };
        live(&worlds, settings_of, Notify::default(), story).await;
        assert!(runs(&bad).await.is_empty());
    });
}

/// A listener in the place of systemd's.
pub(crate) struct Listener {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Listener {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, folder }
    }

    pub(crate) fn notify(&self, watchdog: Duration) -> Notify {
        Notify::to(Some(self.folder.path().join("notify")), Some(watchdog))
    }

    /// What was said since the last time.
    pub(crate) fn heard(&self) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let mut heard = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard
    }
}

#[test]
fn systemd_is_told_in_order_and_a_job_that_hangs_gives_no_sign_of_life() {
    paused(async {
        let world = world("2026-02-26T08:10:00Z", 8);
        let chosen = settings("UTC", &[("acme", &world)]);
        let listener = Listener::new();
        let watchdog = 4 * MINUTE;
        let story = async |life: Life<'_>| {
            let mut heard = Vec::new();
            for _ in 0..6 {
                life.go_by(MINUTE).await;
                heard.extend(listener.heard());
            }
            assert_eq!(heard[0], "READY=1", "{heard:?}");
            assert!(heard[1].starts_with("STATUS=acme: backup"), "{heard:?}");
            assert!(
                heard.iter().any(|said| said == "STATUS=idle; next: acme: backup at 2026-02-26T08:17:00Z")
            );
            // Four times as often as is asked for.
            assert!(heard.iter().filter(|said| *said == "WATCHDOG=1").count() >= 5, "{heard:?}");
            life.calls.send(Call::Reload).await.expect("it listens");
            life.go_by(LOOK).await;
            let heard = listener.heard();
            let reload = heard.iter().position(|said| said.starts_with("RELOADING=1\nMONOTONIC_USEC="));
            let ready = heard.iter().position(|said| said == "READY=1");
            assert!(reload.is_some() && reload < ready, "{heard:?}");
            // From the next tick on the store answers nothing.
            world.weather.turn(Sky::Always(Stroke::Stall(Duration::from_secs(86_400))));
            life.go_on_until(at("2026-02-26T08:20:00Z")).await;
            listener.heard();
            life.go_by(watchdog).await;
            let heard = listener.heard();
            assert!(!heard.iter().any(|said| said == "WATCHDOG=1"), "{heard:?}");
            life.stop.cancel();
            life.go_by(LOOK).await;
            let heard = listener.heard();
            assert!(heard[0].starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC="), "{heard:?}");
        };
        let notify = listener.notify(watchdog);
        live(&[("acme", &world)], move || Ok(chosen.clone()), notify, story).await;
    });
}
