//! System tables: rows of plain values into Parquet and back.
//!
//! Rules: the rows keep their order; the same rows give the same bytes; what was written is read back before it is
//! handed on. Bytes that are no such file are Corrupt, and never a panic. Memory: the rows and the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::encode::part::{bug, finished, record_properties};
use crate::encode::read::{column, corrupt, guarded, texts};
use crate::encode::schema::{UTC, schema_of};
use crate::error::{Error, Result};
use crate::model::{Cell, ColumnKind, Content, EncodedPart, FieldIds, SystemRow, TableColumn};
use crate::resources;

/// Rows in one Arrow batch, at most.
const BATCH_ROWS: usize = 512;

/// Writes `rows`, in their order, as a part of a table with these columns.
///
/// # Errors
/// Bug, if there are none, if a row is not what the columns say, or if `ids` lacks a column.
pub fn encode_rows(columns: &[TableColumn], ids: &FieldIds, rows: &[SystemRow]) -> Result<EncodedPart> {
    write_rows(columns, ids, rows).map_err(|e| e.doing("encode rows of a system table"))
}

/// Reads the rows of the part in `bytes`. A column that it lacks is null, if it may be.
///
/// # Errors
/// Corrupt, if this is no part of a table with these columns.
pub fn read_rows(columns: &[TableColumn], bytes: Bytes) -> Result<Vec<SystemRow>> {
    guarded(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
        let mut rows = Vec::new();
        for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(corrupt)? {
            batch_rows(columns, &batch.map_err(corrupt)?, &mut rows)?;
        }
        Ok(rows)
    })
}

fn write_rows(columns: &[TableColumn], ids: &FieldIds, rows: &[SystemRow]) -> Result<EncodedPart> {
    if rows.is_empty() {
        return Err(bug("a part has at least one row"));
    }
    for (at, row) in rows.iter().enumerate() {
        fits(columns, row).map_err(|e| e.doing(format!("row {at}")))?;
    }
    let schema = schema_of(columns, ids)?;
    let properties = Some(record_properties(columns, &resources::VERSION.to_string()));
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), properties).map_err(bug)?;
    for rows in rows.chunks(BATCH_ROWS) {
        let arrays = columns.iter().enumerate().map(|(at, column)| array(&column.kind, at, rows));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect::<Result<_>>()?).map_err(bug)?;
        writer.write(&batch).map_err(bug)?;
    }
    let bytes = Bytes::from(writer.into_inner().map_err(bug)?);
    let found = read_rows(columns, bytes.clone())?;
    if found.len() != rows.len() || !found.iter().zip(rows).all(|(found, row)| same(found, row)) {
        return Err(bug("what was written does not read back"));
    }
    finished(Content::Records, bytes, rows.len() as u64, BTreeMap::new())
}

/// Refuses a row that is not what `columns` say.
fn fits(columns: &[TableColumn], row: &[Option<Cell>]) -> Result<()> {
    if row.len() != columns.len() {
        return Err(bug(format!("it has {} values for {} columns", row.len(), columns.len())));
    }
    for (column, cell) in columns.iter().zip(row) {
        let fits = match (&column.kind, cell) {
            (_, None) => !column.required,
            (ColumnKind::Text, Some(Cell::Text(_)))
            | (ColumnKind::Integer, Some(Cell::Integer(_)))
            | (ColumnKind::Boolean, Some(Cell::Boolean(_)))
            | (ColumnKind::Timestamp, Some(Cell::Timestamp(_))) => true,
            _ => false,
        };
        if !fits {
            return Err(bug(format!("{cell:?} is no value for the column `{}`", column.name)));
        }
    }
    Ok(())
}

/// The values of the column `at` of `rows`, which are known to fit.
fn array(kind: &ColumnKind, at: usize, rows: &[SystemRow]) -> Result<ArrayRef> {
    let cells = || rows.iter().map(|row| row[at].as_ref());
    Ok(match kind {
        ColumnKind::Text => Arc::new(cells().map(|cell| cell?.text()).collect::<StringArray>()),
        ColumnKind::Integer => Arc::new(cells().map(|cell| cell?.integer()).collect::<Int64Array>()),
        ColumnKind::Boolean => Arc::new(cells().map(|cell| cell?.boolean()).collect::<BooleanArray>()),
        ColumnKind::Timestamp => {
            let moments = cells().map(|cell| cell?.timestamp().map(|moment| moment.timestamp_micros()));
            Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone(UTC))
        }
        _ => return Err(odd(kind)),
    })
}

/// Whether both rows are the same to the microsecond.
fn same(one: &[Option<Cell>], other: &[Option<Cell>]) -> bool {
    let equal = |pair: (&Option<Cell>, &Option<Cell>)| match pair {
        (Some(Cell::Timestamp(one)), Some(Cell::Timestamp(other))) => {
            one.timestamp_micros() == other.timestamp_micros()
        }
        (one, other) => one == other,
    };
    one.len() == other.len() && one.iter().zip(other).all(equal)
}

fn batch_rows(columns: &[TableColumn], batch: &RecordBatch, rows: &mut Vec<SystemRow>) -> Result<()> {
    let first = rows.len();
    rows.resize_with(first + batch.num_rows(), || Vec::with_capacity(columns.len()));
    for column in columns {
        let cells = read_cells(column, batch)?;
        for (row, cell) in rows[first..].iter_mut().zip(cells) {
            if column.required && cell.is_none() {
                return Err(corrupt(format!("`{}` lacks a value", column.name)));
            }
            row.push(cell);
        }
    }
    Ok(())
}

fn read_cells(wanted: &TableColumn, batch: &RecordBatch) -> Result<Vec<Option<Cell>>> {
    let name = wanted.name;
    if !wanted.required && batch.column_by_name(name).is_none() {
        return Ok(vec![None; batch.num_rows()]);
    }
    let other = || corrupt(format!("`{name}` holds something else"));
    let array = column(batch, name)?;
    Ok(match &wanted.kind {
        ColumnKind::Text => {
            texts(batch, name)?.iter().map(|cell| cell.map(|cell| Cell::Text(cell.to_owned()))).collect()
        }
        ColumnKind::Integer => {
            let cells = array.as_primitive_opt::<Int64Type>().ok_or_else(other)?;
            cells.iter().map(|cell| cell.map(Cell::Integer)).collect()
        }
        ColumnKind::Boolean => {
            let cells = array.as_boolean_opt().ok_or_else(other)?;
            cells.iter().map(|cell| cell.map(Cell::Boolean)).collect()
        }
        ColumnKind::Timestamp => {
            let cells = array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(other)?;
            let moment = |cell| DateTime::from_timestamp_micros(cell).map(Cell::Timestamp).ok_or_else(other);
            cells.iter().map(|cell| cell.map(moment).transpose()).collect::<Result<_>>()?
        }
        kind => return Err(odd(kind)),
    })
}

fn odd(kind: &ColumnKind) -> Error {
    bug(format!("a system table has no columns of {kind:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::{Bound, field_ids, system_tables};

    fn moment(n: i64) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_micros(1_780_000_000_123_456 + n).expect("a valid time")
    }

    fn columns(table: &str) -> Vec<TableColumn> {
        let tables = system_tables();
        tables.into_iter().find(|it| it.table == table).expect("a system table").columns
    }

    /// The row number `n`; every third has no value where none is needed.
    fn row(columns: &[TableColumn], n: i64) -> SystemRow {
        let cell = |column: &TableColumn| match column.kind {
            _ if !column.required && n % 3 == 0 => None,
            ColumnKind::Integer => Some(Cell::Integer(n)),
            ColumnKind::Boolean => Some(Cell::Boolean(n % 2 == 0)),
            ColumnKind::Timestamp => Some(Cell::Timestamp(moment(n))),
            _ => Some(Cell::Text(format!("{} {n:05} {}", column.name, "é".repeat(40)))),
        };
        columns.iter().map(cell).collect()
    }

    #[test]
    fn every_system_table_gives_back_its_rows_in_their_order() {
        for table in system_tables() {
            let (columns, ids) = (&table.columns, field_ids(&table.columns));
            let rows: Vec<SystemRow> = (0..1300).rev().map(|n| row(columns, n)).collect();
            let part = encode_rows(columns, &ids, &rows).expect("a part");
            assert_eq!((part.rows, part.content), (1300, Content::Records), "{}", table.table);
            assert_eq!(read_rows(columns, part.bytes.clone()).expect("rows"), rows, "{}", table.table);
            assert_eq!(encode_rows(columns, &ids, &rows).expect("a part").sha256, part.sha256);
        }
    }

    #[test]
    fn bounds_of_a_system_table_are_exact_or_absent() {
        let columns = columns("_tombstones");
        let ids = field_ids(&columns);
        let rows: Vec<SystemRow> = (0..1300).map(|n| row(&columns, n)).collect();
        let part = encode_rows(&columns, &ids, &rows).expect("a part");
        let told = |name: &str| part.statistics[&ids[name]].clone();
        let text = |name: &str, n: usize| Bound::Text(format!("{name} {n:05} {}", "é".repeat(40)));
        assert_eq!(told("key").bounds, Some((text("key", 0), text("key", 1299))));
        assert_eq!(told("parent").bounds, Some((text("parent", 1), text("parent", 1298))));
        assert_eq!(told("parent").nulls, Some(434));
        assert_eq!(told("snapshot").bounds, Some((Bound::Integer(0), Bound::Integer(1299))));
        let micros = |n| Bound::Timestamp(moment(n).timestamp_micros());
        assert_eq!(told("gone_at").bounds, Some((micros(0), micros(1299))));
        assert_eq!((told("hash").bounds, told("raw").bounds), (None, None));
    }

    #[test]
    fn a_row_that_is_not_what_the_columns_say_is_a_bug() {
        let columns = columns("_coverage");
        let good = row(&columns, 1);
        let mut none = good.clone();
        none[0] = None;
        let mut kind = good.clone();
        kind[4] = Some(Cell::Integer(1));
        let short = good[..4].to_vec();
        let long = [good.clone(), vec![None]].concat();
        for wrong in [none, kind, short, long] {
            let rows = [good.clone(), wrong];
            let refused = encode_rows(&columns, &field_ids(&columns), &rows).expect_err("refused");
            assert_eq!(refused.kind(), ErrorKind::Bug);
            assert!(refused.to_string().contains("row 1"), "{refused}");
        }
        let refused = encode_rows(&columns, &field_ids(&columns), &[]).expect_err("no rows");
        assert_eq!(refused.kind(), ErrorKind::Bug);
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_not_kept() {
        let columns = columns("_coverage");
        let mut fine = row(&columns, 1);
        fine[4] = Some(Cell::Timestamp(moment(5) + chrono::TimeDelta::nanoseconds(999)));
        let part = encode_rows(&columns, &field_ids(&columns), &[fine]).expect("a part");
        let rows = read_rows(&columns, part.bytes).expect("rows");
        assert_eq!(rows[0][4], Some(Cell::Timestamp(moment(5))));
    }

    #[test]
    fn a_part_without_a_column_gives_nulls_where_they_are_allowed() {
        let older: Vec<TableColumn> = columns("_gaps").into_iter().take(7).collect();
        let rows = [row(&older, 1)];
        let part = encode_rows(&older, &field_ids(&older), &rows).expect("a part");
        let read = read_rows(&columns("_gaps"), part.bytes.clone()).expect("rows");
        assert_eq!(read[0], [rows[0].clone(), vec![None; 4]].concat());
        let refused = read_rows(&columns("_coverage"), part.bytes).expect_err("another table");
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn damaged_rows_are_corrupt_and_never_a_panic() {
        let columns = columns("_gaps");
        let rows: Vec<SystemRow> = (0..9).map(|n| row(&columns, n)).collect();
        let whole = encode_rows(&columns, &field_ids(&columns), &rows).expect("a part").bytes;
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            for bytes in [Bytes::from(bytes), whole.slice(..at)] {
                if let Err(refused) = read_rows(&columns, bytes) {
                    assert_eq!(refused.kind(), ErrorKind::Corrupt);
                }
            }
        }
    }
}
