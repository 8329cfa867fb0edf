//! Projects with their sections and custom field settings, tags and portfolios of the seed's making.

use super::World;
use super::people::{END, LAST, START};
use super::rows::*;
use crate::random::{Rng, mix};
use crate::text::{self, Form, Text};
use crate::time::{DAY, Ms};

/// The colors of projects, tags and portfolios.
pub(crate) const COLORS: &[&str] = &[
    "dark-pink",
    "dark-green",
    "dark-blue",
    "dark-red",
    "dark-teal",
    "dark-brown",
    "dark-orange",
    "dark-purple",
    "dark-warm-gray",
    "light-pink",
    "light-green",
    "light-blue",
    "light-red",
    "light-teal",
    "light-brown",
    "light-orange",
    "light-purple",
    "light-warm-gray",
];
const ICONS: &[&str] = &[
    "list",
    "board",
    "timeline",
    "calendar",
    "rocket",
    "people",
    "graph",
    "star",
    "bug",
    "light_bulb",
    "globe",
    "gear",
    "notebook",
    "computer",
    "check",
    "target",
    "html",
    "megaphone",
    "chat_bubbles",
    "briefcase",
    "page_layout",
    "mountain_flag",
    "puzzle",
    "presentation",
    "line_and_symbols",
    "speed_dial",
    "ribbon",
    "shoe",
    "shopping_basket",
    "map",
    "ticket",
    "coins",
];
const SECTIONS: &[&str] = &["Backlog", "To do", "Doing 🏗", "In review", "Done", "Später"];
/// The colors of a status.
pub(crate) const STATUS_COLORS: &[&str] = &["green", "yellow", "red", "blue", "complete"];

/// Fills the tables of projects, sections, settings, tags and portfolios.
pub(crate) fn make(world: &mut World) {
    for id in 0..=world.plan.projects {
        let personal = id == world.plan.projects;
        let project = project(world, id, personal);
        let created_at = project.created_at;
        world.projects.seed(project);
        sections(world, id, created_at);
        if !personal {
            settings(world, id);
        }
    }
    tags(world);
    portfolios(world);
}

/// A few different users.
fn people(rng: &mut Rng, users: u32, most: u64) -> Vec<u32> {
    let mut out = Vec::new();
    for _ in 0..rng.below(most + 1) {
        let user = 1 + rng.id(users);
        if !out.contains(&user) {
            out.push(user);
        }
    }
    out
}

/// A moment of the history.
fn moment(rng: &mut Rng) -> Ms {
    START + rng.below((END - START) as u64) as Ms
}

fn project(world: &World, id: u32, personal: bool) -> Project {
    let mut rng = Rng::new(world.seed, 0x9207, u64::from(id));
    let users = world.plan.users;
    let created_at = START + rng.below((END - START) as u64 / 3) as Ms;
    let modified_at = created_at + rng.below((LAST - created_at) as u64) as Ms;
    let start = created_at.div_euclid(DAY);
    let due = (!rng.once_in(3)).then(|| start + 30 + rng.below(300) as i64);
    let done = !personal && id % 13 == 6;
    let color = if rng.once_in(6) { Some("none") } else { Some(rng.pick(COLORS)) };
    let words = 1 + rng.below(4);
    Project {
        workspace: if personal { PERSONAL } else { ORGANIZATION },
        name: if personal { "Nobody else's business".into() } else { text::title(&mut rng, words) },
        notes: Text::Seeded(Form::Notes, rng.draw()),
        archived: !personal && id % 7 == 5,
        color: color.filter(|_| !rng.once_in(5)),
        icon: (!rng.once_in(4)).then(|| rng.pick(ICONS)),
        created_at,
        modified_at,
        default_view: rng.pick(&["list", "board", "calendar", "timeline"]),
        due_on: due,
        start_on: due.filter(|_| rng.once_in(2)).map(|_| start),
        privacy: match id % 5 {
            3 => "private",
            4 => "private_to_team",
            _ => "public_to_workspace",
        },
        access: rng.pick(&["admin", "editor", "commenter", "viewer"]),
        customization: rng.pick(&["admin", "editor"]),
        sharing: rng.pick(&["admin", "editor"]),
        completed: done.then(|| (modified_at, 1 + rng.id(users))),
        owner: (!rng.once_in(6)).then(|| 1 + rng.id(users)),
        team: (!personal).then(|| rng.id(world.plan.teams)),
        members: people(&mut rng, users, 5),
        followers: people(&mut rng, users, 4),
        sections: Vec::new(),
        settings: Vec::new(),
        status: rng.once_in(3).then(|| status(&mut rng, id, users, modified_at)),
        template: rng.once_in(9),
        brief: rng.once_in(7),
    }
}

/// A status update; its number is unique over projects (even) and portfolios (odd).
fn status(rng: &mut Rng, number: u32, users: u32, at: Ms) -> Status {
    Status {
        number: number * 2,
        title: format!("Status update {}", 1 + rng.below(40)),
        text: text::title(rng, 9),
        color: rng.pick(STATUS_COLORS),
        author: 1 + rng.id(users),
        at,
    }
}

fn sections(world: &mut World, project: u32, created_at: Ms) {
    let mut rng = Rng::new(world.seed, 0x5ec7, u64::from(project));
    let count = if world.plan.mini { 2 } else { 1 + rng.below(u64::from(world.plan.sections)) };
    for place in 0..count {
        let name = match place {
            0 if rng.once_in(2) => "Untitled section",
            _ => SECTIONS[place as usize % SECTIONS.len()],
        };
        let created_at = created_at + place as Ms * 60_000;
        let section = world.sections.seed(Section { name: name.into(), created_at, project });
        world.projects.shape(project, |row| row.sections.push(section));
    }
}

fn settings(world: &mut World, project: u32) {
    let mut rng = Rng::new(world.seed, 0x5e77, u64::from(project));
    let most = world.plan.settings.min(world.plan.fields);
    // The first projects together show every field of a small world.
    let count = if project == 0 { most } else { rng.id(most + 1) };
    let start = if project < 3 { project * most } else { rng.id(world.plan.fields) };
    for place in 0..count {
        let field = (start + place) % world.plan.fields;
        let setting = world.settings.seed(Setting { project, field, important: rng.once_in(2) });
        world.projects.shape(project, |row| row.settings.push(setting));
    }
}

fn tags(world: &mut World) {
    for id in 0..=world.plan.tags {
        let mut rng = Rng::new(world.seed, 0x7a65, u64::from(id));
        let personal = id == world.plan.tags;
        let tag = Tag {
            workspace: if personal { PERSONAL } else { ORGANIZATION },
            name: text::title(&mut rng, 1),
            color: (!rng.once_in(4)).then(|| rng.pick(COLORS)),
            notes: if rng.once_in(3) { text::title(&mut rng, 5) } else { String::new() },
            created_at: moment(&mut rng),
            followers: people(&mut rng, world.plan.users, 2),
        };
        world.tags.seed(tag);
    }
}

fn portfolios(world: &mut World) {
    for id in 0..world.plan.portfolios {
        let mut rng = Rng::new(world.seed, 0x90f7, u64::from(id));
        let users = world.plan.users;
        let created_at = moment(&mut rng);
        let most = if id == 0 { 120 } else { 12 }.min(world.plan.projects);
        let first = mix(world.seed, 0x90f8, u64::from(id)) as u32 % world.plan.projects;
        let count = if id == 0 { most } else { rng.id(most + 1) };
        let mut status = rng.once_in(3).then(|| status(&mut rng, id, users, created_at));
        if let Some(status) = &mut status {
            status.number += 1;
        }
        let words = 1 + rng.below(3);
        let portfolio = Portfolio {
            name: text::title(&mut rng, words),
            archived: id % 6 == 5,
            color: rng.pick(COLORS),
            start_on: rng.once_in(3).then(|| created_at.div_euclid(DAY)),
            due_on: rng.once_in(2).then(|| created_at.div_euclid(DAY) + 200),
            access: rng.pick(&["admin", "editor", "viewer"]),
            created_at,
            created_by: 1 + rng.id(users),
            owner: 1 + rng.id(users),
            members: people(&mut rng, users, 4),
            public: rng.once_in(2),
            items: (0..count).map(|place| (first + place) % world.plan.projects).collect(),
            status,
            template: rng.once_in(9),
        };
        world.portfolios.seed(portfolio);
    }
}
