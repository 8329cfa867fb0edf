//! Asana's rate limits.
//!
//! Rule: a refused request counts too, so a caller that ignores `Retry-After` starves.

use std::collections::BTreeMap;

/// How much one token may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute: 1,500 on paid plans, 150 on free ones.
    pub per_minute: u32,
    /// Reads in flight at once: 50.
    pub in_flight: u32,
    /// Searches a minute: 60.
    pub search_per_minute: u32,
}

impl Limits {
    /// Those of a paid plan.
    pub fn paid() -> Self {
        Self { per_minute: 1_500, in_flight: 50, search_per_minute: 60 }
    }

    /// Those of the free plan.
    pub fn free() -> Self {
        Self { per_minute: 150, ..Self::paid() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::paid()
    }
}

/// Allowances are refilled continuously and hold a sixth of a minute, since Asana evaluates its limits more often
/// than once a minute.
const SLICES: f64 = 6.0;

/// One allowance of one token.
#[derive(Clone, Debug)]
struct Bucket {
    left: f64,
    filled: f64,
}

/// What each token has left.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    buckets: BTreeMap<(String, bool), Bucket>,
    in_flight: BTreeMap<String, u32>,
}

impl Meter {
    /// Lets a request in, or says after how many seconds to try again. `seconds` is the time on the clock.
    pub(crate) fn enter(
        &mut self,
        limits: &Limits,
        token: &str,
        search: bool,
        seconds: f64,
    ) -> Result<(), u64> {
        let wait = self.take(token, false, limits.per_minute, seconds);
        let search = if search { self.take(token, true, limits.search_per_minute, seconds) } else { None };
        if let Some(wait) = wait.into_iter().chain(search).max() {
            return Err(wait);
        }
        let in_flight = self.in_flight.entry(token.to_owned()).or_default();
        if *in_flight >= limits.in_flight {
            return Err(1);
        }
        *in_flight += 1;
        Ok(())
    }

    /// A request that was let in has its answer.
    pub(crate) fn leave(&mut self, token: &str) {
        if let Some(in_flight) = self.in_flight.get_mut(token) {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    /// Takes one from an allowance; the seconds until there is one again if there was none.
    fn take(&mut self, token: &str, search: bool, per_minute: u32, seconds: f64) -> Option<u64> {
        let size = (f64::from(per_minute) / SLICES).max(1.0);
        let rate = f64::from(per_minute) / 60.0;
        let start = Bucket { left: size, filled: seconds };
        let bucket = self.buckets.entry((token.to_owned(), search)).or_insert(start);
        bucket.left = (bucket.left + (seconds - bucket.filled) * rate).min(size);
        bucket.filled = seconds;
        bucket.left -= 1.0;
        if bucket.left >= 0.0 {
            return None;
        }
        // A debt has a floor, or a caller that was mad for an hour would wait for an hour.
        bucket.left = bucket.left.max(-size);
        Some(((1.0 - bucket.left) / rate).ceil().max(1.0) as u64)
    }
}
