//! The verb `run`: one attempt to bring a repository up to date.
//!
//! Rule: the cursors first, then the walk, then what changed meanwhile, until nothing does: every record equals a version
//! that was true at some moment of the run, and nothing alive throughout is absent. Parts first, then the tables'
//! metadata, then the snapshot by conditional create: that is the commit; only then what readers without a catalog
//! follow. A run that ends anywhere before the commit leaves a journal that the next one goes on with, and objects that
//! nothing names; one that ends after it leaves a hint that the next run repairs.

mod accept;
mod answers;
mod backfill;
mod changes;
mod commit;
mod flow;
mod gaps;
mod holding;
mod identity;
mod index;
mod journal;
mod lookup;
mod planning;
mod proof;
mod removal;
mod replay;
mod stage;
mod system;
mod tenure;
mod unavailable;
mod walk;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::asana::Client;
use crate::clock::Clock;
use crate::config::Filters;
use crate::crawl::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Counts, Gap, Proof, RunId, SnapshotNumber, TokenIdentity};
use crate::repository::Repository;
use crate::telemetry::Progress;

pub use accept::{Accept, accept};
pub use identity::identify;
pub use tenure::{PATIENCE, sign_of_life};
pub use walk::Walk;

/// What a run needs.
#[derive(Debug)]
pub struct Run {
    /// Asks Asana.
    pub client: Client,
    /// Who it asks for, as [`identify`] found out before the repository was opened.
    pub token: TokenIdentity,
    /// Tells the time.
    pub clock: Clock,
    /// Where the copy lives.
    pub repository: Repository,
    /// What to read.
    pub filters: Filters,
    /// Identifies this process, and the run unless it goes on with an unfinished one.
    pub id: RunId,
    /// Names whoever runs, for claims: the same name takes over its own claim at once, so whoever gives it has made sure
    /// that nobody else of that name is at work.
    pub holder: String,
    /// How much to walk, beside reading what changed.
    pub walk: Walk,
    /// Whether deletions that would be held back may happen.
    pub accept_deletions: bool,
    /// How long it may take until everything was walked again.
    pub reconcile: Duration,
    /// How often a first copy commits what it has so far.
    pub commit_every: std::time::Duration,
    /// Ends the run where it stands: what was read is kept for the next one.
    pub stop: CancellationToken,
    /// Is told the plan, once there is one.
    pub planned: Option<mpsc::UnboundedSender<Plan>>,
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
    /// Whether every table is proven complete, but for accepted gaps.
    pub complete: bool,
    /// What the run set out to do, in words.
    pub plan: String,
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
    /// Deletions that are held back until somebody accepts them.
    pub held_deletions: u64,
    /// References that lead to objects which are gone.
    pub dangling_references: u64,
    /// Requests sent, by operation.
    pub requests: BTreeMap<String, u64>,
    /// Parts that were added, and their bytes.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether readers without a catalog see the snapshot already; if not, the next run shows it to them.
    pub published: bool,
    /// Where that somebody knows of it all is noted.
    #[serde(skip)]
    repository: Repository,
}

impl Outcome {
    /// Notes that whoever waited for the run knows of its gaps: until then they are news. To be called when everything
    /// was told; that the note may fail harms nobody.
    pub async fn told(&self) {
        if !self.gaps.is_empty() {
            gaps::note_told(&self.repository, &self.run, self.snapshot).await;
        }
    }
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

/// Does `work` unless somebody asks to stop: then it ends where it is, and so must be what a kill may end too.
pub async fn unless_stopped<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopped()),
        done = work => done,
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "somebody asked to stop")
}

/// Backs up one organization.
pub async fn run(run: Run) -> Result<Outcome> {
    let organization = run.repository.organization().to_owned();
    // Boxed, since whoever runs has a course of his own around it, and the two are too deep for the compiler as one.
    Box::pin(flow::run(&run)).await.map_err(|error| error.doing(format!("back up {organization}")))
}
