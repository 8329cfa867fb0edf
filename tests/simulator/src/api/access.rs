//! Who asks, and what they may see.
//!
//! Rule: the service account sees everything in the organization; a person sees what Asana shows that person. What
//! exists but may not be seen is refused with 403, not hidden behind 404.

use super::{Call, Refusal};
use crate::world::rows::{ORGANIZATION, Project, Task};

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The service account.
    Service,
    /// A user.
    Person(u32),
}

impl Who {
    /// The token's kind, for the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Person(_) => "person",
        }
    }
}

impl Call<'_> {
    fn person(&self) -> Option<u32> {
        match self.who {
            Who::Service => None,
            Who::Person(user) => Some(user),
        }
    }

    fn in_team(&self, user: u32, team: u32) -> bool {
        let (world, at) = (self.view.world, self.view.at);
        let mut mine = world.team_memberships.ids(at).filter_map(|id| world.team_memberships.live(id, at));
        mine.any(|row| row.user == user && row.team == team)
    }

    /// Whether the caller sees the team.
    pub(crate) fn sees_team(&self, team: u32) -> bool {
        let Some(user) = self.person() else { return true };
        let row = self.view.world.teams.live(team, self.view.at);
        row.is_some_and(|row| row.visibility != "secret") || self.in_team(user, team)
    }

    /// Whether the caller sees the project.
    pub(crate) fn sees_project(&self, row: &Project) -> bool {
        let Some(user) = self.person() else { return true };
        let invited = row.members.contains(&user) || row.owner == Some(user);
        let team = || row.team.is_some_and(|team| self.in_team(user, team));
        row.workspace == ORGANIZATION
            && match row.privacy {
                "public_to_workspace" => true,
                "private_to_team" => invited || team(),
                _ => invited,
            }
    }

    /// Whether the caller sees the project of this number.
    pub(crate) fn sees_project_id(&self, project: u32) -> bool {
        self.view.world.projects.live(project, self.view.at).is_some_and(|row| self.sees_project(row))
    }

    /// Whether the caller sees the task: through a project, a parent, or a part in it.
    pub(crate) fn sees_task(&self, id: u32) -> bool {
        let Some(user) = self.person() else { return true };
        let mut next = Some(id);
        while let Some(row) = next.and_then(|id| self.view.world.task(id, self.view.at)) {
            if self.takes_part(user, &row) {
                return true;
            }
            next = row.parent;
        }
        false
    }

    fn takes_part(&self, user: u32, row: &Task) -> bool {
        row.assignee == Some(user)
            || row.created_by == user
            || row.followers.contains(&user)
            || row.memberships.iter().any(|(project, _)| self.sees_project_id(*project))
    }

    /// Refuses what the caller may not see.
    pub(crate) fn allow(&self, allowed: bool, what: &str) -> Result<(), Refusal> {
        if allowed { Ok(()) } else { Err(Refusal::forbidden(what)) }
    }
}
