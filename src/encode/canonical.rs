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

use serde_json::Value;

use crate::encode::json::{Json, Object};
use crate::model::Hash;
use crate::resources::{Column, Resource, Shape};

/// What a column keeps of another record.
pub(super) static REFERENCE: &[Column] = &[Column { name: "gid", shape: Shape::Word }];

/// The digest of the canonical form of `record`, which hangs below `parent`. The parent counts where the record
/// does not say it itself, that is, where the resource has a column for it.
#[must_use]
pub fn hash(resource: &Resource, record: &Value, parent: Option<&str>) -> Hash {
    digest(resource, &Json::from(record), parent)
}

pub(super) fn digest(resource: &Resource, record: &Json<'_>, parent: Option<&str>) -> Hash {
    Hash::of(&canonical(resource, record, parent))
}

fn canonical(resource: &Resource, record: &Json<'_>, parent: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    match record {
        Json::Object(fields) => object(resource.columns, fields, parent, &mut out),
        other => json(other, &mut out),
    }
    out
}

/// The value of `column`, where it counts: an echo is none where a neighbour says something.
pub(super) fn counted<'j, 'a>(
    columns: &[Column],
    column: &Column,
    fields: &'j Object<'a>,
) -> Option<&'j Json<'a>> {
    let value = fields.get(column.name)?;
    let echoes = matches!(column.shape, Shape::Echo)
        && columns.iter().any(|neighbour| {
            !matches!(neighbour.shape, Shape::Word | Shape::Echo)
                && fields.get(neighbour.name).is_some_and(says_something)
        });
    (!echoes).then_some(value)
}

fn says_something(value: &Json<'_>) -> bool {
    match value {
        Json::Null => false,
        Json::List(elements) => !elements.is_empty(),
        Json::Object(fields) => fields.sorted().into_values().any(says_something),
        _ => true,
    }
}

fn object(columns: &[Column], fields: &Object<'_>, parent: Option<&str>, out: &mut Vec<u8>) {
    enum Said<'a, 'j> {
        Value(&'a Shape, &'a Json<'j>),
        Parent(&'a str),
    }
    let mut said: Vec<(&str, Said<'_, '_>)> = Vec::with_capacity(columns.len());
    said.extend(columns.iter().filter_map(|column| {
        let said = match column.shape {
            Shape::ListedUnder => Said::Parent(parent?),
            _ => Said::Value(&column.shape, counted(columns, column, fields)?),
        };
        Some((column.name, said))
    }));
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

fn shaped(shape: &Shape, value: &Json<'_>, out: &mut Vec<u8>) {
    match (shape, value) {
        (Shape::Reference(_), Json::Object(fields)) => object(REFERENCE, fields, None, out),
        (Shape::Struct(columns), Json::Object(fields)) => object(columns, fields, None, out),
        (Shape::References(_), Json::List(elements)) => {
            let one = |element| {
                let mut out = Vec::new();
                of(REFERENCE, element, &mut out);
                out
            };
            let mut set: Vec<Vec<u8>> = elements.iter().map(one).collect();
            set.sort_unstable();
            list(set, out, |element, out| out.extend(element));
        }
        (Shape::Structs(columns), Json::List(elements)) => {
            list(elements, out, |element, out| of(columns, element, out));
        }
        _ => json(value, out),
    }
}

/// One element of a list whose objects have these `columns`.
fn of(columns: &[Column], element: &Json<'_>, out: &mut Vec<u8>) {
    match element {
        Json::Object(fields) => object(columns, fields, None, out),
        other => json(other, out),
    }
}

fn list<T>(elements: impl IntoIterator<Item = T>, out: &mut Vec<u8>, each: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, element) in elements.into_iter().enumerate() {
        separate(at, out);
        each(element, out);
    }
    out.push(b']');
}

/// Any JSON, with sorted keys and canonical numbers.
fn json(value: &Json<'_>, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Boolean(truth) => print(out, format_args!("{truth}")),
        Json::Integer(whole) => print(out, format_args!("{whole}")),
        Json::Beyond(whole) => print(out, format_args!("{whole}")),
        Json::Float(number) => float(*number, out),
        Json::Text(value) => text(value, out),
        Json::List(elements) => list(elements, out, json),
        Json::Object(fields) => {
            out.push(b'{');
            for (at, (name, value)) in fields.sorted().into_iter().enumerate() {
                separate(at, out);
                text(name, out);
                out.push(b':');
                json(value, out);
            }
            out.push(b'}');
        }
    }
}

fn float(number: f64, out: &mut Vec<u8>) {
    /// Two to the 64th: below it, a float without a fraction is written as the whole number it is.
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    if number.fract() == 0.0 && number.abs() < WHOLE {
        #[expect(clippy::cast_possible_truncation, reason = "whole and far below the limits of i128")]
        let whole = number as i128;
        print(out, format_args!("{whole}"));
    } else {
        print(out, format_args!("{number:e}"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources;

    fn form(table: &str, record: &Value) -> String {
        let resource = resources::by_table(table).expect("the table exists");
        String::from_utf8(canonical(resource, &Json::from(record), Some("7"))).expect("text")
    }

    #[track_caller]
    fn equal(table: &str, one: &Value, other: &Value) {
        assert_eq!(form(table, one), form(table, other));
    }

    #[track_caller]
    fn different(table: &str, one: &Value, other: &Value) {
        assert_ne!(form(table, one), form(table, other));
    }

    fn custom(field: &Value) -> Value {
        let mut field = field.clone();
        field["gid"] = json!("9");
        json!({"gid": "1", "custom_fields": [field]})
    }

    #[test]
    fn a_digest_can_be_made_again_by_anyone() {
        let task = json!({
            "resource_type": "task", "gid": "1", "name": "a \"b\"\n\u{1f600}", "html_notes": null,
            "assignee": {"gid": "2", "resource_type": "user", "name": "Ann"}, "completed": false,
            "num_likes": 3.0, "actual_time_minutes": 0.1, "unknown": 1,
            "tags": [{"gid": "6", "name": "y"}, {"gid": "5", "name": "z"}],
            "memberships": [{"section": {"gid": "4"}, "project": {"gid": "3", "name": "P"}}],
        });
        let expected = r#"{"actual_time_minutes":1e-1,"assignee":{"gid":"2"},"completed":false,"gid":"1","memberships":[{"project":{"gid":"3"},"section":{"gid":"4"}}],"name":"a \"b\"\n😀","num_likes":3,"resource_type":"task","tags":[{"gid":"5"},{"gid":"6"}]}"#;
        assert_eq!(form("tasks", &task), expected);
        let tasks = resources::named("tasks");
        assert_eq!(hash(tasks, &task, None), Hash::of(expected.as_bytes()));
    }

    #[test]
    fn renaming_what_a_record_refers_to_leaves_its_digest() {
        let task = |user: &str, option: &str| {
            json!({"gid": "1", "assignee": {"gid": "2", "name": user}, "custom_fields": [{
                "gid": "3", "name": option, "enum_value": {"gid": "4", "name": option, "color": option},
                "people_value": [{"gid": "5", "name": user}], "display_value": option}]})
        };
        equal("tasks", &task("Ann", "High"), &task("Anna", "Highest"));
    }

    #[test]
    fn every_value_of_a_record_counts() {
        let task = |field: &str, value: Value| json!({"gid": "1", field: value});
        let pairs = [
            ("assignee", json!({"gid": "2"}), json!({"gid": "3"})),
            ("assignee", json!({"gid": "2"}), json!("2")),
            ("assignee", json!({}), json!(null)),
            ("name", json!("a"), json!("a ")),
            ("name", json!("\u{e9}"), json!("e\u{301}")),
            ("name", json!("1"), json!(1)),
            ("name", json!(""), json!(null)),
            ("completed", json!(false), json!(null)),
            ("num_likes", json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)),
            ("actual_time_minutes", json!(0.1), json!(0.1 + f64::EPSILON)),
            ("tags", json!([]), json!(null)),
            ("tags", json!([{"gid": "1"}]), json!([{"gid": "1"}, {"gid": "1"}])),
            ("external", json!({}), json!(null)),
            ("likes", json!([{"gid": "1"}, {"gid": "2"}]), json!([{"gid": "2"}, {"gid": "1"}])),
        ];
        for (field, one, other) in pairs {
            different("tasks", &task(field, one), &task(field, other));
        }
    }

    #[test]
    fn the_same_value_in_other_words_is_the_same() {
        let task = |field: &str, value: &str| json!({"gid": "1", field: serde_json::from_str::<Value>(value).expect("JSON")});
        let pairs = [
            ("num_likes", "1", "1.0"),
            ("num_likes", "1", "10e-1"),
            ("num_likes", "0", "-0.0"),
            ("num_likes", "1000000000000000000", "1e18"),
            ("actual_time_minutes", "0.30000000000000004", "3.0000000000000004e-1"),
            ("name", "\"\\u00e9\"", "\"é\""),
            ("tags", r#"[{"gid":"1"},{"gid":"2"}]"#, r#"[{"gid":"2"},{"gid":"1"}]"#),
            ("external", r#"{"gid":null,"more":1}"#, "{}"),
            ("name", r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#),
        ];
        for (field, one, other) in pairs {
            equal("tasks", &task(field, one), &task(field, other));
        }
        equal("tasks", &json!({"gid": "1", "name": null}), &json!({"gid": "1"}));
    }

    #[test]
    fn an_echo_counts_only_where_no_neighbour_says_anything() {
        let quiet = [json!({}), json!({"resource_subtype": "custom_id"}), json!({"people_value": []})];
        let loud = [
            json!({"number_value": 0}),
            json!({"text_value": ""}),
            json!({"enum_value": {"gid": "1"}}),
            json!({"date_value": {"date": "2026-01-01", "date_time": null}}),
        ];
        let echoing = |field: &Value, echo: &str| {
            let mut field = field.clone();
            field["display_value"] = json!(echo);
            custom(&field)
        };
        for field in &quiet {
            different("tasks", &echoing(field, "ID-1"), &echoing(field, "ID-2"));
        }
        for field in &loud {
            equal("tasks", &echoing(field, "one"), &echoing(field, "other"));
            different("tasks", &echoing(field, "one"), &echoing(&quiet[0], "one"));
        }
    }

    #[test]
    fn the_parent_counts_where_the_record_does_not_say_it() {
        let hash_of = |table: &str, parent| {
            let resource = resources::by_table(table).expect("the table exists");
            hash(resource, &json!({"gid": "1"}), parent)
        };
        assert_ne!(hash_of("portfolio_items", Some("7")), hash_of("portfolio_items", Some("8")));
        assert_eq!(hash_of("tasks", Some("7")), hash_of("tasks", None));
    }
}
