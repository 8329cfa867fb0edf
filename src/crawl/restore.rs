//! Bringing a crawl that has lost its memory to the point where the last thing was told.
//!
//! Rule: each function takes up one thing that was told, in the order of the telling, and asks nothing.

use chrono::{DateTime, Utc};

use crate::crawl::told::{End, Lead, Search, Step};
use crate::crawl::unit::{Ask, Unit, Why};
use crate::crawl::walk::Walk;
use crate::resources;

impl Walk {
    /// Takes up an answer from before a crash.
    pub fn restore_page(&self, unit: &Unit, leads: &[Lead], end: &End) {
        let mut state = self.state();
        let asked = state.pending.iter().rposition(|(one, _)| one == unit).map(|at| state.pending.remove(at));
        for lead in leads {
            state.known.first(unit.resource, &lead.gid);
            for (table, gid) in &lead.refers {
                if let Some(other) = resources::by_table(table) {
                    state.known.refer(other, gid);
                }
            }
            state.pending.extend(lead.below.iter().rev().map(|unit| (unit.clone(), None)));
        }
        match end {
            // It goes on before what hangs below it: offsets expire.
            End::More(offset) => state.pending.push((unit.clone(), Some(offset.clone()))),
            End::Gone => {
                let referred = matches!(unit.ask, Ask::Single(Why::Referred));
                state.findings.dangling += u64::from(referred);
            }
            _ => {}
        }
        drop(asked);
    }

    /// Takes up a step from before a crash.
    pub fn restore_step(&self, step: &Step) {
        match step {
            Step::Wanted(units) => {
                let mut state = self.state();
                let referred = units.iter().filter(|unit| matches!(unit.ask, Ask::Single(Why::Referred)));
                referred.for_each(|unit| _ = state.known.first(unit.resource, &unit.gid));
                drop(state);
                self.push(units.clone());
            }
            Step::Heeded(units, later) => {
                self.state().streams.heeded(later);
                self.push(units.clone());
            }
            Step::Began(phase, units) => {
                self.state().phase = Some(*phase);
                self.push(units.clone());
            }
            other => self.state().findings.take(other),
        }
    }

    /// Takes up where a search goes on.
    pub fn restore_search(&self, of: Search, next: Option<DateTime<Utc>>) {
        if let Some(next) = next {
            self.state().searched.insert(of, next);
        }
    }
}
