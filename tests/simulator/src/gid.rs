//! Asana's identifiers, made from what they name and read back into it.
//!
//! Rule: a gid is 16 digits, unique over all kinds, the same in every run of a seed, and larger for what was made
//! later. It can be read back without a table, so a million tasks need no index; a number that was never given
//! out is not recognised.

use crate::random::mix;

/// What a gid can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Workspace,
    User,
    WorkspaceMembership,
    UserTaskList,
    UserSection,
    Team,
    TeamMembership,
    Project,
    Section,
    Tag,
    CustomField,
    EnumOption,
    Setting,
    Portfolio,
    Status,
    Template,
    Brief,
    CustomType,
    StatusOption,
    Task,
    Attachment,
    Story,
    Like,
}

use Kind::*;

/// All kinds, in the order of their gids.
const KINDS: &[Kind] = &[
    Workspace,
    User,
    WorkspaceMembership,
    UserTaskList,
    UserSection,
    Team,
    TeamMembership,
    Project,
    Section,
    Tag,
    CustomField,
    EnumOption,
    Setting,
    Portfolio,
    Status,
    Template,
    Brief,
    CustomType,
    StatusOption,
    Task,
    Attachment,
    Story,
    Like,
];

const FIRST: u64 = 1_200_000_000_000_000;
const RANGE: u64 = 400_000_000_000;
const STRIDE: u64 = 41;

/// The gid of the thing of this kind with this number.
pub(crate) fn gid(seed: u64, kind: Kind, id: u64) -> u64 {
    FIRST + kind as u64 * RANGE + id * STRIDE + mix(seed, 0x91d + kind as u64, id) % STRIDE
}

/// What a gid names, if it is one of ours.
pub(crate) fn read(seed: u64, text: &str) -> Option<(Kind, u64)> {
    let number: u64 = text.parse().ok()?;
    let rest = number.checked_sub(FIRST)?;
    let kind = *KINDS.get((rest / RANGE) as usize)?;
    let id = rest % RANGE / STRIDE;
    (gid(seed, kind, id) == number).then_some((kind, id))
}

impl Kind {
    /// Asana's `resource_type` of this kind.
    pub(crate) fn resource_type(self) -> &'static str {
        match self {
            Workspace => "workspace",
            User => "user",
            WorkspaceMembership => "workspace_membership",
            UserTaskList => "user_task_list",
            UserSection | Section => "section",
            Team => "team",
            TeamMembership => "team_membership",
            Project => "project",
            Tag => "tag",
            CustomField => "custom_field",
            EnumOption => "enum_option",
            Setting => "custom_field_setting",
            Portfolio => "portfolio",
            Status => "status_update",
            Template => "project_template",
            Brief => "project_brief",
            CustomType => "custom_type",
            StatusOption => "custom_type_status_option",
            Task => "task",
            Attachment => "attachment",
            Story => "story",
            Like => "like",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, gid, read};

    #[test]
    fn a_gid_names_one_thing_and_is_read_back() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place);
            for id in [0, 1, 77, 4_000_000] {
                let text = gid(7, *kind, id).to_string();
                assert_eq!(text.len(), 16);
                assert_eq!(read(7, &text), Some((*kind, id)));
                assert_eq!(read(8, &text).filter(|found| *found == (*kind, id)).is_some(), {
                    gid(8, *kind, id) == gid(7, *kind, id)
                });
            }
        }
    }
}
