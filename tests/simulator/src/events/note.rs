//! What an edit tells, and to whose streams it belongs.
//!
//! Rule: what Asana documents is told by every seed. Where its documents are silent the seed decides, once for the
//! whole world, whether something is told at all: a client that works with every seed relies on none of it.

use super::{Act, Change, Note, Thing};
use crate::gid::Kind;
use crate::life::edits::Hand;
use crate::random::mix;
use crate::time::LATEST;
use crate::world::World;
use crate::world::rows::{Event, ORGANIZATION, Parent};

/// What Asana's documents leave open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Silent {
    /// Subtasks that go to the trash, or return, with their parent.
    SubtasksOfDeleted,
    /// Stories and attachments that do so with their task.
    ContentsOfDeleted,
    /// The system is who tells of them.
    SystemCascades,
    /// Sections that tasks are added to and removed from.
    Sections,
    /// A task that takes another place in its section.
    Reorder,
    /// A task without project and parent is added to the workspace; to nothing otherwise.
    WorkspaceAsParent,
    /// A tagged task is added to the tag; its `tags` changed otherwise.
    TagAsParent,
    /// A task that is made with an assignee.
    AssignedAtCreation,
    /// The field `parent` too, besides added to and removed from a task.
    ParentField,
    /// What a task waits for.
    Dependencies,
    /// Likes.
    Likes,
    /// A deleted story or attachment is removed from its task too.
    RemovedWhenDeleted,
    /// A new project is added to its team; to the workspace otherwise.
    ProjectOfTeam,
    /// Members of projects.
    ProjectMembers,
    /// The order of sections.
    SectionOrder,
    /// Definitions of custom fields.
    CustomFields,
    /// Custom fields put on a project.
    Settings,
    /// Portfolios.
    Portfolios,
    /// What is in a portfolio.
    PortfolioItems,
    /// Teams.
    Teams,
    /// Members of teams.
    TeamMembers,
    /// Members of the organization.
    Members,
}

impl World {
    /// Whether this world tells what Asana's documents are silent about.
    pub(crate) fn tells(&self, what: Silent) -> bool {
        mix(self.seed, 0x7e11, what as u64).is_multiple_of(2)
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, hand: Hand, of: Thing, act: Act) {
        self.note_by(Some(hand.by), hand, of, act);
    }

    /// Notes an event that followed from another one.
    pub(crate) fn note_cascade(&mut self, hand: Hand, of: Thing, act: Act) {
        let by = (!self.tells(Silent::SystemCascades)).then_some(hand.by);
        self.note_by(by, hand, of, act);
    }

    /// Notes an event if this world tells of such things.
    pub(crate) fn note_if(&mut self, what: Silent, hand: Hand, of: Thing, act: Act) {
        if self.tells(what) {
            self.note(hand, of, act);
        }
    }

    fn note_by(&mut self, by: Option<u32>, hand: Hand, of: Thing, act: Act) {
        let Some(mut scopes) = self.scopes(of) else { return };
        if let Act::Added(Some(parent)) | Act::Removed(parent) = &act {
            scopes.extend(self.scopes(*parent).unwrap_or_default());
        }
        self.events.add(self.seed, Note { at: hand.at, by, of, act }, scopes);
    }

    /// The tasks and projects an event of this thing bubbles up to; `None` if it is no part of the organization.
    fn scopes(&self, (kind, id): Thing) -> Option<Vec<Thing>> {
        match kind {
            Kind::Task => self.scopes_of_task(id),
            Kind::Story => {
                let kept = self.stories.get(&id).and_then(|chain| chain.known(LATEST)).map(|row| row.task);
                self.scopes_of_task(kept.or_else(|| Some(self.story(id, LATEST)?.task))?)
            }
            Kind::Attachment => {
                let kept = self.attachments.get(&id).and_then(|chain| chain.known(LATEST));
                let parent = kept.map(|row| row.parent);
                match parent.or_else(|| Some(self.attachment(id, LATEST)?.parent))? {
                    Parent::Task(task) => self.scopes_of_task(task),
                    Parent::Project(project) => self.scopes((Kind::Project, project)),
                }
            }
            Kind::Section => self.scopes((Kind::Project, self.sections.known(id, LATEST)?.project)),
            Kind::Project => {
                let ours = self.projects.known(id, LATEST)?.workspace == ORGANIZATION;
                ours.then(|| vec![(Kind::Project, id)])
            }
            Kind::Tag => (self.tags.known(id, LATEST)?.workspace == ORGANIZATION).then(Vec::new),
            _ => Some(Vec::new()),
        }
    }

    /// The task itself, those above it, and the projects of them all.
    fn scopes_of_task(&self, id: u32) -> Option<Vec<Thing>> {
        let (mut scopes, mut next) = (Vec::new(), Some(id));
        while let Some(id) = next {
            let row = self.known_task(id, LATEST)?;
            if row.workspace != ORGANIZATION {
                return None;
            }
            scopes.push((Kind::Task, id));
            scopes.extend(row.memberships.iter().map(|(project, _)| (Kind::Project, *project)));
            next = row.parent;
        }
        Some(scopes)
    }

    /// Tells of a field of a task that a story tells of too.
    pub(crate) fn note_change(&mut self, id: u32, hand: Hand, event: &Event) {
        let (field, change) = match event {
            Event::Renamed(..) => ("name", Change::Changed(None)),
            Event::NotesChanged => ("notes", Change::Changed(None)),
            Event::Completed | Event::Reopened => ("completed", Change::Changed(None)),
            Event::Assigned(user) => ("assignee", Change::Changed(Some((Kind::User, *user)))),
            Event::Unassigned(_) => ("assignee", Change::Changed(None)),
            Event::DueChanged(old, new) => {
                let timed = old.or(*new).is_some_and(|due| due.at.is_some());
                (if timed { "due_at" } else { "due_on" }, Change::Changed(None))
            }
            Event::FollowerAdded(user) => ("followers", Change::Added(Some((Kind::User, *user)))),
            Event::FieldChanged(field, ..) => {
                ("custom_fields", Change::Changed(Some((Kind::CustomField, *field))))
            }
            Event::SubtypeChanged(..) => ("resource_subtype", Change::Changed(None)),
            _ => return,
        };
        self.note(hand, (Kind::Task, id), Act::Changed(field, change));
    }

    /// Tells of a new task: of what it is added to.
    pub(crate) fn note_new_task(&mut self, id: u32, hand: Hand) {
        let Some(row) = self.known_task(id, LATEST).map(std::borrow::Cow::into_owned) else { return };
        for (project, section) in &row.memberships {
            self.note(hand, (Kind::Task, id), Act::Added(Some((Kind::Project, *project))));
            self.note_if(
                Silent::Sections,
                hand,
                (Kind::Task, id),
                Act::Added(Some((Kind::Section, *section))),
            );
        }
        if let Some(parent) = row.parent {
            self.note(hand, (Kind::Task, id), Act::Added(Some((Kind::Task, parent))));
        } else if row.memberships.is_empty() {
            let parent = self.tells(Silent::WorkspaceAsParent).then_some((Kind::Workspace, ORGANIZATION));
            self.note(hand, (Kind::Task, id), Act::Added(parent));
        }
        if let Some(user) = row.assignee {
            let act = Act::Changed("assignee", Change::Changed(Some((Kind::User, user))));
            self.note_if(Silent::AssignedAtCreation, hand, (Kind::Task, id), act);
        }
    }

    /// Tells of a task that is put into a section, or another place of it.
    pub(crate) fn note_placed(
        &mut self,
        id: u32,
        hand: Hand,
        project: u32,
        (old, section): (Option<u32>, u32),
    ) {
        let task = (Kind::Task, id);
        let into = Act::Added(Some((Kind::Section, section)));
        match old {
            None => {
                self.note(hand, task, Act::Added(Some((Kind::Project, project))));
                self.note_if(Silent::Sections, hand, task, into);
            }
            Some(old) if old == section => self.note_if(Silent::Reorder, hand, task, into),
            Some(old) if self.tells(Silent::Sections) => {
                self.note(hand, task, Act::Removed((Kind::Section, old)));
                self.note(hand, task, into);
            }
            Some(_) => self.note(hand, task, Act::Changed("memberships", Change::Changed(None))),
        }
    }

    /// Tells of a story or attachment that was deleted from a task.
    pub(crate) fn note_gone(&mut self, what: Thing, task: u32, hand: Hand) {
        self.note(hand, what, Act::Deleted);
        self.note_if(Silent::RemovedWhenDeleted, hand, what, Act::Removed((Kind::Task, task)));
    }

    /// Tells of one of the things that went to the trash with a task, or came back: the first of them, or another.
    pub(crate) fn note_trash(&mut self, id: u32, hand: Hand, first: bool, act: &Act) {
        if first {
            self.note(hand, (Kind::Task, id), act.clone());
        } else if self.tells(Silent::SubtasksOfDeleted) {
            self.note_cascade(hand, (Kind::Task, id), act.clone());
        }
        if !self.tells(Silent::ContentsOfDeleted) {
            return;
        }
        for story in self.story_ids(id) {
            if self.stories.get(&story).is_none_or(|chain| chain.live(LATEST).is_some()) {
                self.note_cascade(hand, (Kind::Story, story), act.clone());
            }
        }
        for file in self.attachment_ids(id) {
            if self.attachments.get(&file).is_none_or(|chain| chain.live(LATEST).is_some()) {
                self.note_cascade(hand, (Kind::Attachment, file), act.clone());
            }
        }
    }
}
