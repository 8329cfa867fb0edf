//! What a backfill reads again: a part of the organization, or what changed since a moment, named by hand.
//!
//! Rule: naming a part narrows what is asked for, never what is kept of the answers. And what is found to differ brings
//! all that hangs below it, named or not: the next run would see no difference any more, and leave it at that.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::crawl::unit::Why;
use crate::crawl::{Scope, Unit};
use crate::resources::{self, Resource};

/// What to read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// Only what changed since then; all, if not said.
    pub since: Option<DateTime<Utc>>,
    /// Only these tables; all, if none is named.
    pub tables: BTreeSet<String>,
    /// Only these projects and what hangs below them; all, if none is named.
    pub projects: BTreeSet<String>,
}

/// How a walk reads again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The tables that are read, be it for those that lead to others.
    tables: Scope,
    since: Option<DateTime<Utc>>,
}

impl Backfill {
    /// Whether it leaves nothing out: then it proves what a walk of everything does.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it reads this table, be it because it leads to one that is named.
    #[must_use]
    pub fn reads(&self, resource: &Resource) -> bool {
        self.scope().reads(resource)
    }

    /// Whether it lists all that there is of this table, so that it meets every row.
    #[must_use]
    pub fn meets_all_of(&self, resource: &Resource) -> bool {
        self.since.is_none() && self.projects.is_empty() && self.reads(resource)
    }

    /// The moment since which tasks are asked for that no listing leads to; none where all that it reads is listed.
    #[must_use]
    pub fn asks_since(&self) -> Option<DateTime<Utc>> {
        let tasks = resources::named("tasks");
        self.since.filter(|_| self.projects.is_empty() && self.reads(tasks))
    }

    /// How a walk reads it.
    #[must_use]
    pub fn again(&self) -> Again {
        Again { tables: self.scope(), since: self.since }
    }

    /// Where it begins, for a run that reads `scope`.
    #[must_use]
    pub fn roots(&self, organization: &str, scope: &Scope) -> Vec<Unit> {
        if self.projects.is_empty() {
            let narrow = self.scope();
            let roots = Unit::roots(organization, scope).into_iter();
            return roots.filter(|unit| narrow.reads(unit.resource)).collect();
        }
        let projects = resources::named("projects");
        self.projects.iter().map(|gid| Unit::single(projects, gid, Why::Named)).collect()
    }

    fn scope(&self) -> Scope {
        Scope::new(&self.tables.iter().cloned().collect::<Vec<_>>())
    }
}

impl Again {
    /// Whether `unit` is read again below something that was named, or that a lane reported.
    pub(super) fn names(&self, unit: &Unit) -> bool {
        self.tables.reads(unit.resource)
    }

    /// Whether `unit` is read again below a record of `above` that was listed. Of what has changed nobody tells but the
    /// record itself, so what may hold others of its kind is always looked into, and so is what does not say when it
    /// changed.
    pub(super) fn asks(&self, unit: &Unit, above: &Resource, modified_at: Option<DateTime<Utc>>) -> bool {
        let is_due = self.since.is_none_or(|since| {
            unit.resource == above || (unit.proves() && modified_at.is_none_or(|at| at >= since))
        });
        is_due && self.names(unit)
    }
}

/// As it is said on the command line.
impl fmt::Display for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => write!(f, "--since {}", since.to_rfc3339_opts(SecondsFormat::AutoSi, true))?,
            None => f.write_str("--all")?,
        }
        for (name, named) in [("tables", &self.tables), ("projects", &self.projects)] {
            if !named.is_empty() {
                let named: Vec<_> = named.iter().map(String::as_str).collect();
                write!(f, " --{name} {}", named.join(","))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(since: Option<i64>, tables: &[&str], projects: &[&str]) -> Backfill {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let since = since.and_then(|at| DateTime::from_timestamp(at, 0));
        Backfill { since, tables: set(tables), projects: set(projects) }
    }

    #[test]
    fn it_is_said_as_it_was_typed() {
        assert_eq!(named(None, &[], &[]).to_string(), "--all");
        let all = named(Some(0), &["tasks", "stories"], &["2", "1"]);
        assert_eq!(all.to_string(), "--since 1970-01-01T00:00:00Z --tables stories,tasks --projects 1,2");
    }

    #[test]
    fn only_what_leaves_nothing_out_is_everything() {
        assert!(named(None, &[], &[]).is_everything());
        let parts = [named(Some(0), &[], &[]), named(None, &["tasks"], &[]), named(None, &[], &["1"])];
        assert!(!parts.iter().any(Backfill::is_everything));
    }

    #[test]
    fn a_part_meets_all_rows_only_of_tables_that_it_lists_whole() {
        let tasks = resources::named("tasks");
        let users = resources::named("users");
        assert!(named(None, &["stories"], &[]).meets_all_of(tasks));
        assert!(!named(None, &["users"], &[]).meets_all_of(tasks));
        assert!(named(None, &["users"], &[]).meets_all_of(users));
        assert!(!named(None, &[], &["1"]).meets_all_of(tasks));
        assert!(!named(Some(0), &[], &[]).meets_all_of(tasks));
    }

    #[test]
    fn below_what_did_not_change_only_subtasks_are_looked_for() {
        let again = named(Some(100), &[], &[]).again();
        let tasks = resources::named("tasks");
        let record = serde_json::json!({"gid": "1"});
        let (below, _) = Unit::below(tasks, "1", &record, &Scope::new(&[]));
        let asked = |at| {
            let at = DateTime::from_timestamp(at, 0);
            below.iter().filter(|unit| again.asks(unit, tasks, at)).map(Unit::operation).collect::<Vec<_>>()
        };
        assert_eq!(asked(99), ["getSubtasksForTask"]);
        assert_eq!(asked(100).len(), below.len());
    }
}
