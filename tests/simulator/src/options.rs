//! What a simulator can be told.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::limits::Limits;
pub use crate::world::plan::Size;

/// How to start a [`crate::Simulator`].
#[derive(Clone, Debug)]
pub struct Options {
    /// How much there is.
    pub size: Size,
    /// What everything is drawn from: the same seed gives the same organization, life and faults.
    pub seed: u64,
    /// The token of the service account, which sees everything.
    pub token: String,
    /// Tokens of people, with the number of the user each belongs to (1 is the first).
    pub people: Vec<(String, u32)>,
    /// Asana's rate limits; off by default.
    pub limits: Option<Limits>,
    /// The moment the simulated clock starts at. The generated history ends on 2026-06-30.
    pub epoch: DateTime<Utc>,
    /// Edits a second that happen by themselves; none by default.
    pub life: Option<f64>,
    /// The plan has task search; without it search answers 402.
    pub search: bool,
    /// How long search does not know of a change, at most; a sixth of it at least. Asana says 10 to 60 seconds.
    pub search_lag: Duration,
    /// How long an offset token is good for. Asana does not say; ten minutes by default.
    pub offset_ttl: Duration,
    /// How long every answer takes; nothing by default.
    pub latency: Duration,
    /// Which events the plan has; those of the workspace too by default.
    pub events: EventsPlan,
    /// The plan has the audit log; without it that answers 403.
    pub audit_log: bool,
    /// How long an event takes to become visible at most; a twelfth of it at least. Asana says within a minute or ten.
    pub event_delay: Duration,
    /// The share of events that are never told; none by default. Asana promises delivery at most once.
    pub lose_events: Option<f64>,
    /// How long a sync token is good for: Asana says 24 hours at most.
    pub sync_ttl: Duration,
}

/// Which events a plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EventsPlan {
    /// Those of the workspace, and of single resources.
    #[default]
    Workspace,
    /// Those of single resources only.
    Resources,
    /// None at all.
    None,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            seed: 7,
            token: "t".into(),
            people: Vec::new(),
            limits: None,
            epoch: DateTime::from_timestamp(1_782_864_000, 0).unwrap_or_default(), // 2026-07-01T00:00:00Z
            life: None,
            search: true,
            search_lag: Duration::from_secs(60),
            offset_ttl: Duration::from_secs(600),
            latency: Duration::ZERO,
            events: EventsPlan::Workspace,
            audit_log: true,
            event_delay: Duration::from_secs(60),
            lose_events: None,
            sync_ttl: Duration::from_secs(86_400),
        }
    }
}

/// What operations have to know of the options.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) search: bool,
    pub(crate) search_lag: Duration,
    pub(crate) offset_ttl: Duration,
    pub(crate) events: EventsPlan,
    pub(crate) audit_log: bool,
    pub(crate) sync_ttl: Duration,
}
