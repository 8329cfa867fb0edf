//! Merging gives what writing all live records at once would have given.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, StructArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

/// More than any test writes.
const ONE_PART: usize = 1 << 30;

fn tasks() -> &'static Resource {
    resource("tasks")
}

/// A task with something in columns of every kind; `seed` decides what.
fn rich(key: u32, seed: u32) -> Record {
    let gid = |n: u32| json!({"gid": n.to_string(), "name": "x"});
    let mut value = json!({
        "gid": format!("{key:05}"), "resource_type": "task", "notes": noise(seed.into(), 200),
        "completed": seed.is_multiple_of(2), "num_likes": seed, "due_on": "2026-02-03", "actual_time_minutes": 0.5,
        "modified_at": format!("2026-01-02T03:{:02}:05.678Z", seed % 60),
        "followers": (0..seed % 4).map(gid).collect::<Vec<_>>(),
        "custom_fields": [{"gid": "9", "number_value": seed}, {"gid": "8", "enum_value": gid(seed)}],
    });
    match seed % 3 {
        0 => value["assignee"] = gid(seed),
        1 => value["external"] = json!({"gid": "e", "data": null}),
        _ => value["followers"] = Value::Null,
    }
    task(&value.to_string())
}

fn part_of(records: &[Record]) -> Bytes {
    encode("tasks", records.to_vec()).expect("a part").bytes
}

fn merged(parts: Vec<(Bytes, BTreeSet<u32>)>, target_bytes: usize) -> Result<Vec<EncodedPart>> {
    merge(tasks(), &ids(tasks()), parts, target_bytes)
}

fn same(found: &EncodedPart, expected: &EncodedPart) {
    assert_eq!((found.rows, found.content), (expected.rows, expected.content));
    assert_eq!(format!("{:?}", found.statistics), format!("{:?}", expected.statistics));
    assert_eq!(found.split_offsets, expected.split_offsets);
    assert_eq!(found.sha256, expected.sha256);
    assert_eq!(found.bytes, expected.bytes);
}

fn all_rows(bytes: &Bytes) -> Vec<Row> {
    rows(bytes.clone()).expect("a part").collect::<Result<_>>().expect("rows")
}

#[test]
fn merging_gives_the_bytes_of_all_live_records_written_at_once() {
    let old: Vec<Record> = (0..3000).map(|key| rich(key, key)).collect();
    let new: Vec<Record> = (0..3000).step_by(7).map(|key| rich(key, key + 1)).collect();
    let late: Vec<Record> = (3000..3100).map(|key| rich(key, key)).collect();
    let superseded = (0..3000).step_by(7).collect();
    let parts = vec![
        (part_of(&late), BTreeSet::from([99])),
        (part_of(&old), superseded),
        (part_of(&new), BTreeSet::from([0])),
    ];
    let live = |record: &&Record| record.key.parse::<u32>().expect("a number") % 7 != 0;
    let mut records: Vec<Record> =
        old.iter().filter(live).chain(&new[1..]).chain(&late[..99]).cloned().collect();
    records.reverse();
    let found = merged(parts, ONE_PART).expect("merged");
    assert_eq!(found.len(), 1);
    same(&found[0], &encode("tasks", records).expect("a part"));
    assert!(found[0].split_offsets.len() > 2, "several row groups");
    assert_eq!(check_rows(tasks(), &ids(tasks()), found[0].bytes.clone()).expect("sound"), found[0].rows);
}

#[test]
fn long_records_are_merged_as_they_were_written() {
    let long = |key: u32| {
        task(&json!({"gid": format!("{key:05}"), "notes": noise(key.into(), 200_000)}).to_string())
    };
    let records: Vec<Record> = (0..20).map(long).collect();
    let (even, odd): (Vec<_>, Vec<_>) =
        records.clone().into_iter().partition(|it| it.key.ends_with(['0', '2', '8']));
    let parts = vec![(part_of(&even), BTreeSet::new()), (part_of(&odd), BTreeSet::new())];
    same(&merged(parts, ONE_PART).expect("merged")[0], &encode("tasks", records).expect("a part"));
}

#[test]
fn what_outgrows_the_target_goes_into_the_next_part() {
    let records: Vec<Record> = (0..3000).map(|key| rich(key, key)).collect();
    let whole = part_of(&records);
    let target = whole.len() / 3;
    let parts =
        vec![(part_of(&records[1000..]), BTreeSet::new()), (part_of(&records[..1000]), BTreeSet::new())];
    let found = merged(parts, target).expect("merged");
    assert!((2..=4).contains(&found.len()), "{} parts", found.len());
    assert!(found[..found.len() - 1].iter().all(|part| part.bytes.len() < target * 2));
    let rows: Vec<Row> = found.iter().flat_map(|part| all_rows(&part.bytes)).collect();
    let expected = all_rows(&whole);
    assert_eq!(rows.len(), expected.len());
    assert!(
        rows.iter()
            .zip(&expected)
            .all(|(one, other)| one.raw == other.raw && one.head.hash == other.head.hash)
    );
    for part in &found {
        assert_eq!(check_rows(tasks(), &ids(tasks()), part.bytes.clone()).expect("sound"), part.rows);
    }
}

#[test]
fn a_row_keeps_by_whom_and_when_it_was_read() {
    let other_run = RunId(ulid::Ulid::from_parts(1_790_000_000_000, 9));
    let seen_at = DateTime::from_timestamp_micros(1_790_000_000_654_321).expect("a valid time");
    let late = Arc::new(Reading { fields: "tasks:0001".into(), seen_at, ..(*reading()).clone() });
    let record = Record { reading: late, ..rich(2, 2) };
    let second = encode_part(tasks(), &ids(tasks()), &other_run, vec![record]).expect("a part");
    let parts = vec![(second.bytes.clone(), BTreeSet::new()), (part_of(&[rich(1, 1)]), BTreeSet::new())];
    let found = all_rows(&merged(parts, ONE_PART).expect("merged")[0].bytes);
    let mut expected = all_rows(&second.bytes).remove(0);
    expected.head.position = 1;
    assert_eq!(found[1], expected);
    assert_eq!(&*found[0].run, run().to_string());
}

#[test]
fn where_no_row_is_left_there_is_no_part() {
    let part = part_of(&[rich(1, 1), rich(2, 2)]);
    assert!(merged(vec![(part, BTreeSet::from([0, 1]))], ONE_PART).expect("merged").is_empty());
    assert!(merged(Vec::new(), ONE_PART).expect("merged").is_empty());
}

#[test]
fn a_part_of_which_little_is_left_gives_that_little() {
    let records: Vec<Record> = (0..3000).map(|key| rich(key, key)).collect();
    let gone = (0..3000).filter(|at| ![700, 2900].contains(at)).collect();
    let parts = vec![(part_of(&records), gone), (part_of(&[rich(5, 5), rich(5000, 1)]), BTreeSet::new())];
    let left = vec![rich(5, 5), rich(700, 700), rich(2900, 2900), rich(5000, 1)];
    same(&merged(parts, ONE_PART).expect("merged")[0], &encode("tasks", left).expect("a part"));
}

#[test]
fn a_key_that_is_live_in_two_parts_is_corrupt_and_named() {
    let parts = vec![
        (part_of(&[rich(1, 1), rich(2, 2)]), BTreeSet::new()),
        (part_of(&[rich(2, 3), rich(4, 4)]), BTreeSet::new()),
    ];
    let refused = merged(parts, ONE_PART).expect_err("twice");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("the key 00002"), "{refused}");
}

#[test]
fn deletions_and_orders_that_cannot_be_are_corrupt() {
    let part = encode("tasks", vec![rich(1, 1), rich(2, 2)]).expect("a part");
    let turned = forged(&part, |batch| {
        arrow::compute::concat_batches(&batch.schema(), &[batch.slice(1, 1), batch.slice(0, 1)])
            .expect("a batch")
    });
    for (bytes, deleted) in [(part.bytes, BTreeSet::from([2])), (turned, BTreeSet::new())] {
        let refused = merged(vec![(bytes, deleted)], ONE_PART).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    }
}

/// The part as an older version wrote it: some columns were not there yet, others came in another order.
fn older(part: &Bytes) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(part.clone()).expect("a part");
    let batch = reader.build().expect("a reader").next().expect("rows").expect("a batch");
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()).rev() {
        match field.name().as_str() {
            "completed" | "followers" => {}
            "external" => {
                let whole = array.as_struct();
                let kept = vec![whole.fields()[0].clone()];
                let kept =
                    StructArray::new(kept.into(), vec![whole.column(0).clone()], whole.nulls().cloned());
                let field = Field::new("external", DataType::Struct(kept.fields().clone()), true)
                    .with_metadata(field.metadata().clone());
                fields.push(Arc::new(field));
                arrays.push(Arc::new(kept));
            }
            _ => {
                fields.push(field.clone());
                arrays.push(array.clone());
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("a file").into()
}

#[test]
fn columns_that_an_older_part_lacks_are_null_and_the_others_found_by_their_ids() {
    let before = |gid: &str| task(&json!({"gid": gid, "name": gid, "external": {"gid": "e"}}).to_string());
    let records = [before("1"), before("3"), rich(7, 7)];
    let parts =
        vec![(older(&part_of(&records[..2])), BTreeSet::new()), (part_of(&records[2..]), BTreeSet::new())];
    let found = merged(parts, ONE_PART).expect("merged").remove(0);
    let content = |bytes: &Bytes| -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).expect("a part");
        reader.build().expect("a reader").next().expect("rows").expect("a batch")
    };
    let (found_rows, expected) = (content(&found.bytes), content(&part_of(&records)));
    assert_eq!(found_rows.columns(), expected.columns());
    assert_eq!(found_rows.schema().fields(), expected.schema().fields());
    assert_eq!(found_rows.column_by_name("completed").expect("a column").null_count(), 2);
    assert_eq!(check_rows(tasks(), &ids(tasks()), found.bytes.clone()).expect("sound"), 3);
    // Digests of several versions cannot be compared, so nothing may say that there is one version.
    let version = |bytes: &Bytes| {
        let pairs = metadata(bytes).file_metadata().key_value_metadata().cloned().expect("some");
        pairs.into_iter().find(|pair| pair.key == "asana-backup.resources").and_then(|pair| pair.value)
    };
    assert_ne!(version(&found.bytes), version(&part_of(&records)));
}

#[test]
fn a_column_of_another_type_is_corrupt() {
    let items = resource("portfolio_items");
    let raw = json!({"gid": "1", "resource_type": "project"}).to_string();
    let item = record(items, &raw, Some("77"), &reading()).expect("an item").record;
    let foreign = encode("portfolio_items", vec![item]).expect("a part").bytes;
    let refused = merged(vec![(foreign, BTreeSet::new())], ONE_PART).expect_err("of another table");
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
}

#[test]
fn merging_damaged_parts_is_corrupt_and_never_a_panic() {
    let whole = part_of(&[rich(1, 1), rich(2, 2), rich(3, 3)]);
    let sound = part_of(&[rich(4, 4)]);
    for at in (0..whole.len()).step_by(311) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        for bytes in [Bytes::from(bytes), whole.slice(..at)] {
            let parts = vec![(bytes, BTreeSet::new()), (sound.clone(), BTreeSet::new())];
            if let Err(refused) = merged(parts, ONE_PART) {
                assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_partition_and_any_deletions_merge_to_the_live_records(
        fates in prop::collection::vec((0_usize..6, any::<bool>(), prop::option::of(0_usize..6)), 1..80)
    ) {
        // Of each key: the part it is in, whether it is live there, and a second part that has a deleted row of it.
        let mut parts: Vec<Vec<(Record, bool)>> = vec![Vec::new(); 6];
        let mut live = Vec::new();
        for (key, (home, lives, twin)) in (0_u32..).zip(fates) {
            parts[home].push((rich(key, key), lives));
            if lives {
                live.push(rich(key, key));
            }
            if let Some(twin) = twin.filter(|twin| *twin != home) {
                parts[twin].push((rich(key, key + 1), false));
            }
        }
        let parts = parts.into_iter().filter(|part| !part.is_empty()).map(|part| {
            let deleted = (0_u32..).zip(&part).filter(|(_, (_, lives))| !lives).map(|(at, _)| at).collect();
            (part_of(&part.into_iter().map(|(record, _)| record).collect::<Vec<_>>()), deleted)
        });
        let found = merged(parts.collect(), ONE_PART).expect("merged");
        match live.is_empty() {
            true => prop_assert!(found.is_empty()),
            false => same(&found[0], &encode("tasks", live).expect("a part")),
        }
    }
}
