//! Finds one thing, or says why not.

use super::{Answer, Call, Refusal};
use crate::gid::Kind;
use crate::records::Ref;
use crate::time::Ms;
use crate::world::World;
use crate::world::rows::{ORGANIZATION, PERSONAL, Parent};

/// Whether the thing lives at `at`.
pub(crate) fn lives(world: &World, kind: Kind, id: u32, at: Ms) -> bool {
    match kind {
        Kind::Workspace => world.workspaces.live(id, at).is_some(),
        Kind::User => world.users.live(id, at).is_some_and(|row| row.found),
        Kind::WorkspaceMembership | Kind::UserTaskList => {
            world.users.live(id, at).is_some_and(|row| row.joined.is_some())
        }
        Kind::Team => world.teams.live(id, at).is_some(),
        Kind::TeamMembership => world.team_memberships.live(id, at).is_some(),
        Kind::Project => world.projects.live(id, at).is_some(),
        Kind::Section => world.section(id, at).is_some(),
        Kind::Task => world.is_live_task(id, at),
        Kind::Story => world.story(id, at).is_some(),
        Kind::Attachment => world.attachment(id, at).is_some(),
        Kind::Tag => world.tags.live(id, at).is_some(),
        Kind::CustomField => world.fields.live(id, at).is_some(),
        Kind::Setting => world.setting(id, at).is_some(),
        Kind::Portfolio => world.portfolios.live(id, at).is_some(),
        _ => false,
    }
}

impl Call<'_> {
    /// The live thing of this kind that the text names, if the caller may see it.
    pub(crate) fn find(&self, kind: Kind, text: &str) -> Result<u32, Refusal> {
        let id = match kind {
            Kind::User => self.user(text)?,
            _ => self.id(kind, text)?,
        };
        if !lives(self.view.world, kind, id, self.view.at) {
            return Err(Refusal::missing(kind.resource_type(), text));
        }
        self.allow(self.sees(kind, id), kind.resource_type())?;
        Ok(id)
    }

    /// The live thing of this kind in the path.
    pub(crate) fn found(&self, kind: Kind) -> Result<u32, Refusal> {
        self.find(kind, self.args[0])
    }

    fn sees(&self, kind: Kind, id: u32) -> bool {
        let (world, at) = (self.view.world, self.view.at);
        match kind {
            Kind::Team => self.sees_team(id),
            Kind::TeamMembership => {
                world.team_memberships.live(id, at).is_some_and(|row| self.sees_team(row.team))
            }
            Kind::Project => self.sees_project_id(id),
            Kind::Section => world.section(id, at).is_some_and(|row| self.sees_project_id(row.project)),
            Kind::Task => self.sees_task(id),
            Kind::Story => world.story(id, at).is_some_and(|row| self.sees_task(row.task)),
            Kind::Attachment => world.attachment(id, at).is_some_and(|row| match row.parent {
                Parent::Task(task) => self.sees_task(task),
                Parent::Project(project) => self.sees_project_id(project),
            }),
            Kind::Portfolio => match self.who {
                super::access::Who::Service => true,
                super::access::Who::Person(user) => world
                    .portfolios
                    .live(id, at)
                    .is_some_and(|row| row.public || row.owner == user || row.members.contains(&user)),
            },
            _ => true,
        }
    }

    /// A user by gid, by email, or `me`.
    fn user(&self, text: &str) -> Result<u32, Refusal> {
        if text == "me" {
            return Ok(self.view.me);
        }
        let (users, at) = (&self.view.world.users, self.view.at);
        if text.contains('@') {
            let mut named =
                users.ids(at).filter(|id| users.live(*id, at).is_some_and(|row| row.email == text));
            return named.next().ok_or_else(|| Refusal::missing("user", text));
        }
        self.id(Kind::User, text)
    }

    /// A workspace the query must name.
    pub(crate) fn workspace(&self, name: &str) -> Result<u32, Refusal> {
        match self.query.get(name) {
            Some(text) => self.find(Kind::Workspace, text),
            None => Err(Refusal::bad(format!("{name}: Missing input"))),
        }
    }

    /// A workspace the query may name; all the caller sees otherwise.
    pub(crate) fn workspaces(&self) -> Result<Vec<u32>, Refusal> {
        match self.query.get("workspace") {
            Some(text) => Ok(vec![self.find(Kind::Workspace, text)?]),
            None => Ok(self.mine()),
        }
    }

    /// The workspaces of the caller.
    pub(crate) fn mine(&self) -> Vec<u32> {
        let personal = self.view.world.is_member(self.view.me, PERSONAL, self.view.at);
        if personal { vec![ORGANIZATION, PERSONAL] } else { vec![ORGANIZATION] }
    }
}

/// `GET /{things}/{gid}`.
pub(crate) fn one(call: &Call<'_>, kind: Kind) -> Result<Answer, Refusal> {
    Ok(Answer::One(Ref { kind, id: call.found(kind)? }))
}

/// `GET /workspaces/{gid}/users/{gid}`: members only.
pub(crate) fn user_of_workspace(call: &Call<'_>) -> Result<Answer, Refusal> {
    let workspace = call.found(Kind::Workspace)?;
    let id = call.find(Kind::User, call.args[1])?;
    if !call.view.world.is_member(id, workspace, call.view.at) {
        return Err(Refusal::missing("user", call.args[1]));
    }
    Ok(Answer::One(Ref { kind: Kind::User, id }))
}

/// `GET /users/{gid}/user_task_list?workspace=`.
pub(crate) fn user_task_list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let user = call.found(Kind::User)?;
    let workspace = call.workspace("workspace")?;
    let row = call.view.world.users.live(user, call.view.at);
    if workspace != ORGANIZATION || row.is_none_or(|row| row.joined.is_none()) {
        return Err(Refusal::missing("user_task_list", call.args[0]));
    }
    Ok(Answer::One(Ref { kind: Kind::UserTaskList, id: user }))
}

/// `GET /projects/{gid}/task_counts`.
pub(crate) fn task_counts(call: &Call<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::TaskCounts(call.found(Kind::Project)?))
}
