//! Makes the world of a seed.

use super::plan::{Plan, Size};
use super::tasks::NOBODY;
use super::{Index, World, attachments, fields, people, projects, tasks};

/// Makes everything that is kept, and the lists of what is not.
pub(crate) fn world(size: Size, seed: u64) -> World {
    let mut plan = Plan::of(size);
    plan.tasks += tasks::PERSONAL_TASKS;
    let mut world = World {
        seed,
        plan,
        workspaces: Default::default(),
        users: Default::default(),
        teams: Default::default(),
        team_memberships: Default::default(),
        projects: Default::default(),
        sections: Default::default(),
        tags: Default::default(),
        fields: Default::default(),
        settings: Default::default(),
        portfolios: Default::default(),
        tasks: Default::default(),
        stories: Default::default(),
        attachments: Default::default(),
        index: Index::default(),
        robot: 0,
        trash: Vec::new(),
        events: Default::default(),
    };
    people::make(&mut world);
    fields::make(&mut world);
    projects::make(&mut world);
    family(&mut world);
    lists(&mut world);
    attachments::of_projects(&mut world);
    world
}

/// Who is whose subtask, and where stories and attachments begin.
fn family(world: &mut World) {
    let count = world.plan.tasks as usize;
    let mut depths = vec![0_u8; count];
    let mut parents = vec![NOBODY; count];
    let mut subtasks: Vec<Vec<u32>> = vec![Vec::new(); count];
    let (mut first_story, mut first_attachment) =
        (Vec::with_capacity(count + 1), Vec::with_capacity(count + 1));
    let (mut story, mut attachment) = (0, 0);
    for id in 0..world.plan.tasks {
        if let Some(parent) = tasks::parent(world, id, &depths) {
            parents[id as usize] = parent;
            depths[id as usize] = depths[parent as usize] + 1;
            subtasks[parent as usize].push(id);
        }
        first_story.push(story);
        story += tasks::story_count(world, id);
        first_attachment.push(attachment);
        attachment += tasks::attachment_count(world, id);
    }
    first_story.push(story);
    first_attachment.push(attachment);
    let index = &mut world.index;
    index.parents = parents;
    index.seed_subtasks = subtasks;
    index.first_story = first_story;
    index.first_attachment = first_attachment;
    (index.tasks, index.stories, index.attachments) = (world.plan.tasks, story, attachment);
}

/// The lists of tasks by section, assignee and tag, and the order of search.
fn lists(world: &mut World) {
    let firsts = (0..world.sections.len()).fold(Vec::new(), |mut firsts: Vec<u32>, section| {
        let project = world.sections.known(section, crate::time::LATEST).map_or(0, |row| row.project);
        while firsts.len() <= project as usize {
            firsts.push(section);
        }
        firsts
    });
    world.index.first_section = firsts;
    world.index.first_section.push(world.sections.len());
    let mut section_tasks = vec![Vec::new(); world.sections.len() as usize];
    let mut assigned = vec![Vec::new(); world.users.len() as usize];
    let mut tagged = vec![Vec::new(); world.tags.len() as usize];
    let mut by_modified = Vec::with_capacity(world.plan.tasks as usize);
    for id in 0..world.plan.tasks {
        for (_, section) in tasks::memberships(world, id) {
            section_tasks[section as usize].push(id);
        }
        if let Some(user) = tasks::assignee(world, id) {
            assigned[user as usize].push(id);
        }
        for tag in tasks::tags(world, id) {
            tagged[tag as usize].push(id);
        }
        by_modified.push((tasks::times(world, id).1, id));
    }
    by_modified.sort_unstable();
    let index = &mut world.index;
    index.section_tasks = section_tasks;
    index.assigned = assigned;
    index.tagged = tagged;
    index.by_modified = by_modified.into_iter().map(|(_, id)| id).collect();
    index.project_attachments = vec![Vec::new(); world.projects.len() as usize];
}
