//! From several parts to fewer: their live rows, merged by key.
//!
//! Rules: a row keeps everything it has, `_raw`, `_hash`, when, how and by whom it was read; columns are told by their
//! field ids, and what a part was written without is null. Parts of one version of the resources give the very bytes
//! that writing their records at once would give.
//!
//! Memory: the parts and what they become, compressed; of each part a batch, all of them [`ROWS_AT_ONCE`] rows together
//! or [`LEAST_ROWS`] each; the batch being written.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use bytes::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::encode::check::versions;
use crate::encode::part::{BATCH_BYTES, BATCH_ROWS, Open, bug};
use crate::encode::read::{corrupt, guarded, required};
use crate::encode::schema::schema;
use crate::error::Result;
use crate::model::{EncodedPart, FieldIds, Hash, table_columns};
use crate::resources::Resource;

/// Rows of all parts together that are decoded at once.
const ROWS_AT_ONCE: usize = 4096;
/// Rows of one part that are decoded at once, however many parts there are.
const LEAST_ROWS: usize = 32;

/// Merges `parts` of `resource`, each with the positions of its deleted rows, into parts of about `target_bytes`.
/// There is none if no row is left.
///
/// # Errors
/// Corrupt, if bytes are no part, if its keys do not ascend, if a deleted position is beyond it, or if a key is live in
/// two parts; Bug, if `ids` lacks a column.
pub fn merge(
    resource: &'static Resource,
    ids: &FieldIds,
    parts: Vec<(Bytes, BTreeSet<u32>)>,
    target_bytes: usize,
) -> Result<Vec<EncodedPart>> {
    let merged = Merge::open(resource, ids, parts).and_then(|merge| merge.run(target_bytes));
    merged.map_err(|e| e.doing(format!("merge parts of {}", resource.table)))
}

struct Merge {
    resource: &'static Resource,
    schema: SchemaRef,
    versions: String,
    sources: Vec<Source>,
    /// The next live row of each source that has one, by key.
    next: BinaryHeap<Reverse<(Box<str>, usize)>>,
    /// The batches in which the rows of `chosen` are, and every source's own.
    held: Vec<RecordBatch>,
    /// What the next batch consists of: a batch that is held, and a row in it.
    chosen: Vec<(usize, usize)>,
    chosen_bytes: usize,
}

/// One of the parts.
struct Source {
    batches: ParquetRecordBatchReader,
    deleted: BTreeSet<u32>,
    /// Which of the held batches is its own; none before the first.
    held: Option<usize>,
    /// The next row in that batch.
    row: usize,
    /// Rows read so far.
    position: u64,
    last_key: Option<Box<str>>,
}

impl Merge {
    fn open(resource: &'static Resource, ids: &FieldIds, parts: Vec<(Bytes, BTreeSet<u32>)>) -> Result<Self> {
        let schema = schema(resource, ids)?;
        let rows = (ROWS_AT_ONCE / parts.len().max(1)).clamp(LEAST_ROWS, BATCH_ROWS);
        let (mut sources, mut all_versions) = (Vec::new(), BTreeSet::new());
        for (bytes, deleted) in parts {
            let (batches, written) = guarded(|| {
                let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
                let written = versions(&builder).unwrap_or_default();
                Ok((builder.with_batch_size(rows).build().map_err(corrupt)?, written))
            })?;
            all_versions.extend(written.split(' ').map(str::to_owned));
            sources.push(Source { batches, deleted, held: None, row: 0, position: 0, last_key: None });
        }
        let versions = Vec::from_iter(all_versions).join(" ");
        let (next, held, chosen) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Ok(Self { resource, schema, versions, sources, next, held, chosen, chosen_bytes: 0 })
    }

    fn run(mut self, target_bytes: usize) -> Result<Vec<EncodedPart>> {
        for source in 0..self.sources.len() {
            self.advance(source)?;
        }
        let mut done = Vec::new();
        let mut open: Option<Open> = None;
        let mut last_key: Option<Box<str>> = None;
        while let Some(Reverse((key, source))) = self.next.pop() {
            if last_key.as_ref() == Some(&key) {
                return Err(corrupt(format!("the key {key} is live in two parts")));
            }
            let (hash, raw_bytes) = self.head(source)?;
            if self.is_full(raw_bytes)
                && let Some(part) = &mut open
            {
                part.write(&self.batch()?)?;
            }
            if let Some(full) = open.take_if(|part| self.chosen.is_empty() && part.bytes() >= target_bytes) {
                done.push(full.finish(BTreeMap::new())?);
            }
            let part = match &mut open {
                Some(part) => part,
                none => none.insert(Open::new(&self.schema, &table_columns(self.resource), &self.versions)?),
            };
            self.choose(source, &key, &hash, part)?;
            last_key = Some(key);
            self.advance(source)?;
        }
        if let Some(mut part) = open {
            part.write(&self.batch()?)?;
            done.push(part.finish(BTreeMap::new())?);
        }
        Ok(done)
    }

    /// As the writer of records does it, so that the pages are the same.
    fn is_full(&self, next_bytes: usize) -> bool {
        self.chosen.len() == BATCH_ROWS
            || (!self.chosen.is_empty() && self.chosen_bytes + next_bytes > BATCH_BYTES)
    }

    /// The digest of a source's row, and the length of its JSON.
    fn head(&self, source: usize) -> Result<(Hash, usize)> {
        let (held, row) = self.place(source)?;
        let hash = required(&self.held[held], "_hash")?.value(row).parse().map_err(corrupt)?;
        Ok((hash, required(&self.held[held], "_raw")?.value(row).len()))
    }

    fn choose(&mut self, source: usize, key: &str, hash: &Hash, part: &mut Open) -> Result<()> {
        let (held, row) = self.place(source)?;
        let raw = required(&self.held[held], "_raw")?.value(row);
        part.count(key, hash, raw);
        self.chosen_bytes += raw.len();
        self.chosen.push((held, row));
        self.sources[source].row += 1;
        Ok(())
    }

    fn place(&self, source: usize) -> Result<(usize, usize)> {
        let Source { held, row, .. } = &self.sources[source];
        Ok((held.ok_or_else(|| bug("a source without a batch has no row"))?, *row))
    }

    /// The chosen rows; begins again with none, and lets go of what is read.
    fn batch(&mut self) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.held.iter().collect();
        let batch = interleave_record_batch(&batches, &std::mem::take(&mut self.chosen)).map_err(bug)?;
        self.chosen_bytes = 0;
        let before = std::mem::take(&mut self.held);
        for source in &mut self.sources {
            if let Some(held) = &mut source.held {
                self.held.push(before[*held].clone());
                *held = self.held.len() - 1;
            }
        }
        Ok(batch)
    }

    /// Goes to the next live row of a source, if it has one.
    fn advance(&mut self, at: usize) -> Result<()> {
        let source = &mut self.sources[at];
        let mut fresh = false;
        loop {
            if let Some(held) = source.held {
                let keys = required(&self.held[held], "_key")?;
                while source.row < keys.len() {
                    let key: Box<str> = keys.value(source.row).into();
                    if source.pass(&key)? {
                        self.next.push(Reverse((key, at)));
                        return Ok(());
                    }
                    source.row += 1;
                }
            }
            if fresh {
                // Nothing of it is left, and a part may have any number of such batches.
                self.held.pop();
            }
            let Some(batch) = source.decode(&self.schema)? else { return source.end() };
            self.held.push(batch);
            (source.held, source.row, fresh) = (Some(self.held.len() - 1), 0, true);
        }
    }
}

impl Source {
    /// Passes the next row, and says whether it is live.
    fn pass(&mut self, key: &str) -> Result<bool> {
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(corrupt(format!("the rows are not sorted by key: {key} comes too late")));
        }
        let position = u32::try_from(self.position).map_err(corrupt)?;
        self.last_key = Some(key.into());
        self.position += 1;
        Ok(!self.deleted.contains(&position))
    }

    /// The next batch, with the columns of `schema`.
    fn decode(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        guarded(|| {
            let Some(batch) = self.batches.next().transpose().map_err(corrupt)? else { return Ok(None) };
            let arrays = fitted(schema.fields(), batch.schema().fields(), batch.columns(), batch.num_rows())?;
            RecordBatch::try_new(Arc::clone(schema), arrays).map(Some).map_err(corrupt)
        })
    }

    fn end(&mut self) -> Result<()> {
        self.held = None;
        match self.deleted.last() {
            Some(last) if u64::from(*last) >= self.position => {
                Err(corrupt(format!("the row {last} is deleted, and it has {} rows", self.position)))
            }
            _ => Ok(()),
        }
    }
}

/// The columns `wanted` of those that are there, told by their ids.
fn fitted(wanted: &Fields, there: &Fields, arrays: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
    let id = |field: &Field| field.metadata().get(PARQUET_FIELD_ID_META_KEY).cloned();
    let fit = |field: &Arc<Field>| {
        let at = there.iter().position(|other| id(other).is_some() && id(other) == id(field));
        match at {
            Some(at) => cast(field, &arrays[at]),
            None => Ok(new_null_array(field.data_type(), rows)),
        }
    };
    wanted.iter().map(fit).collect()
}

/// `array` as the type of `field` says, which differs inside of objects and lists only.
fn cast(field: &Field, array: &ArrayRef) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    let other = || corrupt(format!("`{}` is of another type", field.name()));
    match field.data_type() {
        DataType::Struct(wanted) => {
            let there = array.as_struct_opt().ok_or_else(other)?;
            let arrays = fitted(wanted, there.fields(), there.columns(), there.len())?;
            let nulls = there.nulls().cloned();
            let made = StructArray::try_new_with_length(wanted.clone(), arrays, nulls, there.len());
            Ok(Arc::new(made.map_err(corrupt)?))
        }
        DataType::List(element) => {
            let there = array.as_list_opt::<i32>().ok_or_else(other)?;
            let values = cast(element, there.values())?;
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls).map_err(corrupt)?))
        }
        _ => Err(other()),
    }
}
