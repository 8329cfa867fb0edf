//! What the tests of this room share: a repository in memory, and snapshots to put into it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{FORMAT_VERSION, Hash, RunId, Snapshot, SnapshotNumber, TokenIdentity};
use crate::repository::Repository;
pub(super) use crate::repository::store::tests::{Flaw, flawed, memory, moved};

/// `seconds` after a fixed moment.
pub(super) fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time") + TimeDelta::seconds(seconds)
}

/// The run number `n`.
pub(super) fn run(n: u128) -> RunId {
    RunId(ulid::Ulid(n))
}

/// An empty repository of organization 12.
pub(super) async fn repository() -> Repository {
    Repository::open_or_create(memory(), "12", moment(0)).await.expect("a new repository")
}

/// A snapshot of no tables, committed `number` minutes after the fixed moment.
pub(super) fn snapshot(number: u64, previous: Option<Hash>, run: RunId) -> Snapshot {
    Snapshot {
        format: FORMAT_VERSION,
        number: SnapshotNumber(number),
        previous,
        run,
        organization: "12".to_owned(),
        program: "0.1.0".to_owned(),
        resources: 1,
        started_at: moment(0),
        committed_at: moment(60 * i64::try_from(number).expect("small")),
        complete: true,
        token: TokenIdentity { gid: "1".to_owned(), name: "Ada".to_owned(), probes: BTreeMap::new() },
        filters: BTreeMap::new(),
        tables: BTreeMap::new(),
        gap_count: 0,
        gaps: Hash::of(b""),
        requests: BTreeMap::new(),
    }
}
