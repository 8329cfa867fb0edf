//! What the simulator promises, one file for each subject.
//!
//! Rule: no socket and no sleep. The router is called in process, and the clock is paused.

mod ask;
mod crawl;
mod events;
mod faults;
mod fields;
mod life;
mod limits;
mod modified;
mod paging;
mod refusals;
mod search;
