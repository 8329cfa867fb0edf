//! The walk: lists everything from the top, follows what is referred to, and asks for single records.
//!
//! Rule: a listing is read to its end before what hangs below its records is asked for, since offsets expire; and
//! the deepest listing known is read first, so that what waits stays small. One failing object becomes a gap and
//! never ends a run; a service that answers nothing any more does.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::asana::{Answer, Client, Found, Page, Refusal};
use crate::clock::Clock;
use crate::crawl::closure::Known;
use crate::crawl::unit::{Ask, Unit};
use crate::crawl::{Findings, Scope};
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Lane, Reading, Record};
use crate::resources::{self, Below, Listing, Resource};
use crate::telemetry::Progress;

/// After so many units in a row that no retry could read, the service counts as down: with eight tries each and
/// growing waits, that is half an hour without a single answer.
const DOWN_AFTER: u64 = 50;

/// What a crawl tells, as it goes.
#[derive(Debug)]
pub enum Event {
    /// The records of one page.
    Records(Vec<Record>),
    /// A listing that proves was read to its end: what hangs below `parent` and was not told is not there.
    Listed {
        /// What was listed.
        resource: &'static Resource,
        /// What it hangs below.
        parent: Box<str>,
    },
}

/// What became of records that were asked for one by one.
#[derive(Debug, Default)]
pub struct Asked {
    /// Those that answered 404.
    pub gone: Vec<(&'static Resource, Box<str>)>,
}

/// One crawl of one organization. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Walk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    clock: Clock,
    organization: String,
    scope: Scope,
    workers: usize,
    progress: Arc<Progress>,
    known: Mutex<Known>,
    findings: Mutex<Findings>,
    /// By the place of the resource: the value of `opt_fields` and the name of that set.
    fields: Vec<(String, Arc<str>)>,
}

/// What one unit left behind.
#[derive(Debug, Default)]
struct Left {
    below: Vec<Unit>,
    gone: Option<(&'static Resource, Box<str>)>,
}

impl Walk {
    /// A crawl of `organization` that asks through `client`, with at most `workers` questions open.
    #[must_use]
    pub fn new(
        client: Client,
        clock: Clock,
        organization: &str,
        scope: Scope,
        workers: usize,
        progress: Arc<Progress>,
    ) -> Self {
        let fields = resources::ALL
            .iter()
            .map(|resource| (resource.opt_fields(), resource.field_set().into()))
            .collect();
        Self(Arc::new(Inner {
            client,
            clock,
            organization: organization.to_owned(),
            scope,
            workers,
            progress,
            known: Mutex::new(Known::new()),
            findings: Mutex::default(),
            fields,
        }))
    }

    /// Reads everything that listings lead to, then whatever that refers to.
    pub async fn everything(&self, told: &mpsc::Sender<Event>) -> Result<()> {
        self.drain(Unit::roots(&self.0.organization, &self.0.scope), told).await?;
        self.follow(told).await
    }

    /// Reads records one by one, with all that hangs below them.
    pub async fn singles(
        &self,
        wanted: impl IntoIterator<Item = (&'static Resource, Box<str>)>,
        told: &mpsc::Sender<Event>,
    ) -> Result<Asked> {
        let units = wanted.into_iter().map(|(resource, gid)| Unit::single(resource, &gid)).collect();
        let asked = self.drain(units, told).await?;
        self.follow(told).await?;
        Ok(asked)
    }

    /// Fetches whatever a record refers to and no listing brought, until nothing new turns up.
    async fn follow(&self, told: &mpsc::Sender<Event>) -> Result<()> {
        loop {
            let waiting = self.known().take_waiting();
            let units: Vec<_> = waiting
                .into_iter()
                .filter(|(resource, _)| self.0.scope.keeps(resource))
                .map(|(resource, gid)| Unit::single(resource, &gid))
                .collect();
            if units.is_empty() {
                return Ok(());
            }
            let asked = self.drain(units, told).await?;
            self.findings().dangling += asked.gone.len() as u64;
        }
    }

    /// What was found out; to be called when nothing is read any more.
    #[must_use]
    pub fn into_findings(self) -> Findings {
        std::mem::take(&mut *self.findings())
    }

    async fn drain(&self, mut stack: Vec<Unit>, told: &mpsc::Sender<Event>) -> Result<Asked> {
        let mut asked = Asked::default();
        let mut running = JoinSet::new();
        self.0.progress.want(stack.len() as u64);
        // The roots come in the order of the tables; the last in is the first out.
        stack.reverse();
        loop {
            while running.len() < self.0.workers {
                let Some(unit) = stack.pop() else { break };
                running.spawn(self.clone().read(unit, told.clone()));
            }
            let Some(done) = running.join_next().await else { return Ok(asked) };
            let left =
                done.map_err(|cause| Error::new(ErrorKind::Bug, format!("a reader ended: {cause}")))??;
            self.0.progress.done();
            self.0.progress.want(left.below.len() as u64);
            stack.extend(left.below);
            asked.gone.extend(left.gone);
        }
    }

    async fn read(self, unit: Unit, told: mpsc::Sender<Event>) -> Result<Left> {
        match unit.ask {
            Ask::Listing(listing) if listing.paged => self.read_pages(&unit, listing, &told).await,
            _ => self.read_one(&unit, &told).await,
        }
    }

    async fn read_pages(
        &self,
        unit: &Unit,
        listing: &'static Listing,
        told: &mpsc::Sender<Event>,
    ) -> Result<Left> {
        let (operation, path, mut query) = unit.request(&self.0.organization);
        query.push(self.opt_fields(unit.resource));
        let mut pages = self.0.client.pages(operation, path, query);
        let mut left = Left::default();
        // A listing that only helps to find records says nothing of what they hang below.
        let above = listing.proves.then_some(&*unit.gid);
        while let Some(answer) =
            pages.next().await.map_err(|error| error.doing(format!("read {operation}")))?
        {
            match answer {
                Page::Found(page) => {
                    let reading = self.reading(unit.resource, page.began_at, page.seen_at);
                    let below = self.take(unit.resource, &page.records, above, &reading, told).await?;
                    left.below.extend(below);
                }
                Page::Refused(refusal) => {
                    self.refused(unit, operation, listing, &refusal).await?;
                    return Ok(left);
                }
            }
        }
        if listing.proves {
            tell(told, Event::Listed { resource: unit.resource, parent: unit.gid.clone() }).await?;
        }
        Ok(left)
    }

    async fn read_one(&self, unit: &Unit, told: &mpsc::Sender<Event>) -> Result<Left> {
        let (operation, path, mut query) = unit.request(&self.0.organization);
        query.push(self.opt_fields(unit.resource));
        let answer = self.0.client.get(operation, &path, &query).await;
        let refusal = match answer.map_err(|error| error.doing(format!("read {operation} {path}")))? {
            Answer::Found(Found { data, began_at, seen_at }) => {
                let reading = self.reading(unit.resource, began_at, seen_at);
                let below = self.take(unit.resource, &[data], None, &reading, told).await?;
                return Ok(Left { below, gone: None });
            }
            Answer::Refused(refusal) => refusal,
        };
        match unit.ask {
            Ask::Listing(listing) => self.refused(unit, operation, listing, &refusal).await?,
            Ask::Single if refusal.status == 404 => {
                return Ok(Left { gone: Some((unit.resource, unit.gid.clone())), ..Left::default() });
            }
            Ask::Single => self.gap(unit, operation, &refusal)?,
        }
        Ok(Left::default())
    }

    /// Makes records of a page, tells them, and says what to read below those that are new to this crawl.
    async fn take(
        &self,
        resource: &'static Resource,
        page: &[Box<RawValue>],
        listed_under: Option<&str>,
        reading: &Arc<Reading>,
        told: &mpsc::Sender<Event>,
    ) -> Result<Vec<Unit>> {
        let mut below = Vec::new();
        let mut records = Vec::with_capacity(page.len());
        for raw in page {
            let parsed = match encode::record(resource, raw.get(), listed_under, reading) {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.odd(resource, listed_under, &error);
                    continue;
                }
            };
            let gid = encode::field(&parsed.value, "gid").and_then(|gid| gid.as_str()).unwrap_or_default();
            let mut known = self.known();
            if known.first(resource, gid) {
                below.extend(Unit::below(resource, gid, &parsed.value, &self.0.scope));
                for (table, gid) in encode::references(resource, &parsed.value) {
                    if let Some(other) = resources::by_table(table) {
                        known.refer(other, &gid);
                    }
                }
            }
            drop(known);
            records.push(parsed.record);
        }
        if self.0.scope.keeps(resource) && !records.is_empty() {
            self.0.progress.records(resource.place(), records.len() as u64);
            tell(told, Event::Records(records)).await?;
        }
        Ok(below)
    }

    /// Notes a record that is not what Asana describes: nothing can be kept of it, and the others can.
    fn odd(&self, resource: &Resource, listed_under: Option<&str>, error: &Error) {
        let refusal = Refusal { status: 200, phrase: error.to_string(), help: None };
        let now = self.0.clock.now();
        self.findings().gap(resource, "record", listed_under.unwrap_or_default(), &refusal, now);
    }

    async fn refused(
        &self,
        unit: &Unit,
        operation: &str,
        listing: &Listing,
        refusal: &Refusal,
    ) -> Result<()> {
        if listing.essential {
            return Err(essential(operation, refusal));
        }
        if refusal.status == 402 && listing.below == Below::Organization {
            let answer = format!("402 {}", refusal.phrase);
            self.findings().unavailable.insert(unit.resource.table, answer);
            return Ok(());
        }
        if refusal.status == 404 && self.went(unit, listing).await? {
            return Ok(());
        }
        self.gap(unit, operation, refusal)
    }

    /// Whether what the listing hangs below went while the crawl was on its way: then nothing hangs there. A 404 on
    /// the listing of something that is still there proves nothing.
    async fn went(&self, unit: &Unit, listing: &Listing) -> Result<bool> {
        let Below::Table(table) = listing.below else { return Ok(false) };
        let Some(above) = resources::by_table(table).filter(|above| above.single.is_some()) else {
            return Ok(false);
        };
        let (operation, path, query) = Unit::single(above, &unit.gid).request(&self.0.organization);
        let answer = self.0.client.get(operation, &path, &query).await?;
        Ok(matches!(answer, Answer::Refused(refusal) if refusal.status == 404))
    }

    fn gap(&self, unit: &Unit, operation: &str, refusal: &Refusal) -> Result<()> {
        let now = self.0.clock.now();
        self.findings().gap(unit.resource, operation, &unit.gid, refusal, now);
        if refusal.status != 0 && refusal.status < 500 {
            return Ok(());
        }
        let in_a_row = self.0.client.statistics().unreadable_in_a_row;
        if in_a_row < DOWN_AFTER {
            return Ok(());
        }
        let message =
            format!("Asana is down: {in_a_row} questions in a row were not answered, last {refusal}");
        Err(Error::new(ErrorKind::Unavailable, message)
            .remedy("run again when https://status.asana.com is green"))
    }

    fn opt_fields(&self, resource: &Resource) -> (String, String) {
        ("opt_fields".to_owned(), self.0.fields[resource.place()].0.clone())
    }

    fn reading(
        &self,
        resource: &Resource,
        began_at: chrono::DateTime<chrono::Utc>,
        seen_at: chrono::DateTime<chrono::Utc>,
    ) -> Arc<Reading> {
        let fields = Arc::clone(&self.0.fields[resource.place()].1);
        Arc::new(Reading { lane: Lane::Walk, fields, began_at, seen_at })
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn organization(&self) -> &str {
        &self.0.organization
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().expect("no holder panics")
    }

    pub(super) fn findings(&self) -> MutexGuard<'_, Findings> {
        self.0.findings.lock().expect("no holder panics")
    }
}

/// Hands an event on. A closed queue means that somebody else failed first, and is the one reported.
async fn tell(told: &mpsc::Sender<Event>, event: Event) -> Result<()> {
    told.send(event).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody takes records any more"))
}

fn essential(operation: &str, refusal: &Refusal) -> Error {
    let (kind, remedy) = match refusal.status {
        404 => (
            ErrorKind::Config,
            "check the organization's gid: `asana-backup check` lists what the token sees",
        ),
        400..500 => (ErrorKind::Denied, "use the token of a service account of this organization"),
        _ => (ErrorKind::Unavailable, "run again when Asana answers"),
    };
    Error::new(kind, format!("{operation} is refused, and a backup without it would be worthless: {refusal}"))
        .remedy(remedy)
}
