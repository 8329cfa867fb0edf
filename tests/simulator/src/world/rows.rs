//! What the world is made of, as it is kept: small rows that name each other by number.
//!
//! Rule: a row holds what belongs to its own record. Names of others are looked up when somebody reads, so a renamed
//! owner shows in every fresh answer although no row but his own changed.

use crate::text::Text;
use crate::time::Ms;

/// The organization under test.
pub(crate) const ORGANIZATION: u32 = 0;
/// The personal workspace the token can also see, and no backup of the organization may hold.
pub(crate) const PERSONAL: u32 = 1;

/// A workspace.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) name: String,
    pub(crate) email_domains: Vec<String>,
    pub(crate) is_organization: bool,
}

/// A person, with the membership in the organization.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) photo: bool,
    /// Has or had a membership in the organization.
    pub(crate) joined: Option<Ms>,
    /// That membership is alive.
    pub(crate) active: bool,
    pub(crate) guest: bool,
    pub(crate) admin: bool,
    pub(crate) view_only: bool,
    pub(crate) vacation: Option<(i64, Option<i64>)>,
    /// Is in the personal workspace.
    pub(crate) personal: bool,
    /// A single GET answers; false for some of those who were removed.
    pub(crate) found: bool,
}

/// A team. The access levels are Asana's words.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) visibility: &'static str,
    /// A bit for each of the six member settings and the content setting: only admins.
    pub(crate) only_admins: u8,
    pub(crate) endorsed: bool,
}

/// Somebody's place in a team.
#[derive(Clone, Debug)]
pub(crate) struct TeamMembership {
    pub(crate) user: u32,
    pub(crate) team: u32,
    pub(crate) guest: bool,
    pub(crate) limited: bool,
    pub(crate) admin: bool,
}

/// A status shown on a project or portfolio.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) color: &'static str,
    pub(crate) author: u32,
    pub(crate) at: Ms,
}

/// A project.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) workspace: u32,
    pub(crate) name: String,
    pub(crate) notes: Text,
    pub(crate) archived: bool,
    pub(crate) color: Option<&'static str>,
    pub(crate) icon: Option<&'static str>,
    pub(crate) created_at: Ms,
    pub(crate) modified_at: Ms,
    pub(crate) default_view: &'static str,
    pub(crate) due_on: Option<i64>,
    pub(crate) start_on: Option<i64>,
    pub(crate) privacy: &'static str,
    pub(crate) access: &'static str,
    pub(crate) customization: &'static str,
    pub(crate) sharing: &'static str,
    pub(crate) completed: Option<(Ms, u32)>,
    pub(crate) owner: Option<u32>,
    pub(crate) team: Option<u32>,
    pub(crate) members: Vec<u32>,
    pub(crate) followers: Vec<u32>,
    pub(crate) sections: Vec<u32>,
    pub(crate) settings: Vec<u32>,
    pub(crate) status: Option<Status>,
    pub(crate) template: bool,
    pub(crate) brief: bool,
}

/// A section of a project.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) created_at: Ms,
    pub(crate) project: u32,
}

/// A tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) workspace: u32,
    pub(crate) name: String,
    pub(crate) color: Option<&'static str>,
    pub(crate) notes: String,
    pub(crate) created_at: Ms,
    pub(crate) followers: Vec<u32>,
}

/// What a custom field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Text,
    Number,
    Enum,
    MultiEnum,
    Date,
    People,
    Reference,
    Formula,
    CustomId,
}

/// One choice of an enum field.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) name: String,
    pub(crate) color: &'static str,
    pub(crate) enabled: bool,
}

/// A custom field's definition.
#[derive(Clone, Debug)]
pub(crate) struct CustomField {
    pub(crate) name: String,
    pub(crate) kind: FieldKind,
    pub(crate) description: String,
    pub(crate) choices: Vec<Choice>,
    pub(crate) precision: u8,
    pub(crate) format: &'static str,
    pub(crate) id_prefix: Option<String>,
    pub(crate) global: bool,
    pub(crate) notifications: bool,
    pub(crate) asana_created: Option<&'static str>,
    pub(crate) created_by: Option<u32>,
    pub(crate) privacy: &'static str,
    pub(crate) access: &'static str,
}

/// A custom field put on a project.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) project: u32,
    pub(crate) field: u32,
    pub(crate) important: bool,
}

/// A portfolio.
#[derive(Clone, Debug)]
pub(crate) struct Portfolio {
    pub(crate) name: String,
    pub(crate) archived: bool,
    pub(crate) color: &'static str,
    pub(crate) start_on: Option<i64>,
    pub(crate) due_on: Option<i64>,
    pub(crate) access: &'static str,
    pub(crate) created_at: Ms,
    pub(crate) created_by: u32,
    pub(crate) owner: u32,
    pub(crate) members: Vec<u32>,
    pub(crate) public: bool,
    pub(crate) items: Vec<u32>,
    pub(crate) status: Option<Status>,
    pub(crate) template: bool,
}

/// What a task holds in a custom field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Empty,
    Text(Text),
    Number(f64),
    Choice(u32),
    Choices(Vec<u32>),
    Date(i64, Option<Ms>),
    People(Vec<u32>),
    Tasks(Vec<u32>),
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.read() == other.read()
    }
}

/// A day, and perhaps the time on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) day: i64,
    pub(crate) at: Option<Ms>,
}

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) workspace: u32,
    pub(crate) name: Text,
    pub(crate) notes: Text,
    pub(crate) subtype: &'static str,
    pub(crate) approval: &'static str,
    pub(crate) created_at: Ms,
    pub(crate) created_by: u32,
    pub(crate) modified_at: Ms,
    pub(crate) completed: Option<(Ms, u32)>,
    pub(crate) assignee: Option<u32>,
    pub(crate) assigned_by: Option<u32>,
    pub(crate) assignee_status: &'static str,
    pub(crate) due: Option<Due>,
    pub(crate) start: Option<Due>,
    pub(crate) parent: Option<u32>,
    /// Project and section, in the order they were added.
    pub(crate) memberships: Vec<(u32, u32)>,
    pub(crate) tags: Vec<u32>,
    pub(crate) followers: Vec<u32>,
    pub(crate) likes: Vec<u32>,
    pub(crate) dependencies: Vec<u32>,
    pub(crate) dependents: Vec<u32>,
    pub(crate) subtasks: Vec<u32>,
    pub(crate) external: bool,
    pub(crate) actual_minutes: Option<u32>,
    pub(crate) custom_type: bool,
    pub(crate) separator: bool,
    /// The seed's values of custom fields apply where `values` says nothing.
    pub(crate) seeded_values: bool,
    pub(crate) values: Vec<(u32, Value)>,
}

/// What happened on a task, with what it was about.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Comment(Text),
    Assigned(u32),
    Unassigned(u32),
    Completed,
    Reopened,
    Renamed(Text, Text),
    NotesChanged,
    DueChanged(Option<Due>, Option<Due>),
    Moved(u32, u32),
    AddedToProject(u32),
    RemovedFromProject(u32),
    Tagged(u32),
    Untagged(u32),
    FollowerAdded(u32),
    Liked,
    DependencyAdded(u32),
    DependentAdded(u32),
    SubtaskAdded(u32),
    AttachmentAdded,
    Duplicated(u32),
    SubtypeChanged(&'static str, &'static str),
    ApprovalChanged(&'static str, &'static str),
    FieldChanged(u32, Value, Value),
    CommentLiked(u32),
    MarkedDuplicate(u32),
    AddedToTask(u32),
}

/// A story: a comment, or a line that Asana wrote itself.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) task: u32,
    pub(crate) at: Ms,
    pub(crate) by: u32,
    pub(crate) event: Event,
    pub(crate) pinned: bool,
    pub(crate) edited: bool,
    pub(crate) sticker: Option<&'static str>,
    pub(crate) likes: Vec<u32>,
    pub(crate) reactions: u8,
    pub(crate) preview: bool,
    pub(crate) source: &'static str,
}

/// What an attachment hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Task(u32),
    Project(u32),
}

/// An attachment's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) parent: Parent,
    pub(crate) name: String,
    pub(crate) host: &'static str,
    pub(crate) size: u64,
    pub(crate) created_at: Ms,
    pub(crate) connected_to_app: bool,
}
