//! What a crawl found out besides records and gaps.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::crawl::told::Step;

/// What is known of a crawl.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// References that lead nowhere: the object is gone, and what refers to it is not.
    pub dangling: u64,
    /// Tables that the plan does not have, with Asana's answer.
    pub unavailable: BTreeMap<String, String>,
    /// Reasons why a table is not proven complete, other than gaps.
    pub lacks: BTreeMap<String, BTreeSet<String>>,
    /// The moment until which the search covers tasks that no listing leads to.
    pub swept_until: Option<DateTime<Utc>>,
    /// What each lane's probe answered.
    pub probes: BTreeMap<String, String>,
}

impl Findings {
    pub(super) fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Lack(table, why) => {
                self.lacks.entry(table).or_default().insert(why);
            }
            Step::Probe(lane, answer) => {
                self.probes.insert(lane, answer);
            }
            Step::Unavailable(table, answer) => {
                self.unavailable.insert(table, answer);
            }
            Step::Swept(until) => self.swept_until = Some(until),
            Step::Wanted(_) | Step::Heeded(..) | Step::Began(..) => {}
        }
    }
}
