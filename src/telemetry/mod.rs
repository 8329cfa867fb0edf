//! What a run says of itself while it works: logs and progress.
//!
//! Rule: no secret passes through here, because nothing that holds one prints it.

mod logs;
mod progress;

pub use logs::start;
pub use progress::{Progress, Readings, show};
