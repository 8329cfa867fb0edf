//! What the footer of a part says: rows, row groups, and the statistics of its columns.
//!
//! Rule: a bound is told only if every row group with a value in it has an exact one. A column without a bound is
//! read in vain at worst; a wrong bound hides rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use crate::encode::read::corrupt;
use crate::error::Result;
use crate::model::{Bound, ColumnStatistics};

/// Longer texts are no bounds: they are in every manifest, and only a broken answer has such keys.
const BOUND_BYTES: usize = 256;

/// What a footer says.
pub(super) struct Footer {
    pub(super) rows: u64,
    pub(super) statistics: BTreeMap<i32, ColumnStatistics>,
    pub(super) split_offsets: Vec<i64>,
}

/// Reads the footer of the Parquet file in `bytes`.
pub(super) fn footer(bytes: &Bytes) -> Result<Footer> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(corrupt)?;
    let mut statistics = BTreeMap::new();
    for (at, descriptor) in metadata.file_metadata().schema_descr().columns().iter().enumerate() {
        let field = descriptor.self_type().get_basic_info();
        if field.has_id() {
            statistics.insert(field.id(), column_statistics(&metadata, at, descriptor));
        }
    }
    Ok(Footer {
        rows: u64::try_from(metadata.file_metadata().num_rows()).map_err(corrupt)?,
        statistics,
        split_offsets: metadata
            .row_groups()
            .iter()
            .filter_map(|group| group.columns().first())
            .map(start)
            .collect(),
    })
}

/// Where the first page of a column is: the dictionary, if it has one.
fn start(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().unwrap_or(column.data_page_offset())
}

fn column_statistics(
    metadata: &ParquetMetaData,
    at: usize,
    descriptor: &ColumnDescriptor,
) -> ColumnStatistics {
    let mut all = ColumnStatistics { nulls: Some(0), ..ColumnStatistics::default() };
    let mut exact = true;
    for column in metadata.row_groups().iter().map(|group| group.column(at)) {
        let statistics = column.statistics();
        let values = unsigned(column.num_values());
        let nulls = statistics.and_then(Statistics::null_count_opt);
        all.compressed_bytes += unsigned(column.compressed_size());
        all.values += values;
        all.nulls = all.nulls.zip(nulls).map(|(sum, nulls)| sum + nulls);
        if nulls == Some(values) {
            continue;
        }
        match statistics.and_then(|statistics| bounds(statistics, descriptor)) {
            Some(next) => all.bounds = Some(widened(all.bounds.take(), next)),
            None => exact = false,
        }
    }
    all.bounds = all.bounds.filter(|_| exact);
    all
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The bounds of one row group, if they are exact.
fn bounds(statistics: &Statistics, descriptor: &ColumnDescriptor) -> Option<(Bound, Bound)> {
    if !statistics.min_is_exact() || !statistics.max_is_exact() {
        return None;
    }
    match statistics {
        Statistics::Boolean(values) => {
            pair((values.min_opt(), values.max_opt()), |value| Some(Bound::Boolean(*value)))
        }
        Statistics::Int32(values) => {
            pair((values.min_opt(), values.max_opt()), |value| Some(Bound::Date(*value)))
        }
        Statistics::Int64(values) if is_timestamp(descriptor) => {
            pair((values.min_opt(), values.max_opt()), |value| Some(Bound::Timestamp(*value)))
        }
        Statistics::Int64(values) => {
            pair((values.min_opt(), values.max_opt()), |value| Some(Bound::Integer(*value)))
        }
        Statistics::Double(values) => {
            pair((values.min_opt(), values.max_opt()), |value| Some(Bound::Number(*value)))
        }
        Statistics::ByteArray(values) if descriptor.physical_type() == Type::BYTE_ARRAY => {
            pair((values.min_opt(), values.max_opt()), |value| {
                let text = value.as_utf8().ok().filter(|text| text.len() <= BOUND_BYTES)?;
                Some(Bound::Text(text.to_owned()))
            })
        }
        _ => None,
    }
}

fn is_timestamp(descriptor: &ColumnDescriptor) -> bool {
    matches!(descriptor.logical_type_ref(), Some(LogicalType::Timestamp { .. }))
        || descriptor.converted_type() == ConvertedType::TIMESTAMP_MICROS
}

fn pair<T>(edges: (Option<&T>, Option<&T>), bound: impl Fn(&T) -> Option<Bound>) -> Option<(Bound, Bound)> {
    Some((bound(edges.0?)?, bound(edges.1?)?))
}

fn widened(all: Option<(Bound, Bound)>, (low, high): (Bound, Bound)) -> (Bound, Bound) {
    match all {
        None => (low, high),
        Some((least, greatest)) => (
            if is_less(&low, &least) { low } else { least },
            if is_less(&greatest, &high) { high } else { greatest },
        ),
    }
}

/// Bounds of one column are of one kind. Text is ordered by its bytes.
fn is_less(a: &Bound, b: &Bound) -> bool {
    match (a, b) {
        (Bound::Text(a), Bound::Text(b)) => a < b,
        (Bound::Integer(a), Bound::Integer(b)) | (Bound::Timestamp(a), Bound::Timestamp(b)) => a < b,
        (Bound::Number(a), Bound::Number(b)) => a < b,
        (Bound::Boolean(a), Bound::Boolean(b)) => a < b,
        (Bound::Date(a), Bound::Date(b)) => a < b,
        _ => false,
    }
}
