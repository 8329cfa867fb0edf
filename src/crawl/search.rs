//! The search for tasks: by creation, to find those that no listing leads to (the sweep), and by modification.
//!
//! The search has no paging and answers at most 100 tasks, so a window moves along one axis of time, until an answer
//! brings nothing later than the window's start: a short answer is no end, since nothing promises how many one holds. Its
//! index lags (Asana says 10 to 60 seconds, sometimes more): the sweep speaks for tasks created until [`LAG`] before
//! it ended, and a search for changes begins [`OVERLAP`] before the last one did.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::asana::Page;
use crate::crawl::Walk;
use crate::crawl::told::{Hit, Search, Step, Told};
use crate::crawl::walk::tell;
use crate::encode;
use crate::error::Result;
use crate::resources::{self, Resource};

/// How far the search's index may lag.
pub const LAG: Duration = Duration::minutes(2);
/// How far searches for changes overlap: an index that lags more than that hides a change until the next walk.
pub const OVERLAP: Duration = Duration::minutes(10);
const OPERATION: &str = "searchTasksForWorkspace";
const MILLISECOND: Duration = Duration::milliseconds(1);

/// An axis of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Creation,
    Modification,
}

/// What a search moves along, and where it began and ends.
#[derive(Clone, Copy)]
struct Along {
    of: Search,
    axis: Axis,
    /// Within one instant of the other axis.
    within: Option<DateTime<Utc>>,
    /// Nothing later is of interest.
    until: Option<DateTime<Utc>>,
}

impl Walk {
    /// Goes through all tasks by creation; whoever is told says which the repository lacks. A token that may not search
    /// leaves the tasks unproven.
    pub async fn sweep(&self, told: &mpsc::Sender<Told>) -> Result<()> {
        let tasks = resources::named("tasks");
        let until = self.clock().now() - LAG;
        let along = Along { of: Search::Sweep, axis: Axis::Creation, within: None, until: None };
        let from = self.searched(Search::Sweep);
        if self.search(tasks, along, from, &mut 0, told).await? {
            self.take_step(Step::Swept(until), told).await?;
        }
        Ok(())
    }

    /// Goes through the tasks modified since `since`; says whether the search was allowed.
    pub async fn modified(&self, since: DateTime<Utc>, told: &mpsc::Sender<Told>) -> Result<bool> {
        self.modified_of(Search::Changes, since, told).await
    }

    /// The same for tasks that are to be read again, whatever the repository has of them.
    pub async fn modified_again(&self, since: DateTime<Utc>, told: &mpsc::Sender<Told>) -> Result<bool> {
        // The bound may be exclusive.
        self.modified_of(Search::Again, since - MILLISECOND, told).await
    }

    async fn modified_of(&self, of: Search, since: DateTime<Utc>, told: &mpsc::Sender<Told>) -> Result<bool> {
        let tasks = resources::named("tasks");
        let along = Along { of, axis: Axis::Modification, within: None, until: Some(self.clock().now()) };
        let from = self.searched(of).max(Some(since));
        self.search(tasks, along, from, &mut 0, told).await
    }

    /// Whether the token may search at all; asks for one task.
    pub async fn may_search(&self, told: &mpsc::Sender<Told>) -> Result<bool> {
        let tasks = resources::named("tasks");
        let along = Along { of: Search::Changes, axis: Axis::Modification, within: None, until: None };
        let now = self.clock().now();
        Ok(self.ask_search(tasks, along, Some(now), told).await?.is_some())
    }

    /// The same where nobody is told: `allowed`, or why the search is of no use.
    pub(super) async fn probe_search(&self) -> Result<String> {
        // Room for all that one question tells.
        let (told, _kept) = mpsc::channel(8);
        self.may_search(&told).await?;
        Ok(self.findings().probes.remove("search").unwrap_or_default())
    }

    /// Moves along to the end; says whether the search was allowed all the way.
    async fn search(
        &self,
        tasks: &'static Resource,
        along: Along,
        from: Option<DateTime<Utc>>,
        most: &mut usize,
        told: &mpsc::Sender<Told>,
    ) -> Result<bool> {
        let mut after = from;
        let mut split = None;
        loop {
            let Some(hits) = self.ask_search(tasks, along, after, told).await? else { return Ok(false) };
            *most = hits.len().max(*most);
            let last = hits.last().map(|hit| along.at(hit));
            let is_full = hits.len() >= *most;
            let alone = hits.len() == 1;
            // Whether `after` includes its own instant is not documented: asking from just before it is right
            // either way, and the tasks met twice cost nothing. The window moves as long as its end is later.
            let next = last.map(|last| last - MILLISECOND);
            let position = next.filter(|_| along.within.is_none());
            tell(told, Told::Hits { of: along.of, hits, next: position }).await?;
            self.listen_in_time(told).await?;
            let (Some(last), Some(next)) = (last, next) else { return Ok(true) };
            if along.until.is_some_and(|until| last > until) {
                return Ok(true);
            }
            if after.is_none_or(|before| next > before) {
                after = Some(next);
                continue;
            }
            if alone || !is_full {
                return Ok(true);
            }
            if split == Some(last) {
                // The same again from its own instant on: `after` includes it.
                after = Some(last + MILLISECOND);
                continue;
            }
            if !self.split(tasks, along, last, most, told).await? {
                return Ok(false);
            }
            (after, split) = (Some(last), Some(last));
        }
    }

    /// More tasks than one answer holds share the instant `at`: goes through them along the other axis.
    async fn split(
        &self,
        tasks: &'static Resource,
        along: Along,
        at: DateTime<Utc>,
        most: &mut usize,
        told: &mpsc::Sender<Told>,
    ) -> Result<bool> {
        if let Some(within) = along.within {
            let why =
                format!("{most} tasks or more have the same moments of creation and change: {within}, {at}");
            self.take_step(Step::Lack(tasks.table.to_owned(), why), told).await?;
            return Ok(true);
        }
        let other = Along { axis: along.axis.other(), within: Some(at), until: None, ..along };
        Box::pin(self.search(tasks, other, None, most, told)).await
    }

    /// One search; none where it is refused.
    async fn ask_search(
        &self,
        tasks: &'static Resource,
        along: Along,
        after: Option<DateTime<Utc>>,
        told: &mpsc::Sender<Told>,
    ) -> Result<Option<Vec<Hit>>> {
        let path = format!("/workspaces/{}/tasks/search", self.organization());
        let answer = self.client().search(OPERATION, &path, &along.query(after)).await;
        let found = match answer.map_err(|error| error.doing("search the tasks"))? {
            Page::Found(found) => found,
            Page::Refused(refusal) => {
                return self.cannot_search(tasks, along, &format!("refused: {refusal}"), told).await;
            }
        };
        let read = |raw: &RawValue| hit(&encode::parse(raw.get()).ok()?);
        let Some(hits) = found.records.iter().map(|raw| read(raw)).collect::<Option<Vec<Hit>>>() else {
            return self
                .cannot_search(tasks, along, "odd: it answered a task without a gid or its dates", told)
                .await;
        };
        if !along.is_in_order(&hits, after, self.clock().now()) {
            return self
                .cannot_search(tasks, along, "odd: its answer is not in the order asked for", told)
                .await;
        }
        self.probed("search", "allowed".to_owned(), told).await?;
        Ok(Some(hits))
    }

    /// The search is of no use, for this token or at all: what only it finds is unproven, and another lane must do.
    async fn cannot_search(
        &self,
        tasks: &'static Resource,
        along: Along,
        why: &str,
        told: &mpsc::Sender<Told>,
    ) -> Result<Option<Vec<Hit>>> {
        if along.of == Search::Sweep {
            let lack = format!("tasks in no project and assigned to nobody: the search is {why}");
            self.take_step(Step::Lack(tasks.table.to_owned(), lack), told).await?;
        }
        self.probed("search", why.to_owned(), told).await?;
        Ok(None)
    }
}

impl Axis {
    fn other(self) -> Self {
        match self {
            Self::Creation => Self::Modification,
            Self::Modification => Self::Creation,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Creation => "created_at",
            Self::Modification => "modified_at",
        }
    }
}

impl Along {
    fn at(self, hit: &Hit) -> DateTime<Utc> {
        match self.axis {
            Axis::Creation => hit.created_at,
            Axis::Modification => hit.modified_at,
        }
    }

    /// Whether an answer keeps to its window and to its order. What was modified a moment ago may stand where the index
    /// still has it.
    fn is_in_order(self, hits: &[Hit], after: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let is_fresh = |at: DateTime<Utc>| self.axis == Axis::Modification && at > now - OVERLAP;
        let mut latest = after.map(|after| after - MILLISECOND);
        hits.iter().map(|hit| self.at(hit)).all(|at| {
            let is_in_order = latest.is_none_or(|latest| at >= latest);
            if !is_fresh(at) {
                latest = Some(at);
            }
            is_in_order
        })
    }

    fn query(self, after: Option<DateTime<Utc>>) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (by, other) = (self.axis.name(), self.axis.other().name());
        let mut query = vec![
            pair("sort_by", by),
            pair("sort_ascending", "true"),
            pair("limit", "100"),
            pair("opt_fields", "created_at,modified_at"),
        ];
        query.extend(after.map(|after| (format!("{by}.after"), moment(after))));
        if let Some(at) = self.within {
            query.push((format!("{other}.after"), moment(at - MILLISECOND)));
            query.push((format!("{other}.before"), moment(at + MILLISECOND)));
        }
        query
    }
}

fn hit(value: &Value) -> Option<Hit> {
    let moment = |name| DateTime::parse_from_rfc3339(encode::field(value, name)?.as_str()?).ok();
    Some(Hit {
        gid: encode::field(value, "gid")?.as_str()?.into(),
        created_at: moment("created_at")?.to_utc(),
        modified_at: moment("modified_at")?.to_utc(),
    })
}
