//! Projects, sections and tags.

use super::{View, each, maybe};
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, FULL, O, Object, Select};
use crate::text;
use crate::world::rows::Task;
use crate::world::rows::{Project, Status};

impl View<'_> {
    pub(super) fn project(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.projects.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::Project, id);
        let mut object = Object::record(out, select, gid, "project");
        object.text(C, "name", &row.name);
        if *select == Select::Compact {
            return object.end();
        }
        self.looks(row, &mut object);
        object.moment(F, "created_at", row.created_at);
        object.moment(F, "modified_at", row.modified_at);
        self.statuses(row.status.as_ref(), &mut object);
        object.nested(F, "custom_field_settings", FULL, |out, select| {
            let live = row.settings.iter().filter(|id| self.world.setting(**id, self.at).is_some());
            json::array(out, live, |out, id| self.setting(*id, select, out));
        });
        object.nested(F, "custom_fields", COMPACT, |out, select| {
            self.own_fields(Kind::Project, id, select, out)
        });
        object.maybe_day(F, "due_date", row.due_on);
        object.maybe_day(F, "due_on", row.due_on);
        object.maybe_day(F, "start_on", row.start_on);
        object.lazy(F, "notes", || row.notes.read());
        object.lazy(O, "html_notes", || text::html(&row.notes.read()).into());
        self.access(row, &mut object);
        object.flag(F, "completed", row.completed.is_some());
        object.maybe_moment(F, "completed_at", row.completed.map(|(at, _)| at));
        object.nested(F, "completed_by", COMPACT, |out, select| {
            maybe(self, Kind::User, row.completed.map(|(_, by)| by), select, out);
        });
        object.nested(O, "project_brief", COMPACT, |out, select| match row.brief {
            true => self.named(Kind::Brief, id, "", select, out),
            false => json::null(out),
        });
        object.nested(O, "created_from_template", COMPACT, |out, select| match row.template {
            true => self.named(Kind::Template, 0, "Packing list", select, out),
            false => json::null(out),
        });
        object.nested(F, "workspace", COMPACT, |out, select| self.workspace(row.workspace, select, out));
        object.lazy(F, "permalink_url", || self.link(row.workspace, "project", gid).into());
        object.end();
    }

    fn looks(&self, row: &Project, object: &mut Object<'_>) {
        object.flag(F, "archived", row.archived);
        object.maybe(F, "color", row.color);
        object.maybe(F, "icon", row.icon);
        object.text(F, "default_view", row.default_view);
    }

    fn access(&self, row: &Project, object: &mut Object<'_>) {
        object.flag(F, "public", row.privacy == "public_to_workspace");
        object.text(F, "privacy_setting", row.privacy);
        object.text(F, "default_access_level", row.access);
        object.text(F, "minimum_access_level_for_customization", row.customization);
        object.text(F, "minimum_access_level_for_sharing", row.sharing);
        object.nested(F, "members", COMPACT, |out, select| each(self, Kind::User, &row.members, select, out));
        object.nested(F, "followers", COMPACT, |out, select| {
            each(self, Kind::User, &row.followers, select, out)
        });
        object.nested(F, "owner", COMPACT, |out, select| maybe(self, Kind::User, row.owner, select, out));
        if let Some(team) = row.team {
            object.nested(F, "team", COMPACT, |out, select| self.team(team, select, out));
        }
    }

    /// The latest status, in its old form and its new one.
    fn statuses(&self, status: Option<&Status>, object: &mut Object<'_>) {
        object.nested(F, "current_status", FULL, |out, select| match status {
            Some(status) => self.status(status, select, out),
            None => json::null(out),
        });
        self.status_update("project_status_update", status, object);
    }

    fn status(&self, row: &Status, select: &Select, out: &mut Vec<u8>) {
        let gid = self.gid(Kind::Status, row.number);
        let mut object = Object::record(out, select, gid, "project_status");
        object.text(C, "title", &row.title);
        object.text(F, "text", &row.text);
        object.lazy(O, "html_text", || text::html(&row.text).into());
        object.text(F, "color", row.color);
        object.nested(F, "author", COMPACT, |out, select| self.user(row.author, select, out));
        object.nested(F, "created_by", COMPACT, |out, select| self.user(row.author, select, out));
        object.moment(F, "created_at", row.at);
        object.moment(F, "modified_at", row.at);
        object.end();
    }

    /// `current_status_update`: just its title.
    pub(super) fn status_update(&self, subtype: &str, status: Option<&Status>, object: &mut Object<'_>) {
        object.nested(F, "current_status_update", COMPACT, |out, select| match status {
            Some(row) => {
                let gid = self.gid(Kind::Status, row.number);
                let mut object = Object::record(out, select, gid, "status_update");
                object.text(C, "title", &row.title);
                object.text(C, "resource_subtype", subtype);
                object.end();
            }
            None => json::null(out),
        });
    }

    pub(super) fn section(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.sections.known(id, self.at) else { return json::null(out) };
        let mut object = Object::record(out, select, self.gid(Kind::Section, id), "section");
        object.text(C, "name", &row.name);
        object.moment(F, "created_at", row.created_at);
        object.nested(F, "project", COMPACT, |out, select| self.project(row.project, select, out));
        object.nested(F, "projects", COMPACT, |out, select| {
            each(self, Kind::Project, &[row.project], select, out)
        });
        object.end();
    }

    pub(super) fn tag(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.tags.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::Tag, id);
        let mut object = Object::record(out, select, gid, "tag");
        object.text(C, "name", &row.name);
        object.maybe(F, "color", row.color);
        object.text(F, "notes", &row.notes);
        object.moment(F, "created_at", row.created_at);
        object.nested(F, "followers", COMPACT, |out, select| {
            each(self, Kind::User, &row.followers, select, out)
        });
        object.nested(F, "workspace", COMPACT, |out, select| self.workspace(row.workspace, select, out));
        object.lazy(F, "permalink_url", || format!("https://app.asana.com/0/{gid}/list").into());
        object.end();
    }
}

/// Writes how many tasks a project has: opt-in fields, every one.
pub(crate) fn task_counts(view: &View<'_>, project: u32, select: &Select, out: &mut Vec<u8>) {
    let tasks = view.world.project_tasks(project);
    let rows: Vec<_> = tasks.iter().filter_map(|id| view.world.task(*id, view.at)).collect();
    let count = |want: &dyn Fn(&Task) -> bool| rows.iter().filter(|row| want(row)).count();
    let milestone = |row: &Task| row.subtype == "milestone";
    let mut object = Object::plain(out, select);
    object.count(O, "num_tasks", rows.len());
    object.count(O, "num_incomplete_tasks", count(&|row| row.completed.is_none()));
    object.count(O, "num_completed_tasks", count(&|row| row.completed.is_some()));
    object.count(O, "num_milestones", count(&milestone));
    object.count(O, "num_incomplete_milestones", count(&|row| milestone(row) && row.completed.is_none()));
    object.count(O, "num_completed_milestones", count(&|row| milestone(row) && row.completed.is_some()));
    object.end();
}
