//! Staging: what a run read, compared with what the repository has, and sealed into parts.
//!
//! Rule: an unchanged record is never written again; of several readings of one record the latest stays; a row that
//! is superseded, be it live or sealed by this very run, becomes a position delete of the same commit. What is proven
//! gone is only noted: the commit decides whether it goes. Memory is the budget of the open parts, once more for the
//! part being encoded, and 4 bytes a row. A crash leaves parts that no snapshot names.

mod compact;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::backup::index::{At, Index, Position, Row, modified};
use crate::backup::lookup::Lookup;
use crate::encode::{self, KeyRow};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Counts, FieldIds, Part, Record, RunId, TableState};
use crate::repository::{Repository, StagedPart};
use crate::resources::{self, Resource};

pub(super) use compact::full_tiers;

/// The proof of what goes with its parent.
const BELOW_GONE: &str = "what it hung below is gone";

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

/// A record that is proven gone.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    /// When the question that proved it was asked, as in [`Stage::began`].
    began: u32,
    /// What proves it, in words.
    pub(super) proof: &'static str,
}

/// The rows of one part that go, by position.
type Leaving = BTreeMap<u32, (Box<str>, Gone)>;

/// The last that was known of a record that goes.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) resource: &'static Resource,
    pub(super) key: Box<str>,
    pub(super) parent: Option<Box<str>>,
    pub(super) hash: crate::model::Hash,
    pub(super) raw: Box<str>,
    pub(super) proof: &'static str,
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

/// A row that this run did not meet.
#[derive(Clone, Debug)]
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

    /// Reads all live rows of a table into the index: for runs that meet most of them.
    pub(super) async fn load(&mut self, resource: &Resource) -> Result<()> {
        let place = resource.place();
        if self.tables[place].is_loaded {
            return Ok(());
        }
        self.read_deletes(place).await?;
        let mut rows = 0;
        for number in 0..self.tables[place].live {
            let bytes = self.repository.read_part(&self.tables[place].parts[number]).await?;
            let number = u32::try_from(number).map_err(|_| too_many_rows())?;
            let found = encode::keys(bytes)?.map(|row| Ok((number, row?))).collect::<Result<Vec<_>>>()?;
            rows += self.enter(place, found)?;
        }
        let table = &mut self.tables[place];
        if rows != table.live_rows {
            let message =
                format!("{} has {rows} rows, and the snapshot says {}", resource.table, table.live_rows);
            return Err(Error::new(ErrorKind::Corrupt, message).remedy("run `verify`"));
        }
        table.is_loaded = true;
        Ok(())
    }

    /// Puts live rows into the index, unless they are there; says how many live ones there were.
    fn enter(&mut self, place: usize, found: Vec<(u32, KeyRow)>) -> Result<u64> {
        let mut rows = Vec::new();
        let mut live = 0;
        for (part, row) in found {
            let position = u32::try_from(row.position).map_err(|_| too_many_rows())?;
            let deleted = self.tables[place].deleted.as_ref().and_then(|deleted| deleted.get(&part));
            if deleted.is_some_and(|positions| positions.contains(&position)) {
                continue;
            }
            live += 1;
            if self.tables[place].is_looked_up && self.index.get(place, &row.key)?.is_some() {
                continue;
            }
            let at = At::Part(Position { part, row: position });
            let ordinal = self.index.next_ordinal()?;
            self.began.push(0);
            let modified = modified(row.modified_at);
            let (hash, parent) = (row.hash, row.parent);
            rows.push((row.key, Row { ordinal, hash, at, supersedes: false, modified, parent }));
        }
        self.index.put(place, rows.iter().map(|(key, row)| (&**key, row.clone())))?;
        Ok(live)
    }

    async fn read_deletes(&mut self, place: usize) -> Result<()> {
        let table = &self.tables[place];
        if table.deleted.is_some() {
            return Ok(());
        }
        let numbers: HashMap<String, u32> = (0..)
            .zip(&table.parts)
            .map(|(number, part)| (self.repository.url_of(&part.key), number))
            .collect();
        let mut deleted: HashMap<u32, HashSet<u32>> = HashMap::new();
        for part in &table.delete_parts {
            for delete in encode::deletes(self.repository.read_part(part).await?)? {
                let (path, position) = delete?;
                let position = u32::try_from(position).map_err(|_| too_many_rows())?;
                if let Some(number) = numbers.get(&path) {
                    deleted.entry(*number).or_default().insert(position);
                }
            }
        }
        self.tables[place].deleted = Some(deleted);
        Ok(())
    }

    /// Sees to it that what the repository has of these records is in the index.
    pub(super) async fn fetch<'a>(
        &mut self,
        resource: &Resource,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let place = resource.place();
        if self.tables[place].is_loaded {
            return Ok(());
        }
        let mut unknown = BTreeSet::new();
        for key in keys {
            if self.index.get(place, key)?.is_none() {
                unknown.insert(Box::from(key));
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        self.read_deletes(place).await?;
        let parts = &self.tables[place].parts[..self.tables[place].live];
        let found = self.lookup.find(parts, &unknown).await?;
        self.tables[place].is_looked_up = true;
        self.enter(place, found).map(|_| ())
    }

    /// Sees to it that what the repository has below these parents is in the index.
    pub(super) async fn fetch_below(
        &mut self,
        resource: &Resource,
        parents: &HashSet<Box<str>>,
    ) -> Result<()> {
        let place = resource.place();
        if self.tables[place].is_loaded || parents.is_empty() {
            return Ok(());
        }
        self.read_deletes(place).await?;
        let parts = &self.tables[place].parts[..self.tables[place].live];
        let found = self.lookup.below(parts, parents).await?;
        self.tables[place].is_looked_up = true;
        self.enter(place, found).map(|_| ())
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

    /// The rows of a table in the index that this run did not meet, and that are not proven gone.
    pub(super) fn missing(&self, resource: &Resource) -> Result<Vec<Missing>> {
        let place = resource.place();
        let unseen = |row: &Row| self.began[row.ordinal as usize] == 0;
        let rows = self.index.select(place, unseen)?;
        let rows = rows.into_iter().filter(|(key, _)| !self.gone.contains_key(&(place, key.clone())));
        Ok(rows.map(|(key, row)| Missing { key, parent: row.parent }).collect())
    }

    /// Whether this run has read a record, and not that it is gone since.
    pub(super) fn is_met(&self, resource: &Resource, key: &str) -> Result<bool> {
        let row = self.index.get(resource.place(), key)?;
        let is_read = row.is_some_and(|row| self.began[row.ordinal as usize] > 0);
        Ok(is_read && !self.is_gone(resource, key))
    }

    /// What the index knows of a record: when it was modified, in microseconds, as far as it is there at all.
    pub(super) fn modified(&self, resource: &Resource, key: &str) -> Result<Option<i64>> {
        Ok(self.index.get(resource.place(), key)?.map(|row| row.modified))
    }

    /// What a record hangs below, as far as the index knows; see [`Self::fetch`].
    pub(super) fn parent(&self, resource: &Resource, key: &str) -> Result<Option<Box<str>>> {
        Ok(self.index.get(resource.place(), key)?.and_then(|row| row.parent))
    }

    /// The keys of a table that is loaded, with their parents.
    pub(super) fn rows(&self, resource: &Resource) -> Result<Vec<Missing>> {
        let rows = self.index.select(resource.place(), |_| true)?;
        Ok(rows.into_iter().map(|(key, row)| Missing { key, parent: row.parent }).collect())
    }

    /// Notes that a record is proven gone, by a question asked at `asked_at`; see [`Self::fetch`].
    pub(super) fn gone(
        &mut self,
        resource: &Resource,
        key: &str,
        asked_at: DateTime<Utc>,
        proof: &'static str,
    ) -> Result<()> {
        let place = resource.place();
        let Some(row) = self.index.get(place, key)? else { return Ok(()) };
        let began = self.milliseconds(asked_at);
        if self.began[row.ordinal as usize] <= began {
            self.gone.insert((place, key.into()), Gone { began, proof });
        }
        Ok(())
    }

    /// Notes that whatever hangs below `parents`, which are proven gone, went with them, and was not read since.
    pub(super) fn gone_below(&mut self, resource: &Resource, above: &Resource) -> Result<()> {
        let place = resource.place();
        let parents: HashMap<Box<str>, u32> = self
            .gone
            .iter()
            .filter(|((of, _), _)| *of == above.place())
            .map(|((_, key), gone)| (key.clone(), gone.began))
            .collect();
        if parents.is_empty() {
            return Ok(());
        }
        let at = |row: &Row| row.parent.as_ref().and_then(|parent| parents.get(parent)).copied();
        for (key, row) in self.index.select(place, |row| at(row).is_some())? {
            let began = at(&row).unwrap_or_default();
            if self.began[row.ordinal as usize] <= began {
                self.gone.entry((place, key)).or_insert(Gone { began, proof: BELOW_GONE });
            }
        }
        Ok(())
    }

    /// Whether the repository has a record, and it is not proven gone; see [`Self::fetch`].
    pub(super) fn has(&self, resource: &Resource, key: &str) -> Result<bool> {
        Ok(self.index.get(resource.place(), key)?.is_some() && !self.is_gone(resource, key))
    }

    /// Whether a record is proven gone.
    pub(super) fn is_gone(&self, resource: &Resource, key: &str) -> bool {
        self.gone.contains_key(&(resource.place(), key.into()))
    }

    /// What is proven gone of a table.
    pub(super) fn gone_of(&self, resource: &Resource) -> impl Iterator<Item = &str> {
        let place = resource.place();
        let from = (place, Box::from(""));
        self.gone.range(from..).take_while(move |((of, _), _)| *of == place).map(|((_, key), _)| &**key)
    }

    /// Whether all live rows of a table are in the index.
    pub(super) fn is_loaded(&self, resource: &Resource) -> bool {
        self.tables[resource.place()].is_loaded
    }

    /// What this run did to a table so far.
    pub(super) fn counts(&self, resource: &Resource) -> Counts {
        self.tables[resource.place()].counts
    }

    /// Leaves what is proven gone as it is, as far as `holds` says so; says what that is.
    pub(super) fn hold(
        &mut self,
        holds: impl Fn(&'static Resource, &str) -> bool,
    ) -> Vec<(&'static Resource, Box<str>)> {
        let (held, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.gone)
            .into_iter()
            .partition(|((place, key), _)| holds(resources::ALL[*place], key));
        self.gone = gone;
        held.into_keys().map(|(place, key)| (resources::ALL[place], key)).collect()
    }

    /// Forgets that things are gone because of what they hung below, where that is back.
    pub(super) fn drop_broken_cascades(&mut self) -> Result<()> {
        for place in 0..self.tables.len() {
            let resource = resources::ALL[place];
            let mut back = Vec::new();
            for key in
                self.gone_of(resource).filter(|key| self.gone[&(place, Box::from(*key))].proof == BELOW_GONE)
            {
                let parent = self.index.get(place, key)?.and_then(|row| row.parent);
                let is_gone =
                    |parent: &str| resources::tables_above(resource).any(|above| self.is_gone(above, parent));
                if !parent.is_some_and(|parent| is_gone(&parent)) {
                    back.push((place, Box::from(key)));
                }
            }
            for name in back {
                self.gone.remove(&name);
            }
        }
        Ok(())
    }

    /// Takes out what is proven gone; says what was last known of it.
    pub(super) async fn take_out(&mut self) -> Result<Vec<Last>> {
        let gone = std::mem::take(&mut self.gone);
        let mut last = Vec::new();
        let mut sealed: BTreeMap<(usize, u32), Leaving> = BTreeMap::new();
        for ((place, key), gone) in gone {
            let Some(row) = self.index.get(place, &key)? else { continue };
            let table = &mut self.tables[place];
            table.counts.rows -= 1;
            let is_known = match row.at {
                At::Part(position) => {
                    table.deletes.push(position);
                    let is_known = row.supersedes || (position.part as usize) < table.live;
                    if is_known {
                        sealed
                            .entry((place, position.part))
                            .or_default()
                            .insert(position.row, (key.clone(), gone.clone()));
                    }
                    is_known
                }
                At::Open => match table.open.remove(&key) {
                    Some(record) => {
                        let bytes = size(&record);
                        table.open_bytes -= bytes;
                        self.open_bytes -= bytes;
                        if row.supersedes {
                            last.push(Last::of(record, gone.proof));
                        }
                        row.supersedes
                    }
                    None => false,
                },
            };
            if is_known {
                table.counts.gone += 1;
            } else {
                table.counts.new = table.counts.new.saturating_sub(1);
            }
            self.index.remove(place, &key)?;
        }
        for ((place, part), mut rows) in sealed {
            let positions: BTreeSet<u32> = rows.keys().copied().collect();
            let table = &self.tables[place];
            for row in self.lookup.rows(&table.parts[part as usize], &positions).await? {
                let position = u32::try_from(row.head.position).map_err(|_| too_many_rows())?;
                let Some((key, gone)) = rows.remove(&position).filter(|(key, _)| **key == *row.head.key)
                else {
                    let message = format!(
                        "row {position} of {} is not what the index says",
                        table.parts[part as usize].key
                    );
                    return Err(Error::new(ErrorKind::Corrupt, message).remedy("run `verify --deep`"));
                };
                let (parent, hash) = (row.head.parent, row.head.hash);
                let resource = table.resource;
                last.push(Last { resource, key, parent, hash, raw: row.raw, proof: gone.proof });
            }
        }
        Ok(last)
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

impl Last {
    fn of(record: Record, proof: &'static str) -> Self {
        let Record { resource, key, parent, raw, hash, .. } = record;
        Self { resource, key, parent, hash, raw, proof }
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
