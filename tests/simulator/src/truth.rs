//! The oracle: every live record of a table, in full, as of any moment since the epoch.
//!
//! Rule: the truth is the organization's. What the token can also see of a personal workspace is left out.

use crate::gid::Kind;
use crate::json::{ALL, COMPACT, string};
use crate::records::{Ref, View};
use crate::time::Ms;
use crate::world::World;
use crate::world::rows::{ORGANIZATION, Parent};

/// The tables there are truths of.
pub(crate) const TABLES: &[&str] = &[
    "workspaces",
    "users",
    "workspace_memberships",
    "teams",
    "team_memberships",
    "projects",
    "sections",
    "tasks",
    "stories",
    "attachments",
    "tags",
    "custom_fields",
    "custom_field_settings",
    "portfolios",
    "portfolio_items",
];

/// One row of the truth: a record, or a portfolio with an item of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row {
    /// A record.
    Record(Ref),
    /// A project in a portfolio.
    Item { portfolio: u32, project: u32 },
}

/// The rows of a table as of `at`; nothing for a table there is not.
pub(crate) fn rows(world: &World, table: &str, at: Ms) -> Vec<Row> {
    let of = |kind: Kind, ids: Vec<u32>| ids.into_iter().map(|id| Row::Record(Ref { kind, id })).collect();
    match table {
        "workspaces" => of(Kind::Workspace, vec![ORGANIZATION]),
        "users" => {
            let member = |id: &u32| world.is_member(*id, ORGANIZATION, at);
            of(Kind::User, world.users.ids(at).filter(member).collect())
        }
        "workspace_memberships" => {
            let joined = |id: &u32| world.users.live(*id, at).is_some_and(|row| row.joined.is_some());
            of(Kind::WorkspaceMembership, world.users.ids(at).filter(joined).collect())
        }
        "teams" => of(Kind::Team, world.teams.ids(at).collect()),
        "team_memberships" => of(Kind::TeamMembership, world.team_memberships.ids(at).collect()),
        "projects" => of(Kind::Project, world.projects.ids(at).filter(|id| ours(world, *id, at)).collect()),
        "sections" => {
            let live = |id: &u32| world.section(*id, at).is_some_and(|row| ours(world, row.project, at));
            of(Kind::Section, (0..world.sections.len()).filter(live).collect())
        }
        "tasks" => of(Kind::Task, (0..world.index.tasks).filter(|id| task(world, *id, at)).collect()),
        "stories" => of(Kind::Story, stories(world, at)),
        "attachments" => of(Kind::Attachment, attachments(world, at)),
        "tags" => {
            let live = |id: &u32| world.tags.live(*id, at).is_some_and(|row| row.workspace == ORGANIZATION);
            of(Kind::Tag, (0..world.tags.len()).filter(live).collect())
        }
        "custom_fields" => of(Kind::CustomField, world.fields.ids(at).collect()),
        "custom_field_settings" => {
            let live = |id: &u32| world.setting(*id, at).is_some();
            of(Kind::Setting, (0..world.settings.len()).filter(live).collect())
        }
        "portfolios" => of(Kind::Portfolio, world.portfolios.ids(at).collect()),
        "portfolio_items" => items(world, at),
        _ => Vec::new(),
    }
}

fn ours(world: &World, project: u32, at: Ms) -> bool {
    world.projects.live(project, at).is_some_and(|row| row.workspace == ORGANIZATION)
}

fn task(world: &World, id: u32, at: Ms) -> bool {
    let personal = world.plan.tasks - crate::world::tasks::PERSONAL_TASKS..world.plan.tasks;
    !personal.contains(&id) && world.is_live_task(id, at)
}

fn stories(world: &World, at: Ms) -> Vec<u32> {
    let of_ours = |id: &u32| world.story(*id, at).is_some_and(|row| task(world, row.task, at));
    (0..world.index.stories).filter(of_ours).collect()
}

fn attachments(world: &World, at: Ms) -> Vec<u32> {
    let of_ours = |id: &u32| {
        world.attachment(*id, at).is_some_and(|row| match row.parent {
            Parent::Task(id) => task(world, id, at),
            Parent::Project(project) => ours(world, project, at),
        })
    };
    (0..world.index.attachments).filter(of_ours).collect()
}

fn items(world: &World, at: Ms) -> Vec<Row> {
    let mut rows = Vec::new();
    for portfolio in world.portfolios.ids(at) {
        let items = world.portfolios.live(portfolio, at).map_or(&[][..], |row| &row.items);
        let live = items.iter().copied().filter(|project| world.projects.live(*project, at).is_some());
        rows.extend(live.map(|project| Row::Item { portfolio, project }));
    }
    rows
}

/// Writes one row of the truth.
pub(crate) fn write(view: &View<'_>, row: Row, out: &mut Vec<u8>) {
    match row {
        Row::Record(row) => view.record(row, ALL, out),
        Row::Item { portfolio, project } => {
            out.extend_from_slice(b"{\"portfolio\":");
            string(out, &view.gid(Kind::Portfolio, portfolio).to_string());
            out.extend_from_slice(b",\"item\":");
            string(out, &view.gid(Kind::Project, project).to_string());
            out.push(b',');
            let mut record = Vec::new();
            view.record(Ref { kind: Kind::Project, id: project }, COMPACT, &mut record);
            // The compact project follows without its opening brace.
            out.extend_from_slice(&record[1..]);
        }
    }
}
