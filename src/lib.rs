//! `asana-backup` keeps a complete, provable, queryable copy of an Asana organization.
