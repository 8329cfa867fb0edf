//! Records into parts and back: the only room that names `parquet`.
//!
//! JSON goes in byte for byte and comes out byte for byte; the typed columns beside it are for those who query. The
//! same records always give the same bytes, so a part's name is its content. Everything here is CPU work on memory:
//! no clock, no disk, no network, and nothing for a crash to leave behind.

mod canonical;
mod check;
mod columns;
mod json;
mod layout;
mod merge;
mod part;
mod read;
mod record;
mod schema;
mod sparse;
mod statistics;
mod system;

pub use canonical::hash;
pub use check::check_rows;
pub use layout::{Layout, Pages, ReadLayout, TAIL_BYTES};
pub use merge::merge;
pub use part::{encode_deletes, encode_part};
pub use read::{Deletes, KeyRow, Keys, Row, Rows, Stream, count_rows, deletes, keys, rows};
pub use record::{Parsed, field, parse, record, references};
pub use schema::schema;
pub use system::{encode_rows, read_rows};

#[cfg(test)]
mod tests;
