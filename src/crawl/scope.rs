//! What a run reads: the tables to keep, and those that lead to them.

use std::collections::BTreeSet;

use crate::resources::{self, Resource};

/// The tables of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    kept: BTreeSet<&'static str>,
    read: BTreeSet<&'static str>,
}

impl Scope {
    /// The scope that keeps `tables`; all, where none is named.
    #[must_use]
    pub fn new(tables: &[String]) -> Self {
        let named =
            |resource: &&Resource| tables.is_empty() || tables.iter().any(|name| name == resource.table);
        let kept: BTreeSet<_> =
            resources::ALL.iter().copied().filter(named).map(|resource| resource.table).collect();
        let mut read = kept.clone();
        loop {
            let above: Vec<_> = read
                .iter()
                .filter_map(|table| resources::by_table(table))
                .flat_map(resources::tables_above)
                .collect();
            let before = read.len();
            read.extend(above.iter().map(|resource| resource.table));
            if read.len() == before {
                return Self { kept, read };
            }
        }
    }

    /// Whether the records of this table are kept.
    #[must_use]
    pub fn keeps(&self, resource: &Resource) -> bool {
        self.kept.contains(resource.table)
    }

    /// Whether this table is read, be it to be kept or because it leads to one that is.
    #[must_use]
    pub fn reads(&self, resource: &Resource) -> bool {
        self.read.contains(resource.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kept: &[&str], table: &str, keeps: bool, reads: bool) {
        let scope = Scope::new(&kept.iter().map(ToString::to_string).collect::<Vec<_>>());
        let resource = resources::by_table(table).expect("a table");
        assert_eq!((scope.keeps(resource), scope.reads(resource)), (keeps, reads), "{table} under {kept:?}");
    }

    #[test]
    fn what_leads_to_a_kept_table_is_read_and_not_kept() {
        check(&[], "stories", true, true);
        check(&["sections"], "sections", true, true);
        check(&["sections"], "projects", false, true);
        check(&["sections"], "tasks", false, false);
        check(&["stories"], "tasks", false, true);
        check(&["stories"], "projects", false, true);
    }
}
