//! Asana's records, written as its OpenAPI description has them.
//!
//! Rule: a field has the type, the words and the nulls of that description. A field it calls conditional is left out
//! when it does not apply; one it does not call nullable is never null.

mod attachment;
mod field;
mod people;
mod portfolio;
mod project;
mod story;
mod task;

use crate::gid::Kind;
use crate::json::{self, C, Object, Select};
use crate::time::Ms;
use crate::world::World;
use crate::world::rows::{ORGANIZATION, PERSONAL};

pub(crate) use self::project::task_counts;

/// What somebody sees of the world, at one moment.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The world.
    pub(crate) world: &'a World,
    /// As of when.
    pub(crate) at: Ms,
    /// The user who asks.
    pub(crate) me: u32,
    /// What makes the signed URLs of this answer its own; `None` leaves them unsigned.
    pub(crate) signature: Option<u64>,
}

/// One row of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ref {
    /// What it is.
    pub(crate) kind: Kind,
    /// Which one.
    pub(crate) id: u32,
}

impl View<'_> {
    /// The gid of a thing.
    pub(crate) fn gid(&self, kind: Kind, id: u32) -> u64 {
        self.world.gid(kind, id)
    }

    /// Writes any record.
    pub(crate) fn record(&self, row: Ref, select: &Select, out: &mut Vec<u8>) {
        let id = row.id;
        match row.kind {
            Kind::Workspace => self.workspace(id, select, out),
            Kind::User => self.user(id, select, out),
            Kind::WorkspaceMembership => self.workspace_membership(id, select, out),
            Kind::UserTaskList => self.user_task_list(id, select, out),
            Kind::Team => self.team(id, select, out),
            Kind::TeamMembership => self.team_membership(id, select, out),
            Kind::Project => self.project(id, select, out),
            Kind::Section => self.section(id, select, out),
            Kind::Task => self.task(id, select, out),
            Kind::Story => self.story(id, select, out),
            Kind::Attachment => self.attachment(id, select, out),
            Kind::Tag => self.tag(id, select, out),
            Kind::CustomField => self.custom_field(id, select, out),
            Kind::Setting => self.setting(id, select, out),
            Kind::Portfolio => self.portfolio(id, select, out),
            kind => self.named(kind, id, "", select, out),
        }
    }

    /// Writes a record of which only the name matters.
    pub(crate) fn named(&self, kind: Kind, id: u32, name: &str, select: &Select, out: &mut Vec<u8>) {
        let mut object = Object::record(out, select, self.gid(kind, id), kind.resource_type());
        if !name.is_empty() {
            object.text(C, "name", name);
        }
        object.end();
    }

    /// The gid of the workspace as it stands in links.
    pub(crate) fn link(&self, workspace: u32, kind: &str, gid: u64) -> String {
        let workspace =
            self.gid(Kind::Workspace, if workspace == PERSONAL { PERSONAL } else { ORGANIZATION });
        format!("https://app.asana.com/1/{workspace}/{kind}/{gid}")
    }
}

/// Writes an array of records.
pub(crate) fn each(view: &View<'_>, kind: Kind, ids: &[u32], select: &Select, out: &mut Vec<u8>) {
    json::array(out, ids, |out, id| view.record(Ref { kind, id: *id }, select, out));
}

/// Writes a record, or null.
pub(crate) fn maybe(view: &View<'_>, kind: Kind, id: Option<u32>, select: &Select, out: &mut Vec<u8>) {
    match id {
        Some(id) => view.record(Ref { kind, id }, select, out),
        None => json::null(out),
    }
}
