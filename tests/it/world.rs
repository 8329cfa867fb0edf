//! A world to back up: a simulated organization, a store, a clock, and what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asana_backup::asana::{
    Answer, Client, ClientOptions, PaceOptions, Pacer, RetryOptions, Token, Transport, transport_in_process,
};
use asana_backup::backup::{self, Outcome, Walk};
use asana_backup::clock::Clock;
use asana_backup::config::Filters;
use asana_backup::daemon::Outside;
use asana_backup::encode;
use asana_backup::error::Result;
use asana_backup::model::{Hash, RunId, Snapshot, SnapshotNumber};
use asana_backup::repository::{Finding, Repository, Store};
use asana_backup::resources;
use asana_backup::telemetry::Progress;
use asana_backup::verify::{self, verify};
use asana_simulator::{Options, Simulator};
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use crate::line::Line;
use crate::power::{Point, Power};
use crate::seeds::Dice;
use crate::store::Weather;

/// One simulated organization and one store. Runs reach them through the weather and the line, and live on the power;
/// whoever looks at them reaches them as they are.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) objects: Arc<InMemory>,
    pub(crate) power: Power,
    pub(crate) weather: Weather,
    pub(crate) line: Line,
    pub(crate) clock: Clock,
    pub(crate) filters: Filters,
    pub(crate) open_bytes: usize,
    /// Whether runs walk everything, as most promises want.
    pub(crate) full: bool,
    /// How much they walk if not.
    pub(crate) walk: Walk,
    pub(crate) holder: String,
    pub(crate) accept_deletions: bool,
    pub(crate) commit_every: std::time::Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) token: Token,
    seed: u64,
    runs: AtomicU64,
}

/// No pace: the simulated Asana has no limits unless it is told to.
pub(crate) fn unlimited() -> PaceOptions {
    let most = std::num::NonZeroU32::MAX;
    PaceOptions { per_minute: most, searches_per_minute: most, ..PaceOptions::default() }
}

/// A row as the repository has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) hash: Hash,
    pub(crate) parent: Option<String>,
    pub(crate) seen_at: DateTime<Utc>,
    pub(crate) raw: String,
}

fn fixed(token: &str) -> Token {
    Token::fixed(&token.to_owned().into()).expect("a token")
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_objects(options, InMemory::new())
    }

    /// An organization, and a store that has objects in it already.
    pub(crate) fn with_objects(options: Options, objects: InMemory) -> Self {
        let clock = Clock::simulated(options.epoch);
        let (token, seed) = (fixed(&options.token), options.seed);
        Self::of(Simulator::new(options), objects, clock, token, seed)
    }

    fn of(simulator: Simulator, objects: InMemory, clock: Clock, token: Token, seed: u64) -> Self {
        Self::shared(simulator, Arc::new(objects), clock, token, seed)
    }

    fn shared(simulator: Simulator, objects: Arc<InMemory>, clock: Clock, token: Token, seed: u64) -> Self {
        let power = Power::default();
        Self {
            weather: Weather::over(objects.clone(), power.clone()),
            line: Line::new(simulator.clone(), seed, power.clone()),
            simulator,
            objects,
            power,
            clock,
            filters: Filters::default(),
            open_bytes: 256 << 10,
            full: true,
            walk: Walk::WhenDue,
            holder: "tests".to_owned(),
            accept_deletions: true,
            commit_every: std::time::Duration::from_secs(3_600),
            stop: CancellationToken::new(),
            token,
            seed,
            runs: AtomicU64::new(0),
        }
    }

    pub(crate) fn tiny() -> Self {
        Self::new(Options::default())
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = fixed(token);
        self
    }

    /// The world as a daemon reaches it, where the settings name it as the repository.
    pub(crate) fn outside(worlds: &[(&'static str, &Self)]) -> Outside {
        let clock = worlds[0].1.clock.clone();
        let known: BTreeMap<&'static str, _> = worlds
            .iter()
            .map(|(name, world)| {
                (*name, (world.line.clone(), world.weather.clone(), world.token.clone(), world.seed))
            })
            .collect();
        let clients = Arc::new(known);
        let known = Arc::clone(&clients);
        Outside::new(
            clock,
            move |_, organization, clock| {
                let (line, _, token, seed) = &clients[&*organization.repository];
                Client::new(ClientOptions {
                    base_url: "http://127.0.0.1/api/1.0".parse().expect("a valid address"),
                    token: token.clone(),
                    transport: line.transport(),
                    pacer: Pacer::new(unlimited()),
                    clock: clock.clone(),
                    retry: RetryOptions::default(),
                    seed: *seed,
                })
            },
            move |organization| {
                let weather = known[&*organization.repository].1.clone();
                Box::pin(async move { Store::from_object_store(Arc::new(weather), "", "memory:///") })
            },
        )
    }

    fn client(&self, pacer: Pacer, transport: Transport) -> Client {
        Client::new(ClientOptions {
            base_url: "http://127.0.0.1/api/1.0".parse().expect("a valid address"),
            token: self.token.clone(),
            transport,
            pacer,
            clock: self.clock.clone(),
            retry: RetryOptions::default(),
            seed: self.seed,
        })
        .expect("a client")
    }

    pub(crate) async fn repository(&self) -> Repository {
        let store = Store::from_object_store(self.objects.clone(), "", "memory:///").expect("a store");
        Repository::open_or_create(store, &self.simulator.organization(), self.clock.now())
            .await
            .expect("a repository")
    }

    pub(crate) async fn try_run(&self) -> Result<Outcome> {
        // The index's lag must not hide what was just created.
        tokio::time::sleep(std::time::Duration::from_secs(120)).await;
        self.try_run_now().await
    }

    /// The same organization and the same store, as another process sees them.
    pub(crate) fn same(&self) -> Self {
        let (clock, token) = (self.clock.clone(), self.token.clone());
        let objects = Arc::clone(&self.objects);
        let seed = self.seed + 1;
        let other = Self::shared(self.simulator.clone(), objects, clock, token, seed);
        Self { filters: self.filters.clone(), open_bytes: self.open_bytes, ..other }
    }

    /// The same organization, and an empty store.
    pub(crate) fn with_empty_store(&self) -> Self {
        let (clock, token) = (self.clock.clone(), self.token.clone());
        let other = Self::of(self.simulator.clone(), InMemory::new(), clock, token, self.seed);
        Self { filters: self.filters.clone(), open_bytes: self.open_bytes, ..other }
    }

    /// A run whose power is cut at a point; none where it was cut before the run was over. There is power again then.
    pub(crate) async fn cut_run(&self, at: Option<Point>, pacer: Pacer) -> Option<Result<Outcome>> {
        self.power.on_until(at);
        let outcome = self.power.lasts(self.try_run_untold(pacer)).await;
        self.power.on_until(None);
        if let Some(Ok(outcome)) = &outcome {
            outcome.told().await;
        }
        outcome
    }

    pub(crate) async fn try_run_now(&self) -> Result<Outcome> {
        self.try_run_at(Pacer::new(unlimited())).await
    }

    /// A run, of which somebody is told.
    pub(crate) async fn try_run_at(&self, pacer: Pacer) -> Result<Outcome> {
        let outcome = self.try_run_untold(pacer).await?;
        outcome.told().await;
        Ok(outcome)
    }

    /// The one place that starts a run.
    pub(crate) async fn try_run_untold(&self, pacer: Pacer) -> Result<Outcome> {
        let now = self.clock.now();
        let store = Store::from_object_store(Arc::new(self.weather.clone()), "", "memory:///")?;
        let mut dice = Dice::new(self.seed, &format!("run {}", self.runs.fetch_add(1, Ordering::Relaxed)));
        let milliseconds = now.timestamp_millis().unsigned_abs();
        let client = self.client(pacer, self.line.transport());
        backup::run(backup::Run {
            token: backup::unless_stopped(&self.stop, backup::identify(&client)).await?,
            client,
            clock: self.clock.clone(),
            repository: Repository::open_or_create(store, &self.simulator.organization(), now).await?,
            filters: self.filters.clone(),
            id: RunId(ulid::Ulid::from_parts(milliseconds, u128::from(dice.below(u64::MAX)))),
            holder: self.holder.clone(),
            walk: if self.full { Walk::Everything } else { self.walk.clone() },
            accept_deletions: self.accept_deletions,
            reconcile: chrono::Duration::days(7),
            commit_every: self.commit_every,
            stop: self.stop.clone(),
            planned: None,
            workers: 50,
            open_bytes: self.open_bytes,
            progress: Arc::new(Progress::default()),
        })
        .await
    }

    /// A run that walks everything, and so sets right whatever the runs before it did not hear of.
    pub(crate) async fn reconcile(&mut self) -> Outcome {
        let full = std::mem::replace(&mut self.full, true);
        let outcome = self.run().await;
        self.full = full;
        outcome
    }

    /// Asana loses a third of what event streams have to tell from now on.
    pub(crate) fn lose_events(&self) {
        self.simulator.lose_events(Some(0.3));
    }

    /// No token of an event stream is good any more.
    pub(crate) fn expire_sync_tokens(&self) {
        self.simulator.expire_sync_tokens();
    }

    /// No offset of a listing is good any more, as if it had been kept for too long.
    pub(crate) fn expire_offsets(&self) {
        self.simulator.expire_offsets();
    }

    pub(crate) async fn run(&self) -> Outcome {
        self.try_run().await.expect("the run succeeds")
    }

    pub(crate) async fn snapshot(&self, number: u64) -> Snapshot {
        self.repository().await.snapshot(SnapshotNumber(number)).await.expect("a snapshot").snapshot
    }

    /// The rows of a table as of a snapshot, read as any reader would: parts, without the deleted positions.
    pub(crate) async fn rows(&self, number: u64, table: &str) -> BTreeMap<String, Row> {
        let repository = self.repository().await;
        let snapshot = self.snapshot(number).await;
        let objects = repository.objects(&snapshot.tables[table]).await.expect("the list of objects");
        let mut deleted = std::collections::HashSet::new();
        for part in &objects.deletes {
            let bytes = repository.read_part(part).await.expect("a part");
            deleted.extend(encode::deletes(bytes).expect("deletes").map(|delete| delete.expect("a delete")));
        }
        let mut rows = BTreeMap::new();
        for part in &objects.parts {
            let bytes = repository.read_part(part).await.expect("a part");
            let url = repository.url_of(&part.key);
            for row in encode::rows(bytes).expect("rows") {
                let row = row.expect("a row");
                let position = i64::try_from(row.head.position).expect("small");
                if deleted.contains(&(url.clone(), position)) {
                    continue;
                }
                let parent = row.head.parent.map(String::from);
                let found =
                    Row { hash: row.head.hash, parent, seen_at: row.head.seen_at, raw: row.raw.into() };
                let twin = rows.insert(row.head.key.to_string(), found);
                assert!(twin.is_none(), "{table}: {} is there twice", row.head.key);
            }
        }
        rows
    }

    /// What is true now, by key: the digest of each record of a table.
    pub(crate) fn truth(&self, table: &str) -> BTreeMap<String, Hash> {
        self.truth_at(table, None)
    }

    /// What was true at a moment.
    pub(crate) fn truth_at(&self, table: &str, at: Option<DateTime<Utc>>) -> BTreeMap<String, Hash> {
        let resource = resources::by_table(table).expect("a table");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        self.simulator
            .truth(table, at)
            .into_iter()
            .map(|record| {
                let (key, parent) = match resource.key {
                    resources::Key::Gid => (text(&record["gid"]), None),
                    resources::Key::ParentAndGid => {
                        let parent = text(&record["portfolio"]);
                        (format!("{parent}/{}", text(&record["item"])), Some(parent))
                    }
                };
                let hash = encode::hash(resource, &record, parent.as_deref());
                (key, hash)
            })
            .collect()
    }

    /// All that a reader without our snapshots goes by: the snapshots, the published metadata and the hints.
    pub(crate) async fn published(&self) -> Vec<(String, Vec<u8>)> {
        let store = self.repository().await.store().clone();
        let mut found = Vec::new();
        for object in store.list("").await.expect("a listing") {
            let name = object.key.rsplit('/').next().unwrap_or_default();
            let staged = name.contains('-') && !name.starts_with("version-hint");
            if object.key.starts_with("snapshots/0") || (object.key.contains("/metadata/") && !staged) {
                let bytes = store.read(&object.key).await.expect("readable");
                found.push((object.key, bytes.to_vec()));
            }
        }
        assert!(!found.is_empty());
        found
    }

    /// Whether nothing was ever stored.
    pub(crate) async fn is_untouched(&self) -> bool {
        let listed = self.objects.list_with_delimiter(None).await.expect("a listing");
        listed.objects.is_empty() && listed.common_prefixes.is_empty()
    }

    /// The numbers of all snapshots. Whoever looks for them changes nothing.
    pub(crate) async fn numbers(&self) -> Vec<u64> {
        if self.is_untouched().await {
            return Vec::new();
        }
        let numbers = self.repository().await.snapshots().await.expect("a chain without holes");
        numbers.into_iter().map(|number| number.0).collect()
    }

    /// Every snapshot there is, is whole, and every row what its JSON says.
    pub(crate) async fn assert_verifies(&self) {
        let findings = self.findings(None, true).await;
        assert!(findings.is_empty(), "{findings:?}");
    }

    /// A snapshot is whole. Its run may have ended before it was shown to readers without a catalog; the next one does it.
    pub(crate) async fn assert_whole(&self, number: u64) {
        let mut findings = self.findings(Some(number), false).await;
        findings.retain(|finding| !finding.heals);
        assert!(findings.is_empty(), "{findings:?}");
    }

    async fn findings(&self, number: Option<u64>, deep: bool) -> Vec<Finding> {
        let scope = verify::Scope { snapshot: number.map(SnapshotNumber), deep };
        verify(&self.repository().await, scope).await.expect("readable").findings
    }

    /// What happened to the store and on the line, call by call: the same seed gives the same lines.
    pub(crate) fn trace(&self) -> Vec<String> {
        [self.weather.trace(), self.line.trace()].concat()
    }

    /// Whatever readers without our snapshots find, some snapshot names, to the byte; and a hint points at what is there.
    pub(crate) async fn assert_readers_see_only_commits(&self) {
        let repository = self.repository().await;
        let mut committed = BTreeSet::new();
        for number in self.numbers().await {
            for state in self.snapshot(number).await.tables.values() {
                committed.insert(repository.metadata(state).await.expect("what a snapshot names is there"));
            }
        }
        let listed = repository.store().list("tables").await.expect("a listing");
        for key in listed.into_iter().map(|object| object.key) {
            let Some((folder, name)) =
                key.rsplit_once('/').filter(|(folder, _)| folder.ends_with("/metadata"))
            else {
                continue;
            };
            let bytes = repository.store().read(&key).await.expect("readable");
            if name == "version-hint.text" {
                let version = std::str::from_utf8(&bytes).expect("a number").trim().to_owned();
                let hinted = format!("{folder}/v{version}.metadata.json");
                repository.store().read(&hinted).await.expect("a hint points at what is there");
            } else if name.starts_with('v') {
                assert!(committed.contains(&bytes), "{key} was published and never committed");
            }
        }
    }

    /// Whether Asana has an object, and shows it to this token.
    pub(crate) async fn answers(&self, operation: &'static str, path: &str) -> bool {
        let client = self.client(Pacer::new(unlimited()), transport_in_process(self.simulator.router()));
        let answer = client.get(operation, path, &[]).await;
        matches!(answer, Ok(Answer::Found(_)))
    }

    /// Holds every table of a snapshot to what is true now.
    pub(crate) async fn assert_equals_truth(&self, number: u64) {
        for resource in resources::ALL {
            self.assert_table_equals_truth(number, resource.table).await;
        }
    }

    pub(crate) async fn assert_table_equals_truth(&self, number: u64, table: &str) {
        let rows = self.rows(number, table).await;
        let truth = self.truth(table);
        let missing: Vec<_> = truth.keys().filter(|key| !rows.contains_key(*key)).take(5).collect();
        assert!(missing.is_empty(), "{table}: the repository lacks {missing:?}");
        for key in rows.keys().filter(|key| !truth.contains_key(*key)) {
            // Somebody who left the organization may still be referred to, and still answers.
            let left = table == "users" && self.answers("getUser", &format!("/users/{key}")).await;
            assert!(left, "{table}: the repository has {key}, which is not there");
        }
        for (key, hash) in &truth {
            assert_eq!(rows[key].hash, *hash, "{table} {key}: {}", rows[key].raw);
        }
    }
}
