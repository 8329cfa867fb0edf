//! A power cut at any call to the store or to Asana loses nothing, doubles nothing, and shows nothing half done.
//!
//! Every call is tried: one that writes, or that an event stream goes on by, before its effect and after it, any other on
//! one side, since nothing that lasts differs. Of pairs and of lost answers some are tried; `ASANA_BACKUP_FULL=1` tries
//! both sides of every call, every lost answer and 500 pairs, `=2` every pair, which takes days; `ASANA_BACKUP_SEED` makes
//! another organization; `ASANA_BACKUP_POINT=17b` tries one point, `17b+3a` a pair: the power goes before the effect of the
//! run's call 17, and after that of call 3 of the run that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use asana_backup::asana::Pacer;
use asana_simulator::{Fault, Options, Size};
use object_store::memory::InMemory;

use crate::power::{Point, Side};
use crate::seeds::{Dice, full, paused, set, try_all};
use crate::store::{Call, Kind, Sky, Stroke};
use crate::world::{World, unlimited};

/// How many lost calls and answers are tried by default.
const TRIED: usize = 24;
/// How many pairs, by default and when every point is tried.
const PAIRS: [u64; 2] = [4, 500];

/// The run whose power is cut.
#[derive(Clone, Debug)]
enum Stage {
    /// The first one, into an empty store.
    First,
    /// The second one, which reads what changed.
    Second(InMemory),
}

/// Where the power is cut: once, or once more in the run that follows.
#[derive(Clone, Debug)]
struct Cuts(Vec<Point>);

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&points.join("+"))
    }
}

fn seed() -> u64 {
    set("ASANA_BACKUP_SEED", 7)
}

fn options() -> Options {
    Options { size: Size::Tasks(4), seed: seed(), ..Options::default() }
}

impl Stage {
    /// What the second run begins with. Nothing happens during the first one, so that it need not be repeated.
    fn second() -> Self {
        paused(async {
            let world = World::new(options());
            world.run().await;
            Self::Second(world.objects.fork())
        })
    }

    /// The world right before the run, with somebody editing while it lasts, and something that cannot be read.
    async fn world(&self) -> World {
        let mut world = match self {
            Self::First => World::new(options()),
            Self::Second(objects) => {
                let mut world = World::with_objects(options(), objects.fork());
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                world.simulator.advance(12);
                world.full = false;
                world
            }
        };
        let stories = world.simulator.truth("stories", None);
        let task = stories[0]["target"]["gid"].as_str().expect("a gid");
        world.simulator.touch_task(task);
        world.simulator.fault(Fault::status(&format!("/tasks/{task}/stories"), 403));
        // Little memory: parts are put while the crawl goes on.
        world.open_bytes = 8 << 10;
        tokio::time::sleep(Duration::from_secs(120)).await;
        world.line.live(Duration::from_millis(40), Some(8));
        world
    }

    /// Every point of the run that leaves something else behind; every point, where everything is to be tried.
    fn points(&self) -> Vec<Point> {
        let (points, writes) = self.points_and_writes();
        // Where it makes no difference, the sides take turns.
        let differs = |point: &Point| {
            writes.contains(&point.call)
                || point.call.is_multiple_of(2) == (point.side == Side::After)
                || full() > 0
        };
        points.into_iter().filter(differs).collect()
    }

    /// Every point of the run, and the calls that write, or by which Asana goes on in what it tells.
    fn points_and_writes(&self) -> (Vec<Point>, BTreeSet<u64>) {
        paused(async {
            let world = self.world().await;
            // Nothing is cut, and calls are counted all the same.
            world.power.on_until(None);
            world.try_run_untold(Pacer::new(unlimited())).await.expect("it succeeds");
            let sides = [Side::Before, Side::After];
            let points = (1..=world.power.calls()).flat_map(|call| sides.map(|side| Point { call, side }));
            // Nothing names a probe: what is left of one makes no difference.
            let lasts = |call: &Call| !call.kind.reads() && !call.key.starts_with("probes/");
            let writes = world.weather.calls().into_iter().filter(lasts);
            let mut writes: BTreeSet<_> = writes.map(|call| call.in_power).collect();
            let streams = world.line.streams();
            assert!(!writes.is_empty() && !streams.is_empty(), "a run writes, and listens");
            writes.extend(streams);
            (points.collect(), writes)
        })
    }
}

/// Cuts the power, lets a run follow while life goes on, and then another when it has stopped.
async fn crash(stage: &Stage, cuts: &Cuts) {
    let mut world = stage.world().await;
    let mut news = 0;
    for (nth, point) in cuts.0.iter().enumerate() {
        let before = world.numbers().await.len();
        if let Some(outcome) = world.cut_run(Some(*point), Pacer::new(unlimited())).await {
            // What a second run has left to do may be less.
            assert!(nth > 0, "the run was over before {point}");
            news += outcome.expect("it succeeds").new_gaps;
        }
        if world.is_untouched().await {
            continue;
        }
        assert!(world.numbers().await.len() <= before + 1, "more than one snapshot");
        world.assert_readers_see_only_commits().await;
    }
    let committed = world.numbers().await.len();
    let outcome = world.run().await;
    // Whatever was cut, somebody was told of what could not be read.
    assert!(news + outcome.new_gaps > 0 || outcome.gaps.is_empty(), "{:?}", outcome.gaps);
    world.simulator.clear_faults();
    world.line.rest();
    // What no event tells of is found by whoever walks.
    world.reconcile().await;
    assert_eq!(world.numbers().await.len(), committed + 2, "a run that succeeds makes one snapshot");
    world.assert_equals_truth((committed + 2) as u64).await;
    world.assert_readers_see_only_commits().await;
    world.assert_verifies().await;
}

/// Tries all of these, or those that the environment names.
fn try_cuts(test: &str, stage: &Stage, cases: &[Cuts]) {
    let named = std::env::var("ASANA_BACKUP_POINT").ok().map(|text| {
        let points = text.split('+').map(|point| point.parse().unwrap_or_else(|wrong| panic!("{wrong}")));
        vec![Cuts(points.collect())]
    });
    let repeat = |cuts: &Cuts| {
        format!("ASANA_BACKUP_SEED={} ASANA_BACKUP_POINT={cuts} cargo test --test it {test}", seed())
    };
    try_all(named.as_deref().unwrap_or(cases), |cuts| paused(crash(stage, cuts)), repeat);
}

/// So many of them, at even distances, wherever the seed begins; all, where everything is to be tried.
fn some_of<T>(cases: Vec<T>) -> Vec<T> {
    // Odd, since what happens at one call takes turns.
    let step = if full() > 0 { 1 } else { cases.len().div_ceil(TRIED) | 1 };
    cases.into_iter().skip(seed() as usize % step).step_by(step).collect()
}

#[test]
fn a_cut_at_any_call_of_the_first_run_loses_nothing() {
    let stage = Stage::First;
    let cases: Vec<_> = stage.points().into_iter().map(|point| Cuts(vec![point])).collect();
    try_cuts("a_cut_at_any_call_of_the_first_run_loses_nothing", &stage, &cases);
}

#[test]
fn a_cut_at_any_call_of_a_run_over_changes_loses_nothing() {
    let stage = Stage::second();
    let cases: Vec<_> = stage.points().into_iter().map(|point| Cuts(vec![point])).collect();
    try_cuts("a_cut_at_any_call_of_a_run_over_changes_loses_nothing", &stage, &cases);
}

#[test]
fn a_second_cut_while_the_first_is_recovered_from_loses_nothing() {
    let stage = Stage::second();
    let (points, _) = stage.points_and_writes();
    let cases = if full() > 1 {
        let pair = |one: &Point| points.iter().map(|other| Cuts(vec![*one, *other])).collect::<Vec<_>>();
        points.iter().flat_map(pair).collect()
    } else {
        let mut dice = Dice::new(seed(), "pairs");
        (0..PAIRS[full() as usize])
            .map(|_| Cuts(vec![dice.one_of(&points), dice.one_of(&points)]))
            .collect::<Vec<_>>()
    };
    try_cuts("a_second_cut_while_the_first_is_recovered_from_loses_nothing", &stage, &cases);
}

/// A run that walks, and finds changes, in which one call to the store is struck.
async fn struck(stage: &Stage, (call, stroke, is_read): (u64, Stroke, bool)) {
    let mut world = stage.world().await;
    world.full = true;
    world.simulator.clear_faults();
    world.line.rest();
    world.weather.turn(Sky::Strokes(BTreeMap::from([(call, stroke)])));
    let outcome = world.try_run_now().await;
    assert!(outcome.is_ok() || (is_read && stroke != Stroke::Twice), "{outcome:?}");
    world.weather.turn(Sky::Clear);
    if outcome.is_err() {
        world.run().await;
    }
    // A run that fails to show its snapshot to readers without a catalog has committed it all the same.
    let number = world.numbers().await.len() as u64;
    assert!(number == 2 || (outcome.is_err() && number == 3), "{number} snapshots");
    world.assert_equals_truth(number).await;
    world.assert_whole(number).await;
    if outcome.is_ok_and(|outcome| !outcome.published) {
        world.run().await;
    }
    world.assert_verifies().await;
}

#[test]
fn a_lost_call_or_a_lost_answer_of_the_store_changes_nothing() {
    let stage = Stage::second();
    let kinds: Vec<Kind> = paused(async {
        let mut world = stage.world().await;
        world.full = true;
        world.simulator.clear_faults();
        world.line.rest();
        world.try_run_now().await.expect("it succeeds");
        world.weather.calls().iter().map(|call| call.kind).collect()
    });
    let strokes = [Stroke::Lost, Stroke::Unanswered, Stroke::Stall(Duration::from_secs(50)), Stroke::Twice];
    let cases = (1..).zip(&kinds).flat_map(|(call, kind)| {
        let is_read = kind.reads();
        let last = if is_read { Stroke::Torn } else { Stroke::Twice };
        strokes.map(|stroke| (call, if stroke == Stroke::Twice { last } else { stroke }, is_read))
    });
    let repeat = |(call, stroke, _): &(u64, Stroke, bool)| {
        format!("seed {}: call {call} to the store was {stroke:?}", seed())
    };
    let cases = some_of(cases.collect());
    try_all(&cases, |case| paused(struck(&stage, *case)), repeat);
}
