//! Which records a list answers, and in what order.

use super::{Answer, Call, Refusal};
use crate::gid::Kind;
use crate::time::Ms;
use crate::world::rows::{ORGANIZATION, Parent};
use crate::world::tasks;

/// The most users that the listings without pages answer; they do not say that they stopped.
const USERS_WITHOUT_PAGES: usize = 2_000;

type Answered = Result<Answer, Refusal>;

/// `GET /workspaces`.
pub(crate) fn workspaces(call: &Call<'_>) -> Answered {
    Ok(Answer::Paged(Kind::Workspace, call.mine()))
}

fn members(call: &Call<'_>, workspaces: &[u32]) -> Vec<u32> {
    let (world, at) = (call.view.world, call.view.at);
    let member = |id: &u32| workspaces.iter().any(|workspace| world.is_member(*id, *workspace, at));
    world.users.ids(at).filter(|id| *id != world.robot).filter(member).collect()
}

fn team_users(call: &Call<'_>, team: u32) -> Vec<u32> {
    let (world, at) = (call.view.world, call.view.at);
    let rows = world.team_memberships.ids(at).filter_map(|id| world.team_memberships.live(id, at));
    let mut users: Vec<u32> = rows.filter(|row| row.team == team).map(|row| row.user).collect();
    users.sort_unstable();
    users
}

/// `GET /users`.
pub(crate) fn users(call: &Call<'_>) -> Answered {
    let ids = match call.query.get("team") {
        Some(team) => team_users(call, call.find(Kind::Team, team)?),
        None => members(call, &call.workspaces()?),
    };
    Ok(Answer::Paged(Kind::User, ids))
}

/// `GET /workspaces/{gid}/users`.
pub(crate) fn users_of_workspace(call: &Call<'_>) -> Answered {
    let mut ids = members(call, &[call.found(Kind::Workspace)?]);
    let (users, at) = (&call.view.world.users, call.view.at);
    // "Results are sorted alphabetically and limited to 2000."
    ids.sort_by_key(|id| users.live(*id, at).map(|row| row.name.clone()));
    ids.truncate(USERS_WITHOUT_PAGES);
    Ok(Answer::Whole(Kind::User, ids))
}

/// `GET /teams/{gid}/users`.
pub(crate) fn users_of_team(call: &Call<'_>) -> Answered {
    let mut ids = team_users(call, call.found(Kind::Team)?);
    ids.truncate(USERS_WITHOUT_PAGES);
    Ok(Answer::Whole(Kind::User, ids))
}

/// `GET /workspaces/{gid}/workspace_memberships`: those of people who left too, with `is_active` false.
pub(crate) fn memberships_of_workspace(call: &Call<'_>) -> Answered {
    let workspace = call.found(Kind::Workspace)?;
    let only = call.query.get("user").map(|text| call.find(Kind::User, text)).transpose()?;
    let (users, at) = (&call.view.world.users, call.view.at);
    let joined = |id: &u32| users.live(*id, at).is_some_and(|row| row.joined.is_some());
    let ids = users.ids(at).filter(joined).filter(|id| only.is_none_or(|only| only == *id));
    let ids = if workspace == ORGANIZATION { ids.collect() } else { Vec::new() };
    Ok(Answer::Paged(Kind::WorkspaceMembership, ids))
}

/// `GET /users/{gid}/workspace_memberships`.
pub(crate) fn memberships_of_user(call: &Call<'_>) -> Answered {
    let user = call.found(Kind::User)?;
    let joined = call.view.world.users.live(user, call.view.at).is_some_and(|row| row.joined.is_some());
    Ok(Answer::Paged(Kind::WorkspaceMembership, if joined { vec![user] } else { Vec::new() }))
}

/// `GET /workspaces/{gid}/teams`.
pub(crate) fn teams_of_workspace(call: &Call<'_>) -> Answered {
    let workspace = call.found(Kind::Workspace)?;
    let seen = call.view.world.teams.ids(call.view.at).filter(|id| call.sees_team(*id));
    let ids = if workspace == ORGANIZATION { seen.collect() } else { Vec::new() };
    Ok(Answer::Paged(Kind::Team, ids))
}

fn team_memberships(call: &Call<'_>, user: Option<u32>, team: Option<u32>) -> Vec<u32> {
    let (table, at) = (&call.view.world.team_memberships, call.view.at);
    let wanted = |id: &u32| {
        table.live(*id, at).is_some_and(|row| {
            user.is_none_or(|user| row.user == user)
                && team.is_none_or(|team| row.team == team)
                && call.sees_team(row.team)
        })
    };
    table.ids(at).filter(wanted).collect()
}

/// `GET /users/{gid}/teams?organization=`.
pub(crate) fn teams_of_user(call: &Call<'_>) -> Answered {
    let user = call.found(Kind::User)?;
    let organization = call.workspace("organization")?;
    if organization != ORGANIZATION {
        return Ok(Answer::Paged(Kind::Team, Vec::new()));
    }
    let (table, at) = (&call.view.world.team_memberships, call.view.at);
    let rows = team_memberships(call, Some(user), None);
    let ids = rows.iter().filter_map(|id| table.live(*id, at)).map(|row| row.team).collect();
    Ok(Answer::Paged(Kind::Team, ids))
}

/// `GET /team_memberships`.
pub(crate) fn memberships(call: &Call<'_>) -> Answered {
    let team = call.query.get("team").map(|text| call.find(Kind::Team, text)).transpose()?;
    let user = call.query.get("user").map(|text| call.find(Kind::User, text)).transpose()?;
    if user.is_some() {
        call.workspace("workspace")?;
    } else if team.is_none() {
        return Err(Refusal::bad("team: Missing input"));
    }
    Ok(Answer::Paged(Kind::TeamMembership, team_memberships(call, user, team)))
}

/// `GET /teams/{gid}/team_memberships`.
pub(crate) fn memberships_of_team(call: &Call<'_>) -> Answered {
    let team = call.found(Kind::Team)?;
    Ok(Answer::Paged(Kind::TeamMembership, team_memberships(call, None, Some(team))))
}

/// `GET /users/{gid}/team_memberships?workspace=`.
pub(crate) fn team_memberships_of_user(call: &Call<'_>) -> Answered {
    let user = call.found(Kind::User)?;
    let workspace = call.workspace("workspace")?;
    let ids = if workspace == ORGANIZATION { team_memberships(call, Some(user), None) } else { Vec::new() };
    Ok(Answer::Paged(Kind::TeamMembership, ids))
}

fn projects_where(call: &Call<'_>, workspaces: &[u32], team: Option<u32>) -> Answered {
    let archived = call.query.flag("archived")?;
    let (table, at) = (&call.view.world.projects, call.view.at);
    let wanted = |id: &u32| {
        table.live(*id, at).is_some_and(|row| {
            workspaces.contains(&row.workspace)
                && archived.is_none_or(|archived| row.archived == archived)
                && team.is_none_or(|team| row.team == Some(team))
                && call.sees_project(row)
        })
    };
    Ok(Answer::Paged(Kind::Project, table.ids(at).filter(wanted).collect()))
}

/// `GET /projects`.
pub(crate) fn projects(call: &Call<'_>) -> Answered {
    let team = call.query.get("team").map(|text| call.find(Kind::Team, text)).transpose()?;
    projects_where(call, &call.workspaces()?, team)
}

/// `GET /workspaces/{gid}/projects`.
pub(crate) fn projects_of_workspace(call: &Call<'_>) -> Answered {
    projects_where(call, &[call.found(Kind::Workspace)?], None)
}

/// `GET /teams/{gid}/projects`.
pub(crate) fn projects_of_team(call: &Call<'_>) -> Answered {
    projects_where(call, &[ORGANIZATION], Some(call.found(Kind::Team)?))
}

/// `GET /projects/{gid}/sections`.
pub(crate) fn sections(call: &Call<'_>) -> Answered {
    let project = call.found(Kind::Project)?;
    let row = call.view.world.projects.live(project, call.view.at);
    let ids = row.map_or(&[][..], |row| &row.sections).to_vec();
    Ok(Answer::Paged(Kind::Section, ids))
}

/// `GET /projects/{gid}/custom_field_settings`.
pub(crate) fn settings(call: &Call<'_>) -> Answered {
    let project = call.found(Kind::Project)?;
    let row = call.view.world.projects.live(project, call.view.at);
    let all = row.map_or(&[][..], |row| &row.settings);
    let live = all.iter().copied().filter(|id| call.view.world.setting(*id, call.view.at).is_some());
    Ok(Answer::PagedFull(Kind::Setting, live.collect()))
}

/// Tasks as `completed_since` and `modified_since` leave them.
fn tasks_since(call: &Call<'_>, ids: Vec<u32>, modified: bool) -> Answered {
    let completed_since = call.query.moment("completed_since")?;
    let modified_since = if modified { call.query.moment("modified_since")? } else { None };
    if completed_since.is_none() && modified_since.is_none() && call.who == super::access::Who::Service {
        return Ok(Answer::Paged(Kind::Task, ids));
    }
    let wanted = |id: &u32| {
        let (completed, modified) = glance(call, *id);
        completed_since.is_none_or(|since| completed.is_none_or(|at| at >= since))
            && modified_since.is_none_or(|since| modified >= since)
            && call.sees_task(*id)
    };
    Ok(Answer::Paged(Kind::Task, ids.into_iter().filter(wanted).collect()))
}

/// When a live task was completed and modified, without making all of it.
pub(crate) fn glance(call: &Call<'_>, id: u32) -> (Option<Ms>, Ms) {
    let world = call.view.world;
    match world.tasks.get(&id).and_then(|chain| chain.known(call.view.at)) {
        Some(row) => (row.completed.map(|(at, _)| at), row.modified_at),
        None => (tasks::completed_at(world, id), tasks::times(world, id).1),
    }
}

/// `GET /tasks`.
pub(crate) fn tasks(call: &Call<'_>) -> Answered {
    let (query, index) = (call.query, &call.view.world.index);
    let ids = match (query.get("section"), query.get("project"), query.get("assignee")) {
        (Some(section), ..) => index.section_tasks[call.find(Kind::Section, section)? as usize].clone(),
        (None, Some(project), _) => call.view.world.project_tasks(call.find(Kind::Project, project)?),
        (None, None, Some(assignee)) => {
            let user = call.find(Kind::User, assignee)?;
            match call.workspace("workspace")? {
                ORGANIZATION => index.assigned[user as usize].clone(),
                _ => Vec::new(),
            }
        }
        (None, None, None) => {
            let message = "You should specify one of workspace, project, section or tag, \
                           and with a workspace an assignee.";
            return Err(Refusal::bad(message));
        }
    };
    tasks_since(call, ids, true)
}

/// `GET /projects/{gid}/tasks`.
pub(crate) fn tasks_of_project(call: &Call<'_>) -> Answered {
    let project = call.found(Kind::Project)?;
    tasks_since(call, call.view.world.project_tasks(project), false)
}

/// `GET /sections/{gid}/tasks`.
pub(crate) fn tasks_of_section(call: &Call<'_>) -> Answered {
    let section = call.found(Kind::Section)?;
    tasks_since(call, call.view.world.index.section_tasks[section as usize].clone(), false)
}

/// `GET /tags/{gid}/tasks`.
pub(crate) fn tasks_of_tag(call: &Call<'_>) -> Answered {
    let tag = call.found(Kind::Tag)?;
    let ids = call.view.world.index.tagged[tag as usize].clone();
    Ok(Answer::Paged(Kind::Task, ids.into_iter().filter(|id| call.sees_task(*id)).collect()))
}

/// `GET /user_task_lists/{gid}/tasks`.
pub(crate) fn tasks_of_list(call: &Call<'_>) -> Answered {
    let user = call.found(Kind::UserTaskList)?;
    tasks_since(call, call.view.world.index.assigned[user as usize].clone(), false)
}

/// `GET /tasks/{gid}/subtasks`.
pub(crate) fn subtasks(call: &Call<'_>) -> Answered {
    let task = call.found(Kind::Task)?;
    let live = call.view.world.subtasks(task).into_iter();
    Ok(Answer::Paged(Kind::Task, live.filter(|id| call.view.world.is_live_task(*id, call.view.at)).collect()))
}

/// `GET /tasks/{gid}/dependencies` and `/dependents`.
pub(crate) fn dependencies(call: &Call<'_>, dependents: bool) -> Answered {
    let task = call.found(Kind::Task)?;
    let world = call.view.world;
    let row = world.task(task, call.view.at);
    let ends = row.map(|row| if dependents { row.dependents.clone() } else { row.dependencies.clone() });
    let live = ends.unwrap_or_default().into_iter().filter(|id| world.is_live_task(*id, call.view.at));
    Ok(Answer::Paged(Kind::Task, live.filter(|id| call.sees_task(*id)).collect()))
}

/// `GET /tasks/{gid}/projects`.
pub(crate) fn projects_of_task(call: &Call<'_>) -> Answered {
    let task = call.found(Kind::Task)?;
    let world = call.view.world;
    let Some(row) = world.task(task, call.view.at) else {
        return Ok(Answer::Paged(Kind::Project, Vec::new()));
    };
    let ids = world.memberships(&row, call.view.at).map(|(project, _)| project);
    Ok(Answer::Paged(Kind::Project, ids.filter(|id| call.sees_project_id(*id)).collect()))
}

/// `GET /tasks/{gid}/tags`.
pub(crate) fn tags_of_task(call: &Call<'_>) -> Answered {
    let task = call.found(Kind::Task)?;
    let world = call.view.world;
    let tags = world.task(task, call.view.at).map(|row| row.tags.clone()).unwrap_or_default();
    let live = tags.into_iter().filter(|id| world.tags.live(*id, call.view.at).is_some());
    Ok(Answer::Paged(Kind::Tag, live.collect()))
}

/// `GET /tasks/{gid}/stories`.
pub(crate) fn stories(call: &Call<'_>) -> Answered {
    let task = call.found(Kind::Task)?;
    let world = call.view.world;
    let mut ids = world.story_ids(task);
    // The seed's own stories all live until an edit touched them.
    ids.retain(|id| world.stories.get(id).is_none_or(|chain| chain.live(call.view.at).is_some()));
    Ok(Answer::Paged(Kind::Story, ids))
}

/// `GET /attachments?parent=`.
pub(crate) fn attachments(call: &Call<'_>) -> Answered {
    let Some(text) = call.query.get("parent") else { return Err(Refusal::bad("parent: Missing input")) };
    let world = call.view.world;
    let parent = match crate::gid::read(world.seed, text) {
        Some((Kind::Project, _)) => Parent::Project(call.find(Kind::Project, text)?),
        _ => Parent::Task(call.find(Kind::Task, text)?),
    };
    let mut ids = match parent {
        Parent::Project(project) => world.index.project_attachments[project as usize].clone(),
        Parent::Task(task) => world.attachment_ids(task),
    };
    ids.retain(|id| world.attachment(*id, call.view.at).is_some());
    Ok(Answer::Paged(Kind::Attachment, ids))
}

fn tags_in(call: &Call<'_>, workspaces: &[u32]) -> Answered {
    let (table, at) = (&call.view.world.tags, call.view.at);
    let wanted = |id: &u32| table.live(*id, at).is_some_and(|row| workspaces.contains(&row.workspace));
    Ok(Answer::Paged(Kind::Tag, table.ids(at).filter(wanted).collect()))
}

/// `GET /tags`.
pub(crate) fn tags(call: &Call<'_>) -> Answered {
    tags_in(call, &call.workspaces()?)
}

/// `GET /workspaces/{gid}/tags`.
pub(crate) fn tags_of_workspace(call: &Call<'_>) -> Answered {
    tags_in(call, &[call.found(Kind::Workspace)?])
}

/// `GET /workspaces/{gid}/custom_fields`.
pub(crate) fn fields(call: &Call<'_>) -> Answered {
    let workspace = call.found(Kind::Workspace)?;
    let ids = call.view.world.fields.ids(call.view.at);
    let ids = if workspace == ORGANIZATION { ids.collect() } else { Vec::new() };
    Ok(Answer::PagedFull(Kind::CustomField, ids))
}

/// `GET /portfolios?workspace=&owner=`: all for the service account, only their own for anyone else.
pub(crate) fn portfolios(call: &Call<'_>) -> Answered {
    let workspace = call.workspace("workspace")?;
    let owner = call.query.get("owner").map(|text| call.find(Kind::User, text)).transpose()?;
    let owner = match call.who {
        super::access::Who::Service => owner,
        super::access::Who::Person(user) => {
            if owner.is_some_and(|owner| owner != user) {
                return Err(Refusal::forbidden("owner"));
            }
            Some(user)
        }
    };
    let (table, at) = (&call.view.world.portfolios, call.view.at);
    let wanted = |id: &u32| {
        workspace == ORGANIZATION
            && table.live(*id, at).is_some_and(|row| owner.is_none_or(|owner| row.owner == owner))
    };
    Ok(Answer::Paged(Kind::Portfolio, table.ids(at).filter(wanted).collect()))
}

/// `GET /workspaces/{gid}/audit_log_events`: for the service account of a plan that has it. What it tells is not played.
pub(crate) fn audit_log(call: &Call<'_>) -> Answered {
    let workspace = call.found(Kind::Workspace)?;
    let is_allowed = call.rules.audit_log && call.who == super::access::Who::Service;
    call.allow(is_allowed && workspace == ORGANIZATION, "workspace")?;
    // Of no kind: there are none.
    Ok(Answer::Paged(Kind::Task, Vec::new()))
}

/// `GET /portfolios/{gid}/items`.
pub(crate) fn items(call: &Call<'_>) -> Answered {
    let portfolio = call.found(Kind::Portfolio)?;
    let (world, at) = (call.view.world, call.view.at);
    let items = world.portfolios.live(portfolio, at).map_or(&[][..], |row| &row.items);
    let live = items.iter().copied().filter(|id| world.projects.live(*id, at).is_some());
    Ok(Answer::Paged(Kind::Project, live.filter(|id| call.sees_project_id(*id)).collect()))
}
