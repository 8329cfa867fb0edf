//! From one JSON object to a record: its key, its parent, its digest, and what it refers to.
//!
//! Rule: the JSON is parsed to look at it and kept as it came. What Asana may answer wrongly in one field is a
//! column's business; only an answer that cannot be told apart from others, without a gid, is refused here.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::encode::canonical::digest;
use crate::encode::json::{Json, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Reading, Record};
use crate::resources;
use crate::resources::{Key, ParentOf, Resource};

/// A record with its JSON, parsed.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The record.
    pub record: Record,
    /// What its `raw` says.
    pub value: Value,
}

/// Makes a record of `raw`, one JSON object as Asana answered it to a listing of what hangs below `listed_under`;
/// none for a listing that only helps to find records which hang elsewhere.
///
/// # Errors
/// Unavailable, if it is no JSON object or has no gid: this is not what Asana describes.
pub fn record(
    resource: &'static Resource,
    raw: &str,
    listed_under: Option<&str>,
    reading: &Arc<Reading>,
) -> Result<Parsed> {
    let refuse = |what: String| unfit(resource, &what);
    let json = Json::read(raw).map_err(|cause| refuse(format!("that is not JSON it can read: {cause}")))?;
    let object = json.object().ok_or_else(|| refuse("that is no object".into()))?;
    let parent = parent(resource, object, listed_under);
    let key = key(resource, object, parent).ok_or_else(|| refuse("without a gid or parent to use".into()))?;
    let record = Record {
        resource,
        key: key.into(),
        parent: parent.map(Into::into),
        raw: raw.into(),
        hash: digest(resource, &json, parent),
        modified_at: modified_at(object),
        reading: Arc::clone(reading),
    };
    Ok(Parsed { record, value: json.to_value() })
}

/// Reads the JSON of a record, forgiving what Asana's own texts can contain: half a surrogate pair, such as an emoji
/// cut in two, reads as U+FFFD.
///
/// # Errors
/// The parser's own, with line and column: not JSON, nested deeper than 128, or a number beyond all floats.
pub fn parse(raw: &str) -> serde_json::Result<Value> {
    Json::read(raw).map(|json| json.to_value())
}

/// The value at a dotted path such as `user_task_list.gid`; null is none.
#[must_use]
pub fn field<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// Every record of another table that `value` refers to, by table and gid, sorted and each once: whatever object in
/// it says a `resource_type` that has a table. A relation refers to what it stands for.
#[must_use]
pub fn references(resource: &Resource, value: &Value) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) if resource.resource_type.is_some() => {
            fields.values().for_each(|value| refer(value, &mut found));
        }
        _ => refer(value, &mut found),
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn refer(value: &Value, found: &mut Vec<(&'static str, String)>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| refer(element, found)),
        Value::Object(fields) => {
            let resource_type = fields.get("resource_type").and_then(Value::as_str);
            if let Some(resource) = resource_type.and_then(resources::by_type)
                && let Some(gid) = fields.get("gid").and_then(Value::as_str).filter(|gid| usable(gid))
            {
                found.push((resource.table, gid.to_owned()));
            }
            fields.values().for_each(|value| refer(value, found));
        }
        _ => {}
    }
}

fn modified_at(object: &Object<'_>) -> Option<DateTime<Utc>> {
    let text = object.get("modified_at")?.text()?;
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc())
}

/// What identifies a record that hangs below `parent`.
pub(super) fn key<'a>(
    resource: &Resource,
    object: &'a Object<'_>,
    parent: Option<&str>,
) -> Option<Cow<'a, str>> {
    let gid = object.get("gid")?.text().filter(|gid| usable(gid))?;
    match resource.key {
        Key::Gid => Some(gid.into()),
        Key::ParentAndGid => Some(format!("{}/{gid}", parent?).into()),
    }
}

/// What a record hangs below: as it says itself, or else as it was listed.
pub(super) fn parent<'a>(
    resource: &Resource,
    object: &'a Object<'_>,
    listed_under: Option<&'a str>,
) -> Option<&'a str> {
    match resource.parent {
        ParentOf::Organization => None,
        ParentOf::Field(name) => {
            let gid = object.get(name).and_then(Json::object).and_then(|parent| parent.get("gid"));
            gid.and_then(Json::text).filter(|gid| usable(gid)).or(listed_under)
        }
        ParentOf::Listing => listed_under,
    }
}

/// Whether `gid` can go into a key and into a path: Asana's are digits, but nothing promises that.
fn usable(gid: &str) -> bool {
    const LONGEST: usize = 256;
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#%".contains(&byte);
    !gid.is_empty() && gid.len() <= LONGEST && gid.bytes().all(plain)
}

fn unfit(resource: &Resource, what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("Asana answered a record of {} {what}", resource.table))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Lane;

    fn read(table: &str, raw: &str, listed_under: Option<&str>) -> Result<Parsed> {
        let moment = DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time");
        let reading = Reading { lane: Lane::Walk, fields: "x".into(), began_at: moment, seen_at: moment };
        record(resources::by_table(table).expect("the table exists"), raw, listed_under, &Arc::new(reading))
    }

    #[track_caller]
    fn check(table: &str, raw: &str, listed_under: Option<&str>, key: &str, parent: Option<&str>) {
        let found = read(table, raw, listed_under).expect("a record").record;
        assert_eq!((&*found.key, found.parent.as_deref(), &*found.raw), (key, parent, raw));
    }

    #[test]
    fn a_record_is_identified_as_its_resource_says() {
        check("users", r#"{"gid":"1"}"#, Some("9"), "1", None);
        check("tasks", r#" {"gid":"1","parent":{"gid":"2"}} "#, Some("9"), "1", Some("2"));
        check("tasks", r#"{"gid":"1","parent":null}"#, Some("9"), "1", Some("9"));
        check("tasks", r#"{"gid":"1"}"#, None, "1", None);
        check("portfolio_items", r#"{"gid":"1"}"#, Some("9"), "9/1", Some("9"));
    }

    #[test]
    fn the_moment_of_the_last_change_is_taken_along() {
        let modified = |text: &str| {
            let raw = json!({"gid": "1", "modified_at": text}).to_string();
            read("tasks", &raw, None).expect("a record").record.modified_at.map(|moment| moment.to_rfc3339())
        };
        assert_eq!(modified("2024-01-02T03:04:05.678Z").as_deref(), Some("2024-01-02T03:04:05.678+00:00"));
        assert_eq!(modified("yesterday"), None);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused_with_its_table() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let refused = [
            "",
            "[]",
            "null",
            "{",
            "{}",
            r#"{"gid":1}"#,
            r#"{"gid":null}"#,
            r#"{"gid":""}"#,
            r#"{"gid":"1/2"}"#,
            r#"{"gid":"1 2"}"#,
            r#"{"gid":"é"}"#,
            r#"{"gid":"1"} x"#,
            r#"{"gid":"1","n":1e999}"#,
            &deep,
            &format!(r#"{{"gid":"1","name":{deep}}}"#),
            &format!(r#"{{"gid":"{}"}}"#, "1".repeat(257)),
        ];
        for raw in refused {
            let error = read("tasks", raw, None).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("tasks"), "{error}");
        }
        assert!(read("portfolio_items", r#"{"gid":"1"}"#, None).is_err());
    }

    #[test]
    fn half_an_emoji_is_no_reason_to_lose_a_record() {
        let names = [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00 \ud83d\ude00 \\ud83d""#, "\u{fffd} \u{1f600} \\ud83d"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
        ];
        for (raw, name) in names {
            let raw = format!(r#"{{"gid":"1","name":{raw}}}"#);
            let parsed = read("tasks", &raw, None).expect("a record");
            assert_eq!(parsed.value["name"], name);
            assert_eq!(&*parsed.record.raw, raw);
        }
        assert!(read("tasks", r#"{"gid":"1","name":"\ud8"}"#, None).is_err());
    }

    #[test]
    fn the_last_of_two_fields_of_one_name_is_the_one() {
        check("tasks", r#"{"gid":"1","gid":"2"}"#, None, "2", None);
    }

    #[test]
    fn every_record_of_another_table_is_a_reference_however_deep() {
        let value = json!({
            "gid": "1", "resource_type": "task",
            "assignee": {"gid": "2", "resource_type": "user"},
            "followers": [{"gid": "2", "resource_type": "user"}, {"gid": "3", "resource_type": "user"}, null, 7],
            "memberships": [{"project": {"gid": "4", "resource_type": "project"}, "section": null}],
            "custom_fields": [{"gid": "5", "resource_type": "custom_field",
                "enum_value": {"gid": "6", "resource_type": "enum_option"}}],
            "parent": {"gid": "7", "resource_type": "task", "created_by": {"gid": "8", "resource_type": "user"}},
            "tags": [{"gid": 9, "resource_type": "tag"}, {"resource_type": "tag"}],
        });
        let tasks = resources::named("tasks");
        let expected = [
            ("custom_fields", "5"),
            ("projects", "4"),
            ("tasks", "7"),
            ("users", "2"),
            ("users", "3"),
            ("users", "8"),
        ];
        assert_eq!(references(tasks, &value), expected.map(|(table, gid)| (table, gid.to_owned())));
        let items = resources::named("portfolio_items");
        let item = json!({"gid": "4", "resource_type": "project"});
        assert_eq!(references(items, &item), [("projects", "4".to_owned())]);
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let value = json!({"a": {"b": 1, "c": null}});
        assert_eq!(field(&value, "a.b"), Some(&json!(1)));
        for path in ["a.c", "a.d", "a.b.c", "", "b"] {
            assert_eq!(field(&value, path), None, "{path}");
        }
    }
}
