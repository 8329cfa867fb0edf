//! What an answer means for a run: rows, gaps, what is gone, and what was listed to its end.
//!
//! Rule: all of it follows from the answer alone, so that a replayed answer means what it meant. An answer that is not what
//! Asana describes is a gap, and no listing that holds one proves that anything is absent. A crash leaves nothing.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::backup::gaps::ODD;
use crate::backup::journal::{Entry, Kept, Read};
use crate::backup::stage::Observed;
use crate::backup::work::Work;
use crate::crawl::{self, End, Page, Taken, Unit, Why};
use crate::error::Result;
use crate::model::Gap;
use crate::resources::{self, Resource};

impl Work<'_> {
    pub(super) async fn take_page(&mut self, page: Page) -> Result<()> {
        let Page { unit, reading, taken, odd, end } = page;
        let keeps = self.walk.scope().keeps(unit.resource);
        if keeps {
            self.stage.fetch(unit.resource, taken.iter().map(|one| &*one.record.key)).await?;
        }
        self.fetch_gone(&unit, &end).await?;
        let (mut rows, mut wanted) = (Vec::with_capacity(taken.len()), Vec::new());
        let walks = self.planned.as_ref().is_some_and(|planned| planned.walks() || planned.again.is_some());
        for Taken { record, mut lead, if_changed } in taken {
            // However it was read, it is no gap any more.
            self.gaps.close(unit.resource.table, unit.resource.single_operation, &lead.gid);
            let key = (record.key != lead.gid).then(|| record.key.clone());
            let raw = record.raw.clone();
            let observed = if keeps { self.stage.observe(record)? } else { Observed::Stale };
            match observed {
                Observed::New => wanted.extend(if_changed),
                Observed::Changed => wanted.extend(if_changed.into_iter().filter(Unit::proves)),
                Observed::Unchanged | Observed::Stale => {}
            }
            self.note_none(&lead.gid, &lead.none);
            let is_news = matches!(observed, Observed::New | Observed::Changed);
            if is_news || walks {
                self.walk.refer(&mut lead.refers);
            } else {
                // They were followed when it was news. What is gone since then is not asked for in each run.
                lead.refers.clear();
            }
            let raw = if is_news { serde_json::value::RawValue::from_string(raw.into()).ok() } else { None };
            rows.push(Read { key, lead, raw });
        }
        self.conclude(&unit, &end, odd.as_deref(), reading.began_at)?;
        self.walk.push(wanted.clone());
        let (lane, began_at, seen_at) = (reading.lane, reading.began_at, reading.seen_at);
        let kept = Kept { unit, lane, began_at, seen_at, rows, odd, end, wanted };
        self.journal.add(&Entry::Page(Box::new(kept)))?;
        self.stage.keep_within_budget().await
    }

    /// Sees to it that what an answer proves gone is in the index.
    pub(super) async fn fetch_gone(&mut self, unit: &Unit, end: &End) -> Result<()> {
        let gone = match end {
            End::Gone => Some(unit.resource),
            End::ParentGone => unit.above(),
            _ => None,
        };
        match gone {
            Some(resource) => self.stage.fetch(resource, std::iter::once(&*unit.gid)).await,
            None => Ok(()),
        }
    }

    /// Notes what a record says itself: that nothing of some tables hangs below it.
    pub(super) fn note_none(&mut self, gid: &str, none: &[usize]) {
        for place in none {
            self.note_listed(resources::ALL[*place], gid);
            self.gaps.close_below(resources::ALL[*place].table, gid);
        }
    }

    fn note_listed(&mut self, resource: &Resource, gid: &str) {
        let place = resource.place();
        self.listed.insert((place, crawl::number(gid)));
        if !self.stage.is_loaded(resource) {
            self.listed_names[place].insert(gid.into());
        }
    }

    /// Whether the listing of what hangs below `parent` was read to its end.
    pub(super) fn is_listed(&self, resource: &Resource, parent: &str) -> bool {
        self.listed.contains(&(resource.place(), crawl::number(parent)))
    }

    /// Whether any listing of `resource` was read to its end.
    pub(super) fn has_listed(&self, resource: &Resource) -> bool {
        let place = resource.place();
        self.listed.iter().any(|(of, _)| *of == place)
    }

    /// Forgets that it was: only a listing from here on counts.
    pub(super) fn forget_listed(&mut self, resource: &Resource, parent: &str) {
        self.listed.remove(&(resource.place(), crawl::number(parent)));
    }

    /// Takes the listings of the organization that took several pages.
    pub(super) fn take_paged(&mut self) -> Vec<Unit> {
        std::mem::take(&mut self.paged)
    }

    /// Takes the parents below which `resource` was listed, where its table is not loaded.
    pub(super) fn take_listed_names(&mut self, resource: &Resource) -> HashSet<Box<str>> {
        std::mem::take(&mut self.listed_names[resource.place()])
    }

    /// Draws what follows from the end of an answer.
    pub(super) fn conclude(
        &mut self,
        unit: &Unit,
        end: &End,
        odd: Option<&str>,
        began_at: DateTime<Utc>,
    ) -> Result<()> {
        let table = unit.resource.table;
        if matches!(unit.ask, crawl::Ask::Single(_)) {
            self.sought.remove(&unit.gid);
        }
        if let Some(phrase) = odd {
            let now = self.run.clock.now();
            self.gaps.met(Gap {
                table: table.to_owned(),
                scope: ODD.to_owned(),
                gid: unit.gid.to_string(),
                status: 200,
                phrase: phrase.to_owned(),
                first_seen: now,
                last_seen: now,
                accepted: None,
            });
            self.odd.insert((unit.resource.place(), unit.operation(), unit.gid.clone()));
        }
        match end {
            End::Whole => self.note_whole(unit),
            // Where the repository has it, its own listings decide.
            End::Gone if matches!(unit.ask, crawl::Ask::Single(Why::Referred)) => {}
            End::Gone => {
                self.gaps.close_all(&unit.gid);
                self.stage.gone(unit.resource, &unit.gid, began_at, "answered 404")?;
            }
            End::ParentGone => {
                self.gaps.close_all(&unit.gid);
                if let Some(above) = unit.above() {
                    self.stage.gone(above, &unit.gid, began_at, "answered 404")?;
                }
            }
            End::Refused(gap) => self.gaps.met(gap.clone()),
            End::More(_) if unit.is_root() && !self.paged.contains(unit) => self.paged.push(unit.clone()),
            End::More(_) | End::Unavailable => {}
        }
        Ok(())
    }

    /// Notes that a question was answered to its end.
    fn note_whole(&mut self, unit: &Unit) {
        let (table, was_odd) = (
            unit.resource.table,
            self.odd.remove(&(unit.resource.place(), unit.operation(), unit.gid.clone())),
        );
        if unit.is_partial() {
            return;
        }
        self.gaps.close(table, unit.operation(), &unit.gid);
        if was_odd {
            return;
        }
        self.gaps.close(table, ODD, &unit.gid);
        if unit.proves() {
            self.note_listed(unit.resource, &unit.gid);
        }
    }
}
