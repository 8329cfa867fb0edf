//! What the repository has, as far as a run needs to know it.
//!
//! Rule: a run that meets most rows of a table reads them all into the index; else they are looked up, key by key or below
//! their parents. What a live file of deletes names is no row. Reads only, so that a crash leaves nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::backup::index::{At, Position, Row, modified};
use crate::backup::stage::{Missing, Stage, too_many_rows};
use crate::encode::{self, KeyRow};
use crate::error::{Error, ErrorKind, Result};
use crate::resources::Resource;

impl Stage {
    /// Reads all live rows of a table into the index: for runs that meet most of them.
    pub(in crate::backup) async fn load(&mut self, resource: &Resource) -> Result<()> {
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

    pub(super) async fn read_deletes(&mut self, place: usize) -> Result<()> {
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
    pub(in crate::backup) async fn fetch<'a>(
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
    pub(in crate::backup) async fn fetch_below(
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

    /// What the index knows of a record: when it was modified, in microseconds, as far as it is there at all.
    pub(in crate::backup) fn modified(&self, resource: &Resource, key: &str) -> Result<Option<i64>> {
        Ok(self.index.get(resource.place(), key)?.map(|row| row.modified))
    }

    /// What a record hangs below, as far as the index knows; see [`Self::fetch`].
    pub(in crate::backup) fn parent(&self, resource: &Resource, key: &str) -> Result<Option<Box<str>>> {
        Ok(self.index.get(resource.place(), key)?.and_then(|row| row.parent))
    }

    /// The keys of a table that is loaded, with their parents.
    pub(in crate::backup) fn rows(&self, resource: &Resource) -> Result<Vec<Missing>> {
        let rows = self.index.select(resource.place(), |_| true)?;
        Ok(rows.into_iter().map(|(key, row)| Missing { key, parent: row.parent }).collect())
    }

    /// Whether all live rows of a table are in the index.
    pub(in crate::backup) fn is_loaded(&self, resource: &Resource) -> bool {
        self.tables[resource.place()].is_loaded
    }
}
