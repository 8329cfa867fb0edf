//! The place where the backup of one organization lives.
//!
//! In reading order: [`keys`] names every object; [`store`] is the door to the bucket or folder, and [`probe()`] tries it; [`Repository`] says
//! whose it is (`identity`), who may write to it (`claim`) and what an unfinished run keeps there (`runs`), reads and commits snapshots (`snapshot`), stages what a commit names (`table`, and
//! `iceberg`, with `avro`, for the table format) and publishes what was committed (`publish`); [`check_snapshot`] compares it all
//! with what is really there.
//!
//! Rule: what a snapshot does not name does not exist. Parts come first, then manifests and metadata, then the snapshot
//! file, which is the commit, and only then what readers without a catalog look for.
//! A crash before the commit leaves objects that nothing names; a crash after it leaves a version hint behind its time,
//! which the next [`Repository::publish`] sets right.

mod avro;
mod check;
mod claim;
mod iceberg;
mod identity;
pub mod keys;
mod probe;
mod publish;
mod runs;
mod snapshot;
pub mod store;
mod table;

pub use check::{Checked, Finding, check_snapshot};
pub use claim::Claim;
pub use identity::Repository;
pub use probe::{Found, Trial, probe};
pub use snapshot::{Committed, commit_time};
pub use store::{Listed, Store};
pub use table::{Named, StageTable, StagedPart, TableObjects};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod races;
#[cfg(test)]
mod stub;
