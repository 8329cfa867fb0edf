//! Compares what a snapshot says with what is really in the store.
//!
//! Rule: every byte that the snapshot names is read and hashed; what is wrong is noted, and the check goes on, so that
//! one look shows all the damage. Only what cannot be judged, such as a store that does not answer, ends it early.
//! Nothing is written, so a crash leaves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Content, Hash, Part, Snapshot, SnapshotNumber, TableState};
use crate::repository::Repository;
use crate::repository::iceberg::{self, Described, ListedFile};
use crate::repository::keys::{Key, table_folder};
use crate::repository::snapshot::Committed;
use crate::repository::table::{Named, TableObjects};

/// How many objects are read at once: with parts of at most 32 MiB, 128 MiB of memory.
const AT_ONCE: usize = 4;

/// Something that is not as a snapshot says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The object's key.
    pub object: String,
    /// What is wrong with it.
    pub wrong: String,
    /// Whether the next run sets it right by itself: a run that ended between its commit and showing it to readers
    /// without a catalog leaves this, and nothing is damaged.
    pub heals: bool,
    /// The snapshots that name it, as far as they were checked.
    pub snapshots: Vec<SnapshotNumber>,
}

impl Finding {
    /// Damage to `object`.
    #[must_use]
    pub fn damage(object: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { object: object.into(), wrong: wrong.into(), heals: false, snapshots: Vec::new() }
    }

    /// Whether both are the same but for the snapshots.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.object, &self.wrong, self.heals) == (&other.object, &other.wrong, other.heals)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.wrong)?;
        match &self.snapshots[..] {
            [] => Ok(()),
            [one] => write!(f, " (snapshot {one})"),
            [first, .., last] => write!(f, " ({} snapshots, {first} to {last})", self.snapshots.len()),
        }
    }
}

/// What was read and hashed already: snapshots share most of their objects.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    objects: BTreeMap<String, Hash>,
    /// What is wrong with those that are not as they should be.
    damaged: BTreeMap<(String, Hash), String>,
    /// The state in which each table was last found sound: most snapshots leave most tables as they are.
    sound: BTreeMap<String, TableState>,
    /// How many objects were read.
    pub count: u64,
    /// How long they were, together.
    pub bytes: u64,
    steps: Arc<AtomicU64>,
}

impl Checked {
    /// Nothing yet. `steps` grows as long as the check gets on, for whoever watches it.
    #[must_use]
    pub fn counting(steps: Arc<AtomicU64>) -> Self {
        Self { steps, ..Self::default() }
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is wrong with the snapshot `committed`, which follows `previous`. Objects in `checked` are not read again.
pub async fn check_snapshot(
    repository: &Repository,
    committed: &Committed,
    previous: Option<&Committed>,
    checked: &mut Checked,
) -> Result<Vec<Finding>> {
    let mut check = Check { repository, checked, findings: Vec::new() };
    let doing = |error: Error| error.doing(format!("check snapshot {}", committed.snapshot.number));
    check.snapshot(committed, previous).await.map_err(doing)?;
    let mut findings = check.findings;
    findings.sort();
    findings.dedup();
    findings.iter_mut().for_each(|finding| finding.snapshots = vec![committed.snapshot.number]);
    Ok(findings)
}

struct Check<'a> {
    repository: &'a Repository,
    checked: &'a mut Checked,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn note(&mut self, object: impl Into<String>, wrong: impl Into<String>) {
        self.findings.push(Finding::damage(object, wrong));
    }

    fn note_healing(&mut self, object: String, wrong: impl Into<String>) {
        self.findings.push(Finding { heals: true, ..Finding::damage(object, wrong) });
    }

    fn note_if(&mut self, is_wrong: bool, object: &str, wrong: impl FnOnce() -> String) {
        if is_wrong {
            self.note(object, wrong());
        }
    }

    /// What came of looking at `object`: damage is noted, anything else passed up.
    fn sift<T>(&mut self, object: &str, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.note(object, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn snapshot(&mut self, committed: &Committed, previous: Option<&Committed>) -> Result<()> {
        let Committed { snapshot, sha256 } = committed;
        let key = Key::Snapshot(snapshot.number).to_string();
        let file = self.repository.store().read(&key).await;
        let file = self.sift(&key, file)?;
        let differs = file.is_some_and(|bytes| Hash::of(&bytes) != *sha256);
        self.note_if(differs, &key, || "it changed since it was first read".to_owned());
        self.chain(&key, snapshot, previous);

        for list in [snapshot.cursors, snapshot.coverage, snapshot.held] {
            let read = self.repository.list::<Vec<IgnoredAny>>(list).await;
            self.sift(&Key::List(list).to_string(), read)?;
        }
        let gaps_key = Key::List(snapshot.gaps).to_string();
        let gaps = self.repository.list::<Vec<IgnoredAny>>(snapshot.gaps).await;
        let gaps = self.sift(&gaps_key, gaps)?.map(|gaps| gaps.len() as u64);
        let differs = gaps.is_some_and(|count| count != snapshot.gap_count);
        self.note_if(differs, &gaps_key, || {
            format!(
                "it holds {} gaps, and the snapshot counts {}",
                gaps.unwrap_or_default(),
                snapshot.gap_count
            )
        });

        let numbers = self.repository.snapshots().await;
        let numbers = self.sift("snapshots", numbers)?;
        let is_latest = numbers.is_some_and(|numbers| numbers.last() == Some(&snapshot.number));
        for (table, state) in &snapshot.tables {
            self.checked.step();
            let is_known = self.checked.sound.get(table).is_some_and(|known| is_same(known, state));
            // What readers follow may lag behind the latest snapshot, and behind no other.
            if is_known && !is_latest {
                continue;
            }
            let before = self.findings.len();
            if !is_known {
                self.table(table, state).await?;
            }
            self.published(table, state, is_latest).await?;
            if self.findings.len() == before {
                self.checked.sound.insert(table.clone(), state.clone());
            }
        }
        Ok(())
    }

    fn chain(&mut self, key: &str, snapshot: &Snapshot, previous: Option<&Committed>) {
        let Some(previous) = previous else {
            let first = snapshot.number.0 == 1;
            self.note_if(first != snapshot.previous.is_none(), key, || {
                "only the first snapshot has none before it".to_owned()
            });
            return;
        };
        let Committed { snapshot: before, sha256 } = previous;
        self.note_if(snapshot.number.0 != before.number.0 + 1, key, || {
            format!("it does not follow snapshot {}", before.number)
        });
        self.note_if(snapshot.previous != Some(*sha256), key, || {
            format!(
                "it follows another file than that of snapshot {}, whose SHA-256 is {sha256}",
                before.number
            )
        });
        self.note_if(snapshot.committed_at <= before.committed_at, key, || {
            format!("it was not committed later than snapshot {}", before.number)
        });
    }

    async fn table(&mut self, table: &str, state: &TableState) -> Result<()> {
        let list_key = Key::List(state.objects).to_string();
        let objects = self.repository.objects(state).await;
        let objects = self.sift(&list_key, objects)?;
        let metadata = self.repository.metadata(state).await;
        let metadata = self.sift(&state.metadata, metadata)?;
        if let Some(objects) = &objects {
            let rows = objects.rows();
            self.note_if(rows != state.counts.rows, &list_key, || {
                format!(
                    "its parts hold {rows} rows, and the snapshot counts {} in {table}",
                    state.counts.rows
                )
            });
            self.bytes(table, objects).await?;
        }
        if let (Some(objects), Some(metadata)) = (&objects, &metadata) {
            let described = self.sift(&state.metadata, iceberg::describe(metadata))?;
            if let Some(described) = described {
                self.iceberg(table, state, objects, &described).await?;
            }
        }
        Ok(())
    }

    /// Reads every object of a table that was not read before.
    async fn bytes(&mut self, table: &str, objects: &TableObjects) -> Result<()> {
        let part = |part: &Part| Named { key: part.key.clone(), bytes: part.bytes, sha256: part.sha256 };
        let all =
            objects.parts.iter().chain(&objects.deletes).map(part).chain(objects.manifests.iter().cloned());
        let mut wanted = Vec::new();
        for named in all {
            self.note_if(!belongs(&named.key, table), &named.key, || format!("it is no object of {table}"));
            if self.checked.objects.get(&named.key) == Some(&named.sha256) {
                continue;
            }
            match self.checked.damaged.get(&(named.key.clone(), named.sha256)) {
                Some(wrong) => self.findings.push(Finding::damage(named.key, wrong)),
                None => wanted.push(named),
            }
        }
        let store = self.repository.store().clone();
        let mut read = stream::iter(wanted)
            .map(|named| {
                let store = store.clone();
                async move {
                    let outcome = store.read_verified(&named.key, named.bytes, named.sha256).await;
                    (named, outcome.map(|_| ()))
                }
            })
            .buffered(AT_ONCE);
        while let Some((named, outcome)) = read.next().await {
            self.checked.step();
            match outcome {
                Ok(()) => {
                    self.checked.count += 1;
                    self.checked.bytes += named.bytes;
                    self.checked.objects.insert(named.key, named.sha256);
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.note(&*named.key, error.to_string());
                    self.checked.damaged.insert((named.key, named.sha256), error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Compares what Iceberg's readers will see with what the snapshot names.
    async fn iceberg(
        &mut self,
        table: &str,
        state: &TableState,
        objects: &TableObjects,
        described: &Described,
    ) -> Result<()> {
        let Described { snapshot, list_url, location } = described;
        let expected = i64::try_from(state.iceberg_snapshot).ok();
        self.note_if(*snapshot != expected, &state.metadata, || {
            format!("its current snapshot is {snapshot:?}, and should be {}", state.iceberg_snapshot)
        });
        let folder = self.repository.url_of(&table_folder(table)?);
        self.note_if(*location != folder, &state.metadata, || format!("it describes a table at {location}"));

        let list = list_url.as_deref().and_then(|url| self.named(url, objects));
        let Some(list) = list else {
            self.note(&state.metadata, "its list of manifests is not among the snapshot's objects");
            return Ok(());
        };
        let Some(bytes) = self.sound(&list).await? else { return Ok(()) };
        let Some(listed) = self.sift(&list.key, iceberg::listed_manifests(&bytes))? else { return Ok(()) };

        let mut missing: BTreeSet<String> = objects.manifests.iter().map(|named| named.key.clone()).collect();
        missing.remove(&list.key);
        let mut files = Vec::new();
        for manifest in listed {
            let Some(named) = self.named(&manifest.url, objects) else {
                self.note(&list.key, format!("it names {}, which the snapshot does not", manifest.url));
                continue;
            };
            missing.remove(&named.key);
            let length = u64::try_from(manifest.bytes).ok();
            self.note_if(length != Some(named.bytes), &list.key, || {
                format!("it says {} has {} bytes", named.key, manifest.bytes)
            });
            self.checked.step();
            if let Some(bytes) = self.sound(&named).await? {
                files.extend(self.sift(&named.key, iceberg::listed_files(&bytes))?.unwrap_or_default());
            }
        }
        for key in missing {
            self.note(&list.key, format!("it does not name {key}, and the snapshot does"));
        }
        self.files(&state.metadata, objects, files);
        Ok(())
    }

    /// Compares the live files of all manifests with the parts and deletes of the snapshot.
    fn files(&mut self, metadata: &str, objects: &TableObjects, files: Vec<ListedFile>) {
        let mut missing: BTreeMap<&str, &Part> =
            objects.parts.iter().chain(&objects.deletes).map(|part| (part.key.as_str(), part)).collect();
        for file in &files {
            let key = self.repository.key_of(&file.url);
            let Some(part) = key.and_then(|key| missing.remove(key)) else {
                self.note(
                    metadata,
                    format!("it names {}, which the snapshot does not, or names it twice", file.url),
                );
                continue;
            };
            let same =
                file.content == Some(part.content) && file.rows == part.rows && file.bytes == part.bytes;
            self.note_if(!same, metadata, || format!("it says {file:?}, and the snapshot says {part:?}"));
        }
        for (key, part) in missing {
            let what = if part.content == Content::Records { "part" } else { "file of deletes" };
            self.note(metadata, format!("it does not name the {what} {key}, and the snapshot does"));
        }
    }

    /// Whether readers without a catalog find this state: or a later one, unless it is the latest.
    async fn published(&mut self, table: &str, state: &TableState, is_latest: bool) -> Result<()> {
        let version = state.published_as;
        let key = Key::Published { table: table.to_owned(), version }.to_string();
        let published = self.repository.store().try_read(&key).await?;
        let is_there = published.is_some();
        match published.map(|bytes| Hash::of(&bytes) == state.metadata_sha256) {
            Some(true) => {}
            Some(false) => self.note(key, "it is not the metadata of the snapshot"),
            None if is_latest => self.note_healing(key, "it is not there: the next backup will publish it"),
            None => self.note(key, "it is not there"),
        }
        let key = Key::VersionHint { table: table.to_owned() }.to_string();
        let hinted = self.repository.hinted(&key).await?;
        match hinted {
            Some(hint) if hint == version || (!is_latest && hint > version) => {}
            Some(hint) if is_latest && hint < version => {
                let what = if is_there { "is published" } else { "will be published by the next backup" };
                self.note_healing(key, format!("it points at version {hint}, and {version} {what}"));
            }
            Some(hint) => self.note(key, format!("it points at version {hint}, and {version} is published")),
            None => {
                self.note_healing(key, "it is not there, or makes no sense: the next backup will write it")
            }
        }
        Ok(())
    }

    fn named(&self, url: &str, objects: &TableObjects) -> Option<Named> {
        let key = self.repository.key_of(url)?;
        objects.manifests.iter().find(|named| named.key == key).cloned()
    }

    /// The bytes of an object that was found whole; none if it was not, which is noted already.
    async fn sound(&self, named: &Named) -> Result<Option<bytes::Bytes>> {
        if self.checked.objects.get(&named.key) != Some(&named.sha256) {
            return Ok(None);
        }
        self.repository.store().read_verified(&named.key, named.bytes, named.sha256).await.map(Some)
    }
}

/// Whether both name the same objects, and say the same of them.
fn is_same(one: &TableState, other: &TableState) -> bool {
    let named = |state: &TableState| {
        (state.metadata_sha256, state.objects, state.iceberg_snapshot, state.published_as, state.counts.rows)
    };
    one.metadata == other.metadata && named(one) == named(other)
}

/// Whether `key` may be an object of `table`.
fn belongs(key: &str, table: &str) -> bool {
    match key.parse() {
        Ok(
            Key::Part { table: its, .. }
            | Key::Manifest { table: its, .. }
            | Key::ManifestList { table: its, .. },
        ) => its == table,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{history, moved, remove};

    /// The snapshots as they were before any damage.
    async fn committed(repository: &Repository) -> Vec<Committed> {
        let mut all = Vec::new();
        for number in repository.snapshots().await.expect("listed") {
            all.push(repository.snapshot(number).await.expect("readable"));
        }
        all
    }

    async fn check(repository: &Repository, all: &[Committed], checked: &mut Checked) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut previous = None;
        for committed in all {
            let found = check_snapshot(repository, committed, previous, checked).await;
            findings.extend(found.expect("checked"));
            previous = Some(committed);
        }
        findings
    }

    #[tokio::test]
    async fn a_sound_repository_has_no_findings() {
        let repository = history().await;
        let all = committed(&repository).await;
        assert_eq!(check(&repository, &all, &mut Checked::default()).await, []);
    }

    #[tokio::test]
    async fn a_copy_elsewhere_is_as_sound() {
        let store = history().await.store().clone();
        let copy = Repository::open(moved(&store, "memory:///elsewhere")).await.expect("opened");
        let all = committed(&copy).await;
        assert_eq!(check(&copy, &all, &mut Checked::default()).await, []);
    }

    #[tokio::test]
    async fn an_object_that_snapshots_share_is_read_once() {
        let repository = history().await;
        let mut checked = Checked::default();
        let all = committed(&repository).await;
        check(&repository, &all, &mut checked).await;
        let listed = repository.store().list("tables").await.expect("listed");
        let metadata = |key: &str| key.ends_with(".json") || key.ends_with(".text");
        assert_eq!(checked.count, listed.iter().filter(|object| !metadata(&object.key)).count() as u64);
    }

    #[tokio::test]
    async fn what_was_found_damaged_is_not_read_again_and_said_of_each_snapshot_that_names_it() {
        let repository = history().await;
        let all = committed(&repository).await;
        let listed = repository.store().list("tables").await.expect("listed");
        let part = listed.iter().find(|object| object.key.ends_with(".parquet")).expect("a part");
        let whole = repository.store().read(&part.key).await.expect("there");
        repository.store().put_hint(&part.key, b"1".to_vec().into()).await.expect("overwritten");
        let mut checked = Checked::default();
        let first = check(&repository, &all, &mut checked).await;
        assert!(first.iter().filter(|finding| finding.object == part.key).count() > 1, "{first:?}");
        assert!(first.iter().all(|finding| finding.snapshots.len() == 1), "{first:?}");
        repository.store().put_hint(&part.key, whole).await.expect("overwritten");
        assert_eq!(check(&repository, &all, &mut checked).await, first);
    }

    #[tokio::test]
    async fn any_damage_to_any_object_is_found_and_named() {
        let repository = history().await;
        let store = repository.store();
        let all = committed(&repository).await;
        let listed = store.list("").await.expect("listed");
        // What is named by nothing is no part of the repository.
        let named = |key: &&String| *key != "repository.json" && !key.starts_with("probes/");
        for key in listed.iter().map(|object| &object.key).filter(named) {
            let sound = store.read(key).await.expect("there");
            let mut changed = sound.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            let longer = [&sound, b"1".as_slice()].concat();
            for damage in [None, Some(changed), Some(longer)] {
                match damage {
                    None => remove(store, key).await,
                    Some(damaged) => store.put_hint(key, damaged.into()).await.expect("overwritten"),
                }
                let findings = check(&repository, &all, &mut Checked::default()).await;
                assert!(findings.iter().any(|finding| finding.object == *key), "{key}: {findings:#?}");
            }
            store.put_hint(key, sound).await.expect("restored");
        }
        assert_eq!(check(&repository, &all, &mut Checked::default()).await, []);
    }

    #[tokio::test]
    async fn what_the_snapshot_says_wrongly_is_found() {
        let repository = history().await;
        let mut all = committed(&repository).await;
        all[1].snapshot.gap_count += 1;
        all[3].snapshot.previous = None;
        let tags = all[3].snapshot.tables.get_mut("tags").expect("a table");
        tags.counts.rows += 1;
        tags.iceberg_snapshot += 1;
        tags.published_as += 1;
        let findings = check(&repository, &all, &mut Checked::default()).await;
        let wrong =
            |part: &str| assert!(findings.iter().any(|f| f.wrong.contains(part)), "{part}: {findings:#?}");
        [
            "gaps",
            "follows another file",
            "rows",
            "current snapshot",
            "the next backup will publish it",
            "points at",
        ]
        .into_iter()
        .for_each(wrong);
    }
}
