//! Tasks.

use super::{Ref, View, each, maybe};
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, FULL, O, Object, Select};
use crate::random::mix;
use crate::text;
use crate::world::rows::{Due, Task};

impl View<'_> {
    pub(super) fn task(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.known_task(id, self.at) else { return json::null(out) };
        let row = row.as_ref();
        let gid = self.gid(Kind::Task, id);
        let mut object = Object::record(out, select, gid, "task");
        object.lazy(C, "name", || row.name.read());
        object.text(C, "resource_subtype", row.subtype);
        object.nested(O, "created_by", COMPACT, |out, select| {
            self.bare(Kind::User, row.created_by, select, out)
        });
        self.progress(row, &mut object);
        object.moment(F, "created_at", row.created_at);
        object.moment(F, "modified_at", row.modified_at);
        self.schedule(row, &mut object);
        object.lazy(F, "notes", || row.notes.read());
        object.lazy(O, "html_notes", || text::html(&row.notes.read()).into());
        self.hearts(Kind::Task, id, &row.likes, &mut object);
        self.family(row, &mut object);
        self.places(id, row, &mut object);
        object.value(F, "actual_time_minutes", |out| match row.actual_minutes {
            Some(minutes) => json::integer(out, i64::from(minutes)),
            None => json::null(out),
        });
        self.custom_type(row, &mut object);
        object.flag(O, "is_rendered_as_separator", row.separator);
        if row.external {
            object.nested(O, "external", FULL, |out, select| {
                let mut object = Object::plain(out, select);
                object.lazy(C, "gid", || format!("ext-{id}").into());
                object.lazy(C, "data", || format!("{{\"order\":{id},\"note\":\"a blob of ours\"}}").into());
                object.end();
            });
        }
        object.lazy(F, "permalink_url", || self.link(row.workspace, "task", gid).into());
        object.end();
    }

    /// Who does it and how far it is.
    fn progress(&self, row: &Task, object: &mut Object<'_>) {
        if row.subtype == "approval" {
            object.text(F, "approval_status", row.approval);
        }
        object
            .nested(F, "assignee", COMPACT, |out, select| maybe(self, Kind::User, row.assignee, select, out));
        object.text(F, "assignee_status", row.assignee_status);
        // Shown to the assignee alone, says the description of the field.
        if row.assignee == Some(self.me) {
            let place =
                ["new", "today", "upcoming", "later"].iter().position(|name| *name == row.assignee_status);
            object.nested(F, "assignee_section", COMPACT, |out, select| {
                let place = place.unwrap_or(0);
                let name = ["Recently assigned", "Do today", "Do next week", "Do later"][place];
                self.named(Kind::UserSection, self.me * 4 + place as u32, name, select, out);
            });
        }
        object.nested(O, "assigned_by", COMPACT, |out, select| {
            maybe(self, Kind::User, row.assigned_by, select, out)
        });
        object.flag(F, "completed", row.completed.is_some());
        object.maybe_moment(F, "completed_at", row.completed.map(|(at, _)| at));
        object.nested(F, "completed_by", COMPACT, |out, select| {
            maybe(self, Kind::User, row.completed.map(|(_, by)| by), select, out);
        });
    }

    fn schedule(&self, row: &Task, object: &mut Object<'_>) {
        object.maybe_day(F, "due_on", row.due.map(|due| due.day));
        object.maybe_moment(F, "due_at", row.due.and_then(|due| due.at));
        object.maybe_day(F, "start_on", row.start.map(|start| start.day));
        object.maybe_moment(F, "start_at", row.start.and_then(|start| start.at));
    }

    /// Likes, under their old name too.
    pub(super) fn hearts(&self, kind: Kind, id: u32, likes: &[u32], object: &mut Object<'_>) {
        let liked = likes.contains(&self.me);
        for (flag, list, count) in [("hearted", "hearts", "num_hearts"), ("liked", "likes", "num_likes")] {
            object.flag(F, flag, liked);
            object.nested(F, list, FULL, |out, select| {
                json::array(out, likes, |out, user| self.like(kind, id, *user, select, out));
            });
            object.count(F, count, likes.len());
        }
    }

    fn like(&self, kind: Kind, id: u32, user: u32, select: &Select, out: &mut Vec<u8>) {
        let key = mix(u64::from(id), kind as u64, u64::from(user)) % 9_000_000_000;
        let gid = crate::gid::gid(self.world.seed, Kind::Like, key);
        let mut object = Object::untyped(out, select, gid);
        object.nested(C, "user", COMPACT, |out, select| self.user(user, select, out));
        object.end();
    }

    /// Subtasks, parent, dependencies.
    fn family(&self, row: &Task, object: &mut Object<'_>) {
        object.nested(O, "dependencies", COMPACT, |out, select| self.ends(&row.dependencies, select, out));
        object.nested(O, "dependents", COMPACT, |out, select| self.ends(&row.dependents, select, out));
        object.value(O, "num_subtasks", |out| {
            let live = row.subtasks.iter().filter(|id| self.world.is_live_task(**id, self.at));
            json::integer(out, live.count() as i64);
        });
        object.nested(F, "parent", COMPACT, |out, select| maybe(self, Kind::Task, row.parent, select, out));
    }

    /// The other ends of dependencies: gid and type alone, unless more is asked of them.
    fn ends(&self, ids: &[u32], select: &Select, out: &mut Vec<u8>) {
        let live = ids.iter().filter(|id| self.world.is_live_task(**id, self.at));
        json::array(out, live, |out, id| self.bare(Kind::Task, *id, select, out));
    }

    /// A record by gid and type alone, unless more is asked of it.
    fn bare(&self, kind: Kind, id: u32, select: &Select, out: &mut Vec<u8>) {
        match select {
            Select::Only { names, .. } if !names.is_empty() => self.record(Ref { kind, id }, select, out),
            _ => self.named(kind, id, "", select, out),
        }
    }

    /// Where it is: projects, sections, tags, people, custom fields.
    fn places(&self, id: u32, row: &Task, object: &mut Object<'_>) {
        let world = self.world;
        object.nested(F, "followers", COMPACT, |out, select| {
            each(self, Kind::User, &row.followers, select, out)
        });
        object.nested(F, "memberships", FULL, |out, select| {
            json::array(out, world.memberships(row, self.at), |out, (project, section)| {
                let mut object = Object::plain(out, select);
                object.nested(C, "project", COMPACT, |out, select| self.project(project, select, out));
                object.nested(C, "section", COMPACT, |out, select| self.section(section, select, out));
                object.end();
            });
        });
        object.nested(F, "projects", COMPACT, |out, select| {
            json::array(out, world.memberships(row, self.at), |out, (project, _)| {
                self.project(project, select, out)
            });
        });
        object.nested(F, "tags", COMPACT, |out, select| {
            let live = row.tags.iter().filter(|id| world.tags.live(**id, self.at).is_some());
            json::array(out, live, |out, id| self.tag(*id, select, out));
        });
        object.nested(F, "custom_fields", FULL, |out, select| {
            json::array(out, self.fields_of(row), |out, field| self.field_value(id, row, field, select, out));
        });
        object.nested(F, "workspace", COMPACT, |out, select| self.workspace(row.workspace, select, out));
    }

    /// The custom fields of a task: those of its projects, each once.
    pub(crate) fn fields_of(&self, row: &Task) -> Vec<u32> {
        let mut fields = Vec::new();
        for (project, _) in self.world.memberships(row, self.at) {
            let settings = self.world.projects.live(project, self.at).map_or(&[][..], |row| &row.settings);
            for setting in settings.iter().filter_map(|id| self.world.setting(*id, self.at)) {
                if !fields.contains(&setting.field) {
                    fields.push(setting.field);
                }
            }
        }
        fields
    }

    fn custom_type(&self, row: &Task, object: &mut Object<'_>) {
        object.nested(F, "custom_type", COMPACT, |out, select| match row.custom_type {
            true => self.named(Kind::CustomType, 0, "Bug ticket", select, out),
            false => json::null(out),
        });
        object.nested(F, "custom_type_status_option", COMPACT, |out, select| match row.custom_type {
            true if row.completed.is_some() => self.named(Kind::StatusOption, 1, "Solved", select, out),
            true => self.named(Kind::StatusOption, 0, "Solution pending", select, out),
            false => json::null(out),
        });
    }

    /// A task under its name alone: what a reference field holds.
    pub(super) fn named_task(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        match (select, self.world.known_task(id, self.at)) {
            (Select::Compact | Select::Only { compact: true, .. }, Some(row)) => {
                let mut object = Object::record(out, select, self.gid(Kind::Task, id), "task");
                object.lazy(C, "name", || row.name.read());
                object.end();
            }
            (_, Some(_)) => self.task(id, select, out),
            (_, None) => json::null(out),
        }
    }

    /// Dates as stories show them; `due_on` is left out with a time, since it may not be null.
    pub(super) fn dates(&self, due: Option<Due>, select: &Select, out: &mut Vec<u8>) {
        let mut object = Object::plain(out, select);
        object.maybe_day(C, "start_on", None);
        object.maybe_moment(C, "due_at", due.and_then(|due| due.at));
        if let Some(due) = due {
            object.maybe_day(C, "due_on", Some(due.day));
        }
        object.end();
    }
}
