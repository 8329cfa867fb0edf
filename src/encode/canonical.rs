//! The digest of a record: what must differ for a record to count as changed.
//!
//! It is the SHA-256 of a JSON text without white space, which anyone can make again from `_raw`:
//! - Objects hold their declared columns alone, sorted by name; absent and null are the same and are left out, so a
//!   column that is added later changes no digest of records that lack it.
//! - A reference is `{"gid":...}`: renaming a user must not rewrite every task.
//! - A list of references is a set (followers, tags, members): sorted, because Asana promises no order. A list of
//!   objects or texts keeps its order: it is the user's (the options of an enum) or, if not, costs a row at worst.
//! - `1`, `1.0` and `1e0` are one number. Texts, dates and moments count by their code points.
//! - An echo counts only where its neighbours say nothing.
//! - A value that does not fit its column counts as the JSON it is.
//!
//! Rule: two records of one digest have the same columns, but for the order of sets. Nothing here depends on the
//! order in which a JSON object keeps its keys.

use std::io::Write;

use serde_json::{Map, Number, Value};

use crate::model::Hash;
use crate::resources::{Column, Resource, Shape};

/// What a column keeps of another record.
pub(super) static REFERENCE: &[Column] = &[Column { name: "gid", shape: Shape::Word }];

/// The digest of the canonical form of `record`, which hangs below `parent`. The parent counts where the record
/// does not say it itself, that is, where the resource has a column for it.
#[must_use]
pub fn hash(resource: &Resource, record: &Value, parent: Option<&str>) -> Hash {
    Hash::of(&canonical(resource, record, parent))
}

pub(super) fn canonical(resource: &Resource, record: &Value, parent: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    match record {
        Value::Object(fields) => object(resource.columns, fields, parent, &mut out),
        other => json(other, &mut out),
    }
    out
}

/// The value of `name`, where there is one: null is none.
pub(super) fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// The value of `column`, where it counts: an echo is none where a neighbour says something.
pub(super) fn counted<'a>(
    columns: &[Column],
    column: &Column,
    fields: &'a Map<String, Value>,
) -> Option<&'a Value> {
    let value = present(fields, column.name)?;
    let echoes = matches!(column.shape, Shape::Echo)
        && columns.iter().any(|neighbour| {
            !matches!(neighbour.shape, Shape::Word | Shape::Echo)
                && fields.get(neighbour.name).is_some_and(says_something)
        });
    (!echoes).then_some(value)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(fields) => fields.values().any(says_something),
        _ => true,
    }
}

fn object(columns: &[Column], fields: &Map<String, Value>, parent: Option<&str>, out: &mut Vec<u8>) {
    enum Said<'a> {
        Value(&'a Shape, &'a Value),
        Parent(&'a str),
    }
    let mut said: Vec<(&str, Said<'_>)> = columns
        .iter()
        .filter_map(|column| {
            let said = match column.shape {
                Shape::ListedUnder => Said::Parent(parent?),
                _ => Said::Value(&column.shape, counted(columns, column, fields)?),
            };
            Some((column.name, said))
        })
        .collect();
    said.sort_unstable_by_key(|(name, _)| *name);
    out.push(b'{');
    for (at, (name, said)) in said.iter().enumerate() {
        separate(at, out);
        text(name, out);
        out.push(b':');
        match said {
            Said::Value(shape, value) => shaped(shape, value, out),
            Said::Parent(gid) => {
                out.extend_from_slice(b"{\"gid\":");
                text(gid, out);
                out.push(b'}');
            }
        }
    }
    out.push(b'}');
}

fn shaped(shape: &Shape, value: &Value, out: &mut Vec<u8>) {
    match (shape, value) {
        (Shape::Reference(_), Value::Object(fields)) => object(REFERENCE, fields, None, out),
        (Shape::Struct(columns), Value::Object(fields)) => object(columns, fields, None, out),
        (Shape::References(_), Value::Array(elements)) => {
            let mut set: Vec<Vec<u8>> = elements.iter().map(|element| one(REFERENCE, element)).collect();
            set.sort_unstable();
            list(&set, out);
        }
        (Shape::Structs(columns), Value::Array(elements)) => {
            let elements: Vec<Vec<u8>> = elements.iter().map(|element| one(columns, element)).collect();
            list(&elements, out);
        }
        _ => json(value, out),
    }
}

fn one(columns: &[Column], element: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match element {
        Value::Object(fields) => object(columns, fields, None, &mut out),
        other => json(other, &mut out),
    }
    out
}

fn list(elements: &[Vec<u8>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, element) in elements.iter().enumerate() {
        separate(at, out);
        out.extend_from_slice(element);
    }
    out.push(b']');
}

/// Any JSON, with sorted keys and canonical numbers.
fn json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(value) => number(value, out),
        Value::String(value) => text(value, out),
        Value::Array(elements) => {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                separate(at, out);
                json(element, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                separate(at, out);
                text(name, out);
                out.push(b':');
                json(value, out);
            }
            out.push(b'}');
        }
    }
}

fn number(value: &Number, out: &mut Vec<u8>) {
    /// Two to the 64th: below it, a float without a fraction is written as the whole number it is.
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    if let Some(whole) = value.as_i64() {
        print(out, format_args!("{whole}"));
    } else if let Some(whole) = value.as_u64() {
        print(out, format_args!("{whole}"));
    } else {
        match value.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole and far below the limits of i128")]
            Some(float) if float.fract() == 0.0 && float.abs() < WHOLE => {
                print(out, format_args!("{}", float as i128));
            }
            Some(float) => print(out, format_args!("{float:e}")),
            None => print(out, format_args!("{value}")),
        }
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail");
}

fn print(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to memory does not fail");
}

fn separate(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}
