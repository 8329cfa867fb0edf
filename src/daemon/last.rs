//! What a repository says of the runs before.
//!
//! Rule: when a job last began is read here and nowhere else, so a daemon that starts on another machine knows it too.

use chrono::{DateTime, Utc};

use crate::crawl::{self, Coverage};
use crate::error::Result;
use crate::model::{Gap, Snapshot};
use crate::repository::Repository;

/// The runs before, as far as the newest snapshot tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Last {
    /// The moment up to which the copy speaks for what changed: when the run that read it began.
    pub backup: Option<DateTime<Utc>>,
    /// When the last run began that walked a share of everything.
    pub reconcile: Option<DateTime<Utc>>,
    /// Whether the run goes on: it committed what it had, and then ended.
    pub unfinished: bool,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// Its gaps.
    pub gaps: Vec<Gap>,
}

impl Last {
    /// Reads it.
    pub async fn of(repository: &Repository) -> Result<Self> {
        let Some(latest) = repository.latest().await? else { return Ok(Self::default()) };
        let coverage: Vec<Coverage> = repository.list(latest.snapshot.coverage).await?;
        Ok(Self {
            backup: Some(latest.snapshot.changed_until),
            reconcile: crawl::newest(&coverage),
            unfinished: latest.snapshot.continues.is_some(),
            gaps: repository.list(latest.snapshot.gaps).await?,
            snapshot: Some(latest.snapshot),
        })
    }
}
