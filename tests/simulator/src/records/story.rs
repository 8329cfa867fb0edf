//! Stories: comments, and the lines that Asana writes itself.
//!
//! Rule: the text of a system story is made when it is read, so it shows the names of today; Asana calls it "not
//! guaranteed to be stable".

use super::View;
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, FULL, O, Object, Select};
use crate::random::mix;
use crate::text;
use crate::world::rows::{Due, Event, Story};

const EMOJI: &[(&str, &str)] = &[("👍", "👍🏼"), ("🎉", "🎉"), ("👎", "👎🏿")];

impl View<'_> {
    pub(super) fn story(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.story(id, self.at) else { return json::null(out) };
        let row = row.as_ref();
        let comment = matches!(row.event, Event::Comment(_));
        let mut object = Object::record(out, select, self.gid(Kind::Story, id), "story");
        object.moment(C, "created_at", row.at);
        object.nested(C, "created_by", COMPACT, |out, select| self.user(row.by, select, out));
        object.text(C, "resource_subtype", self.subtype(row));
        object.lazy(C, "text", || self.story_text(row).into());
        if *select == Select::Compact {
            return object.end();
        }
        object.lazy(O, "html_text", || text::html(&self.story_text(row)).into());
        object.text(F, "type", if comment { "comment" } else { "system" });
        object.flag(F, "is_pinned", row.pinned);
        object.flag(F, "is_editable", comment && row.by == self.me);
        object.flag(F, "is_edited", row.edited);
        if let Some(sticker) = row.sticker {
            object.text(F, "sticker_name", sticker);
        }
        self.hearts(Kind::Story, id, &row.likes, &mut object);
        self.reactions(row, &mut object);
        if comment {
            self.previews(row, &mut object);
        }
        self.subject(row, &mut object);
        object.text(F, "source", row.source);
        object.nested(F, "target", COMPACT, |out, select| self.task(row.task, select, out));
        object.end();
    }

    fn reactions(&self, row: &Story, object: &mut Object<'_>) {
        object.nested(F, "reaction_summary", FULL, |out, select| {
            let shown = EMOJI.iter().take(usize::from(row.reactions)).enumerate();
            json::array(out, shown, |out, (place, (base, variant))| {
                let mut object = Object::plain(out, select);
                object.text(C, "emoji_base", base);
                object.text(C, "variant", variant);
                object.count(C, "count", 1 + place);
                object.flag(C, "reacted", false);
                object.end();
            });
        });
    }

    fn previews(&self, row: &Story, object: &mut Object<'_>) {
        const PARTS: &[(&str, &str)] = &[
            ("fallback", "Greg: Great! I like this idea."),
            ("footer", "Mar 17, 2026 1:25 PM"),
            ("header", "Asana for Slack"),
            ("header_link", "https://asana.com/apps/slack"),
            ("html_text", "<body>Great! I like this idea.</body>"),
            ("text", "Great! I like this idea."),
            ("title", "Greg"),
            ("title_link", "https://asana.slack.com/archives/ABCDEFG/12345678"),
        ];
        object.nested(F, "previews", FULL, |out, select| {
            json::array(out, row.preview.then_some(()), |out, ()| {
                let mut object = Object::plain(out, select);
                for (name, text) in PARTS {
                    object.text(C, name, text);
                }
                object.end();
            });
        });
    }

    /// What a system story is about: the fields of its subtype, and no others.
    fn subject(&self, row: &Story, object: &mut Object<'_>) {
        match &row.event {
            Event::Renamed(old, new) => {
                object.lazy(F, "old_name", || old.read());
                object.lazy(F, "new_name", || new.read());
            }
            Event::DueChanged(old, new) => {
                self.story_dates("old_dates", *old, object);
                self.story_dates("new_dates", *new, object);
            }
            Event::Assigned(user) => self.person("assignee", *user, object),
            Event::Unassigned(user) => self.person("assignee", *user, object),
            Event::FollowerAdded(user) => self.person("follower", *user, object),
            Event::Moved(old, new) => {
                object.nested(F, "old_section", COMPACT, |out, select| self.section(*old, select, out));
                object.nested(F, "new_section", COMPACT, |out, select| self.section(*new, select, out));
            }
            Event::AddedToProject(id) | Event::RemovedFromProject(id) => {
                object.nested(F, "project", COMPACT, |out, select| self.project(*id, select, out));
            }
            Event::Tagged(id) | Event::Untagged(id) => {
                object.nested(F, "tag", COMPACT, |out, select| self.tag(*id, select, out));
            }
            Event::DependencyAdded(id) | Event::DependentAdded(id) => self.other("dependency", *id, object),
            Event::SubtaskAdded(id) | Event::AddedToTask(id) => self.other("task", *id, object),
            Event::Duplicated(id) => self.other("duplicated_from", *id, object),
            Event::MarkedDuplicate(id) => self.other("duplicate_of", *id, object),
            Event::SubtypeChanged(old, new) => {
                object.text(F, "old_resource_subtype", old);
                object.text(F, "new_resource_subtype", new);
            }
            Event::ApprovalChanged(old, new) => {
                object.text(F, "old_approval_status", old);
                object.text(F, "new_approval_status", new);
            }
            Event::FieldChanged(field, old, new) => self.changed(*field, (old, new), object),
            Event::CommentLiked(story) => object.nested(F, "story", COMPACT, |out, select| {
                self.story(*story, select, out);
            }),
            Event::Comment(_)
            | Event::Completed
            | Event::Reopened
            | Event::NotesChanged
            | Event::Liked
            | Event::AttachmentAdded => {}
        }
    }

    fn story_dates(&self, name: &str, due: Option<Due>, object: &mut Object<'_>) {
        object.nested(F, name, FULL, |out, select| self.dates(due, select, out));
    }

    fn person(&self, name: &str, id: u32, object: &mut Object<'_>) {
        object.nested(F, name, COMPACT, |out, select| self.user(id, select, out));
    }

    fn other(&self, name: &str, id: u32, object: &mut Object<'_>) {
        object.nested(F, name, COMPACT, |out, select| self.task(id, select, out));
    }

    fn subtype(&self, row: &Story) -> &'static str {
        use crate::world::rows::Value;
        match &row.event {
            Event::Comment(_) => "comment_added",
            Event::Assigned(_) => "assigned",
            Event::Unassigned(_) => "unassigned",
            Event::Completed => "marked_complete",
            Event::Reopened => "marked_incomplete",
            Event::Renamed(..) => "name_changed",
            Event::NotesChanged => "notes_changed",
            Event::DueChanged(..) => "due_date_changed",
            Event::Moved(..) => "section_changed",
            Event::AddedToProject(_) => "added_to_project",
            Event::RemovedFromProject(_) => "removed_from_project",
            Event::Tagged(_) => "added_to_tag",
            Event::Untagged(_) => "removed_from_tag",
            Event::FollowerAdded(_) => "follower_added",
            Event::Liked => "liked",
            Event::DependencyAdded(_) => "dependency_added",
            Event::DependentAdded(_) => "dependent_added",
            Event::SubtaskAdded(_) => "subtask_added",
            Event::AttachmentAdded => "attachment_added",
            Event::Duplicated(_) => "duplicated",
            Event::SubtypeChanged(..) => "resource_subtype_changed",
            Event::ApprovalChanged(..) => "approval_status_changed",
            Event::CommentLiked(_) => "comment_liked",
            Event::MarkedDuplicate(_) => "marked_duplicate",
            Event::AddedToTask(_) => "added_to_task",
            Event::FieldChanged(_, old, new) => match if *new == Value::Empty { old } else { new } {
                Value::Number(_) => "number_custom_field_changed",
                Value::Choice(_) => "enum_custom_field_changed",
                Value::Choices(_) => "multi_enum_custom_field_changed",
                Value::Date(..) => "date_custom_field_changed",
                Value::People(_) => "people_custom_field_changed",
                Value::Tasks(_) => "reference_custom_field_changed",
                Value::Text(_) | Value::Empty => "text_custom_field_changed",
            },
        }
    }

    fn story_text(&self, row: &Story) -> String {
        let world = self.world;
        let user = |id: u32| world.users.known(id, self.at).map_or("somebody", |user| &user.name);
        let project = |id: u32| world.projects.known(id, self.at).map_or("a project", |row| &row.name);
        let section = |id: u32| world.sections.known(id, self.at).map_or("a section", |row| &row.name);
        let tag = |id: u32| world.tags.known(id, self.at).map_or("a tag", |row| &row.name);
        let task = |id: u32| {
            world
                .known_task(id, self.at)
                .map_or_else(|| "a task".to_owned(), |row| row.name.read().into_owned())
        };
        match &row.event {
            Event::Comment(text) => text.read().into_owned(),
            Event::Assigned(id) => format!("assigned to {}", user(*id)),
            Event::Unassigned(id) => format!("unassigned from {}", user(*id)),
            Event::Completed => "marked this task complete".into(),
            Event::Reopened => "marked this task incomplete".into(),
            Event::Renamed(_, new) => format!("changed the name to \"{}\"", new.read()),
            Event::NotesChanged => "changed the description".into(),
            Event::DueChanged(_, None) => "removed the due date".into(),
            Event::DueChanged(_, Some(due)) => {
                format!("changed the due date to {}", crate::time::day(due.day))
            }
            Event::Moved(old, new) => {
                format!("moved this task from \"{}\" to \"{}\"", section(*old), section(*new))
            }
            Event::AddedToProject(id) => format!("added to {}", project(*id)),
            Event::RemovedFromProject(id) => format!("removed from {}", project(*id)),
            Event::Tagged(id) => format!("added to {}", tag(*id)),
            Event::Untagged(id) => format!("removed from {}", tag(*id)),
            Event::FollowerAdded(id) => format!("added {} as a collaborator", user(*id)),
            Event::Liked => "liked this task".into(),
            Event::DependencyAdded(id) => format!("marked this as blocked by {}", task(*id)),
            Event::DependentAdded(id) => format!("marked this as blocking {}", task(*id)),
            Event::SubtaskAdded(id) => format!("added subtask {}", task(*id)),
            Event::AttachmentAdded => {
                format!("attached file-{:04x}.png", mix(world.seed, 0xf11e, row.at as u64) as u16)
            }
            Event::Duplicated(id) => format!("duplicated this task from {}", task(*id)),
            Event::SubtypeChanged(_, new) => format!("changed this task to a {new}"),
            Event::ApprovalChanged(_, new) => format!("changed the approval to {new}"),
            Event::FieldChanged(field, ..) => {
                let name = world.fields.known(*field, self.at).map_or("a field", |row| &row.name);
                format!("changed {name}")
            }
            Event::CommentLiked(_) => "liked your comment".into(),
            Event::MarkedDuplicate(id) => format!("marked this task a duplicate of {}", task(*id)),
            Event::AddedToTask(id) => format!("made this a subtask of {}", task(*id)),
        }
    }
}
