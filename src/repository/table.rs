//! Tables: what a snapshot names of them, and how the next state of one is staged.
//!
//! Rule: staging writes only new objects, under names that belong to one run, and nothing that a reader takes for a
//! version of the table. Parts come first, then manifests, then the metadata that names them, then the list of it all.
//! A crash leaves objects that nothing names.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    ColumnStatistics, Content, Counts, EncodedPart, FieldIds, Hash, Lane, Part, Proof, RunId, SnapshotNumber,
    TableColumn, TableState, table_columns,
};
use crate::repository::Repository;
use crate::repository::iceberg::{self, Change, Entering, Table, Totals};
use crate::repository::keys::{Key, table_folder};
use crate::resources::Resource;

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
    /// Whose records it holds.
    pub resource: &'static Resource,
    /// Its state so far.
    pub previous: Option<&'a TableState>,
    /// The snapshot it is staged for.
    pub number: SnapshotNumber,
    /// The time of the commit.
    pub committed_at: DateTime<Utc>,
    /// The run that stages it.
    pub run: RunId,
    /// Parts that enter.
    pub added: Vec<StagedPart>,
    /// Files of position deletes that enter, into these parts or older ones.
    pub deletes: Vec<StagedPart>,
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

    /// The ids that the columns of `resource`'s table have or, if it is new or gains columns, will have once it is
    /// staged: parts are encoded with them.
    pub async fn field_ids(&self, resource: &Resource, previous: Option<&TableState>) -> Result<FieldIds> {
        let metadata = self.previous_metadata(previous).await?;
        let columns = table_columns(resource);
        iceberg::field_ids(&self.iceberg_table(resource.table, &columns, previous, metadata.as_ref())?)
            .map_err(|error| error.doing(format!("number the columns of {}", resource.table)))
    }

    /// Writes the manifests, the metadata and the list of objects of a table's next state. A table that nothing
    /// enters keeps its Iceberg snapshot.
    pub async fn stage_table(&self, stage: StageTable<'_>) -> Result<TableState> {
        let table = stage.resource.table;
        self.stage(stage).await.map_err(|error| error.doing(format!("stage the table {table}")))
    }

    async fn stage(&self, stage: StageTable<'_>) -> Result<TableState> {
        let mut objects = match stage.previous {
            Some(previous) => self.objects(previous).await?,
            None => TableObjects::default(),
        };
        let part = |staged: &StagedPart| staged.part.clone();
        let before = std::mem::take(&mut objects.manifests);
        objects.parts.extend(stage.added.iter().map(part));
        objects.deletes.extend(stage.deletes.iter().map(part));
        check(&stage, &objects)?;
        let StageTable { lane, proof, counts, .. } = stage.clone();
        if let Some(previous) = stage.previous
            && stage.added.is_empty()
            && stage.deletes.is_empty()
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
        let StageTable { number, run, .. } = *stage;
        let name = || stage.resource.table.to_owned();
        let manifest_key = |index| Key::Manifest { table: name(), number, run, index }.to_string();
        let list_key = Key::ManifestList { table: name(), number, run }.to_string();
        let metadata_key = Key::Metadata { table: name(), number, run }.checked()?.to_string();

        let metadata = self.previous_metadata(stage.previous).await?;
        let columns = table_columns(stage.resource);
        let table = self.iceberg_table(stage.resource.table, &columns, stage.previous, metadata.as_ref())?;
        let (list, outgrown) = self.previous_manifests(metadata.as_ref(), before).await?;
        let entering = stage.added.iter().chain(&stage.deletes);
        let change = Change {
            number,
            committed_at: stage.committed_at,
            run: run.to_string(),
            entering: entering
                .map(|staged| Entering { url: self.url_of(&staged.part.key), staged })
                .collect(),
            totals: objects.totals(),
            list,
            outgrown,
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

    /// The list of a table's manifests, and by URL those that the next change merges.
    async fn previous_manifests(
        &self,
        metadata: Option<&Bytes>,
        known: &[Named],
    ) -> Result<(Option<Bytes>, BTreeMap<String, Bytes>)> {
        let mut outgrown = BTreeMap::new();
        let url = metadata.map(|bytes| iceberg::describe(bytes)).transpose()?.and_then(|told| told.list_url);
        let Some(url) = url else { return Ok((None, outgrown)) };
        let list = self.read_named(&url, known).await?;
        for url in iceberg::outgrown(&list)? {
            let manifest = self.read_named(&url, known).await?;
            outgrown.insert(url, manifest);
        }
        Ok((Some(list), outgrown))
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

/// Refuses a stage that contradicts itself, before anything is written.
fn check(stage: &StageTable<'_>, objects: &TableObjects) -> Result<()> {
    let wrong = |what: String| Err(Error::new(ErrorKind::Bug, what));
    if stage.added.iter().any(|staged| staged.part.content != Content::Records)
        || stage.deletes.iter().any(|staged| staged.part.content != Content::Deletes)
    {
        return wrong("a part and a file of position deletes are mixed up".to_owned());
    }
    if objects.rows() != stage.counts.rows {
        return wrong(format!(
            "its objects hold {} rows, and {} are counted",
            objects.rows(),
            stage.counts.rows
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{self, commit, moment, part, repository, run, stage, tags};

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
        let latest = repository.latest().await.expect("readable").expect("some");
        let findings =
            crate::repository::check_snapshot(&repository, &latest, None, &mut Default::default()).await;
        let findings = findings.expect("checked");
        // What only the snapshot before it could tell is missing here.
        assert!(findings.iter().all(|finding| finding.object.starts_with("snapshots/0")), "{findings:#?}");
    }

    #[tokio::test]
    async fn a_stage_that_contradicts_itself_is_refused() {
        let repository = repository().await;
        let encoded = part(3, "a", "b", 1);
        let stored = repository.put_part("tags", &run(1), &encoded).await.expect("stored");
        let staged = StagedPart::new(stored, &encoded);
        let stage = |added: Vec<StagedPart>, deletes: Vec<StagedPart>, rows| StageTable {
            resource: tags(),
            previous: None,
            number: SnapshotNumber(1),
            committed_at: moment(0),
            run: run(1),
            added,
            deletes,
            lane: Lane::Walk,
            proof: Proof {
                complete: true,
                available: true,
                as_of: chrono::DateTime::UNIX_EPOCH,
                by: Vec::new(),
                lacks: Vec::new(),
            },
            counts: Counts { rows, ..Counts::default() },
        };
        let one = || vec![staged.clone()];
        // Too many rows; a part among the deletes; a bound that does not fit its column.
        let mut misfit = staged.clone();
        misfit.statistics.values_mut().for_each(|column| {
            column.bounds = Some((crate::model::Bound::Integer(1), crate::model::Bound::Integer(2)));
        });
        for wrong in [stage(one(), vec![], 4), stage(vec![], one(), 0), stage(vec![misfit], vec![], 3)] {
            assert_eq!(repository.stage_table(wrong).await.expect_err("refused").kind(), ErrorKind::Bug);
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
                repository.field_ids(tags(), None).await?;
                repository.stage_table(stage).await?;
                let committed = repository.commit(&snapshot).await?;
                repository.publish(&snapshot).await?;
                let mut checked = crate::repository::Checked::default();
                crate::repository::check_snapshot(&repository, &committed, None, &mut checked).await
            });
        };
    }
}
