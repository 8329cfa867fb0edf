//! A snapshot: the committed state of all tables, and the only truth.
//!
//! Rule: a snapshot file is created once and never changed. What it does not name does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Hash, Lane, RunId};

/// The version of the repository's format that this program writes.
pub const FORMAT_VERSION: u32 = 1;

/// Numbers snapshots: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotNumber(pub u64);

impl fmt::Display for SnapshotNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who the token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIdentity {
    /// The gid of `/users/me`.
    pub gid: String,
    /// The name of `/users/me`.
    pub name: String,
    /// What each lane's probe answered: `search` to `allowed` or `refused: 402 ...`.
    pub probes: BTreeMap<String, String>,
}

/// What happened to the rows of a table in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Rows in the table as of this snapshot.
    pub rows: u64,
    /// Different records read.
    pub seen: u64,
    /// Records the table did not have.
    pub new: u64,
    /// Records that differ from their row.
    pub changed: u64,
    /// Records equal to their row.
    pub unchanged: u64,
    /// Rows taken out, because they were proven gone.
    pub gone: u64,
    /// Values that did not fit their column, and are in `_raw` only.
    pub misfits: u64,
}

/// What proves a table current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Whether everything the token may read, and that existed at `as_of`, is in the table.
    pub complete: bool,
    /// Whether the organization's plan has such records at all.
    pub available: bool,
    /// The moment the proof speaks for.
    pub as_of: DateTime<Utc>,
    /// The operations whose complete listings prove it.
    pub by: Vec<String>,
    /// In words, what could not be proven, and why.
    pub lacks: Vec<String>,
}

/// One table as of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// The key of its Iceberg metadata, relative to the repository.
    pub metadata: String,
    /// The digest of that metadata file.
    pub metadata_sha256: Hash,
    /// Its current Iceberg snapshot: the number of the snapshot that last touched it.
    pub iceberg_snapshot: u64,
    /// The `k` of the `v<k>.metadata.json` that publishes this metadata to readers without a catalog.
    pub published_as: u64,
    /// The digest of the list of its live parts and delete files, and of its manifests.
    pub objects: Hash,
    /// How it was read.
    pub lane: Lane,
    /// What proves it current.
    pub proof: Proof,
    /// What this run did to it.
    pub counts: Counts,
}

/// The committed state of all tables: the content of `snapshots/<n>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The version of this format.
    pub format: u32,
    /// Its number.
    pub number: SnapshotNumber,
    /// The digest of the previous snapshot's file; none for the first.
    pub previous: Option<Hash>,
    /// The run that wrote it.
    pub run: RunId,
    /// The process that wrote it: the run's own id, or another where a later process went on with the run.
    pub writer: RunId,
    /// The organization's gid.
    pub organization: String,
    /// The version of the program that wrote it.
    pub program: String,
    /// The version of the resources: which columns and fields there were.
    pub resources: u32,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// When it was committed; later than the previous snapshot's.
    pub committed_at: DateTime<Utc>,
    /// Whether every table is proven complete.
    pub complete: bool,
    /// Where the run goes on after this snapshot: how many segments of its journal are in it.
    pub continues: Option<u64>,
    /// What the run set out to do, in words.
    pub plan: String,
    /// The moment from which the next run asks for changes.
    pub changed_until: DateTime<Utc>,
    /// The digest of the list of cursors: where each event stream goes on.
    pub cursors: Hash,
    /// The digest of the list of what was walked when.
    pub coverage: Hash,
    /// Why a table is not proven complete, other than gaps.
    pub lacks: BTreeMap<String, BTreeSet<String>>,
    /// How many deletions are held back until somebody accepts them.
    pub held_count: u64,
    /// The digest of the list of them: table and key.
    pub held: Hash,
    /// Who read.
    pub token: TokenIdentity,
    /// The config's filters, as they were.
    pub filters: BTreeMap<String, Vec<String>>,
    /// By table name.
    pub tables: BTreeMap<String, TableState>,
    /// How many gaps there are.
    pub gap_count: u64,
    /// The digest of the list of gaps.
    pub gaps: Hash,
    /// Requests sent, by operation.
    pub requests: BTreeMap<String, u64>,
}
