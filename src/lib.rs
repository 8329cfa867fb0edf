//! `asana-backup` keeps a complete, provable, queryable copy of an Asana organization in the user's own bucket.
//!
//! The rooms, from the ground up; a room uses lower floors only (a test keeps that):
//!
//! 0. [`error`], [`clock`]: the one error type; the only reader of wall time.
//! 1. [`model`], [`resources`]: the nouns that travel; what Asana has, as data.
//! 3. [`encode`], [`repository`]: records into parts and back; the place where the backup of one organization lives.

pub mod clock;
pub mod encode;
pub mod error;
pub mod model;
pub mod repository;
pub mod resources;
