//! What goes on by itself: jobs, and what they need of the outside.
//!
//! Rule: a tick, a signal and the command line call the same function, [`job::back_up`]; never two at once for one
//! repository on one machine; no retry inside, the next tick is the retry.

pub(crate) mod alone;
pub mod job;
pub mod open;
mod tell;

pub use job::{Job, NEW_GAPS, Wanted, Watch, back_up};
pub use open::Outside;
