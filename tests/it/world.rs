//! A world to back up: a simulated organization, a store, a clock, and what is true.

use std::collections::BTreeMap;
use std::sync::Arc;

use asana_backup::asana::{
    Client, ClientOptions, PaceOptions, Pacer, RetryOptions, Token, transport_in_process,
};
use asana_backup::backup::{self, Outcome};
use asana_backup::clock::Clock;
use asana_backup::config::Filters;
use asana_backup::encode;
use asana_backup::error::Result;
use asana_backup::model::{Hash, RunId, Snapshot, SnapshotNumber};
use asana_backup::repository::{Repository, Store};
use asana_backup::resources;
use asana_backup::telemetry::Progress;
use asana_simulator::{Options, Simulator};
use object_store::memory::InMemory;

/// One simulated organization and one empty store.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) objects: Arc<InMemory>,
    pub(crate) clock: Clock,
    pub(crate) filters: Filters,
    pub(crate) open_bytes: usize,
    token: String,
}

/// No pace: the simulated Asana has no limits unless it is told to.
pub(crate) fn unlimited() -> PaceOptions {
    PaceOptions { per_minute: std::num::NonZeroU32::MAX, ..PaceOptions::default() }
}

/// A row as the repository has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) hash: Hash,
    pub(crate) raw: String,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let clock = Clock::simulated(options.epoch);
        let token = options.token.clone();
        let simulator = Simulator::new(options);
        Self {
            simulator,
            objects: Arc::new(InMemory::new()),
            clock,
            filters: Filters::default(),
            open_bytes: 256 << 10,
            token,
        }
    }

    pub(crate) fn tiny() -> Self {
        Self::new(Options::default())
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    pub(crate) fn client(&self, pacer: Pacer) -> Client {
        Client::new(ClientOptions {
            base_url: "http://127.0.0.1/api/1.0".parse().expect("a valid address"),
            token: Token::fixed(&self.token.clone().into()).expect("a token"),
            transport: transport_in_process(self.simulator.router()),
            pacer,
            clock: self.clock.clone(),
            retry: RetryOptions::default(),
            seed: 7,
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

    pub(crate) async fn try_run_now(&self) -> Result<Outcome> {
        let seed = self.clock.now().timestamp_micros().unsigned_abs();
        backup::run(backup::Run {
            client: self.client(Pacer::new(unlimited())),
            clock: self.clock.clone(),
            repository: self.repository().await,
            filters: self.filters.clone(),
            id: RunId(ulid::Ulid::from_parts(seed / 1000, u128::from(seed))),
            workers: 8,
            open_bytes: self.open_bytes,
            progress: Arc::new(Progress::default()),
        })
        .await
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
                let found = Row { hash: row.head.hash, raw: row.raw.into() };
                let twin = rows.insert(row.head.key.to_string(), found);
                assert!(twin.is_none(), "{table}: {} is there twice", row.head.key);
            }
        }
        rows
    }

    /// What is true now, by table and key: the digest of each record.
    pub(crate) fn truth(&self, table: &str) -> BTreeMap<String, Hash> {
        let resource = resources::by_table(table).expect("a table");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        self.simulator
            .truth(table, None)
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
        let surplus: Vec<_> = rows.keys().filter(|key| !truth.contains_key(*key)).take(5).collect();
        assert!(surplus.is_empty(), "{table}: the repository has {surplus:?}, which are not there");
        for (key, hash) in &truth {
            assert_eq!(rows[key].hash, *hash, "{table} {key}: {}", rows[key].raw);
        }
    }
}
