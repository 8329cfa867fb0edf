//! Stories of the seed's making, made each time they are read.

use super::World;
use super::rows::*;
use super::tasks;
use crate::random::Rng;
use crate::text::{Form, Text};
use crate::time::{DAY, EARLIEST, Ms};

const STICKERS: &[&str] = &[
    "green_checkmark",
    "people_dancing",
    "dancing_unicorn",
    "heart",
    "party_popper",
    "people_waving_flags",
    "splashing_narwhal",
    "trophy",
    "yeti_riding_unicorn",
    "celebrating_people",
    "determined_climbers",
    "phoenix_spreading_love",
];

/// The components of the product that a story can come from.
pub(crate) const SOURCES: &[&str] = &["web", "email", "mobile", "api", "unknown"];

/// The task a story of the seed's belongs to, and its place among that task's stories.
fn place(world: &World, id: u32) -> Option<(u32, u32, u32)> {
    let firsts = &world.index.first_story;
    let task = firsts.partition_point(|first| *first <= id).checked_sub(1)?;
    let (from, to) = (*firsts.get(task)?, *firsts.get(task + 1)?);
    Some((task as u32, id - from, to - from))
}

/// Makes the story.
pub(crate) fn make(world: &World, id: u32) -> Option<Story> {
    let (task, nth, count) = place(world, id)?;
    let mut rng = Rng::new(world.seed, 0x5702, u64::from(id));
    let (created, modified) = tasks::times(world, task);
    let event = event(world, &mut rng, task, created);
    let event = match event {
        Event::Liked if nth > 0 => liked(world, id - 1),
        event => event,
    };
    let comment = matches!(event, Event::Comment(_));
    Some(Story {
        task,
        at: created + (modified - created) * Ms::from(nth + 1) / Ms::from(count),
        by: 1 + rng.id(world.plan.users),
        pinned: comment && rng.once_in(25),
        edited: comment && rng.once_in(9),
        sticker: (comment && rng.once_in(20)).then(|| rng.pick(STICKERS)),
        likes: if comment && rng.once_in(5) { vec![1 + rng.id(world.plan.users)] } else { Vec::new() },
        reactions: if comment && rng.once_in(6) { 1 + rng.below(3) as u8 } else { 0 },
        preview: comment && rng.once_in(40),
        source: rng.pick(SOURCES),
        event,
    })
}

fn event(world: &World, rng: &mut Rng, task: u32, created: Ms) -> Event {
    let plan = &world.plan;
    let day = created.div_euclid(DAY) + rng.below(90) as i64;
    let other = rng.id(plan.tasks - tasks::PERSONAL_TASKS.min(plan.tasks - 1));
    let text = |rng: &mut Rng, form| Text::Seeded(form, rng.draw());
    match rng.below(52) {
        0..26 => Event::Comment(text(rng, Form::Comment)),
        26 | 27 => Event::Assigned(1 + rng.id(plan.users)),
        28 => Event::Unassigned(1 + rng.id(plan.users)),
        29 | 30 => Event::Completed,
        31 => Event::Reopened,
        32 => Event::Renamed(text(rng, Form::Name), text(rng, Form::Name)),
        33 => Event::NotesChanged,
        34 => Event::DueChanged(None, Some(Due { day, at: rng.once_in(2).then_some(day * DAY) })),
        35 => Event::DueChanged(Some(Due { day, at: None }), None),
        36 => match tasks::memberships(world, task).first() {
            Some((_, section)) => Event::Moved(*section, *section),
            None => Event::Completed,
        },
        37 => Event::AddedToProject(rng.id(plan.projects)),
        38 => Event::Tagged(rng.id(plan.tags)),
        39 => Event::FollowerAdded(1 + rng.id(plan.users)),
        40 => Event::Liked,
        41 => Event::DependencyAdded(other),
        42 => Event::SubtaskAdded(other),
        43 => Event::AttachmentAdded,
        44 if rng.once_in(2) => Event::MarkedDuplicate(other),
        44 => Event::Duplicated(other),
        45 => Event::SubtypeChanged("default_task", "milestone"),
        46 => Event::ApprovalChanged("pending", "approved"),
        _ => field_changed(world, rng, task, created),
    }
}

/// A like, of the comment before if there is one.
fn liked(world: &World, before: u32) -> Event {
    match make(world, before) {
        Some(Story { event: Event::Comment(_), .. }) => Event::CommentLiked(before),
        _ => Event::Liked,
    }
}

fn field_changed(world: &World, rng: &mut Rng, task: u32, created: Ms) -> Event {
    let field = rng.id(world.plan.fields);
    // The definition as the seed made it: a story must not change when an option is added.
    match world.fields.known(field, EARLIEST) {
        Some(row) if task < world.plan.tasks => {
            let before = super::values::draw(world, rng, row, created.div_euclid(DAY));
            let after = super::values::draw(world, rng, row, created.div_euclid(DAY));
            Event::FieldChanged(field, before, after)
        }
        _ => Event::Completed,
    }
}
