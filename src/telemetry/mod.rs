//! What the program says of itself: logs, progress, metrics, spans, pings and the status server.
//!
//! Rule: no secret passes through here, because nothing that holds one prints it; and nothing here can fail a backup or
//! hold it up: whoever does not listen is given up after seconds, and said so once.
//!
//! The way of a number: a run counts → [`Metrics`] under a metric of [`table`] → the text that Prometheus reads from the
//! status server, the file or the gateway; and OTLP.

mod health;
mod heartbeat;
mod logs;
mod metrics;
mod otlp;
mod post;
mod progress;
mod push;
mod status;
pub mod table;
mod text;
mod textfile;
mod watched;

pub use health::Health;
pub use logs::start;
pub use metrics::{Metrics, Sample, Watch};
pub use otlp::Otlp;
pub use progress::{Progress, Readings, show};
pub use status::{Describe, StatusServer, Told, try_token};
pub use text::encode;
pub use textfile::{read as read_file, try_file};
pub use watched::{Beginning, Outlets, Watched, seconds};
