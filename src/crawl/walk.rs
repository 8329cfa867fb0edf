//! The walk: reads listings and single records, and says where they lead.
//!
//! Rule: a listing is read to its end before what hangs below its records is asked for, since offsets expire; and
//! the deepest listing known is read first, so that what waits stays small. One failing object becomes a gap and
//! never ends a run; a service that answers nothing any more does. All that a crawl knows can be restored from what it
//! told: whoever keeps that can go on after a crash with no question asked twice but those in flight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::asana::{self, Answer, Client, Found, Refusal};
use crate::clock::Clock;
use crate::crawl::closure::Known;
use crate::crawl::streams::Streams;
use crate::crawl::told::{End, Lead, Page, Phase, Search, Step, Taken, Told};
use crate::crawl::unit::{Ask, Unit, Why};
use crate::crawl::{Again, Findings, Scope, Slices};
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Gap, Lane, Reading};
use crate::resources::{self, Below, Listing, Resource};
use crate::telemetry::Progress;

/// After so many units in a row that no retry could read, the service counts as down: with eight tries each and
/// growing waits, that is half an hour without a single answer.
const DOWN_AFTER: u64 = 50;

/// How deep to go below what a listing brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Below everything.
    Everything,
    /// Below tasks of these slices and whatever is no task; else below what changed.
    Slices(Slices),
    /// Below what changed.
    Changed,
    /// Below what was named; else below what changed.
    Again(Again),
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
    state: Mutex<State>,
    /// By the place of the resource: the value of `opt_fields` and the name of that set.
    fields: Vec<(String, Arc<str>)>,
}

/// All that a crawl knows.
#[derive(Debug)]
pub(super) struct State {
    /// What is to be read; the last is the next. With the offset to go on from.
    pending: Vec<(Unit, Option<String>)>,
    reach: Reach,
    lane: Lane,
    known: Known,
    findings: Findings,
    phase: Option<Phase>,
    searched: BTreeMap<Search, DateTime<Utc>>,
    pub(super) streams: Streams,
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
        let state = State {
            pending: Vec::new(),
            reach: Reach::Everything,
            lane: Lane::Walk,
            known: Known::new(),
            findings: Findings::default(),
            phase: None,
            searched: BTreeMap::new(),
            streams: Streams::default(),
        };
        let organization = organization.to_owned();
        let state = Mutex::new(state);
        Self(Arc::new(Inner { client, clock, organization, scope, workers, progress, state, fields }))
    }

    /// How deep to go from now on, and how what is read came to be read.
    pub fn aim(&self, reach: Reach, lane: Lane) {
        let mut state = self.state();
        state.reach = reach;
        state.lane = lane;
    }

    /// Wants units to be read, the first of them first.
    pub async fn want(&self, units: Vec<Unit>, told: &mpsc::Sender<Told>) -> Result<()> {
        if units.is_empty() { Ok(()) } else { self.take_step(Step::Wanted(units), told).await }
    }

    /// Wants units of which whoever is told knows already.
    pub fn push(&self, units: Vec<Unit>) {
        self.0.progress.want(units.len() as u64);
        // The last in is the first out.
        self.state().pending.extend(units.into_iter().rev().map(|unit| (unit, None)));
    }

    /// Whether units wait to be read.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.state().pending.is_empty()
    }

    /// Begins a stage of the run with `units`, unless it had begun before the crash.
    pub async fn begin(&self, phase: Phase, units: Vec<Unit>, told: &mpsc::Sender<Told>) -> Result<()> {
        if self.state().phase >= Some(phase) {
            return Ok(());
        }
        self.take_step(Step::Began(phase, units), told).await
    }

    /// The stage that the run is in, as far as it has begun.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.state().phase
    }

    /// Notes references that are to be followed, and leaves those of them that are news.
    pub fn refer(&self, refers: &mut Vec<(Box<str>, Box<str>)>) {
        let known = &mut self.state().known;
        refers.retain(|(table, gid)| resources::by_table(table).is_some_and(|other| known.refer(other, gid)));
    }

    /// Takes the references to what this crawl has not read, each once in a run.
    #[must_use]
    pub fn take_referred(&self) -> Vec<(&'static Resource, Box<str>)> {
        let mut waiting = self.state().known.take_waiting();
        waiting.retain(|(resource, _)| self.0.scope.keeps(resource));
        waiting
    }

    /// What was found out so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.state().findings.clone()
    }

    /// Reads until nothing is pending.
    pub async fn drain(&self, told: &mpsc::Sender<Told>) -> Result<()> {
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.0.workers {
                let Some((unit, offset)) = self.state().pending.pop() else { break };
                running.spawn(self.clone().read(unit, offset, told.clone()).in_current_span());
            }
            let Some(done) = running.join_next().await else { return Ok(()) };
            let below =
                done.map_err(|cause| Error::new(ErrorKind::Bug, format!("a reader ended: {cause}")))??;
            self.0.progress.done();
            self.push(below);
            self.listen_in_time(told).await?;
        }
    }

    async fn read(self, unit: Unit, offset: Option<String>, told: mpsc::Sender<Told>) -> Result<Vec<Unit>> {
        match unit.ask {
            Ask::Listing(listing) if listing.paged => self.read_pages(&unit, listing, offset, &told).await,
            _ => self.read_one(&unit, &told).await,
        }
    }

    async fn read_pages(
        &self,
        unit: &Unit,
        listing: &'static Listing,
        offset: Option<String>,
        told: &mpsc::Sender<Told>,
    ) -> Result<Vec<Unit>> {
        let (operation, path, mut query) = unit.request(&self.0.organization);
        query.push(self.opt_fields(unit.resource));
        let asked_at = self.0.clock.now();
        let mut pages = self.0.client.pages(operation, path, query).from(offset);
        let mut below = Vec::new();
        let doing = |error: Error| error.doing(format!("read {operation}"));
        while let Some(answer) = pages.next().await.map_err(doing)? {
            match answer {
                asana::Page::Found(page) => {
                    let reading = self.reading(unit.resource, page.began_at, page.seen_at);
                    let end = page.next_offset.map_or(End::Whole, End::More);
                    below.extend(self.take(unit, &page.records, reading, end, told).await?);
                }
                asana::Page::Refused(refusal) => {
                    let end = self.refused(unit, operation, listing, &refusal, told).await?;
                    self.tell_end(unit, asked_at, end, told).await?;
                }
            }
        }
        Ok(below)
    }

    async fn read_one(&self, unit: &Unit, told: &mpsc::Sender<Told>) -> Result<Vec<Unit>> {
        let (operation, path, mut query) = unit.request(&self.0.organization);
        query.push(self.opt_fields(unit.resource));
        let asked_at = self.0.clock.now();
        let answer = self.0.client.get(operation, &path, &query).await;
        let refusal = match answer.map_err(|error| error.doing(format!("read {operation} {path}")))? {
            Answer::Found(Found { data, began_at, seen_at }) => {
                let reading = self.reading(unit.resource, began_at, seen_at);
                return self.take(unit, &[data], reading, End::Whole, told).await;
            }
            Answer::Refused(refusal) => refusal,
        };
        let end = match unit.ask {
            Ask::Listing(listing) => self.refused(unit, operation, listing, &refusal, told).await?,
            Ask::Single(Why::Referred) if refusal.status == 404 => {
                self.state().findings.dangling += 1;
                End::Gone
            }
            Ask::Single(why) if refusal.status == 404 && why.proves_absence() => End::Gone,
            Ask::Single(_) => self.gap(unit, operation, &refusal)?,
        };
        self.tell_end(unit, asked_at, end, told).await?;
        Ok(Vec::new())
    }

    /// Tells what brought no records. It counts as of when it was first asked for, tries and all: whatever was read since
    /// may be later.
    async fn tell_end(
        &self,
        unit: &Unit,
        asked_at: DateTime<Utc>,
        end: End,
        told: &mpsc::Sender<Told>,
    ) -> Result<()> {
        let reading = self.reading(unit.resource, asked_at, self.0.clock.now());
        let page = Page { unit: unit.clone(), reading, taken: Vec::new(), odd: None, end };
        tell(told, Told::Page(Box::new(page))).await
    }

    /// Makes records of a page, tells them, and says what to read below them.
    async fn take(
        &self,
        unit: &Unit,
        page: &[Box<RawValue>],
        reading: Arc<Reading>,
        end: End,
        told: &mpsc::Sender<Told>,
    ) -> Result<Vec<Unit>> {
        let resource = unit.resource;
        // A listing that only helps to find records says nothing of what they hang below.
        let above = match unit.ask {
            Ask::Listing(listing) if listing.proves => Some(&*unit.gid),
            _ => None,
        };
        let mut below = Vec::new();
        let mut taken = Vec::with_capacity(page.len());
        let mut odd = None;
        for raw in page {
            match encode::record(resource, raw.get(), above, &reading) {
                Ok(parsed) if !unit.is_answered_by(&parsed.record.key) => {
                    odd = odd.or_else(|| Some(format!("another record was answered: {}", parsed.record.key)));
                }
                Ok(parsed) => {
                    let one = self.lead(unit, parsed);
                    below.extend(one.lead.below.iter().cloned());
                    taken.push(one);
                }
                Err(error) => odd = odd.or_else(|| Some(error.to_string())),
            }
        }
        if self.0.scope.keeps(resource) {
            self.0.progress.records(resource.place(), taken.len() as u64);
        }
        let page = Page { unit: unit.clone(), reading, taken, odd, end };
        tell(told, Told::Page(Box::new(page))).await?;
        Ok(below)
    }

    /// Where a record leads: what to read below it, and what it refers to.
    fn lead(&self, unit: &Unit, parsed: encode::Parsed) -> Taken {
        let resource = unit.resource;
        let gid: Box<str> =
            encode::field(&parsed.value, "gid").and_then(|gid| gid.as_str()).unwrap_or_default().into();
        let (units, none) = Unit::below(resource, &gid, &parsed.value, &self.0.scope);
        let none = none.into_iter().map(Resource::place).collect();
        let mut state = self.state();
        let first = state.known.first(resource, &gid);
        let mut refers = Vec::new();
        for (table, gid) in encode::references(resource, &parsed.value) {
            if resources::by_table(table).is_some_and(|other| state.known.lacks(other, &gid)) {
                refers.push((table.into(), gid.into()));
            }
        }
        let modified_at = parsed.record.modified_at;
        let (below, if_changed) = match (unit.ask, &state.reach) {
            (Ask::Single(Why::Named), Reach::Again(again)) => {
                units.into_iter().partition(|below| again.names(below))
            }
            (Ask::Single(Why::Changed | Why::Unlisted), Reach::Again(again)) => {
                units.into_iter().partition(|below| below.proves() && again.names(below))
            }
            (Ask::Listing(_), Reach::Again(again)) if first => {
                units.into_iter().partition(|below| again.asks(below, resource, modified_at))
            }
            (Ask::Single(Why::Changed | Why::Unlisted), _) => units.into_iter().partition(Unit::proves),
            (Ask::Single(_), _) => (units, Vec::new()),
            (_, Reach::Everything) if first => (units, Vec::new()),
            (_, Reach::Slices(slices)) if first && (resource.table != "tasks" || slices.hold(&gid)) => {
                (units, Vec::new())
            }
            // Asked for before, it may have been refused: then it is news, and what hangs below it too.
            _ => (Vec::new(), units),
        };
        Taken { record: parsed.record, lead: Lead { gid, below, refers, none }, if_changed }
    }

    async fn refused(
        &self,
        unit: &Unit,
        operation: &str,
        listing: &Listing,
        refusal: &Refusal,
        told: &mpsc::Sender<Told>,
    ) -> Result<End> {
        if listing.essential {
            return Err(essential(operation, refusal));
        }
        if refusal.status == 402 && listing.below == Below::Organization {
            let answer = format!("402 {}", refusal.phrase);
            self.take_step(Step::Unavailable(unit.resource.table.to_owned(), answer), told).await?;
            return Ok(End::Unavailable);
        }
        if refusal.status == 404 && self.went(unit, listing).await? {
            return Ok(End::ParentGone);
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
        let (operation, path, query) =
            Unit::single(above, &unit.gid, Why::Missing).request(&self.0.organization);
        let answer = self.0.client.get(operation, &path, &query).await?;
        Ok(matches!(answer, Answer::Refused(refusal) if refusal.status == 404))
    }

    fn gap(&self, unit: &Unit, operation: &str, refusal: &Refusal) -> Result<End> {
        let now = self.0.clock.now();
        tracing::debug!(
            table = unit.resource.table,
            operation,
            gid = unit.gid,
            status = refusal.status,
            "gap"
        );
        let gap = Gap {
            table: unit.resource.table.to_owned(),
            scope: operation.to_owned(),
            gid: unit.gid.to_string(),
            status: refusal.status,
            phrase: refusal.phrase.clone(),
            first_seen: now,
            last_seen: now,
            accepted: None,
        };
        if (400..500).contains(&refusal.status) {
            return Ok(End::Refused(gap));
        }
        let in_a_row = self.0.client.statistics().unreadable_in_a_row;
        if in_a_row < DOWN_AFTER {
            return Ok(End::Refused(gap));
        }
        let message =
            format!("Asana is down: {in_a_row} questions in a row were not answered, last {refusal}");
        Err(Error::new(ErrorKind::Unavailable, message)
            .remedy("run again when https://status.asana.com is green"))
    }

    fn opt_fields(&self, resource: &Resource) -> (String, String) {
        ("opt_fields".to_owned(), self.0.fields[resource.place()].0.clone())
    }

    /// Names the set of fields that `resource` is asked for with.
    #[must_use]
    pub fn fields(&self, resource: &Resource) -> Arc<str> {
        Arc::clone(&self.0.fields[resource.place()].1)
    }

    fn reading(&self, resource: &Resource, began_at: DateTime<Utc>, seen_at: DateTime<Utc>) -> Arc<Reading> {
        let fields = self.fields(resource);
        let lane = self.state().lane;
        Arc::new(Reading { lane, fields, began_at, seen_at })
    }

    /// Notes a step, and tells it.
    pub(super) async fn take_step(&self, step: Step, told: &mpsc::Sender<Told>) -> Result<()> {
        tell(told, Told::Step(step.clone())).await?;
        self.restore_step(&step);
        Ok(())
    }

    pub(super) async fn probed(&self, lane: &str, answer: String, told: &mpsc::Sender<Told>) -> Result<()> {
        if self.state().findings.probes.get(lane) == Some(&answer) {
            return Ok(());
        }
        self.take_step(Step::Probe(lane.to_owned(), answer), told).await
    }

    /// Takes up an answer from before a crash.
    pub fn restore_page(&self, unit: &Unit, leads: &[Lead], end: &End) {
        let mut state = self.state();
        let asked = state.pending.iter().rposition(|(one, _)| one == unit).map(|at| state.pending.remove(at));
        for lead in leads {
            state.known.first(unit.resource, &lead.gid);
            for (table, gid) in &lead.refers {
                if let Some(other) = resources::by_table(table) {
                    state.known.refer(other, gid);
                }
            }
            state.pending.extend(lead.below.iter().rev().map(|unit| (unit.clone(), None)));
        }
        match end {
            // It goes on before what hangs below it: offsets expire.
            End::More(offset) => state.pending.push((unit.clone(), Some(offset.clone()))),
            End::Gone => {
                let referred = matches!(unit.ask, Ask::Single(Why::Referred));
                state.findings.dangling += u64::from(referred);
            }
            _ => {}
        }
        drop(asked);
    }

    /// Takes up a step from before a crash.
    pub fn restore_step(&self, step: &Step) {
        match step {
            Step::Wanted(units) => {
                let mut state = self.state();
                let referred = units.iter().filter(|unit| matches!(unit.ask, Ask::Single(Why::Referred)));
                referred.for_each(|unit| _ = state.known.first(unit.resource, &unit.gid));
                drop(state);
                self.push(units.clone());
            }
            Step::Heeded(units, later) => {
                self.state().streams.heeded(later);
                self.push(units.clone());
            }
            Step::Began(phase, units) => {
                self.state().phase = Some(*phase);
                self.push(units.clone());
            }
            other => self.state().findings.take(other),
        }
    }

    /// Takes up where a search goes on.
    pub fn restore_search(&self, of: Search, next: Option<DateTime<Utc>>) {
        if let Some(next) = next {
            self.state().searched.insert(of, next);
        }
    }

    pub(super) fn searched(&self, of: Search) -> Option<DateTime<Utc>> {
        self.state().searched.get(&of).copied()
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The gid of the organization.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.0.organization
    }

    /// The tables of this crawl.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    pub(super) fn workers(&self) -> usize {
        self.0.workers
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder panics")
    }
}

/// Hands something on. A closed queue means that somebody else failed first, and is the one reported.
pub(super) async fn tell(told: &mpsc::Sender<Told>, what: Told) -> Result<()> {
    told.send(what).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody takes records any more"))
}

/// The error of a listing without which a backup would be worthless.
pub(super) fn essential(operation: &str, refusal: &Refusal) -> Error {
    if let Some(error) = refusal.redirected() {
        return error.doing(format!("read {operation}"));
    }
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
