//! The simulator as a value: one organization, its clock, its life, and whatever was set to go wrong.
//!
//! Rule: edits are applied when somebody looks, each at the moment it was due; between two looks nothing runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::api::access::Who;
use crate::events::Notes;
use crate::events::sync::Streams;
use crate::faults::{Fault, Faults};
use crate::gid::{self, Kind};
use crate::life::edits::Hand;
use crate::life::{self, Edit, Life, Outcome};
use crate::limits::Meter;
use crate::log::{Log, LoggedRequest};
use crate::options::{Options, Rules};
use crate::records::View;
use crate::text::Text;
use crate::time::{self, Clock, LATEST, Ms};
use crate::truth;
use crate::versions::{self, Versions};
use crate::world::rows::{Event, ORGANIZATION};
use crate::world::{World, generate};

/// A simulated Asana. Clones share the one organization.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    pub(crate) clock: Clock,
    nature: RwLock<Nature>,
    desk: Mutex<Desk>,
    pub(crate) streams: Mutex<Streams>,
}

/// The world, and what changes it.
pub(crate) struct Nature {
    pub(crate) world: World,
    pub(crate) life: Life,
}

/// What is kept of requests.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) meter: Meter,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    /// How many requests there were: it signs URLs.
    pub(crate) serial: u64,
    /// How often all offset tokens were declared expired.
    pub(crate) offsets: u64,
    /// Tokens of the service account beside that of the options.
    pub(crate) issued: BTreeSet<String>,
    /// Tokens that are good no more.
    pub(crate) revoked: BTreeSet<String>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = &self.shared.options;
        write!(out, "Simulator({}, seed {})", options.size, options.seed)
    }
}

impl Simulator {
    /// Makes the organization of a seed. The clock starts now, at the epoch.
    pub fn new(options: Options) -> Self {
        let clock = Clock::start(options.epoch);
        let mut world = generate::world(options.size, options.seed);
        world.events = Notes::new(options.event_delay, options.lose_events);
        let mut life = Life::new(options.seed);
        life.pace(options.life, clock.now());
        let rules = Rules {
            search: options.search,
            search_lag: options.search_lag,
            offset_ttl: options.offset_ttl,
            events: options.events,
            audit_log: options.audit_log,
            sync_ttl: options.sync_ttl,
        };
        let nature = RwLock::new(Nature { world, life });
        let (desk, streams) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { options, rules, clock, nature, desk, streams }) }
    }

    /// The API under `/api/1.0` and the control API under `/_sim`.
    pub fn router(&self) -> axum::Router {
        crate::server::router(self.clone())
    }

    /// The gid of the organization.
    pub fn organization(&self) -> String {
        gid::gid(self.shared.options.seed, Kind::Workspace, u64::from(ORGANIZATION)).to_string()
    }

    /// The simulated now.
    pub fn now(&self) -> DateTime<Utc> {
        time::public(self.shared.clock.now())
    }

    /// Makes so many edits at once, and says what was done.
    pub fn advance(&self, edits: usize) -> Vec<Edit> {
        let now = self.shared.clock.now();
        let mut nature = self.nature_mut();
        let Nature { world, life } = &mut *nature;
        (0..edits).map(|_| life.one(world, now)).collect()
    }

    /// From now on, so many edits a second happen by themselves; none for `None`.
    pub fn live_at(&self, rate: Option<f64>) {
        let now = self.shared.clock.now();
        self.nature_mut().life.pace(rate, now);
    }

    /// Renames a user. No record that names the user is modified.
    ///
    /// # Panics
    /// Like all edits of one record: if there is no such live record.
    pub fn rename_user(&self, gid: &str, name: &str) -> Edit {
        self.edit("rename_user", gid, name).expect("the user lives")
    }

    /// Renames a project.
    pub fn rename_project(&self, gid: &str, name: &str) -> Edit {
        self.edit("rename_project", gid, name).expect("the project lives")
    }

    /// Renames a tag.
    pub fn rename_tag(&self, gid: &str, name: &str) -> Edit {
        self.edit("rename_tag", gid, name).expect("the tag lives")
    }

    /// Renames a task, which moves its `modified_at`.
    pub fn rename_task(&self, gid: &str, name: &str) -> Edit {
        self.edit("rename_task", gid, name).expect("the task lives")
    }

    /// Moves a task to the trash, with its subtasks, stories and attachments.
    pub fn delete_task(&self, gid: &str) -> Edit {
        self.edit("delete_task", gid, "").expect("the task lives")
    }

    /// Adds a comment to a task.
    pub fn add_comment(&self, task: &str, text: &str) -> Edit {
        self.edit("comment", task, text).expect("the task lives")
    }

    /// Brings a task back from the trash, with what went there together with it.
    pub fn undelete_task(&self, gid: &str) -> Edit {
        self.edit("undelete_task", gid, "").expect("the task is in the trash, and its parent is not")
    }

    /// Edits the description of a task, which moves its `modified_at`.
    pub fn touch_task(&self, gid: &str) -> Edit {
        self.edit("touch_task", gid, "touched").expect("the task lives")
    }

    /// Deletes a story.
    pub fn delete_story(&self, gid: &str) -> Edit {
        self.edit("delete_story", gid, "").expect("the story lives")
    }

    /// Makes one named edit of one record; `None` if there is no such edit or no such live record.
    pub fn edit(&self, kind: &str, gid: &str, text: &str) -> Option<Edit> {
        let at = self.shared.clock.now();
        let mut nature = self.nature_mut();
        let Nature { world, life } = &mut *nature;
        let (of, id) = gid::read(world.seed, gid)?;
        let hand = Hand { at, by: 1 };
        let (name, done) = targeted(world, kind, (of, id as u32), hand, text)?;
        Some(life.record(world, name, at, done?))
    }

    /// Every live record of a table with all its fields, as of `at` or now. Tables have the names of Asana's paths;
    /// `custom_field_settings` are those of projects, and `portfolio_items` name a portfolio and an item.
    pub fn truth(&self, table: &str, at: Option<DateTime<Utc>>) -> Vec<Value> {
        let nature = self.nature();
        let at = at.map_or(LATEST, |at| at.timestamp_millis());
        let view = oracle(&nature.world, at);
        let mut line = Vec::new();
        let rows = truth::rows(&nature.world, table, at).into_iter();
        rows.map(|row| {
            line.clear();
            truth::write(&view, row, &mut line);
            serde_json::from_slice(&line).expect("the records are JSON")
        })
        .collect()
    }

    /// The moments from `from` to `to`, both included, at which anything was edited; each once.
    pub fn edit_moments(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let nature = self.nature();
        let moments = nature.life.moments(from.timestamp_millis(), to.timestamp_millis());
        moments.into_iter().map(time::public).collect()
    }

    /// Every version of every record of a table that was true at some moment from `from` to `to`, both included, by
    /// key. It evaluates the whole table at every edit: made for worlds of a few hundred records.
    ///
    /// Edits within one millisecond count as one here. Who reads between two edits of a paused clock sees what this
    /// does not know of; let a millisecond pass before each edit, and it knows everything.
    pub fn versions(&self, table: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Versions> {
        let nature = self.nature();
        let (from, to) = (from.timestamp_millis(), to.timestamp_millis());
        let mut moments = nature.life.moments(from, to);
        if moments.first() != Some(&from) {
            moments.insert(0, from);
        }
        versions::versions(&nature.world, table, &moments)
    }

    /// How many live records each table of the truth has now.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let nature = self.nature();
        let count =
            |table: &&str| ((*table).to_owned(), truth::rows(&nature.world, table, LATEST).len() as u64);
        truth::TABLES.iter().map(count).collect()
    }

    /// How many requests there were, by `operationId`.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.desk().log.operations.clone()
    }

    /// The last requests, oldest first.
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.desk().log.requests.iter().cloned().collect()
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.desk().faults.add(fault);
    }

    /// Lets nothing go wrong any more.
    pub fn clear_faults(&self) {
        self.desk().faults.clear();
    }

    /// From now on this share of the events of all edits is told to nobody, ever; none for `None`.
    pub fn lose_events(&self, share: Option<f64>) {
        self.nature_mut().world.events.lose = share.unwrap_or_default();
    }

    /// Makes all sync tokens given out so far invalid: each is answered with 412 and a token that begins then.
    pub fn expire_sync_tokens(&self) {
        self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).expire();
    }

    /// Makes all offset tokens given out so far invalid: each is answered with 400.
    pub fn expire_offsets(&self) {
        self.desk().offsets += 1;
    }

    /// Gives the service account one more token.
    pub fn issue_token(&self, token: &str) {
        self.desk().issued.insert(token.to_owned());
    }

    /// Makes a token invalid, whosever it is: each request with it is answered with 401.
    pub fn revoke_token(&self, token: &str) {
        self.desk().revoked.insert(token.to_owned());
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world with all edits that are due.
    pub(crate) fn nature(&self) -> RwLockReadGuard<'_, Nature> {
        let now = self.shared.clock.now();
        let nature = self.shared.nature.read().unwrap_or_else(PoisonError::into_inner);
        if !nature.life.is_due(now) {
            return nature;
        }
        drop(nature);
        drop(self.nature_mut());
        self.shared.nature.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world with all edits that are due, to be changed.
    pub(crate) fn nature_mut(&self) -> RwLockWriteGuard<'_, Nature> {
        let mut nature = self.shared.nature.write().unwrap_or_else(PoisonError::into_inner);
        let Nature { world, life } = &mut *nature;
        life.catch_up(world, self.shared.clock.now());
        nature
    }

    /// Whose token it is.
    pub(crate) fn who(&self, token: &str) -> Option<Who> {
        let options = &self.shared.options;
        let desk = self.desk();
        if desk.revoked.contains(token) {
            return None;
        }
        if token == options.token || desk.issued.contains(token) {
            return Some(Who::Service);
        }
        options.people.iter().find(|(known, _)| known == token).map(|(_, user)| Who::Person(*user))
    }
}

/// The oracle's eyes.
pub(crate) fn oracle(world: &World, at: Ms) -> View<'_> {
    View { world, at, me: world.robot, signature: None }
}

/// Edits that can be asked for by name.
fn targeted(
    world: &mut World,
    kind: &str,
    (of, id): (Kind, u32),
    hand: Hand,
    text: &str,
) -> Option<(&'static str, Outcome)> {
    let lives = crate::api::singles::lives(world, of, id, LATEST);
    let found = move |wanted: Kind| (lives && of == wanted).then_some(());
    match kind {
        "rename_user" => {
            found(Kind::User).map(|()| ("rename_user", life::rename_user(world, id, hand, text)))
        }
        "rename_project" => {
            found(Kind::Project).map(|()| ("rename_project", life::rename_project(world, id, hand, text)))
        }
        "rename_tag" => found(Kind::Tag).map(|()| ("rename_tag", life::rename_tag(world, id, hand, text))),
        "rename_task" => {
            found(Kind::Task).map(|()| ("rename_task", life::rename_task(world, id, hand, text)))
        }
        "delete_task" => {
            found(Kind::Task)?;
            world.trash_task(id, hand);
            Some(("delete_task", life::done(Kind::Task, id, "")))
        }
        "comment" => {
            found(Kind::Task)?;
            let story = world.tell(id, hand, Event::Comment(Text::given(text)), true);
            Some(("comment", life::done(Kind::Story, story, text)))
        }
        "touch_task" => {
            found(Kind::Task)?;
            world.change_task(id, hand, Event::NotesChanged, |row| row.notes = Text::given(text));
            Some(("touch_task", life::done(Kind::Task, id, text)))
        }
        "undelete_task" if of == Kind::Task => Some(("undelete_task", life::undelete_task(world, id, hand))),
        "delete_story" => {
            found(Kind::Story)?;
            world.edit_story(id, hand, false, |_| {});
            Some(("delete_story", life::done(Kind::Story, id, "")))
        }
        "archive_project" => {
            found(Kind::Project)?;
            Some(("archive_or_unarchive_project", life::archive_project(world, id, hand)))
        }
        "delete_project" => {
            found(Kind::Project)?;
            Some(("delete_project", life::delete_project(world, id, hand)))
        }
        _ => None,
    }
}
