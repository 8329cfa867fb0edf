//! The nouns that travel between rooms. Pure: no clock, no disk, no network.

mod column;
mod gap;
mod hash;
mod part;
mod record;
mod snapshot;
mod system;

pub use column::{ColumnKind, TableColumn, field_ids, table_columns};
pub use gap::{Acceptance, Gap};
pub use hash::Hash;
pub use part::{Bound, ColumnStatistics, Content, EncodedPart, FieldIds, Part};
pub use record::{Lane, Reading, Record, RunId};
pub use snapshot::{Counts, FORMAT_VERSION, Proof, Snapshot, SnapshotNumber, TableState, TokenIdentity};
pub use system::{Cell, SystemRow, SystemTable, system_tables};
