//! The verb `run`: one attempt to bring a repository up to date.
//!
//! Rule: parts first, then the tables' metadata, then the snapshot by conditional create: that is the commit; only
//! then what readers without a catalog follow. A run that ends anywhere before the commit leaves objects that
//! nothing names; one that ends after it leaves a hint that the next run repairs.

mod commit;
mod identity;
mod index;
mod removal;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::asana::Client;
use crate::clock::Clock;
use crate::config::Filters;
use crate::crawl::{Event, Scope, Walk};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Counts, Gap, Proof, RunId, SnapshotNumber};
use crate::repository::{Committed, Repository};
use crate::resources;
use crate::telemetry::Progress;

use index::Index;
use stage::Stage;

/// Pages of records that wait for staging: at most a hundred records each, a few MiB in all.
const QUEUED_PAGES: usize = 8;

/// What a run needs.
#[derive(Debug)]
pub struct Run {
    /// Asks Asana.
    pub client: Client,
    /// Tells the time.
    pub clock: Clock,
    /// Where the copy lives.
    pub repository: Repository,
    /// What to read.
    pub filters: Filters,
    /// Identifies this run.
    pub id: RunId,
    /// Questions that may be open at once.
    pub workers: usize,
    /// Records of all open parts together, in bytes of JSON.
    pub open_bytes: usize,
    /// Counts what is done.
    pub progress: Arc<Progress>,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The organization's gid.
    pub organization: String,
    /// The run.
    pub run: RunId,
    /// The snapshot it committed.
    pub snapshot: SnapshotNumber,
    /// Whether every table is proven complete.
    pub complete: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// What happened to each table.
    pub tables: BTreeMap<String, TableOutcome>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// Gaps that the snapshot before did not have.
    pub new_gaps: u64,
    /// References that lead to objects which are gone.
    pub dangling_references: u64,
    /// Requests sent, by operation.
    pub requests: BTreeMap<String, u64>,
    /// Parts that were added, and their bytes.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What happened to one table.
#[derive(Clone, Debug, Serialize)]
pub struct TableOutcome {
    /// Rows and what became of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// What proves it.
    pub proof: Proof,
}

/// Backs up one organization.
pub async fn run(run: Run) -> Result<Outcome> {
    let organization = run.repository.organization().to_owned();
    one_run(run).await.map_err(|error| error.doing(format!("back up {organization}")))
}

async fn one_run(run: Run) -> Result<Outcome> {
    let started_at = run.clock.now();
    let base = run.repository.latest().await?;
    if let Some(base) = &base {
        run.progress.doing("repair what the last run left");
        run.repository.publish(&base.snapshot).await?;
    }
    let identity = identity::of(&run.client).await?;
    run.progress.doing("compare with what is there");
    let folder = tempfile::tempdir()
        .map_err(|cause| Error::new(ErrorKind::Unavailable, format!("make a scratch folder: {cause}")))?;
    let mut stage = load(&run, base.as_ref(), Index::new(folder.path())?, started_at).await?;
    let scope = Scope::new(&run.filters.tables);
    let walk = Walk::new(
        run.client.clone(),
        run.clock.clone(),
        run.repository.organization(),
        scope.clone(),
        run.workers,
        Arc::clone(&run.progress),
    );
    run.progress.doing("walk");
    staged(&mut stage, |told| {
        let walk = walk.clone();
        async move { walk.everything(&told).await }
    })
    .await?;
    if resources::ALL.iter().any(|resource| resource.swept_with_tasks() && scope.reads(resource)) {
        run.progress.doing("sweep");
        staged(&mut stage, |told| {
            let (walk, clock) = (walk.clone(), run.clock.clone());
            async move { walk.sweep(&told, || clock.now()).await }
        })
        .await?;
    }
    run.progress.doing("ask for what is missing");
    removal::settle(&walk, &mut stage, &scope).await?;
    run.progress.doing("commit");
    let findings = walk.into_findings();
    commit::commit(&run, base.as_ref(), &mut stage, findings, identity, started_at).await
}

/// Loads every table's rows into the index.
async fn load(run: &Run, base: Option<&Committed>, index: Index, started_at: DateTime<Utc>) -> Result<Stage> {
    let mut stage = Stage::new(run.repository.clone(), run.id, started_at, index, run.open_bytes);
    for resource in resources::ALL {
        let state = base.and_then(|base| base.snapshot.tables.get(resource.table));
        let ids = run.repository.field_ids(resource, state).await?;
        let (parts, deletes) = match state {
            Some(state) => {
                let objects = run.repository.objects(state).await?;
                (objects.parts, objects.deletes)
            }
            None => (Vec::new(), Vec::new()),
        };
        stage
            .load(resource, ids, parts, &deletes)
            .await
            .map_err(|error| error.doing(format!("read the live rows of {}", resource.table)))?;
    }
    Ok(stage)
}

/// Runs a crawl and the staging of what it tells side by side. The first failure ends both and is the one reported;
/// whoever then finds its queue closed says so quietly.
async fn staged<F, T>(stage: &mut Stage, crawl: impl FnOnce(mpsc::Sender<Event>) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let (told, events) = mpsc::channel(QUEUED_PAGES);
    let (crawled, taken) = tokio::join!(crawl(told), stage.take(events));
    match (crawled, taken) {
        (_, Err(error)) => Err(error),
        (crawled, Ok(())) => crawled,
    }
}
