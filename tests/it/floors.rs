//! Rooms stand on numbered floors and use only the floors below, or their own room.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up.
const FLOORS: &[&[&str]] = &[
    &["error", "clock", "process"],
    &["model", "resources"],
    &["config"],
    &["asana", "encode", "repository", "telemetry"],
    &["crawl"],
    &["backup", "verify"],
    &["daemon"],
    &["cli"],
];

/// Crates that have one door.
const DOORS: &[(&str, &[&str])] = &[
    ("reqwest", &["asana/http.rs", "asana/network.rs", "telemetry/post.rs", "repository/store/network.rs"]),
    ("object_store", &["repository/store/"]),
    ("aws_config", &["repository/store/credentials.rs"]),
    ("aws_credential_types", &["repository/store/credentials.rs"]),
    ("aws_smithy_runtime_api", &["repository/store/credentials.rs"]),
    ("aws_smithy_types", &["repository/store/credentials.rs"]),
    ("iceberg", &["repository/iceberg.rs"]),
    ("parquet", &["encode/"]),
    ("clap", &["cli/"]),
    ("tokio_cron_scheduler", &["daemon/wake.rs"]),
    ("croner", &["daemon/schedule/"]),
    ("chrono_tz", &["daemon/schedule/"]),
    ("rustix", &["process.rs", "clock.rs", "daemon/notify.rs"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/manual.rs"]),
    ("redb", &["backup/index.rs"]),
    ("axum", &["telemetry/status.rs"]),
    ("hyper", &["telemetry/status.rs"]),
    ("hyper_util", &["telemetry/status.rs"]),
    ("opentelemetry", &["telemetry/otlp.rs"]),
    ("opentelemetry_http", &["telemetry/otlp.rs"]),
    ("opentelemetry_otlp", &["telemetry/otlp.rs"]),
    ("opentelemetry_sdk", &["telemetry/otlp.rs"]),
    ("prometheus_client", &["telemetry/text.rs"]),
    ("tracing_journald", &["telemetry/logs.rs"]),
    ("tracing_opentelemetry", &["telemetry/otlp.rs"]),
    ("tracing_subscriber", &["telemetry/logs.rs", "telemetry/otlp.rs"]),
    ("indicatif", &["telemetry/", "cli/show.rs"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn each_line(mut check: impl FnMut(&str, &str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let name = path.strip_prefix(&root).expect("below src").display().to_string();
        let room = name.split(['/', '.']).next().unwrap_or_default().to_owned();
        let text = fs::read_to_string(&path).expect("a readable file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            check(&name, &room, line);
        }
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn a_room_uses_only_the_floors_below() {
    each_line(|name, room, line| {
        let Some(own) = floor(room) else {
            assert!(["lib", "main"].contains(&room), "{name}: `{room}` stands on no floor");
            return;
        };
        for used in line.split("crate::").skip(1) {
            let used = used
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next()
                .unwrap_or_default();
            let Some(below) = floor(used) else { continue };
            let same = own == below && (used == room || own <= 1);
            assert!(below < own || same, "{name}: `{room}` may not use `{used}`: {line}");
        }
        assert!(!line.contains("use crate::{"), "{name}: write `use crate::…` as separate lines: {line}");
    });
}

#[test]
fn a_foreign_crate_has_one_door() {
    each_line(|name, _, line| {
        for (foreign, doors) in DOORS {
            // `iceberg::` is the crate, and the name of its door: there the import decides.
            let door =
                *foreign == "iceberg" && name.starts_with("repository/") && !line.contains("use iceberg");
            let named = line.contains(&format!("{foreign}::")) && !line.contains(&format!("::{foreign}::"));
            let allowed = doors.iter().any(|door| name.starts_with(door));
            assert!(!named || allowed || door, "{name} names `{foreign}`, whose door is {doors:?}: {line}");
        }
    });
}

#[test]
fn nothing_but_rustls_encrypts() {
    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("readable");
    let names: Vec<_> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains(&"rustls"));
    for other in ["openssl", "openssl-sys", "native-tls", "boring"] {
        assert!(!names.contains(&other), "`{other}` encrypts, too");
    }
}
