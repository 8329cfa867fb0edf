//! The names of everything in a repository.
//!
//! Rule: a key is built and parsed here alone, so that what is written is found again. A key is relative to the
//! repository. Nothing from outside gets into a key unless it is a table's name or a file's name, and those are letters,
//! digits and a little punctuation: a key never climbs out of its repository.
//! A crash leaves nothing here: this file is pure.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Hash, RunId, SnapshotNumber};

/// The folder of the snapshot files.
pub const SNAPSHOTS: &str = "snapshots";
/// The folder of the claims, checkpoints and journals of runs.
pub const RUNS: &str = "runs";
/// The folder of the tables.
pub const TABLES: &str = "tables";

/// The longest name that may be part of a key.
const NAME_BYTES: usize = 128;

/// The name of one object in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What the repository is: format, organization, where it was written.
    Repository,
    /// The commit of a snapshot.
    Snapshot(SnapshotNumber),
    /// A long list, by the digest of its bytes.
    List(Hash),
    /// A part or a file of position deletes.
    Part {
        /// The table it belongs to.
        table: String,
        /// The run that wrote it.
        run: RunId,
        /// The digest of its bytes.
        sha256: Hash,
    },
    /// The Iceberg metadata of a table as of a snapshot, under a name no reader takes for a version.
    Metadata {
        /// The table.
        table: String,
        /// The snapshot it was staged for.
        number: SnapshotNumber,
        /// The process that wrote it.
        writer: RunId,
    },
    /// An Iceberg manifest.
    Manifest {
        /// The table.
        table: String,
        /// The snapshot it was staged for.
        number: SnapshotNumber,
        /// The process that wrote it.
        writer: RunId,
        /// Counts the manifests of one snapshot.
        index: u32,
    },
    /// The list of the manifests of an Iceberg snapshot.
    ManifestList {
        /// The table.
        table: String,
        /// The snapshot it was staged for.
        number: SnapshotNumber,
        /// The process that wrote it.
        writer: RunId,
    },
    /// A committed Iceberg metadata file under the name that readers without a catalog look for.
    Published {
        /// The table.
        table: String,
        /// Its version.
        version: u64,
    },
    /// Where readers without a catalog find the latest version: the one object that is ever overwritten.
    VersionHint {
        /// The table.
        table: String,
    },
    /// The bytes of an attachment.
    Blob(Hash),
    /// Which run builds on a snapshot.
    Claim {
        /// The snapshot it builds on; 0 before the first.
        base: SnapshotNumber,
        /// Counts the claims on it.
        attempt: u32,
    },
    /// What a run keeps of its work: a checkpoint, a segment of the journal.
    RunFile {
        /// The run.
        run: RunId,
        /// The file's name.
        name: String,
    },
    /// What was written to try the store.
    Probe {
        /// Which trial.
        probe: Ulid,
        /// The file's name.
        name: String,
    },
}

impl Key {
    /// Refuses what would not read back: an empty, long or hostile name.
    pub fn checked(self) -> Result<Self> {
        let fits = match &self {
            Self::Part { table, .. }
            | Self::Metadata { table, .. }
            | Self::Manifest { table, .. }
            | Self::ManifestList { table, .. }
            | Self::Published { table, .. }
            | Self::VersionHint { table } => is_table(table),
            Self::RunFile { name, .. } | Self::Probe { name, .. } => is_name(name),
            Self::Repository | Self::Snapshot(_) | Self::List(_) | Self::Blob(_) | Self::Claim { .. } => true,
        };
        if fits { Ok(self) } else { Err(Error::new(ErrorKind::Bug, format!("`{self}` is no key"))) }
    }
}

/// The folder of a table.
pub fn table_folder(table: &str) -> Result<String> {
    if is_table(table) {
        Ok(format!("{TABLES}/{table}"))
    } else {
        Err(Error::new(ErrorKind::Bug, format!("`{table}` is no table's name")))
    }
}

/// The folder of the claims on snapshot `base`.
pub(super) fn claim_folder(base: SnapshotNumber) -> String {
    format!("{RUNS}/{:020}", base.0)
}

/// The folder of what `run` keeps of its work.
pub(super) fn run_folder(run: &RunId) -> String {
    format!("{RUNS}/{run}")
}

/// Whether `name` may name a table: lower-case letters, digits and `_`.
fn is_table(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether `name` may name a file: ASCII letters, digits, `.`, `_` and `-`, and no leading dot.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository => f.write_str("repository.json"),
            Self::Snapshot(number) => write!(f, "{SNAPSHOTS}/{:020}.json", number.0),
            Self::List(sha256) => write!(f, "{SNAPSHOTS}/objects/{sha256}.json.zst"),
            Self::Part { table, run, sha256 } => write!(f, "{TABLES}/{table}/data/{run}-{sha256}.parquet"),
            Self::Metadata { table, number, writer } => {
                write!(f, "{TABLES}/{table}/metadata/{number}-{writer}.metadata.json")
            }
            Self::Manifest { table, number, writer, index } => {
                write!(f, "{TABLES}/{table}/metadata/{number}-{writer}-m{index}.avro")
            }
            Self::ManifestList { table, number, writer } => {
                write!(f, "{TABLES}/{table}/metadata/{number}-{writer}-list.avro")
            }
            Self::Published { table, version } => {
                write!(f, "{TABLES}/{table}/metadata/v{version}.metadata.json")
            }
            Self::VersionHint { table } => write!(f, "{TABLES}/{table}/metadata/version-hint.text"),
            Self::Blob(sha256) => {
                let digits = sha256.to_string();
                write!(f, "blobs/sha256/{}/{}", &digits[..2], &digits[2..])
            }
            Self::Claim { base, attempt } => write!(f, "{}/{attempt}.json", claim_folder(*base)),
            Self::RunFile { run, name } => write!(f, "{}/{name}", run_folder(run)),
            Self::Probe { probe, name } => write!(f, "probes/{probe}/{name}"),
        }
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Reads a key back; refuses whatever [`Key`] does not print exactly so.
    fn from_str(text: &str) -> Result<Self> {
        let segments: Vec<&str> = text.split('/').collect();
        let key = match segments.as_slice() {
            ["repository.json"] => Some(Self::Repository),
            [SNAPSHOTS, file] => {
                file.strip_suffix(".json").and_then(number).map(|n| Self::Snapshot(SnapshotNumber(n)))
            }
            [SNAPSHOTS, "objects", file] => {
                file.strip_suffix(".json.zst").and_then(|digest| digest.parse().ok()).map(Self::List)
            }
            [TABLES, table, "data", file] => part(table, file),
            [TABLES, table, "metadata", file] => metadata(table, file),
            ["blobs", "sha256", head, tail] => format!("{head}{tail}").parse().ok().map(Self::Blob),
            [RUNS, whose, file] => run_file(whose, file),
            ["probes", probe, file] => {
                Ulid::from_string(probe).ok().map(|probe| Self::Probe { probe, name: (*file).to_owned() })
            }
            _ => None,
        };
        let refuse = || Error::new(ErrorKind::Corrupt, format!("`{text}` is no key of a repository"));
        let key = key.ok_or_else(refuse)?.checked().map_err(|_| refuse())?;
        if key.to_string() == text { Ok(key) } else { Err(refuse()) }
    }
}

fn part(table: &str, file: &str) -> Option<Key> {
    let (run, sha256) = file.strip_suffix(".parquet")?.split_once('-')?;
    Some(Key::Part { table: table.to_owned(), run: run_id(run)?, sha256: sha256.parse().ok()? })
}

fn metadata(table: &str, file: &str) -> Option<Key> {
    let table = table.to_owned();
    if file == "version-hint.text" {
        return Some(Key::VersionHint { table });
    }
    if let Some(stem) = file.strip_suffix(".metadata.json") {
        if let Some(version) = stem.strip_prefix('v') {
            return Some(Key::Published { table, version: number(version)? });
        }
        let (snapshot, writer) = stem.split_once('-')?;
        let number = SnapshotNumber(number(snapshot)?);
        return Some(Key::Metadata { table, number, writer: run_id(writer)? });
    }
    let mut fields = file.strip_suffix(".avro")?.splitn(3, '-');
    let (snapshot, writer, what) = (fields.next()?, fields.next()?, fields.next()?);
    let (number, writer) = (SnapshotNumber(number(snapshot)?), run_id(writer)?);
    match what.strip_prefix('m') {
        Some(index) => Some(Key::Manifest { table, number, writer, index: index.parse().ok()? }),
        None => (what == "list").then_some(Key::ManifestList { table, number, writer }),
    }
}

fn run_file(whose: &str, file: &str) -> Option<Key> {
    if let Some(run) = run_id(whose) {
        return Some(Key::RunFile { run, name: file.to_owned() });
    }
    let attempt = file.strip_suffix(".json")?.parse().ok()?;
    Some(Key::Claim { base: SnapshotNumber(number(whose)?), attempt })
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn run_id(text: &str) -> Option<RunId> {
    Ulid::from_string(text).ok().map(RunId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<(Key, &'static str)> {
        let run = RunId(Ulid(7));
        let sha256 = Hash::of(b"abc");
        let table = || "tasks".to_owned();
        let number = SnapshotNumber(12);
        vec![
            (Key::Repository, "repository.json"),
            (Key::Snapshot(number), "snapshots/00000000000000000012.json"),
            (
                Key::List(sha256),
                "snapshots/objects/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.json.zst",
            ),
            (
                Key::Part { table: table(), run, sha256 },
                "tables/tasks/data/00000000000000000000000007-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.parquet",
            ),
            (
                Key::Metadata { table: table(), number, writer: run },
                "tables/tasks/metadata/12-00000000000000000000000007.metadata.json",
            ),
            (
                Key::Manifest { table: table(), number, writer: run, index: 3 },
                "tables/tasks/metadata/12-00000000000000000000000007-m3.avro",
            ),
            (
                Key::ManifestList { table: table(), number, writer: run },
                "tables/tasks/metadata/12-00000000000000000000000007-list.avro",
            ),
            (
                Key::Published { table: table(), version: 1_000_000_001 },
                "tables/tasks/metadata/v1000000001.metadata.json",
            ),
            (Key::VersionHint { table: "_runs".to_owned() }, "tables/_runs/metadata/version-hint.text"),
            (
                Key::Blob(sha256),
                "blobs/sha256/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (Key::Claim { base: number, attempt: 2 }, "runs/00000000000000000012/2.json"),
            (
                Key::RunFile { run, name: "3.checkpoint.json".to_owned() },
                "runs/00000000000000000000000007/3.checkpoint.json",
            ),
            (
                Key::Probe { probe: Ulid(7), name: "create".to_owned() },
                "probes/00000000000000000000000007/create",
            ),
        ]
    }

    #[test]
    fn every_key_reads_back() {
        for (key, text) in every_kind() {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse::<Key>().expect("its own key"), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "/repository.json",
            "repository.json/",
            "snapshots/12.json",
            "snapshots/../repository.json",
            "snapshots/+0000000000000000012.json",
            "tables/../metadata/version-hint.text",
            "tables/Tasks/metadata/version-hint.text",
            "tables/tasks/metadata/v01.metadata.json",
            "tables/tasks/metadata/v2.metadata.json.tmp",
            "tables/tasks/data/x.parquet",
            "runs/00000000000000000000000007/..",
            "runs/00000000000000000000000007/a b",
            "runs/12/1.json",
            "blobs/sha256/ba7/816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hostile_name_makes_no_key() {
        let long = "a".repeat(129);
        for table in ["", ".", "..", "a/b", "a b", "A", "ä", "a\0", "a%2f", long.as_str()] {
            assert!(Key::VersionHint { table: table.to_owned() }.checked().is_err(), "{table}");
            assert!(table_folder(table).is_err(), "{table}");
        }
        for name in ["", "..", ".hidden", "a/b", "a#1", "a\n"] {
            let run = RunId(Ulid(7));
            assert!(Key::RunFile { run, name: name.to_owned() }.checked().is_err(), "{name}");
        }
    }
}
