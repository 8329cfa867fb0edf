//! What people do to tasks.

use super::edits::Hand;
use super::{Act, Outcome, done, draw, some_project, some_task, some_user};
use crate::events::{Act as Told, Change, Silent};
use crate::gid::Kind;
use crate::random::Rng;
use crate::text::{self, Text};
use crate::time::{DAY, LATEST};
use crate::world::World;
use crate::world::rows::{Due, Event, ORGANIZATION, Parent};
use crate::world::values;

/// The edits, and how often each is drawn.
pub(crate) const ACTS: &[(u32, &str, Act)] = &[
    (80, "create_task", create),
    (40, "create_subtask", create_subtask),
    (70, "rename_task", rename),
    (50, "edit_notes", edit_notes),
    (100, "complete_or_reopen_task", complete),
    (80, "assign_task", assign),
    (40, "change_due_date", change_due),
    (140, "comment", comment),
    (30, "edit_comment", edit_comment),
    (25, "delete_story", delete_story),
    (15, "like_task", like),
    (15, "like_comment", like_comment),
    (80, "move_task", move_task),
    (30, "add_to_project", add_to_project),
    (25, "remove_from_project", remove_from_project),
    (35, "tag_or_untag_task", tag),
    (15, "add_follower", follow),
    (20, "add_or_remove_dependency", depend),
    (70, "set_custom_field", set_field),
    (35, "attach_file", attach),
    (15, "delete_attachment", detach),
    (35, "delete_task", delete),
    (12, "undelete_task", undelete),
    (20, "change_parent", change_parent),
    (8, "change_subtype", change_subtype),
];

fn words(rng: &mut Rng) -> String {
    let count = 1 + rng.below(6);
    text::title(rng, count)
}

fn create(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let name = words(rng);
    let mut row = world.blank_task(hand, &name);
    if !rng.once_in(6)
        && let Some(project) = some_project(world, rng)
        && let Some(section) = some_section(world, rng, project)
    {
        row.memberships.push((project, section));
    }
    if rng.once_in(2) {
        row.assignee = some_user(world, rng);
        row.assigned_by = row.assignee.map(|_| hand.by);
    }
    let assignee = row.assignee;
    let memberships = row.memberships.clone();
    let id = world.add_task(hand, row);
    for (project, _) in memberships {
        world.tell(id, hand, Event::AddedToProject(project), false);
    }
    if let Some(user) = assignee {
        world.tell(id, hand, Event::Assigned(user), false);
    }
    done(Kind::Task, id, name)
}

fn create_subtask(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let parent = some_task(world, rng).filter(|id| depth(world, *id) < 5)?;
    let name = words(rng);
    let mut row = world.blank_task(hand, &name);
    row.parent = Some(parent);
    let id = world.add_task(hand, row);
    done(Kind::Task, id, format!("{name}, of {}", world.gid(Kind::Task, parent)))
}

fn depth(world: &World, id: u32) -> u32 {
    let (mut depth, mut next) = (0, world.task(id, LATEST).and_then(|row| row.parent));
    while let Some(id) = next {
        depth += 1;
        next = world.task(id, LATEST).and_then(|row| row.parent);
    }
    depth
}

fn rename(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let name = words(rng);
    rename_to(world, id, hand, &name)
}

/// Renames a task.
pub(crate) fn rename_to(world: &mut World, id: u32, hand: Hand, name: &str) -> Outcome {
    let old = world.task(id, LATEST)?.name.clone();
    world.change_task(id, hand, Event::Renamed(old, Text::given(name)), |row| row.name = Text::given(name));
    done(Kind::Task, id, name)
}

fn edit_notes(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let notes = if rng.once_in(40) { text::huge(rng.draw()) } else { words(rng) };
    world.change_task(id, hand, Event::NotesChanged, |row| row.notes = Text::given(&notes));
    done(Kind::Task, id, format!("{} bytes", notes.len()))
}

fn complete(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let open = world.task(id, LATEST)?.completed.is_none();
    let event = if open { Event::Completed } else { Event::Reopened };
    world.change_task(id, hand, event, |row| {
        row.completed = open.then_some((hand.at, hand.by));
        row.approval = if open { "approved" } else { "pending" };
    });
    done(Kind::Task, id, if open { "completed" } else { "reopened" })
}

fn assign(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let user = if rng.once_in(4) { None } else { some_user(world, rng) };
    if world.task(id, LATEST)?.assignee == user {
        return None;
    }
    world.assign(id, hand, user);
    done(Kind::Task, id, user.map_or("nobody".into(), |user| world.gid(Kind::User, user).to_string()))
}

fn change_due(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let day = hand.at.div_euclid(DAY) + rng.below(30) as i64;
    let due = (!rng.once_in(4)).then(|| Due { day, at: rng.once_in(3).then_some(day * DAY + DAY / 2) });
    let old = world.task(id, LATEST)?.due;
    if old == due {
        return None;
    }
    world.change_task(id, hand, Event::DueChanged(old, due), |row| (row.due, row.start) = (due, None));
    done(Kind::Task, id, due.map_or("none".into(), |due| crate::time::day(due.day)))
}

fn comment(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let text = words(rng);
    let story = world.tell(id, hand, Event::Comment(Text::given(&text)), true);
    done(Kind::Story, story, format!("{text}, on {}", world.gid(Kind::Task, id)))
}

fn some_story(world: &World, rng: &mut Rng, comment: bool) -> Option<u32> {
    let fits = |id: u32| {
        world.story(id, LATEST).is_some_and(|row| {
            (!comment || matches!(row.event, Event::Comment(_)))
                && world.task(row.task, LATEST).is_some_and(|row| row.workspace == ORGANIZATION)
        })
    };
    draw(rng, world.index.stories, fits)
}

fn edit_comment(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_story(world, rng, true)?;
    let text = words(rng);
    // An edited comment is no new story: nothing says that the task was modified.
    world.edit_story(id, hand, true, |row| {
        (row.event, row.edited) = (Event::Comment(Text::given(&text)), true);
    });
    world.note(hand, (Kind::Story, id), Told::Changed("text", Change::Changed(None)));
    done(Kind::Story, id, text)
}

fn delete_story(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_story(world, rng, false)?;
    world.edit_story(id, hand, false, |_| {});
    done(Kind::Story, id, "")
}

fn like(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    if world.task(id, LATEST)?.likes.contains(&hand.by) {
        return None;
    }
    world.edit_task(id, hand.at, |row| row.likes.push(hand.by));
    let liked = Told::Changed("likes", Change::Added(Some((Kind::User, hand.by))));
    world.note_if(Silent::Likes, hand, (Kind::Task, id), liked);
    done(Kind::Task, id, "")
}

fn like_comment(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_story(world, rng, true)?;
    if world.story(id, LATEST)?.likes.contains(&hand.by) {
        return None;
    }
    world.edit_story(id, hand, true, |row| row.likes.push(hand.by));
    let liked = Told::Changed("likes", Change::Added(Some((Kind::User, hand.by))));
    world.note_if(Silent::Likes, hand, (Kind::Story, id), liked);
    let task = world.story(id, LATEST)?.task;
    world.tell(task, hand, Event::CommentLiked(id), true);
    done(Kind::Story, id, "")
}

pub(crate) fn some_section(world: &World, rng: &mut Rng, project: u32) -> Option<u32> {
    let sections = &world.projects.live(project, LATEST)?.sections;
    sections.get(rng.index(sections.len())).copied()
}

/// Moves a task to another section or place, or from one project to another.
fn move_task(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let row = world.task(id, LATEST)?.into_owned();
    let live: Vec<u32> = world.memberships(&row, LATEST).map(|(project, _)| project).collect();
    let from = *live.get(rng.index(live.len()))?;
    let to = if rng.once_in(3) { some_project(world, rng)? } else { from };
    if to != from && live.contains(&to) {
        return None;
    }
    let section = some_section(world, rng, to)?;
    if to != from {
        world.unplace_task(id, hand, from);
    }
    let place = rng.index(world.index.section_tasks[section as usize].len() + 1);
    world.place_task(id, hand, to, section, place);
    done(Kind::Task, id, format!("to section {}", world.gid(Kind::Section, section)))
}

fn add_to_project(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, project) = (some_task(world, rng)?, some_project(world, rng)?);
    if world.task(id, LATEST)?.memberships.iter().any(|(known, _)| *known == project) {
        return None;
    }
    let section = some_section(world, rng, project)?;
    world.place_task(id, hand, project, section, usize::MAX);
    done(Kind::Task, id, world.gid(Kind::Project, project).to_string())
}

fn remove_from_project(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let row = world.task(id, LATEST)?.into_owned();
    let (project, _) = world.memberships(&row, LATEST).next()?;
    world.unplace_task(id, hand, project);
    done(Kind::Task, id, world.gid(Kind::Project, project).to_string())
}

fn tag(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let ours = |id: u32| world.tags.live(id, LATEST).is_some_and(|row| row.workspace == ORGANIZATION);
    let tag = draw(rng, world.tags.len(), ours)?;
    let on = !world.task(id, LATEST)?.tags.contains(&tag);
    world.tag_task(id, hand, tag, on);
    done(Kind::Task, id, format!("{} {}", if on { "tagged" } else { "untagged" }, world.gid(Kind::Tag, tag)))
}

fn follow(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, user) = (some_task(world, rng)?, some_user(world, rng)?);
    if world.task(id, LATEST)?.followers.contains(&user) {
        return None;
    }
    world.change_task(id, hand, Event::FollowerAdded(user), |row| row.followers.push(user));
    done(Kind::Task, id, world.gid(Kind::User, user).to_string())
}

fn depend(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (id, other) = (some_task(world, rng)?, some_task(world, rng)?);
    let row = world.task(id, LATEST)?;
    if let Some(known) = row.dependencies.first().copied().filter(|_| rng.once_in(2)) {
        world.depend(id, hand, known, false);
        return done(Kind::Task, id, "no longer waits");
    }
    if id == other || row.dependencies.contains(&other) || row.dependents.contains(&other) {
        return None;
    }
    world.depend(id, hand, other, true);
    done(Kind::Task, id, format!("waits for {}", world.gid(Kind::Task, other)))
}

fn set_field(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let row = world.task(id, LATEST)?.into_owned();
    let view = crate::records::View { world, at: LATEST, me: world.robot, signature: None };
    let fields = view.fields_of(&row);
    let field = *fields.get(rng.index(fields.len()))?;
    let definition = world.fields.live(field, LATEST)?;
    if matches!(
        definition.kind,
        crate::world::rows::FieldKind::Formula | crate::world::rows::FieldKind::CustomId
    ) {
        return None;
    }
    let old = values::of(world, id, &row, field, definition);
    let empty = rng.once_in(5);
    let new = match empty {
        true => crate::world::rows::Value::Empty,
        false => values::draw(world, rng, definition, hand.at.div_euclid(DAY)),
    };
    if old == new {
        return None;
    }
    world.change_task(id, hand, Event::FieldChanged(field, old, new.clone()), |row| {
        row.values.retain(|(known, _)| *known != field);
        row.values.push((field, new));
    });
    done(Kind::Task, id, world.gid(Kind::CustomField, field).to_string())
}

fn attach(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let parent = match rng.once_in(5) {
        true => Parent::Project(some_project(world, rng)?),
        false => Parent::Task(some_task(world, rng)?),
    };
    let id = world.attach(parent, hand);
    done(Kind::Attachment, id, "")
}

fn detach(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let ours = |id: u32| {
        world.attachment(id, LATEST).is_some_and(|row| match row.parent {
            Parent::Task(id) => world.task(id, LATEST).is_some_and(|row| row.workspace == ORGANIZATION),
            Parent::Project(_) => true,
        })
    };
    let id = draw(rng, world.index.attachments, ours)?;
    world.detach(id, hand);
    done(Kind::Attachment, id, "")
}

fn delete(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let count = world.descent(id).len();
    world.trash_task(id, hand);
    done(Kind::Task, id, format!("with {} subtasks", count - 1))
}

fn undelete(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    if world.trash.is_empty() {
        return None;
    }
    let place = rng.index(world.trash.len());
    let (id, _) = world.trash[place];
    undelete_one(world, id, hand)
}

/// Brings a task back, if it went to the trash by itself and its parent is not there.
pub(crate) fn undelete_one(world: &mut World, id: u32, hand: Hand) -> Outcome {
    let since = world.tasks.get(&id)?.gone_since()?;
    let parent = world.known_task(id, LATEST)?.parent;
    if parent.is_some_and(|parent| !world.is_live_task(parent, LATEST)) {
        return None;
    }
    world.trash.retain(|(known, _)| *known != id);
    world.untrash_task(id, since, hand);
    done(Kind::Task, id, "")
}

fn change_parent(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let old = world.task(id, LATEST)?.parent;
    if old.is_some() && rng.once_in(2) {
        world.set_parent(id, hand, None);
        return done(Kind::Task, id, "no longer a subtask");
    }
    let parent = some_task(world, rng)?;
    if old == Some(parent) || world.descent(id).contains(&parent) || depth(world, parent) > 3 {
        return None;
    }
    world.set_parent(id, hand, Some(parent));
    done(Kind::Task, id, format!("subtask of {}", world.gid(Kind::Task, parent)))
}

fn change_subtype(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_task(world, rng)?;
    let old = world.task(id, LATEST)?.subtype;
    let new = match old {
        "default_task" => "milestone",
        "milestone" => "approval",
        _ => "default_task",
    };
    world.change_task(id, hand, Event::SubtypeChanged(old, new), |row| {
        (row.subtype, row.custom_type) = (new, false);
    });
    done(Kind::Task, id, new)
}
