//! Workspaces, users, teams and their memberships.

use super::{View, each};
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, FULL, O, Object, Select};
use crate::random::mix;
use crate::text;
use crate::world::rows::{ORGANIZATION, PERSONAL};

const PHOTOS: &[&str] =
    &["image_21x21", "image_27x27", "image_36x36", "image_60x60", "image_128x128", "image_1024x1024"];
const MEMBER_SETTINGS: &[&str] = &[
    "edit_team_name_or_description_access_level",
    "edit_team_visibility_or_trash_team_access_level",
    "member_invite_management_access_level",
    "guest_invite_management_access_level",
    "join_request_management_access_level",
    "team_member_removal_access_level",
];

impl View<'_> {
    pub(super) fn workspace(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.workspaces.known(id, self.at) else { return json::null(out) };
        let mut object = Object::record(out, select, self.gid(Kind::Workspace, id), "workspace");
        object.text(C, "name", &row.name);
        object.value(F, "email_domains", |out| {
            json::array(out, &row.email_domains, |out, text| json::string(out, text))
        });
        object.flag(F, "is_organization", row.is_organization);
        object.end();
    }

    pub(super) fn user(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.users.known(id, self.at) else { return json::null(out) };
        let mut object = Object::record(out, select, self.gid(Kind::User, id), "user");
        object.text(C, "name", &row.name);
        object.text(F, "email", &row.email);
        object.nested(F, "photo", FULL, |out, select| match row.photo {
            true => self.photo(id, select, out),
            false => json::null(out),
        });
        object.nested(F, "workspaces", COMPACT, |out, select| {
            let organization = row.active || id == self.world.robot;
            let mine = [(ORGANIZATION, organization), (PERSONAL, row.personal)];
            let mine: Vec<u32> = mine.into_iter().filter(|(_, mine)| *mine).map(|(id, _)| id).collect();
            each(self, Kind::Workspace, &mine, select, out);
        });
        object
            .nested(F, "custom_fields", COMPACT, |out, select| self.own_fields(Kind::User, id, select, out));
        object.end();
    }

    fn photo(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let key = mix(self.world.seed, 0x9407, u64::from(id));
        let mut object = Object::plain(out, select);
        for name in PHOTOS {
            let size = name.trim_start_matches("image_");
            object.lazy(C, name, || {
                format!("https://s3.amazonaws.com/profile_photos/{key:016x}_{size}.png").into()
            });
        }
        object.end();
    }

    pub(super) fn workspace_membership(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.users.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::WorkspaceMembership, id);
        let mut object = Object::record(out, select, gid, "workspace_membership");
        object.nested(C, "user", COMPACT, |out, select| self.user(id, select, out));
        object.nested(C, "workspace", COMPACT, |out, select| self.workspace(ORGANIZATION, select, out));
        object.nested(F, "user_task_list", FULL, |out, select| self.user_task_list(id, select, out));
        object.flag(F, "is_active", row.active);
        object.flag(F, "is_admin", row.admin);
        object.flag(F, "is_guest", row.guest);
        object.flag(F, "is_view_only", row.view_only);
        object.nested(F, "vacation_dates", FULL, |out, select| match row.vacation {
            Some((from, to)) => {
                let mut object = Object::plain(out, select);
                object.maybe_day(C, "start_on", Some(from));
                object.maybe_day(C, "end_on", to);
                object.end();
            }
            None => json::null(out),
        });
        object.moment(F, "created_at", row.joined.unwrap_or_default());
        object.end();
    }

    pub(super) fn user_task_list(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let gid = self.gid(Kind::UserTaskList, id);
        let workspace = self.world.workspaces.known(ORGANIZATION, self.at).map_or("", |row| &row.name);
        let mut object = Object::record(out, select, gid, "user_task_list");
        object.lazy(C, "name", || format!("My tasks in {workspace}").into());
        object.nested(C, "owner", COMPACT, |out, select| self.user(id, select, out));
        object.nested(C, "workspace", COMPACT, |out, select| self.workspace(ORGANIZATION, select, out));
        object.end();
    }

    pub(super) fn team(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.teams.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::Team, id);
        let mut object = Object::record(out, select, gid, "team");
        object.text(C, "name", &row.name);
        object.text(O, "description", &row.description);
        object.lazy(O, "html_description", || text::html(&row.description).into());
        object.nested(F, "organization", COMPACT, |out, select| self.workspace(ORGANIZATION, select, out));
        object.lazy(F, "permalink_url", || format!("https://app.asana.com/0/{gid}/overview").into());
        object.text(F, "visibility", row.visibility);
        for (place, name) in MEMBER_SETTINGS.iter().enumerate() {
            let only_admins = row.only_admins & (1 << place) != 0;
            object.text(F, name, if only_admins { "only_team_admins" } else { "all_team_members" });
        }
        let content = if row.only_admins & 64 != 0 { "only_team_admins" } else { "no_restriction" };
        object.text(F, "team_content_management_access_level", content);
        object.flag(F, "endorsed", row.endorsed);
        object.value(F, "custom_field_settings", |out| out.extend_from_slice(b"[]"));
        object.end();
    }

    pub(super) fn team_membership(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.team_memberships.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::TeamMembership, id);
        let mut object = Object::record(out, select, gid, "team_membership");
        object.nested(C, "user", COMPACT, |out, select| self.user(row.user, select, out));
        object.nested(C, "team", COMPACT, |out, select| self.team(row.team, select, out));
        object.flag(C, "is_guest", row.guest);
        object.flag(C, "is_limited_access", row.limited);
        object.flag(C, "is_admin", row.admin);
        object.end();
    }
}
