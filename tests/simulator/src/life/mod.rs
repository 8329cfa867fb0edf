//! The life of the organization: a seeded stream of edits.
//!
//! Rule: the edits depend on the seed and on their number alone; when they happen is up to the clock. So two runs
//! that ask for the same number of edits see the same organization.

pub(crate) mod edits;
mod people;
mod projects;
mod tasks;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub(crate) use self::people::rename_to as rename_user;
pub(crate) use self::projects::rename_tag_to as rename_tag;
pub(crate) use self::projects::rename_to as rename_project;
pub(crate) use self::projects::{archive_one as archive_project, delete_one as delete_project};
pub(crate) use self::tasks::rename_to as rename_task;
pub(crate) use self::tasks::undelete_one as undelete_task;

use self::edits::Hand;
use crate::gid::Kind;
use crate::random::Rng;
use crate::time::{self, LATEST, Ms};
use crate::world::World;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edit {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What was done: `rename_user`, `delete_task`, ...
    pub kind: &'static str,
    /// The table of the record it was done to.
    pub table: &'static str,
    /// The gid of that record.
    pub gid: String,
    /// The rest, for people.
    pub note: String,
}

/// What an edit did, before it has a number.
pub(crate) struct Done {
    pub(crate) what: (Kind, u32),
    pub(crate) note: String,
}

/// An edit that happened, if the one drawn was possible.
pub(crate) type Outcome = Option<Done>;

/// A kind of edit.
pub(crate) type Act = fn(&mut World, &mut Rng, Hand) -> Outcome;

/// Says what was done to what.
pub(crate) fn done(kind: Kind, id: u32, note: impl Into<String>) -> Outcome {
    Some(Done { what: (kind, id), note: note.into() })
}

/// Edits by name, with how often each is drawn.
const ACTS: &[&[(u32, &str, Act)]] = &[tasks::ACTS, projects::ACTS, people::ACTS];

/// The stream of edits.
#[derive(Debug)]
pub(crate) struct Life {
    rng: Rng,
    count: u64,
    /// Edits a second, since when, and how many of those were made.
    rate: Option<(f64, Ms, u64)>,
    /// The moments at which anything was edited, each once.
    moments: Vec<Ms>,
}

impl Life {
    /// The life of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 0x11fe, 0), count: 0, rate: None, moments: Vec::new() }
    }

    /// Lets it run by itself from `now` on, or stops it.
    pub(crate) fn pace(&mut self, rate: Option<f64>, now: Ms) {
        self.rate = rate.filter(|rate| *rate > 0.0).map(|rate| (rate, now, 0));
    }

    /// Whether edits are due.
    pub(crate) fn is_due(&self, now: Ms) -> bool {
        self.rate.is_some_and(|(rate, since, made)| due(rate, since, now) > made)
    }

    /// Makes the edits that are due, each at its own moment.
    pub(crate) fn catch_up(&mut self, world: &mut World, now: Ms) {
        while let Some((rate, since, made)) =
            self.rate.filter(|(rate, since, made)| due(*rate, *since, now) > *made)
        {
            self.rate = Some((rate, since, made + 1));
            // Rounded up, so that no edit ever dates from a moment somebody has already read at.
            let at = since + (1_000.0 * (made + 1) as f64 / rate).ceil() as Ms;
            self.one(world, at.min(now));
        }
    }

    /// The moments from the one to the other at which anything was edited.
    pub(crate) fn moments(&self, from: Ms, to: Ms) -> Vec<Ms> {
        self.moments.iter().copied().filter(|at| (from..=to).contains(at)).collect()
    }

    /// Makes one edit.
    pub(crate) fn one(&mut self, world: &mut World, at: Ms) -> Edit {
        let total: u32 = ACTS.iter().copied().flatten().map(|(weight, ..)| *weight).sum();
        loop {
            let mut drawn = self.rng.id(total);
            let act = ACTS.iter().copied().flatten().find(|(weight, ..)| match drawn.checked_sub(*weight) {
                Some(rest) => {
                    drawn = rest;
                    false
                }
                None => true,
            });
            let hand = Hand { at, by: somebody(world, &mut self.rng) };
            if let Some((_, name, act)) = act
                && let Some(done) = act(world, &mut self.rng, hand)
            {
                return self.record(world, name, at, done);
            }
        }
    }

    /// Gives a thing done its number.
    pub(crate) fn record(&mut self, world: &World, kind: &'static str, at: Ms, done: Done) -> Edit {
        self.count += 1;
        if self.moments.last() != Some(&at) {
            self.moments.push(at);
        }
        let (of, id) = done.what;
        Edit {
            number: self.count,
            at: time::public(at),
            kind,
            table: table(of),
            gid: world.gid(of, id).to_string(),
            note: done.note,
        }
    }
}

fn due(rate: f64, since: Ms, now: Ms) -> u64 {
    (rate * (now - since) as f64 / 1_000.0) as u64
}

/// The table of a kind.
fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Team => "teams",
        Kind::TeamMembership => "team_memberships",
        Kind::Project => "projects",
        Kind::Section => "sections",
        Kind::Tag => "tags",
        Kind::CustomField => "custom_fields",
        Kind::Setting => "custom_field_settings",
        Kind::Portfolio => "portfolios",
        Kind::Story => "stories",
        Kind::Attachment => "attachments",
        _ => "tasks",
    }
}

/// Tries so often to draw something that fits before another kind of edit is drawn.
const TRIES: u32 = 30;

/// Draws a number below `count` that `fits`.
pub(crate) fn draw(rng: &mut Rng, count: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    (0..TRIES).map(|_| rng.id(count)).find(|id| *id < count && fits(*id))
}

/// A live task of the organization, often one that changed lately.
pub(crate) fn some_task(world: &World, rng: &mut Rng) -> Option<u32> {
    let ours = |id: u32| {
        world.is_live_task(id, LATEST)
            && world
                .known_task(id, LATEST)
                .is_some_and(|row| row.workspace == crate::world::rows::ORGANIZATION)
    };
    let touched = &world.index.touched;
    let lately = touched.len().min(40);
    if lately > 0 && rng.once_in(3) {
        let id = touched[touched.len() - 1 - rng.index(lately)];
        return Some(id).filter(|id| ours(*id));
    }
    draw(rng, world.index.tasks, ours)
}

/// An active member.
pub(crate) fn some_user(world: &World, rng: &mut Rng) -> Option<u32> {
    draw(rng, world.users.len(), |id| world.is_member(id, crate::world::rows::ORGANIZATION, LATEST))
}

/// Whoever makes an edit.
fn somebody(world: &World, rng: &mut Rng) -> u32 {
    some_user(world, rng).unwrap_or(1)
}

/// A live project of the organization.
pub(crate) fn some_project(world: &World, rng: &mut Rng) -> Option<u32> {
    draw(rng, world.projects.len(), |id| {
        world.projects.live(id, LATEST).is_some_and(|row| row.workspace == crate::world::rows::ORGANIZATION)
    })
}
