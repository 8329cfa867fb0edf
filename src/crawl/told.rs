//! What a crawl tells as it goes: answers, and all that it needs to go on from there after a crash.
//!
//! Rule: what is told is complete. Whoever keeps it can bring a crawl that has lost its memory to the point where the
//! last thing was told, see [`Walk::restore_page`](crate::crawl::Walk::restore_page) and what follows it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::crawl::Unit;
use crate::model::{Gap, Reading, Record};
use crate::resources::Resource;

/// One thing a crawl tells.
#[derive(Debug)]
pub enum Told {
    /// An answer to a unit.
    Page(Box<Page>),
    /// Something to be remembered.
    Step(Step),
    /// What event streams answered; the crawl goes on, and uses the next tokens, when this is kept for good.
    Streams {
        /// The answers.
        answers: Vec<StreamAnswer>,
        /// To be told when they are kept.
        kept: oneshot::Sender<()>,
    },
    /// Tasks that a search named.
    Hits {
        /// What was searched for.
        of: Search,
        /// Gid and `modified_at`.
        hits: Vec<Hit>,
        /// Where the search goes on.
        next: Option<DateTime<Utc>>,
    },
}

/// A task as a search tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its gid.
    pub gid: Box<str>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last modified.
    pub modified_at: DateTime<Utc>,
}

/// What a search goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// All tasks, by creation: those that no listing led to.
    Sweep,
    /// Tasks by modification.
    Changes,
    /// Tasks by modification, to be read again whatever the repository has of them.
    Again,
}

/// A part of an answer, to its last page.
#[derive(Debug)]
pub struct Page {
    /// What was asked.
    pub unit: Unit,
    /// How and when it was answered.
    pub reading: Arc<Reading>,
    /// What it brought.
    pub taken: Vec<Taken>,
    /// Records that are not what Asana describes, of which nothing can be kept: what is wrong with the first.
    pub odd: Option<String>,
    /// How it ended.
    pub end: End,
}

/// One record of an answer, and where it leads.
#[derive(Debug)]
pub struct Taken {
    /// The record.
    pub record: Record,
    /// Where it leads.
    pub lead: Lead,
    /// What is to be read below it only if it differs from what the repository has.
    pub if_changed: Vec<Unit>,
}

/// Where a record leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lead {
    /// Its gid.
    pub gid: Box<str>,
    /// What is to be read below it.
    pub below: Vec<Unit>,
    /// What it refers to and the crawl has not read, by table; where it was taken, what is to be followed.
    pub refers: Vec<(Box<str>, Box<str>)>,
    /// The places of the resources of which it says itself that none hang below it.
    pub none: Vec<usize>,
}

/// How an answer ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum End {
    /// There are more pages, from this offset on.
    More(String),
    /// It was read whole.
    Whole,
    /// The object is gone: it answered 404, asked for by itself.
    Gone,
    /// What the listing hangs below is gone.
    ParentGone,
    /// The plan does not have this table.
    Unavailable,
    /// It was refused.
    Refused(Gap),
}

/// What a crawl remembers besides its answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Units that are to be read.
    Wanted(Vec<Unit>),
    /// Units that are to be read because of all that was heard so far, and those after them that may go with what they
    /// hang below.
    Heeded(Vec<Unit>, Vec<Unit>),
    /// A stage of the run begins with these units.
    Began(Phase, Vec<Unit>),
    /// A table lacks something, for this reason.
    Lack(String, String),
    /// What the probe of a lane answered.
    Probe(String, String),
    /// The plan does not have a table: Asana's answer.
    Unavailable(String, String),
    /// The sweep speaks for all tasks created until then.
    Swept(DateTime<Utc>),
}

/// The stages of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// What listings lead to.
    Walk,
    /// What changed since a moment that somebody named.
    Again,
    /// The search by creation time.
    Sweep,
    /// What changed.
    Changes,
    /// What was there before and no listing brought.
    Settle,
}

/// What one event stream answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamAnswer {
    /// The stream: the gid of the organization or of a project.
    pub stream: Box<str>,
    /// The token that was sent.
    pub sent: Option<String>,
    /// The token to go on with.
    pub sync: String,
    /// When the answer was there.
    pub at: DateTime<Utc>,
    /// Whether the token sent was too old, so that events are lost.
    pub lost: bool,
    /// The events, as received.
    pub events: Vec<Box<RawValue>>,
}

impl Page {
    /// The resource whose listing below the unit's gid this page ends and proves.
    #[must_use]
    pub fn proved(&self) -> Option<&'static Resource> {
        (matches!(self.end, End::Whole) && self.unit.proves()).then_some(self.unit.resource)
    }
}
