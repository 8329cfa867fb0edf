//! The operations the simulator plays, by the names the OpenAPI description gives them.

use super::{Answer, Call, Refusal, lists, search, singles};
use crate::events::answer as events;
use crate::gid::Kind;

/// One operation.
pub(crate) struct Route {
    /// Its `operationId`.
    pub(crate) operation: &'static str,
    /// Its path below `/api/1.0`, with `{}` for each gid.
    pub(crate) path: &'static str,
    /// What it answers.
    pub(crate) answer: fn(&Call<'_>) -> Result<Answer, Refusal>,
}

const fn route(
    operation: &'static str,
    path: &'static str,
    answer: fn(&Call<'_>) -> Result<Answer, Refusal>,
) -> Route {
    Route { operation, path, answer }
}

/// All of them.
pub(crate) const ROUTES: &[Route] = &[
    route("getWorkspaces", "/workspaces", lists::workspaces),
    route("getWorkspace", "/workspaces/{}", |call| singles::one(call, Kind::Workspace)),
    route("getUsers", "/users", lists::users),
    route("getUser", "/users/{}", |call| singles::one(call, Kind::User)),
    route("getUsersForWorkspace", "/workspaces/{}/users", lists::users_of_workspace),
    route("getUserForWorkspace", "/workspaces/{}/users/{}", singles::user_of_workspace),
    route("getUsersForTeam", "/teams/{}/users", lists::users_of_team),
    route(
        "getWorkspaceMembershipsForWorkspace",
        "/workspaces/{}/workspace_memberships",
        lists::memberships_of_workspace,
    ),
    route("getWorkspaceMembershipsForUser", "/users/{}/workspace_memberships", lists::memberships_of_user),
    route("getWorkspaceMembership", "/workspace_memberships/{}", |call| {
        singles::one(call, Kind::WorkspaceMembership)
    }),
    route("getTeamsForWorkspace", "/workspaces/{}/teams", lists::teams_of_workspace),
    route("getTeamsForUser", "/users/{}/teams", lists::teams_of_user),
    route("getTeam", "/teams/{}", |call| singles::one(call, Kind::Team)),
    route("getTeamMemberships", "/team_memberships", lists::memberships),
    route("getTeamMembership", "/team_memberships/{}", |call| singles::one(call, Kind::TeamMembership)),
    route("getTeamMembershipsForTeam", "/teams/{}/team_memberships", lists::memberships_of_team),
    route("getTeamMembershipsForUser", "/users/{}/team_memberships", lists::team_memberships_of_user),
    route("getProjects", "/projects", lists::projects),
    route("getProject", "/projects/{}", |call| singles::one(call, Kind::Project)),
    route("getProjectsForWorkspace", "/workspaces/{}/projects", lists::projects_of_workspace),
    route("getProjectsForTeam", "/teams/{}/projects", lists::projects_of_team),
    route("getSectionsForProject", "/projects/{}/sections", lists::sections),
    route("getSection", "/sections/{}", |call| singles::one(call, Kind::Section)),
    route("getTasks", "/tasks", lists::tasks),
    route("getTask", "/tasks/{}", |call| singles::one(call, Kind::Task)),
    route("getTasksForProject", "/projects/{}/tasks", lists::tasks_of_project),
    route("getTasksForSection", "/sections/{}/tasks", lists::tasks_of_section),
    route("getTasksForTag", "/tags/{}/tasks", lists::tasks_of_tag),
    route("getTasksForUserTaskList", "/user_task_lists/{}/tasks", lists::tasks_of_list),
    route("getSubtasksForTask", "/tasks/{}/subtasks", lists::subtasks),
    route("getDependenciesForTask", "/tasks/{}/dependencies", |call| lists::dependencies(call, false)),
    route("getDependentsForTask", "/tasks/{}/dependents", |call| lists::dependencies(call, true)),
    route("getProjectsForTask", "/tasks/{}/projects", lists::projects_of_task),
    route("getTagsForTask", "/tasks/{}/tags", lists::tags_of_task),
    route("getStoriesForTask", "/tasks/{}/stories", lists::stories),
    route("getStory", "/stories/{}", |call| singles::one(call, Kind::Story)),
    route("getAttachmentsForObject", "/attachments", lists::attachments),
    route("getAttachment", "/attachments/{}", |call| singles::one(call, Kind::Attachment)),
    route("getTags", "/tags", lists::tags),
    route("getTagsForWorkspace", "/workspaces/{}/tags", lists::tags_of_workspace),
    route("getTag", "/tags/{}", |call| singles::one(call, Kind::Tag)),
    route("getCustomFieldsForWorkspace", "/workspaces/{}/custom_fields", lists::fields),
    route("getCustomField", "/custom_fields/{}", |call| singles::one(call, Kind::CustomField)),
    route("getCustomFieldSettingsForProject", "/projects/{}/custom_field_settings", lists::settings),
    route("getTaskCountsForProject", "/projects/{}/task_counts", singles::task_counts),
    route("getPortfolios", "/portfolios", lists::portfolios),
    route("getPortfolio", "/portfolios/{}", |call| singles::one(call, Kind::Portfolio)),
    route("getItemsForPortfolio", "/portfolios/{}/items", lists::items),
    route("getUserTaskListForUser", "/users/{}/user_task_list", singles::user_task_list),
    route("getUserTaskList", "/user_task_lists/{}", |call| singles::one(call, Kind::UserTaskList)),
    route("getEvents", "/events", events::of_resource),
    route("getWorkspaceEvents", "/workspaces/{}/events", events::of_workspace),
    route("getAuditLogEvents", "/workspaces/{}/audit_log_events", lists::audit_log),
    route("searchTasksForWorkspace", SEARCH, search::tasks),
];

/// The path of task search, which has a limit of its own.
pub(crate) const SEARCH: &str = "/workspaces/{}/tasks/search";

/// The operation at a path, and what stands in its braces.
pub(crate) fn find(path: &str) -> Option<(&'static Route, Vec<&str>)> {
    ROUTES.iter().find_map(|route| Some((route, matched(route.path, path)?)))
}

fn matched<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut args = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(args),
            (Some("{}"), Some(part)) if !part.is_empty() => args.push(part),
            (Some(want), Some(part)) if want == part => {}
            _ => return None,
        }
    }
}
