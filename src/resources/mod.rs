//! What Asana has, as data: how each resource is listed, under which parent, which fields to ask for, its key and
//! its columns.
//!
//! Rule: the crawler, the encoder and the repository know no resource by name. A new table is a new constant in
//! [`ALL`] and its listings, and nothing else. Changing a column or a field raises [`VERSION`].

mod columns;
mod fields;
mod listing;
mod people;
mod portfolios;
mod work;

pub use columns::{Column, Shape};
pub use listing::{Below, Listing, When};

use crate::model::Hash;

/// The version of these definitions. Digests of records are comparable within one version only.
pub const VERSION: u32 = 1;

/// Every resource, parents before what hangs below them.
pub const ALL: &[&Resource] = &[
    &people::WORKSPACES,
    &people::USERS,
    &people::WORKSPACE_MEMBERSHIPS,
    &people::TEAMS,
    &people::TEAM_MEMBERSHIPS,
    &fields::CUSTOM_FIELDS,
    &work::TAGS,
    &work::PROJECTS,
    &fields::CUSTOM_FIELD_SETTINGS,
    &work::SECTIONS,
    &portfolios::PORTFOLIOS,
    &portfolios::PORTFOLIO_ITEMS,
    &work::TASKS,
    &work::STORIES,
    &work::ATTACHMENTS,
];

/// The resource whose records are kept in `table`.
#[must_use]
pub fn by_table(table: &str) -> Option<&'static Resource> {
    ALL.iter().find(|resource| resource.table == table).copied()
}

/// The same for a table that the program names itself, and so exists.
pub(crate) fn named(table: &'static str) -> &'static Resource {
    by_table(table).unwrap_or_else(|| panic!("{table} is a table"))
}

/// The resource whose records say they are of `resource_type`.
#[must_use]
pub fn by_type(resource_type: &str) -> Option<&'static Resource> {
    ALL.iter().find(|resource| resource.resource_type == Some(resource_type)).copied()
}

/// The tables that listings of `resource` hang below, itself left out.
pub fn tables_above(resource: &Resource) -> impl Iterator<Item = &'static Resource> {
    let tables = resource.listings.iter().filter_map(|listing| match listing.below {
        Below::Table(above) if above != resource.table => by_table(above),
        _ => None,
    });
    // In their usual order, and each once.
    let tables: Vec<_> = tables.collect();
    ALL.iter().copied().filter(move |above| tables.contains(above))
}

/// What identifies a record in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Its gid.
    Gid,
    /// The gid of the parent it was listed under, `/`, and its own: relations have no gid of their own.
    ParentAndGid,
}

/// Where a record says what it hangs below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentOf {
    /// Nothing: it hangs below the organization.
    Organization,
    /// The gid in this reference of the record (`project`), falling back on the listing's parent where it is null.
    Field(&'static str),
    /// The parent it was listed under; the record itself does not say.
    Listing,
}

/// One kind of thing Asana has.
#[derive(Debug)]
pub struct Resource {
    /// The table of its records.
    pub table: &'static str,
    /// What its records' `resource_type` says, where they can be referred to by it. A relation has none.
    pub resource_type: Option<&'static str>,
    /// The path of the single GET, with `{gid}`; none where Asana has none.
    pub single: Option<&'static str>,
    /// The operation id of the single GET, in Asana's description.
    pub single_operation: &'static str,
    /// What identifies a record.
    pub key: Key,
    /// What a record hangs below.
    pub parent: ParentOf,
    /// Whether a record goes when what it hangs below is proven gone.
    pub goes_with_parent: bool,
    /// Whether a reference to a record that the walk lacks is followed. Not for what always comes with its parent.
    pub followed: bool,
    /// The columns, in the order they were first defined.
    pub columns: &'static [Column],
    /// Documented fields that are never asked for, with the reason.
    pub never: &'static [(&'static str, &'static str)],
    /// The listings that bring its records.
    pub listings: &'static [Listing],
}

impl Resource {
    /// The value of `opt_fields`: every path of every column, in their order.
    #[must_use]
    pub fn opt_fields(&self) -> String {
        let mut paths = Vec::new();
        columns::paths(self.columns, "", &mut paths);
        paths.join(",")
    }

    /// Its place in [`ALL`].
    #[must_use]
    pub fn place(&self) -> usize {
        ALL.iter().position(|other| *other == self).expect("every resource is in the list")
    }

    /// The number of one of its listings, by which runs keep what they have still to read.
    #[must_use]
    pub fn number_of(&self, listing: &Listing) -> usize {
        let same = |other: &Listing| std::ptr::eq(other, listing);
        self.listings.iter().position(same).expect("a listing is asked for with its own resource")
    }

    /// Whether listings hang below its records.
    #[must_use]
    pub fn leads(&self) -> bool {
        ALL.iter()
            .flat_map(|resource| resource.listings)
            .any(|listing| listing.below == Below::Table(self.table))
    }

    /// Whether the search for tasks that no listing leads to is part of what proves it.
    #[must_use]
    pub fn swept_with_tasks(&self) -> bool {
        self.table == "tasks" || tables_above(self).any(|above| above.table == "tasks")
    }

    /// Names the set of fields that [`Self::opt_fields`] asks for.
    #[must_use]
    pub fn field_set(&self) -> String {
        let digest = Hash::of(self.opt_fields().as_bytes()).to_string();
        format!("{}:{}", self.table, &digest[..8])
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl Eq for Resource {}

#[cfg(test)]
mod tests;
