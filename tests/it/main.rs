//! Journeys: what users may rely on, told by the real program against a simulated Asana. One file per promise.

mod copying;
mod floors;
mod gaps;
mod killed;
mod pacing;
mod program;
mod sweep;
mod world;
