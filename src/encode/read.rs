//! From a part back to rows, a batch at a time, reading only the columns that are asked for.
//!
//! Rule: bytes that are no part of ours are Corrupt, whatever is in them, and never a panic.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::encode::part::{FILE_PATH, POS};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

/// Rows read at once; bounds the memory of a reader.
pub(super) const BATCH_ROWS: usize = 512;

/// The column that orders two readings of one record, in the tables that have it.
const MODIFIED_AT: &str = "modified_at";

/// The columns of [`KeyRow`].
pub(super) const KEY_COLUMNS: &[&str] = &["_key", "_parent", "_hash", "_seen_at", MODIFIED_AT];

/// The columns of [`Row`].
pub(super) const FULL_COLUMNS: &[&str] =
    &["_key", "_parent", "_raw", "_hash", "_seen_at", "_run", "_lane", "_fields", MODIFIED_AT];

/// What identifies a row and tells whether it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub key: Box<str>,
    /// What it hangs below.
    pub parent: Option<Box<str>>,
    /// The digest of the record.
    pub hash: Hash,
    /// When it was read.
    pub seen_at: DateTime<Utc>,
    /// `modified_at`, where the table has such a column and the record a value.
    pub modified_at: Option<DateTime<Utc>>,
    /// Its place in the part, counted from 0.
    pub position: u64,
}

/// A row with its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What identifies it.
    pub head: KeyRow,
    /// The JSON, byte for byte as received.
    pub raw: Box<str>,
    /// The run that read it.
    pub run: Box<str>,
    /// The way it was read.
    pub lane: Box<str>,
    /// The set of fields that was asked for.
    pub fields: Box<str>,
}

/// The keys of a part, in their order.
pub type Keys = Stream<KeyRow>;
/// The rows of a part, in their order.
pub type Rows = Stream<Row>;
/// The (file, position) pairs of a position-delete file, in their order.
pub type Deletes = Stream<(String, i64)>;

/// Reads the keys of the part in `bytes`, and nothing else of it.
///
/// # Errors
/// Corrupt, if this is no part.
pub fn keys(bytes: Bytes) -> Result<Keys> {
    Stream::open(bytes, KEY_COLUMNS, key_rows)
}

/// Reads the rows of the part in `bytes`, with their JSON and without the typed columns.
///
/// # Errors
/// Corrupt, if this is no part.
pub fn rows(bytes: Bytes) -> Result<Rows> {
    Stream::open(bytes, FULL_COLUMNS, full_rows)
}

/// Decodes every column of every row in `bytes`, whatever the table, and returns the number of rows.
///
/// # Errors
/// Corrupt, if this is no Parquet file, or one of its pages is damaged.
pub fn count_rows(bytes: Bytes) -> Result<u64> {
    let mut batches = guarded(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
        builder.with_batch_size(BATCH_ROWS).build().map_err(corrupt)
    })?;
    let mut rows = 0;
    while let Some(batch) = guarded(|| batches.next().transpose().map_err(corrupt))? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

/// Reads the position-delete file in `bytes`.
///
/// # Errors
/// Corrupt, if this is none.
pub fn deletes(bytes: Bytes) -> Result<Deletes> {
    Stream::open(bytes, &[FILE_PATH.0, POS.0], delete_rows)
}

/// Rows of a part, read a batch at a time; ends after the first error.
pub struct Stream<T> {
    /// None after the end, and after an error.
    batches: Option<ParquetRecordBatchReader>,
    decode: fn(&RecordBatch, u64) -> Result<Vec<T>>,
    ready: vec::IntoIter<T>,
    position: u64,
}

impl<T> Stream<T> {
    fn open(bytes: Bytes, names: &[&str], decode: fn(&RecordBatch, u64) -> Result<Vec<T>>) -> Result<Self> {
        let batches = guarded(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
            let mask = ProjectionMask::roots(
                builder.parquet_schema(),
                builder
                    .schema()
                    .fields()
                    .iter()
                    .enumerate()
                    .filter_map(|(at, field)| names.contains(&field.name().as_str()).then_some(at)),
            );
            builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(corrupt)
        })?;
        Ok(Self { batches: Some(batches), decode, ready: Vec::new().into_iter(), position: 0 })
    }

    fn next_batch(&mut self) -> Option<Result<Vec<T>>> {
        let batches = self.batches.as_mut()?;
        let read = guarded(|| batches.next().transpose().map_err(corrupt)).transpose()?;
        Some(read.and_then(|batch| {
            let rows = (self.decode)(&batch, self.position)?;
            self.position += rows.len() as u64;
            Ok(rows)
        }))
    }
}

impl<T> Iterator for Stream<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            match self.next_batch() {
                Some(Ok(rows)) => self.ready = rows.into_iter(),
                Some(Err(e)) => {
                    self.batches = None;
                    return Some(Err(e));
                }
                None => {
                    self.batches = None;
                    return None;
                }
            }
        }
    }
}

/// Runs `read` on foreign bytes. The Parquet reader refuses most of what is wrong and panics at the rest; to us
/// both mean that the bytes are not what was written.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(corrupt("the Parquet reader gave up on what is in it")))
}

pub(super) fn corrupt(cause: impl Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("not a readable part: {cause}"))
}

pub(super) fn key_rows(batch: &RecordBatch, first: u64) -> Result<Vec<KeyRow>> {
    let (keys, hashes) = (required(batch, "_key")?, required(batch, "_hash")?);
    let parents = texts(batch, "_parent")?;
    let seen_at = column(batch, "_seen_at")?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .filter(|moments| moments.null_count() == 0)
        .ok_or_else(|| corrupt("`_seen_at` holds no moments"))?;
    let modified_at = match batch.column_by_name(MODIFIED_AT) {
        Some(column) => Some(
            column
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| corrupt("`modified_at` holds no moments"))?,
        ),
        None => None,
    };
    (0..batch.num_rows())
        .map(|row| {
            let modified_at = modified_at.filter(|column| column.is_valid(row));
            Ok(KeyRow {
                key: keys.value(row).into(),
                parent: parents.is_valid(row).then(|| parents.value(row).into()),
                hash: hashes.value(row).parse().map_err(corrupt)?,
                seen_at: DateTime::from_timestamp_micros(seen_at.value(row))
                    .ok_or_else(|| corrupt("`_seen_at` is beyond all calendars"))?,
                modified_at: modified_at
                    .and_then(|column| DateTime::from_timestamp_micros(column.value(row))),
                position: first + row as u64,
            })
        })
        .collect()
}

pub(super) fn full_rows(batch: &RecordBatch, first: u64) -> Result<Vec<Row>> {
    let [raw, run, lane, fields] = ["_raw", "_run", "_lane", "_fields"].map(|name| required(batch, name));
    let (raw, run, lane, fields) = (raw?, run?, lane?, fields?);
    let row = |(at, head)| Row {
        head,
        raw: raw.value(at).into(),
        run: run.value(at).into(),
        lane: lane.value(at).into(),
        fields: fields.value(at).into(),
    };
    Ok(key_rows(batch, first)?.into_iter().enumerate().map(row).collect())
}

fn delete_rows(batch: &RecordBatch, _first: u64) -> Result<Vec<(String, i64)>> {
    let files = required(batch, FILE_PATH.0)?;
    let positions = column(batch, POS.0)?
        .as_primitive_opt::<Int64Type>()
        .filter(|positions| positions.null_count() == 0)
        .ok_or_else(|| corrupt("`pos` holds no positions"))?;
    Ok((0..batch.num_rows()).map(|row| (files.value(row).to_owned(), positions.value(row))).collect())
}

pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    let column = batch.column_by_name(name).ok_or_else(|| corrupt(format!("it has no column `{name}`")))?;
    Ok(column.as_ref())
}

pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let texts = column(batch, name)?.as_string_opt();
    texts.ok_or_else(|| corrupt(format!("`{name}` holds no text")))
}

/// A column of text without nulls.
pub(super) fn required<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let texts = texts(batch, name)?;
    if texts.null_count() > 0 {
        return Err(corrupt(format!("`{name}` lacks a value")));
    }
    Ok(texts)
}
