//! What the crawl knows by now: which records it has read, and which others they refer to.
//!
//! Bounded by 8 bytes for each record that may be referred to or has something below it (tasks, projects, people),
//! and a gid for each reference that is not resolved yet.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::resources::{self, Resource};

/// A gid as a number: Asana's are; anything else is hashed.
pub fn number(gid: &str) -> u64 {
    gid.parse().unwrap_or_else(|_| BuildHasherDefault::<DefaultHasher>::default().hash_one(gid))
}

/// The records read so far, and the references that wait.
#[derive(Debug)]
pub(super) struct Known {
    /// By the place of the resource in [`resources::ALL`].
    read: Vec<HashSet<u64>>,
    /// Ordered, since its order reaches requests.
    waiting: BTreeSet<(usize, Box<str>)>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { read: resources::ALL.iter().map(|_| HashSet::new()).collect(), waiting: BTreeSet::new() }
    }

    /// Whether this is the first reading of the record; always so where nothing depends on it.
    pub(super) fn first(&mut self, resource: &Resource, gid: &str) -> bool {
        !(resource.followed || resource.leads()) || self.read[resource.place()].insert(number(gid))
    }

    /// Whether the record was read.
    pub(super) fn has(&self, resource: &Resource, gid: &str) -> bool {
        self.read[resource.place()].contains(&number(gid))
    }

    /// Whether a reference to the record may have to be followed.
    pub(super) fn lacks(&self, resource: &Resource, gid: &str) -> bool {
        resource.followed && !self.has(resource, gid)
    }

    /// Notes a reference; says whether it is news.
    pub(super) fn refer(&mut self, resource: &Resource, gid: &str) -> bool {
        self.lacks(resource, gid) && self.waiting.insert((resource.place(), gid.into()))
    }

    /// Takes the references to what is still not read. Each is handed out once in a run.
    pub(super) fn take_waiting(&mut self) -> Vec<(&'static Resource, Box<str>)> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .filter_map(|(place, gid)| {
                let resource = resources::ALL[place];
                // From here on it counts as read: what is gone must not be asked for again.
                self.read[place].insert(number(&gid)).then_some((resource, gid))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_to_what_was_read_meanwhile_is_not_followed() {
        let users = resources::named("users");
        let mut known = Known::new();
        known.refer(users, "1");
        known.refer(users, "2");
        assert!(known.first(users, "1"));
        assert!(!known.first(users, "1"));
        assert_eq!(known.take_waiting(), [(users, Box::from("2"))]);
    }
}
