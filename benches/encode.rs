//! What it costs to make a part: from the JSON of tasks to Parquet, and back, on one core.
//!
//! The tasks are made from a seed and look like an organization's: about 5 KB of JSON each, with custom fields,
//! followers, memberships, and notes in words that occur as often as words do.

#![recursion_limit = "256"] // a task is a large `json!`

use std::hint::black_box;
use std::sync::Arc;

use asana_backup::encode;
use asana_backup::model::{FieldIds, Lane, Reading, Record, RunId, field_ids, table_columns};
use asana_backup::resources;
use asana_backup::resources::Resource;
use chrono::DateTime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const TASKS: u64 = 6_000;

/// A generator that needs no crate: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// The lower the number the likelier, as with words.
    fn word(&mut self) -> u64 {
        let limit = 1 + self.below(4000);
        self.below(limit)
    }

    fn gid(&mut self, count: u64) -> String {
        (1_200_000_000_000_000 + self.below(count) * 7_919).to_string()
    }

    fn words(&mut self, count: u64) -> String {
        let words: Vec<String> = (0..count)
            .map(|_| {
                let number = self.word();
                let letters = "etaoinshrdlucmfwypvbgk".as_bytes();
                let mut seed = Dice(number);
                let length = 2 + number / 700 + seed.below(4);
                (0..length).map(|_| char::from(letters[seed.below(22) as usize])).collect()
            })
            .collect();
        words.join(" ")
    }

    fn named(&mut self, resource_type: &str, count: u64) -> Value {
        let gid = self.gid(count);
        json!({"gid": gid, "resource_type": resource_type, "name": format!("{resource_type} {gid}")})
    }

    fn moment(&mut self) -> String {
        let seconds = 1_600_000_000 + self.below(150_000_000);
        let moment = DateTime::from_timestamp(seconds as i64, 678_000_000).expect("a valid time");
        moment.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    fn custom_field(&mut self, number: u64) -> Value {
        let subtype = ["text", "enum", "number", "people"][(number % 4) as usize];
        let mut field = json!({
            "gid": (1_100_000_000_000_000 + number).to_string(), "resource_type": "custom_field",
            "resource_subtype": subtype,
            "number_value": null, "text_value": null, "enum_value": null, "multi_enum_values": null,
            "people_value": null, "display_value": null, "date_value": null,
        });
        match number % 4 {
            0 => field["text_value"] = json!(self.words(4)),
            1 => {
                field["enum_value"] = json!({"gid": self.gid(9), "resource_type": "enum_option",
                "name": "In progress", "enabled": true, "color": "cool-gray"})
            }
            2 => field["number_value"] = json!(self.below(100_000) as f64 / 100.0),
            _ => field["people_value"] = json!([self.named("user", 900)]),
        }
        field
    }

    fn task(&mut self, number: u64) -> Value {
        let notes = match self.below(3) {
            0 => String::new(),
            _ => {
                let count = 10 + self.below(140);
                self.words(count)
            }
        };
        let gid = (1_200_000_000_000_000 + number * 7_919).to_string();
        let due = self.below(2) == 0;
        json!({
            "gid": gid, "resource_type": "task", "name": self.words(6), "resource_subtype": "default_task",
            "created_by": {"gid": self.gid(900), "resource_type": "user"}, "approval_status": null,
            "assignee_status": "upcoming", "assigned_by": null, "completed": self.below(2) == 0,
            "completed_at": null, "completed_by": null, "created_at": self.moment(), "dependencies": [],
            "dependents": [], "due_at": null, "due_on": due.then_some("2026-03-04"), "external": null,
            "html_notes": format!("<body>{notes}</body>"), "notes": notes, "hearted": false, "hearts": [],
            "is_rendered_as_separator": false, "liked": false, "likes": [], "num_hearts": 0, "num_likes": 0,
            "num_subtasks": self.below(3), "start_at": null, "start_on": null, "actual_time_minutes": null,
            "modified_at": self.moment(), "assignee": self.named("user", 900),
            "assignee_section": self.named("section", 900), "parent": null, "custom_type": null,
            "custom_type_status_option": null,
            "memberships": [{"project": self.named("project", 80), "section": self.named("section", 400)}],
            "custom_fields": (0..8).map(|at| self.custom_field(at)).collect::<Vec<_>>(),
            "followers": (0..self.below(5)).map(|_| self.named("user", 900)).collect::<Vec<_>>(),
            "projects": [self.named("project", 80)], "tags": [], "workspace": self.named("workspace", 1),
            "permalink_url": format!("https://app.asana.com/1/1200000000000000/project/1/task/{gid}"),
        })
    }
}

struct Setting {
    tasks: &'static Resource,
    ids: FieldIds,
    run: RunId,
    reading: Arc<Reading>,
    raws: Vec<String>,
}

impl Setting {
    fn new() -> Self {
        let tasks = resources::by_table("tasks").expect("tasks is a table");
        let moment = DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time");
        let fields = tasks.field_set().into();
        let mut dice = Dice(2026);
        Self {
            tasks,
            ids: field_ids(&table_columns(tasks)),
            run: RunId(ulid::Ulid::from_parts(1_780_000_000_000, 1)),
            reading: Arc::new(Reading { lane: Lane::Walk, fields, began_at: moment, seen_at: moment }),
            raws: (0..TASKS).map(|number| dice.task(number).to_string()).collect(),
        }
    }

    fn bytes(&self) -> u64 {
        self.raws.iter().map(|raw| raw.len() as u64).sum()
    }

    fn records(&self) -> Vec<Record> {
        let record =
            |raw: &String| encode::record(self.tasks, raw, None, &self.reading).expect("a task").record;
        self.raws.iter().map(record).collect()
    }

    fn part(&self, records: Vec<Record>) -> asana_backup::model::EncodedPart {
        encode::encode_part(self.tasks, &self.ids, &self.run, records).expect("a part")
    }
}

fn encoding(criterion: &mut Criterion) {
    let setting = Setting::new();
    let part = setting.part(setting.records()).bytes;
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(10);
    group.throughput(Throughput::ElementsAndBytes { elements: TASKS, bytes: setting.bytes() });
    group.bench_function("json to parquet", |bench| {
        bench.iter(|| black_box(setting.part(setting.records())));
    });
    group.bench_function("json to records", |bench| bench.iter(|| black_box(setting.records())));
    group.bench_function("records to parquet", |bench| {
        bench.iter_batched(
            || setting.records(),
            |records| black_box(setting.part(records)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("keys", |bench| {
        bench.iter(|| black_box(encode::keys(part.clone()).expect("a part").count()));
    });
    group.bench_function("rows", |bench| {
        bench.iter(|| black_box(encode::rows(part.clone()).expect("a part").count()));
    });
    group.bench_function("check rows", |bench| {
        bench.iter(|| encode::check_rows(setting.tasks, &setting.ids, part.clone()).expect("sound"));
    });
    group.finish();
}

criterion_group!(benches, encoding);
criterion_main!(benches);
