//! Reading an organization: lanes that ask Asana, and what their answers prove.
//!
//! Rule: a lane may report; only a walk proves. Nothing here knows a resource by name but tasks, which alone can be
//! searched, and nothing here writes: what is read leaves through a bounded queue, in pages, so that a slow store makes
//! the crawl wait. A crash leaves nothing, and whoever kept what was told can go on from there.

mod backfill;
mod closure;
mod findings;
mod heard;
pub mod plan;
mod probe;
mod refusal;
mod restore;
mod scope;
mod search;
mod slices;
mod streams;
mod told;
mod unit;
mod walk;

pub use backfill::{Again, Backfill};
pub use closure::number;
pub use findings::Findings;
pub(crate) use heard::Questions;
pub use plan::Plan;
pub use probe::{Lanes, Probe, Probes};
pub use scope::Scope;
pub use search::{LAG, OVERLAP};
pub use slices::{Coverage, SLICES, Slices, cover, due, newest, oldest, overdue, share};
pub use streams::Cursor;
pub use told::{End, Hit, Lead, Page, Phase, Search, Step, StreamAnswer, Taken, Told};
pub use unit::{Ask, Unit, Why};
pub use walk::{Reach, Walk};
