//! From records to a part, and from deletions to a position-delete file: Parquet in memory.
//!
//! Rules: rows are sorted by key, each key once. The same input gives the same bytes. What was written is read back
//! before it is handed on. Statistics are exact or absent, never truncated: a truncated one is taken for a bound by
//! readers that then skip row groups which hold what they look for.
//!
//! Memory: the records, which go as they are written; the row group that is being filled and the finished ones, all
//! compressed; one batch of at most [`BATCH_ROWS`] rows in Arrow.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Display;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::encode::columns::Columns;
use crate::encode::json::Json;
use crate::encode::schema::{UTC, schema, with_id};
use crate::encode::statistics::{Footer, footer};
use crate::encode::{deletes, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    ColumnKind, Content, EncodedPart, FieldIds, Hash, Record, RunId, TableColumn, table_columns,
};
use crate::resources;
use crate::resources::Resource;

/// Rows in one Arrow batch, at most.
pub(super) const BATCH_ROWS: usize = 512;
/// JSON in one Arrow batch, at most, unless a single record is larger.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// What a row group may grow to, compressed. Tests want several from few rows.
const ROW_GROUP_BYTES: usize = if cfg!(test) { 64 << 10 } else { 16 << 20 };
/// Rows in a page, at most.
const PAGE_ROWS: usize = 4096;
/// What a page of the columns that lookups read may grow to, before compression: what has to be read to look up one
/// key. Smaller ones would make the page index longer, and it is read first.
const LOOKUP_PAGE_BYTES: &[(&str, usize)] = &[
    ("_key", 8 << 10),
    ("_parent", 8 << 10),
    ("_hash", 16 << 10),
    ("modified_at", 8 << 10),
    ("_raw", 64 << 10),
];
/// The footer names the version of the resources under this key: digests are comparable within one version only. A part
/// that was merged of several names them all.
pub(super) const RESOURCES: &str = "asana-backup.resources";
/// The columns of a position-delete file, with the ids that Iceberg reserves for them ("Reserved Field IDs").
pub(super) const FILE_PATH: (&str, i32) = ("file_path", 2_147_483_546);
pub(super) const POS: (&str, i32) = ("pos", 2_147_483_545);

/// Writes `records` of `resource`, read by `run`, as a part.
///
/// # Errors
/// Bug, if there are none, if two have one key, if one is of another resource, or if `ids` lacks a column.
pub fn encode_part(
    resource: &'static Resource,
    ids: &FieldIds,
    run: &RunId,
    mut records: Vec<Record>,
) -> Result<EncodedPart> {
    let doing = |e: Error| e.doing(format!("encode a part of {}", resource.table));
    if records.is_empty() || records.iter().any(|record| record.resource != resource) {
        return Err(doing(bug("a part holds records of one resource, and at least one")));
    }
    records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if let Some(pair) = records.windows(2).find(|pair| pair[0].key == pair[1].key) {
        return Err(doing(bug(format!("the key {} is there twice", pair[0].key))));
    }
    write_records(resource, ids, run, records).map_err(doing)
}

/// Writes `deletions`, (absolute URL of a part, position of a row in it), as a position-delete file.
///
/// # Errors
/// Bug, if there are none, or if they do not ascend strictly by file and position.
pub fn encode_deletes(deletions: impl IntoIterator<Item = (String, i64)>) -> Result<EncodedPart> {
    write_deletes(deletions).map_err(|e| e.doing("encode position deletes"))
}

fn write_records(
    resource: &'static Resource,
    ids: &FieldIds,
    run: &RunId,
    records: Vec<Record>,
) -> Result<EncodedPart> {
    let schema = schema(resource, ids)?;
    let mut open = Open::new(&schema, &table_columns(resource), &resources::VERSION.to_string())?;
    let mut batch = Batch::new(resource, run);
    for record in records {
        if batch.is_full(&record) {
            open.write(&batch.finish(&schema)?)?;
        }
        open.count(&record.key, &record.hash, &record.raw);
        batch.push(&record)?;
    }
    open.write(&batch.finish(&schema)?)?;
    let mut misfits = BTreeMap::new();
    batch.columns.misfits(&mut misfits);
    open.finish(misfits)
}

/// A part of records that is being written.
pub(super) struct Open {
    writer: ArrowWriter<Vec<u8>>,
    expected: DefaultHasher,
    rows: u64,
}

impl Open {
    /// One with these columns, by definitions of these `versions`.
    pub(super) fn new(schema: &SchemaRef, columns: &[TableColumn], versions: &str) -> Result<Self> {
        let properties = Some(record_properties(columns, versions));
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), properties).map_err(bug)?;
        Ok(Self { writer, expected: DefaultHasher::new(), rows: 0 })
    }

    /// Notes a row that is in the next batch, or in one after it.
    pub(super) fn count(&mut self, key: &str, hash: &Hash, raw: &str) {
        feed(&mut self.expected, key, hash, raw);
        self.rows += 1;
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(bug)
    }

    /// About how large the part has become.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the part, and reads it back.
    pub(super) fn finish(self, misfits: BTreeMap<String, u64>) -> Result<EncodedPart> {
        let bytes = Bytes::from(self.writer.into_inner().map_err(bug)?);
        let mut found = DefaultHasher::new();
        for row in rows(bytes.clone())? {
            let row = row?;
            feed(&mut found, &row.head.key, &row.head.hash, &row.raw);
        }
        if found.finish() != self.expected.finish() {
            return Err(bug("what was written does not read back"));
        }
        finished(Content::Records, bytes, self.rows, misfits)
    }
}

fn feed(digest: &mut DefaultHasher, key: &str, hash: &Hash, raw: &str) {
    for bytes in [key.as_bytes(), hash.bytes(), raw.as_bytes()] {
        digest.write_usize(bytes.len());
        digest.write(bytes);
    }
}

fn write_deletes(deletions: impl IntoIterator<Item = (String, i64)>) -> Result<EncodedPart> {
    const ROWS: usize = 8192;
    let required = |(name, id), data_type| with_id(Field::new(name, data_type, false), id);
    let schema =
        Arc::new(Schema::new(vec![required(FILE_PATH, DataType::Utf8), required(POS, DataType::Int64)]));
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(delete_properties())).map_err(bug)?;
    let (mut files, mut positions) = (StringBuilder::new(), Int64Builder::new());
    let mut last: Option<(String, i64)> = None;
    let (mut in_batch, mut count) = (0, 0);
    for next in deletions {
        if last.as_ref().is_some_and(|last| *last >= next) || next.1 < 0 {
            return Err(bug(format!("{} {} does not ascend", next.0, next.1)));
        }
        files.append_value(&next.0);
        positions.append_value(next.1);
        last = Some(next);
        in_batch += 1;
        count += 1;
        if in_batch == ROWS {
            let arrays: Vec<ArrayRef> = vec![Arc::new(files.finish()), Arc::new(positions.finish())];
            write_arrays(&mut writer, &schema, arrays)?;
            in_batch = 0;
        }
    }
    write_arrays(&mut writer, &schema, vec![Arc::new(files.finish()), Arc::new(positions.finish())])?;
    let bytes = Bytes::from(writer.into_inner().map_err(bug)?);
    let read_back = deletes(bytes.clone())?.try_fold(None, |_, row| row.map(Some))?;
    if count == 0 || read_back != last {
        return Err(bug("there are no deletions, or they do not read back"));
    }
    finished(Content::Deletes, bytes, count, BTreeMap::new())
}

fn write_arrays(writer: &mut ArrowWriter<Vec<u8>>, schema: &SchemaRef, arrays: Vec<ArrayRef>) -> Result<()> {
    let batch = RecordBatch::try_new(Arc::clone(schema), arrays).map_err(bug)?;
    writer.write(&batch).map_err(bug)
}

/// What the repository is told of the file in `bytes`, as its own footer says it.
pub(super) fn finished(
    content: Content,
    bytes: Bytes,
    rows: u64,
    misfits: BTreeMap<String, u64>,
) -> Result<EncodedPart> {
    let Footer { rows: found, statistics, split_offsets } = footer(&bytes)?;
    if found != rows {
        return Err(bug(format!("{rows} rows were written and {found} are there")));
    }
    let sha256 = Hash::of(&bytes);
    Ok(EncodedPart { content, bytes, sha256, rows, statistics, misfits, split_offsets })
}

/// Rows on their way from records to Arrow.
struct Batch {
    columns: Columns,
    run: String,
    rows: usize,
    raw_bytes: usize,
    key: StringBuilder,
    parent: StringBuilder,
    raw: StringBuilder,
    hash: StringBuilder,
    seen_at: TimestampMicrosecondBuilder,
    runs: StringBuilder,
    lane: StringBuilder,
    fields: StringBuilder,
}

impl Batch {
    fn new(resource: &'static Resource, run: &RunId) -> Self {
        let text = StringBuilder::new;
        Self {
            columns: Columns::new(resource),
            run: run.to_string(),
            rows: 0,
            raw_bytes: 0,
            key: text(),
            parent: text(),
            raw: text(),
            hash: text(),
            seen_at: TimestampMicrosecondBuilder::new().with_timezone(UTC),
            runs: text(),
            lane: text(),
            fields: text(),
        }
    }

    fn is_full(&self, next: &Record) -> bool {
        self.rows == BATCH_ROWS || (self.rows > 0 && self.raw_bytes + next.raw.len() > BATCH_BYTES)
    }

    fn push(&mut self, record: &Record) -> Result<()> {
        let json = Json::read(&record.raw).map_err(|e| bug(format!("the record {}: {e}", record.key)))?;
        self.columns.push(&json, record.parent.as_deref());
        self.key.append_value(&record.key);
        self.parent.append_option(record.parent.as_deref());
        self.raw.append_value(&record.raw);
        self.hash.append_value(record.hash.to_string());
        self.seen_at.append_value(record.reading.seen_at.timestamp_micros());
        self.runs.append_value(&self.run);
        self.lane.append_value(record.reading.lane.to_string());
        self.fields.append_value(&record.reading.fields);
        self.rows += 1;
        self.raw_bytes += record.raw.len();
        Ok(())
    }

    /// The rows so far; begins again with none.
    fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut arrays = self.columns.finish(schema.fields()).map_err(bug)?;
        arrays.push(Arc::new(self.key.finish()));
        arrays.push(Arc::new(self.parent.finish()));
        arrays.push(Arc::new(self.raw.finish()));
        arrays.push(Arc::new(self.hash.finish()));
        arrays.push(Arc::new(self.seen_at.finish()));
        arrays.push(Arc::new(self.runs.finish()));
        arrays.push(Arc::new(self.lane.finish()));
        arrays.push(Arc::new(self.fields.finish()));
        (self.rows, self.raw_bytes) = (0, 0);
        RecordBatch::try_new(Arc::clone(schema), arrays).map_err(bug)
    }
}

/// What all our files have in common. No statistics, unless a column asks for them.
fn properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(3).expect("zstd has a level 3");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        // Limits of a page are looked at after so many rows only, and one row of JSON can be long.
        .set_write_batch_size(128)
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(None)
        .set_statistics_enabled(EnabledStatistics::None)
}

/// What the parts of a table have in common. `versions` are those of the definitions that its rows were made by.
pub(super) fn record_properties(columns: &[TableColumn], versions: &str) -> WriterProperties {
    let versions = KeyValue::new(RESOURCES.to_owned(), versions.to_owned());
    let mut builder = properties().set_key_value_metadata(Some(vec![versions]));
    let mut told = Vec::new();
    told_leaves(columns, &mut Vec::new(), &mut told);
    for path in told {
        builder = builder.set_column_statistics_enabled(ColumnPath::new(path), EnabledStatistics::Page);
    }
    // Every value differs, so a dictionary would be built only to be thrown away. Where lookups read a column, they
    // would have to read its dictionary, too.
    for name in ["_key", "_parent", "_raw", "_hash", "gid", "modified_at", "permalink_url"] {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for (name, bytes) in LOOKUP_PAGE_BYTES {
        builder = builder.set_column_data_page_size_limit(ColumnPath::from(*name), *bytes);
    }
    builder.build()
}

fn told_leaves(columns: &[TableColumn], path: &mut Vec<String>, told: &mut Vec<Vec<String>>) {
    for column in columns {
        path.push(column.name.to_owned());
        match &column.kind {
            ColumnKind::Struct(inner) => told_leaves(inner, path, told),
            _ if column.statistics => told.push(path.clone()),
            _ => {}
        }
        path.pop();
    }
}

fn delete_properties() -> WriterProperties {
    properties().set_statistics_enabled(EnabledStatistics::Page).build()
}

/// Writing to memory what we made ourselves cannot fail, unless we made it wrong.
pub(super) fn bug(cause: impl Display) -> Error {
    Error::new(ErrorKind::Bug, cause.to_string())
}
