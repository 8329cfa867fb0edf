//! What a run says of itself while it works: logs, progress, metrics, spans and pings.
//!
//! Rule: no secret passes through here, because nothing that holds one prints it; and nothing here can fail a backup or
//! hold it up: whoever does not listen is given up after seconds, and said so once.

mod logs;
pub mod metrics;
mod progress;
pub mod table;
pub mod text;

pub use logs::start;
pub use metrics::{Metrics, Sample, Watch};
pub use progress::{Progress, Readings, show};
