//! The door to the table format: what a table's Iceberg v2 files say, and how the next ones are made.
//!
//! Rule: bytes go in and bytes come out; nothing here touches a store. The files are a function of what they say: two
//! attempts at one commit agree to the byte. An old manifest is carried over verbatim or merged with others of its
//! kind, and a merged entry keeps its snapshot and both its sequence numbers, or deletes would apply to the wrong rows.
//! Where files leave, the manifests that named them are written anew and say so once.
//! The crate is used for its format types alone. Its writers take a storage: ours is its own, in memory.
//! A crash leaves nothing here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, ListType, MAIN_BRANCH,
    Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter, ManifestWriterBuilder,
    NestedField, NestedFieldRef, Operation, PartitionSpec, PrimitiveType, Schema, SchemaRef, Snapshot,
    SortOrder, Struct, StructType, Summary, TableMetadata, TableMetadataBuilder, Type,
};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bound, ColumnKind, Content, FieldIds, Hash, SnapshotNumber, TableColumn};
use crate::repository::avro;
use crate::repository::table::StagedPart;

/// How many snapshots a metadata file lists; an older one is reached through the metadata its snapshot file names.
/// Each takes some 700 bytes.
const SNAPSHOTS_KEPT: usize = 100;
/// How many manifests of one kind are carried over before they are merged into one.
const MANIFESTS_CARRIED: usize = 16;
/// A manifest of this length is no longer merged: Iceberg's own `commit.manifest.target-size-bytes`.
const MANIFEST_BYTES: i64 = 8 << 20;
/// Iceberg's ids for the columns of a file of position deletes.
const DELETE_FILE_PATH: i32 = i32::MAX - 101;
const DELETE_POSITION: i32 = i32::MAX - 102;

/// What every table says of itself. A foreign `expire_snapshots` or `remove_orphan_files` would destroy history.
const PROPERTIES: &[(&str, &str)] = &[
    ("gc.enabled", "false"),
    ("write.format.default", "parquet"),
    ("write.metadata.delete-after-commit.enabled", "false"),
    ("write.metadata.previous-versions-max", "100"),
    ("write.delete.mode", "merge-on-read"),
    ("write.update.mode", "merge-on-read"),
    ("write.merge.mode", "merge-on-read"),
];

/// The table that a change is made to.
pub(super) struct Table<'a> {
    /// Its URL.
    pub location: String,
    /// Tells it from all other tables; the same for two attempts.
    pub id: Hash,
    /// The columns it shall have.
    pub columns: &'a [TableColumn],
    /// Its metadata so far, and the URL of that file.
    pub previous: Option<(&'a [u8], String)>,
}

/// A file that enters the table.
pub(super) struct Entering<'a> {
    /// Its URL.
    pub url: String,
    /// What it is.
    pub staged: &'a StagedPart,
}

/// One change to a table.
pub(super) struct Change<'a> {
    /// The snapshot it belongs to.
    pub number: SnapshotNumber,
    /// The time of the commit.
    pub committed_at: DateTime<Utc>,
    /// The process that makes it, for those who look at the table's history.
    pub writer: String,
    /// Parts and files of position deletes that enter.
    pub entering: Vec<Entering<'a>>,
    /// The URLs of those that leave.
    pub leaving: BTreeSet<String>,
    /// What the table holds after the change.
    pub totals: Totals,
    /// The manifest list so far.
    pub list: Option<Bytes>,
    /// The manifests that [`needed`] names, by URL.
    pub manifests: BTreeMap<String, Bytes>,
    /// The URL of the manifest list to come.
    pub list_url: String,
    /// The URL of the n-th manifest to come.
    pub manifest_url: &'a (dyn Fn(u32) -> String + Sync),
}

/// What a table holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Parts.
    pub parts: u64,
    /// Rows in parts, deleted ones included.
    pub rows: u64,
    /// Files of position deletes.
    pub deletes: u64,
    /// Positions deleted.
    pub positions: u64,
    /// The length of all files.
    pub bytes: u64,
}

/// The files that make a change; the caller stores them.
pub(super) struct Changed {
    /// The new metadata.
    pub metadata: Bytes,
    /// The new manifest list, to be stored under the URL that was given.
    pub list: Bytes,
    /// New manifests by their number, to be stored under the URLs that were given.
    pub manifests: Vec<(u32, Bytes)>,
    /// The URLs of the manifests carried over.
    pub carried: Vec<String>,
}

/// What a metadata file says, as far as a snapshot says it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The current snapshot.
    pub snapshot: Option<i64>,
    /// The URL of its manifest list.
    pub list_url: Option<String>,
    /// Where the table is.
    pub location: String,
}

/// A manifest, as a manifest list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedManifest {
    /// Its URL.
    pub url: String,
    /// Its length.
    pub bytes: i64,
}

/// A file, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// Its URL.
    pub url: String,
    /// What it holds; none for what we never write.
    pub content: Option<Content>,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
}

/// The ids that `table`'s columns have, or will have once a change is made.
pub(super) fn field_ids(table: &Table<'_>) -> Result<FieldIds> {
    Ok(begin(table)?.schema.field_id_to_name_map().iter().map(|(id, path)| (path.clone(), *id)).collect())
}

/// The URLs of the manifests in `list` that the next change reads: those that are merged, because there are enough small
/// ones of a kind, and all of them where files leave.
pub(super) fn needed(list: &[u8], files_leave: bool) -> Result<Vec<String>> {
    let (carried, groups) = sorted(list)?;
    let carried = carried.into_iter().filter(|_| files_leave);
    Ok(groups.into_iter().flatten().chain(carried).map(|manifest| manifest.manifest_path).collect())
}

/// The manifests of `list` that are carried over, and the groups of those that are merged. One that only says what left
/// the table has had its say in the snapshot it was written for.
fn sorted(list: &[u8]) -> Result<(Vec<ManifestFile>, Vec<Vec<ManifestFile>>)> {
    let (mut carried, mut data, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    let live = |manifest: &ManifestFile| manifest.has_added_files() || manifest.has_existing_files();
    for manifest in parse_list(list)?.consume_entries().into_iter().filter(live) {
        match manifest.content {
            _ if manifest.manifest_length >= MANIFEST_BYTES => carried.push(manifest),
            ManifestContentType::Data => data.push(manifest),
            ManifestContentType::Deletes => deletes.push(manifest),
        }
    }
    let mut groups = Vec::new();
    for group in [data, deletes] {
        if group.len() < MANIFESTS_CARRIED {
            carried.extend(group);
        } else {
            groups.push(group);
        }
    }
    Ok((carried, groups))
}

/// Makes the files of `change`.
pub(super) async fn change(table: &Table<'_>, change: &Change<'_>) -> Result<Changed> {
    let Draft { builder, schema, sequence, parent, outdated } = begin(table)?;
    let schema_id = schema.schema_id();
    let number = i64::try_from(change.number.0).map_err(bug)?;
    let mut writer = Writer { schema, number, change, left: Left::default(), next: 0, written: Vec::new() };
    let (manifests, carried) = writer.manifests().await?;

    let list = write_list(number, parent, sequence, manifests).await?;
    let snapshot = Snapshot::builder()
        .with_snapshot_id(number)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        .with_timestamp_ms(change.committed_at.timestamp_millis())
        .with_manifest_list(change.list_url.clone())
        .with_summary(summary(change, &writer.left))
        .with_schema_id(schema_id)
        .build();
    let metadata = builder
        .set_branch_snapshot(snapshot, MAIN_BRANCH)
        .map_err(bug)?
        .remove_snapshots(&outdated)
        .build()
        .map_err(bug)?
        .metadata;
    Ok(Changed { metadata: canonical(&metadata)?, list, manifests: writer.written, carried })
}

/// What `metadata` says.
pub(super) fn describe(metadata: &[u8]) -> Result<Described> {
    let metadata = parse(metadata)?;
    let current = metadata.current_snapshot();
    Ok(Described {
        snapshot: metadata.current_snapshot_id(),
        list_url: current.map(|snapshot| snapshot.manifest_list().to_owned()),
        location: metadata.location().to_owned(),
    })
}

/// The manifests that `list` names.
pub(super) fn listed_manifests(list: &[u8]) -> Result<Vec<ListedManifest>> {
    let listed = |manifest: &ManifestFile| ListedManifest {
        url: manifest.manifest_path.clone(),
        bytes: manifest.manifest_length,
    };
    Ok(parse_list(list)?.entries().iter().map(listed).collect())
}

/// The live files that `manifest` names.
pub(super) fn listed_files(manifest: &[u8]) -> Result<Vec<ListedFile>> {
    let manifest = Manifest::parse_avro(manifest).map_err(garbled)?;
    let live = manifest.entries().iter().filter(|entry| entry.is_alive());
    Ok(live
        .map(|entry| ListedFile {
            url: entry.file_path().to_owned(),
            content: match entry.content_type() {
                DataContentType::Data => Some(Content::Records),
                DataContentType::PositionDeletes => Some(Content::Deletes),
                DataContentType::EqualityDeletes => None,
            },
            rows: entry.record_count(),
            bytes: entry.file_size_in_bytes(),
        })
        .collect())
}

/// The next metadata, before its change.
struct Draft {
    builder: TableMetadataBuilder,
    schema: SchemaRef,
    sequence: i64,
    parent: Option<i64>,
    /// Snapshots that it no longer names.
    outdated: Vec<i64>,
}

impl Draft {
    fn new(builder: TableMetadataBuilder, schema: SchemaRef, basis: &TableMetadata) -> Self {
        let (sequence, parent) = (basis.next_sequence_number(), basis.current_snapshot_id());
        Self { builder, schema, sequence, parent, outdated: outdated(basis) }
    }
}

/// The table's own metadata, with the columns it lacks, or a new table's.
fn begin(table: &Table<'_>) -> Result<Draft> {
    let Some((previous, url)) = &table.previous else {
        let builder = create(table)?;
        let empty = built(builder.clone())?;
        return Ok(Draft::new(builder, empty.current_schema().clone(), &empty));
    };
    let previous = parse(previous)?;
    let current = previous.current_schema().clone();
    let mut next_id = previous.last_column_id() + 1;
    let fields = evolve(current.as_struct(), table.columns, &mut next_id)?;
    let builder = previous.clone().into_builder(Some(url.clone()));
    if fields == current.as_struct().fields() {
        return Ok(Draft::new(builder, current, &previous));
    }
    let builder = builder.add_current_schema(schema(fields)?).map_err(bug)?;
    let evolved = built(at_the_time_of(&previous, builder.clone())?)?.current_schema().clone();
    Ok(Draft::new(builder, evolved, &previous))
}

/// `builder` with a snapshot that is never written, at the time of the last one. Without one the crate takes what the
/// machine's clock shows, and refuses it where that is behind: only a commit may say what time it is.
fn at_the_time_of(previous: &TableMetadata, builder: TableMetadataBuilder) -> Result<TableMetadataBuilder> {
    let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
    let placeholder = Snapshot::builder()
        .with_snapshot_id(i64::MAX)
        .with_parent_snapshot_id(previous.current_snapshot_id())
        .with_sequence_number(previous.next_sequence_number())
        .with_timestamp_ms(previous.last_updated_ms())
        .with_manifest_list(String::new())
        .with_summary(summary)
        .build();
    builder.add_snapshot(placeholder).map_err(bug)
}

fn create(table: &Table<'_>) -> Result<TableMetadataBuilder> {
    let fields = evolve(&StructType::new(Vec::new()), table.columns, &mut 1)?;
    let properties = PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TableMetadataBuilder::new(
        schema(fields)?,
        PartitionSpec::unpartition_spec(),
        SortOrder::unsorted_order(),
        table.location.clone(),
        FormatVersion::V2,
        properties.collect(),
    )
    .map(|builder| builder.assign_uuid(uuid(&table.id)))
    .map_err(bug)
}

/// A UUID of version 8 (RFC 9562) out of a digest, by way of its text: the type's own crate is not named here.
fn uuid<T: std::str::FromStr>(id: &Hash) -> T
where
    T::Err: std::fmt::Debug,
{
    let hex = id.to_string();
    let text = format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
    text.parse().expect("32 hexadecimal digits in groups are a UUID")
}

fn built(builder: TableMetadataBuilder) -> Result<TableMetadata> {
    builder.build().map(|built| built.metadata).map_err(bug)
}

fn schema(fields: Vec<NestedFieldRef>) -> Result<Schema> {
    Schema::builder().with_fields(fields).build().map_err(bug)
}

/// The fields of `there`, and after them those of `columns` that it lacks, optional if the table has rows already.
fn evolve(there: &StructType, columns: &[TableColumn], next_id: &mut i32) -> Result<Vec<NestedFieldRef>> {
    let new_table = there.fields().is_empty();
    let mut fields = Vec::with_capacity(columns.len());
    for field in there.fields() {
        let column = columns.iter().find(|column| column.name == field.name);
        let mut field = NestedField::clone(field);
        match column {
            Some(column) => {
                field.required = field.required && column.required;
                *field.field_type = evolve_type(&field.field_type, &column.kind, next_id)
                    .map_err(|error| error.doing(format!("change the column `{}`", column.name)))?;
            }
            // New parts no longer have it.
            None => field.required = false,
        }
        fields.push(field.into());
    }
    for column in columns {
        if there.field_by_name(column.name).is_none() {
            let id = take(next_id);
            let kind = new_type(&column.kind, next_id)?;
            fields.push(NestedField::new(id, column.name, kind, column.required && new_table).into());
        }
    }
    Ok(fields)
}

fn evolve_type(there: &Type, kind: &ColumnKind, next_id: &mut i32) -> Result<Type> {
    match (there, kind) {
        (Type::Struct(there), ColumnKind::Struct(columns)) => {
            Ok(Type::Struct(StructType::new(evolve(there, columns, next_id)?)))
        }
        (Type::List(there), ColumnKind::List(element)) => {
            let mut field = NestedField::clone(&there.element_field);
            *field.field_type = evolve_type(&field.field_type, element, next_id)?;
            Ok(Type::List(ListType::new(field.into())))
        }
        (Type::Primitive(there), kind) if Some(there) == primitive(kind).as_ref() => {
            Ok(Type::Primitive(there.clone()))
        }
        _ => Err(Error::new(ErrorKind::Bug, format!("it is {there} and cannot become {kind:?}"))),
    }
}

fn new_type(kind: &ColumnKind, next_id: &mut i32) -> Result<Type> {
    match kind {
        ColumnKind::Struct(columns) => {
            let fields = evolve(&StructType::new(Vec::new()), columns, next_id)?;
            Ok(Type::Struct(StructType::new(fields)))
        }
        ColumnKind::List(element) => {
            let id = take(next_id);
            let element = new_type(element, next_id)?;
            Ok(Type::List(ListType::new(NestedField::list_element(id, element, false).into())))
        }
        kind => primitive(kind).map(Type::Primitive).ok_or_else(|| bug(format!("{kind:?} has no type"))),
    }
}

fn primitive(kind: &ColumnKind) -> Option<PrimitiveType> {
    match kind {
        ColumnKind::Text => Some(PrimitiveType::String),
        ColumnKind::Boolean => Some(PrimitiveType::Boolean),
        ColumnKind::Integer => Some(PrimitiveType::Long),
        ColumnKind::Number => Some(PrimitiveType::Double),
        ColumnKind::Date => Some(PrimitiveType::Date),
        ColumnKind::Timestamp => Some(PrimitiveType::Timestamptz),
        ColumnKind::Struct(_) | ColumnKind::List(_) => None,
    }
}

fn take(next_id: &mut i32) -> i32 {
    *next_id += 1;
    *next_id - 1
}

/// What left the table in one change.
#[derive(Debug, Default)]
struct Left {
    urls: BTreeSet<String>,
    parts: u64,
    rows: u64,
    deletes: u64,
    positions: u64,
    bytes: u64,
}

impl Left {
    fn add(&mut self, file: &DataFile) {
        let (count, rows) = match file.content_type() {
            DataContentType::Data => (&mut self.parts, &mut self.rows),
            _ => (&mut self.deletes, &mut self.positions),
        };
        *count += 1;
        *rows += file.record_count();
        self.bytes += file.file_size_in_bytes();
        self.urls.insert(file.file_path().to_owned());
    }
}

/// Writes the manifests of one change.
struct Writer<'a> {
    schema: std::sync::Arc<Schema>,
    number: i64,
    change: &'a Change<'a>,
    left: Left,
    next: u32,
    written: Vec<(u32, Bytes)>,
}

impl Writer<'_> {
    /// All manifests of the table after the change, and the URLs of those among them that are carried over.
    async fn manifests(&mut self) -> Result<(Vec<ManifestFile>, Vec<String>)> {
        let (carried, mut groups) = match &self.change.list {
            Some(list) => sorted(list)?,
            None => (Vec::new(), Vec::new()),
        };
        let (mut manifests, mut urls) = (Vec::new(), Vec::new());
        for manifest in carried {
            if !self.loses(&manifest).await? {
                urls.push(manifest.manifest_path.clone());
                manifests.push(manifest);
            } else if let Some(group) = groups.iter_mut().find(|group| group[0].content == manifest.content) {
                group.push(manifest);
            } else {
                groups.push(vec![manifest]);
            }
        }
        for group in groups {
            manifests.push(self.merge(&group).await?);
        }
        if let Some(url) = self.change.leaving.difference(&self.left.urls).next() {
            return Err(garbled(format!("no manifest of the table names {url}, which its objects do")));
        }
        for content in [Content::Records, Content::Deletes] {
            manifests.extend(self.enter(content).await?);
        }
        Ok((manifests, urls))
    }

    /// Whether a file that leaves is live in `manifest`.
    async fn loses(&self, manifest: &ManifestFile) -> Result<bool> {
        if self.change.leaving.is_empty() {
            return Ok(false);
        }
        let loaded = self.load(manifest).await?;
        let mut live = loaded.entries().iter().filter(|entry| entry.is_alive());
        Ok(live.any(|entry| self.change.leaving.contains(entry.file_path())))
    }

    async fn load(&self, manifest: &ManifestFile) -> Result<Manifest> {
        let bytes = self.change.manifests.get(&manifest.manifest_path).cloned();
        let bytes = bytes.ok_or_else(|| bug(format!("{} was not read", manifest.manifest_path)))?;
        // Only this way does the crate hand down what an entry inherits from its manifest.
        let (io, mut local) = (FileIO::new_with_memory(), manifest.clone());
        local.manifest_path = IN_MEMORY.to_owned();
        io.new_output(IN_MEMORY).map_err(bug)?.write(bytes).await.map_err(bug)?;
        local.load_manifest(&io).await.map_err(garbled)
    }

    /// One manifest of all entries of `manifests`, which are of one kind; those that leave are marked so.
    async fn merge(&mut self, manifests: &[ManifestFile]) -> Result<ManifestFile> {
        let content = match manifests.first().map(|manifest| manifest.content) {
            Some(ManifestContentType::Deletes) => Content::Deletes,
            _ => Content::Records,
        };
        let mut files = Vec::new();
        for manifest in manifests {
            let loaded = self.load(manifest).await?;
            for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
                let (Some(snapshot), Some(sequence)) = (entry.snapshot_id(), entry.sequence_number()) else {
                    return Err(garbled(format!("{} lacks its sequence number", entry.file_path())));
                };
                let since = Since { snapshot, sequence, file_sequence: entry.file_sequence_number };
                let data_file = entry.data_file().clone();
                let place = if self.change.leaving.contains(entry.file_path()) {
                    self.left.add(&data_file);
                    Place::Leaves(since)
                } else {
                    Place::Stays(since)
                };
                files.push(Placed { data_file, place });
            }
        }
        self.write(content, files).await
    }

    /// The manifest of the files of one kind that enter, if there are any.
    async fn enter(&mut self, content: Content) -> Result<Option<ManifestFile>> {
        let mut files = Vec::new();
        for entering in self.change.entering.iter().filter(|entering| entering.staged.part.content == content)
        {
            let data_file = data_file(entering, &self.schema)
                .map_err(|error| error.doing(format!("describe {}", entering.staged.part.key)))?;
            files.push(Placed { data_file, place: Place::Enters });
        }
        if files.is_empty() { Ok(None) } else { self.write(content, files).await.map(Some) }
    }

    async fn write(&mut self, content: Content, files: Vec<Placed>) -> Result<ManifestFile> {
        let io = FileIO::new_with_memory();
        let output = io.new_output(IN_MEMORY).map_err(bug)?;
        let spec = PartitionSpec::unpartition_spec();
        let builder = ManifestWriterBuilder::new(output, Some(self.number), self.schema.clone(), spec);
        let mut writer = match content {
            Content::Records => builder.build_v2_data(),
            Content::Deletes => builder.build_v2_deletes(),
        };
        for Placed { data_file, place } in files {
            match place {
                // -1: the reader takes the sequence number of the snapshot that adds the manifest.
                Place::Enters => writer.add_file(data_file, -1),
                Place::Stays(Since { snapshot, sequence, file_sequence }) => {
                    writer.add_existing_file(data_file, snapshot, sequence, file_sequence)
                }
                // The snapshot of such an entry is the one in which it leaves; its sequence numbers stay.
                Place::Leaves(Since { sequence, file_sequence, .. }) => {
                    writer.add_delete_file(data_file, sequence, file_sequence)
                }
            }
            .map_err(bug)?;
        }
        let mut manifest = writer.write_manifest_file().await.map_err(bug)?;
        let bytes = written(&io).await?;
        let index = self.next;
        self.next += 1;
        manifest.manifest_path = (self.change.manifest_url)(index);
        manifest.manifest_length = i64::try_from(bytes.len()).map_err(bug)?;
        self.written.push((index, bytes));
        Ok(manifest)
    }
}

/// A file, and what becomes of it in this change.
struct Placed {
    data_file: DataFile,
    place: Place,
}

enum Place {
    Enters,
    Stays(Since),
    Leaves(Since),
}

/// Since when a file is in the table.
struct Since {
    snapshot: i64,
    /// Decides which deletes apply to it, or to what it applies.
    sequence: i64,
    file_sequence: Option<i64>,
}

/// The only name in a memory of its own.
const IN_MEMORY: &str = "memory:///file";

async fn written(io: &FileIO) -> Result<Bytes> {
    let bytes = io.new_input(IN_MEMORY).map_err(bug)?.read().await.map_err(bug)?;
    avro::canonical(&bytes)
}

async fn write_list(
    number: i64,
    parent: Option<i64>,
    sequence: i64,
    manifests: Vec<ManifestFile>,
) -> Result<Bytes> {
    let io = FileIO::new_with_memory();
    let output = io.new_output(IN_MEMORY).map_err(bug)?.writer().await.map_err(bug)?;
    let mut writer = ManifestListWriter::v2(output, number, parent, sequence);
    writer.add_manifests(manifests.into_iter()).map_err(bug)?;
    writer.close().await.map_err(bug)?;
    written(&io).await
}

fn data_file(entering: &Entering<'_>, schema: &Schema) -> Result<DataFile> {
    let StagedPart { part, statistics, split_offsets } = entering.staged;
    let (mut sizes, mut values, mut nulls) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    for (id, column) in statistics {
        sizes.insert(*id, column.compressed_bytes);
        values.insert(*id, column.values);
        if let Some(count) = column.nulls {
            nulls.insert(*id, count);
        }
        if let Some((least, greatest)) = &column.bounds {
            lower.insert(*id, datum(*id, least, part.content, schema)?);
            upper.insert(*id, datum(*id, greatest, part.content, schema)?);
        }
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(match part.content {
            Content::Records => DataContentType::Data,
            Content::Deletes => DataContentType::PositionDeletes,
        })
        .file_path(entering.url.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(part.rows)
        .file_size_in_bytes(part.bytes)
        .column_sizes(sizes)
        .value_counts(values)
        .null_value_counts(nulls)
        .lower_bounds(lower)
        .upper_bounds(upper)
        .split_offsets((!split_offsets.is_empty()).then(|| split_offsets.clone()));
    if part.content == Content::Deletes {
        builder.referenced_data_file(only_referenced(entering.staged));
    }
    builder.build().map_err(bug)
}

/// The one file that all deletes of `staged` point into, if it is one.
fn only_referenced(staged: &StagedPart) -> Option<String> {
    match &staged.statistics.get(&DELETE_FILE_PATH)?.bounds {
        Some((Bound::Text(least), Bound::Text(greatest))) if least == greatest => Some(least.clone()),
        _ => None,
    }
}

fn datum(id: i32, bound: &Bound, content: Content, schema: &Schema) -> Result<Datum> {
    let datum = match bound {
        Bound::Text(value) => Datum::string(value),
        Bound::Integer(value) => Datum::long(*value),
        Bound::Number(value) => Datum::double(*value),
        Bound::Boolean(value) => Datum::bool(*value),
        Bound::Date(value) => Datum::date(*value),
        Bound::Timestamp(value) => Datum::timestamptz_micros(*value),
    };
    let expected = match (content, id) {
        (Content::Deletes, DELETE_FILE_PATH) => Some(PrimitiveType::String),
        (Content::Deletes, DELETE_POSITION) => Some(PrimitiveType::Long),
        (Content::Deletes, _) => None,
        (Content::Records, id) => {
            schema.field_by_id(id).and_then(|f| f.field_type.as_primitive_type().cloned())
        }
    };
    if expected.as_ref() == Some(datum.data_type()) {
        Ok(datum)
    } else {
        Err(Error::new(
            ErrorKind::Bug,
            format!("column {id} is {expected:?}, and a bound of it is {bound:?}"),
        ))
    }
}

fn summary(change: &Change<'_>, left: &Left) -> Summary {
    let sum = |content: Content, of: fn(&StagedPart) -> u64| -> u64 {
        let entering = change.entering.iter().map(|entering| entering.staged);
        entering.filter(|staged| staged.part.content == content).map(of).sum()
    };
    let parts = sum(Content::Records, |_| 1);
    let deletes = sum(Content::Deletes, |_| 1);
    let bytes: u64 = change.entering.iter().map(|entering| entering.staged.part.bytes).sum();
    let totals = &change.totals;
    let figures = [
        ("added-data-files", parts),
        ("added-records", sum(Content::Records, |staged| staged.part.rows)),
        ("added-delete-files", deletes),
        ("added-position-delete-files", deletes),
        ("added-position-deletes", sum(Content::Deletes, |staged| staged.part.rows)),
        ("added-files-size", bytes),
        ("deleted-data-files", left.parts),
        ("deleted-records", left.rows),
        ("removed-delete-files", left.deletes),
        ("removed-position-delete-files", left.deletes),
        ("removed-position-deletes", left.positions),
        ("removed-files-size", left.bytes),
    ];
    let sums = [
        ("total-data-files", totals.parts),
        ("total-records", totals.rows),
        ("total-delete-files", totals.deletes),
        ("total-position-deletes", totals.positions),
        ("total-equality-deletes", 0),
        ("total-files-size", totals.bytes),
    ];
    let told = figures.into_iter().filter(|(_, value)| *value > 0).chain(sums);
    let mut properties: HashMap<String, String> =
        told.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    properties.insert("asana-backup.writer".to_owned(), change.writer.clone());
    // Never `replace`, which readers of changes skip: whether rows changed too is not known here.
    let operation = match (parts, deletes + left.parts + left.deletes) {
        (_, 0) => Operation::Append,
        (0, _) => Operation::Delete,
        _ => Operation::Overwrite,
    };
    Summary { operation, additional_properties: properties }
}

/// The snapshots that make room for one more.
fn outdated(metadata: &TableMetadata) -> Vec<i64> {
    let mut ids: Vec<(i64, i64)> =
        metadata.snapshots().map(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id())).collect();
    ids.sort_unstable();
    let superfluous = (ids.len() + 1).saturating_sub(SNAPSHOTS_KEPT);
    ids.into_iter().take(superfluous).map(|(_, id)| id).collect()
}

/// `metadata` as JSON whose order follows from what it says: the crate keeps some of it in hash maps.
fn canonical(metadata: &TableMetadata) -> Result<Bytes> {
    let mut value = serde_json::to_value(metadata).map_err(bug)?;
    value.sort_all_objects();
    for (list, by) in [
        ("snapshots", "sequence-number"),
        ("schemas", "schema-id"),
        ("partition-specs", "spec-id"),
        ("sort-orders", "order-id"),
    ] {
        if let Some(items) = value.get_mut(list).and_then(serde_json::Value::as_array_mut) {
            items.sort_by_key(|item| item.get(by).and_then(serde_json::Value::as_i64));
        }
    }
    serde_json::to_vec(&value).map(Bytes::from).map_err(bug)
}

fn parse(metadata: &[u8]) -> Result<TableMetadata> {
    serde_json::from_slice(metadata).map_err(garbled)
}

fn parse_list(list: &[u8]) -> Result<ManifestList> {
    ManifestList::parse_with_version(list, FormatVersion::V2).map_err(garbled)
}

/// What was stored does not read back.
fn garbled(cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("it is garbled: {cause}"))
}

/// What we are about to write is refused.
fn bug(cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Bug, format!("the table format refuses: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use iceberg::spec::ManifestStatus;

    use crate::model::{Part, field_ids as ids_of, table_columns};
    use crate::repository::fixtures::{moment, tags};
    use crate::resources;

    fn table<'a>(columns: &'a [TableColumn], previous: Option<&'a [u8]>) -> Table<'a> {
        let location = "memory:///repository/tables/tags".to_owned();
        let previous = previous.map(|bytes| (bytes, format!("{location}/metadata/1.metadata.json")));
        Table { location, id: Hash::of(b"id"), columns, previous }
    }

    async fn empty_change(table: &Table<'_>, number: u64) -> Changed {
        let change = Change {
            number: SnapshotNumber(number),
            committed_at: moment(i64::try_from(number).expect("small")),
            writer: "writer".to_owned(),
            entering: Vec::new(),
            totals: Totals::default(),
            list: Some(write_list(1, None, 1, Vec::new()).await.expect("a list")),
            leaving: BTreeSet::new(),
            manifests: BTreeMap::new(),
            list_url: format!("list-{number}"),
            manifest_url: &|index| format!("manifest-{number}-{index}"),
        };
        super::change(table, &change).await.expect("changed")
    }

    /// Files under these names: `d...` are deletes.
    fn staged(names: &[&str]) -> Vec<StagedPart> {
        let staged = |name: &&str| {
            let content = if name.starts_with('d') { Content::Deletes } else { Content::Records };
            let encoded = crate::repository::fixtures::part(3, "a", "z", 1);
            let (key, bytes, sha256) = ((*name).to_owned(), 10, encoded.sha256);
            let statistics = BTreeMap::new();
            StagedPart {
                part: Part { key, content, bytes, sha256, rows: 3 },
                statistics,
                split_offsets: vec![],
            }
        };
        names.iter().map(staged).collect()
    }

    /// What a manifest says of a file: its name, status, snapshot, data and file sequence number.
    type Entry = (String, ManifestStatus, Option<i64>, Option<i64>, Option<i64>);

    fn entries(manifests: &[(u32, Bytes)]) -> Vec<Entry> {
        let mut told = Vec::new();
        for (_, bytes) in manifests {
            for entry in Manifest::parse_avro(bytes).expect("a manifest").entries() {
                let sequences = (entry.sequence_number(), entry.file_sequence_number);
                let name = entry.file_path().to_owned();
                told.push((name, entry.status(), entry.snapshot_id(), sequences.0, sequences.1));
            }
        }
        told
    }

    #[tokio::test]
    async fn what_leaves_is_marked_with_its_snapshot_and_what_stays_keeps_its_own() {
        let columns = table_columns(tags());
        let (mut metadata, mut list, mut all): (Option<Bytes>, Option<Bytes>, BTreeMap<String, Bytes>) =
            (None, None, BTreeMap::new());
        let mut last = Vec::new();
        for (number, enters, leaves) in [
            (5, &["a", "b"][..], &[][..]),
            (6, &["c", "d-1"], &[]),
            (9, &["e"], &["a", "d-1"]),
            (11, &["f"], &[]),
        ] {
            let staged = staged(enters);
            let change = Change {
                number: SnapshotNumber(number),
                committed_at: moment(i64::try_from(number).expect("small")),
                writer: "writer".to_owned(),
                entering: staged.iter().map(|s| Entering { url: s.part.key.clone(), staged: s }).collect(),
                leaving: leaves.iter().map(|name| (*name).to_owned()).collect(),
                totals: Totals::default(),
                list: list.clone(),
                manifests: all.clone(),
                list_url: format!("list-{number}"),
                manifest_url: &|index| format!("manifest-{number}-{index}"),
            };
            let changed =
                super::change(&table(&columns, metadata.as_deref()), &change).await.expect("changed");
            all.extend(
                changed.manifests.iter().map(|(n, bytes)| (format!("manifest-{number}-{n}"), bytes.clone())),
            );
            last.push((entries(&changed.manifests), changed.carried.clone()));
            (metadata, list) = (Some(changed.metadata), Some(changed.list));
        }
        use ManifestStatus::{Added, Deleted, Existing};
        let file = |name: &str, status, snapshot, sequence| {
            (name.to_owned(), status, Some(snapshot), sequence, sequence)
        };
        assert_eq!(
            last[2].0,
            [
                file("a", Deleted, 9, Some(1)),
                file("b", Existing, 5, Some(1)),
                file("d-1", Deleted, 9, Some(2)),
                file("e", Added, 9, None),
            ]
        );
        assert_eq!(last[2].1, ["manifest-6-0"]);
        // What only says that something left is not carried any further.
        assert_eq!(last[3].1, ["manifest-6-0", "manifest-9-0", "manifest-9-2"]);
        let listed = parse_list(&list.expect("a list")).expect("readable");
        let rewritten =
            listed.entries().iter().find(|one| one.manifest_path == "manifest-9-0").expect("listed");
        assert_eq!(
            (rewritten.sequence_number, rewritten.min_sequence_number, rewritten.added_snapshot_id),
            (3, 1, 9)
        );
        assert_eq!((rewritten.deleted_files_count, rewritten.deleted_rows_count), (Some(1), Some(3)));
    }

    #[test]
    fn every_table_has_an_id_for_every_path() {
        for resource in resources::ALL {
            let columns = table_columns(resource);
            let ids = field_ids(&table(&columns, None)).expect("ids");
            assert_eq!(ids.keys().collect::<Vec<_>>(), ids_of(&columns).keys().collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn two_attempts_agree_to_the_byte() {
        let columns = table_columns(tags());
        let (one, other) =
            (empty_change(&table(&columns, None), 1).await, empty_change(&table(&columns, None), 1).await);
        assert_eq!(one.metadata, other.metadata);
        assert_eq!(one.list, other.list);
    }

    #[tokio::test]
    async fn a_column_that_comes_later_is_optional_and_changes_no_id() {
        let all = table_columns(resources::named("tasks"));
        let mut fewer: Vec<TableColumn> =
            all.iter().filter(|column| column.name != "notes").cloned().collect();
        for column in &mut fewer {
            if let ("custom_fields", ColumnKind::List(element)) = (column.name, &mut column.kind)
                && let ColumnKind::Struct(fields) = &mut **element
            {
                fields.retain(|field| field.name != "text_value");
            }
        }
        let made = empty_change(&table(&fewer, None), 1).await;
        let before = field_ids(&table(&fewer, None)).expect("ids");
        let after = field_ids(&table(&all, Some(&made.metadata))).expect("ids");
        assert!(before.iter().all(|(path, id)| after[path] == *id));
        let last = *before.values().max().expect("some");
        let mut new = [after["notes"], after["custom_fields.element.text_value"]];
        new.sort_unstable();
        assert_eq!(new, [last + 1, last + 2]);

        let evolved =
            parse(&empty_change(&table(&all, Some(&made.metadata)), 2).await.metadata).expect("metadata");
        assert_eq!(evolved.schemas_iter().len(), 2);
        let schema = evolved.current_schema();
        assert!(!schema.field_by_id(after["notes"]).expect("there").required);
        assert!(schema.field_by_id(after["_key"]).expect("there").required);
        // Who still writes the older columns keeps the newer ones, and both read.
        assert_eq!(field_ids(&table(&fewer, Some(&made.metadata))).expect("ids"), before);
    }

    #[tokio::test]
    async fn a_machine_whose_clock_is_behind_the_last_commit_makes_the_next() {
        // A hundred years from now.
        let ahead = 3_000_000_000;
        let columns = table_columns(tags());
        let fewer: Vec<TableColumn> =
            columns.iter().filter(|column| column.name != "notes").cloned().collect();
        let made = empty_change(&table(&fewer, None), ahead).await;
        let same = empty_change(&table(&fewer, Some(&made.metadata)), ahead + 1).await;
        let evolved = empty_change(&table(&columns, Some(&same.metadata)), ahead + 2).await;
        let metadata = parse(&evolved.metadata).expect("metadata");
        assert_eq!((metadata.schemas_iter().len(), metadata.history().len()), (2, 3));
    }

    #[tokio::test]
    async fn a_column_that_changes_its_type_is_refused() {
        let columns = table_columns(tags());
        let made = empty_change(&table(&columns, None), 1).await;
        let mut other = columns.clone();
        other[0].kind = ColumnKind::Integer;
        let error = field_ids(&table(&other, Some(&made.metadata))).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Bug);
        assert!(error.to_string().contains("gid"), "{error}");
    }

    #[tokio::test]
    async fn a_metadata_file_lists_the_last_hundred_snapshots() {
        let columns = table_columns(tags());
        let mut metadata = empty_change(&table(&columns, None), 1).await.metadata;
        for number in 2..=103 {
            metadata = empty_change(&table(&columns, Some(&metadata)), number).await.metadata;
        }
        let read = parse(&metadata).expect("metadata");
        let mut ids: Vec<i64> = read.snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (4..=103).collect::<Vec<_>>());
        assert_eq!(read.history().len(), 100);
        assert_eq!(read.metadata_log().len(), 100);
        assert_eq!(read.last_updated_ms(), moment(103).timestamp_millis());
        assert_eq!(read.properties()["gc.enabled"], "false");
    }
}
