//! Which job is due: a function of expression, zone, last run and time. Pure.
//!
//! Rule: a job is due when a tick has passed since it last began, however many have: what was missed is made up for once.
//! A clock that was set back by more than a tick is followed, so that nothing waits until it has caught up; by less, the
//! tick that was is not repeated. An hour that is missing in spring moves a tick to its end; one that comes twice in
//! autumn has a fixed tick once, and one of every hour twice.

use std::fmt;

use chrono::{
    DateTime, FixedOffset, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::config::ScheduleSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

/// How many ticks are looked at, at the least, to find the longest pause;
const LOOKED_AT: usize = 400;
/// and over how long, at the least: a week has all its pauses.
const LOOKED_OVER: TimeDelta = TimeDelta::days(8);
/// How many changes of the clock may lie before a tick.
const CHANGES: usize = 64;
/// How many ticks may lie in what a clock shows again when it is set back: no zone sets it back by more than a day.
const SHOWN_AGAIN: usize = 24 * 60;
/// More than that between two polls, and event streams are not listened to as often as they should.
const HOURLY: TimeDelta = TimeDelta::minutes(90);

/// What the daemon does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Reads what changed.
    Backup,
    /// Walks a share of everything.
    Reconcile,
    /// Reads every object and compares.
    Verify,
}

impl Kind {
    /// All, those first that must not wait for the others.
    pub const ALL: [Self; 3] = [Self::Reconcile, Self::Backup, Self::Verify];

    fn expression(self, settings: &ScheduleSettings) -> &str {
        match self {
            Self::Backup => &settings.backup,
            Self::Reconcile => &settings.reconcile,
            Self::Verify => &settings.verify,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Reconcile => "reconcile",
            Self::Verify => "verify",
        })
    }
}

/// When jobs of one kind begin, for one organization.
#[derive(Clone, Debug)]
pub struct Times {
    expression: String,
    cron: Cron,
    zone: Tz,
    /// This organization's own delay.
    delay: TimeDelta,
}

impl Times {
    /// The times of `kind` for the organization `gid`; none where it is turned off.
    pub fn of(kind: Kind, settings: &ScheduleSettings, gid: &str) -> Result<Option<Self>> {
        let expression = kind.expression(settings).trim();
        if expression.is_empty() || expression == "never" {
            return Ok(None);
        }
        let refuse = |what: String, remedy: &str| {
            Err(Error::new(ErrorKind::Config, format!("schedule.{kind}: `{expression}` {what}"))
                .remedy(remedy))
        };
        let zone: Tz = settings.timezone.parse().map_err(|_| {
            Error::new(
                ErrorKind::Config,
                format!("schedule.timezone: no zone is called `{}`", settings.timezone),
            )
            .remedy("name one of the IANA database, such as UTC or Europe/Berlin")
        })?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = match parser.parse(expression) {
            Ok(cron) => cron,
            Err(cause) => {
                let what = format!("is no cron expression: {cause}");
                return refuse(what, "write five fields, such as 17 * * * * for each hour, or never");
            }
        };
        let times = Self { expression: expression.to_owned(), cron, zone, delay: TimeDelta::zero() };
        let Some(first) = times.next(DateTime::UNIX_EPOCH) else {
            return refuse("never comes".to_owned(), "to turn the job off write never");
        };
        // A delay of half a pause or more would make one job's begin another's.
        let pause = times.next(first).map_or(TimeDelta::days(1), |second| second - first);
        let most = u64::from(settings.jitter_seconds).min(pause.num_seconds().unsigned_abs() / 2);
        Ok(Some(Self { delay: delay(kind, gid, most), ..times }))
    }

    /// What was written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The first tick after `at`.
    #[must_use]
    pub fn next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_of_every_hour() {
            return self.next_of_every_hour(at);
        }
        // What comes when is ours alone: the crate knows the ticks of a clock on the wall.
        let mut shown = at.with_timezone(&self.zone).naive_local();
        for _ in 0..SHOWN_AGAIN {
            shown = self.cron.find_next_occurrence(&shown.and_utc(), false).ok()?.naive_utc();
            let tick = self.moment(shown);
            // Where the clock shows an hour again, its ticks have been.
            if tick > at {
                return Some(tick);
            }
        }
        None
    }

    /// When a clock on the wall shows a time: first, if it does so twice; if never, when it is past it.
    fn moment(&self, shown: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&shown) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => moment.to_utc(),
            MappedLocalTime::None => {
                let (near, day) = (shown.and_utc(), TimeDelta::days(1));
                self.change(near - day, near + day)
            }
        }
    }

    /// Whether it goes by the minute alone, whatever the hour.
    fn is_of_every_hour(&self) -> bool {
        let hour = self.expression.split_whitespace().nth(1);
        hour.is_some_and(|hour| hour.contains('*')) || self.expression.eq_ignore_ascii_case("@hourly")
    }

    /// The crate goes by what a clock on the wall shows, and leaves out an hour that is shown a second time. Between two
    /// changes of the clock there is one offset, and nothing to leave out.
    fn next_of_every_hour(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = at;
        for _ in 0..CHANGES {
            let offset = self.offset(from);
            let found =
                self.cron.find_next_occurrence(&from.with_timezone(&offset), from > at).ok()?.to_utc();
            if self.offset(found) == offset {
                return Some(found);
            }
            from = self.change(from, found);
        }
        None
    }

    fn offset(&self, at: DateTime<Utc>) -> FixedOffset {
        self.zone.offset_from_utc_datetime(&at.naive_utc()).fix()
    }

    /// When the clock is changed between two moments of different offsets, to the second.
    fn change(&self, mut before: DateTime<Utc>, mut after: DateTime<Utc>) -> DateTime<Utc> {
        let offset = self.offset(before);
        while after - before > TimeDelta::seconds(1) {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == offset { before = middle } else { after = middle }
        }
        // Clocks are changed at whole seconds.
        after.with_nanosecond(0).unwrap_or(after)
    }

    /// When a job begins whose tick is the first after `last`: a moment later than the tick, always the same.
    #[must_use]
    pub fn begins(&self, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next(last).map(|tick| tick + self.delay)
    }

    /// Whether a job that last began at `last` is due at `now`.
    #[must_use]
    pub fn is_due(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.begins(last).is_some_and(|begins| begins <= now)
    }

    /// `last`, or `now` where it lies so far ahead that more than one tick would be left out: a clock was set back.
    #[must_use]
    pub fn believed(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let second = self.next(now).and_then(|first| self.next(first));
        if last > now && second.is_some_and(|second| last >= second) { now } else { last }
    }

    /// When a job that last succeeded at `last` is late: when its second tick since then is there, too.
    #[must_use]
    pub fn late_from(&self, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next(last).and_then(|missed| self.begins(missed))
    }

    /// The pause between the tick after `at` and the one after that.
    #[must_use]
    pub fn interval(&self, at: DateTime<Utc>) -> Option<TimeDelta> {
        let first = self.next(at)?;
        Some(self.next(first)? - first)
    }

    /// The next moments at which a job begins.
    #[must_use]
    pub fn upcoming(&self, now: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
        // A job may still be about to begin whose tick has passed.
        let mut at = now - self.delay;
        let ticks = std::iter::from_fn(|| {
            at = self.next(at)?;
            Some(at + self.delay)
        });
        ticks.take(count).collect()
    }

    /// The longest pause between two of the next ticks.
    #[must_use]
    pub fn longest(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let first = self.next(now)?;
        let (mut tick, mut longest, mut seen) = (first, None, 0);
        while seen < LOOKED_AT || tick - first < LOOKED_OVER {
            let Some(next) = self.next(tick) else { break };
            longest = longest.max(Some(next - tick));
            (tick, seen) = (next, seen + 1);
        }
        longest
    }

    /// What is to be said where backups are so rare that event streams may be lost.
    #[must_use]
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let longest = self.longest(now)?;
        (longest > HOURLY).then(|| {
            format!(
                "event streams are listened to by backups alone, up to {} hours apart; their tokens may die meanwhile, \
                 and then the search, or the next walk, finds what changed",
                (longest + TimeDelta::minutes(30)).num_hours()
            )
        })
    }
}

/// The delay of an organization: at most `most` seconds, and always the same.
fn delay(kind: Kind, gid: &str, most: u64) -> TimeDelta {
    let digest = Hash::of(format!("{gid}/{kind}").as_bytes()).to_string();
    let number = digest.get(..8).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    TimeDelta::seconds(i64::try_from(number % (most + 1)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
