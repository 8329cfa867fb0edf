//! What a crawl found out besides records: gaps, what is gone, and what its listings prove.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::asana::Refusal;
use crate::model::{Gap, Proof};
use crate::resources::{self, Resource};

/// What is known of a crawl when it is over.
#[derive(Debug, Default)]
pub struct Findings {
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// References that lead nowhere: the object is gone, and what refers to it is not.
    pub dangling: u64,
    /// Tables that the plan does not have, with Asana's answer.
    pub unavailable: BTreeMap<&'static str, String>,
    /// Reasons why a table is not proven complete, other than gaps.
    pub lacks: BTreeMap<&'static str, BTreeSet<String>>,
    /// The moment until which the search covers tasks that no listing leads to.
    pub swept_until: Option<DateTime<Utc>>,
    /// What each lane's probe answered.
    pub probes: BTreeMap<String, String>,
}

impl Findings {
    /// Notes something that could not be read.
    pub(super) fn gap(
        &mut self,
        resource: &Resource,
        operation: &str,
        gid: &str,
        refusal: &Refusal,
        now: DateTime<Utc>,
    ) {
        tracing::debug!(table = resource.table, operation, gid, status = refusal.status, "gap");
        self.gaps.push(Gap {
            table: resource.table.to_owned(),
            scope: operation.to_owned(),
            gid: gid.to_owned(),
            status: refusal.status,
            phrase: refusal.phrase.clone(),
            first_seen: now,
            last_seen: now,
        });
    }

    /// Notes why a table is not proven complete.
    pub(super) fn lack(&mut self, table: &'static str, why: String) {
        self.lacks.entry(table).or_default().insert(why);
    }

    /// What proves `resource` current for everything that existed when the run started.
    #[must_use]
    pub fn proof(&self, resource: &'static Resource, started_at: DateTime<Utc>) -> Proof {
        if let Some(answer) = self.unavailable.get(resource.table) {
            let lacks = vec![format!("the plan does not have it: {answer}")];
            return Proof { complete: true, available: false, as_of: started_at, by: Vec::new(), lacks };
        }
        let mut lacks: BTreeSet<String> = self.lacks.get(resource.table).cloned().unwrap_or_default();
        lacks.extend(self.gaps_of(resource));
        // What hangs below a table that is not complete may be missing with its parent.
        for above in resources::tables_above(resource) {
            if self.lacks.contains_key(above.table) || self.gaps_of(above).next().is_some() {
                lacks.insert(format!("what hangs below what `{}` lacks", above.table));
            }
        }
        let mut by: Vec<String> =
            resource.listings.iter().map(|listing| listing.operation.to_owned()).collect();
        by.dedup();
        let mut as_of = started_at;
        if let Some(until) = self.swept_until.filter(|_| resource.swept_with_tasks()) {
            by.push("searchTasksForWorkspace".to_owned());
            as_of = as_of.min(until);
        }
        Proof { complete: lacks.is_empty(), available: true, as_of, by, lacks: lacks.into_iter().collect() }
    }

    /// The proof of a table that the filters leave out: there is none.
    #[must_use]
    pub fn left_out(started_at: DateTime<Utc>) -> Proof {
        let lacks = vec!["left out by the filters".to_owned()];
        Proof { complete: false, available: true, as_of: started_at, by: Vec::new(), lacks }
    }

    fn gaps_of<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = String> + 'a {
        let mut counts: BTreeMap<(&str, u16), u64> = BTreeMap::new();
        for gap in self.gaps.iter().filter(|gap| gap.table == resource.table) {
            *counts.entry((&gap.scope, gap.status)).or_default() += 1;
        }
        counts.into_iter().map(|((scope, status), count)| format!("{count} × {scope} answered {status}"))
    }
}
