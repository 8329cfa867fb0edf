//! Task search: no pages, at most 100 rows, and an index that lags behind.
//!
//! Rule: whether a task matches is decided by what the index knows, which is 10 to 60 seconds old; how it looks is
//! what it is now.

use super::{Answer, Call, Refusal};
use crate::gid::Kind;
use crate::random::mix;
use crate::time::{DAY, EARLIEST, LATEST, Ms};
use crate::world::history::Chain;
use crate::world::rows::{Event, ORGANIZATION, Task};
use crate::world::tasks;
use std::borrow::Cow;

/// The page of a search, when nothing else is asked.
const DEFAULT: usize = 20;

/// What tasks can be searched by, with a suffix of [`Mode`].
const LISTS: &[(&str, Kind)] = &[
    ("assignee", Kind::User),
    ("assigned_by", Kind::User),
    ("created_by", Kind::User),
    ("followers", Kind::User),
    ("liked_by", Kind::User),
    ("commented_on_by", Kind::User),
    ("projects", Kind::Project),
    ("sections", Kind::Section),
    ("tags", Kind::Tag),
    ("teams", Kind::Team),
    ("portfolios", Kind::Portfolio),
];

/// How a list of ids is meant.
#[derive(Clone, Copy)]
enum Mode {
    Any,
    Not,
    All,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Not => "not",
            Self::All => "all",
        }
    }
}

/// What a search asks for.
struct Wanted<'a> {
    created: (Ms, Ms),
    modified: (Ms, Ms),
    completed: Option<bool>,
    completed_at: (Ms, Ms),
    subtask: Option<bool>,
    text: Option<String>,
    subtype: Option<&'a str>,
    ids: Vec<(&'static str, Mode, Vec<u32>)>,
    due: (Ms, Ms),
    start: (Ms, Ms),
    blocked: Option<bool>,
    blocking: Option<bool>,
    attachment: Option<bool>,
}

/// `GET /workspaces/{gid}/tasks/search`.
pub(crate) fn tasks(call: &Call<'_>) -> Result<Answer, Refusal> {
    let workspace = call.found(Kind::Workspace)?;
    if !call.rules.search {
        let status = axum::http::StatusCode::PAYMENT_REQUIRED;
        return Err(Refusal::new(status, "Search is only available to premium users."));
    }
    let limit = call.query.limit()?.unwrap_or(DEFAULT);
    let wanted = wanted(call)?;
    let ascending = call.query.flag("sort_ascending")?.unwrap_or(false);
    let sort = call.query.get("sort_by").unwrap_or("modified_at");
    if !["due_date", "created_at", "completed_at", "likes", "modified_at", "relevance"].contains(&sort) {
        return Err(Refusal::bad(format!("sort_by: Not a valid value: {sort}")));
    }
    let mut found = if workspace == ORGANIZATION { matches(call, &wanted, sort) } else { Vec::new() };
    if ascending {
        found.sort_unstable();
    } else {
        found.sort_unstable_by_key(|(key, id)| (std::cmp::Reverse(*key), *id));
    }
    let ids = found.into_iter().map(|(_, id)| id);
    let seen = ids.filter(|id| call.view.world.is_live_task(*id, LATEST) && call.sees_task(*id));
    Ok(Answer::Whole(Kind::Task, seen.take(limit).collect()))
}

/// Reads the range `name.after` to `name.before`, both exclusive.
fn range(call: &Call<'_>, name: &str) -> Result<(Ms, Ms), Refusal> {
    let day = |text: &str| {
        crate::time::parse(text).ok_or_else(|| Refusal::bad(format!("{text}: Not a valid date")))
    };
    let after = call.query.moment(&format!("{name}_at.after"))?.unwrap_or(EARLIEST);
    let before = call.query.moment(&format!("{name}_at.before"))?.unwrap_or(LATEST);
    let on = |suffix: &str| call.query.get(&format!("{name}_on{suffix}")).map(day).transpose();
    let (mut from, mut to) = (after, before);
    if let Some(day) = on("")? {
        (from, to) = (from.max(day - 1), to.min(day + DAY));
    }
    if let Some(day) = on(".after")? {
        from = from.max(day + DAY - 1);
    }
    if let Some(day) = on(".before")? {
        to = to.min(day);
    }
    Ok((from, to))
}

fn wanted<'a>(call: &Call<'a>) -> Result<Wanted<'a>, Refusal> {
    if call.query.names().any(|name| name.starts_with("custom_fields.")) {
        return Err(Refusal::bad("This simulator does not search by custom fields."));
    }
    let mut ids = Vec::new();
    for (name, kind) in LISTS {
        for mode in [Mode::Any, Mode::Not, Mode::All] {
            if let Some(texts) = call.query.list(&format!("{name}.{}", mode.name())) {
                let found: Result<Vec<u32>, _> =
                    texts.into_iter().map(|text| call.find(*kind, text)).collect();
                ids.push((*name, mode, found?));
            }
        }
    }
    Ok(Wanted {
        created: range(call, "created")?,
        modified: range(call, "modified")?,
        completed: call.query.flag("completed")?,
        completed_at: range(call, "completed")?,
        subtask: call.query.flag("is_subtask")?,
        text: call.query.get("text").map(str::to_lowercase),
        subtype: call.query.get("resource_subtype"),
        ids,
        due: range(call, "due")?,
        start: range(call, "start")?,
        blocked: call.query.flag("is_blocked")?,
        blocking: call.query.flag("is_blocking")?,
        attachment: call.query.flag("has_attachment")?,
    })
}

/// The version of an edited task that the index holds.
fn indexed<'a>(call: &Call<'_>, id: u32, chain: &'a Chain<Task>) -> Option<&'a Task> {
    let seed = call.view.world.seed;
    let most = call.rules.search_lag.as_millis() as u64;
    let least = most / 6;
    let lag = |since: Ms| match most - least {
        0 => 0,
        span => (least + mix(seed, u64::from(id), since as u64) % span) as Ms,
    };
    chain.latest_where(|since| since == EARLIEST || since + lag(since) <= call.now)
}

fn within(at: Ms, (after, before): (Ms, Ms)) -> bool {
    after < at && at < before
}

/// The key to sort by and the number of each task that matches.
fn matches(call: &Call<'_>, wanted: &Wanted<'_>, sort: &str) -> Vec<(Ms, u32)> {
    let world = call.view.world;
    let mut found = Vec::new();
    let mut check = |id: u32, row: &Task| {
        if row.workspace == ORGANIZATION && fits(call, wanted, id, row) {
            found.push((key(sort, row), id));
        }
    };
    // Only a slice of the seed's tasks can match a range of `modified_at`.
    let by = &world.index.by_modified;
    let from = by.partition_point(|id| tasks::times(world, *id).1 <= wanted.modified.0);
    let to = by.partition_point(|id| tasks::times(world, *id).1 < wanted.modified.1);
    for id in by.get(from..to).unwrap_or_default().iter().filter(|id| !world.tasks.contains_key(id)) {
        let (created, _) = tasks::times(world, *id);
        let completed = tasks::completed_at(world, *id);
        if within(created, wanted.created) && wanted.completed.is_none_or(|want| want == completed.is_some())
        {
            check(*id, &tasks::make(world, *id));
        }
    }
    for id in &world.index.touched {
        if let Some(row) = world.tasks.get(id).and_then(|chain| indexed(call, *id, chain)) {
            check(*id, row);
        }
    }
    found
}

fn key(sort: &str, row: &Task) -> Ms {
    match sort {
        "created_at" => row.created_at,
        "completed_at" => row.completed.map_or(EARLIEST, |(at, _)| at),
        "due_date" => row.due.map_or(EARLIEST, |due| due.at.unwrap_or(due.day * DAY)),
        "likes" => row.likes.len() as Ms,
        _ => row.modified_at,
    }
}

fn fits(call: &Call<'_>, wanted: &Wanted<'_>, id: u32, row: &Task) -> bool {
    let completed = row.completed.map(|(at, _)| at);
    let due = row.due.map(|due| due.at.unwrap_or(due.day * DAY));
    let start = row.start.map(|start| start.at.unwrap_or(start.day * DAY));
    let open = (EARLIEST, LATEST);
    let any_open = |ids: &[u32]| {
        ids.iter().any(|id| call.view.world.task(*id, LATEST).is_some_and(|row| row.completed.is_none()))
    };
    within(row.created_at, wanted.created)
        && within(row.modified_at, wanted.modified)
        && wanted.completed.is_none_or(|want| want == completed.is_some())
        && (wanted.completed_at == open || completed.is_some_and(|at| within(at, wanted.completed_at)))
        && (wanted.due == open || due.is_some_and(|at| within(at, wanted.due)))
        && (wanted.start == open || start.is_some_and(|at| within(at, wanted.start)))
        && wanted.blocked.is_none_or(|want| want == any_open(&row.dependencies))
        && wanted.blocking.is_none_or(|want| want == (completed.is_none() && any_open(&row.dependents)))
        && wanted.subtask.is_none_or(|want| want == row.parent.is_some())
        && wanted.subtype.is_none_or(|want| want == row.subtype)
        && wanted.attachment.is_none_or(|want| want != call.view.world.attachment_ids(id).is_empty())
        && wanted.ids.iter().all(|(name, mode, ids)| in_list(call, name, *mode, ids, id, row))
        && wanted.text.as_ref().is_none_or(|text| says(row, text))
}

fn says(row: &Task, text: &str) -> bool {
    let has = |read: Cow<'_, str>| read.to_lowercase().contains(text);
    has(row.name.read()) || has(row.notes.read())
}

/// Whether the ids of a task that go by this name are as wanted.
fn in_list(call: &Call<'_>, name: &str, mode: Mode, ids: &[u32], id: u32, row: &Task) -> bool {
    let mine = named(call, name, id, row);
    match mode {
        Mode::Any => mine.iter().any(|id| ids.contains(id)),
        Mode::Not => !mine.iter().any(|id| ids.contains(id)),
        Mode::All => ids.iter().all(|id| mine.contains(id)),
    }
}

fn named(call: &Call<'_>, name: &str, id: u32, row: &Task) -> Vec<u32> {
    let (world, at) = (call.view.world, call.view.at);
    let projects: Vec<u32> = world.memberships(row, at).map(|(project, _)| project).collect();
    match name {
        "assignee" => row.assignee.into_iter().collect(),
        "assigned_by" => row.assigned_by.into_iter().collect(),
        "created_by" => vec![row.created_by],
        "followers" => row.followers.clone(),
        "liked_by" => row.likes.clone(),
        "commented_on_by" => {
            let stories = world.story_ids(id).into_iter().filter_map(|id| world.story(id, at));
            stories.filter(|row| matches!(row.event, Event::Comment(_))).map(|row| row.by).collect()
        }
        "projects" => projects,
        "sections" => world.memberships(row, at).map(|(_, section)| section).collect(),
        "teams" => projects.iter().filter_map(|id| world.projects.live(*id, at)?.team).collect(),
        "portfolios" => {
            let holds = |id: &u32| {
                let items = world.portfolios.live(*id, at).map_or(&[][..], |row| &row.items);
                items.iter().any(|item| projects.contains(item))
            };
            world.portfolios.ids(at).filter(holds).collect()
        }
        _ => row.tags.clone(),
    }
}
