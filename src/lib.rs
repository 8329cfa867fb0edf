//! `asana-backup` keeps a complete, provable, queryable copy of an Asana organization in the user's own bucket.
//!
//! The rooms, from the ground up; a room uses lower floors only (a test keeps that):
//!
//! 0. [`error`], [`clock`]: the one error type; the only reader of wall time.
//! 1. [`model`], [`resources`]: the nouns that travel; what Asana has, as data.
//! 3. [`asana`]: one request, the pace of all, pages.

pub mod asana;
pub mod clock;
pub mod error;
pub mod model;
pub mod resources;
