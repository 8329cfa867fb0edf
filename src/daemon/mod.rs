//! What goes on by itself: jobs, when they are due, and what they need of the outside.
//!
//! Rule: a tick, a signal and the command line call the same function, [`job::back_up`]; never two at once for one
//! repository on one machine, though a verify, which only reads, may run beside; no retry inside, the next tick is the
//! retry.

mod agenda;
pub(crate) mod alone;
pub mod job;
mod jobs;
mod last;
mod notify;
pub mod open;
mod run;
pub mod schedule;
mod state;
mod status;
mod tell;
mod trial;
mod wake;

pub(crate) use agenda::{leading, upcoming};
pub use job::{Failing, Job, Wanted, Watch, back_up};
pub use last::Last;
pub use notify::Notify;
pub use open::Outside;
pub use run::{Chosen, Daemon, run};
pub use schedule::{Kind, Times};
pub use state::State;
pub use status::{Board, Ended, JobStatus, OrganizationStatus, Running, Status};
pub use wake::{Call, Waker};
