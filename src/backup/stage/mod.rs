//! Staging: what a run read, compared with what the repository has, and sealed into parts.
//!
//! Rule: an unchanged record is never written again; of several readings of one record the latest stays; a row that
//! is superseded, be it live or sealed by this very run, becomes a position delete of the same commit. What is proven
//! gone is only noted: the commit decides whether it goes. Memory is the budget of the open parts, once more for the
//! part being encoded, and 4 bytes a row. A crash leaves parts that no snapshot names.

mod compact;
mod gone;
mod known;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::backup::index::{At, Index, Position, Row, modified};
use crate::backup::lookup::Lookup;
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Counts, FieldIds, Part, Record, RunId, TableState};
use crate::repository::{Repository, StagedPart};
use crate::resources::Resource;

pub(super) use compact::full_tiers;
use gone::Gone;
pub(super) use gone::{Last, Missing};

/// What a run has to write, table by table.
#[derive(Debug)]
pub(super) struct Stage {
    repository: Repository,
    /// The run that parts are named by.
    run: RunId,
    started_at: DateTime<Utc>,
    index: Index,
    lookup: Lookup,
    tables: Vec<Staged>,
    /// When the request for each row's last reading began, in milliseconds since the run did, plus one; 0 for what
    /// this run has not read. By ordinal.
    began: Vec<u32>,
    /// What is proven gone, by table and key, and not read again since.
    gone: BTreeMap<(usize, Box<str>), Gone>,
    open_bytes: usize,
    budget_bytes: usize,
}

/// One table's share.
#[derive(Debug)]
struct Staged {
    resource: &'static Resource,
    ids: Arc<FieldIds>,
    /// The live parts, then those that this run sealed.
    parts: Vec<Part>,
    live: usize,
    /// The live files of position deletes.
    delete_parts: Vec<Part>,
    /// The positions they name, by part; read when needed.
    deleted: Option<HashMap<u32, HashSet<u32>>>,
    /// Whether all live rows are in the index; else they are looked up.
    is_loaded: bool,
    /// Whether some are.
    is_looked_up: bool,
    added: Vec<StagedPart>,
    deletes: Vec<Position>,
    open: HashMap<Box<str>, Record>,
    open_bytes: usize,
    counts: Counts,
    /// Rows in the live parts.
    live_rows: u64,
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// The repository has no such record, or had proof that it is gone: what hung below it went too, or may have.
    New,
    /// It has another version.
    Changed,
    /// It has the same.
    Unchanged,
    /// A later reading was there already.
    Stale,
}

/// What a table needs for its commit.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) added: Vec<StagedPart>,
    pub(super) deletes: Vec<StagedPart>,
    /// Keys of live parts and files of deletes that leave.
    pub(super) removed: Vec<String>,
    pub(super) counts: Counts,
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
            lookup: Lookup::new(repository.clone()),
            repository,
            run,
            started_at,
            index,
            tables: Vec::new(),
            began: Vec::new(),
            gone: BTreeMap::new(),
            open_bytes: 0,
            budget_bytes,
        }
    }

    /// Adds the next table of [`ALL`](crate::resources::ALL), with its live parts and the deletes that apply to them.
    /// Nothing of them is read yet.
    pub(super) async fn add(
        &mut self,
        resource: &'static Resource,
        state: Option<&TableState>,
        ids: FieldIds,
    ) -> Result<()> {
        let (parts, delete_parts) = match state {
            Some(state) => {
                let objects = self.repository.objects(state).await?;
                (objects.parts, objects.deletes)
            }
            None => (Vec::new(), Vec::new()),
        };
        let rows = state.map_or(0, |state| state.counts.rows);
        self.tables.push(Staged {
            resource,
            ids: Arc::new(ids),
            live: parts.len(),
            is_loaded: parts.is_empty(),
            is_looked_up: false,
            parts,
            delete_parts,
            deleted: None,
            added: Vec::new(),
            deletes: Vec::new(),
            open: HashMap::new(),
            open_bytes: 0,
            counts: Counts { rows, ..Counts::default() },
            live_rows: rows,
        });
        Ok(())
    }

    /// Compares one reading with what is known of its record; see [`Self::fetch`].
    pub(super) fn observe(&mut self, record: Record) -> Result<Observed> {
        let place = record.resource.place();
        let began = self.milliseconds(record.reading.began_at);
        let name = (place, record.key.clone());
        if self.gone.get(&name).is_some_and(|gone| gone.began > began) {
            return Ok(Observed::Stale);
        }
        let is_back = self.gone.remove(&name).is_some();
        let table = &mut self.tables[place];
        let Some(known) = self.index.get(place, &record.key)? else {
            let ordinal = self.index.next_ordinal()?;
            self.began.push(began);
            table.counts.seen += 1;
            table.counts.new += 1;
            table.counts.rows += 1;
            self.open(record, ordinal, false)?;
            return Ok(Observed::New);
        };
        let last = self.began[known.ordinal as usize];
        // What the base snapshot holds was read by an earlier run, so any reading of this run is newer.
        let supersedes = last == 0 || (modified(record.modified_at), began) >= (known.modified, last);
        table.counts.seen += u64::from(last == 0);
        table.counts.unchanged += u64::from(last == 0);
        if !supersedes {
            return Ok(Observed::Stale);
        }
        self.began[known.ordinal as usize] = began;
        if known.hash == record.hash {
            return Ok(if is_back { Observed::New } else { Observed::Unchanged });
        }
        let mut supersedes = known.supersedes;
        match known.at {
            At::Part(position) => {
                if (position.part as usize) < table.live {
                    supersedes = true;
                    table.counts.changed += 1;
                    // It counted as unchanged when this run first met it.
                    table.counts.unchanged = table.counts.unchanged.saturating_sub(1);
                }
                table.deletes.push(position);
            }
            At::Open => {}
        }
        self.open(record, known.ordinal, supersedes)?;
        Ok(if is_back { Observed::New } else { Observed::Changed })
    }

    /// Notes that a record was read and brought nothing that the repository has not.
    pub(super) fn met(&mut self, resource: &Resource, key: &str, began_at: DateTime<Utc>) -> Result<()> {
        let place = resource.place();
        let Some(known) = self.index.get(place, key)? else { return Ok(()) };
        let (began, name) = (self.milliseconds(began_at), (place, key.into()));
        if self.gone.get(&name).is_some_and(|gone| gone.began > began) {
            return Ok(());
        }
        self.gone.remove(&name);
        let last = self.began[known.ordinal as usize];
        self.began[known.ordinal as usize] = last.max(began);
        if last == 0 {
            let counts = &mut self.tables[place].counts;
            counts.seen += 1;
            counts.unchanged += 1;
        }
        Ok(())
    }

    fn open(&mut self, record: Record, ordinal: u32, supersedes: bool) -> Result<()> {
        let place = record.resource.place();
        let row = Row {
            ordinal,
            hash: record.hash,
            at: At::Open,
            supersedes,
            modified: modified(record.modified_at),
            parent: record.parent.clone(),
        };
        self.index.put(place, std::iter::once((&*record.key, row)))?;
        let table = &mut self.tables[place];
        let bytes = size(&record);
        table.open_bytes += bytes;
        self.open_bytes += bytes;
        let key = record.key.clone();
        if let Some(older) = table.open.insert(key, record) {
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

    /// Seals the largest parts until the open ones are within the budget.
    pub(super) async fn keep_within_budget(&mut self) -> Result<()> {
        while self.open_bytes > self.budget_bytes {
            let largest = self.tables.iter().enumerate().max_by_key(|(_, table)| table.open_bytes);
            match largest {
                Some((place, table)) if !table.open.is_empty() => self.seal(place).await?,
                _ => break,
            }
        }
        Ok(())
    }

    /// Writes the open records of a table as a part.
    async fn seal(&mut self, place: usize) -> Result<()> {
        let table = &mut self.tables[place];
        self.open_bytes -= std::mem::take(&mut table.open_bytes);
        let open = std::mem::take(&mut table.open);
        let mut records: Vec<Record> = open.into_values().collect();
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

    /// Whether this run has read a record, and not that it is gone since.
    pub(super) fn is_met(&self, resource: &Resource, key: &str) -> Result<bool> {
        let row = self.index.get(resource.place(), key)?;
        let is_read = row.is_some_and(|row| self.began[row.ordinal as usize] > 0);
        Ok(is_read && !self.is_gone(resource, key))
    }

    /// What this run did to a table so far.
    pub(super) fn counts(&self, resource: &Resource) -> Counts {
        self.tables[resource.place()].counts
    }

    /// Seals what is still open and writes the position deletes: all that the commit of a table needs. The last commit
    /// of a run merges small parts too.
    pub(super) async fn finish(&mut self, resource: &'static Resource, is_last: bool) -> Result<Ready> {
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
            deletes.push(StagedPart::new(part, &encoded));
        }
        debug_assert_eq!(table.parts.len(), table.live + table.added.len(), "every part is live or added");
        let is_touched = !table.added.is_empty() || !deletes.is_empty();
        let ready = Ready { added: table.added.clone(), deletes, removed: Vec::new(), counts: table.counts };
        // A table that nothing enters stays as it is: it was compact enough when something did.
        if is_last && is_touched { self.compacted(resource, ready).await } else { Ok(ready) }
    }

    /// What was ready is committed: from here on it is what readings are compared with. With the files of deletes that
    /// the commit brought, table by table; none, where the tables were opened with them.
    pub(super) fn committed(&mut self, deletes: Vec<Vec<Part>>) {
        let deletes = deletes.into_iter().chain(std::iter::repeat_with(Vec::new));
        for (table, deletes) in self.tables.iter_mut().zip(deletes) {
            table.live = table.parts.len();
            table.added.clear();
            if let Some(deleted) = &mut table.deleted {
                for at in &table.deletes {
                    deleted.entry(at.part).or_default().insert(at.row);
                }
            }
            table.deletes.clear();
            table.delete_parts.extend(deletes);
            table.live_rows = table.counts.rows;
            table.counts = Counts { rows: table.counts.rows, ..Counts::default() };
        }
    }
}

/// What a record weighs in the budget.
fn size(record: &Record) -> usize {
    record.raw.len() + record.key.len() + size_of::<Record>()
}

/// CPU work in short pieces of its own; inline where the runtime has one thread, so that a paused clock stays true.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
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

#[cfg(test)]
mod tests;
