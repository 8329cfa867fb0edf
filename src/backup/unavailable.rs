//! Tables that the plan does not have, although something that it has leads to them.
//!
//! Rule: where Asana answers nothing but 402 about a table, that is said once, and is no gap for each object. It takes a walk
//! to say so first; and once something of the table is answered, or refused otherwise, it takes a walk to call it complete.
//! What hangs below tasks is on every plan. A crash leaves nothing: whoever goes on comes to the same.

use crate::backup::work::Work;
use crate::crawl::{Findings, Step};
use crate::error::Result;
use crate::resources;

/// Why a table is not complete that the plan has had since its last walk only.
const NEW_ON_THE_PLAN: &str = "the plan did not have it when it was last walked";

impl Work<'_> {
    /// Says which tables are unavailable, and closes their gaps.
    pub(super) fn settle_unavailable(&mut self) -> Result<()> {
        for resource in resources::ALL.iter().copied().filter(|resource| !resource.swept_with_tasks()) {
            let state = self.base.as_ref().and_then(|base| base.snapshot.tables.get(resource.table));
            let was_available = state.is_none_or(|state| state.proof.available);
            let is_read = self.has_listed(resource) || self.stage.counts(resource).rows > 0;
            let refused = self.gaps.unavailable(resource, self.started_at).filter(|_| !is_read);
            if let Some(phrase) = refused.filter(|_| self.walks() || !was_available) {
                self.unavailable.insert(resource.table.to_owned(), format!("402 {phrase}"));
            } else if !was_available && !self.walks() && (is_read || self.gaps.are_of(resource)) {
                self.step(Step::Lack(resource.table.to_owned(), NEW_ON_THE_PLAN.to_owned()))?;
            }
            let is_unavailable = self.unavailable.contains_key(resource.table)
                || self.walk.findings().unavailable.contains_key(resource.table);
            if is_unavailable {
                self.gaps.close_unavailable(resource);
            }
        }
        Ok(())
    }

    /// What was found out besides records and gaps, these tables among it.
    pub(super) fn found_out(&self) -> Findings {
        let mut findings = self.walk.findings();
        findings.unavailable.extend(self.unavailable.clone());
        findings
    }
}
