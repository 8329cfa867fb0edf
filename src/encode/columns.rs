//! From JSON to Arrow: the typed columns of a table.
//!
//! Rule: a value that does not fit its column becomes null there and is counted; `_raw` keeps it whole. No JSON
//! whatsoever is an error here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, NaiveDate};

use crate::encode::canonical::{REFERENCE, counted};
use crate::encode::json::{Json, Object};
use crate::encode::schema::UTC;
use crate::resources::{Column, Resource, Shape};

/// The typed columns of one resource, growing row by row.
pub(super) struct Columns(Group);

impl Columns {
    pub(super) fn new(resource: &'static Resource) -> Self {
        Self(Group::new(resource.columns))
    }

    /// Adds one row: `record`, which hangs below `parent`.
    pub(super) fn push(&mut self, record: &Json<'_>, parent: Option<&str>) {
        self.0.push(record.object(), parent);
    }

    /// The rows so far as arrays, whose fields are the first of `fields`; begins again with none.
    pub(super) fn finish(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
        self.0.finish(fields)
    }

    /// Adds the number of misfits since the beginning to `counts`, by the path of their column.
    pub(super) fn misfits(&self, counts: &mut BTreeMap<String, u64>) {
        self.0.misfits("", counts);
    }
}

/// The fields of an object.
struct Group {
    columns: &'static [Column],
    cells: Vec<Cells>,
}

/// The values of one column, and how many did not fit.
struct Cells {
    values: Values,
    misfits: u64,
}

enum Values {
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Struct { group: Group, present: NullBufferBuilder },
    List { element: Box<Cells>, lengths: Vec<usize>, present: NullBufferBuilder },
}

impl Group {
    fn new(columns: &'static [Column]) -> Self {
        Self { columns, cells: columns.iter().map(|column| Cells::of(&column.shape)).collect() }
    }

    fn push(&mut self, object: Option<&Object<'_>>, parent: Option<&str>) {
        for (column, cells) in self.columns.iter().zip(&mut self.cells) {
            match column.shape {
                Shape::ListedUnder => cells.push_reference(parent),
                _ => cells.push(object.and_then(|fields| counted(self.columns, column, fields))),
            }
        }
    }

    fn finish(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
        self.cells.iter_mut().zip(fields).map(|(cells, field)| cells.values.finish(field)).collect()
    }

    fn misfits(&self, prefix: &str, counts: &mut BTreeMap<String, u64>) {
        for (column, cells) in self.columns.iter().zip(&self.cells) {
            cells.misfits(format!("{prefix}{}", column.name), counts);
        }
    }
}

impl Cells {
    fn of(shape: &Shape) -> Self {
        let text = || Values::Text(StringBuilder::new());
        let values = match shape {
            Shape::Text | Shape::Word | Shape::Echo => text(),
            Shape::Boolean => Values::Boolean(BooleanBuilder::new()),
            Shape::Integer => Values::Integer(Int64Builder::new()),
            Shape::Number => Values::Number(Float64Builder::new()),
            Shape::Date => Values::Date(Date32Builder::new()),
            Shape::Timestamp => Values::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            Shape::Texts => Values::list(text()),
            Shape::Reference(_) | Shape::ListedUnder => Values::group(REFERENCE),
            Shape::References(_) => Values::list(Values::group(REFERENCE)),
            Shape::Struct(columns) => Values::group(columns),
            Shape::Structs(columns) => Values::list(Values::group(columns)),
        };
        Self { values, misfits: 0 }
    }

    /// Adds a value; none is null.
    fn push(&mut self, value: Option<&Json<'_>>) {
        let fits = match &mut self.values {
            Values::Text(cells) => {
                let text = value.and_then(Json::text);
                cells.append_option(text);
                text.is_some()
            }
            Values::Boolean(cells) => {
                let truth = value.and_then(truth);
                cells.append_option(truth);
                truth.is_some()
            }
            Values::Integer(cells) => {
                let whole = value.and_then(whole);
                cells.append_option(whole);
                whole.is_some()
            }
            Values::Number(cells) => {
                let number = value.and_then(number);
                cells.append_option(number);
                number.is_some()
            }
            Values::Date(cells) => {
                let day = value.and_then(Json::text).and_then(day);
                cells.append_option(day);
                day.is_some()
            }
            Values::Timestamp(cells) => {
                let moment = value.and_then(Json::text).and_then(moment);
                cells.append_option(moment);
                moment.is_some()
            }
            Values::Struct { group, present } => {
                let object = value.and_then(Json::object);
                group.push(object, None);
                present.append(object.is_some());
                object.is_some()
            }
            Values::List { element, lengths, present } => {
                let elements = value.and_then(Json::list);
                for value in elements.into_iter().flatten() {
                    element.push(Some(value).filter(|value| !matches!(value, Json::Null)));
                }
                lengths.push(elements.map_or(0, <[_]>::len));
                present.append(elements.is_some());
                elements.is_some()
            }
        };
        self.misfits += u64::from(value.is_some() && !fits);
    }

    /// Adds a reference to `gid`.
    fn push_reference(&mut self, gid: Option<&str>) {
        if let Values::Struct { group, present } = &mut self.values {
            present.append(gid.is_some());
            for cells in &mut group.cells {
                if let Values::Text(cells) = &mut cells.values {
                    cells.append_option(gid);
                }
            }
        }
    }

    fn misfits(&self, path: String, counts: &mut BTreeMap<String, u64>) {
        match &self.values {
            Values::Struct { group, .. } => group.misfits(&format!("{path}."), counts),
            Values::List { element, .. } => element.misfits(format!("{path}.element"), counts),
            _ => {}
        }
        if self.misfits > 0 {
            *counts.entry(path).or_default() += self.misfits;
        }
    }
}

impl Values {
    fn group(columns: &'static [Column]) -> Self {
        Self::Struct { group: Group::new(columns), present: NullBufferBuilder::new(0) }
    }

    fn list(element: Values) -> Self {
        Self::List {
            element: Box::new(Cells { values: element, misfits: 0 }),
            lengths: Vec::new(),
            present: NullBufferBuilder::new(0),
        }
    }

    fn finish(&mut self, field: &Field) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self {
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Integer(cells) => Arc::new(cells.finish()),
            Self::Number(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Timestamp(cells) => Arc::new(cells.finish()),
            Self::Struct { group, present } => {
                let DataType::Struct(fields) = field.data_type() else { return Err(disagree(field)) };
                let length = present.len();
                let arrays = group.finish(fields)?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, present.finish(), length)?)
            }
            Self::List { element, lengths, present } => {
                let DataType::List(inner) = field.data_type() else { return Err(disagree(field)) };
                let offsets = offsets(lengths)?;
                lengths.clear();
                let values = element.values.finish(inner)?;
                Arc::new(ListArray::try_new(Arc::clone(inner), offsets, values, present.finish())?)
            }
        };
        Ok(array)
    }
}

/// Where each list ends: a batch is far too small for these to overflow, unless somebody makes it larger.
fn offsets(lengths: &[usize]) -> Result<OffsetBuffer<i32>, ArrowError> {
    let mut end = 0_usize;
    let mut ends = vec![0];
    for length in lengths {
        end += length;
        ends.push(i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?);
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}

fn disagree(field: &Field) -> ArrowError {
    ArrowError::SchemaError(format!("the type of `{}` is not that of its resource", field.name()))
}

fn truth(value: &Json<'_>) -> Option<bool> {
    match value {
        Json::Boolean(truth) => Some(*truth),
        _ => None,
    }
}

/// A whole number, however it is spelled: `3`, `3.0`, `3e0`.
fn whole(value: &Json<'_>) -> Option<i64> {
    /// Two to the 63rd.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Json::Integer(whole) => Some(*whole),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the range")]
        Json::Float(float) if float.fract() == 0.0 && (-BEYOND..BEYOND).contains(float) => {
            Some(*float as i64)
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what the type of the column can hold; `_raw` has every digit"
)]
fn number(value: &Json<'_>) -> Option<f64> {
    match value {
        Json::Integer(whole) => Some(*whole as f64),
        Json::Beyond(whole) => Some(*whole as f64),
        Json::Float(number) => Some(*number),
        _ => None,
    }
}

/// Days since 1970-01-01, of `YYYY-MM-DD`.
fn day(text: &str) -> Option<i32> {
    const EPOCH: i32 = 719_163;
    let part = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten()
    };
    let dashed = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    dashed.then(|| date.num_days_from_ce() - EPOCH)
}

/// Microseconds since 1970-01-01T00:00:00Z, of RFC 3339.
fn moment(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use arrow::util::display::array_value_to_string;
    use serde_json::{Value, json};

    use super::*;
    use crate::encode::schema;
    use crate::model::{field_ids, table_columns};
    use crate::resources;

    /// The column `name` of a row with `value` in it, as text, and the misfits.
    fn column(table: &str, name: &str, value: &Value) -> (String, BTreeMap<String, u64>) {
        let resource = resources::by_table(table).expect("the table exists");
        let schema = schema(resource, &field_ids(&table_columns(resource))).expect("a schema");
        let mut columns = Columns::new(resource);
        columns.push(&Json::from(&json!({"gid": "1", name: value})), Some("7"));
        let arrays = columns.finish(schema.fields()).expect("arrays");
        let at = schema.index_of(name).expect("a column");
        assert_eq!(arrays[at].data_type(), schema.field(at).data_type());
        let text = if arrays[at].is_null(0) {
            "null".into()
        } else {
            array_value_to_string(&arrays[at], 0).expect("text")
        };
        let mut misfits = BTreeMap::new();
        columns.misfits(&mut misfits);
        (text, misfits)
    }

    #[track_caller]
    fn fits(table: &str, name: &str, value: &Value, expected: &str) {
        assert_eq!(column(table, name, value), (expected.to_owned(), BTreeMap::new()), "{value}");
    }

    #[track_caller]
    fn misfits(name: &str, value: &Value, expected: &str, path: &str) {
        let counts = BTreeMap::from([(path.to_owned(), 1)]);
        assert_eq!(column("tasks", name, value), (expected.to_owned(), counts), "{value}");
    }

    #[test]
    fn every_shape_takes_what_asana_describes() {
        fits("tasks", "name", &json!("x"), "x");
        fits("tasks", "completed", &json!(true), "true");
        fits("tasks", "num_likes", &json!(i64::MIN), "-9223372036854775808");
        fits("tasks", "num_likes", &json!(3.0), "3");
        fits("tasks", "actual_time_minutes", &json!(3), "3.0");
        fits("tasks", "actual_time_minutes", &json!(0.25), "0.25");
        fits("tasks", "due_on", &json!("2024-02-29"), "2024-02-29");
        fits("tasks", "due_on", &json!("0001-01-01"), "0001-01-01");
        fits("tasks", "due_at", &json!("2024-01-02T03:04:05.678Z"), "2024-01-02T03:04:05.678Z");
        fits("tasks", "due_at", &json!("2024-01-02T03:04:05.123456+02:00"), "2024-01-02T01:04:05.123456Z");
        fits("tasks", "assignee", &json!({"gid": "2", "name": "Ann"}), "{gid: 2}");
        fits("tasks", "followers", &json!([{"gid": "3"}, {"gid": "2"}]), "[{gid: 3}, {gid: 2}]");
        fits("tasks", "followers", &json!([]), "[]");
        fits("tasks", "external", &json!({"gid": "e", "data": null}), "{gid: e, data: }");
        fits("workspaces", "email_domains", &json!(["a", null]), "[a, ]");
        fits("portfolio_items", "portfolio", &json!("ignored"), "{gid: 7}");
        for name in ["name", "completed", "num_likes", "due_on", "due_at", "assignee", "followers"] {
            fits("tasks", name, &Value::Null, "null");
        }
    }

    #[test]
    fn what_does_not_fit_is_null_and_counted() {
        misfits("name", &json!(1), "null", "name");
        misfits("completed", &json!("true"), "null", "completed");
        misfits("num_likes", &json!(1.5), "null", "num_likes");
        misfits("num_likes", &json!(u64::MAX), "null", "num_likes");
        misfits("num_likes", &json!(9.3e18), "null", "num_likes");
        misfits("actual_time_minutes", &json!("1"), "null", "actual_time_minutes");
        for date in
            ["2024-02-30", "2024-2-3", "2024-01-02T00:00:00Z", "2024/01/02", "+024-01-02", "", "20é4-1-02"]
        {
            misfits("due_on", &json!(date), "null", "due_on");
        }
        for moment in ["2024-01-02", "2024-01-02T03:04:05", "2024-13-02T03:04:05Z", ""] {
            misfits("due_at", &json!(moment), "null", "due_at");
        }
        misfits("assignee", &json!("2"), "null", "assignee");
        misfits("assignee", &json!({"gid": 2}), "{gid: }", "assignee.gid");
        misfits("followers", &json!({"gid": "2"}), "null", "followers");
        misfits("followers", &json!([{"gid": "2"}, 3, null]), "[{gid: 2}, , ]", "followers.element");
        misfits(
            "likes",
            &json!([{"gid": "1", "user": {"gid": []}}]),
            "[{gid: 1, user: {gid: }}]",
            "likes.element.user.gid",
        );
    }

    #[test]
    fn an_echo_is_kept_where_it_is_the_only_value() {
        let value = |field: Value| column("tasks", "custom_fields", &json!([field])).0;
        assert!(value(json!({"gid": "1", "display_value": "ID-7"})).contains("display_value: ID-7"));
        let number = value(json!({"gid": "1", "display_value": "7 h", "number_value": 7}));
        assert!(number.contains("number_value: 7.0") && number.contains("display_value: }"), "{number}");
    }
}
