//! The events that Asana tells of edits: one log of them all, seen through as many streams as are asked for.
//!
//! Rule: an event is noted where the edit is made, becomes visible a seeded while later, and a stream is nothing but
//! a place in the order of visibility. What is lost is never noted, so no stream can ever tell it.

pub(crate) mod answer;
mod note;
pub(crate) mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use crate::gid::Kind;
use crate::random::mix;
use crate::time::Ms;

pub(crate) use self::note::Silent;

/// Any thing: its kind and number.
pub(crate) type Thing = (Kind, u32);

/// An event's place in every stream: when it became visible, and its number.
pub(crate) type Place = (Ms, u64);

/// What happened to a resource.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// One of its fields changed.
    Changed(&'static str, Change),
    /// It was made, or put into something.
    Added(Option<Thing>),
    /// It was taken out of something.
    Removed(Thing),
    Deleted,
    Undeleted,
}

/// What happened to the field, with the resource it is about where it is about one.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Changed(Option<Thing>),
    Added(Option<Thing>),
    Removed(Option<Thing>),
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) at: Ms,
    /// Nobody for what the system does.
    pub(crate) by: Option<u32>,
    pub(crate) of: Thing,
    pub(crate) act: Act,
}

/// All events there were, but for the lost ones.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: BTreeMap<Place, Note>,
    /// The events of each project and task, with what bubbles up to it.
    of: HashMap<Thing, BTreeSet<Place>>,
    /// How many there were, the lost ones included.
    pub(crate) count: u64,
    /// How long an event takes to become visible, at most.
    delay: Ms,
    /// The share that is lost.
    pub(crate) lose: f64,
}

impl Notes {
    /// An empty log.
    pub(crate) fn new(delay: Duration, lose: Option<f64>) -> Self {
        Self { delay: delay.as_millis() as Ms, lose: lose.unwrap_or_default(), ..Self::default() }
    }

    /// Adds an event, unless it is lost.
    fn add(&mut self, seed: u64, note: Note, scopes: impl IntoIterator<Item = Thing>) {
        self.count += 1;
        let number = self.count;
        if (mix(seed, 0x105e, number) >> 11) as f64 / ((1_u64 << 53) as f64) < self.lose {
            return;
        }
        let least = self.delay / 12;
        let wait = least + (mix(seed, 0xde1a, number) % (self.delay - least + 1) as u64) as Ms;
        let place = (note.at + wait, number);
        self.notes.insert(place, note);
        for scope in scopes {
            self.of.entry(scope).or_default().insert(place);
        }
    }

    /// The places after `from` that are visible at `now` of events younger than number `start`: all, or those of one
    /// project or task.
    pub(crate) fn after(
        &self,
        scope: Option<Thing>,
        from: Place,
        start: u64,
        now: Ms,
    ) -> Box<dyn Iterator<Item = Place> + '_> {
        let range = (Excluded(from), Included((now.max(from.0), u64::MAX)));
        let places: Box<dyn Iterator<Item = &Place>> = match scope {
            None => Box::new(self.notes.range(range).map(|(place, _)| place)),
            Some(scope) => match self.of.get(&scope) {
                Some(places) => Box::new(places.range(range)),
                None => Box::new(std::iter::empty()),
            },
        };
        Box::new(places.copied().filter(move |(_, number)| *number > start))
    }

    /// The event at a place.
    pub(crate) fn note(&self, place: &Place) -> Option<&Note> {
        self.notes.get(place)
    }
}
