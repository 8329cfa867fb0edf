//! Journeys: what users may rely on, told by the real program against a simulated Asana. One file per promise.

mod copying;
mod floors;
mod world;
