//! Tables that the plan does not have, although something that it has leads to them.
//!
//! Rule: where Asana answers nothing but 402 about a table, that is said once, and is no gap for each object. It takes a walk
//! to say so first; and once something of the table is answered, or refused otherwise, it takes a walk to call it complete.
//! What hangs below tasks is on every plan. A crash leaves nothing: whoever goes on comes to the same.

use crate::backup::work::Work;
use crate::crawl::{Findings, Step};
use crate::error::Result;
use crate::resources::{self, Resource};

/// Why a table is not complete that the plan has had since its last walk only.
const NEW_ON_THE_PLAN: &str = "the plan did not have it when it was last walked";

impl Work<'_> {
    /// Says which tables are unavailable, and closes their gaps.
    pub(super) fn settle_unavailable(&mut self) -> Result<()> {
        let at_the_top = self.walk.findings().unavailable;
        for resource in resources::ALL.iter().copied().filter(|resource| !resource.swept_with_tasks()) {
            let state = self.base.as_ref().and_then(|base| base.snapshot.tables.get(resource.table));
            let was_available = state.is_none_or(|state| state.proof.available);
            let refused = self.gaps.unavailable(resource, self.started_at);
            let may_say_so = |_: &String| (self.walks() || !was_available) && !self.has_some_of(resource);
            if let Some(phrase) = refused.filter(may_say_so) {
                self.unavailable.insert(resource.table.to_owned(), format!("402 {phrase}"));
                self.gaps.close_unavailable(resource);
                continue;
            }
            let is_new =
                !was_available && !self.walks() && (self.gaps.are_of(resource) || self.has_some_of(resource));
            if is_new {
                self.step(Step::Lack(resource.table.to_owned(), NEW_ON_THE_PLAN.to_owned()))?;
            }
            if at_the_top.contains_key(resource.table) {
                self.gaps.close_unavailable(resource);
            }
        }
        Ok(())
    }

    /// Whether something of a table is there, or was asked for and answered.
    fn has_some_of(&self, resource: &Resource) -> bool {
        self.stage.counts(resource).rows > 0 || self.has_listed(resource)
    }

    /// What was found out besides records and gaps, these tables among it.
    pub(super) fn found_out(&self) -> Findings {
        let mut findings = self.walk.findings();
        findings.unavailable.extend(self.unavailable.clone());
        findings
    }
}
