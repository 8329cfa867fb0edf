//! The only reader of wall time.
//!
//! Rule: wall time is read at a run's start, at each answer and at the commit, and passed down. A run goes by one clock
//! that was anchored at its start, so that whoever sets the machine's meanwhile turns none of its moments around. How far
//! it is off is judged here alone ([`Offset`]), before a run writes anything. Waiting uses tokio time. A clock made by
//! [`Clock::simulated`] follows tokio time, so a paused runtime decides what "now" is.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// How far a clock may be off. What a run notes and commits by is worth nothing beyond that.
pub const FAR_OFF: Duration = Duration::minutes(5);

/// Tells the time, to the microsecond: what the repository's columns hold.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    Wall,
    /// A moment, and the time since boot that it was read at.
    Anchored {
        epoch: DateTime<Utc>,
        since_boot: Duration,
    },
    Simulated {
        epoch: Mutex<DateTime<Utc>>,
        start: Instant,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn wall() -> Self {
        Self(Arc::new(Source::Wall))
    }

    /// A clock that reads `epoch` now and moves with tokio time. Must be called inside a tokio runtime.
    #[must_use]
    pub fn simulated(epoch: DateTime<Utc>) -> Self {
        Self(Arc::new(Source::Simulated { epoch: Mutex::new(epoch), start: Instant::now() }))
    }

    /// A clock that shows what this one does now, and from then on never goes back and never jumps, whoever sets this one.
    #[must_use]
    pub fn anchored(&self) -> Self {
        match &*self.0 {
            Source::Wall => Self(Arc::new(Source::Anchored { epoch: wall(), since_boot: since_boot() })),
            Source::Anchored { .. } => self.clone(),
            Source::Simulated { .. } => Self::simulated(self.now()),
        }
    }

    /// Sets a simulated clock forward or back, as a person might the machine's. That one nobody here may set.
    pub fn set_by(&self, jump: Duration) {
        if let Source::Simulated { epoch, .. } = &*self.0 {
            *epoch.lock().unwrap_or_else(PoisonError::into_inner) += jump;
        }
    }

    /// The time now, in whole microseconds.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let exact = match &*self.0 {
            Source::Wall => wall(),
            Source::Anchored { epoch, since_boot: then } => *epoch + (since_boot() - *then),
            Source::Simulated { epoch, start } => {
                let epoch = *epoch.lock().unwrap_or_else(PoisonError::into_inner);
                epoch + Duration::from_std(start.elapsed()).unwrap_or(Duration::MAX)
            }
        };
        DateTime::from_timestamp_micros(exact.timestamp_micros()).unwrap_or(exact)
    }
}

/// How far this clock is ahead of another: at least, and at most. More is not known, since the other tells whole seconds, and
/// its answer takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    least: Duration,
    most: Duration,
}

impl Offset {
    /// Of a clock that showed the second `date` at some moment between `began_at` and `seen_at` of this one.
    #[must_use]
    pub fn of(date: DateTime<Utc>, began_at: DateTime<Utc>, seen_at: DateTime<Utc>) -> Self {
        Self { least: began_at - date - Duration::seconds(1), most: seen_at - date }
    }

    /// The seconds within which the two clocks agree.
    #[must_use]
    pub fn within_seconds(self) -> i64 {
        let most = self.least.abs().max(self.most.abs());
        (most + Duration::milliseconds(999)).num_seconds().max(1)
    }

    /// Refuses a clock that is far off Asana's, whatever time the answer took.
    pub fn judge(self) -> Result<()> {
        let (far, whose) = if self.least > FAR_OFF {
            (self.least, "ahead of")
        } else if self.most < -FAR_OFF {
            (-self.most, "behind")
        } else {
            return Ok(());
        };
        let seconds = far.num_seconds();
        let what = format!("this machine's clock is at least {seconds} s {whose} Asana's");
        Err(Error::new(ErrorKind::Config, what).remedy("set the clock, for example by NTP"))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn wall() -> DateTime<Utc> {
    DateTime::from(std::time::SystemTime::now())
}

/// How long the machine has been up, its sleep included: whoever wakes must not take what is old for new.
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::seconds(now.tv_sec) + Duration::nanoseconds(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_moves_with_tokio_time() {
        let epoch = DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time");
        let clock = Clock::simulated(epoch);
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        assert_eq!(clock.now(), epoch + Duration::seconds(30));
        clock.set_by(Duration::hours(-1));
        assert_eq!(clock.now(), epoch + Duration::seconds(30) - Duration::hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_moves_with_time_and_with_no_hand() {
        let clock = Clock::simulated(DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time"));
        let (anchored, epoch) = (clock.anchored(), clock.now());
        clock.set_by(Duration::hours(-1));
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        assert_eq!(anchored.now(), epoch + Duration::seconds(30));
        assert_eq!(clock.anchored().now(), clock.now());
    }

    /// What is said of a clock that is `ahead` of one which tells whole seconds, where an answer takes `takes`, and that
    /// time is told at its beginning or at its end.
    fn judged(ahead: Duration, takes: Duration, told_at_its_end: bool) -> bool {
        let began = DateTime::from_timestamp_millis(1_780_000_000_900).expect("a valid time");
        let told = if told_at_its_end { began + takes } else { began } - ahead;
        let date = DateTime::from_timestamp(told.timestamp(), 0).expect("a valid time");
        Offset::of(date, began, began + takes).judge().is_ok()
    }

    #[test]
    fn a_clock_far_off_is_refused_and_neither_a_slow_answer_nor_a_broken_second_counts_as_one() {
        let (second, fast) = (Duration::seconds(1), Duration::milliseconds(20));
        for slow in [fast, Duration::seconds(59), Duration::minutes(20)] {
            for at_its_end in [false, true] {
                for ahead in [-FAR_OFF, -second, Duration::zero(), second, FAR_OFF] {
                    assert!(judged(ahead, slow, at_its_end), "{ahead} in {slow}");
                }
            }
        }
        for ahead in [FAR_OFF + second * 2, -FAR_OFF - second * 2, Duration::days(400)] {
            assert!(!judged(ahead, fast, true) && !judged(ahead, fast, false), "{ahead}");
        }
    }

    #[test]
    fn the_machines_clock_may_be_anchored() {
        let (clock, anchored) = (Clock::wall(), Clock::wall().anchored());
        let (one, other) = (anchored.now(), anchored.anchored().now());
        assert!(one <= other && (clock.now() - other).abs() < Duration::minutes(1));
    }
}
