//! The scratch index: for every row of every table, its digest and where it is.
//!
//! Built from the live parts when a run begins, kept on the local disk with a bounded cache, thrown away with the
//! run; a crash leaves a temporary file that the system cleans up. In memory it costs 4 bytes a row.

use std::path::Path;

use chrono::{DateTime, Utc};
use redb::{Database, Durability, ReadableTable, TableDefinition, WriteTransaction};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const CACHE_BYTES: usize = 16 << 20;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In a part, be it of the base snapshot or one that this run has sealed.
    Part(Position),
    /// In a part that is still open.
    Open,
}

/// The place of a part among its table's, and of the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) part: u32,
    pub(super) row: u32,
}

/// What the index knows of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Numbers rows in the order they were first met.
    pub(super) ordinal: u32,
    pub(super) hash: Hash,
    pub(super) at: At,
    /// Whether it stands for a row of the base snapshot that is elsewhere.
    pub(super) supersedes: bool,
    /// `modified_at` in microseconds; the least number where there is none.
    pub(super) modified: i64,
    pub(super) parent: Option<Box<str>>,
}

/// The order of two readings of one record: by `modified_at`, then by when the request began.
pub(super) fn modified(at: Option<DateTime<Utc>>) -> i64 {
    at.map_or(i64::MIN, |at| at.timestamp_micros())
}

/// The index of one run.
pub(super) struct Index {
    transaction: WriteTransaction,
    /// Kept, since the transaction works on it.
    _database: Database,
    rows: u32,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Index {
    /// An empty index in `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(folder.join("index.redb"))
            .map_err(|cause| failed(&cause))?;
        let mut transaction = database.begin_write().map_err(|cause| failed(&cause))?;
        // Thrown away with the run: nothing of it needs to survive a crash.
        transaction.set_durability(Durability::None).map_err(|cause| failed(&cause))?;
        Ok(Self { transaction, _database: database, rows: 0 })
    }

    /// The next ordinal.
    pub(super) fn next_ordinal(&mut self) -> Result<u32> {
        let ordinal = self.rows;
        self.rows =
            ordinal.checked_add(1).ok_or_else(|| Error::new(ErrorKind::Bug, "more than 4 billion rows"))?;
        Ok(ordinal)
    }

    /// What is known of the row `key` of the table at `place`.
    pub(super) fn get(&self, place: usize, key: &str) -> Result<Option<Row>> {
        let table = self.transaction.open_table(ROWS).map_err(|cause| failed(&cause))?;
        let found = table.get(&*name(place, key)).map_err(|cause| failed(&cause))?;
        found.map(|value| Row::decode(value.value())).transpose()
    }

    /// Writes rows of the table at `place`.
    pub(super) fn put<'a>(&self, place: usize, rows: impl Iterator<Item = (&'a str, Row)>) -> Result<()> {
        let mut table = self.transaction.open_table(ROWS).map_err(|cause| failed(&cause))?;
        for (key, row) in rows {
            table.insert(&*name(place, key), &*row.encode()).map_err(|cause| failed(&cause))?;
        }
        Ok(())
    }

    /// Says where rows, in the order of a part just sealed, are from now on.
    pub(super) fn sealed<'a>(
        &self,
        place: usize,
        part: u32,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let mut table = self.transaction.open_table(ROWS).map_err(|cause| failed(&cause))?;
        for (row, key) in (0..).zip(keys) {
            let name = name(place, key);
            let known = table.get(&*name).map_err(|cause| failed(&cause))?;
            let mut known = known.map(|value| Row::decode(value.value())).transpose()?.ok_or_else(|| {
                Error::new(ErrorKind::Bug, format!("row {key} was sealed and never staged"))
            })?;
            known.at = At::Part(Position { part, row });
            table.insert(&*name, &*known.encode()).map_err(|cause| failed(&cause))?;
        }
        Ok(())
    }

    /// Takes a row out.
    pub(super) fn remove(&self, place: usize, key: &str) -> Result<()> {
        let mut table = self.transaction.open_table(ROWS).map_err(|cause| failed(&cause))?;
        table.remove(&*name(place, key)).map_err(|cause| failed(&cause))?;
        Ok(())
    }

    /// The rows of a table that `wanted` asks for, with their keys.
    pub(super) fn select(&self, place: usize, wanted: impl Fn(&Row) -> bool) -> Result<Vec<(Box<str>, Row)>> {
        let table = self.transaction.open_table(ROWS).map_err(|cause| failed(&cause))?;
        let from = name(place, "");
        let until = name(place + 1, "");
        let mut selected = Vec::new();
        for entry in table.range(&*from..&*until).map_err(|cause| failed(&cause))? {
            let (key, value) = entry.map_err(|cause| failed(&cause))?;
            let row = Row::decode(value.value())?;
            if wanted(&row) {
                let key = std::str::from_utf8(&key.value()[1..]).map_err(|_| damaged())?;
                selected.push((key.into(), row));
            }
        }
        Ok(selected)
    }
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let (tag, position) = match self.at {
            At::Part(position) => (0, position),
            At::Open => (1, Position { part: 0, row: 0 }),
        };
        let mut bytes = Vec::with_capacity(72);
        bytes.push(tag | u8::from(self.supersedes) << 1);
        bytes.extend(position.part.to_le_bytes());
        bytes.extend(position.row.to_le_bytes());
        bytes.extend(self.ordinal.to_le_bytes());
        bytes.extend(self.modified.to_le_bytes());
        bytes.extend(self.hash.bytes());
        if let Some(parent) = &self.parent {
            bytes.push(1);
            bytes.extend(parent.as_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let decode = || {
            let (tag, bytes) = bytes.split_first()?;
            let (part, bytes) = bytes.split_first_chunk()?;
            let (row, bytes) = bytes.split_first_chunk()?;
            let (ordinal, bytes) = bytes.split_first_chunk()?;
            let (modified, bytes) = bytes.split_first_chunk()?;
            let (hash, bytes) = bytes.split_first_chunk::<32>()?;
            let parent = match bytes.split_first() {
                Some((_, parent)) => Some(std::str::from_utf8(parent).ok()?.into()),
                None => None,
            };
            let position = Position { part: u32::from_le_bytes(*part), row: u32::from_le_bytes(*row) };
            let at = if tag & 1 == 0 { At::Part(position) } else { At::Open };
            Some(Self {
                ordinal: u32::from_le_bytes(*ordinal),
                hash: Hash::from(*hash),
                at,
                supersedes: tag & 2 != 0,
                modified: i64::from_le_bytes(*modified),
                parent,
            })
        };
        decode().ok_or_else(damaged)
    }
}

/// Rows lie by table, then by key: the order in which parts are read, and near the order in which Asana lists.
fn name(place: usize, key: &str) -> Vec<u8> {
    let place = u8::try_from(place).expect("there are far fewer tables");
    [&[place], key.as_bytes()].concat()
}

fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the scratch index on the local disk failed: {cause}"))
        .remedy("free space in the temporary folder, or set TMPDIR to another")
}

fn damaged() -> Error {
    Error::new(ErrorKind::Bug, "the scratch index holds what was never written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let sealed = At::Part(Position { part: 3, row: 9 });
        for (parent, at, supersedes) in
            [(None, sealed, false), (Some("17".into()), At::Open, true), (Some("".into()), sealed, true)]
        {
            let hash = Hash::of(b"x");
            let row = Row { ordinal: 7, hash, at, supersedes, modified: modified(None), parent };
            assert_eq!(Row::decode(&row.encode()).expect("valid"), row);
        }
        assert!(Row::decode(b"short").is_err());
    }
}
