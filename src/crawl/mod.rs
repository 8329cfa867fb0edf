//! Reading an organization: lanes that ask Asana, and what their answers prove.
//!
//! Rule: a lane may report; only a walk proves. Nothing here knows a resource by name, nothing here writes: records
//! leave through a bounded queue, in pages, so that a slow store makes the crawl wait. A crash leaves nothing.

mod closure;
mod findings;
mod scope;
mod sweep;
mod unit;
mod walk;

pub use findings::Findings;
pub use scope::Scope;
pub use walk::{Asked, Event, Walk};
