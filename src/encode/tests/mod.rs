//! What the room promises as a whole; every promise of one file alone is tested in that file.

mod layout;
mod merge;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use bytes::Bytes;
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::{ErrorKind, Result};
use crate::model::{
    Bound, Content, EncodedPart, FieldIds, Lane, Reading, Record, RunId, field_ids, table_columns,
};
use crate::resources;
use crate::resources::Resource;

fn resource(table: &str) -> &'static Resource {
    resources::by_table(table).expect("the table exists")
}

fn reading() -> Arc<Reading> {
    let moment = DateTime::from_timestamp_micros(1_780_000_000_123_456).expect("a valid time");
    Arc::new(Reading { lane: Lane::Walk, fields: "tasks:0000".into(), began_at: moment, seen_at: moment })
}

fn ids(resource: &Resource) -> FieldIds {
    field_ids(&table_columns(resource))
}

fn run() -> RunId {
    RunId(ulid::Ulid::from_parts(1_780_000_000_000, 7))
}

fn encode(table: &str, records: Vec<Record>) -> Result<EncodedPart> {
    encode_part(resource(table), &ids(resource(table)), &run(), records)
}

fn task(raw: &str) -> Record {
    record(resource("tasks"), raw, None, &reading()).expect("a task").record
}

/// Text that does not compress: `seed` decides it.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("below 26"))
    };
    (0..length).map(letter).collect()
}

/// Tasks in several row groups. The key with the least and the one with the greatest text are in different ones.
fn many_tasks() -> Vec<Record> {
    (0..600_u64)
        .map(|n| {
            let gid = format!("{}{n:04}", "9".repeat(80));
            let subtype = if n == 17 { "z".repeat(100) } else { format!("milestone{}", "m".repeat(70)) };
            let value = json!({
                "gid": gid, "resource_type": "task", "resource_subtype": subtype, "notes": noise(n, 700),
                "completed": n % 2 == 0, "num_likes": n, "due_on": "2026-02-03",
                "actual_time_minutes": 0.5, "created_at": "2024-01-02T03:04:05.678Z",
                "assignee": {"gid": format!("1{n:03}"), "resource_type": "user"},
                "followers": [{"gid": "5"}, {"gid": "6"}],
            });
            task(&value.to_string())
        })
        .collect()
}

fn metadata(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(bytes)
        .expect("a footer")
}

#[test]
fn every_table_has_a_schema_whose_fields_carry_the_ids_of_its_metadata() {
    for resource in resources::ALL {
        let mut ids = ids(resource);
        let schema = schema(resource, &ids).expect("a schema");
        let key = schema.field_with_name("_key").expect("a key");
        assert_eq!(key.metadata()["PARQUET:field_id"], ids["_key"].to_string());
        assert!(!key.is_nullable());
        ids.remove("_key");
        let refused = super::schema(resource, &ids).expect_err("an id is missing");
        assert_eq!(refused.kind(), ErrorKind::Bug);
    }
}

#[test]
fn what_hangs_only_by_its_listing_has_a_column_for_it() {
    for resource in resources::ALL {
        let listed =
            resource.columns.iter().any(|column| matches!(column.shape, resources::Shape::ListedUnder));
        assert_eq!(listed, resource.parent == resources::ParentOf::Listing, "{}", resource.table);
    }
}

#[test]
fn a_part_gives_back_every_byte_sorted_by_key() {
    let raws =
        [r#"{"gid":"30", "name":"a\u00e9 \ud83d\ude00"}"#, r#"{ "gid":"200","name":null}"#, r#"{"gid":"1"}"#];
    let part = encode("tasks", raws.iter().map(|raw| task(raw)).collect()).expect("a part");
    assert_eq!((part.rows, part.content), (3, Content::Records));
    let rows: Vec<Row> = rows(part.bytes.clone()).expect("a part").collect::<Result<_>>().expect("rows");
    assert_eq!(rows.iter().map(|row| &*row.raw).collect::<Vec<_>>(), [raws[2], raws[1], raws[0]]);
    assert_eq!(rows[1].head.key.as_ref(), "200");
    assert_eq!(rows[1].head.hash, task(raws[1]).hash);
    assert_eq!(rows[1].head.seen_at, reading().seen_at);
    assert_eq!(
        (&*rows[1].lane, &*rows[1].fields, &*rows[1].run),
        ("walk", "tasks:0000", &*run().to_string())
    );
    let keys: Vec<KeyRow> = keys(part.bytes).expect("a part").collect::<Result<_>>().expect("keys");
    assert_eq!(keys, rows.into_iter().map(|row| row.head).collect::<Vec<_>>());
    assert_eq!(keys.iter().map(|row| row.position).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn positions_count_through_the_whole_part() {
    let part = encode("tasks", many_tasks()).expect("a part");
    let keys: Vec<KeyRow> = keys(part.bytes).expect("a part").collect::<Result<_>>().expect("keys");
    assert!(keys.iter().map(|row| row.position).eq(0..600));
    assert!(keys.iter().all(|row| row.key.ends_with(&format!("{:04}", row.position))));
}

#[test]
fn the_same_records_give_the_same_bytes_in_whatever_order_they_come() {
    let mut records = many_tasks();
    let first = encode("tasks", records.clone()).expect("a part");
    records.reverse();
    let second = encode("tasks", records).expect("a part");
    assert_eq!(first.sha256, second.sha256);
    assert_eq!(first.bytes, second.bytes);
}

#[test]
fn bounds_are_whole_over_all_row_groups() {
    let part = encode("tasks", many_tasks()).expect("a part");
    let ids = ids(resource("tasks"));
    let told = |path: &str| part.statistics[&ids[path]].clone();
    assert!(part.split_offsets.len() > 1, "{} row groups", part.split_offsets.len());
    assert!(part.split_offsets.is_sorted() && part.split_offsets[0] == 4);
    let text = |text: String| Bound::Text(text);
    let key = |n: u64| text(format!("{}{n:04}", "9".repeat(80)));
    let milestone = text(format!("milestone{}", "m".repeat(70)));
    let expected = [
        ("_key", key(0), key(599)),
        ("resource_subtype", milestone, text("z".repeat(100))),
        ("completed", Bound::Boolean(false), Bound::Boolean(true)),
        ("num_likes", Bound::Integer(0), Bound::Integer(599)),
        ("due_on", Bound::Date(20_487), Bound::Date(20_487)),
        ("actual_time_minutes", Bound::Number(0.5), Bound::Number(0.5)),
        ("created_at", Bound::Timestamp(1_704_164_645_678_000), Bound::Timestamp(1_704_164_645_678_000)),
        ("assignee.gid", text("1000".into()), text("1599".into())),
    ];
    for (path, low, high) in expected {
        assert_eq!(told(path).bounds, Some((low, high)), "{path}");
        assert_eq!((told(path).values, told(path).nulls), (600, Some(0)), "{path}");
    }
    for path in ["notes", "_raw", "_hash", "followers.element.gid", "start_on"] {
        assert_eq!(told(path).bounds, None, "{path}");
    }
    assert_eq!(told("start_on").nulls, Some(600));
    assert_eq!(told("followers.element.gid").values, 1200);
    assert!(told("_raw").compressed_bytes > 200_000);
}

#[test]
fn a_bound_that_is_too_long_to_tell_is_none_and_not_that_of_other_row_groups() {
    let mut tasks = many_tasks();
    let long = json!({"gid": "9".repeat(90), "resource_subtype": "z".repeat(257)});
    tasks.push(task(&long.to_string()));
    let part = encode("tasks", tasks).expect("a part");
    let ids = ids(resource("tasks"));
    assert!(part.split_offsets.len() > 1);
    assert_eq!(part.statistics[&ids["resource_subtype"]].bounds, None);
    assert!(part.statistics[&ids["_key"]].bounds.is_some());
}

#[test]
fn free_text_never_gets_into_metadata() {
    let part = encode("tasks", many_tasks()).expect("a part");
    let footer = metadata(&part.bytes);
    for column in footer.row_groups().iter().flat_map(|group| group.columns()) {
        let path = column.column_path().string();
        let free = ["name", "notes", "html_notes", "permalink_url", "external.data", "_raw", "_hash"];
        let silent = free.contains(&path.as_str()) || path.contains(".list.");
        assert_eq!(column.statistics().is_none(), silent, "{path}");
        assert_eq!(column.column_index_offset().is_none(), silent, "{path}");
        assert!(column.offset_index_offset().is_some(), "a page of {path} can be found");
    }
}

#[test]
fn a_key_can_be_there_once_and_of_one_table_only() {
    let twice = vec![task(r#"{"gid":"1"}"#), task(r#"{"gid":"1","name":"x"}"#)];
    let user = record(resource("users"), r#"{"gid":"2"}"#, None, &reading()).expect("a user").record;
    for records in [twice, vec![], vec![task(r#"{"gid":"1"}"#), user]] {
        assert_eq!(encode("tasks", records).expect_err("refused").kind(), ErrorKind::Bug);
    }
}

#[test]
fn position_deletes_read_back_with_their_bounds() {
    let far = format!("s3://bucket/{}", "x".repeat(90));
    let pairs: Vec<(String, i64)> = (0..20_000)
        .map(|n| if n < 10_000 { ("file:///a".to_owned(), n) } else { (far.clone(), n - 10_000) })
        .collect();
    let part = encode_deletes(pairs.clone()).expect("deletes");
    assert_eq!((part.content, part.rows), (Content::Deletes, 20_000));
    let text = |text: &str| Bound::Text(text.to_owned());
    assert_eq!(part.statistics[&2_147_483_546].bounds, Some((text("file:///a"), text(&far))));
    assert_eq!(part.statistics[&2_147_483_545].bounds, Some((Bound::Integer(0), Bound::Integer(9999))));
    let read: Vec<_> = deletes(part.bytes).expect("deletes").collect::<Result<_>>().expect("rows");
    assert_eq!(read, pairs);
    for wrong in [vec![], vec![pairs[1].clone(), pairs[0].clone()], vec![pairs[0].clone(), pairs[0].clone()]]
    {
        assert_eq!(encode_deletes(wrong).expect_err("refused").kind(), ErrorKind::Bug);
    }
}

#[test]
fn the_deep_check_finds_nothing_in_what_was_written() {
    let tasks = resource("tasks");
    let part = encode("tasks", many_tasks()).expect("a part");
    assert_eq!(check_rows(tasks, &ids(tasks), part.bytes).expect("sound"), 600);
    let items = resource("portfolio_items");
    let item = |gid: &str| {
        let raw = json!({"gid": gid, "resource_type": "project", "name": "x"}).to_string();
        record(items, &raw, Some("77"), &reading()).expect("an item").record
    };
    let part = encode("portfolio_items", vec![item("1"), item("2")]).expect("a part");
    assert_eq!(check_rows(items, &ids(items), part.bytes).expect("sound"), 2);
}

#[test]
fn the_deep_check_names_the_row_that_was_altered() {
    let sound = || task(r#"{"gid":"1","completed":true}"#);
    let wrong = [
        (Record { hash: task(r#"{"gid":"1"}"#).hash, ..sound() }, "_hash"),
        (Record { key: "2".into(), ..sound() }, "_key"),
        (Record { raw: r#"{"gid":"1"}"#.into(), ..sound() }, "_hash"),
        (
            Record { parent: Some("8".into()), raw: r#"{"gid":"1","parent":{"gid":"9"}}"#.into(), ..sound() },
            "_parent",
        ),
    ];
    for (record, column) in wrong {
        let key = record.key.clone();
        let part = encode("tasks", vec![record]).expect("a part");
        let found = check_rows(resource("tasks"), &ids(resource("tasks")), part.bytes).expect_err("found");
        assert_eq!(found.kind(), ErrorKind::Corrupt);
        let message = found.to_string();
        assert!(message.contains(column) && message.contains(&format!("key {key}")), "{message}");
    }
}

/// The part with some columns replaced, written by somebody else.
fn forged(part: &EncodedPart, forge: impl Fn(&RecordBatch) -> RecordBatch) -> Bytes {
    let builder = ParquetRecordBatchReaderBuilder::try_new(part.bytes.clone()).expect("a part");
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().expect("some");
    let schema = Arc::clone(builder.schema());
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).expect("a writer");
    for pair in pairs.into_iter().filter(|pair| pair.key != "ARROW:schema") {
        writer.append_key_value_metadata(pair);
    }
    for batch in builder.build().expect("a reader") {
        writer.write(&forge(&batch.expect("a batch"))).expect("written");
    }
    writer.into_inner().expect("a file").into()
}

#[test]
fn the_deep_check_finds_an_altered_column_and_an_altered_order() {
    let tasks = resource("tasks");
    let records = ["1", "2", "3"].map(|gid| task(&json!({"gid": gid, "completed": true}).to_string()));
    let part = encode("tasks", records.to_vec()).expect("a part");
    let check = |bytes| check_rows(tasks, &ids(tasks), bytes).expect_err("found").to_string();

    let uncompleted = forged(&part, |batch| {
        let at = batch.schema().index_of("completed").expect("a column");
        let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
        arrays[at] = Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)]));
        RecordBatch::try_new(batch.schema(), arrays).expect("a batch")
    });
    assert!(check(uncompleted.clone()).contains("`completed`"), "{}", check(uncompleted));

    let turned = forged(&part, |batch| {
        let slices = [batch.slice(1, 1), batch.slice(0, 1), batch.slice(2, 1)];
        arrow::compute::concat_batches(&batch.schema(), &slices).expect("a batch")
    });
    assert!(check(turned.clone()).contains("not sorted"), "{}", check(turned));
    assert_eq!(check_rows(tasks, &ids(tasks), forged(&part, RecordBatch::clone)).expect("sound"), 3);

    let mut others = ids(tasks);
    others.insert("name".to_owned(), 4000);
    let refused = check_rows(tasks, &others, part.bytes).expect_err("other field ids");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}

#[test]
fn every_row_of_any_table_is_decoded_and_counted() {
    let part = encode("tasks", many_tasks()).expect("a part");
    assert_eq!(count_rows(part.bytes.clone()).expect("sound"), part.rows);
    let zeroed = [&part.bytes[..4], &vec![0; 4000], &part.bytes[4004..]].concat();
    assert_eq!(count_rows(zeroed.into()).expect_err("damaged").kind(), ErrorKind::Corrupt);
    assert_eq!(count_rows(Bytes::from_static(b"no part")).expect_err("none").kind(), ErrorKind::Corrupt);
}

#[test]
fn damaged_bytes_are_corrupt_and_never_a_panic() {
    let tasks = resource("tasks");
    let whole = encode("tasks", many_tasks().into_iter().take(3).collect()).expect("a part").bytes;
    let try_all = |bytes: Bytes| {
        let outcomes = [
            keys(bytes.clone()).and_then(|mut rows| rows.try_for_each(|row| row.map(|_| ()))),
            rows(bytes.clone()).and_then(|mut rows| rows.try_for_each(|row| row.map(|_| ()))),
            deletes(bytes.clone()).and_then(|mut rows| rows.try_for_each(|row| row.map(|_| ()))),
            check_rows(tasks, &ids(tasks), bytes).map(|_| ()),
        ];
        for refused in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
        }
    };
    for length in (0..whole.len()).step_by(311) {
        try_all(whole.slice(..length));
    }
    for at in (0..whole.len()).step_by(53) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        try_all(bytes.into());
    }
}

/// Any JSON, nested a little.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,12}",
        Just("2024-01-02T03:04:05.678Z".to_owned()),
        Just("2024-02-30".to_owned()),
        Just("task".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("gid".to_owned()),
        Just("resource_type".to_owned()),
        Just("display_value".to_owned()),
        Just("number_value".to_owned()),
        Just("date".to_owned()),
        "[a-z]{1,5}",
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// One record of a resource with any JSON in some of its fields.
fn any_record() -> impl Strategy<Value = (&'static Resource, BTreeMap<String, Value>)> {
    (0..resources::ALL.len()).prop_flat_map(|at| {
        let resource = resources::ALL[at];
        let name = (0..resource.columns.len()).prop_map(|at| resource.columns[at].name.to_owned());
        let fields = prop::collection::btree_map(name, any_json(), 0..12).prop_map(|mut fields| {
            fields.insert("gid".to_owned(), json!("42"));
            fields
        });
        (Just(resource), fields)
    })
}

fn spelled<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let fields: Vec<String> = fields.map(|(name, value)| format!("{} : {value}", json!(name))).collect();
    format!("{{{}}}", fields.join(",\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_in_any_field_is_kept_and_checks_out((resource, fields) in any_record()) {
        let raw = spelled(fields.iter());
        let parsed = record(resource, &raw, Some("7"), &reading()).expect("a record");
        prop_assert!(references(resource, &parsed.value).is_sorted());
        let part = encode_part(resource, &ids(resource), &run(), vec![parsed.record]).expect("a part");
        prop_assert_eq!(check_rows(resource, &ids(resource), part.bytes.clone()).expect("sound"), 1);
        let row = rows(part.bytes).expect("a part").next().expect("a row").expect("sound");
        prop_assert_eq!(&*row.raw, raw);
    }

    #[test]
    fn the_order_of_fields_never_counts((resource, fields) in any_record()) {
        let one = record(resource, &spelled(fields.iter()), Some("7"), &reading()).expect("a record");
        let other = record(resource, &spelled(fields.iter().rev()), Some("7"), &reading()).expect("a record");
        prop_assert_eq!(one.record.hash, other.record.hash);
    }

    #[test]
    fn any_text_is_a_record_or_an_error(text in "\\PC{0,40}") {
        let _outcome = record(resource("tasks"), &text, None, &reading());
        let _outcome = record(resource("tasks"), &format!("{{\"gid\":\"1\",\"name\":{text}}}"), None, &reading());
    }
}
