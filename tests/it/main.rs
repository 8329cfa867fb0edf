//! Journeys: what users may rely on, told by the real program against a simulated Asana. One file per promise.

mod claims;
mod compaction;
mod copying;
mod crashes;
mod daemon;
mod daemon_program;
mod deletions;
mod floors;
mod gaps;
mod histories;
mod holes;
mod killed;
mod lanes;
mod line;
mod pacing;
mod power;
mod program;
mod resume;
mod seeds;
mod shown;
mod simulation;
mod store;
mod sweep;
mod system;
mod watching;
mod world;
