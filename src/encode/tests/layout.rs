//! Lookups find what a full read finds, and read less.

use std::collections::BTreeSet;
use std::ops::Range;

use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;
use crate::model::Hash;

/// A story whose key is `n`, below one of a hundred parents.
fn story(n: u32) -> Record {
    let raw = json!({"gid": format!("{:06}", n * 10), "resource_type": "story", "text": noise(n.into(), 30)});
    let parent = format!("p{}", n * 7919 % 100);
    record(resource("stories"), &raw.to_string(), Some(&parent), &reading()).expect("a story").record
}

fn stories(count: u32) -> Bytes {
    encode("stories", (0..count).map(story).collect()).expect("a part").bytes
}

fn set(keys: impl IntoIterator<Item = String>) -> BTreeSet<Box<str>> {
    keys.into_iter().map(String::into_boxed_str).collect()
}

fn cut(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |edge| usize::try_from(edge).expect("small");
    bytes.slice(at(range.start)..at(range.end))
}

fn fetch(bytes: &Bytes, pages: &Pages) -> Vec<Bytes> {
    pages.ranges().iter().map(|range| cut(bytes, range)).collect()
}

fn weight(pages: &Pages) -> u64 {
    pages.ranges().iter().map(|range| range.end - range.start).sum()
}

fn layout_of(bytes: &Bytes) -> Result<Layout> {
    let length = bytes.len() as u64;
    let mut wants = length.min(1000);
    loop {
        match Layout::of(length, &cut(bytes, &(length - wants..length)))? {
            ReadLayout::Known(layout) => return Ok(layout),
            ReadLayout::Wants(more) => {
                assert!(more > wants && more <= length, "{more} after {wants} of {length}");
                wants = more;
            }
        }
    }
}

/// Both steps of a lookup, and how many bytes they read.
fn find(bytes: &Bytes, keys: &BTreeSet<Box<str>>) -> Result<(Vec<KeyRow>, u64)> {
    let layout = layout_of(bytes)?;
    let pages = layout.keys(keys)?;
    let heads = layout.heads(&layout.found(&pages, fetch(bytes, &pages), keys)?)?;
    let rows = layout.read_keys(&heads, fetch(bytes, &heads))?;
    Ok((rows, weight(&pages) + weight(&heads)))
}

fn below(bytes: &Bytes, parents: &BTreeSet<Box<str>>) -> Result<Vec<KeyRow>> {
    let layout = layout_of(bytes)?;
    let pages = layout.below(parents)?;
    let heads = layout.heads(&layout.found(&pages, fetch(bytes, &pages), parents)?)?;
    layout.read_keys(&heads, fetch(bytes, &heads))
}

fn everything(bytes: &Bytes) -> Vec<KeyRow> {
    keys(bytes.clone()).expect("a part").collect::<Result<_>>().expect("rows")
}

#[track_caller]
fn finds_what_a_full_read_finds(bytes: &Bytes) {
    let all = everything(bytes);
    let last = all.last().expect("a row").key.to_string();
    let wanted = [
        set([]),
        set(["000000".into(), last]),
        set(["000010".into(), "000015".into(), "999999".into(), String::new()]),
        set((0..300).map(|n| format!("{:06}", n * 130))),
        all.iter().map(|row| row.key.clone()).collect(),
    ];
    for wanted in wanted {
        let expected: Vec<KeyRow> = all.iter().filter(|row| wanted.contains(&row.key)).cloned().collect();
        assert!(find(bytes, &wanted).expect("found").0 == expected, "{wanted:?}");
    }
    for wanted in [set(["p7".into(), "p8".into(), "p".into()]), set((0..100).map(|n| format!("p{n}")))] {
        let hit = |row: &&KeyRow| row.parent.as_ref().is_some_and(|parent| wanted.contains(parent));
        let expected: Vec<KeyRow> = all.iter().filter(hit).cloned().collect();
        assert!(below(bytes, &wanted).expect("found") == expected, "{wanted:?}");
    }
}

#[test]
fn a_lookup_finds_what_a_full_read_finds() {
    let bytes = stories(6000);
    assert!(metadata(&bytes).num_row_groups() > 2, "several row groups");
    finds_what_a_full_read_finds(&bytes);
}

/// The part as somebody else would write it: without a page index, or even without statistics.
fn written_otherwise(bytes: &Bytes, properties: WriterProperties) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).expect("a part");
    let schema = Arc::clone(reader.schema());
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).expect("a writer");
    for batch in reader.build().expect("a reader") {
        writer.write(&batch.expect("a batch")).expect("written");
    }
    writer.into_inner().expect("a file").into()
}

#[test]
fn a_part_without_a_page_index_is_read_by_whole_columns() {
    let bytes = stories(3000);
    let builder = || WriterProperties::builder().set_max_row_group_row_count(Some(1100));
    let silent = builder().set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    let grouped = builder().set_statistics_enabled(EnabledStatistics::Chunk).set_offset_index_disabled(true);
    let unbounded = builder().set_statistics_enabled(EnabledStatistics::Chunk);
    for properties in [silent.build(), grouped.build(), unbounded.build()] {
        let older = written_otherwise(&bytes, properties);
        assert!(layout_of(&older).is_ok());
        finds_what_a_full_read_finds(&older);
    }
}

#[test]
fn ten_keys_cost_a_small_share_of_a_part() {
    let bytes = stories(20_000);
    let wanted = set((0..10).map(|n| format!("{:06}", n * 20_000)));
    let (rows, read) = find(&bytes, &wanted).expect("found");
    assert_eq!(rows.len(), 10);
    // The row groups of tests are small, and each holds a few pages only.
    assert!(read * 5 < bytes.len() as u64, "{read} of {}", bytes.len());
}

#[test]
fn of_a_row_group_only_the_pages_that_may_hold_a_key_are_read() {
    let paged = WriterProperties::builder().set_data_page_row_count_limit(4000).set_write_batch_size(100);
    let paged = paged.set_dictionary_enabled(false).set_statistics_enabled(EnabledStatistics::Page);
    let bytes = written_otherwise(&stories(20_000), paged.build());
    let layout = layout_of(&bytes).expect("a part");
    let column = metadata(&bytes)
        .row_group(0)
        .columns()
        .iter()
        .find_map(|column| (column.column_path().string() == "_key").then_some(column.byte_range().1));
    assert_eq!(metadata(&bytes).num_row_groups(), 1);
    let pages = layout.keys(&set(["100000".into()])).expect("pages");
    assert!(weight(&pages) * 4 < column.expect("a column"), "{} of {column:?}", weight(&pages));
    finds_what_a_full_read_finds(&bytes);
}

#[test]
fn a_key_that_the_bounds_rule_out_costs_nothing() {
    let bytes = stories(6000);
    let layout = layout_of(&bytes).expect("a part");
    let beyond = set(["0".into(), "zzz".into()]);
    for pages in [layout.keys(&beyond), layout.below(&beyond), layout.keys(&set([]))] {
        let pages = pages.expect("pages");
        assert!(pages.ranges().is_empty());
        assert!(layout.found(&pages, Vec::new(), &beyond).expect("nothing").is_empty());
    }
}

#[test]
fn rows_at_positions_come_whole() {
    let bytes = stories(3000);
    let all: Vec<Row> = rows(bytes.clone()).expect("a part").collect::<Result<_>>().expect("rows");
    let layout = layout_of(&bytes).expect("a part");
    assert_eq!(layout.row_count(), 3000);
    for positions in [vec![], vec![0], vec![2999], vec![0, 1, 5, 700, 701, 1999, 2999], (0..3000).collect()] {
        let pages = layout.rows(&positions.iter().copied().collect()).expect("pages");
        let read = layout.read_rows(&pages, fetch(&bytes, &pages)).expect("rows");
        assert!(read.iter().eq(positions.iter().map(|at| &all[*at as usize])), "{positions:?}");
    }
    assert_eq!(layout.rows(&BTreeSet::from([3000])).expect_err("beyond").kind(), ErrorKind::Corrupt);
}

#[test]
fn other_bytes_than_were_asked_for_are_corrupt() {
    let bytes = stories(3000);
    let layout = layout_of(&bytes).expect("a part");
    let wanted = set(["000000".into(), "020000".into()]);
    let pages = layout.keys(&wanted).expect("pages");
    let mut short = fetch(&bytes, &pages);
    short[0] = short[0].slice(1..);
    let mut foreign = fetch(&bytes, &pages);
    foreign[0] = Bytes::from(vec![0; foreign[0].len()]);
    for fetched in [Vec::new(), short, foreign] {
        let refused = layout.found(&pages, fetched, &wanted).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn damage_met_by_a_lookup_is_corrupt_and_never_a_panic_nor_without_end() {
    let whole = stories(300);
    let wanted = set(["000000".into(), "001000".into(), "002990".into()]);
    let try_all = |bytes: Bytes| {
        let refused = [
            find(&bytes, &wanted).map(|_| ()),
            below(&bytes, &set(["p7".into()])).map(|_| ()),
            layout_of(&bytes).and_then(|layout| {
                let pages = layout.rows(&BTreeSet::from([0, 299]))?;
                layout.read_rows(&pages, fetch(&bytes, &pages)).map(|_| ())
            }),
        ];
        for refused in refused.into_iter().filter_map(Result::err) {
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        }
    };
    for length in (0..whole.len()).step_by(1311) {
        try_all(whole.slice(..length));
    }
    let footer = whole.len() - 12_000;
    for at in (0..footer).step_by(331).chain((footer..whole.len()).step_by(23)) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        try_all(bytes.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_keys_are_found_where_they_are(numbers in prop::collection::btree_set(0_u32..20_000, 0..40)) {
        let bytes = shared();
        let wanted = set(numbers.iter().map(|n| format!("{n:06}")));
        let expected: Vec<u64> = numbers.iter().filter(|n| *n % 10 == 0).map(|n| u64::from(*n / 10)).collect();
        let (rows, _) = find(&bytes, &wanted).expect("found");
        prop_assert!(rows.iter().map(|row| row.position).eq(expected));
        prop_assert!(rows.iter().all(|row| row.hash != Hash::of(b"") && wanted.contains(&row.key)));
    }
}

/// One part for all cases.
fn shared() -> Bytes {
    static PART: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    PART.get_or_init(|| stories(2000)).clone()
}
