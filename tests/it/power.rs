//! The power that a run lives on, and can be cut at any call it makes to the store or to Asana.
//!
//! Rule: calls are counted from 1, whatever they go to, so that a number and a side name one moment of a run. From the
//! cut on no call is answered any more, and none takes effect.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// On which side of a call's effect the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The call never arrives.
    Before,
    /// The call took effect, and nobody hears of it.
    After,
}

/// A moment of a run: written `17b` before the effect of call 17, `17a` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) call: u64,
    pub(crate) side: Side,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.call, if self.side == Side::Before { 'b' } else { 'a' })
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no point: 17b is before the effect of call 17, 17a after it");
        let (call, side) = match (text.strip_suffix('b'), text.strip_suffix('a')) {
            (Some(call), _) => (call, Side::Before),
            (_, Some(call)) => (call, Side::After),
            _ => return Err(wrong()),
        };
        Ok(Self { call: call.parse().map_err(|_| wrong())?, side })
    }
}

/// The power of one program. Clones are the same power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Power(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    gone: Notify,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    cut: Option<Point>,
    off: bool,
}

impl Power {
    /// Counts the calls from 1 again, and cuts the power at a point, if one is given.
    pub(crate) fn on_until(&self, cut: Option<Point>) {
        *self.state() = State { cut, ..State::default() };
    }

    /// The calls there were since the power was last switched on.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Does `work` for as long as there is power; none where it went off before the work was done.
    pub(crate) async fn lasts<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.0.gone.notified() => None,
            done = work => Some(done),
        }
    }

    /// A call sets out, and gets its number; it waits for ever where there is no power.
    pub(crate) async fn sets_out(&self) -> u64 {
        let call = {
            let mut state = self.state();
            state.calls += 1;
            state.calls
        };
        self.passes(Point { call, side: Side::Before }).await;
        call
    }

    /// A call took effect.
    pub(crate) async fn took_effect(&self, call: u64) {
        self.passes(Point { call, side: Side::After }).await;
    }

    async fn passes(&self, point: Point) {
        let off = {
            let mut state = self.state();
            state.off |= state.cut == Some(point);
            state.off
        };
        if off {
            self.0.gone.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[test]
fn a_point_reads_as_it_is_written() {
    for text in ["1b", "17a"] {
        assert_eq!(text.parse::<Point>().expect("a point").to_string(), text);
    }
    assert!("17".parse::<Point>().is_err() && "b".parse::<Point>().is_err());
}
