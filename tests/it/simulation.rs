//! A seeded world in which everything goes wrong that can: whatever happens, no snapshot says what was not so, and
//! nothing is missing without a word.
//!
//! `ASANA_BACKUP_SEEDS=1000` tries more seeds, `ASANA_BACKUP_SEED=17` one.

use std::io::Write;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asana_backup::asana::{PaceOptions, Pacer};
use asana_backup::backup::Outcome;
use asana_backup::error::{ErrorKind, Result};
use asana_backup::model::{Gap, Hash};
use asana_backup::resources;
use asana_simulator::{EventsPlan, Fault, FaultKind, Limits, Options, Size};
use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt;
use tracing_subscriber::fmt::MakeWriter;

use crate::power::{Point, Side};
use crate::seeds::{Dice, paused, set, try_all};
use crate::store::Sky;
use crate::world::{Row, World};

/// How many seeds are tried by default.
const SEEDS: u64 = 16;
const TOKEN: &str = "canary-token-that-nobody-may-see";
/// About twice the calls of a run of the smallest organization: half of the cuts come too late.
const CALLS: u64 = 400;

/// What was logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One world, and what is drawn about it.
struct Simulated {
    world: World,
    pace: PaceOptions,
    dice: Dice,
    /// Whether calls to the store or to Asana may fail.
    stormy: bool,
    /// Whether Asana is told to refuse requests by 429 although they keep to the limits.
    refusing: bool,
    logs: Logs,
    /// When the world began.
    began: DateTime<Utc>,
    /// What the snapshot of each successful run is.
    committed: Vec<String>,
}

impl Simulated {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "simulation");
        let per_minute = dice.one_of(&[150, 1_500]);
        let mut world = World::new(Options {
            size: Size::Tasks(1 + dice.below(16) as u32),
            seed,
            token: TOKEN.to_owned(),
            limits: Some(Limits { per_minute, ..Limits::paid() }),
            events: dice.one_of(&[EventsPlan::Workspace, EventsPlan::Resources, EventsPlan::None]),
            ..Options::default()
        });
        // With next to no memory every page becomes a part, and what changes during a run is there twice for a while.
        world.open_bytes = dice.one_of(&[1, 8 << 10, 256 << 10]);
        let (logs, committed) = (Logs::default(), Vec::new());
        let per_minute = NonZeroU32::new(per_minute).expect("not zero");
        let pace = PaceOptions { per_minute, ..PaceOptions::default() };
        let began = world.clock.now();
        Self { world, pace, dice, stormy: false, refusing: false, logs, began, committed }
    }

    /// Lives through some rounds, each a run in its weather, and then through one in which all is well.
    async fn live(&mut self) {
        for round in 0..2 + self.dice.below(3) {
            self.weather();
            let edits = self.dice.below(25) as usize;
            self.world.simulator.advance(if round == 0 { 0 } else { edits });
            // Every other run walks; the others read what changed, as far as there is something to begin with.
            self.world.full = self.dice.once_in(2);
            self.world.accept_deletions = self.dice.once_in(2);
            tokio::time::sleep(Duration::from_secs(120 + self.dice.below(7_200))).await;
            self.round().await;
        }
        self.world.simulator.clear_faults();
        self.world.weather.turn(Sky::Clear);
        self.world.line.rest();
        (self.world.full, self.world.accept_deletions) = (true, true);
        // A run that was cut goes on first, and speaks for the time since it began.
        self.world.try_run_at(Pacer::new(self.pace)).await.expect("nothing goes wrong");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let outcome = self.world.try_run_at(Pacer::new(self.pace)).await.expect("nothing goes wrong");
        assert!(outcome.complete, "{:?}", outcome.gaps);
        self.world.assert_equals_truth(outcome.snapshot.0).await;
        self.world.assert_verifies().await;
        assert_eq!(self.world.line.impatient(), Vec::<String>::new(), "asked before the time was over");
        self.assert_no_secret().await;
    }

    /// Draws what goes wrong in a round.
    fn weather(&mut self) {
        let (world, dice) = (&self.world, &mut self.dice);
        world.simulator.clear_faults();
        let per_mille = dice.one_of(&[0, 0, 2, 10]);
        world.weather.turn(match per_mille {
            0 => Sky::Clear,
            _ => Sky::Seeded { dice: Dice::new(dice.below(u64::MAX), "sky"), per_mille },
        });
        let passing = dice.one_of(&[0.0, 0.01, 0.05]);
        let kinds = [
            FaultKind::Status { status: 429, retry_after: Some(1 + dice.below(30)) },
            FaultKind::Status { status: 500, retry_after: None },
            FaultKind::Status { status: 503, retry_after: None },
            FaultKind::Reset,
            FaultKind::CutBody,
            FaultKind::WrongJson,
            FaultKind::Delay,
        ];
        for kind in kinds {
            let delay_ms = if kind == FaultKind::Delay { dice.below(80_000) } else { 0 };
            world.simulator.fault(Fault { kind, probability: passing, delay_ms, ..Fault::default() });
        }
        self.refusing = passing > 0.0;
        self.stormy = per_mille > 0 || self.refusing;
        let lasting = dice.below(3);
        for _ in 0..lasting {
            self.breaks_for_good();
        }
        if self.dice.once_in(3) {
            self.breaks_a_lane();
        }
        let dice = &mut self.dice;
        let edit = dice.one_of(&[None, Some(4), Some(20)]);
        self.world.line.live(Duration::from_millis(dice.one_of(&[1, 50, 900])), edit);
    }

    /// One listing answers nothing but a refusal as long as the round lasts.
    fn breaks_for_good(&mut self) {
        let (table, below) = self.dice.one_of(&[
            ("tasks", "stories"),
            ("tasks", "stories"),
            ("tasks", "subtasks"),
            ("projects", "sections"),
            ("teams", "team_memberships"),
            ("portfolios", "items"),
        ]);
        let truth = self.world.simulator.truth(table, None);
        if truth.is_empty() {
            return;
        }
        let record = &truth[self.dice.below(truth.len() as u64) as usize];
        let gid = record["gid"].as_str().expect("a gid");
        let status = self.dice.one_of(&[402, 403, 404, 451, 500, 503]);
        self.world.simulator.fault(Fault::status(&format!("/{table}/{gid}/{below}"), status));
        // What hangs below it cannot be asked for either: that is no proof that it is gone.
        if self.dice.once_in(2) {
            self.world.simulator.fault(Fault::status(&format!("/{below}/*"), 403));
        }
    }

    /// One way to learn what changed answers nothing but a refusal as long as the round lasts.
    fn breaks_a_lane(&mut self) {
        let path = self.dice.one_of(&["/workspaces/*/events", "/events", "/workspaces/*/tasks/search"]);
        let status = self.dice.one_of(&[402, 403, 412, 500, 503]);
        self.world.simulator.fault(Fault::status(path, status));
        self.stormy = true;
    }

    /// One run, perhaps cut short, and what must hold after it.
    async fn round(&mut self) {
        let cut = self.dice.once_in(3);
        let side = self.dice.one_of(&[Side::Before, Side::After]);
        let cut = Some(Point { call: 1 + self.dice.below(CALLS), side }).filter(|_| cut);
        let refused = self.refused();
        let before = self.world.numbers().await.len();
        let outcome = self.world.cut_run(cut, Pacer::new(self.pace)).await;
        self.world.assert_readers_see_only_commits().await;
        let after = self.world.numbers().await.len();
        assert!(self.refusing || self.refused() == refused, "the limits were overdrawn");
        match outcome {
            None => assert!(after <= before + 1, "a run that was cut made {} snapshots", after - before),
            Some(outcome) => self.settled(outcome, before, after).await,
        }
        if after > before {
            self.world.assert_whole(after as u64).await;
        }
    }

    async fn settled(&mut self, outcome: Result<Outcome>, before: usize, after: usize) {
        match outcome {
            Err(error) => {
                let excused = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Throttled);
                assert!(self.stormy && excused, "{:?}: {error}", error.kind());
                assert!(after <= before + 1);
            }
            Ok(outcome) => {
                assert_eq!(after, before + 1, "a run that succeeds makes one snapshot");
                assert_eq!(outcome.snapshot.0, after as u64);
                self.assert_was_true(&outcome).await;
                self.committed.push(format!("{} complete: {}", outcome.snapshot, outcome.complete));
            }
        }
    }

    /// How many requests Asana refused by 429.
    fn refused(&self) -> usize {
        self.world.simulator.log().iter().filter(|request| request.status == 429).count()
    }

    /// Every row that the run read was true at a moment of it, and every other at a moment before; what is there all the
    /// time keeps its row; and what is missing is named by a gap, or its table is not said to be complete.
    async fn assert_was_true(&self, outcome: &Outcome) {
        // A run that goes on after a cut lasts since before it.
        let edits = self.world.simulator.edit_moments(outcome.started_at, outcome.committed_at);
        let moments: Vec<_> = [outcome.started_at].into_iter().chain(edits).collect();
        let walked = outcome.plan.contains("walk everything");
        for resource in resources::ALL {
            let table = resource.table;
            let rows = self.world.rows(outcome.snapshot.0, table).await;
            let truths: Vec<_> = moments.iter().map(|at| self.world.truth_at(table, Some(*at))).collect();
            let proof = &outcome.tables[table].proof;
            let gaps: Vec<_> = outcome.gaps.iter().filter(|gap| gap.table == table).collect();
            let told = |gid: Option<&str>| gaps.iter().any(|gap| gid.is_some_and(|gid| gap.gid == *gid));
            for (key, row) in &rows {
                let was = truths.iter().any(|truth| truth.get(key) == Some(&row.hash));
                // Who has left is no longer listed, and answers for themselves: in the middle of a run, without a workspace.
                let times = truths.iter().filter(|truth| truth.contains_key(key)).count();
                let gone = times < truths.len() && row.raw.contains(r#""workspaces":[]"#);
                let left = table == "users" && (times == 0 || gone);
                let is_held = gaps.iter().any(|gap| gap.scope == "deletions");
                let held = is_held && !truths.iter().all(|truth| truth.contains_key(key));
                let known = told(Some(key)) || told(row.parent.as_deref());
                let before = !walked && row.seen_at < outcome.started_at && self.was_ever(table, key, row);
                assert!(was || left || held || known || before, "{table} {key} was never so: {}", row.raw);
            }
            let always = |key: &&String| truths.iter().all(|truth| truth.contains_key(*key));
            for key in self.rows_before(outcome, table).await.iter().filter(always) {
                assert!(rows.contains_key(key), "{table}: {key} is there, and its row went");
            }
            // A walk speaks for the moment it began, what changed since is another's to tell.
            let proven = self.world.truth_at(table, Some(proof.as_of.min(outcome.started_at)));
            // Where the only record that leads to some answers that the plan has none, the table is called so, loudly.
            let lacking =
                proven.keys().filter(always).filter(|key| proof.available && !rows.contains_key(*key));
            for key in lacking {
                assert!(!proof.complete, "{table}: {key} is missing, and the table is said to be complete");
                let otherwise = proof.lacks.iter().any(|lack| !lack.contains(" × "));
                assert!(
                    otherwise || self.is_told(&gaps, table, key),
                    "{table}: {key} is missing without a word"
                );
            }
        }
    }

    /// Whether a row was true when it was read.
    fn was_ever(&self, table: &str, key: &str, row: &Row) -> bool {
        let edits = self.world.simulator.edit_moments(DateTime::UNIX_EPOCH, row.seen_at);
        let mut moments = edits.into_iter().rev().chain([self.began]);
        moments.any(|at| self.world.truth_at(table, Some(at)).get(key) == Some(&row.hash))
    }

    /// The keys of the snapshot before.
    async fn rows_before(&self, outcome: &Outcome, table: &str) -> Vec<String> {
        match outcome.snapshot.0 {
            1 => Vec::new(),
            number => self.world.rows(number - 1, table).await.into_keys().collect(),
        }
    }

    /// Whether a gap names a record, or something that the record refers to.
    fn is_told(&self, gaps: &[&Gap], table: &str, key: &str) -> bool {
        let gid = key.rsplit('/').next().unwrap_or_default();
        let records = self.world.simulator.truth(table, None);
        let Some(record) = records.iter().find(|record| record["gid"] == gid) else { return true };
        let text = record.to_string();
        gaps.iter().any(|gap| text.contains(&format!("\"{}\"", gap.gid)))
    }

    /// The token is in no object and in no line of the log.
    async fn assert_no_secret(&self) {
        let has = |bytes: &[u8]| bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        let logs = self.logs.0.lock().expect("no holder panics").clone();
        assert!(!logs.is_empty() && !has(&logs), "the token is in the log");
        let listed = self.world.repository().await.store().list("").await.expect("a listing");
        for object in listed {
            let path = object_store::path::Path::parse(&object.key).expect("a path");
            let bytes = self.world.objects.get(&path).await.expect("there").bytes().await.expect("readable");
            let plain = zstd::stream::decode_all(&*bytes).unwrap_or_else(|_| bytes.to_vec());
            assert!(!has(&plain) && !object.key.contains(TOKEN), "the token is in {}", object.key);
        }
    }
}

/// Lives through a seed, and tells every call there was.
fn lived(seed: u64) -> Vec<String> {
    paused(async {
        let mut simulated = Simulated::new(seed);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(simulated.logs.clone())
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        simulated.live().await;
        [simulated.world.trace(), simulated.committed].concat()
    })
}

fn repeat(test: &str) -> impl Fn(&u64) -> String {
    move |seed| format!("ASANA_BACKUP_SEED={seed} cargo test --test it {test}")
}

/// The seeds to try: those named, or so many.
fn seeds(usual: u64) -> Vec<u64> {
    match set("ASANA_BACKUP_SEED", 0) {
        0 => (1..=usual).collect(),
        one => vec![one],
    }
}

#[test]
fn whatever_happens_no_snapshot_lies_and_nothing_is_missing_without_a_word() {
    let test = "whatever_happens_no_snapshot_lies_and_nothing_is_missing_without_a_word";
    let seeds = seeds(set("ASANA_BACKUP_SEEDS", SEEDS));
    try_all(&seeds, |seed| drop(lived(*seed)), repeat(test));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let same = |seed: &u64| {
        let (one, other) = (lived(*seed), lived(*seed));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} lives differently");
        let digest = |trace: &[String]| Hash::of(trace.join("\n").as_bytes());
        assert_eq!(digest(&one), digest(&other), "seed {seed}: one trace is longer");
    };
    try_all(&seeds(3), same, repeat("the_same_seed_gives_the_same_trace"));
}
