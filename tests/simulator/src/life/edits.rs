//! The changes that can be made to the world, each with all that follows from it.
//!
//! Rule: a change begins new versions of the rows it changes and keeps the lists right. `modified_at` moves where
//! Asana says it does, and the stories appear that Asana writes.

use crate::events::{Act, Change, Silent};
use crate::gid::Kind;
use crate::time::{EARLIEST, LATEST, Ms};
use crate::world::World;
use crate::world::history::Chain;
use crate::world::rows::*;
use crate::world::tasks;

/// When a change happens, and who makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand {
    pub(crate) at: Ms,
    pub(crate) by: u32,
}

impl World {
    /// Begins a version of a task, made by `change` from the latest one.
    pub(crate) fn edit_task(&mut self, id: u32, at: Ms, change: impl FnOnce(&mut Task)) {
        let Some(row) = self.known_task(id, LATEST) else { return };
        let (before, mut row, live) =
            (row.clone().into_owned(), row.into_owned(), self.is_live_task(id, LATEST));
        change(&mut row);
        self.touch(id, before).put(at, live, row);
    }

    /// The versions of a task, kept from now on.
    fn touch(&mut self, id: u32, seeded: Task) -> &mut Chain<Task> {
        let touched = &mut self.index.touched;
        self.tasks.entry(id).or_insert_with(|| {
            touched.push(id);
            Chain::new(EARLIEST, seeded)
        })
    }

    /// Adds a story; most of them move the task's `modified_at`.
    pub(crate) fn tell(&mut self, task: u32, hand: Hand, event: Event, moves: bool) -> u32 {
        let id = self.index.stories;
        self.index.stories += 1;
        let story = Story {
            task,
            at: hand.at,
            by: hand.by,
            event,
            pinned: false,
            edited: false,
            sticker: None,
            likes: Vec::new(),
            reactions: 0,
            preview: false,
            source: crate::world::stories::SOURCES[id as usize % 4],
        };
        self.stories.insert(id, Chain::new(hand.at, story));
        self.index.new_stories.entry(task).or_default().push(id);
        self.note(hand, (Kind::Story, id), Act::Added(Some((Kind::Task, task))));
        if moves {
            self.edit_task(task, hand.at, |row| row.modified_at = hand.at);
        }
        id
    }

    /// Changes a task and tells it in a story.
    pub(crate) fn change_task(&mut self, id: u32, hand: Hand, event: Event, change: impl FnOnce(&mut Task)) {
        self.edit_task(id, hand.at, |row| {
            change(row);
            row.modified_at = hand.at;
        });
        self.note_change(id, hand, &event);
        self.tell(id, hand, event, false);
    }

    /// Whether a change of project or section moves `modified_at`: Asana's texts disagree, so the seed decides.
    pub(crate) fn moves_count(&self) -> bool {
        crate::random::mix(self.seed, 0x3043, 0).is_multiple_of(2)
    }

    /// Puts a live task on the lists.
    fn enlist(&mut self, id: u32, row: &Task) {
        for (_, section) in &row.memberships {
            self.index.section_tasks[*section as usize].push(id);
        }
        if let Some(user) = row.assignee {
            self.index.assigned[user as usize].push(id);
        }
        for tag in &row.tags {
            self.index.tagged[*tag as usize].push(id);
        }
    }

    /// Takes a task off the lists.
    fn delist(&mut self, id: u32, row: &Task) {
        for (_, section) in &row.memberships {
            self.index.section_tasks[*section as usize].retain(|other| *other != id);
        }
        if let Some(user) = row.assignee {
            self.index.assigned[user as usize].retain(|other| *other != id);
        }
        for tag in &row.tags {
            self.index.tagged[*tag as usize].retain(|other| *other != id);
        }
    }

    /// Adds a task.
    pub(crate) fn add_task(&mut self, hand: Hand, row: Task) -> u32 {
        let id = self.index.tasks;
        self.index.tasks += 1;
        self.enlist(id, &row);
        if let Some(parent) = row.parent {
            // A new subtask is no change of its parent, as far as `modified_at` goes.
            self.edit_task(parent, hand.at, |row| row.subtasks.push(id));
        }
        self.index.touched.push(id);
        self.tasks.insert(id, Chain::new(hand.at, row));
        self.note_new_task(id, hand);
        id
    }

    /// A task with all below it.
    pub(crate) fn descent(&self, id: u32) -> Vec<u32> {
        let mut all = vec![id];
        let mut next = 0;
        while let Some(id) = all.get(next) {
            all.extend(self.subtasks(*id).into_iter().filter(|id| self.is_live_task(*id, LATEST)));
            next += 1;
        }
        all
    }

    /// Moves a task, its subtasks, and with them their stories and attachments to the trash.
    pub(crate) fn trash_task(&mut self, first: u32, hand: Hand) {
        let at = hand.at;
        for id in self.descent(first) {
            self.note_trash(id, hand, id == first, &Act::Deleted);
            let Some(row) = self.task(id, LATEST).map(std::borrow::Cow::into_owned) else { continue };
            self.delist(id, &row);
            let mut gone = row.clone();
            gone.modified_at = at;
            self.touch(id, row).put(at, false, gone);
        }
        self.trash.push((first, at));
    }

    /// Brings a task back from the trash, with what went there together with it.
    pub(crate) fn untrash_task(&mut self, first: u32, since: Ms, hand: Hand) {
        let at = hand.at;
        let mut next = vec![first];
        while let Some(id) = next.pop() {
            let Some(chain) = self.tasks.get(&id) else { continue };
            if chain.gone_since() != Some(since) {
                continue;
            }
            let Some(mut row) = chain.known(LATEST).cloned() else { continue };
            // Whether coming back moves `modified_at` Asana does not say; the seed decides.
            if crate::random::mix(self.seed, 0x3044, 0).is_multiple_of(2) {
                row.modified_at = at;
            }
            next.extend(&row.subtasks);
            self.enlist(id, &row);
            let before = row.clone();
            self.touch(id, before).put(at, true, row);
            self.note_trash(id, hand, id == first, &Act::Undeleted);
        }
    }

    /// Puts a task into a section of a project, at the place `place` (or the end); it may already be in the project.
    pub(crate) fn place_task(&mut self, id: u32, hand: Hand, project: u32, section: u32, place: usize) {
        let Some(row) = self.task(id, LATEST) else { return };
        let old = row.memberships.iter().find(|(known, _)| *known == project).map(|(_, section)| *section);
        let counts = self.moves_count();
        self.edit_task(id, hand.at, |row| {
            match row.memberships.iter_mut().find(|(known, _)| *known == project) {
                Some(membership) => membership.1 = section,
                None => row.memberships.push((project, section)),
            }
            if counts {
                row.modified_at = hand.at;
            }
        });
        if let Some(old) = old {
            self.index.section_tasks[old as usize].retain(|other| *other != id);
        }
        let list = &mut self.index.section_tasks[section as usize];
        let place = place.min(list.len());
        list.insert(place, id);
        self.note_placed(id, hand, project, (old, section));
        match old {
            Some(old) if old == section => {}
            Some(old) => drop(self.tell(id, hand, Event::Moved(old, section), false)),
            None => drop(self.tell(id, hand, Event::AddedToProject(project), false)),
        }
    }

    /// Takes a task out of a project.
    pub(crate) fn unplace_task(&mut self, id: u32, hand: Hand, project: u32) {
        let counts = self.moves_count();
        let Some(row) = self.task(id, LATEST) else { return };
        let Some((_, section)) = row.memberships.iter().copied().find(|(known, _)| *known == project) else {
            return;
        };
        self.index.section_tasks[section as usize].retain(|other| *other != id);
        self.edit_task(id, hand.at, |row| {
            row.memberships.retain(|(known, _)| *known != project);
            if counts {
                row.modified_at = hand.at;
            }
        });
        self.note(hand, (Kind::Task, id), Act::Removed((Kind::Project, project)));
        self.note_if(Silent::Sections, hand, (Kind::Task, id), Act::Removed((Kind::Section, section)));
        self.tell(id, hand, Event::RemovedFromProject(project), false);
    }

    /// Gives a task to somebody, or to nobody.
    pub(crate) fn assign(&mut self, id: u32, hand: Hand, user: Option<u32>) {
        let Some(old) = self.task(id, LATEST).map(|row| row.assignee) else { return };
        if let Some(old) = old {
            self.index.assigned[old as usize].retain(|other| *other != id);
        }
        if let Some(user) = user {
            self.index.assigned[user as usize].insert(0, id);
        }
        let event = user.map(Event::Assigned).or(old.map(Event::Unassigned));
        let Some(event) = event else { return };
        self.change_task(id, hand, event, |row| {
            row.assignee = user;
            row.assigned_by = user.map(|_| hand.by);
            row.assignee_status = "inbox";
        });
    }

    /// Tags or untags a task.
    pub(crate) fn tag_task(&mut self, id: u32, hand: Hand, tag: u32, on: bool) {
        let list = &mut self.index.tagged[tag as usize];
        list.retain(|other| *other != id);
        if on {
            list.push(id);
        }
        self.edit_task(id, hand.at, |row| {
            row.tags.retain(|other| *other != tag);
            if on {
                row.tags.push(tag);
            }
        });
        let what = (Kind::Tag, tag);
        let act = match (self.tells(Silent::TagAsParent), on) {
            (true, true) => Act::Added(Some(what)),
            (true, false) => Act::Removed(what),
            (false, true) => Act::Changed("tags", Change::Added(Some(what))),
            (false, false) => Act::Changed("tags", Change::Removed(Some(what))),
        };
        self.note(hand, (Kind::Task, id), act);
        self.tell(id, hand, if on { Event::Tagged(tag) } else { Event::Untagged(tag) }, true);
    }

    /// Makes a task the subtask of another, or of none.
    pub(crate) fn set_parent(&mut self, id: u32, hand: Hand, parent: Option<u32>) {
        let Some(old) = self.task(id, LATEST).map(|row| row.parent) else { return };
        if let Some(old) = old {
            self.edit_task(old, hand.at, |row| row.subtasks.retain(|other| *other != id));
            self.note(hand, (Kind::Task, id), Act::Removed((Kind::Task, old)));
        }
        self.edit_task(id, hand.at, |row| row.parent = parent);
        let change = Change::Changed(parent.map(|parent| (Kind::Task, parent)));
        self.note_if(Silent::ParentField, hand, (Kind::Task, id), Act::Changed("parent", change));
        if let Some(parent) = parent {
            self.edit_task(parent, hand.at, |row| row.subtasks.push(id));
            self.note(hand, (Kind::Task, id), Act::Added(Some((Kind::Task, parent))));
            self.tell(id, hand, Event::AddedToTask(parent), true);
        }
    }

    /// Makes a task wait for another, or no longer.
    pub(crate) fn depend(&mut self, id: u32, hand: Hand, other: u32, on: bool) {
        self.edit_task(id, hand.at, |row| {
            row.dependencies.retain(|known| *known != other);
            if on {
                row.dependencies.push(other);
            }
        });
        self.edit_task(other, hand.at, |row| {
            row.dependents.retain(|known| *known != id);
            if on {
                row.dependents.push(id);
            }
        });
        for (id, field, other) in [(id, "dependencies", other), (other, "dependents", id)] {
            let value = Some((Kind::Task, other));
            let change = if on { Change::Added(value) } else { Change::Removed(value) };
            self.note_if(Silent::Dependencies, hand, (Kind::Task, id), Act::Changed(field, change));
        }
        if on {
            self.tell(id, hand, Event::DependencyAdded(other), true);
            self.tell(other, hand, Event::DependentAdded(id), true);
        }
    }

    /// Begins a version of a story, or ends it; either moves the task's `modified_at` only where Asana says so.
    pub(crate) fn edit_story(&mut self, id: u32, hand: Hand, live: bool, change: impl FnOnce(&mut Story)) {
        let at = hand.at;
        let Some(before) = self.story(id, LATEST).map(std::borrow::Cow::into_owned) else { return };
        let mut row = before.clone();
        change(&mut row);
        let task = row.task;
        self.stories.entry(id).or_insert_with(|| Chain::new(EARLIEST, before)).put(at, live, row);
        if !live {
            self.note_gone((Kind::Story, id), task, hand);
            self.edit_task(task, at, |row| row.modified_at = at);
        }
    }

    /// Adds an attachment.
    pub(crate) fn attach(&mut self, parent: Parent, hand: Hand) -> u32 {
        let id = self.index.attachments;
        self.index.attachments += 1;
        let row = crate::world::attachments::draw(self, u64::from(id), parent, hand.at);
        self.attachments.insert(id, Chain::new(hand.at, row));
        let holder = match parent {
            Parent::Project(project) => (Kind::Project, project),
            Parent::Task(task) => (Kind::Task, task),
        };
        self.note(hand, (Kind::Attachment, id), Act::Added(Some(holder)));
        match parent {
            Parent::Project(project) => self.index.project_attachments[project as usize].push(id),
            Parent::Task(task) => {
                self.index.new_attachments.entry(task).or_default().push(id);
                self.tell(task, hand, Event::AttachmentAdded, true);
            }
        }
        id
    }

    /// Deletes an attachment.
    pub(crate) fn detach(&mut self, id: u32, hand: Hand) {
        let at = hand.at;
        let Some(row) = self.attachment(id, LATEST).map(std::borrow::Cow::into_owned) else { return };
        let parent = row.parent;
        self.attachments.entry(id).or_insert_with(|| Chain::new(EARLIEST, row.clone())).put(at, false, row);
        match parent {
            Parent::Project(_) => self.note(hand, (Kind::Attachment, id), Act::Deleted),
            Parent::Task(task) => {
                self.note_gone((Kind::Attachment, id), task, hand);
                self.edit_task(task, at, |row| row.modified_at = at);
            }
        }
    }

    /// Adds a section to a project, at its end.
    pub(crate) fn add_section(&mut self, project: u32, hand: Hand, name: &str) -> u32 {
        let at = hand.at;
        let section = self.sections.add(at, Section { name: name.into(), created_at: at, project });
        self.index.section_tasks.push(Vec::new());
        self.projects.edit(project, at, |row| row.sections.push(section));
        self.note(hand, (Kind::Section, section), Act::Added(Some((Kind::Project, project))));
        section
    }

    /// A fresh task, with nothing in it but a name.
    pub(crate) fn blank_task(&self, hand: Hand, name: &str) -> Task {
        let mut row = tasks::make(self, 0);
        row.workspace = ORGANIZATION;
        row.name = crate::text::Text::given(name);
        row.notes = crate::text::Text::given("");
        (row.subtype, row.approval, row.assignee_status) = ("default_task", "pending", "upcoming");
        (row.created_at, row.modified_at, row.created_by) = (hand.at, hand.at, hand.by);
        (row.completed, row.assignee, row.assigned_by, row.due, row.start) = (None, None, None, None, None);
        (row.parent, row.actual_minutes) = (None, None);
        (row.external, row.custom_type, row.separator, row.seeded_values) = (false, false, false, false);
        for list in [
            &mut row.tags,
            &mut row.followers,
            &mut row.likes,
            &mut row.dependencies,
            &mut row.dependents,
            &mut row.subtasks,
        ] {
            list.clear();
        }
        row.memberships.clear();
        row.values.clear();
        row.followers.push(hand.by);
        row
    }
}
