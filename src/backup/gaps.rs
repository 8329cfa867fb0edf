//! The gaps of a repository: what no run could read yet.
//!
//! Rule: a gap stays until the question it is about was answered, or what it was about is proven gone. That nobody
//! asked again proves nothing. A gap is news until somebody was told of it: a run that ends between its commit and
//! its last word leaves no note, and the next one tells again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::backup::holding::HELD;
use crate::crawl::{Ask, Unit};
use crate::error::Result;
use crate::model::{Gap, RunId, SnapshotNumber};
use crate::repository::{Committed, Repository};
use crate::resources::{self, Resource};

/// What a gap is called that is about records which are not what Asana describes.
pub(super) const ODD: &str = "record";
/// What a run leaves once somebody knows of its gaps.
const TOLD: &str = "told.json";

/// Notes that whoever waited for the run of a snapshot knows of its gaps.
pub(super) async fn note_told(repository: &Repository, run: &RunId, number: SnapshotNumber) {
    let said = format!("{{\"snapshot\":{number}}}\n");
    if let Err(error) = repository.put_run_file(run, TOLD, said.into()).await {
        tracing::warn!(%error, "the next run tells of the same gaps again");
    }
}

/// Those of the `gaps` of `base` that somebody was told of: what the last snapshot has of which somebody was. More
/// deletions that are held back since then are news as well.
pub(super) async fn told(repository: &Repository, base: &Committed, gaps: &[Gap]) -> Result<Gaps> {
    let mut last = Some(base.clone());
    while let Some(one) = last {
        let snapshot = &one.snapshot;
        if snapshot.continues.is_none() {
            if snapshot.gap_count == 0 {
                break;
            }
            if repository.has_run_file(&snapshot.run, TOLD).await? {
                if snapshot.gaps == base.snapshot.gaps {
                    return Ok(Gaps::new(gaps.to_vec()));
                }
                let told = Gaps::new(repository.list(snapshot.gaps).await?);
                let known =
                    gaps.iter().filter(|gap| told.0.get(&gap.name()).is_some_and(|told| is_same(told, gap)));
                return Ok(Gaps::new(known.cloned().collect()));
            }
        }
        last = match snapshot.number.0 {
            1 => None,
            number => Some(repository.snapshot(SnapshotNumber(number - 1)).await?),
        };
    }
    Ok(Gaps::default())
}

/// Whether a gap is what it was when somebody was told of it.
fn is_same(told: &Gap, now: &Gap) -> bool {
    now.scope != HELD || now.phrase == told.phrase
}

/// All gaps, by table, scope and gid.
#[derive(Debug, Default)]
pub(super) struct Gaps(BTreeMap<(String, String, String), Gap>);

impl Gaps {
    pub(super) fn new(known: Vec<Gap>) -> Self {
        Self(known.into_iter().map(|gap| (gap.name(), gap)).collect())
    }

    /// Something could not be read.
    pub(super) fn met(&mut self, gap: Gap) {
        match self.0.get_mut(&gap.name()) {
            Some(known) => {
                known.last_seen = known.last_seen.max(gap.last_seen);
                (known.status, known.phrase) = (gap.status, gap.phrase);
            }
            None => _ = self.0.insert(gap.name(), gap),
        }
    }

    /// A question was answered.
    pub(super) fn close(&mut self, table: &str, scope: &str, gid: &str) {
        if !self.0.is_empty() {
            self.0.remove(&(table.to_owned(), scope.to_owned(), gid.to_owned()));
        }
    }

    /// Nobody's word holds for a gap any more.
    pub(super) fn withdraw(&mut self, table: &str, scope: &str, gid: &str) {
        if let Some(gap) = self.0.get_mut(&(table.to_owned(), scope.to_owned(), gid.to_owned())) {
            gap.accepted = None;
        }
    }

    /// Nothing of `table` hangs below `gid`.
    pub(super) fn close_below(&mut self, table: &str, gid: &str) {
        if !self.0.is_empty() {
            self.0.retain(|_, gap| gap.table != table || gap.gid != gid);
        }
    }

    /// The table of `resource` is not on the plan: that it refuses is no gap.
    pub(super) fn close_unavailable(&mut self, resource: &Resource) {
        self.0.retain(|_, gap| gap.table != resource.table || gap.status != 402);
    }

    /// Whether there are any of `resource`.
    pub(super) fn are_of(&self, resource: &Resource) -> bool {
        self.0.values().any(|gap| gap.table == resource.table)
    }

    /// What Asana says where it answers nothing about `resource` but that the plan does not have it, since `since`.
    pub(super) fn unavailable(&self, resource: &Resource, since: DateTime<Utc>) -> Option<String> {
        let mut of_table = self.0.values().filter(|gap| gap.table == resource.table).peekable();
        let phrase = of_table.peek().map(|gap| gap.phrase.clone())?;
        of_table.all(|gap| gap.status == 402 && gap.last_seen >= since).then_some(phrase)
    }

    /// What is called `gid` is gone, and whatever hung there.
    pub(super) fn close_all(&mut self, gid: &str) {
        if !self.0.is_empty() {
            self.0.retain(|_, gap| gap.gid != gid);
        }
    }

    /// The questions that were not answered, and not asked since `since`, those asked longest ago first: of each gap what
    /// it may have been, see [`Unit::of_operation`].
    pub(super) fn unasked(&self, since: DateTime<Utc>) -> Vec<Vec<Unit>> {
        let mut old: Vec<&Gap> = self.0.values().filter(|gap| gap.last_seen < since).collect();
        old.sort_by_key(|gap| gap.last_seen);
        let units = |gap: &Gap| {
            resources::by_table(&gap.table)
                .map_or_else(Vec::new, |resource| Unit::of_operation(resource, &gap.scope, &gap.gid))
        };
        old.into_iter().map(units).filter(|units| !units.is_empty()).collect()
    }

    /// The records that answered 404 since `since`, asked for by themselves, although nothing says that they are gone.
    pub(super) fn unexplained(&self, since: DateTime<Utc>) -> Vec<Unit> {
        let is_one = |gap: &&Gap| gap.status == 404 && gap.last_seen >= since;
        self.0
            .values()
            .filter(is_one)
            .filter_map(|gap| {
                let resource = resources::by_table(&gap.table)?;
                let units = Unit::of_operation(resource, &gap.scope, &gap.gid);
                units.into_iter().find(|unit| matches!(unit.ask, Ask::Single(_)))
            })
            .collect()
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<Gap> {
        self.0.values().cloned().collect()
    }

    /// How many are news at `now`: they are not in `known`, or nobody's word holds for them any more.
    pub(super) fn new_at(&self, now: DateTime<Utc>, known: &Gaps) -> u64 {
        let lapsed = |gap: &Gap| gap.accepted.is_some() && !gap.is_accepted(now);
        self.0.iter().filter(|(name, gap)| !known.0.contains_key(*name) || lapsed(gap)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(gid: &str, status: u16, at: i64) -> Gap {
        let at = DateTime::from_timestamp(at, 0).expect("a moment");
        Gap {
            table: "stories".into(),
            scope: "getStoriesForTask".into(),
            gid: gid.into(),
            status,
            phrase: String::new(),
            first_seen: at,
            last_seen: at,
            accepted: None,
        }
    }

    #[test]
    fn a_gap_keeps_when_it_was_first_seen() {
        let mut gaps = Gaps::new(vec![gap("1", 403, 10)]);
        gaps.met(gap("1", 500, 20));
        let [one] = &gaps.all()[..] else { panic!("{gaps:?}") };
        assert_eq!((one.status, one.first_seen.timestamp(), one.last_seen.timestamp()), (500, 10, 20));
    }

    #[test]
    fn only_an_answer_closes_a_gap() {
        let mut gaps = Gaps::new(vec![gap("1", 403, 10), gap("2", 403, 10), gap("3", 403, 10)]);
        gaps.close("stories", "getStoriesForTask", "1");
        gaps.close("attachments", "getStoriesForTask", "2");
        gaps.close_all("3");
        assert_eq!(gaps.all(), [gap("2", 403, 10)]);
    }

    #[test]
    fn a_gap_whose_acceptance_lapsed_is_news() {
        let until = DateTime::from_timestamp(100, 0);
        let accepted = crate::model::Acceptance {
            by: "a@b".into(),
            reason: "known".into(),
            at: DateTime::UNIX_EPOCH,
            until,
        };
        let known = Gaps::new(vec![Gap { accepted: Some(accepted), ..gap("1", 403, 10) }]);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a moment");
        assert_eq!(known.new_at(at(99), &known), 0);
        assert_eq!(known.new_at(at(100), &known), 1);
        assert_eq!(known.new_at(at(99), &Gaps::default()), 1);
    }
}
