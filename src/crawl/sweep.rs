//! The sweep: finds the tasks that no listing leads to (in no project, assigned to nobody), by searching through
//! all tasks in the order of their creation.
//!
//! The search has no paging and answers at most 100 tasks, so a window moves along `created_at`. How many it answers
//! when it could answer more is learnt from its answers: the end is an answer shorter than another was. Its index lags
//! (Asana says 10 to 60 seconds, sometimes more): the sweep speaks for tasks created until [`LAG`] before it ended.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::asana::Page;
use crate::crawl::{Event, Walk};
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::resources::{self, Resource};

/// How far the search's index may lag.
const LAG: Duration = Duration::minutes(2);
const OPERATION: &str = "searchTasksForWorkspace";

/// A task as the search tells it: enough to know whether the walk has it.
struct Hit {
    gid: String,
    created_at: DateTime<Utc>,
    modified_at: DateTime<Utc>,
}

/// What a search moves along.
#[derive(Clone, Copy)]
enum Along {
    Creation,
    /// Within one instant of creation.
    Modification(DateTime<Utc>),
}

impl Walk {
    /// Reads every task that the search knows and the walk lacks, with all that hangs below it. A token that may not
    /// search leaves the tasks unproven.
    pub async fn sweep(&self, told: &mpsc::Sender<Event>, now: impl Fn() -> DateTime<Utc>) -> Result<()> {
        let tasks = resources::by_table("tasks").expect("the one resource that search is for");
        let until = now() - LAG;
        let mut lacked = BTreeSet::new();
        if !self.search(tasks, Along::Creation, &mut 0, &mut lacked).await? {
            return Ok(());
        }
        tracing::debug!(found = lacked.len(), "tasks that no listing led to");
        self.findings().swept_until = Some(until);
        self.singles(lacked.into_iter().map(|gid| (tasks, gid)), told).await?;
        Ok(())
    }

    /// Moves along to the end; says whether the search was allowed all the way.
    async fn search(
        &self,
        tasks: &'static Resource,
        along: Along,
        most: &mut usize,
        lacked: &mut BTreeSet<Box<str>>,
    ) -> Result<bool> {
        let mut after: Option<DateTime<Utc>> = None;
        let mut split = None;
        loop {
            let Some(hits) = self.ask(tasks, along, after).await? else { return Ok(false) };
            for hit in &hits {
                if !self.known().has(tasks, &hit.gid) {
                    lacked.insert(hit.gid.as_str().into());
                }
            }
            *most = hits.len().max(*most);
            let (Some(last), true) = (hits.last(), hits.len() >= *most) else { return Ok(true) };
            let at = along.of(last);
            // Whether `after` includes its own instant is not documented: asking from just before it is right
            // either way, and the tasks met twice cost nothing. The window moves as long as its end is later.
            let next = at - Duration::milliseconds(1);
            if after.is_none_or(|before| next > before) {
                after = Some(next);
                continue;
            }
            if hits.len() == 1 {
                return Ok(true);
            }
            if split == Some(at) {
                // The same again from its own instant on: `after` includes it.
                after = Some(at + Duration::milliseconds(1));
                continue;
            }
            if !self.split(tasks, along, at, most, lacked).await? {
                return Ok(false);
            }
            (after, split) = (Some(at), Some(at));
        }
    }

    /// More tasks than one answer holds share the instant `at`: goes through them by modification.
    async fn split(
        &self,
        tasks: &'static Resource,
        along: Along,
        at: DateTime<Utc>,
        most: &mut usize,
        lacked: &mut BTreeSet<Box<str>>,
    ) -> Result<bool> {
        match along {
            Along::Creation => Box::pin(self.search(tasks, Along::Modification(at), most, lacked)).await,
            Along::Modification(created) => {
                let why = format!("{most} tasks or more were created at {created} and modified at {at}");
                self.findings().lack(tasks.table, why);
                Ok(true)
            }
        }
    }

    /// One search; none where it is refused.
    async fn ask(
        &self,
        tasks: &'static Resource,
        along: Along,
        after: Option<DateTime<Utc>>,
    ) -> Result<Option<Vec<Hit>>> {
        let path = format!("/workspaces/{}/tasks/search", self.organization());
        let answer = self.client().search(OPERATION, &path, &along.query(after)).await;
        let found = match answer.map_err(|error| error.doing("sweep the tasks by creation time"))? {
            Page::Found(found) => found,
            Page::Refused(refusal) => {
                let why =
                    format!("tasks in no project and assigned to nobody: the search answered {refusal}");
                let mut findings = self.findings();
                findings.lack(tasks.table, why);
                findings.probes.insert("search".to_owned(), format!("refused: {refusal}"));
                return Ok(None);
            }
        };
        self.findings().probes.insert("search".to_owned(), "allowed".to_owned());
        let odd = || Error::new(ErrorKind::Unavailable, "the search answered no list of tasks");
        let read = |raw: &RawValue| hit(&encode::parse(raw.get()).ok()?);
        found.records.iter().map(|raw| read(raw).ok_or_else(odd)).collect::<Result<_>>().map(Some)
    }
}

impl Along {
    fn of(self, hit: &Hit) -> DateTime<Utc> {
        match self {
            Self::Creation => hit.created_at,
            Self::Modification(_) => hit.modified_at,
        }
    }

    fn query(self, after: Option<DateTime<Utc>>) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let millisecond = Duration::milliseconds(1);
        let (by, within) = match self {
            Self::Creation => ("created_at", None),
            Self::Modification(created) => ("modified_at", Some(created)),
        };
        let mut query = vec![
            pair("sort_by", by),
            pair("sort_ascending", "true"),
            pair("limit", "100"),
            pair("opt_fields", "created_at,modified_at"),
        ];
        query.extend(after.map(|after| (format!("{by}.after"), moment(after))));
        if let Some(created) = within {
            query.push(("created_at.after".to_owned(), moment(created - millisecond)));
            query.push(("created_at.before".to_owned(), moment(created + millisecond)));
        }
        query
    }
}

fn hit(value: &Value) -> Option<Hit> {
    let moment = |name| DateTime::parse_from_rfc3339(encode::field(value, name)?.as_str()?).ok();
    Some(Hit {
        gid: encode::field(value, "gid")?.as_str()?.to_owned(),
        created_at: moment("created_at")?.to_utc(),
        modified_at: moment("modified_at")?.to_utc(),
    })
}
