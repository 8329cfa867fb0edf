//! The organization, its people and its teams.

use crate::resources::columns::{
    Column, GID, Shape, TYPE, VALUES, boolean, column, date, group, groups, many, one, text, timestamp, word,
};
use crate::resources::{Key, Listing, ParentOf, Resource};

/// Reasons that several resources share.
pub(super) const SIGNED: &str = "may be signed: a secret, and different on every read";
pub(super) const OWN_TABLE: &str = "a copy of what its own table holds";

/// The organization itself; other workspaces of the token are not its business.
pub(super) static WORKSPACES: Resource = Resource {
    table: "workspaces",
    resource_type: Some("workspace"),
    single: Some("/workspaces/{gid}"),
    single_operation: "getWorkspace",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: false,
    columns: &[GID, TYPE, text("name"), column("email_domains", Shape::Texts), boolean("is_organization")],
    never: &[],
    listings: &[Listing::root("getWorkspace", "/workspaces/{organization}", &[]).essential().whole()],
};

pub(super) static USERS: Resource = Resource {
    table: "users",
    resource_type: Some("user"),
    single: Some("/users/{gid}"),
    single_operation: "getUser",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: true,
    columns: &[GID, TYPE, text("name"), text("email"), many("workspaces"), groups("custom_fields", VALUES)],
    never: &[("photo", SIGNED), ("custom_fields", OWN_TABLE)],
    // Not /workspaces/{gid}/users: it stops at 2,000 without telling.
    listings: &[Listing::root("getUsers", "/users", &[("workspace", "{organization}")]).essential()],
};

pub(super) static WORKSPACE_MEMBERSHIPS: Resource = Resource {
    table: "workspace_memberships",
    resource_type: Some("workspace_membership"),
    single: Some("/workspace_memberships/{gid}"),
    single_operation: "getWorkspaceMembership",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: false,
    columns: &[
        GID,
        TYPE,
        one("user"),
        one("workspace"),
        column(
            "user_task_list",
            Shape::Reference(&[
                "resource_type",
                "name",
                "owner.resource_type",
                "owner.name",
                "workspace.resource_type",
                "workspace.name",
            ]),
        ),
        boolean("is_active"),
        boolean("is_admin"),
        boolean("is_guest"),
        boolean("is_view_only"),
        group("vacation_dates", &[date("start_on"), date("end_on")]),
        timestamp("created_at"),
    ],
    never: &[],
    listings: &[Listing::root(
        "getWorkspaceMembershipsForWorkspace",
        "/workspaces/{organization}/workspace_memberships",
        &[],
    )],
};

/// Settings of custom fields where no table of their own lists them.
pub(super) const SETTINGS: &[Column] =
    &[GID, TYPE, boolean("is_important"), one("custom_field"), one("parent"), one("project")];

pub(super) static TEAMS: Resource = Resource {
    table: "teams",
    resource_type: Some("team"),
    single: Some("/teams/{gid}"),
    single_operation: "getTeam",
    key: Key::Gid,
    parent: ParentOf::Organization,
    goes_with_parent: false,
    followed: true,
    columns: &[
        GID,
        TYPE,
        text("name"),
        text("description"),
        text("html_description"),
        one("organization"),
        text("permalink_url"),
        word("visibility"),
        word("edit_team_name_or_description_access_level"),
        word("edit_team_visibility_or_trash_team_access_level"),
        word("member_invite_management_access_level"),
        word("guest_invite_management_access_level"),
        word("join_request_management_access_level"),
        word("team_member_removal_access_level"),
        word("team_content_management_access_level"),
        boolean("endorsed"),
        groups("custom_field_settings", SETTINGS),
    ],
    never: &[("custom_field_settings.custom_field", OWN_TABLE)],
    listings: &[Listing::root("getTeamsForWorkspace", "/workspaces/{organization}/teams", &[]).essential()],
};

pub(super) static TEAM_MEMBERSHIPS: Resource = Resource {
    table: "team_memberships",
    resource_type: Some("team_membership"),
    single: Some("/team_memberships/{gid}"),
    single_operation: "getTeamMembership",
    key: Key::Gid,
    parent: ParentOf::Field("team"),
    goes_with_parent: true,
    followed: false,
    columns: &[
        GID,
        TYPE,
        one("user"),
        one("team"),
        boolean("is_guest"),
        boolean("is_limited_access"),
        boolean("is_admin"),
    ],
    never: &[],
    listings: &[Listing::below("teams", "getTeamMembershipsForTeam", "/teams/{gid}/team_memberships", &[])],
};
