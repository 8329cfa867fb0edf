//! A record, and the circumstances in which it was read.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Hash;
use crate::resources::Resource;

/// A way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Lists everything.
    Walk,
    /// Reads what moved.
    Changes,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Walk => f.write_str("walk"),
            Self::Changes => f.write_str("changes"),
        }
    }
}

/// Identifies one run: a ULID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub ulid::Ulid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ulid::Ulid::from_string(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// How and when an answer came: shared by all records of one page.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The way it was read.
    pub lane: Lane,
    /// Names the set of fields that was asked for; see [`Resource::field_set`].
    pub fields: Arc<str>,
    /// When the request began: orders two readings of one record whose `modified_at` is equal.
    pub began_at: DateTime<Utc>,
    /// When the answer was there.
    pub seen_at: DateTime<Utc>,
}

/// One JSON object as Asana answered it, with what identifies it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The kind of thing it is, and so its table and columns.
    pub resource: &'static Resource,
    /// Identifies it in its table.
    pub key: Box<str>,
    /// What it hangs below.
    pub parent: Option<Box<str>>,
    /// The JSON, byte for byte as received.
    pub raw: Box<str>,
    /// The digest of its canonical form.
    pub hash: Hash,
    /// `modified_at`, where it has one.
    pub modified_at: Option<DateTime<Utc>>,
    /// How and when it was read.
    pub reading: Arc<Reading>,
}
