//! `asana-backup` keeps a complete, provable, queryable copy of an Asana organization in the user's own bucket.
//!
//! The rooms, from the ground up; a room uses lower floors only (a test keeps that):
//!
//! 0. [`error`], [`clock`]: the one error type; the only reader of wall time.
//! 1. [`model`], [`resources`]: the nouns that travel; what Asana has, as data.
//! 2. [`config`] holds the settings.
//! 3. [`asana`], [`encode`], [`repository`], [`telemetry`]: asking; records into parts and back; the store, the table
//!    format and snapshots; what the program says of itself.
//! 4. [`crawl`]: the walk, and what it proves.
//! 5. [`backup`], [`verify`]: the verbs.
//! 6. [`daemon`]: jobs, when they are due, and what is told of them.
//! 7. [`cli`]: the command line.

pub mod asana;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crawl;
pub mod daemon;
pub mod encode;
pub mod error;
pub mod model;
pub mod repository;
pub mod resources;
pub mod telemetry;
pub mod verify;
