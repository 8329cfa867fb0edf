//! Every version of everything, with the time it began: the oracle.
//!
//! Rule: nothing is overwritten. What was true at any moment since the epoch can be asked for ever after.

use std::collections::HashMap;

use crate::time::{EARLIEST, Ms};

/// The versions of one row, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Chain<T> {
    versions: Vec<Version<T>>,
}

#[derive(Clone, Debug)]
struct Version<T> {
    since: Ms,
    live: bool,
    row: T,
}

impl<T> Chain<T> {
    /// A row that begins at `since`.
    pub(crate) fn new(since: Ms, row: T) -> Self {
        Self { versions: vec![Version { since, live: true, row }] }
    }

    fn version(&self, at: Ms) -> Option<&Version<T>> {
        self.versions.iter().rev().find(|version| version.since <= at)
    }

    /// The row as of `at`, if it lived then.
    pub(crate) fn live(&self, at: Ms) -> Option<&T> {
        self.version(at).filter(|version| version.live).map(|version| &version.row)
    }

    /// The row as of `at`, even if it was already gone: others may still name it.
    pub(crate) fn known(&self, at: Ms) -> Option<&T> {
        self.version(at).map(|version| &version.row)
    }

    /// The latest version that `known` of its beginning, if the row lived in it.
    pub(crate) fn latest_where(&self, known: impl Fn(Ms) -> bool) -> Option<&T> {
        let version = self.versions.iter().rev().find(|version| known(version.since))?;
        version.live.then_some(&version.row)
    }

    /// Since when the row has been gone, if it is.
    pub(crate) fn gone_since(&self) -> Option<Ms> {
        self.versions.iter().rev().take_while(|version| !version.live).last().map(|version| version.since)
    }

    /// Begins a new version.
    pub(crate) fn put(&mut self, since: Ms, live: bool, row: T) {
        self.versions.push(Version { since, live, row });
    }
}

/// All rows of one small table, kept whole.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    chains: Vec<Chain<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chains: Vec::new() }
    }
}

impl<T: Clone> Table<T> {
    /// How many there ever were.
    pub(crate) fn len(&self) -> u32 {
        self.chains.len() as u32
    }

    /// Adds a row of the seed's.
    pub(crate) fn seed(&mut self, row: T) -> u32 {
        self.add(EARLIEST, row)
    }

    /// Adds a row that begins at `since`.
    pub(crate) fn add(&mut self, since: Ms, row: T) -> u32 {
        self.chains.push(Chain::new(since, row));
        self.len() - 1
    }

    /// The live row as of `at`.
    pub(crate) fn live(&self, id: u32, at: Ms) -> Option<&T> {
        self.chains.get(id as usize)?.live(at)
    }

    /// The row as of `at`, gone or not.
    pub(crate) fn known(&self, id: u32, at: Ms) -> Option<&T> {
        self.chains.get(id as usize)?.known(at)
    }

    /// The numbers of all that live at `at`.
    pub(crate) fn ids(&self, at: Ms) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).filter(move |id| self.live(*id, at).is_some())
    }

    /// Begins a version that `change` makes of the latest one.
    pub(crate) fn edit(&mut self, id: u32, since: Ms, change: impl FnOnce(&mut T)) {
        if let Some(chain) = self.chains.get_mut(id as usize)
            && let Some(last) = chain.versions.last()
        {
            let (live, mut row) = (last.live, last.row.clone());
            change(&mut row);
            chain.put(since, live, row);
        }
    }

    /// Deletes or brings back.
    pub(crate) fn set_live(&mut self, id: u32, since: Ms, live: bool) {
        if let Some(chain) = self.chains.get_mut(id as usize)
            && let Some(last) = chain.versions.last()
        {
            let row = last.row.clone();
            chain.put(since, live, row);
        }
    }

    /// Changes a row of the seed's while the world is being made.
    pub(crate) fn shape(&mut self, id: u32, change: impl FnOnce(&mut T)) {
        if let Some(version) = self.chains.get_mut(id as usize).and_then(|chain| chain.versions.last_mut()) {
            change(&mut version.row);
        }
    }
}

/// The versions of what an edit touched in a table too large to keep.
pub(crate) type Overlay<T> = HashMap<u32, Chain<T>>;
