//! Where things are in a part: lookups that read only the pages they need.
//!
//! Rule: nothing here reads. It says which bytes are needed, and makes rows of them. A bound may send a lookup to pages
//! in vain and never past a row; a part without a page index is read by whole columns. Ranges are not covered by the
//! part's digest, so the caller gets what the pages say, or Corrupt where they contradict themselves, and no panic.
//!
//! A lookup has two steps: the pages of `_key` or `_parent` that may hold what is wanted give positions, and positions
//! give rows. Memory: the footer, and of the page index the columns that lookups read.

use std::collections::BTreeSet;
use std::ops::Bound::Included;
use std::ops::Range;
use std::str::from_utf8;

use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelectionPolicy,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::{ByteArrayColumnIndex, ColumnIndexMetaData};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::statistics::Statistics;

use crate::encode::read::{
    BATCH_ROWS, FULL_COLUMNS, KEY_COLUMNS, KeyRow, Row, corrupt, full_rows, guarded, key_rows, texts,
};
use crate::encode::sparse::Sparse;
use crate::error::Result;

/// How much of the end of a part is read at first: for most parts, the footer and the page index.
pub const TAIL_BYTES: u64 = 64 << 10;
/// Ranges that lie closer are read as one: a request costs more than these bytes.
const GAP_BYTES: u64 = 16 << 10;

/// What the end of a part gives.
#[derive(Debug)]
pub enum ReadLayout {
    /// Where things are.
    Known(Layout),
    /// So many bytes at the end are needed.
    Wants(u64),
}

/// Where things are in a part.
#[derive(Debug)]
pub struct Layout {
    length: u64,
    metadata: ArrowReaderMetadata,
    /// The first row of every row group and, last, the number of rows.
    starts: Vec<u64>,
}

/// Rows of a part and the columns of them that are wanted.
#[derive(Debug)]
pub struct Pages {
    columns: &'static [&'static str],
    /// Ascending, apart from each other.
    rows: Vec<Range<u64>>,
    ranges: Vec<Range<u64>>,
}

impl Pages {
    /// The bytes to be read for them, ascending and apart from each other; none if there is nothing to read.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    fn positions(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().cloned().flatten()
    }
}

impl Layout {
    /// Reads the layout of a part of `length` bytes from `tail`, its last ones.
    ///
    /// # Errors
    /// Corrupt, if this is not the end of a part.
    pub fn of(length: u64, tail: &Bytes) -> Result<ReadLayout> {
        guarded(|| {
            let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
            match reader.try_parse_sized(tail, length) {
                Ok(()) => Self::checked(length, reader.finish().map_err(corrupt)?).map(ReadLayout::Known),
                Err(ParquetError::NeedMoreData(wants)) if wants > tail.len() && wants as u64 <= length => {
                    Ok(ReadLayout::Wants(wants as u64))
                }
                Err(cause) => Err(corrupt(cause)),
            }
        })
    }

    /// The rows of the part.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The pages of `_key` that may hold one of `keys`.
    ///
    /// # Errors
    /// Corrupt, if the page index contradicts itself.
    pub fn keys(&self, keys: &BTreeSet<Box<str>>) -> Result<Pages> {
        self.candidates(&["_key"], keys)
    }

    /// The pages of `_parent` that may hold one of `parents`.
    ///
    /// # Errors
    /// Corrupt, if the page index contradicts itself.
    pub fn below(&self, parents: &BTreeSet<Box<str>>) -> Result<Pages> {
        self.candidates(&["_parent"], parents)
    }

    /// What [`KeyRow`] has of the rows at `positions`.
    ///
    /// # Errors
    /// Corrupt, if a position is beyond the part.
    pub fn heads(&self, positions: &BTreeSet<u32>) -> Result<Pages> {
        self.pages(KEY_COLUMNS, single(positions))
    }

    /// What [`Row`] has of the rows at `positions`.
    ///
    /// # Errors
    /// Corrupt, if a position is beyond the part.
    pub fn rows(&self, positions: &BTreeSet<u32>) -> Result<Pages> {
        self.pages(FULL_COLUMNS, single(positions))
    }

    /// The positions at which `pages`, of [`keys`](Self::keys) or [`below`](Self::below), hold one of `wanted`;
    /// `fetched` are the bytes of its ranges.
    ///
    /// # Errors
    /// Corrupt, if these bytes are no such pages.
    pub fn found(
        &self,
        pages: &Pages,
        fetched: Vec<Bytes>,
        wanted: &BTreeSet<Box<str>>,
    ) -> Result<BTreeSet<u32>> {
        let [name] = pages.columns else { return Err(corrupt("a lookup is in one column")) };
        let hits = self.read(pages, fetched, |batch, _| {
            let values = texts(batch, name)?;
            let hit = |row| values.is_valid(row) && wanted.contains(values.value(row));
            Ok((0..batch.num_rows()).map(hit).collect())
        })?;
        let hits = hits.into_iter().zip(pages.positions()).filter(|(hit, _)| *hit);
        hits.map(|(_, position)| u32::try_from(position).map_err(corrupt)).collect()
    }

    /// The rows of `pages`, which [`heads`](Self::heads) gave; `fetched` are the bytes of its ranges.
    ///
    /// # Errors
    /// Corrupt, if these bytes are no such pages.
    pub fn read_keys(&self, pages: &Pages, fetched: Vec<Bytes>) -> Result<Vec<KeyRow>> {
        let mut rows = self.read(pages, fetched, key_rows)?;
        for (row, position) in rows.iter_mut().zip(pages.positions()) {
            row.position = position;
        }
        Ok(rows)
    }

    /// The rows of `pages`, which [`rows`](Self::rows) gave; `fetched` are the bytes of its ranges.
    ///
    /// # Errors
    /// Corrupt, if these bytes are no such pages.
    pub fn read_rows(&self, pages: &Pages, fetched: Vec<Bytes>) -> Result<Vec<Row>> {
        let mut rows = self.read(pages, fetched, full_rows)?;
        for (row, position) in rows.iter_mut().zip(pages.positions()) {
            row.head.position = position;
        }
        Ok(rows)
    }

    fn checked(length: u64, metadata: ParquetMetaData) -> Result<Self> {
        let mut starts = vec![0_u64];
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).map_err(corrupt)?;
            let end = starts.last().and_then(|start| start.checked_add(rows));
            starts
                .push(end.filter(|end| u32::try_from(*end).is_ok()).ok_or_else(|| corrupt("too many rows"))?);
        }
        if starts.last().copied() != u64::try_from(metadata.file_metadata().num_rows()).ok() {
            return Err(corrupt("its row groups have other rows than it says"));
        }
        let metadata = slim(metadata);
        let metadata = ArrowReaderMetadata::try_new(metadata.into(), ArrowReaderOptions::new());
        let layout = Self { length, metadata: metadata.map_err(corrupt)?, starts };
        for at in 0..layout.starts.len() - 1 {
            for leaf in layout.leaves(FULL_COLUMNS) {
                layout.check_pages(at, leaf)?;
            }
        }
        Ok(layout)
    }

    /// Refuses places that no writer makes: the reader believes them.
    fn check_pages(&self, at: usize, leaf: usize) -> Result<()> {
        let group = self.metadata.metadata().row_group(at);
        let (start, bytes) = group.column(leaf).byte_range();
        let end = start.checked_add(bytes).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| corrupt("a column lies outside of it"))?;
        let (mut from, mut row) = (start, 0);
        for (number, page) in self.locations(at, leaf).into_iter().flatten().enumerate() {
            let next = page_range(page);
            let next_row = u64::try_from(page.first_row_index).map_err(corrupt)?;
            let first = number == 0 && next_row == 0;
            let later = number > 0 && (row + 1..self.starts[at + 1] - self.starts[at]).contains(&next_row);
            if !(first || later) || next.start < from || next.end <= next.start || next.end > end {
                return Err(corrupt("its page index contradicts itself"));
            }
            (from, row) = (next.end, next_row);
        }
        Ok(())
    }

    /// The pages of the one column of `columns` whose bounds include one of `wanted`.
    fn candidates(&self, columns: &'static [&'static str], wanted: &BTreeSet<Box<str>>) -> Result<Pages> {
        let leaves = self.leaves(columns);
        let [leaf] = leaves[..] else { return Err(corrupt(format!("it has no column {columns:?}"))) };
        let mut rows = Vec::new();
        for (at, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            if !may_hold(group_bounds(group.column(leaf)), wanted)? {
                continue;
            }
            let (first, end) = (self.starts[at], self.starts[at + 1]);
            let Some((pages, bounds)) = self.locations(at, leaf).zip(self.bounds(at, leaf)) else {
                push(&mut rows, first..end);
                continue;
            };
            let starts = pages.iter().map(|page| first + page.first_row_index.unsigned_abs());
            let ends = starts.clone().skip(1).chain([end]);
            for (number, (start, end)) in starts.zip(ends).enumerate() {
                let told = bounds.min_value(number).zip(bounds.max_value(number));
                if !bounds.is_null_page(number) && may_hold(told, wanted)? {
                    push(&mut rows, start..end);
                }
            }
        }
        self.pages(columns, rows)
    }

    /// Finds the bytes of the columns of `rows`.
    fn pages(&self, columns: &'static [&'static str], rows: Vec<Range<u64>>) -> Result<Pages> {
        if rows.last().is_some_and(|last| last.end > self.row_count()) {
            return Err(corrupt("it has fewer rows than are wanted"));
        }
        let mut ranges = Vec::new();
        for (at, selection) in self.selections(&rows) {
            let group = self.metadata.metadata().row_group(at);
            for leaf in self.leaves(columns) {
                let (start, bytes) = group.column(leaf).byte_range();
                let Some(pages) = self.locations(at, leaf) else {
                    ranges.push(start..start + bytes);
                    continue;
                };
                // What comes before the first page is the dictionary of them all.
                let dictionary = start..page_range(&pages[0]).start;
                ranges.extend(Some(dictionary).filter(|range| !range.is_empty()));
                ranges.extend(selection.scan_ranges(pages));
            }
        }
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let near = next.start <= last.end.saturating_add(GAP_BYTES);
            if near {
                last.end = last.end.max(next.end);
            }
            near
        });
        Ok(Pages { columns, rows, ranges })
    }

    /// The row groups in which some of `rows` are, and which these are in each.
    fn selections(&self, rows: &[Range<u64>]) -> Vec<(usize, RowSelection)> {
        let within = |(at, edges): (usize, &[u64])| {
            let (first, end) = (edges[0], edges[1]);
            let from = rows.partition_point(|range| range.end <= first);
            let inner = rows[from..].iter().take_while(|range| range.start < end);
            let local = inner.map(|range| {
                let (start, end) = (range.start.max(first) - first, range.end.min(end) - first);
                start as usize..end as usize
            });
            (at, RowSelection::from_consecutive_ranges(local, (end - first) as usize))
        };
        let groups = self.starts.windows(2).enumerate().map(within);
        groups.filter(|(_, selection)| selection.selects_any()).collect()
    }

    /// The leaves of the columns called `names`, as far as the part has them.
    fn leaves(&self, names: &[&str]) -> Vec<usize> {
        let columns = self.metadata.parquet_schema().columns();
        let flat = |column: &str| names.contains(&column);
        (0..columns.len()).filter(|at| flat(&columns[*at].path().string())).collect()
    }

    /// Where the pages of a column are, if the part says so.
    fn locations(&self, group: usize, leaf: usize) -> Option<&[PageLocation]> {
        let index = self.metadata.metadata().offset_index()?.get(group)?.get(leaf)?;
        Some(index.page_locations().as_slice()).filter(|pages| !pages.is_empty())
    }

    /// The bounds of the pages of a column, if the part says so of every one.
    fn bounds(&self, group: usize, leaf: usize) -> Option<&ByteArrayColumnIndex> {
        let pages = self.locations(group, leaf)?.len() as u64;
        match self.metadata.metadata().column_index()?.get(group)?.get(leaf)? {
            ColumnIndexMetaData::BYTE_ARRAY(index) if index.num_pages() == pages => Some(index),
            _ => None,
        }
    }

    /// Decodes the rows of `pages`; `decode` is told how many of them came before its batch.
    fn read<T>(
        &self,
        pages: &Pages,
        fetched: Vec<Bytes>,
        decode: impl Fn(&RecordBatch, u64) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let expected: u64 = pages.rows.iter().map(|range| range.end - range.start).sum();
        if expected == 0 {
            return Ok(Vec::new());
        }
        let sparse = Sparse::new(self.length, &pages.ranges, fetched)?;
        guarded(|| {
            let (mut rows, mut count) = (Vec::new(), 0);
            for batch in self.batches(pages, sparse)? {
                let batch = batch.map_err(corrupt)?;
                rows.extend(decode(&batch, count)?);
                count += batch.num_rows() as u64;
            }
            if count != expected {
                return Err(corrupt(format!("{expected} rows are wanted and {count} are there")));
            }
            Ok(rows)
        })
    }

    fn batches(&self, pages: &Pages, sparse: Sparse) -> Result<ParquetRecordBatchReader> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(sparse, self.metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), self.leaves(pages.columns));
        let (groups, selections): (Vec<_>, Vec<_>) = self.selections(&pages.rows).into_iter().unzip();
        let selectors = selections.into_iter().flat_map(Vec::from);
        builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_row_selection(selectors.collect::<Vec<_>>().into())
            // The other way to skip rows reads the pages in between, which are not there.
            .with_row_selection_policy(RowSelectionPolicy::Selectors)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(corrupt)
    }
}

/// Forgets the page index of what lookups never read.
fn slim(metadata: ParquetMetaData) -> ParquetMetaData {
    let columns = metadata.file_metadata().schema_descr().columns();
    let name = |at: usize| columns.get(at).map(|column| column.path().string()).unwrap_or_default();
    let read: Vec<bool> = (0..columns.len()).map(|at| FULL_COLUMNS.contains(&name(at).as_str())).collect();
    let sought: Vec<bool> =
        (0..columns.len()).map(|at| ["_key", "_parent"].contains(&name(at).as_str())).collect();
    let mut builder = metadata.into_builder();
    let mut pages = builder.take_offset_index();
    for (index, read) in pages.iter_mut().flatten().flat_map(|group| group.iter_mut().zip(&read)) {
        if !read {
            *index =
                OffsetIndexMetaData { page_locations: Vec::new(), unencoded_byte_array_data_bytes: None };
        }
    }
    let mut bounds = builder.take_column_index();
    for (index, sought) in bounds.iter_mut().flatten().flat_map(|group| group.iter_mut().zip(&sought)) {
        if !sought {
            *index = ColumnIndexMetaData::NONE;
        }
    }
    builder.set_offset_index(pages).set_column_index(bounds).build()
}

/// The rows at `positions`.
fn single(positions: &BTreeSet<u32>) -> Vec<Range<u64>> {
    let mut rows = Vec::new();
    for position in positions {
        push(&mut rows, u64::from(*position)..u64::from(*position) + 1);
    }
    rows
}

/// Adds `next`, which lies behind all of `rows`.
fn push(rows: &mut Vec<Range<u64>>, next: Range<u64>) {
    match rows.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ => rows.push(next),
    }
}

fn page_range(page: &PageLocation) -> Range<u64> {
    let start = u64::try_from(page.offset).unwrap_or_default();
    start..start.saturating_add(u64::try_from(page.compressed_page_size).unwrap_or_default())
}

/// The bounds of a column in one row group.
fn group_bounds(column: &ColumnChunkMetaData) -> Option<(&[u8], &[u8])> {
    let statistics = column.statistics().filter(|statistics| !statistics.is_min_max_deprecated())?;
    match statistics {
        Statistics::ByteArray(values) => values.min_bytes_opt().zip(values.max_bytes_opt()),
        _ => None,
    }
}

/// Whether one of `wanted` lies within `bounds`; without bounds it may.
fn may_hold(bounds: Option<(&[u8], &[u8])>, wanted: &BTreeSet<Box<str>>) -> Result<bool> {
    let Some((Ok(least), Ok(greatest))) =
        bounds.map(|(least, greatest)| (from_utf8(least), from_utf8(greatest)))
    else {
        return Ok(true);
    };
    if least > greatest {
        return Err(corrupt("its least value is above its greatest"));
    }
    Ok(wanted.range::<str, _>((Included(least), Included(greatest))).next().is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_page_index_that_contradicts_itself_is_corrupt() {
        let schema = Arc::new(Schema::new(vec![Field::new("_key", DataType::Utf8, false)]));
        let paged = WriterProperties::builder().set_data_page_row_count_limit(10).set_write_batch_size(10);
        let mut writer =
            ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(paged.build())).expect("a writer");
        let keys = StringArray::from_iter_values((0..30).map(|n| format!("{n:02}")));
        writer.write(&RecordBatch::try_new(schema, vec![Arc::new(keys)]).expect("a batch")).expect("written");
        let bytes = Bytes::from(writer.into_inner().expect("a file"));
        let refused = |change: fn(&mut Vec<PageLocation>)| {
            let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
            let mut builder = reader.parse_and_finish(&bytes).expect("a footer").into_builder();
            let mut index = builder.take_offset_index().expect("an index");
            change(&mut index[0][0].page_locations);
            let metadata = builder.set_offset_index(Some(index)).build();
            Layout::checked(bytes.len() as u64, metadata).err().map(|error| error.kind())
        };
        assert_eq!(refused(|_| {}), None);
        let wrong: [fn(&mut Vec<PageLocation>); 7] = [
            |pages| pages.swap(0, 1),
            |pages| pages[0].first_row_index = 1,
            |pages| pages[1].first_row_index = -1,
            |pages| pages[2].first_row_index = 30,
            |pages| pages[2].first_row_index = pages[1].first_row_index,
            |pages| pages[1].compressed_page_size = i32::MAX,
            |pages| pages[1].offset = 0,
        ];
        for change in wrong {
            assert_eq!(refused(change), Some(ErrorKind::Corrupt));
        }
    }
}
