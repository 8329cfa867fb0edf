//! How much of everything there is.

use std::fmt;
use std::str::FromStr;

/// How large the organization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Size {
    /// Some 25 records in all, and each table has one at least: for tests that try every point of a crash.
    Mini,
    /// About 100 tasks: every shape there is, once or more.
    #[default]
    Tiny,
    /// 5,000 tasks.
    Small,
    /// 100,000 tasks, and more than the 2,000 users at which some listings stop.
    Medium,
    /// 1,000,000 tasks.
    Large,
    /// So many tasks, and of the rest as little as possible: for tests that try everything. Below 60 nothing is many
    /// or long, either: no crowds of stories, no 60 KB texts.
    Tasks(u32),
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mini" => Ok(Self::Mini),
            "tiny" => Ok(Self::Tiny),
            "small" => Ok(Self::Small),
            "medium" => Ok(Self::Medium),
            "large" => Ok(Self::Large),
            other => other.parse().map(Self::Tasks).map_err(|_| {
                format!("`{other}` is neither mini, tiny, small, medium, large nor a number of tasks")
            }),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mini => out.write_str("mini"),
            Self::Tiny => out.write_str("tiny"),
            Self::Small => out.write_str("small"),
            Self::Medium => out.write_str("medium"),
            Self::Large => out.write_str("large"),
            Self::Tasks(count) => write!(out, "{count}"),
        }
    }
}

/// How many of each the seed makes in the organization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) tasks: u32,
    pub(crate) users: u32,
    pub(crate) teams: u32,
    pub(crate) projects: u32,
    pub(crate) tags: u32,
    pub(crate) fields: u32,
    pub(crate) portfolios: u32,
    /// Most sections a project has.
    pub(crate) sections: u32,
    /// Most custom fields on one project.
    pub(crate) settings: u32,
    /// So small that nothing in it is ever many or long.
    pub(crate) lean: bool,
    /// So small that chance must not leave a table empty.
    pub(crate) mini: bool,
}

impl Plan {
    /// The plan of a size.
    pub(crate) fn of(size: Size) -> Self {
        let (tasks, users, teams, projects, tags, fields, portfolios) = match size {
            Size::Mini => (4, 2, 1, 1, 1, 1, 1),
            Size::Tiny => (100, 14, 4, 9, 6, 18, 4),
            Size::Small => (5_000, 130, 16, 120, 40, 40, 14),
            Size::Medium => (100_000, 2_500, 150, 1_600, 300, 150, 110),
            Size::Large => (1_000_000, 9_000, 600, 12_000, 1_000, 400, 600),
            Size::Tasks(tasks) => {
                let more = (f64::from(tasks)).sqrt() as u32;
                (tasks, 3 + more / 3, 1 + more / 8, 2 + more / 3, 1 + more / 6, 2 + more / 3, 1 + more / 9)
            }
        };
        let mini = size == Size::Mini;
        let lean = mini || matches!(size, Size::Tasks(count) if count < 60);
        let (sections, settings) = if lean { (2, 2) } else { (6, 9) };
        Self { tasks, users, teams, projects, tags, fields, portfolios, sections, settings, lean, mini }
    }
}
