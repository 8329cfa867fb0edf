//! Incremental equals full: after any history of edits and runs, a reconciling run leaves what a fresh copy would.
//!
//! `ASANA_BACKUP_HISTORIES=100000` tries more histories, `ASANA_BACKUP_SEED=17` others. A history that fails is shrunk, and printed.

use std::collections::BTreeMap;
use std::time::Duration;

use asana_backup::asana::Pacer;
use asana_backup::backup::Walk;
use asana_backup::crawl::Backfill;
use asana_backup::error::ErrorKind;
use asana_backup::model::Hash;
use asana_backup::resources;
use asana_simulator::{EventsPlan, Options, Size};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::power::{Point, Side};
use crate::seeds::{paused, set, try_all};
use crate::world::{World, unlimited};

/// How many histories are tried by default.
const HISTORIES: u64 = 150;
/// How many seeds share them.
const SHARES: u64 = 2;
/// The most actions of one history.
const LONGEST: usize = 12;

/// What the token may do, so that each way to learn what changed gets its share: hear events, and search. Without the
/// search, a fresh copy lacks what no listing leads to, and ours keeps it for as long as it is true.
const LANES: [(EventsPlan, bool); 4] = [
    (EventsPlan::Workspace, true),
    (EventsPlan::Resources, true),
    (EventsPlan::None, true),
    (EventsPlan::None, false),
];

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// So many edits of any kind are made.
    Edit(u8),
    /// A user, project or tag gets a new name, which no record that mentions it is modified by.
    Rename(u8),
    /// A task goes to the trash, with what hangs below it.
    Delete(u8),
    /// A task comes back from the trash, if there is one.
    Restore,
    /// Time passes.
    Wait(u16),
    /// A run, while one request in so many finds an edit made.
    Run { one_edit_in: Option<u8> },
    /// A run whose power is cut after so many calls.
    CutRun(u8),
    /// Something is read again by hand: of the last minutes or all, of a table or all, of a project or all.
    Backfill { minutes: Option<u16>, table: Option<u8>, project: Option<u8> },
    /// Asana forgets what event streams had to tell.
    LoseEvents,
    /// No token of an event stream is good any more.
    ExpireSyncTokens,
    /// No offset of a listing is good any more.
    ExpireOffsets,
}

fn action() -> impl Strategy<Value = Action> {
    let edits = proptest::option::of(2_u8..20);
    prop_oneof![
        4 => (1_u8..30).prop_map(Action::Edit),
        2 => any::<u8>().prop_map(Action::Rename),
        2 => any::<u8>().prop_map(Action::Delete),
        1 => Just(Action::Restore),
        2 => (0_u16..20_000).prop_map(Action::Wait),
        4 => edits.prop_map(|one_edit_in| Action::Run { one_edit_in }),
        2 => any::<u8>().prop_map(Action::CutRun),
        2 => backfill(),
        1 => Just(Action::LoseEvents),
        1 => Just(Action::ExpireSyncTokens),
        1 => Just(Action::ExpireOffsets),
    ]
}

fn backfill() -> impl Strategy<Value = Action> {
    let (minutes, which) = (proptest::option::of(0_u16..2_000), || proptest::option::of(any::<u8>()));
    (minutes, which(), which()).prop_map(|(minutes, table, project)| Action::Backfill {
        minutes,
        table,
        project,
    })
}

/// A world with a history.
struct History {
    world: World,
    /// Tasks in the trash that were put there by name.
    trash: Vec<String>,
}

impl History {
    async fn act(&mut self, action: Action) {
        let (world, simulator) = (&self.world, &self.world.simulator);
        match action {
            Action::Edit(count) => drop(simulator.advance(usize::from(count))),
            Action::Rename(which) => {
                let table = ["users", "projects", "tags"][usize::from(which) % 3];
                if let Some(gid) = self.some(table, which / 3) {
                    let edit = format!("rename_{}", table.trim_end_matches('s'));
                    simulator.edit(&edit, &gid, &format!("Name {which}"));
                }
            }
            Action::Delete(which) => {
                if let Some(gid) = self.some("tasks", which) {
                    simulator.delete_task(&gid);
                    self.trash.push(gid);
                }
            }
            Action::Restore => {
                if let Some(gid) = self.trash.pop() {
                    // Its parent may be in the trash meanwhile: then it stays there.
                    simulator.edit("undelete_task", &gid, "");
                }
            }
            Action::Wait(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
            Action::Run { one_edit_in } => {
                world.line.live(Duration::from_millis(40), one_edit_in.map(u64::from));
                world.try_run_now().await.expect("it succeeds");
                world.line.rest();
            }
            Action::CutRun(calls) => {
                let point = Point {
                    call: u64::from(calls) + 1,
                    side: [Side::Before, Side::After][usize::from(calls % 2)],
                };
                if let Some(outcome) = world.cut_run(Some(point), Pacer::new(unlimited())).await {
                    outcome.expect("it succeeds");
                }
            }
            Action::Backfill { minutes, table, project } => {
                let minutes = minutes.map(|minutes| chrono::TimeDelta::minutes(minutes.into()));
                let table =
                    table.map(|which| resources::ALL[usize::from(which) % resources::ALL.len()].table);
                self.world.walk = Walk::Backfill(Backfill {
                    since: minutes.map(|minutes| self.world.clock.now() - minutes),
                    tables: table.into_iter().map(str::to_owned).collect(),
                    projects: project.and_then(|which| self.some("projects", which)).into_iter().collect(),
                });
                let done = self.world.try_run_now().await;
                self.world.walk = Walk::WhenDue;
                // There may be no whole copy yet, or no such table below a project.
                let refused = done.as_ref().err().map(|error| error.kind());
                assert!(matches!(refused, None | Some(ErrorKind::Config)), "{done:?}");
            }
            Action::LoseEvents => world.lose_events(),
            Action::ExpireSyncTokens => world.expire_sync_tokens(),
            Action::ExpireOffsets => world.expire_offsets(),
        }
    }

    /// The gid of a record of a table.
    fn some(&self, table: &str, which: u8) -> Option<String> {
        let truth = self.world.simulator.truth(table, None);
        let record = truth.get(usize::from(which) % truth.len().max(1))?;
        record["gid"].as_str().map(str::to_owned)
    }
}

/// What a snapshot holds, in canonical form.
async fn content(world: &World, number: u64) -> BTreeMap<(&'static str, String), Hash> {
    let mut content = BTreeMap::new();
    for resource in resources::ALL {
        let rows = world.rows(number, resource.table).await;
        content.extend(rows.into_iter().map(|(key, row)| ((resource.table, key), row.hash)));
    }
    content
}

/// What the organization holds, in the same form.
fn truth(world: &World) -> BTreeMap<(&'static str, String), Hash> {
    let of = |table| world.truth(table).into_iter().map(move |(key, hash)| ((table, key), hash));
    resources::ALL.iter().flat_map(|resource| of(resource.table)).collect()
}

async fn incremental_equals_full(seed: u64, actions: &[Action]) -> Result<(), TestCaseError> {
    let (events, search) = LANES[(seed % 4) as usize];
    let size = Size::Tasks(1 + (seed % 12) as u32);
    let options = Options { size, seed, events, search, ..Options::default() };
    let mut world = World::new(options);
    world.full = false;
    world.open_bytes = [1, 8 << 10, 256 << 10][(seed % 3) as usize];
    let mut history = History { world, trash: Vec::new() };
    for action in actions {
        history.act(*action).await;
    }
    let mut world = history.world;
    let reconciled = world.reconcile().await;
    let fresh = world.with_empty_store();
    let copied = fresh.run().await;
    let (ours, theirs) =
        (content(&world, reconciled.snapshot.0).await, content(&fresh, copied.snapshot.0).await);
    let truth: BTreeMap<_, _> = if search { BTreeMap::new() } else { truth(&world) };
    let differs: Vec<_> = ours
        .iter()
        .filter(|(key, hash)| theirs.get(key) != Some(hash) && truth.get(key) != Some(hash))
        .map(|(key, _)| (key, "only here, or another"))
        .chain(theirs.keys().filter(|key| !ours.contains_key(key)).map(|key| (key, "missing here")))
        .collect();
    prop_assert!(differs.is_empty(), "{differs:?}");
    if search {
        world.assert_equals_truth(reconciled.snapshot.0).await;
    }
    world.assert_whole(reconciled.snapshot.0).await;
    Ok(())
}

/// Tries some histories, drawn from a seed.
fn try_histories(seed: u64) {
    let cases = u32::try_from(set("ASANA_BACKUP_HISTORIES", HISTORIES).div_ceil(SHARES)).expect("few enough");
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let bytes: Vec<u8> = (0..4).flat_map(|_| seed.to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let strategy = (0_u64..1_000, proptest::collection::vec(action(), 1..LONGEST));
    let tried = TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(world, actions)| paused(incremental_equals_full(world, &actions)));
    if let Err(failure) = tried {
        panic!("{failure}");
    }
}

#[test]
fn after_any_history_a_reconciling_run_equals_a_fresh_copy() {
    let first = set("ASANA_BACKUP_SEED", 7);
    let test = "after_any_history_a_reconciling_run_equals_a_fresh_copy";
    let repeat = |seed: &u64| format!("ASANA_BACKUP_SEED={seed} cargo test --test it {test}");
    try_all(&(first..first + SHARES).collect::<Vec<_>>(), |seed| try_histories(*seed), repeat);
}
