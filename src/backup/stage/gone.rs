//! What is proven gone, and what goes with it.
//!
//! Rule: what is proven gone is only noted, and noted no more once it is read again; the commit decides whether it goes. What
//! goes is taken out of what is still open, or becomes a position delete, and leaves the last that was known of it.
//! A crash leaves nothing: whoever replays the journal comes to the same proofs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::backup::index::{At, Row};
use crate::backup::stage::{Stage, size, too_many_rows};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Record;
use crate::resources::{self, Resource};

/// The proof of what goes with its parent.
const BELOW_GONE: &str = "what it hung below is gone";

/// A record that is proven gone.
#[derive(Clone, Debug)]
pub(in crate::backup) struct Gone {
    /// When the question that proved it was asked, as in [`Stage::began`].
    pub(super) began: u32,
    /// What proves it, in words.
    pub(in crate::backup) proof: &'static str,
}

/// The rows of one part that go, by position.
type Leaving = BTreeMap<u32, (Box<str>, Gone)>;

/// The last that was known of a record that goes.
#[derive(Debug)]
pub(in crate::backup) struct Last {
    pub(in crate::backup) resource: &'static Resource,
    pub(in crate::backup) key: Box<str>,
    pub(in crate::backup) parent: Option<Box<str>>,
    pub(in crate::backup) hash: crate::model::Hash,
    pub(in crate::backup) raw: Box<str>,
    pub(in crate::backup) proof: &'static str,
}

/// A row that this run did not meet.
#[derive(Clone, Debug)]
pub(in crate::backup) struct Missing {
    pub(in crate::backup) key: Box<str>,
    pub(in crate::backup) parent: Option<Box<str>>,
}

impl Stage {
    /// The rows of a table in the index that this run did not meet, and that are not proven gone.
    pub(in crate::backup) fn missing(&self, resource: &Resource) -> Result<Vec<Missing>> {
        let place = resource.place();
        let unseen = |row: &Row| self.began[row.ordinal as usize] == 0;
        let rows = self.index.select(place, unseen)?;
        let rows = rows.into_iter().filter(|(key, _)| !self.gone.contains_key(&(place, key.clone())));
        Ok(rows.map(|(key, row)| Missing { key, parent: row.parent }).collect())
    }

    /// Notes that a record is proven gone, by a question asked at `asked_at`; see [`Self::fetch`].
    pub(in crate::backup) fn gone(
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
    pub(in crate::backup) fn gone_below(&mut self, resource: &Resource, above: &Resource) -> Result<()> {
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
    pub(in crate::backup) fn has(&self, resource: &Resource, key: &str) -> Result<bool> {
        Ok(self.index.get(resource.place(), key)?.is_some() && !self.is_gone(resource, key))
    }

    /// Whether a record is proven gone.
    pub(in crate::backup) fn is_gone(&self, resource: &Resource, key: &str) -> bool {
        self.gone.contains_key(&(resource.place(), key.into()))
    }

    /// What is proven gone of a table.
    pub(in crate::backup) fn gone_of(&self, resource: &Resource) -> impl Iterator<Item = &str> {
        let place = resource.place();
        let from = (place, Box::from(""));
        self.gone.range(from..).take_while(move |((of, _), _)| *of == place).map(|((_, key), _)| &**key)
    }

    /// Leaves what is proven gone as it is, as far as `holds` says so; says what that is.
    pub(in crate::backup) fn hold(
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
    pub(in crate::backup) fn drop_broken_cascades(&mut self) -> Result<()> {
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
    pub(in crate::backup) async fn take_out(&mut self) -> Result<Vec<Last>> {
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
}

impl Last {
    fn of(record: Record, proof: &'static str) -> Self {
        let Record { resource, key, parent, raw, hash, .. } = record;
        Self { resource, key, parent, hash, raw, proof }
    }
}
