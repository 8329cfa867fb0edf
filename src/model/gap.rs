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
    /// Who said that it may stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
}

/// Somebody's word that a gap may stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Who said so: the user and host that typed it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Until when; for ever, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Gap {
    /// What tells it from other gaps: table, scope, gid.
    #[must_use]
    pub fn name(&self) -> (String, String, String) {
        (self.table.clone(), self.scope.clone(), self.gid.clone())
    }

    /// Whether somebody's word still holds at `now`.
    #[must_use]
    pub fn is_accepted(&self, now: DateTime<Utc>) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.until.is_none_or(|until| now < until))
    }
}
