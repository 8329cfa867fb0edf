//! Parts: immutable Parquet files, on their way to the store and as a snapshot names them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::Hash;

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Records, sorted by key.
    Records,
    /// Position deletes, sorted by file and position.
    Deletes,
}

/// The ids that a table's Iceberg metadata gave its columns, by dotted path (`assignee.gid`; the elements of a list
/// are `element`, as in `followers.element.gid`).
pub type FieldIds = BTreeMap<String, i32>;

/// A value at the edge of a column, never truncated.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// Text: keys and enums only.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

/// What Iceberg is told of one column of a part.
#[derive(Clone, Debug, Default)]
pub struct ColumnStatistics {
    /// Bytes in the file.
    pub compressed_bytes: u64,
    /// Values, nulls included.
    pub values: u64,
    /// Nulls; `None` where it is not known.
    pub nulls: Option<u64>,
    /// The least and the greatest value; `None` for free text, lists, and columns of nulls.
    pub bounds: Option<(Bound, Bound)>,
}

/// A Parquet file in memory.
#[derive(Clone, Debug)]
pub struct EncodedPart {
    /// What it holds.
    pub content: Content,
    /// The file.
    pub bytes: Bytes,
    /// The digest of the file.
    pub sha256: Hash,
    /// Rows in it.
    pub rows: u64,
    /// By Iceberg field id.
    pub statistics: BTreeMap<i32, ColumnStatistics>,
    /// Values that did not fit their column, by column: kept in `_raw` only.
    pub misfits: BTreeMap<String, u64>,
    /// Where the row groups begin in the file, in bytes.
    pub split_offsets: Vec<i64>,
}

/// A part in the store, as a snapshot names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its key, relative to the repository.
    pub key: String,
    /// What it holds.
    pub content: Content,
    /// Its length.
    pub bytes: u64,
    /// The digest of the file.
    pub sha256: Hash,
    /// Rows in it.
    pub rows: u64,
}
