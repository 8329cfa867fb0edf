//! Staging: what a run read, compared with what the repository has, and sealed into parts.
//!
//! Rule: an unchanged record is never written again; of several readings of one record the latest stays; a row that
//! is superseded, be it live or sealed by this very run, becomes a position delete of the same commit. Memory is
//! the budget of the open parts, once more for the part being encoded, and 4 bytes a row. A crash leaves parts that
//! no snapshot names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use crate::backup::index::{At, Index, Position, Row, modified};
use crate::crawl::Event;
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Counts, FieldIds, Part, Record, RunId};
use crate::repository::{Repository, StagedPart};
use crate::resources::Resource;

/// What a run has to write, table by table.
#[derive(Debug)]
pub(super) struct Stage {
    repository: Repository,
    run: RunId,
    started_at: DateTime<Utc>,
    index: Index,
    tables: Vec<Staged>,
    /// When the request for each row's last reading began, in milliseconds since the run did, plus one; 0 for what
    /// this run has not read. By ordinal.
    began: Vec<u32>,
    open_bytes: usize,
    budget_bytes: usize,
}

/// One table's share.
#[derive(Debug)]
pub(super) struct Staged {
    resource: &'static Resource,
    ids: Arc<FieldIds>,
    /// The live parts, then those that this run sealed.
    parts: Vec<Part>,
    live: usize,
    added: Vec<StagedPart>,
    deletes: Vec<Position>,
    open: HashMap<Box<str>, Record>,
    open_bytes: usize,
    counts: Counts,
    /// Parents whose listing was read to its end; only where a listing is the whole proof.
    listed: HashSet<Box<str>>,
}

/// What a table needs for its commit.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) added: Vec<StagedPart>,
    pub(super) deletes: Vec<StagedPart>,
    pub(super) counts: Counts,
}

/// A row that this run did not meet.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) key: Box<str>,
    pub(super) parent: Option<Box<str>>,
}

impl Stage {
    /// A stage with nothing in it and nothing to compare with yet.
    pub(super) fn new(
        repository: Repository,
        run: RunId,
        started_at: DateTime<Utc>,
        index: Index,
        budget_bytes: usize,
    ) -> Self {
        Self {
            repository,
            run,
            started_at,
            index,
            tables: Vec::new(),
            began: Vec::new(),
            open_bytes: 0,
            budget_bytes,
        }
    }

    /// Adds the next table of [`ALL`](crate::resources::ALL), with its live parts and the deletes that apply to them.
    pub(super) async fn load(
        &mut self,
        resource: &'static Resource,
        ids: FieldIds,
        parts: Vec<Part>,
        deletes: &[Part],
    ) -> Result<()> {
        let deleted = self.deleted(deletes).await?;
        let place = self.tables.len();
        let mut rows = 0;
        for (number, part) in (0..).zip(&parts) {
            let bytes = self.repository.read_part(part).await?;
            let url = self.repository.url_of(&part.key);
            let gone = deleted.get(&url);
            let mut live = Vec::new();
            for row in encode::keys(bytes)? {
                let row = row?;
                let position = u32::try_from(row.position).map_err(|_| too_many_rows())?;
                if gone.is_some_and(|gone| gone.contains(&position)) {
                    continue;
                }
                let at = At::Live(Position { part: number, row: position });
                let ordinal = self.index.next_ordinal()?;
                let modified = modified(row.modified_at);
                live.push((row.key, Row { ordinal, hash: row.hash, at, modified, parent: row.parent }));
            }
            rows += live.len() as u64;
            self.began.resize(self.began.len() + live.len(), 0);
            self.index.put(place, live.iter().map(|(key, row)| (&**key, row.clone())))?;
        }
        self.tables.push(Staged {
            resource,
            ids: Arc::new(ids),
            live: parts.len(),
            parts,
            added: Vec::new(),
            deletes: Vec::new(),
            open: HashMap::new(),
            open_bytes: 0,
            counts: Counts { rows, ..Counts::default() },
            listed: HashSet::new(),
        });
        Ok(())
    }

    async fn deleted(&self, deletes: &[Part]) -> Result<HashMap<String, HashSet<u32>>> {
        let mut deleted: HashMap<String, HashSet<u32>> = HashMap::new();
        for part in deletes {
            for delete in encode::deletes(self.repository.read_part(part).await?)? {
                let (path, position) = delete?;
                let position = u32::try_from(position).map_err(|_| too_many_rows())?;
                deleted.entry(path).or_default().insert(position);
            }
        }
        Ok(deleted)
    }

    /// Takes what the crawl tells, until it tells nothing more.
    pub(super) async fn take(&mut self, mut told: mpsc::Receiver<Event>) -> Result<()> {
        while let Some(event) = told.recv().await {
            match event {
                Event::Records(records) => {
                    for record in records {
                        self.observe(record)?;
                    }
                    while self.open_bytes > self.budget_bytes {
                        self.seal_largest().await?;
                    }
                }
                Event::Listed { resource, parent } if resource.single.is_none() => {
                    self.tables[resource.place()].listed.insert(parent);
                }
                Event::Listed { .. } => {}
            }
        }
        Ok(())
    }

    /// Compares one reading with what is known of its record.
    fn observe(&mut self, record: Record) -> Result<()> {
        let place = record.resource.place();
        let began = self.milliseconds(record.reading.began_at);
        let table = &mut self.tables[place];
        let known = self.index.get(place, &record.key)?;
        let Some(known) = known else {
            let ordinal = self.index.next_ordinal()?;
            self.began.push(began);
            table.counts.seen += 1;
            table.counts.new += 1;
            table.counts.rows += 1;
            return self.open(record, ordinal);
        };
        let last = std::mem::replace(&mut self.began[known.ordinal as usize], began);
        if last == 0 {
            table.counts.seen += 1;
        }
        let newer = (modified(record.modified_at), began) >= (known.modified, last);
        // What the base snapshot holds was read by an earlier run, so any reading of this run is newer.
        let supersedes = last == 0 || newer;
        if !supersedes {
            self.began[known.ordinal as usize] = last;
        }
        if known.hash == record.hash || !supersedes {
            if last == 0 {
                table.counts.unchanged += 1;
            }
            return Ok(());
        }
        match known.at {
            At::Live(position) => {
                table.counts.changed += 1;
                // It counted as unchanged when this run first met it.
                table.counts.unchanged -= u64::from(last != 0);
                table.deletes.push(position);
            }
            At::Sealed(position) => table.deletes.push(position),
            At::Open => {}
        }
        self.open(record, known.ordinal)
    }

    fn open(&mut self, record: Record, ordinal: u32) -> Result<()> {
        let place = record.resource.place();
        let row = Row {
            ordinal,
            hash: record.hash,
            at: At::Open,
            modified: modified(record.modified_at),
            parent: record.parent.clone(),
        };
        self.index.put(place, std::iter::once((&*record.key, row)))?;
        let table = &mut self.tables[place];
        let bytes = size(&record);
        table.open_bytes += bytes;
        self.open_bytes += bytes;
        if let Some(older) = table.open.insert(record.key.clone(), record) {
            let bytes = size(&older);
            table.open_bytes -= bytes;
            self.open_bytes -= bytes;
        }
        Ok(())
    }

    fn milliseconds(&self, began_at: DateTime<Utc>) -> u32 {
        let since = (began_at - self.started_at).num_milliseconds().saturating_add(1);
        u32::try_from(since.max(1)).unwrap_or(u32::MAX)
    }

    async fn seal_largest(&mut self) -> Result<()> {
        let largest = self.tables.iter().enumerate().max_by_key(|(_, table)| table.open_bytes);
        match largest {
            Some((place, table)) if !table.open.is_empty() => self.seal(place).await,
            _ => Ok(()),
        }
    }

    /// Writes the open records of a table as a part.
    async fn seal(&mut self, place: usize) -> Result<()> {
        let table = &mut self.tables[place];
        self.open_bytes -= std::mem::take(&mut table.open_bytes);
        let mut records: Vec<Record> = std::mem::take(&mut table.open).into_values().collect();
        records.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let part = u32::try_from(table.parts.len()).map_err(|_| too_many_rows())?;
        self.index.sealed(place, part, records.iter().map(|record| &*record.key))?;
        let (resource, ids, run) = (table.resource, Arc::clone(&table.ids), self.run);
        let encoded = blocking(move || encode::encode_part(resource, &ids, &run, records)).await?;
        let stored = self.repository.put_part(resource.table, &self.run, &encoded).await?;
        tracing::debug!(table = resource.table, rows = stored.rows, bytes = stored.bytes, "part sealed");
        table.counts.misfits += encoded.misfits.values().sum::<u64>();
        if !encoded.misfits.is_empty() {
            tracing::warn!(table = resource.table, misfits = ?encoded.misfits, "values that fit no column are kept in _raw");
        }
        table.parts.push(stored.clone());
        table.added.push(StagedPart {
            part: stored,
            statistics: encoded.statistics,
            split_offsets: encoded.split_offsets,
        });
        Ok(())
    }

    /// The rows of a table that this run did not meet.
    pub(super) fn missing(&self, resource: &Resource) -> Result<Vec<Missing>> {
        let unseen = |row: &Row| self.began[row.ordinal as usize] == 0;
        let rows = self.index.select(resource.place(), unseen)?;
        Ok(rows.into_iter().map(|(key, row)| Missing { key, parent: row.parent }).collect())
    }

    /// Whether the listing of what hangs below `parent` was read to its end.
    pub(super) fn listed(&self, resource: &Resource, parent: &str) -> bool {
        self.tables[resource.place()].listed.contains(parent)
    }

    /// Takes out a row that is proven gone.
    pub(super) fn gone(&mut self, resource: &Resource, key: &str) -> Result<()> {
        let place = resource.place();
        let Some(row) = self.index.get(place, key)? else { return Ok(()) };
        let table = &mut self.tables[place];
        let At::Live(position) = row.at else { return Ok(()) };
        if self.began[row.ordinal as usize] != 0 {
            return Ok(());
        }
        table.deletes.push(position);
        table.counts.gone += 1;
        table.counts.rows -= 1;
        self.index.remove(place, key)
    }

    /// Seals what is still open and writes the position deletes: all that the commit of a table needs.
    pub(super) async fn finish(&mut self, resource: &'static Resource) -> Result<Ready> {
        let place = resource.place();
        if !self.tables[place].open.is_empty() {
            self.seal(place).await?;
        }
        let table = &mut self.tables[place];
        let mut deletes = Vec::new();
        if !table.deletes.is_empty() {
            let mut gone: Vec<(String, i64)> = table
                .deletes
                .iter()
                .map(|at| (self.repository.url_of(&table.parts[at.part as usize].key), i64::from(at.row)))
                .collect();
            gone.sort_unstable();
            let encoded = blocking(move || encode::encode_deletes(gone)).await?;
            let part = self.repository.put_part(resource.table, &self.run, &encoded).await?;
            deletes.push(StagedPart {
                part,
                statistics: encoded.statistics,
                split_offsets: encoded.split_offsets,
            });
        }
        let added = std::mem::take(&mut table.added);
        debug_assert_eq!(table.parts.len(), table.live + added.len(), "every part is live or added");
        Ok(Ready { added, deletes, counts: table.counts })
    }
}

/// What a record weighs in the budget.
fn size(record: &Record) -> usize {
    record.raw.len() + record.key.len() + size_of::<Record>()
}

/// CPU work in short pieces of its own; inline where the runtime has one thread, so that a paused clock stays true.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    use tokio::runtime::{Handle, RuntimeFlavor};
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    let ended = |cause| Error::new(ErrorKind::Bug, format!("an encoder ended: {cause}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

fn too_many_rows() -> Error {
    Error::new(ErrorKind::Corrupt, "a part has more rows than this program ever writes")
}
