//! A simulated Asana: its API 1.0 over HTTP or in process, seeded, with a life of its own and an oracle of the truth.
//!
//! Rule: a stranger's client cannot tell. The simulator is held to Asana's OpenAPI description and to what Asana's
//! guides say, not to what some client would like; where the texts disagree, the seed chooses. Everything it holds,
//! does and breaks depends on the seed and on tokio's clock, so any run can be repeated.
//!
//! ```
//! use asana_simulator::{Options, Simulator};
//!
//! let simulator = Simulator::new(Options::default());
//! let users = simulator.truth("users", None);
//! assert_eq!(users.len() as u64, simulator.counts()["users"]);
//! ```

mod api;
mod control;
mod events;
mod faults;
mod gid;
mod json;
mod life;
mod limits;
mod log;
mod options;
pub mod program;
mod random;
mod records;
mod serve;
mod server;
mod simulator;
mod text;
mod time;
mod truth;
mod versions;
mod world;

pub use crate::faults::{Fault, FaultKind};
pub use crate::life::Edit;
pub use crate::limits::Limits;
pub use crate::log::LoggedRequest;
pub use crate::options::{EventsPlan, Options, Size};
pub use crate::serve::{Severed, serve};
pub use crate::simulator::Simulator;
pub use crate::versions::Versions;
