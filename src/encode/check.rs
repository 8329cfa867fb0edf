//! The deep check of a part: everything in it is made again from `_raw` and compared.
//!
//! Rule: the check shares with the writer only what makes columns and digests of JSON; what came through Parquet is
//! never trusted. Digests, and columns that changed, are comparable within one version of the resources only: of a
//! part of another version, what both versions have is compared.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::encode::KeyRow;
use crate::encode::canonical::digest;
use crate::encode::columns::Columns;
use crate::encode::json::Json;
use crate::encode::part::RESOURCES;
use crate::encode::read::{corrupt, guarded, key_rows, required};
use crate::encode::record::{key, parent};
use crate::encode::schema::schema;
use crate::error::{Error, Result};
use crate::model::FieldIds;
use crate::resources;
use crate::resources::Resource;

/// Rows compared at once.
const BATCH_ROWS: usize = 256;

/// Makes every row of the part in `bytes` again from its JSON and compares: digest, key, parent, every typed
/// column, and that keys ascend. Returns the number of rows.
///
/// # Errors
/// Corrupt, naming the row and its key, at the first difference.
pub fn check_rows(resource: &'static Resource, ids: &FieldIds, bytes: Bytes) -> Result<u64> {
    let mut check = Check::open(resource, ids, bytes)?;
    while let Some(batch) = guarded(|| check.batches.next().transpose().map_err(corrupt))? {
        check.batch(&batch)?;
    }
    Ok(check.rows)
}

struct Check {
    resource: &'static Resource,
    schema: SchemaRef,
    batches: ParquetRecordBatchReader,
    columns: Columns,
    /// Whether the part was written by these definitions.
    same_version: bool,
    rows: u64,
    last_key: Option<Box<str>>,
}

impl Check {
    fn open(resource: &'static Resource, ids: &FieldIds, bytes: Bytes) -> Result<Self> {
        let schema = schema(resource, ids)?;
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt))?;
        let same_version = versions(&builder).as_deref() == Some(&resources::VERSION.to_string());
        if same_version && builder.schema().fields() != schema.fields() {
            return Err(corrupt(format!("its columns are not those of {}", resource.table)));
        }
        let batches = guarded(|| builder.with_batch_size(BATCH_ROWS).build().map_err(corrupt))?;
        let columns = Columns::new(resource);
        Ok(Self { resource, schema, batches, columns, same_version, rows: 0, last_key: None })
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let raw = required(batch, "_raw")?;
        for (at, head) in key_rows(batch, self.rows)?.into_iter().enumerate() {
            self.row(&head, raw.value(at)).map_err(|e| named(e, &head))?;
            self.last_key = Some(head.key);
        }
        self.compare(batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn row(&mut self, head: &KeyRow, raw: &str) -> Result<()> {
        let json = Json::read(raw).map_err(|cause| corrupt(format!("`_raw` is no JSON: {cause}")))?;
        let object = json.object().ok_or_else(|| corrupt("`_raw` is no object"))?;
        let stored = head.parent.as_deref();
        if parent(self.resource, object, stored) != stored {
            return Err(corrupt("`_parent` is not what `_raw` says"));
        }
        if key(self.resource, object, stored).as_deref() != Some(&*head.key) {
            return Err(corrupt("`_key` is not what `_raw` says"));
        }
        if self.last_key.as_ref().is_some_and(|last| *last >= head.key) {
            return Err(corrupt("the rows are not sorted by key"));
        }
        if self.same_version && digest(self.resource, &json, stored) != head.hash {
            return Err(corrupt("`_hash` is not that of `_raw`"));
        }
        self.columns.push(&json, stored);
        Ok(())
    }

    /// Compares the typed columns of `batch` with those made again, null for null.
    fn compare(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = Arc::clone(&self.schema);
        let made = self.columns.finish(schema.fields()).map_err(corrupt)?;
        for (field, made) in schema.fields().iter().zip(made) {
            let Some(stored) =
                batch.column_by_name(field.name()).filter(|it| it.data_type() == made.data_type())
            else {
                continue; // only in a part of another version: the schema was compared before
            };
            if **stored != *made {
                let differs = |at: &usize| stored.slice(*at, 1) != made.slice(*at, 1);
                let at = (0..batch.num_rows()).find(differs).unwrap_or(0);
                let head = &key_rows(&batch.slice(at, 1), self.rows + at as u64)?[0];
                let cause = corrupt(format!("`{}` is not what `_raw` says", field.name()));
                return Err(named(cause, head));
            }
        }
        Ok(())
    }
}

/// The versions of the resources that a part was written by.
pub(super) fn versions(builder: &ParquetRecordBatchReaderBuilder<Bytes>) -> Option<String> {
    let pairs = builder.metadata().file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == RESOURCES)?.value.clone()
}

fn named(cause: Error, head: &KeyRow) -> Error {
    cause.doing(format!("check row {}, key {}", head.position, head.key))
}
