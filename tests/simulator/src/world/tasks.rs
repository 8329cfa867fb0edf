//! Tasks of the seed's making, made each time they are read.
//!
//! Rule: [`make`] depends on the seed, the number of the task and the index of the seed's subtasks alone, so it
//! gives the same task before and after any number of edits to others.

use std::num::NonZeroU64;

use super::World;
use super::people::{END, LAST, START};
use super::rows::*;
use crate::random::{Rng, mix};
use crate::text::{self, Form, Text};
use crate::time::{DAY, Ms};

/// How many tasks the personal workspace holds: the last ones.
pub(crate) const PERSONAL_TASKS: u32 = 2;
/// No parent.
pub(crate) const NOBODY: u32 = u32::MAX;
/// Tasks that one bulk edit gave the same `modified_at`: more than search can answer at once.
const BULK: std::ops::Range<u32> = 300..450;
/// Subtasks of the one task just before them: more than a page.
const CROWD: std::ops::Range<u32> = 1_000..1_130;
/// The task that surely has a long text, in any world large enough.
const HUGE: u32 = 5;

/// When the task was created, and last modified.
pub(crate) fn times(world: &World, id: u32) -> (Ms, Ms) {
    let draw = mix(world.seed, 0x71e5, u64::from(id));
    let place = (END - START) as u128 * u128::from(id) / u128::from(world.plan.tasks.max(1));
    let created = START + place as Ms + (draw % (2 * DAY as u64)) as Ms;
    if BULK.contains(&id) && world.plan.tasks > 1_000 {
        return (created, END + DAY);
    }
    let part = (mix(draw, 1, 0) >> 44) as i128; // 20 bits
    let span = (i128::from(LAST - created) * part * part * part) >> 60;
    (created, created + span as Ms)
}

/// When the task was completed, if it was.
pub(crate) fn completed_at(world: &World, id: u32) -> Option<Ms> {
    let draw = mix(world.seed, 0xc0de, u64::from(id));
    (draw % 100 < 45).then(|| {
        let (created, modified) = times(world, id);
        created + (modified - created) * 9 / 10
    })
}

/// The number of stories the seed gives the task: most few, some hundreds.
pub(crate) fn story_count(world: &World, id: u32) -> u32 {
    let draw = mix(world.seed, 0x5709, u64::from(id));
    match id % 397 {
        _ if world.plan.mini => [2, 1, 0, 2, 0, 1][id as usize % 6],
        13 if !world.plan.lean => 110 + (draw % 400) as u32,
        _ => [0, 0, 1, 1, 1, 2, 2, 3, 3, 5][(draw % 10) as usize],
    }
}

/// The number of attachments the seed gives the task.
pub(crate) fn attachment_count(world: &World, id: u32) -> u32 {
    let draw = mix(world.seed, 0xa77a, u64::from(id));
    match id % 1_009 {
        _ if world.plan.mini => u32::from(id == 1),
        17 if !world.plan.lean => 130,
        _ => [0, 0, 0, 0, 0, 0, 0, 0, 1, 2][(draw % 10) as usize],
    }
}

/// The parent the seed gives the task, knowing how deep its elders are.
pub(crate) fn parent(world: &World, id: u32, depths: &[u8]) -> Option<u32> {
    let mut rng = Rng::new(world.seed, 0x9a2e, u64::from(id));
    if CROWD.contains(&id) && world.plan.tasks > 2_000 && depths[CROWD.start as usize - 1] < 5 {
        return Some(CROWD.start - 1);
    }
    if world.plan.mini {
        return (id == 2).then_some(1);
    }
    if id < 2 || id + PERSONAL_TASKS >= world.plan.tasks || !rng.once_in(4) {
        return None;
    }
    let back = if rng.once_in(2) { 1 } else { 1 + rng.id(40) };
    let parent = id.checked_sub(back)?;
    (depths[parent as usize] < 5).then_some(parent)
}

/// Projects and sections of the task.
pub(crate) fn memberships(world: &World, id: u32) -> Vec<(u32, u32)> {
    let mut rng = Rng::new(world.seed, 0x3e3b, u64::from(id));
    let personal = id + PERSONAL_TASKS >= world.plan.tasks;
    let subtask = world.index.parents.get(id as usize).is_some_and(|parent| *parent != NOBODY);
    let count = match rng.below(100) {
        _ if personal => 1,
        _ if world.plan.mini => u32::from(!subtask),
        draw if subtask => u32::from(draw < 5),
        0..15 => 0,
        15..86 => 1,
        86..97 => 2,
        _ => 3,
    };
    let mut out: Vec<(u32, u32)> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let project = if personal { world.plan.projects } else { project(world, &mut rng) };
        if out.iter().any(|(known, _)| *known == project) {
            continue;
        }
        let firsts = &world.index.first_section;
        let (from, to) = (firsts[project as usize], firsts[project as usize + 1]);
        out.push((project, from + rng.id(to - from)));
    }
    out
}

/// A project: a few hold much, most hold little, and project 1 holds nothing.
fn project(world: &World, rng: &mut Rng) -> u32 {
    let part = rng.unit();
    let found = (f64::from(world.plan.projects) * part * part) as u32;
    if found == 1 { 0 } else { found }
}

/// Who the task is assigned to.
pub(crate) fn assignee(world: &World, id: u32) -> Option<u32> {
    let draw = NonZeroU64::new(mix(world.seed, 0xa551, u64::from(id)) % 100)?;
    let personal = id + PERSONAL_TASKS >= world.plan.tasks;
    let mut rng = Rng::new(world.seed, 0xa552, u64::from(id));
    // One in eight goes to the first user, so that somebody's list has many pages.
    (draw.get() < 62 && !personal).then(|| 1 + if rng.once_in(8) { 0 } else { rng.id(world.plan.users) })
}

/// The tags of the task.
pub(crate) fn tags(world: &World, id: u32) -> Vec<u32> {
    let mut rng = Rng::new(world.seed, 0x7a95, u64::from(id));
    if id + PERSONAL_TASKS >= world.plan.tasks || !rng.once_in(5) {
        return Vec::new();
    }
    let (first, second) = (rng.id(world.plan.tags), rng.id(world.plan.tags));
    if rng.once_in(3) && first != second { vec![first, second] } else { vec![first] }
}

fn depends_on_elder(world: &World, id: u32) -> bool {
    id > 0 && mix(world.seed, 0xde9, u64::from(id)).is_multiple_of(12)
}

fn depends_on_half(world: &World, id: u32) -> bool {
    id > 3 && mix(world.seed, 0xdea, u64::from(id)).is_multiple_of(50)
}

/// What the task waits for, and what waits for it.
fn dependencies(world: &World, id: u32) -> (Vec<u32>, Vec<u32>) {
    let limit = world.plan.tasks - PERSONAL_TASKS;
    if id >= limit {
        return (Vec::new(), Vec::new());
    }
    let (mut on, mut by) = (Vec::new(), Vec::new());
    if depends_on_elder(world, id) {
        on.push(id - 1);
    }
    if depends_on_half(world, id) {
        on.push(id / 2);
    }
    if id + 1 < limit && depends_on_elder(world, id + 1) {
        by.push(id + 1);
    }
    by.extend(
        [2 * id, 2 * id + 1].into_iter().filter(|other| *other < limit && depends_on_half(world, *other)),
    );
    (on, by)
}

/// Makes the task.
pub(crate) fn make(world: &World, id: u32) -> Task {
    let mut rng = Rng::new(world.seed, 0x7a5c, u64::from(id));
    let users = world.plan.users;
    let (created_at, modified_at) = times(world, id);
    let subtype = match rng.below(25) {
        0 => "milestone",
        1 => "approval",
        2 if rng.once_in(3) => "custom",
        _ => "default_task",
    };
    let completed = completed_at(world, id).map(|at| (at, 1 + rng.id(users)));
    let approval = match completed {
        None => "pending",
        Some(_) => rng.pick(&["approved", "rejected", "changes_requested"]),
    };
    let assignee = assignee(world, id);
    let (due, start) = dates(&mut rng, created_at);
    let (dependencies, dependents) = dependencies(world, id);
    let name = Text::Seeded(Form::Name, rng.draw());
    let notes = rng.draw();
    Task {
        workspace: if id + PERSONAL_TASKS >= world.plan.tasks { PERSONAL } else { ORGANIZATION },
        name,
        notes: if id == HUGE && !world.plan.lean {
            Text::given(&text::huge(notes))
        } else {
            Text::Seeded(Form::Notes, notes)
        },
        subtype,
        approval,
        created_at,
        created_by: 1 + rng.id(users),
        modified_at,
        completed,
        assignee,
        assigned_by: assignee.filter(|_| !rng.once_in(4)).map(|_| 1 + rng.id(users)),
        assignee_status: rng.pick(&["today", "upcoming", "later", "new", "inbox"]),
        due,
        start,
        parent: world.index.parents.get(id as usize).copied().filter(|parent| *parent != NOBODY),
        memberships: memberships(world, id),
        tags: tags(world, id),
        followers: followers(&mut rng, users),
        likes: if rng.once_in(8) { vec![1 + rng.id(users)] } else { Vec::new() },
        dependencies,
        dependents,
        subtasks: world.index.seed_subtasks.get(id as usize).cloned().unwrap_or_default(),
        external: rng.once_in(20),
        actual_minutes: rng.once_in(10).then(|| 5 + rng.id(600)),
        custom_type: subtype == "custom",
        separator: rng.once_in(60),
        seeded_values: true,
        values: Vec::new(),
    }
}

fn dates(rng: &mut Rng, created_at: Ms) -> (Option<Due>, Option<Due>) {
    let day = created_at.div_euclid(DAY) + 3 + rng.below(60) as i64;
    if rng.once_in(2) {
        return (None, None);
    }
    let timed = rng.once_in(4);
    let at = timed.then(|| day * DAY + 3_600_000 * (7 + rng.below(12) as i64));
    let start_day = day - 1 - rng.below(9) as i64;
    let start = rng.once_in(3).then(|| Due { day: start_day, at: at.map(|at| at - (day - start_day) * DAY) });
    (Some(Due { day, at }), start)
}

fn followers(rng: &mut Rng, users: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for _ in 0..rng.below(4) {
        let user = 1 + rng.id(users);
        if !out.contains(&user) {
            out.push(user);
        }
    }
    out
}
