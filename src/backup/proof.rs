//! What proves a table current, from what this run walked and what earlier runs did.
//!
//! Rule: a lane that reports proves nothing: a table stays as current as the oldest walk of any part of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::backup::holding::HELD;
use crate::backup::journal::Planned;
use crate::crawl::{Coverage, Findings, Scope, oldest};
use crate::model::{Gap, Proof, Snapshot};
use crate::resources::{self, Resource};

/// What proofs are made of.
pub(super) struct Evidence<'a> {
    pub(super) base: Option<&'a Snapshot>,
    pub(super) planned: Option<&'a Planned>,
    pub(super) findings: &'a Findings,
    pub(super) gaps: &'a [Gap],
    pub(super) coverage: &'a [Coverage],
    pub(super) started_at: DateTime<Utc>,
    /// Whether the run is over; until then nothing is proven that was not before.
    pub(super) is_finished: bool,
}

impl Evidence<'_> {
    fn walked_everything(&self) -> bool {
        self.planned.is_some_and(|planned| planned.everything.is_some())
    }

    /// Whether this run read all listings of `resource`, but those that hang below tasks.
    fn walked(&self) -> bool {
        self.planned.is_some_and(Planned::walks)
    }

    /// Reasons why a table is not proven complete, other than gaps: of this run where it walked, else as they were.
    pub(super) fn lacks(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut lacks = match self.base {
            Some(base) if !self.walked_everything() => base.lacks.clone(),
            _ => BTreeMap::new(),
        };
        let swept = self.planned.is_some_and(|planned| planned.sweep);
        for resource in resources::ALL {
            let settled = if resource.swept_with_tasks() { swept } else { self.walked() };
            if settled {
                lacks.remove(resource.table);
            }
        }
        for (table, reasons) in &self.findings.lacks {
            lacks.entry(table.clone()).or_default().extend(reasons.iter().cloned());
        }
        lacks.retain(|_, reasons| !reasons.is_empty());
        lacks
    }

    /// What proves `resource`; `lacks` as [`Self::lacks`] gives them.
    pub(super) fn proof(
        &self,
        resource: &'static Resource,
        scope: &Scope,
        lacks: &BTreeMap<String, BTreeSet<String>>,
    ) -> Proof {
        let incomplete = |why: &str| Proof {
            complete: false,
            available: true,
            as_of: self.started_at,
            by: Vec::new(),
            lacks: vec![why.to_owned()],
        };
        if !scope.keeps(resource) {
            return incomplete("left out by the filters");
        }
        let before = self.base.and_then(|base| base.tables.get(resource.table)).map(|state| &state.proof);
        if let Some(answer) = self.findings.unavailable.get(resource.table) {
            let lacks = vec![format!("the plan does not have it: {answer}")];
            return Proof { complete: true, available: false, as_of: self.started_at, by: Vec::new(), lacks };
        }
        let may_stay = !self.walked() && !lacks.contains_key(resource.table);
        if let Some(before) = before.filter(|before| !before.available && may_stay) {
            return before.clone();
        }
        let Some(as_of) =
            self.as_of(resource, before).filter(|_| self.is_finished || !self.walked_everything())
        else {
            return incomplete("the first walk of everything is not finished");
        };
        let mut all: BTreeSet<String> = lacks.get(resource.table).cloned().unwrap_or_default();
        all.extend(self.gaps_of(resource));
        // What hangs below a table that is not complete may be missing with its parent.
        for above in resources::tables_above(resource) {
            if lacks.contains_key(above.table) || self.gaps_of(above).next().is_some() {
                all.insert(format!("what hangs below what `{}` lacks", above.table));
            }
        }
        let mut by: Vec<String> =
            resource.listings.iter().map(|listing| listing.operation.to_owned()).collect();
        by.dedup();
        let swept = self.coverage.iter().any(|one| one.scope == SWEEP);
        if resource.swept_with_tasks() && swept {
            by.push("searchTasksForWorkspace".to_owned());
        }
        Proof { complete: all.is_empty(), available: true, as_of, by, lacks: all.into_iter().collect() }
    }

    /// The moment that the oldest walk of any part of the table speaks for; none before everything was walked.
    fn as_of(&self, resource: &Resource, before: Option<&Proof>) -> Option<DateTime<Utc>> {
        let walked =
            |scope: &str| self.coverage.iter().find(|one| one.scope == scope).map(|one| one.covered_at);
        if resource.swept_with_tasks() {
            // Where the search is refused, its lack is among the reasons, and its time is none.
            return oldest(self.coverage)
                .map(|oldest| walked(SWEEP).map_or(oldest, |swept| oldest.min(swept)));
        }
        walked(LISTINGS).or(before.map(|before| before.as_of))
    }

    fn gaps_of<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = String> + 'a {
        let mut counts: BTreeMap<(&str, u16), u64> = BTreeMap::new();
        for gap in self.gaps.iter().filter(|gap| gap.table == resource.table) {
            *counts.entry((&gap.scope, gap.status)).or_default() += 1;
        }
        counts.into_iter().map(|((scope, status), count)| match scope {
            HELD => "deletions are held back".to_owned(),
            scope => format!("{count} × {scope} answered {status}"),
        })
    }
}

/// The scope of all listings that do not hang below tasks.
pub(super) const LISTINGS: &str = "listings";
/// The scope of the search by creation.
pub(super) const SWEEP: &str = "sweep";
