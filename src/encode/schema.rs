//! The Arrow schema of a table.
//!
//! Rule: every field carries the id that the table's Iceberg metadata gave it. Readers of the table go by these ids
//! and never by names, so a field without one would silently read as null.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{ColumnKind, FieldIds, TableColumn, table_columns};
use crate::resources::Resource;

/// How Iceberg's moments are spelled in Arrow.
pub(super) const UTC: &str = "+00:00";

/// The Arrow schema of the table of `resource`, with the ids of its Iceberg metadata.
///
/// # Errors
/// Bug, if `ids` lacks a column: the table's metadata has to be brought up to date first.
pub fn schema(resource: &Resource, ids: &FieldIds) -> Result<SchemaRef> {
    schema_of(&table_columns(resource), ids)
        .map_err(|e| e.doing(format!("make the schema of {}", resource.table)))
}

/// The Arrow schema of a table with these columns.
pub(super) fn schema_of(columns: &[TableColumn], ids: &FieldIds) -> Result<SchemaRef> {
    Ok(Arc::new(Schema::new(fields_of(columns, "", ids)?)))
}

fn fields_of(columns: &[TableColumn], prefix: &str, ids: &FieldIds) -> Result<Fields> {
    columns
        .iter()
        .map(|column| {
            let path = format!("{prefix}{}", column.name);
            field_of(column.name, &column.kind, &path, ids)
                .map(|field| Arc::new(field.with_nullable(!column.required)))
        })
        .collect()
}

fn field_of(name: &str, kind: &ColumnKind, path: &str, ids: &FieldIds) -> Result<Field> {
    let id = ids
        .get(path)
        .ok_or_else(|| Error::new(ErrorKind::Bug, format!("the column `{path}` has no field id")))?;
    let data_type = match kind {
        ColumnKind::Text => DataType::Utf8,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Integer => DataType::Int64,
        ColumnKind::Number => DataType::Float64,
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ColumnKind::Struct(columns) => DataType::Struct(fields_of(columns, &format!("{path}."), ids)?),
        ColumnKind::List(element) => {
            DataType::List(Arc::new(field_of("element", element, &format!("{path}.element"), ids)?))
        }
    };
    Ok(with_id(Field::new(name, data_type, true), *id))
}

pub(super) fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}
