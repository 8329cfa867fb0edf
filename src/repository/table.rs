//! Tables: what a snapshot names of them, and how the next state of one is staged.
//!
//! Rule: staging writes only new objects, under names that belong to one process, and nothing that a reader takes for a
//! version of the table. Parts come first, then manifests, then the metadata that names them, then the list of it all.
//! A crash leaves objects that nothing names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    ColumnStatistics, Content, Counts, EncodedPart, FieldIds, Hash, Lane, Part, Proof, RunId, SnapshotNumber,
    TableColumn, TableState,
};
use crate::repository::Repository;
use crate::repository::iceberg::{self, Change, Entering, Table, Totals};
use crate::repository::keys::{Key, table_folder};

/// The first published version: ten digits, so that a reader which guesses by the order of names guesses right.
const FIRST_PUBLISHED: u64 = 1_000_000_001;

/// An object that a snapshot names by way of its list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its key, relative to the repository.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Hash,
}

/// Everything a table consists of, as of a snapshot, beside its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableObjects {
    /// The live parts, in the order they came.
    pub parts: Vec<Part>,
    /// The live files of position deletes, in the order they came.
    pub deletes: Vec<Part>,
    /// The manifests and, last, the list of them.
    pub manifests: Vec<Named>,
}

impl TableObjects {
    /// The rows that are left: those in parts, without the deleted positions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let sum = |parts: &[Part]| parts.iter().map(|part| part.rows).sum::<u64>();
        sum(&self.parts).saturating_sub(sum(&self.deletes))
    }

    /// Takes out what leaves and takes in what enters. Refuses a stage that contradicts itself, before anything is written.
    fn apply(&mut self, stage: &StageTable<'_>) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Bug, what));
        let entering = || stage.added.iter().chain(&stage.deletes).map(|staged| &staged.part);
        if stage.added.iter().any(|staged| staged.part.content != Content::Records)
            || stage.deletes.iter().any(|staged| staged.part.content != Content::Deletes)
        {
            return wrong("a part and a file of position deletes are mixed up".to_owned());
        }
        let mut live: BTreeSet<&str> =
            self.parts.iter().chain(&self.deletes).map(|part| part.key.as_str()).collect();
        if let Some(part) = entering().find(|part| !live.insert(&part.key)) {
            return wrong(format!("{} enters, and is there already", part.key));
        }
        let leaving: BTreeSet<&str> = stage.removed.iter().map(String::as_str).collect();
        let stays = |part: &Part| !leaving.contains(part.key.as_str());
        let before = self.parts.len() + self.deletes.len();
        self.parts.retain(stays);
        self.deletes.retain(stays);
        if before - self.parts.len() - self.deletes.len() != stage.removed.len() {
            return wrong("what leaves is not there, or is named twice".to_owned());
        }
        self.parts.extend(stage.added.iter().map(|staged| staged.part.clone()));
        self.deletes.extend(stage.deletes.iter().map(|staged| staged.part.clone()));
        if self.counted() != Some(stage.counts.rows) {
            let (rows, counted) = (self.rows(), stage.counts.rows);
            return wrong(format!("its objects hold {rows} rows, and {counted} are counted"));
        }
        Ok(())
    }

    /// The rows that are left; none if more positions are deleted than there are rows.
    fn counted(&self) -> Option<u64> {
        let Totals { rows, positions, .. } = self.totals();
        rows.checked_sub(positions)
    }

    fn totals(&self) -> Totals {
        let sum = |parts: &[Part], of: fn(&Part) -> u64| parts.iter().map(of).sum::<u64>();
        Totals {
            parts: self.parts.len() as u64,
            rows: sum(&self.parts, |part| part.rows),
            deletes: self.deletes.len() as u64,
            positions: sum(&self.deletes, |part| part.rows),
            bytes: sum(&self.parts, |part| part.bytes) + sum(&self.deletes, |part| part.bytes),
        }
    }
}

/// A part in the store, with what its table's manifests will say of it.
#[derive(Clone, Debug)]
pub struct StagedPart {
    /// The part.
    pub part: Part,
    /// By Iceberg field id.
    pub statistics: BTreeMap<i32, ColumnStatistics>,
    /// Where the row groups begin.
    pub split_offsets: Vec<i64>,
}

impl StagedPart {
    /// `part`, as [`Repository::put_part`] returned it for `encoded`.
    #[must_use]
    pub fn new(part: Part, encoded: &EncodedPart) -> Self {
        let EncodedPart { statistics, split_offsets, .. } = encoded;
        Self { part, statistics: statistics.clone(), split_offsets: split_offsets.clone() }
    }
}

/// The next state of one table.
#[derive(Clone, Debug)]
pub struct StageTable<'a> {
    /// Its name.
    pub table: &'a str,
    /// The columns it shall have: new ones enter, and one that is missing here stays and is empty in new parts.
    pub columns: &'a [TableColumn],
    /// Its state so far.
    pub previous: Option<&'a TableState>,
    /// The snapshot it is staged for.
    pub number: SnapshotNumber,
    /// The time of the commit.
    pub committed_at: DateTime<Utc>,
    /// The process that stages it: the run's own id, or another where a later process went on with the run.
    pub writer: RunId,
    /// Parts that enter.
    pub added: Vec<StagedPart>,
    /// Files of position deletes that enter, into these parts or older ones.
    pub deletes: Vec<StagedPart>,
    /// The keys of live parts and files of position deletes that leave, such as two parts that a third one replaces. A file
    /// of deletes that points into a part that leaves must leave too; what else it deletes enters anew.
    pub removed: Vec<String>,
    /// How it was read.
    pub lane: Lane,
    /// What proves it current.
    pub proof: Proof,
    /// What this run did to it.
    pub counts: Counts,
}

impl Repository {
    /// Everything `table` consists of beside its metadata.
    pub async fn objects(&self, table: &TableState) -> Result<TableObjects> {
        self.list(table.objects).await
    }

    /// The Iceberg metadata of `table`, checked against its digest.
    pub async fn metadata(&self, table: &TableState) -> Result<Bytes> {
        let bytes = self.store().read(&table.metadata).await?;
        if Hash::of(&bytes) == table.metadata_sha256 {
            return Ok(bytes);
        }
        let found =
            format!("its SHA-256 is {}, and was written as {}", Hash::of(&bytes), table.metadata_sha256);
        Err(Error::new(ErrorKind::Corrupt, found).doing(format!("read {}", table.metadata)))
    }

    /// Stores a part or a file of position deletes of `table`.
    pub async fn put_part(&self, table: &str, run: &RunId, part: &EncodedPart) -> Result<Part> {
        if Hash::of(&part.bytes) != part.sha256 {
            return Err(Error::new(ErrorKind::Bug, format!("a part of {table} changed in memory")));
        }
        let key =
            Key::Part { table: table.to_owned(), run: *run, sha256: part.sha256 }.checked()?.to_string();
        self.store().create_part(&key, part.bytes.clone()).await?;
        let bytes = part.bytes.len() as u64;
        Ok(Part { key, content: part.content, bytes, sha256: part.sha256, rows: part.rows })
    }

    /// The bytes of a part, as they were stored.
    pub async fn read_part(&self, part: &Part) -> Result<Bytes> {
        self.store().read_verified(&part.key, part.bytes, part.sha256).await
    }

    /// The bytes of `ranges` of a part. Their lengths are checked; the part's digest covers them no more.
    pub async fn read_ranges(&self, part: &Part, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if ranges.iter().any(|range| range.start > range.end || range.end > part.bytes) {
            return Err(Error::new(ErrorKind::Bug, "ranges lie outside of the part")
                .doing(format!("read {}", part.key)));
        }
        self.store().read_ranges(&part.key, part.bytes, ranges).await
    }

    /// The ids that `columns` have in `table` or, if it is new or gains columns, will have once it is staged: parts are
    /// encoded with them.
    pub async fn field_ids(
        &self,
        table: &str,
        columns: &[TableColumn],
        previous: Option<&TableState>,
    ) -> Result<FieldIds> {
        let metadata = self.previous_metadata(previous).await?;
        self.iceberg_table(table, columns, previous, metadata.as_ref())
            .and_then(|table| iceberg::field_ids(&table))
            .map_err(|error| error.doing(format!("number the columns of {table}")))
    }

    /// Writes the manifests, the metadata and the list of objects of a table's next state. A table that nothing
    /// enters and nothing leaves keeps its Iceberg snapshot.
    pub async fn stage_table(&self, stage: StageTable<'_>) -> Result<TableState> {
        let table = stage.table;
        self.stage(stage).await.map_err(|error| error.doing(format!("stage the table {table}")))
    }

    async fn stage(&self, stage: StageTable<'_>) -> Result<TableState> {
        let mut objects = match stage.previous {
            Some(previous) => self.objects(previous).await?,
            None => TableObjects::default(),
        };
        objects.apply(&stage)?;
        let before = std::mem::take(&mut objects.manifests);
        let StageTable { lane, proof, counts, .. } = stage.clone();
        if let Some(previous) = stage.previous
            && stage.added.is_empty()
            && stage.deletes.is_empty()
            && stage.removed.is_empty()
        {
            return Ok(TableState { lane, proof, counts, ..previous.clone() });
        }
        let metadata = self.write_change(&stage, &mut objects, &before).await?;
        let published_as = stage.previous.map_or(FIRST_PUBLISHED, |previous| previous.published_as + 1);
        Ok(TableState {
            metadata: metadata.key,
            metadata_sha256: metadata.sha256,
            iceberg_snapshot: stage.number.0,
            published_as,
            objects: self.put_list(&objects).await?,
            lane,
            proof,
            counts,
        })
    }

    /// Writes the Iceberg files of `stage`, and notes the manifests in `objects`; `before` are those so far.
    async fn write_change(
        &self,
        stage: &StageTable<'_>,
        objects: &mut TableObjects,
        before: &[Named],
    ) -> Result<Named> {
        let StageTable { number, writer, .. } = *stage;
        let name = || stage.table.to_owned();
        let manifest_key = |index| Key::Manifest { table: name(), number, writer, index }.to_string();
        let list_key = Key::ManifestList { table: name(), number, writer }.to_string();
        let metadata_key = Key::Metadata { table: name(), number, writer }.checked()?.to_string();

        let metadata = self.previous_metadata(stage.previous).await?;
        let table = self.iceberg_table(stage.table, stage.columns, stage.previous, metadata.as_ref())?;
        let (list, manifests) =
            self.previous_manifests(metadata.as_ref(), before, !stage.removed.is_empty()).await?;
        let entering = stage.added.iter().chain(&stage.deletes);
        let change = Change {
            number,
            committed_at: stage.committed_at,
            writer: writer.to_string(),
            entering: entering
                .map(|staged| Entering { url: self.url_of(&staged.part.key), staged })
                .collect(),
            leaving: stage.removed.iter().map(|key| self.url_of(key)).collect(),
            totals: objects.totals(),
            list,
            manifests,
            list_url: self.url_of(&list_key),
            manifest_url: &|index| self.url_of(&manifest_key(index)),
        };
        let changed = iceberg::change(&table, &change).await?;

        for url in &changed.carried {
            objects.manifests.push(self.named(url, before)?.clone());
        }
        for (index, bytes) in changed.manifests {
            objects.manifests.push(self.create_named(manifest_key(index), bytes).await?);
        }
        objects.manifests.push(self.create_named(list_key, changed.list).await?);
        self.create_named(metadata_key, changed.metadata).await
    }

    /// The list of a table's manifests, and by URL those that the next change reads.
    async fn previous_manifests(
        &self,
        metadata: Option<&Bytes>,
        known: &[Named],
        files_leave: bool,
    ) -> Result<(Option<Bytes>, BTreeMap<String, Bytes>)> {
        let mut manifests = BTreeMap::new();
        let url = metadata.map(|bytes| iceberg::describe(bytes)).transpose()?.and_then(|told| told.list_url);
        let Some(url) = url else { return Ok((None, manifests)) };
        let list = self.read_named(&url, known).await?;
        for url in iceberg::needed(&list, files_leave)? {
            let manifest = self.read_named(&url, known).await?;
            manifests.insert(url, manifest);
        }
        Ok((Some(list), manifests))
    }

    async fn create_named(&self, key: String, bytes: Bytes) -> Result<Named> {
        let named = Named { key, bytes: bytes.len() as u64, sha256: Hash::of(&bytes) };
        self.store().create(&named.key, bytes).await?;
        Ok(named)
    }

    /// Reads the object that Iceberg calls `url`, checked against what `known` says of it.
    async fn read_named(&self, url: &str, known: &[Named]) -> Result<Bytes> {
        let Named { key, bytes, sha256 } = self.named(url, known)?;
        self.store().read_verified(key, *bytes, *sha256).await
    }

    fn named<'k>(&self, url: &str, known: &'k [Named]) -> Result<&'k Named> {
        let key = self.key_of(url);
        known.iter().find(|named| Some(named.key.as_str()) == key).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("{url} is no object of the table, and its metadata names it"),
            )
        })
    }

    async fn previous_metadata(&self, previous: Option<&TableState>) -> Result<Option<Bytes>> {
        match previous {
            Some(previous) => self.metadata(previous).await.map(Some),
            None => Ok(None),
        }
    }

    fn iceberg_table<'a>(
        &self,
        table: &str,
        columns: &'a [TableColumn],
        previous: Option<&TableState>,
        metadata: Option<&'a Bytes>,
    ) -> Result<Table<'a>> {
        Ok(Table {
            location: self.url_of(&table_folder(table)?),
            id: Hash::of(format!("{}/{table}", self.id()).as_bytes()),
            columns,
            previous: previous.zip(metadata).map(|(state, bytes)| (&**bytes, self.url_of(&state.metadata))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{
        self, columns, commit, moment, part, put, quiet, remove, replace, repository, run, stage,
    };

    #[tokio::test]
    async fn a_table_that_nothing_enters_keeps_its_iceberg_snapshot() {
        let repository = repository().await;
        let first = stage(&repository, 1, None, 5, 0).await;
        let before = repository.store().list("").await.expect("listed");
        let same = stage(&repository, 2, Some(&first), 0, 0).await;
        assert_eq!(same, first);
        assert_eq!(repository.store().list("").await.expect("listed"), before);
    }

    #[tokio::test]
    async fn a_new_table_may_be_empty() {
        let repository = repository().await;
        let state = stage(&repository, 1, None, 0, 0).await;
        assert_eq!((state.iceberg_snapshot, state.published_as), (1, FIRST_PUBLISHED));
        let objects = repository.objects(&state).await.expect("listed");
        assert_eq!((objects.rows(), objects.manifests.len()), (0, 1));
    }

    #[tokio::test]
    async fn staging_shows_nothing_to_readers() {
        let repository = repository().await;
        stage(&repository, 1, None, 5, 0).await;
        let listed = repository.store().list("tables").await.expect("listed");
        let kinds: Vec<Key> = listed.iter().map(|object| object.key.parse().expect("a key")).collect();
        assert!(
            !kinds.iter().any(|key| matches!(key, Key::Published { .. } | Key::VersionHint { .. })),
            "{kinds:?}"
        );
        assert_eq!(repository.snapshots().await.expect("listed"), []);
    }

    #[tokio::test]
    async fn two_attempts_at_one_stage_agree() {
        let repository = repository().await;
        let first = stage(&repository, 1, None, 5, 0).await;
        let second = stage(&repository, 2, Some(&first), 3, 2).await;
        assert_eq!(stage(&repository, 2, Some(&first), 3, 2).await, second);
    }

    #[tokio::test]
    async fn manifests_are_merged_and_nothing_is_lost() {
        let repository = repository().await;
        let mut state = stage(&repository, 1, None, 100, 0).await;
        commit(&repository, 1, &state).await;
        let mut most = 0;
        for number in 2..=20 {
            state = stage(&repository, number, Some(&state), 2, 1).await;
            commit(&repository, number, &state).await;
            let objects = repository.objects(&state).await.expect("listed");
            most = most.max(objects.manifests.len());
        }
        assert!(most <= 2 * 17 + 1, "{most}");
        let objects = repository.objects(&state).await.expect("listed");
        assert_eq!((objects.parts.len(), objects.deletes.len(), objects.rows()), (20, 19, 119));
        assert_eq!(findings(&repository).await, []);
    }

    #[tokio::test]
    async fn a_stage_that_contradicts_itself_is_refused() {
        let repository = repository().await;
        let (staged, columns) = (put(&repository, "tags", 1, 3).await, columns());
        let first = stage(&repository, 1, None, 5, 0).await;
        let live = repository.objects(&first).await.expect("listed").parts[0].clone();
        let stage = |previous, rows| {
            let mut stage = quiet(&columns, 2, previous);
            stage.counts.rows = rows;
            stage
        };
        let one = || vec![staged.clone()];
        let mut misfit = staged.clone();
        misfit.statistics.values_mut().for_each(|column| {
            column.bounds = Some((crate::model::Bound::Integer(1), crate::model::Bound::Integer(2)));
        });
        let again = StagedPart { part: live.clone(), ..staged.clone() };
        let mut negative = staged.clone();
        negative.part.content = Content::Deletes;
        for (what, wrong) in [
            ("too many rows", StageTable { added: one(), ..stage(None, 4) }),
            ("a part among the deletes", StageTable { deletes: one(), ..stage(None, 0) }),
            ("a bound that does not fit its column", StageTable { added: vec![misfit], ..stage(None, 3) }),
            ("more deletes than rows", StageTable { deletes: vec![negative], ..stage(None, 0) }),
            ("a part that is there", StageTable { added: vec![again], ..stage(Some(&first), 10) }),
            ("a part that enters twice", StageTable { added: [one(), one()].concat(), ..stage(None, 6) }),
            (
                "what is not there leaves",
                StageTable { removed: vec!["x".to_owned()], ..stage(Some(&first), 5) },
            ),
            ("one leaves twice", StageTable { removed: vec![live.key.clone(); 2], ..stage(Some(&first), 0) }),
            ("rows left uncounted", StageTable { removed: vec![live.key.clone()], ..stage(Some(&first), 5) }),
        ] {
            let refused = repository.stage_table(wrong).await.expect_err(what);
            assert_eq!(refused.kind(), ErrorKind::Bug, "{what}: {refused}");
        }
    }

    /// What is wrong with the latest snapshot, but for what only the one before it could tell.
    async fn findings(repository: &Repository) -> Vec<crate::repository::Finding> {
        let latest = repository.latest().await.expect("readable").expect("some");
        let mut checked = crate::repository::Checked::default();
        let findings = crate::repository::check_snapshot(repository, &latest, None, &mut checked).await;
        let mut findings = findings.expect("checked");
        findings.retain(|finding| !finding.object.starts_with("snapshots/0"));
        findings
    }

    #[tokio::test]
    async fn what_leaves_a_table_stays_in_the_snapshots_that_name_it() {
        let repository = repository().await;
        let first = stage(&repository, 1, None, 5, 0).await;
        commit(&repository, 1, &first).await;
        let second = stage(&repository, 2, Some(&first), 3, 2).await;
        commit(&repository, 2, &second).await;
        let third = replace(&repository, 3, &second).await;
        commit(&repository, 3, &third).await;
        let objects = repository.objects(&third).await.expect("listed");
        assert_eq!((objects.parts.len(), objects.deletes.len(), objects.rows()), (1, 0, 6));
        assert_eq!(findings(&repository).await, []);
        for number in [1, 2] {
            let committed = repository.snapshot(SnapshotNumber(number)).await.expect("readable");
            let before = repository.objects(&committed.snapshot.tables["tags"]).await.expect("listed");
            for part in before.parts.iter().chain(&before.deletes) {
                repository.read_part(part).await.expect("still there");
            }
        }
        // What left is said once: the next snapshot's manifests speak of live files alone.
        let manifests = objects.manifests.len();
        let fourth = stage(&repository, 4, Some(&third), 1, 0).await;
        commit(&repository, 4, &fourth).await;
        let objects = repository.objects(&fourth).await.expect("listed");
        assert_eq!((objects.manifests.len(), manifests), (3, 4));
        assert_eq!(findings(&repository).await, []);
    }

    #[tokio::test]
    async fn a_summary_counts_what_entered_what_left_and_what_is_there() {
        let repository = repository().await;
        let first = stage(&repository, 1, None, 5, 0).await;
        let second = stage(&repository, 2, Some(&first), 3, 2).await;
        let before = repository.objects(&second).await.expect("listed").totals();
        let third = replace(&repository, 3, &second).await;
        let after = repository.objects(&third).await.expect("listed").totals();
        let metadata = repository.metadata(&third).await.expect("readable");
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("JSON");
        let summary = &metadata["snapshots"][2]["summary"];
        let told = |name: &str| summary[name].as_str().and_then(|told| told.parse::<u64>().ok());
        for (name, figure) in [
            ("added-data-files", 1),
            ("added-records", 6),
            ("deleted-data-files", 2),
            ("deleted-records", 8),
            ("removed-delete-files", 1),
            ("removed-position-delete-files", 1),
            ("removed-position-deletes", 2),
            ("removed-files-size", before.bytes),
            ("total-data-files", 1),
            ("total-records", 6),
            ("total-delete-files", 0),
            ("total-position-deletes", 0),
            ("total-files-size", after.bytes),
        ] {
            assert_eq!(told(name), Some(figure), "{name} in {summary}");
        }
        assert_eq!((summary["operation"].as_str(), told("added-delete-files")), (Some("overwrite"), None));
        assert_eq!(summary["asana-backup.writer"], run(3).to_string());
    }

    #[tokio::test]
    async fn a_table_that_everything_leaves_is_empty_and_may_fill_again() {
        let repository = repository().await;
        let first = stage(&repository, 1, None, 5, 0).await;
        commit(&repository, 1, &first).await;
        let emptied = stage(&repository, 2, Some(&first), 0, 5).await;
        commit(&repository, 2, &emptied).await;
        let third = replace(&repository, 3, &emptied).await;
        commit(&repository, 3, &third).await;
        let objects = repository.objects(&third).await.expect("listed");
        assert_eq!((objects.parts.len(), objects.deletes.len(), objects.rows()), (0, 0, 0));
        assert_eq!(findings(&repository).await, []);
        let fourth = stage(&repository, 4, Some(&third), 2, 0).await;
        commit(&repository, 4, &fourth).await;
        let objects = repository.objects(&fourth).await.expect("listed");
        assert_eq!((objects.rows(), objects.manifests.len()), (2, 2));
        assert_eq!(findings(&repository).await, []);
    }

    #[tokio::test]
    async fn only_the_manifests_that_lose_a_file_are_written_anew() {
        let repository = repository().await;
        let mut state = stage(&repository, 1, None, 5, 0).await;
        for number in 2..=6 {
            state = stage(&repository, number, Some(&state), 2, 1).await;
        }
        let before = repository.objects(&state).await.expect("listed");
        let columns = columns();
        let mut next = quiet(&columns, 7, Some(&state));
        // The part of snapshot 3 and the deletes of snapshot 5: two rows and one deletion less.
        next.removed = vec![before.parts[2].key.clone(), before.deletes[3].key.clone()];
        next.counts.rows -= 1;
        let after = repository.stage_table(next).await.expect("staged");
        let after = repository.objects(&after).await.expect("listed");
        let same = after.manifests.iter().filter(|named| before.manifests.contains(named)).count();
        assert_eq!((before.manifests.len(), after.manifests.len(), same), (12, 12, 9));
    }

    #[tokio::test]
    async fn a_manifest_may_be_merged_and_lose_a_file_at_once() {
        let repository = repository().await;
        let mut state = stage(&repository, 1, None, 100, 0).await;
        for number in 2..=16 {
            state = stage(&repository, number, Some(&state), 2, 1).await;
        }
        let state = replace(&repository, 17, &state).await;
        commit(&repository, 1, &state).await;
        let objects = repository.objects(&state).await.expect("listed");
        // 16 manifests of parts are merged because they are many, 15 of deletes because each loses a file.
        assert_eq!((objects.parts.len(), objects.rows(), objects.manifests.len()), (1, 115, 1 + 1 + 1 + 1));
        assert_eq!(findings(&repository).await, []);
    }

    #[tokio::test]
    async fn a_process_that_goes_on_with_a_run_stages_beside_what_it_finds() {
        let repository = repository().await;
        let (columns, part) = (columns(), put(&repository, "tags", 1, 3).await);
        let by = |writer, seconds| {
            let mut stage = quiet(&columns, 1, None);
            stage.counts.rows = 3;
            StageTable { writer, committed_at: moment(seconds), added: vec![part.clone()], ..stage }
        };
        let dead = repository.stage_table(by(run(1), 5)).await.expect("staged");
        let collision = repository.stage_table(by(run(1), 6)).await.expect_err("another time, same names");
        assert_eq!(collision.kind(), ErrorKind::Conflict);
        let resumed = repository.stage_table(by(run(2), 6)).await.expect("names of its own");
        assert_ne!(resumed.metadata, dead.metadata);
        commit(&repository, 1, &resumed).await;
        assert_eq!(findings(&repository).await, []);
    }

    #[tokio::test]
    async fn a_table_of_no_resource_is_staged_and_checked_like_any_other() {
        let repository = repository().await;
        let columns = columns();
        let mut stage = quiet(&columns, 1, None);
        stage.table = "_runs";
        stage.counts.rows = 3;
        stage.added.push(put(&repository, "_runs", 1, 3).await);
        let state = repository.stage_table(stage).await.expect("staged");
        let mut next = fixtures::snapshot(1, None, run(1));
        next.gaps = repository.put_list::<[crate::model::Gap]>(&[]).await.expect("stored");
        (next.cursors, next.coverage, next.held) = (next.gaps, next.gaps, next.gaps);
        next.tables.insert("_runs".to_owned(), state.clone());
        repository.commit(&next).await.expect("committed");
        repository.publish(&next).await.expect("published");
        assert_eq!(findings(&repository).await, []);
        let objects = repository.objects(&state).await.expect("listed");
        let part = &objects.parts[0].key;
        assert!(part.starts_with("tables/_runs/data/"), "{part}");
        for key in [part, &objects.manifests[0].key, &state.metadata] {
            let sound = repository.store().read(key).await.expect("there");
            remove(repository.store(), key).await;
            let found = findings(&repository).await;
            assert!(found.iter().any(|finding| finding.object == *key), "{key}: {found:#?}");
            repository.store().create(key, sound).await.expect("restored");
        }
    }

    #[tokio::test]
    async fn a_part_that_changed_in_memory_is_not_stored() {
        let repository = repository().await;
        let mut encoded = part(3, "a", "b", 1);
        encoded.bytes = "other".into();
        let error = repository.put_part("tags", &run(1), &encoded).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Bug);
        let hostile =
            repository.put_part("../tags", &run(1), &part(3, "a", "b", 1)).await.expect_err("refused");
        assert_eq!(hostile.kind(), ErrorKind::Bug);
    }

    #[test]
    fn every_act_may_move_between_threads() {
        fn sent<T: Send>(_: T) {}
        // Never called: that it compiles is the test.
        let _ = |repository: Repository, stage: StageTable<'static>, part: EncodedPart| {
            let snapshot = fixtures::snapshot(1, None, run(1));
            sent(async move {
                repository.put_part("tags", &run(1), &part).await?;
                repository.field_ids("tags", &[], None).await?;
                repository.stage_table(stage).await?;
                let committed = repository.commit(&snapshot).await?;
                repository.publish(&snapshot).await?;
                let mut checked = crate::repository::Checked::default();
                crate::repository::check_snapshot(&repository, &committed, None, &mut checked).await
            });
        };
    }
}
