//! Probes: what a token may read, lane by lane and table by table.
//!
//! Rule: what is asked is what a run would ask, and of as few records as tell: some tens of requests, however large the
//! organization. What hangs below a record is asked for below the first ones that the listing above brought. Nothing is
//! kept, and no token of an event stream is used.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::asana::{Answer, Refusal};
use crate::crawl::plan::{Facts, Source, plan};
use crate::crawl::refusal::essential;
use crate::crawl::{Unit, Walk};
use crate::encode;
use crate::error::{ErrorKind, Result};
use crate::resources::{self, Below, Listing, Resource};

/// Records below which a listing is asked until one brings what others hang below: the first may have nothing.
const TRIED: usize = 5;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is answered.
    Allowed,
    /// Asana says no.
    Refused(Refusal),
    /// There is no record of this table to ask below.
    NothingAbove(&'static str),
}

/// What the token may use to learn of changes.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// The organization's events.
    pub workspace_events: Probe,
    /// The events of a project.
    pub project_events: Probe,
    /// The search: `allowed`, or why not.
    pub search: String,
    /// The tasks of a project that were modified since a moment.
    pub modified_since: Probe,
}

/// What the token may read. Made of a crawl that is used for nothing else.
#[derive(Debug)]
pub struct Probes {
    walk: Walk,
    /// The first records of each table that others hang below.
    first: BTreeMap<&'static str, Vec<(Box<str>, Value)>>,
}

impl Lanes {
    /// The lane that a run would use.
    #[must_use]
    pub fn chosen(&self) -> Source {
        let is_allowed = |probe: &Probe| *probe == Probe::Allowed;
        let facts = Facts {
            workspace_events: is_allowed(&self.workspace_events),
            project_events: is_allowed(&self.project_events),
            search: self.search == "allowed",
            ..Facts::default()
        };
        plan(&facts).changes
    }
}

impl Probes {
    /// The probes of what `walk` would read.
    #[must_use]
    pub fn new(walk: Walk) -> Self {
        Self { walk, first: BTreeMap::new() }
    }

    /// Asks by each listing of `resource`, after those of the tables above it. Says of each what it hangs below. An error
    /// is one that no run gets by.
    pub async fn table(&mut self, resource: &'static Resource) -> Result<Vec<(Below, Probe)>> {
        let mut listings: Vec<_> = resource.listings.iter().collect();
        // What hangs below records of its own table comes when those are known.
        listings.sort_by_key(|listing| listing.below == Below::Table(resource.table));
        let mut found = Vec::new();
        for listing in listings {
            found.push((listing.below, self.listing(resource, listing).await?));
        }
        Ok(found)
    }

    async fn listing(&mut self, resource: &'static Resource, listing: &'static Listing) -> Result<Probe> {
        let units = self.units(resource, listing);
        match listing.below {
            Below::Table(above) if units.is_empty() => Ok(Probe::NothingAbove(above)),
            _ => self.first_of(units, listing).await,
        }
    }

    /// The questions of a listing.
    fn units(&self, resource: &'static Resource, listing: &'static Listing) -> Vec<Unit> {
        let (organization, scope) = (self.walk.organization(), self.walk.scope());
        let all = match listing.below {
            Below::Organization => Unit::roots(organization, scope),
            Below::Table(above) => {
                let first = self.first.get(above).map_or(&[][..], Vec::as_slice);
                let below = |(gid, record): &(Box<str>, Value)| {
                    Unit::below(resources::named(above), gid, record, scope).0
                };
                first.iter().flat_map(below).collect()
            }
        };
        let count = if resource.leads() { TRIED } else { 1 };
        all.into_iter()
            .filter(|unit| unit.resource == resource && unit.lists_by(listing))
            .take(count)
            .collect()
    }

    /// Asks until one brings a record, or is refused. What went meanwhile says nothing.
    async fn first_of(&mut self, units: Vec<Unit>, listing: &Listing) -> Result<Probe> {
        let mut probe = Probe::Allowed;
        for unit in units {
            let (records, answer) = self.ask(&unit).await?;
            let is_over = records > 0 || matches!(&answer, Probe::Refused(refusal) if refusal.status != 404);
            probe = answer;
            if is_over {
                break;
            }
        }
        match &probe {
            Probe::Refused(refusal) if listing.essential => Err(essential(listing.operation, refusal)),
            Probe::Refused(refusal) if refusal.is_unanswered() || refusal.redirected().is_some() => {
                Err(refusal.error(ErrorKind::Unavailable, "run again when Asana answers"))
            }
            _ => Ok(probe),
        }
    }

    /// Asks one question, and keeps the first records of what others hang below. Says how many came.
    async fn ask(&mut self, unit: &Unit) -> Result<(usize, Probe)> {
        let (resource, leads) = (unit.resource, unit.resource.leads());
        let (operation, path, mut query) = unit.request(self.walk.organization());
        if unit.is_paged() {
            let limit = if leads { TRIED } else { 1 };
            query.push(("limit".to_owned(), limit.to_string()));
        }
        let fields = Unit::fields_of_paths_below(resource);
        if !fields.is_empty() {
            query.push(("opt_fields".to_owned(), fields.join(",")));
        }
        let found = match self.walk.client().get(operation, &path, &query).await? {
            Answer::Found(found) => found.records(),
            Answer::Refused(refusal) => return Ok((0, Probe::Refused(refusal))),
        };
        let first = self.first.entry(resource.table).or_default();
        for record in found.iter().filter(|_| leads) {
            let Ok(record) = encode::parse(record.get()) else { continue };
            let gid = encode::field(&record, "gid").and_then(Value::as_str).map(Into::into);
            first.extend(gid.map(|gid| (gid, record)));
        }
        first.truncate(TRIED);
        Ok((found.len(), Probe::Allowed))
    }

    /// Asks each lane, by the first project that the tables have told of.
    pub async fn lanes(&mut self) -> Result<Lanes> {
        let project = self.first.get("projects").and_then(|projects| projects.first());
        let (project_events, modified_since) = match project.map(|(gid, _)| gid.clone()) {
            Some(gid) => (self.walk.may_hear(&gid).await?, self.modified_since(&gid).await?),
            None => (Probe::NothingAbove("projects"), Probe::NothingAbove("projects")),
        };
        Ok(Lanes {
            workspace_events: self.walk.may_hear(self.walk.organization()).await?,
            project_events,
            search: self.walk.probe_search().await?,
            modified_since,
        })
    }

    async fn modified_since(&mut self, project: &str) -> Result<Probe> {
        let (tasks, projects) = (resources::named("tasks"), resources::named("projects"));
        let mut units = Unit::changed_below(tasks, projects, project, self.walk.clock().now());
        let Some(unit) = units.next() else { return Ok(Probe::NothingAbove("projects")) };
        Ok(self.ask(&unit).await?.1)
    }
}
