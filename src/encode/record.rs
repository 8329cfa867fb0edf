//! From one JSON object to a record: its key, its parent, its digest, and what it refers to.
//!
//! Rule: the JSON is parsed to look at it and kept as it came. What Asana may answer wrongly in one field is a
//! column's business; only an answer that cannot be told apart from others, without a gid, is refused here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::encode::canonical::hash;
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

/// Makes a record of `raw`, one JSON object as Asana answered it to a listing of what hangs below `listed_under`.
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
    let value = parse(raw).map_err(|cause| refuse(format!("which is not JSON it can read: {cause}")))?;
    let fields = value.as_object().ok_or_else(|| refuse("which is no object".into()))?;
    let gid = gid(fields).ok_or_else(|| refuse("without a gid that can be used".into()))?;
    let parent = parent(resource, fields, listed_under);
    let key = match (resource.key, parent) {
        (Key::Gid, _) => gid.into(),
        (Key::ParentAndGid, Some(parent)) => format!("{parent}/{gid}").into(),
        (Key::ParentAndGid, None) => return Err(refuse("without a parent".into())),
    };
    let record = Record {
        resource,
        key,
        parent: parent.map(Into::into),
        raw: raw.into(),
        hash: hash(resource, &value, parent),
        modified_at: modified_at(fields),
        reading: Arc::clone(reading),
    };
    Ok(Parsed { record, value })
}

/// Reads JSON, forgiving what Asana's own texts can contain: half a surrogate pair, such as an emoji cut in two,
/// reads as U+FFFD.
///
/// # Errors
/// The parser's own, with line and column: not JSON, nested deeper than 128, or a number beyond all floats.
pub fn parse(raw: &str) -> serde_json::Result<Value> {
    serde_json::from_str(raw).or_else(|cause| match mended(raw) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(cause),
    })
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
                && let Some(gid) = gid(fields)
            {
                found.push((resource.table, gid.to_owned()));
            }
            fields.values().for_each(|value| refer(value, found));
        }
        _ => {}
    }
}

pub(super) fn modified_at(fields: &Map<String, Value>) -> Option<DateTime<Utc>> {
    let text = fields.get("modified_at")?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc())
}

/// What a record hangs below: as it says itself, or else as it was listed.
pub(super) fn parent<'a>(
    resource: &Resource,
    fields: &'a Map<String, Value>,
    listed_under: Option<&'a str>,
) -> Option<&'a str> {
    match resource.parent {
        ParentOf::Organization => None,
        ParentOf::Field(name) => fields.get(name).and_then(Value::as_object).and_then(gid).or(listed_under),
        ParentOf::Listing => listed_under,
    }
}

/// The gid, if it can go into a key and a path: Asana's are digits, but nothing promises that.
pub(super) fn gid(fields: &Map<String, Value>) -> Option<&str> {
    const LONGEST: usize = 256;
    let gid = fields.get("gid")?.as_str()?;
    let usable = |byte: u8| byte.is_ascii_graphic() && !b"/?#%".contains(&byte);
    (!gid.is_empty() && gid.len() <= LONGEST && gid.bytes().all(usable)).then_some(gid)
}

fn unfit(resource: &Resource, what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("Asana answered a record of {} {what}", resource.table))
}

/// The same JSON with `\ufffd` for each escape that is half a surrogate pair; none if there is no such half.
fn mended(raw: &str) -> Option<String> {
    let unit = |at: usize| {
        let escape = raw.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    let mut bytes = raw.as_bytes().to_vec();
    let (mut at, mut halves) = (0, 0);
    while at < bytes.len() {
        at += match (bytes[at], unit(at)) {
            (b'\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            (b'\\', Some(0xd800..=0xdfff)) => {
                bytes[at..at + 6].copy_from_slice(b"\\ufffd");
                halves += 1;
                6
            }
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    (halves > 0).then(|| String::from_utf8(bytes).ok()).flatten()
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
        let tasks = resources::by_table("tasks").expect("the table exists");
        let expected = [
            ("custom_fields", "5"),
            ("projects", "4"),
            ("tasks", "7"),
            ("users", "2"),
            ("users", "3"),
            ("users", "8"),
        ];
        assert_eq!(references(tasks, &value), expected.map(|(table, gid)| (table, gid.to_owned())));
        let items = resources::by_table("portfolio_items").expect("the table exists");
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
