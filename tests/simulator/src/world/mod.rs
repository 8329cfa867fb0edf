//! The world: everything in the simulated organization, as of any moment.
//!
//! Rule: the small tables are kept whole; tasks, stories and attachments are made from the seed when they are read,
//! and kept only once an edit touched them. Lists are indexes of what is live *now*; what was true earlier is
//! answered from the rows alone.

pub(crate) mod attachments;
pub(crate) mod fields;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod people;
pub(crate) mod plan;
pub(crate) mod projects;
pub(crate) mod rows;
pub(crate) mod stories;
pub(crate) mod tasks;
pub(crate) mod values;

use std::borrow::Cow;

use self::history::{Overlay, Table};
use self::plan::Plan;
use self::rows::*;
use crate::events::Notes;
use crate::gid::{self, Kind};
use crate::time::{LATEST, Ms};

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) workspaces: Table<Workspace>,
    pub(crate) users: Table<User>,
    pub(crate) teams: Table<Team>,
    pub(crate) team_memberships: Table<TeamMembership>,
    pub(crate) projects: Table<Project>,
    pub(crate) sections: Table<Section>,
    pub(crate) tags: Table<Tag>,
    pub(crate) fields: Table<CustomField>,
    pub(crate) settings: Table<Setting>,
    pub(crate) portfolios: Table<Portfolio>,
    pub(crate) tasks: Overlay<Task>,
    pub(crate) stories: Overlay<Story>,
    pub(crate) attachments: Overlay<Attachment>,
    pub(crate) index: Index,
    /// The user that the service account's token acts as.
    pub(crate) robot: u32,
    /// Tasks in the trash, with the moment they went there.
    pub(crate) trash: Vec<(u32, Ms)>,
    /// What edits told.
    pub(crate) events: Notes,
}

/// What the seed fixed about tasks, and the lists as they are now.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Of each task of the seed's: its parent, or `u32::MAX`.
    pub(crate) parents: Vec<u32>,
    /// Of each task of the seed's: the number of its first story; one more at the end.
    pub(crate) first_story: Vec<u32>,
    /// Of each task of the seed's: the number of its first attachment; one more at the end.
    pub(crate) first_attachment: Vec<u32>,
    /// Of each project of the seed's: the number of its first section; one more at the end.
    pub(crate) first_section: Vec<u32>,
    /// The seed's subtasks of each task, in order.
    pub(crate) seed_subtasks: Vec<Vec<u32>>,
    /// The seed's tasks in the order of their `modified_at`, for search.
    pub(crate) by_modified: Vec<u32>,
    /// How many tasks, stories and attachments there ever were.
    pub(crate) tasks: u32,
    pub(crate) stories: u32,
    pub(crate) attachments: u32,
    /// Live tasks of each section, top to bottom.
    pub(crate) section_tasks: Vec<Vec<u32>>,
    /// Live tasks assigned to each user.
    pub(crate) assigned: Vec<Vec<u32>>,
    /// Live tasks with each tag.
    pub(crate) tagged: Vec<Vec<u32>>,
    /// Stories that edits added to a task.
    pub(crate) new_stories: std::collections::HashMap<u32, Vec<u32>>,
    /// Attachments that edits added to a task.
    pub(crate) new_attachments: std::collections::HashMap<u32, Vec<u32>>,
    /// Attachments of each project.
    pub(crate) project_attachments: Vec<Vec<u32>>,
    /// Tasks that edits touched, in the order they did: search looks at these apart.
    pub(crate) touched: Vec<u32>,
}

impl World {
    /// The gid of a thing.
    pub(crate) fn gid(&self, kind: Kind, id: u32) -> u64 {
        gid::gid(self.seed, kind, u64::from(id))
    }

    /// The task as of `at`, if it lived then.
    pub(crate) fn task(&self, id: u32, at: Ms) -> Option<Cow<'_, Task>> {
        match self.tasks.get(&id) {
            Some(chain) => chain.live(at).map(Cow::Borrowed),
            None if id < self.plan.tasks => Some(Cow::Owned(tasks::make(self, id))),
            None => None,
        }
    }

    /// The task as of `at`, gone or not: others may still name it.
    pub(crate) fn known_task(&self, id: u32, at: Ms) -> Option<Cow<'_, Task>> {
        match self.tasks.get(&id) {
            Some(chain) => chain.known(at).map(Cow::Borrowed),
            None if id < self.plan.tasks => Some(Cow::Owned(tasks::make(self, id))),
            None => None,
        }
    }

    /// The story as of `at`, if it and its task lived then.
    pub(crate) fn story(&self, id: u32, at: Ms) -> Option<Cow<'_, Story>> {
        let story = match self.stories.get(&id) {
            Some(chain) => chain.live(at).map(Cow::Borrowed)?,
            None if id < self.seed_stories() => Cow::Owned(stories::make(self, id)?),
            None => return None,
        };
        self.is_live_task(story.task, at).then_some(story)
    }

    /// The attachment as of `at`, if it and its parent lived then.
    pub(crate) fn attachment(&self, id: u32, at: Ms) -> Option<Cow<'_, Attachment>> {
        let attachment = match self.attachments.get(&id) {
            Some(chain) => chain.live(at).map(Cow::Borrowed)?,
            None if id < self.seed_attachments() => Cow::Owned(attachments::make(self, id)?),
            None => return None,
        };
        let live = match attachment.parent {
            Parent::Task(task) => self.is_live_task(task, at),
            Parent::Project(project) => self.projects.live(project, at).is_some(),
        };
        live.then_some(attachment)
    }

    /// Whether the task lived at `at`, without making it.
    pub(crate) fn is_live_task(&self, id: u32, at: Ms) -> bool {
        match self.tasks.get(&id) {
            Some(chain) => chain.live(at).is_some(),
            None => id < self.plan.tasks,
        }
    }

    /// The section as of `at`, if it and its project lived then.
    pub(crate) fn section(&self, id: u32, at: Ms) -> Option<&Section> {
        self.sections.live(id, at).filter(|section| self.projects.live(section.project, at).is_some())
    }

    /// The setting as of `at`, if it, its field and its project lived then.
    pub(crate) fn setting(&self, id: u32, at: Ms) -> Option<&Setting> {
        self.settings.live(id, at).filter(|setting| {
            self.projects.live(setting.project, at).is_some() && self.fields.live(setting.field, at).is_some()
        })
    }

    /// Whether the user is a member of the workspace as of `at`.
    pub(crate) fn is_member(&self, user: u32, workspace: u32, at: Ms) -> bool {
        self.users.live(user, at).is_some_and(|user| match workspace {
            ORGANIZATION => user.active,
            _ => user.personal,
        })
    }

    /// The live memberships of a task: those whose project lived at `at`.
    pub(crate) fn memberships<'a>(&'a self, task: &'a Task, at: Ms) -> impl Iterator<Item = (u32, u32)> + 'a {
        task.memberships
            .iter()
            .copied()
            .filter(move |(project, _)| self.projects.live(*project, at).is_some())
    }

    /// The live tasks of a project, section by section.
    pub(crate) fn project_tasks(&self, project: u32) -> Vec<u32> {
        let Some(row) = self.projects.live(project, LATEST) else { return Vec::new() };
        let lists = row.sections.iter().map(|section| &self.index.section_tasks[*section as usize]);
        lists.flatten().copied().collect()
    }

    /// The live subtasks of a task, in order.
    pub(crate) fn subtasks(&self, task: u32) -> Vec<u32> {
        match self.tasks.get(&task).and_then(|chain| chain.live(LATEST)) {
            Some(row) => row.subtasks.clone(),
            None => self.index.seed_subtasks.get(task as usize).cloned().unwrap_or_default(),
        }
    }

    /// The numbers of a task's stories, oldest first, live or not.
    pub(crate) fn story_ids(&self, task: u32) -> Vec<u32> {
        let mut ids = seed_range(&self.index.first_story, task);
        ids.extend(self.index.new_stories.get(&task).into_iter().flatten());
        ids
    }

    /// The numbers of a task's attachments, oldest first, live or not.
    pub(crate) fn attachment_ids(&self, task: u32) -> Vec<u32> {
        let mut ids = seed_range(&self.index.first_attachment, task);
        ids.extend(self.index.new_attachments.get(&task).into_iter().flatten());
        ids
    }

    /// How many stories the seed made.
    pub(crate) fn seed_stories(&self) -> u32 {
        self.index.first_story.last().copied().unwrap_or_default()
    }

    /// How many attachments of tasks the seed made.
    pub(crate) fn seed_attachments(&self) -> u32 {
        self.index.first_attachment.last().copied().unwrap_or_default()
    }
}

/// The numbers that belong to one task of the seed's.
fn seed_range(firsts: &[u32], task: u32) -> Vec<u32> {
    match firsts.get(task as usize..task as usize + 2) {
        Some([from, to]) => (*from..*to).collect(),
        _ => Vec::new(),
    }
}
