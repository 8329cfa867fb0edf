//! The plan of a run: which lanes it uses, and what they cost. Pure.
//!
//! Rule: the cheapest lane that may report is used, in the order of the enum [`Source`]; what no lane reports is walked
//! within the interval. The price is an estimate from the rows that the last snapshot had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crawl::{Backfill, SLICES, Slices};
use crate::resources::{self, Below, Listing, Resource, When};

/// Where a run learns what changed, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// One stream of all events of the organization: service accounts of Enterprise+.
    WorkspaceEvents,
    /// A stream for each project, and the search for tasks in none.
    ProjectEvents,
    /// The search, by modification.
    Search,
    /// The tasks of each project and user modified since, and the subtasks of each task that has some.
    ModifiedSince,
}

/// What is walked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Walked {
    /// Nothing.
    Nothing,
    /// All listings above tasks, and below the tasks of some slices.
    Slices(u16),
    /// What was named.
    Again(Backfill),
    /// Everything.
    Everything,
}

/// What a plan is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Why everything must be walked, if it must.
    pub everything: Option<String>,
    /// What was named to be read again.
    pub again: Option<Backfill>,
    /// The slices that are due.
    pub slices: Slices,
    /// Whether the sweep is due.
    pub sweep: bool,
    /// Whether the token may listen to the organization.
    pub workspace_events: bool,
    /// Whether it may listen to a project.
    pub project_events: bool,
    /// Whether it may search.
    pub search: bool,
    /// Rows of each table in the last snapshot.
    pub rows: BTreeMap<String, u64>,
}

/// One item of the price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// What is asked: an operation of Asana's description.
    pub operation: &'static str,
    /// Requests.
    pub requests: u64,
}

/// What a run will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is walked.
    pub walk: Walked,
    /// Why everything is walked, if it is.
    pub reason: Option<String>,
    /// Whether all tasks are searched through by creation.
    pub sweep: bool,
    /// Where changes come from.
    pub changes: Source,
    /// What that costs, as far as it is known: what changed costs on top.
    pub price: Vec<Price>,
    /// Whether the price knows how large the organization is. Of a first copy nobody does: it is the least there can be.
    pub knows_size: bool,
}

impl Plan {
    /// All requests of the price.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.price.iter().map(|price| price.requests).sum()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WorkspaceEvents => "the organization's events",
            Self::ProjectEvents => "the events of each project, and the search",
            Self::Search => "the search by modification",
            Self::ModifiedSince => "the tasks of each project and user modified since, and all subtasks",
        })
    }
}

impl std::fmt::Display for Walked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Slices(slices) => {
                write!(f, "all listings, and what hangs below {slices} of {SLICES} slices of the tasks")
            }
            Self::Again(backfill) => write!(f, "again what was named: {backfill}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// The plan that fits `facts`.
#[must_use]
pub fn plan(facts: &Facts) -> Plan {
    let changes = match (facts.workspace_events, facts.search, facts.project_events) {
        (true, ..) => Source::WorkspaceEvents,
        (_, true, true) => Source::ProjectEvents,
        (_, true, false) => Source::Search,
        (_, false, _) => Source::ModifiedSince,
    };
    let walk = match (&facts.everything, &facts.again, facts.slices.len()) {
        (Some(_), ..) => Walked::Everything,
        (None, Some(backfill), _) => Walked::Again(backfill.clone()),
        (None, None, 0) => Walked::Nothing,
        (None, None, slices) => Walked::Slices(slices),
    };
    let sweep = facts.sweep || facts.everything.is_some();
    let (reason, knows_size) = (facts.everything.clone(), !facts.rows.is_empty());
    let mut plan = Plan { walk, reason, sweep, changes, price: Vec::new(), knows_size };
    plan.price = price(&plan, facts);
    plan
}

fn price(plan: &Plan, facts: &Facts) -> Vec<Price> {
    let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut add = |operation, requests| *sums.entry(operation).or_default() += requests;
    let rows = |table: &str| facts.rows.get(table).copied().unwrap_or(0);
    add("getUser", 1);
    if let Walked::Again(backfill) = &plan.walk {
        add("getProject", backfill.projects.len() as u64);
        if backfill.asks_since().is_some() {
            add("searchTasksForWorkspace", 1);
        }
    }
    for resource in resources::ALL.iter().copied() {
        for listing in resource.listings {
            add(listing.operation, of_listing(plan, facts, resource, listing));
        }
    }
    let searches = rows("tasks") / 100 + 1;
    match plan.changes {
        Source::WorkspaceEvents => add("getWorkspaceEvents", 2),
        Source::ProjectEvents => {
            add("getEvents", rows("projects"));
            add("searchTasksForWorkspace", 2);
        }
        Source::Search => add("searchTasksForWorkspace", 2),
        Source::ModifiedSince => {
            add("getTasks", rows("projects") + rows("users"));
            add("getSubtasksForTask", with_subtasks(rows("tasks")));
        }
    }
    if plan.sweep && facts.search {
        add("searchTasksForWorkspace", searches);
    }
    sums.into_iter()
        .filter(|(_, requests)| *requests > 0)
        .map(|(operation, requests)| Price { operation, requests })
        .collect()
}

/// Tasks that have subtasks: a guess, since no table counts them.
fn with_subtasks(tasks: u64) -> u64 {
    tasks.div_ceil(5)
}

fn of_listing(plan: &Plan, facts: &Facts, resource: &Resource, listing: &Listing) -> u64 {
    let rows = |table: &str| facts.rows.get(table).copied().unwrap_or(0);
    // Without the organization's events, nothing else says what is new at the top.
    let roots = match &plan.walk {
        Walked::Nothing => false,
        Walked::Again(backfill) => backfill.projects.is_empty() && backfill.reads(resource),
        Walked::Slices(_) | Walked::Everything => true,
    };
    let roots = roots || plan.changes != Source::WorkspaceEvents;
    match listing.below {
        Below::Organization if roots => {
            let pages = rows(resource.table) / 100 + 1;
            // One of several pages is listed again after a walk.
            if plan.walk != Walked::Nothing && pages > 1 { 2 * pages } else { pages }
        }
        Below::Organization => 0,
        Below::Table(above) => {
            let (share, of) = match &plan.walk {
                Walked::Nothing => return 0,
                Walked::Again(backfill) => match share(backfill, resource, above) {
                    Some(named) => (named.min(rows("projects")), rows("projects").max(1)),
                    None => return 0,
                },
                Walked::Slices(slices) if above == "tasks" => (u64::from(*slices), u64::from(SLICES)),
                Walked::Slices(_) | Walked::Everything => (1, 1),
            };
            let parents = match listing.when {
                When::Always => rows(above),
                When::Counts(_) => with_subtasks(rows(above)),
            };
            let pages = if above == "projects" { rows(resource.table) / 100 } else { 0 };
            ((parents + pages) * share).div_ceil(of)
        }
    }
}

/// How many projects' share of what hangs below `above` is read again; none where only what changed is.
fn share(backfill: &Backfill, resource: &Resource, above: &str) -> Option<u64> {
    let leads_there = ["projects", "tasks"].contains(&above);
    let counts = backfill.since.is_none() || (resource.table == "tasks" && leads_there);
    match backfill.projects.len() as u64 {
        _ if !backfill.reads(resource) || !counts => None,
        0 => backfill.since.is_none().then_some(u64::MAX),
        named => leads_there.then_some(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let rows = [("projects", 100), ("tasks", 10_000), ("users", 50)];
        let rows = rows.into_iter().map(|(table, rows)| (table.to_owned(), rows)).collect();
        Facts { workspace_events: true, project_events: true, search: true, rows, ..Facts::default() }
    }

    #[test]
    fn the_best_lane_that_may_report_is_used() {
        let source = |workspace_events, project_events, search| {
            plan(&Facts { workspace_events, project_events, search, ..facts() }).changes
        };
        assert_eq!(source(true, true, true), Source::WorkspaceEvents);
        assert_eq!(source(true, false, false), Source::WorkspaceEvents);
        assert_eq!(source(false, true, true), Source::ProjectEvents);
        assert_eq!(source(false, false, true), Source::Search);
        assert_eq!(source(false, true, false), Source::ModifiedSince);
    }

    #[test]
    fn a_quiet_hour_with_events_costs_three_requests() {
        assert_eq!(plan(&facts()).requests(), 3);
    }

    #[test]
    fn a_seventh_of_the_walk_costs_a_seventh_of_what_hangs_below_tasks() {
        let everything = plan(&Facts { everything: Some("asked for".to_owned()), ..facts() });
        let of = |plan: &Plan, operation: &str| {
            plan.price.iter().find(|price| price.operation == operation).map_or(0, |price| price.requests)
        };
        assert_eq!(of(&everything, "getStoriesForTask"), 10_000);
        let coverage = Vec::new();
        let now = chrono::DateTime::UNIX_EPOCH;
        let slices = crate::crawl::due(&coverage, chrono::Duration::days(7), now);
        let all = plan(&Facts { slices, ..facts() });
        assert_eq!(of(&all, "getStoriesForTask"), 10_000);
    }
}
