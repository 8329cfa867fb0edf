//! Attachments of the seed's making.

use super::World;
use super::people::{LAST, START};
use super::rows::{Attachment, Parent};
use super::tasks;
use crate::random::Rng;
use crate::text;
use crate::time::Ms;

/// The services an attachment can live at.
const HOSTS: &[&str] =
    &["asana", "asana", "asana", "dropbox", "gdrive", "onedrive", "box", "vimeo", "external"];
const ENDINGS: &[&str] = &["png", "pdf", "docx", "csv", "mp4", "zip"];

/// Makes the attachment of a task.
pub(crate) fn make(world: &World, id: u32) -> Option<Attachment> {
    let firsts = &world.index.first_attachment;
    let task = firsts.partition_point(|first| *first <= id).checked_sub(1)?;
    firsts.get(task + 1)?;
    let (created, modified) = tasks::times(world, task as u32);
    Some(draw(world, u64::from(id), Parent::Task(task as u32), created + (modified - created) / 2))
}

/// Makes an attachment for some parent.
pub(crate) fn draw(world: &World, key: u64, parent: Parent, created_at: Ms) -> Attachment {
    let mut rng = Rng::new(world.seed, 0xa77b, key);
    let host = rng.pick(HOSTS);
    let words = 1 + rng.below(3);
    Attachment {
        parent,
        name: format!("{}.{}", text::title(&mut rng, words), rng.pick(ENDINGS)),
        host,
        size: if rng.once_in(30) { 0 } else { 100 + rng.below(5_000_000) },
        created_at,
        connected_to_app: host != "asana" && rng.once_in(2),
    }
}

/// Gives every fourth project an attachment.
pub(crate) fn of_projects(world: &mut World) {
    for project in (0..world.plan.projects).step_by(4).filter(|_| !world.plan.mini) {
        let id = world.index.attachments;
        let at = START + (LAST - START) / 2 + Ms::from(project) * 1_000;
        let attachment = draw(world, u64::from(id), Parent::Project(project), at);
        world.attachments.insert(id, super::history::Chain::new(crate::time::EARLIEST, attachment));
        world.index.project_attachments[project as usize].push(id);
        world.index.attachments += 1;
    }
}
