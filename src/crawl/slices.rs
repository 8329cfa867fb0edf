//! The rolling walk: which part of what hangs below tasks a run walks, so that all of it is walked within an interval.
//!
//! Rule: what lanes report may be wrong; a slice is current as of the day it was walked, and a missed event lives at
//! most one interval. Everything above tasks, and the tasks themselves, are listed by every reconciling run: they
//! cost a request for a hundred records; stories, attachments and subtasks cost one for each task and listing.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Hash;

/// Slices: the hours of a week, so that a day, a week and a month all take whole ones.
pub const SLICES: u16 = 168;

/// The least time between two reconciling runs: a day, less an hour, since schedulers jitter.
const SPACING: Duration = Duration::hours(23);

/// Some of the slices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slices(BTreeSet<u16>);

/// When one scope was last walked from end to end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// What was walked: `listings`, `sweep`, or a slice such as `tasks 17 of 168`.
    pub scope: String,
    /// When that walk began.
    pub covered_at: DateTime<Utc>,
}

impl Slices {
    /// Every slice.
    #[must_use]
    pub fn all() -> Self {
        Self((0..SLICES).collect())
    }

    /// Whether they hold the record.
    #[must_use]
    pub fn hold(&self, gid: &str) -> bool {
        self.0.contains(&of(gid))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(SLICES)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these are all.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.len() == SLICES
    }

    /// The names of their scopes.
    pub fn scopes(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|slice| scope(*slice))
    }
}

fn scope(slice: u16) -> String {
    format!("tasks {slice} of {SLICES}")
}

/// The slice of a record: gids count up, so they are mixed first. Snapshots say which slices were walked, so no version of
/// this program may cut them differently.
fn of(gid: &str) -> u16 {
    let [one, two, three, four, ..] = *Hash::of(gid.as_bytes()).bytes();
    u16::try_from(u32::from_be_bytes([one, two, three, four]) % u32::from(SLICES)).unwrap_or(0)
}

/// The slices that are due at `now`, when each is to be walked within `interval`: the share of the time since the
/// last reconciling run, those walked longest ago first, and all that are overdue. None within a day of it.
#[must_use]
pub fn due(coverage: &[Coverage], interval: Duration, now: DateTime<Utc>) -> Slices {
    let elapsed = elapsed(coverage, interval, now);
    if elapsed < SPACING.min(interval) {
        return Slices::default();
    }
    // Rounded to whole days: a run some minutes late does not take more.
    let days = ((elapsed.num_hours() + 1) / 24).max(1);
    oldest_first(coverage, share_of(days * 24, interval).max(1), interval, now)
}

/// The slices that the time since the last reconciling run stands for, when each is to be walked within `interval`,
/// and all that are overdue: for whoever keeps the days himself. None right after that run, so that somebody who
/// asks twice does not walk twice.
#[must_use]
pub fn share(coverage: &[Coverage], interval: Duration, now: DateTime<Utc>) -> Slices {
    // Rounded to whole hours, each of which a slice stands for in a week: a run some minutes early does not take less.
    let hours = (elapsed(coverage, interval, now) + Duration::minutes(30)).num_hours();
    oldest_first(coverage, share_of(hours, interval), interval, now)
}

/// The slices that were not walked for as long as `age`.
#[must_use]
pub fn overdue(coverage: &[Coverage], age: Duration, now: DateTime<Utc>) -> Slices {
    oldest_first(coverage, 0, age, now)
}

/// The time since the last reconciling run.
fn elapsed(coverage: &[Coverage], interval: Duration, now: DateTime<Utc>) -> Duration {
    let newest = (0..SLICES).filter_map(|slice| walked(coverage, slice)).max();
    newest.map_or(interval, |newest| now - newest)
}

fn share_of(hours: i64, interval: Duration) -> i64 {
    i64::from(SLICES) * hours / interval.num_hours().max(1)
}

/// So many slices, those walked longest ago first, and all that were not walked for as long as `age`.
fn oldest_first(coverage: &[Coverage], share: i64, age: Duration, now: DateTime<Utc>) -> Slices {
    let mut slices: Vec<_> = (0..SLICES).map(|slice| (walked(coverage, slice), slice)).collect();
    slices.sort_unstable();
    let overdue = |at: Option<DateTime<Utc>>| at.is_none_or(|at| now - at >= age);
    let due = (0..).zip(&slices).filter(|(number, (at, _))| *number < share || overdue(*at));
    Slices(due.map(|(_, (_, slice))| *slice).collect())
}

/// When a slice was last walked.
fn walked(coverage: &[Coverage], slice: u16) -> Option<DateTime<Utc>> {
    let scope = scope(slice);
    coverage.iter().find(|one| one.scope == scope).map(|one| one.covered_at)
}

/// The oldest walk among all slices; none if one was never walked.
#[must_use]
pub fn oldest(coverage: &[Coverage]) -> Option<DateTime<Utc>> {
    (0..SLICES).map(|slice| walked(coverage, slice)).min().flatten()
}

/// The newest walk of any slice.
#[must_use]
pub fn newest(coverage: &[Coverage]) -> Option<DateTime<Utc>> {
    let of_tasks = coverage.iter().filter(|one| one.scope.starts_with("tasks "));
    of_tasks.map(|one| one.covered_at).max()
}

/// Notes that `scopes` were walked by a run that began at `at`.
pub fn cover(coverage: &mut Vec<Coverage>, scopes: impl IntoIterator<Item = String>, at: DateTime<Utc>) {
    for scope in scopes {
        match coverage.iter_mut().find(|one| one.scope == scope) {
            Some(one) => one.covered_at = at,
            None => coverage.push(Coverage { scope, covered_at: at }),
        }
    }
    coverage.sort();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked_at(at: DateTime<Utc>) -> Vec<Coverage> {
        let mut coverage = Vec::new();
        cover(&mut coverage, Slices::all().scopes(), at);
        coverage
    }

    #[test]
    fn hourly_runs_walk_every_slice_once_a_week_and_a_seventh_a_day() {
        let start = DateTime::UNIX_EPOCH;
        let mut coverage = walked_at(start);
        for hour in 1..=24 * 30 {
            let now = start + Duration::hours(hour);
            let due = due(&coverage, Duration::days(7), now);
            assert!(due.is_empty() || due.len() == SLICES / 7, "{} slices in hour {hour}", due.len());
            cover(&mut coverage, due.scopes(), now);
            let oldest = oldest(&coverage).expect("all were walked");
            assert!(now - oldest < Duration::days(7) + Duration::hours(1), "hour {hour}");
        }
    }

    #[test]
    fn a_record_is_of_the_same_slice_for_ever() {
        assert_eq!(["1", "1200000000000001", "1200000000000002"].map(of), [75, 22, 14]);
    }

    #[test]
    fn whatever_is_overdue_is_due_at_once() {
        let coverage = walked_at(DateTime::UNIX_EPOCH);
        let late = DateTime::UNIX_EPOCH + Duration::days(9);
        assert!(due(&coverage, Duration::days(7), late).are_all());
        assert!(due(&[], Duration::days(7), late).are_all());
    }

    #[test]
    fn a_share_asked_for_twice_is_walked_once_and_a_week_of_shares_is_everything() {
        let start = DateTime::UNIX_EPOCH;
        let mut coverage = walked_at(start);
        for day in 1..=21 {
            // Some runs are early, some late.
            let now = start + Duration::days(day) + Duration::minutes(25 * (day % 3 - 1));
            let due = share(&coverage, Duration::days(7), now);
            // What an early run leaves is overdue a week later.
            assert!((23..=26).contains(&due.len()), "{} slices on day {day}", due.len());
            cover(&mut coverage, due.scopes(), now);
            assert!(share(&coverage, Duration::days(7), now + Duration::minutes(20)).is_empty());
            let oldest = oldest(&coverage).expect("all were walked");
            assert!(now - oldest <= Duration::days(7) + Duration::hours(1), "day {day}");
        }
    }

    #[test]
    fn a_share_is_that_of_the_time_that_has_passed() {
        let coverage = walked_at(DateTime::UNIX_EPOCH);
        let after =
            |hours| share(&coverage, Duration::days(7), DateTime::UNIX_EPOCH + Duration::hours(hours)).len();
        assert_eq!([0, 1, 6, 22, 24, 72, 168].map(after), [0, 1, 6, 22, 24, 72, 168]);
        assert!(share(&[], Duration::days(7), DateTime::UNIX_EPOCH).are_all());
    }

    #[test]
    fn nothing_is_overdue_before_its_time() {
        let mut coverage = walked_at(DateTime::UNIX_EPOCH);
        let at = |hours| DateTime::UNIX_EPOCH + Duration::hours(hours);
        cover(&mut coverage, Slices((0..10).collect()).scopes(), at(24));
        assert!(overdue(&coverage, Duration::days(14), at(14 * 24 - 1)).is_empty());
        assert_eq!(overdue(&coverage, Duration::days(14), at(14 * 24)).len(), SLICES - 10);
    }

    #[test]
    fn a_daily_interval_walks_everything_each_day() {
        let coverage = walked_at(DateTime::UNIX_EPOCH);
        let at = |hours| DateTime::UNIX_EPOCH + Duration::hours(hours);
        assert!(due(&coverage, Duration::days(1), at(5)).is_empty());
        assert!(due(&coverage, Duration::days(1), at(24)).are_all());
    }
}
