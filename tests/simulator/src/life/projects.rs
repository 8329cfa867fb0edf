//! What people do to projects, sections, tags, custom fields and portfolios.

use super::edits::Hand;
use super::{Act, Outcome, done, draw, some_project, some_user};
use crate::events::{Act as Told, Change, Silent};
use crate::gid::Kind;
use crate::random::Rng;
use crate::text::{self, Text};
use crate::time::LATEST;
use crate::world::World;
use crate::world::projects::COLORS;
use crate::world::rows::*;

/// The edits, and how often each is drawn.
pub(crate) const ACTS: &[(u32, &str, Act)] = &[
    (10, "create_project", create),
    (20, "rename_project", rename),
    (10, "edit_project", edit),
    (8, "archive_or_unarchive_project", archive),
    (4, "delete_project", delete),
    (4, "undelete_project", undelete),
    (8, "change_project_members", members),
    (10, "create_section", create_section),
    (10, "rename_section", rename_section),
    (8, "move_section", move_section),
    (6, "delete_section", delete_section),
    (5, "create_tag", create_tag),
    (10, "rename_tag", rename_tag),
    (3, "delete_tag", delete_tag),
    (10, "rename_enum_option", rename_choice),
    (5, "add_enum_option", add_choice),
    (5, "rename_custom_field", rename_field),
    (1, "delete_custom_field", delete_field),
    (6, "add_custom_field_to_project", add_setting),
    (5, "remove_custom_field_from_project", remove_setting),
    (6, "create_portfolio", create_portfolio),
    (6, "rename_portfolio", rename_portfolio),
    (14, "add_portfolio_item", add_item),
    (12, "remove_portfolio_item", remove_item),
    (2, "delete_portfolio", delete_portfolio),
];

fn words(rng: &mut Rng) -> String {
    let count = 1 + rng.below(3);
    text::title(rng, count)
}

/// A field that is another now.
fn changed(field: &'static str) -> Told {
    Told::Changed(field, Change::Changed(None))
}

fn create(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    // The look of another project, with nothing in it.
    let template = some_project(world, rng)?;
    let mut row = world.projects.live(template, LATEST)?.clone();
    row.name = words(rng);
    row.notes = Text::given("");
    (row.archived, row.completed, row.status, row.brief) = (false, None, None, false);
    (row.created_at, row.modified_at) = (hand.at, hand.at);
    row.owner = Some(hand.by);
    row.members = vec![hand.by];
    row.followers = vec![hand.by];
    row.sections.clear();
    row.settings.clear();
    let name = row.name.clone();
    let id = world.projects.add(hand.at, row);
    world.index.project_attachments.push(Vec::new());
    let team = world.projects.live(id, LATEST)?.team.filter(|_| world.tells(Silent::ProjectOfTeam));
    let parent = team.map_or((Kind::Workspace, ORGANIZATION), |team| (Kind::Team, team));
    world.note(hand, (Kind::Project, id), Told::Added(Some(parent)));
    world.add_section(id, hand, "Untitled section");
    done(Kind::Project, id, name)
}

fn rename(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_project(world, rng)?;
    let name = words(rng);
    rename_to(world, id, hand, &name)
}

/// Renames a project: its own `modified_at` moves, that of its tasks does not.
pub(crate) fn rename_to(world: &mut World, id: u32, hand: Hand, name: &str) -> Outcome {
    world.projects.live(id, LATEST)?;
    world.projects.edit(id, hand.at, |row| (row.name, row.modified_at) = (name.into(), hand.at));
    world.note(hand, (Kind::Project, id), changed("name"));
    done(Kind::Project, id, name)
}

fn edit(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_project(world, rng)?;
    let (notes, color) = (words(rng), rng.pick(COLORS));
    world.projects.edit(id, hand.at, |row| {
        (row.notes, row.color, row.modified_at) = (Text::given(&notes), Some(color), hand.at);
    });
    world.note(hand, (Kind::Project, id), changed("notes"));
    world.note(hand, (Kind::Project, id), changed("color"));
    done(Kind::Project, id, notes)
}

fn archive(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_project(world, rng)?;
    archive_one(world, id, hand)
}

/// Archives a project, or takes it back from the archive.
pub(crate) fn archive_one(world: &mut World, id: u32, hand: Hand) -> Outcome {
    world.projects.edit(id, hand.at, |row| (row.archived, row.modified_at) = (!row.archived, hand.at));
    world.note(hand, (Kind::Project, id), changed("archived"));
    done(Kind::Project, id, "")
}

fn delete(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_project(world, rng)?;
    delete_one(world, id, hand)
}

/// Deletes a project: its sections and settings go with it; its tasks stay, now in one project less.
pub(crate) fn delete_one(world: &mut World, id: u32, hand: Hand) -> Outcome {
    world.projects.set_live(id, hand.at, false);
    world.note(hand, (Kind::Project, id), Told::Deleted);
    done(Kind::Project, id, "")
}

fn undelete(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = draw(rng, world.projects.len(), |id| world.projects.live(id, LATEST).is_none())?;
    world.projects.set_live(id, hand.at, true);
    world.note(hand, (Kind::Project, id), Told::Undeleted);
    done(Kind::Project, id, "")
}

fn members(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, user) = (some_project(world, rng)?, some_user(world, rng)?);
    let member = Some((Kind::User, user));
    let had = world.projects.live(id, LATEST)?.members.contains(&user);
    let change = if had { Change::Removed(member) } else { Change::Added(member) };
    world.note_if(Silent::ProjectMembers, hand, (Kind::Project, id), Told::Changed("members", change));
    world.projects.edit(id, hand.at, |row| {
        if row.members.contains(&user) {
            row.members.retain(|known| *known != user);
        } else {
            row.members.push(user);
        }
    });
    done(Kind::Project, id, world.gid(Kind::User, user).to_string())
}

fn create_section(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let project = some_project(world, rng)?;
    let name = words(rng);
    let id = world.add_section(project, hand, &name);
    done(Kind::Section, id, name)
}

fn some_section(world: &World, rng: &mut Rng, fits: impl Fn(u32, &Project) -> bool) -> Option<(u32, u32)> {
    let id = draw(rng, world.sections.len(), |id| {
        world.section(id, LATEST).is_some_and(|row| {
            let project = world.projects.live(row.project, LATEST);
            project.is_some_and(|project| project.workspace == ORGANIZATION && fits(id, project))
        })
    })?;
    Some((id, world.section(id, LATEST)?.project))
}

fn rename_section(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, _) = some_section(world, rng, |_, _| true)?;
    let name = words(rng);
    world.sections.edit(id, hand.at, |row| row.name.clone_from(&name));
    world.note(hand, (Kind::Section, id), changed("name"));
    done(Kind::Section, id, name)
}

/// The tasks of the section move with it, so every page of the project shifts.
fn move_section(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, project) = some_section(world, rng, |_, project| project.sections.len() > 1)?;
    world.projects.edit(project, hand.at, |row| {
        row.sections.retain(|known| *known != id);
        let place = rng.index(row.sections.len() + 1);
        row.sections.insert(place, id);
    });
    world.note_if(Silent::SectionOrder, hand, (Kind::Project, project), changed("sections"));
    done(Kind::Section, id, "")
}

/// Only empty sections can be deleted, and never the last of a project.
fn delete_section(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, project) = some_section(world, rng, |id, project| {
        project.sections.len() > 1 && world.index.section_tasks[id as usize].is_empty()
    })?;
    world.sections.set_live(id, hand.at, false);
    world.note(hand, (Kind::Section, id), Told::Deleted);
    world.projects.edit(project, hand.at, |row| row.sections.retain(|known| *known != id));
    // Trashed tasks may still name the section; they come back into the first one that is left.
    let left = world.projects.live(project, LATEST)?.sections[0];
    let named: Vec<u32> = world.trash.iter().map(|(task, _)| *task).collect();
    for task in named.into_iter().flat_map(|task| trashed(world, task)).collect::<Vec<_>>() {
        world.edit_task(task, hand.at, |row| {
            for membership in row.memberships.iter_mut().filter(|(_, section)| *section == id) {
                membership.1 = left;
            }
        });
    }
    done(Kind::Section, id, "")
}

/// A trashed task with all below it.
fn trashed(world: &World, id: u32) -> Vec<u32> {
    let (mut all, mut next) = (vec![id], 0);
    while let Some(row) = all.get(next).and_then(|id| world.known_task(*id, LATEST)) {
        let below: Vec<u32> = row.subtasks.clone();
        all.extend(below);
        next += 1;
    }
    all
}

fn create_tag(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let name = words(rng);
    let tag = Tag {
        workspace: ORGANIZATION,
        name: name.clone(),
        color: Some(rng.pick(COLORS)),
        notes: String::new(),
        created_at: hand.at,
        followers: vec![hand.by],
    };
    let id = world.tags.add(hand.at, tag);
    world.index.tagged.push(Vec::new());
    world.note(hand, (Kind::Tag, id), Told::Added(Some((Kind::Workspace, ORGANIZATION))));
    done(Kind::Tag, id, name)
}

fn some_tag(world: &World, rng: &mut Rng) -> Option<u32> {
    let ours = |id: u32| world.tags.live(id, LATEST).is_some_and(|row| row.workspace == ORGANIZATION);
    draw(rng, world.tags.len(), ours)
}

fn rename_tag(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_tag(world, rng)?;
    let name = words(rng);
    rename_tag_to(world, id, hand, &name)
}

/// Renames a tag: no task that has it is modified.
pub(crate) fn rename_tag_to(world: &mut World, id: u32, hand: Hand, name: &str) -> Outcome {
    world.tags.live(id, LATEST)?;
    world.tags.edit(id, hand.at, |row| row.name = name.into());
    world.note(hand, (Kind::Tag, id), changed("name"));
    done(Kind::Tag, id, name)
}

fn delete_tag(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_tag(world, rng)?;
    world.tags.set_live(id, hand.at, false);
    world.note(hand, (Kind::Tag, id), Told::Deleted);
    done(Kind::Tag, id, "")
}

fn some_field(world: &World, rng: &mut Rng, fits: impl Fn(&CustomField) -> bool) -> Option<u32> {
    draw(rng, world.fields.len(), |id| world.fields.live(id, LATEST).is_some_and(&fits))
}

fn rename_choice(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_field(world, rng, |row| !row.choices.is_empty())?;
    let name = words(rng);
    let place = rng.index(world.fields.live(id, LATEST)?.choices.len());
    world.fields.edit(id, hand.at, |row| row.choices[place].name.clone_from(&name));
    world.note_if(Silent::CustomFields, hand, (Kind::CustomField, id), changed("enum_options"));
    done(Kind::CustomField, id, format!("option {place}: {name}"))
}

fn add_choice(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_field(world, rng, |row| !row.choices.is_empty() && row.choices.len() < 60)?;
    let name = words(rng);
    world.fields.edit(id, hand.at, |row| {
        row.choices.push(Choice { name: name.clone(), color: "cool-gray", enabled: true });
    });
    world.note_if(Silent::CustomFields, hand, (Kind::CustomField, id), changed("enum_options"));
    done(Kind::CustomField, id, name)
}

fn rename_field(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_field(world, rng, |_| true)?;
    let name = words(rng);
    world.fields.edit(id, hand.at, |row| row.name.clone_from(&name));
    world.note_if(Silent::CustomFields, hand, (Kind::CustomField, id), changed("name"));
    done(Kind::CustomField, id, name)
}

fn delete_field(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_field(world, rng, |_| true)?;
    world.fields.set_live(id, hand.at, false);
    world.note_if(Silent::CustomFields, hand, (Kind::CustomField, id), Told::Deleted);
    done(Kind::CustomField, id, "")
}

/// Its tasks show the field from now on, and none of them is modified.
fn add_setting(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (project, field) = (some_project(world, rng)?, some_field(world, rng, |_| true)?);
    let settings = &world.projects.live(project, LATEST)?.settings;
    if settings.iter().any(|id| world.setting(*id, LATEST).is_some_and(|row| row.field == field)) {
        return None;
    }
    let id = world.settings.add(hand.at, Setting { project, field, important: rng.once_in(2) });
    world.projects.edit(project, hand.at, |row| row.settings.push(id));
    let change = Change::Added(Some((Kind::Setting, id)));
    let told = Told::Changed("custom_field_settings", change);
    world.note_if(Silent::Settings, hand, (Kind::Project, project), told);
    done(Kind::Setting, id, world.gid(Kind::Project, project).to_string())
}

fn remove_setting(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = draw(rng, world.settings.len(), |id| world.setting(id, LATEST).is_some())?;
    let project = world.settings.live(id, LATEST)?.project;
    world.settings.set_live(id, hand.at, false);
    world.projects.edit(project, hand.at, |row| row.settings.retain(|known| *known != id));
    let change = Change::Removed(Some((Kind::Setting, id)));
    let told = Told::Changed("custom_field_settings", change);
    world.note_if(Silent::Settings, hand, (Kind::Project, project), told);
    done(Kind::Setting, id, "")
}

fn some_portfolio(world: &World, rng: &mut Rng) -> Option<u32> {
    draw(rng, world.portfolios.len(), |id| world.portfolios.live(id, LATEST).is_some())
}

fn create_portfolio(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let name = words(rng);
    let portfolio = Portfolio {
        name: name.clone(),
        archived: false,
        color: rng.pick(COLORS),
        start_on: None,
        due_on: None,
        access: "viewer",
        created_at: hand.at,
        created_by: hand.by,
        owner: hand.by,
        members: vec![hand.by],
        public: rng.once_in(2),
        items: Vec::new(),
        status: None,
        template: false,
    };
    let id = world.portfolios.add(hand.at, portfolio);
    let told = Told::Added(Some((Kind::Workspace, ORGANIZATION)));
    world.note_if(Silent::Portfolios, hand, (Kind::Portfolio, id), told);
    done(Kind::Portfolio, id, name)
}

fn rename_portfolio(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_portfolio(world, rng)?;
    let name = words(rng);
    world.portfolios.edit(id, hand.at, |row| row.name.clone_from(&name));
    world.note_if(Silent::Portfolios, hand, (Kind::Portfolio, id), changed("name"));
    done(Kind::Portfolio, id, name)
}

fn add_item(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, project) = (some_portfolio(world, rng)?, some_project(world, rng)?);
    if world.portfolios.live(id, LATEST)?.items.contains(&project) {
        return None;
    }
    world.portfolios.edit(id, hand.at, |row| row.items.push(project));
    let told = Told::Added(Some((Kind::Portfolio, id)));
    world.note_if(Silent::PortfolioItems, hand, (Kind::Project, project), told);
    done(Kind::Portfolio, id, world.gid(Kind::Project, project).to_string())
}

fn remove_item(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_portfolio(world, rng)?;
    let items = &world.portfolios.live(id, LATEST)?.items;
    let project = *items.get(rng.index(items.len()))?;
    world.portfolios.edit(id, hand.at, |row| row.items.retain(|known| *known != project));
    let told = Told::Removed((Kind::Portfolio, id));
    world.note_if(Silent::PortfolioItems, hand, (Kind::Project, project), told);
    done(Kind::Portfolio, id, world.gid(Kind::Project, project).to_string())
}

fn delete_portfolio(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_portfolio(world, rng)?;
    world.portfolios.set_live(id, hand.at, false);
    world.note_if(Silent::Portfolios, hand, (Kind::Portfolio, id), Told::Deleted);
    done(Kind::Portfolio, id, "")
}
