//! Something a run could not read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What could not be read, and what Asana answered instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The table that lacks something.
    pub table: String,
    /// What was asked: the operation's id in Asana's description, such as `getStoriesForTask`.
    pub scope: String,
    /// The object the question was about.
    pub gid: String,
    /// The HTTP status, or 0 where no answer came.
    pub status: u16,
    /// Asana's message, or its error phrase for a 500.
    pub phrase: String,
    /// When it was first met.
    pub first_seen: DateTime<Utc>,
    /// When it was last met.
    pub last_seen: DateTime<Utc>,
}
