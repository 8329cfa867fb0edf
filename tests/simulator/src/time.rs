//! The simulated time: milliseconds of tokio's clock past an epoch, and Asana's ways to write them.
//!
//! Rule: nothing here reads the wall clock, so a paused test sees the very same times in every run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// A moment: milliseconds since 1970.
pub(crate) type Ms = i64;

/// Later than everything: what is true now.
pub(crate) const LATEST: Ms = i64::MAX;

/// Before everything: what the seed made.
pub(crate) const EARLIEST: Ms = i64::MIN;

/// One day in milliseconds.
pub(crate) const DAY: Ms = 86_400_000;

/// The clock of one simulator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Ms,
    started: Instant,
}

impl Clock {
    /// Starts at `epoch`, now.
    pub(crate) fn start(epoch: DateTime<Utc>) -> Self {
        Self { epoch: epoch.timestamp_millis(), started: Instant::now() }
    }

    /// The simulated now.
    pub(crate) fn now(&self) -> Ms {
        self.epoch + self.elapsed().as_millis() as Ms
    }

    /// How long this clock has been running.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The moment it started at.
    pub(crate) fn epoch(&self) -> Ms {
        self.epoch
    }
}

/// The year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends `number` with at least `width` digits.
fn digits(out: &mut Vec<u8>, number: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = number;
    for place in (start..start + width).rev() {
        out[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Appends a day as `2026-07-01`.
pub(crate) fn write_day(out: &mut Vec<u8>, day: i64) {
    let (year, month, day) = civil(day);
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
}

/// Appends a moment as Asana prints it: `2026-07-01T09:30:00.000Z`.
pub(crate) fn write_moment(out: &mut Vec<u8>, at: Ms) {
    write_day(out, at.div_euclid(DAY));
    let rest = at.rem_euclid(DAY);
    for (before, number, width) in
        [(b'T', rest / 3_600_000, 2), (b':', rest / 60_000 % 60, 2), (b':', rest / 1_000 % 60, 2)]
    {
        out.push(before);
        digits(out, number, width);
    }
    out.push(b'.');
    digits(out, rest % 1_000, 3);
    out.push(b'Z');
}

/// A moment as text.
pub(crate) fn moment(at: Ms) -> String {
    let mut out = Vec::with_capacity(24);
    write_moment(&mut out, at);
    String::from_utf8_lossy(&out).into_owned()
}

/// A day as text.
pub(crate) fn day(day: i64) -> String {
    let mut out = Vec::with_capacity(10);
    write_day(&mut out, day);
    String::from_utf8_lossy(&out).into_owned()
}

/// The moment a parameter names: RFC 3339, or a plain date for its midnight in UTC.
pub(crate) fn parse(text: &str) -> Option<Ms> {
    if let Ok(found) = DateTime::parse_from_rfc3339(text) {
        return Some(found.timestamp_millis());
    }
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// A moment for the library's callers.
pub(crate) fn public(at: Ms) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{DAY, day, moment, parse};

    #[test]
    fn moments_are_written_as_asana_writes_them() {
        for text in ["2024-02-29T23:59:59.999Z", "2026-07-01T00:00:00.000Z", "1999-12-31T12:00:00.001Z"] {
            let at = parse(text).expect("a moment");
            assert_eq!(moment(at), text);
            assert_eq!(day(at.div_euclid(DAY)), text[..10]);
        }
    }
}
