//! Units: one listing below one record, or one record by itself.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crawl::Scope;
use crate::encode;
use crate::resources::{self, Below, Listing, Resource, When};

/// Why one record is asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// A lane reports that it changed.
    Changed,
    /// A lane reports that it is there, be it new or back.
    Appeared,
    /// An event reports that it was deleted.
    Deleted,
    /// No listing brought it, and it was there before.
    Missing,
    /// The same where nothing is walked, so that what only helps to find records is of no use.
    Unlisted,
    /// Another record refers to it.
    Referred,
    /// Somebody named it, to have it read again with what hangs below it.
    Named,
}

impl Why {
    /// Whether a 404 proves that the record is gone: only where something else says so too.
    #[must_use]
    pub fn proves_absence(self) -> bool {
        matches!(self, Self::Deleted | Self::Missing | Self::Unlisted)
    }
}

/// What a unit asks.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// A listing.
    Listing(&'static Listing),
    /// One record.
    Single(Why),
}

/// A question to Asana that is not answered yet. Small, since there is one for each listing of each task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Form", try_from = "Form")]
pub struct Unit {
    /// What the answer is made of.
    pub resource: &'static Resource,
    /// What is asked.
    pub ask: Ask,
    /// The gid of what the listing hangs below, or of the record itself.
    pub gid: Box<str>,
    /// What a placeholder other than `{gid}` and `{organization}` stands for.
    place: Option<Box<str>>,
    /// Only what changed since.
    since: Option<DateTime<Utc>>,
}

/// How a unit is kept: table, number of the listing, why, gid, placeholder, since.
type FormParts = (String, Option<usize>, Option<Why>, Box<str>, Option<Box<str>>, Option<DateTime<Utc>>);

#[derive(Serialize, Deserialize)]
struct Form(FormParts);

impl From<Unit> for Form {
    fn from(unit: Unit) -> Self {
        let (listing, why) = match unit.ask {
            Ask::Listing(listing) => (Some(unit.resource.number_of(listing)), None),
            Ask::Single(why) => (None, Some(why)),
        };
        Self((unit.resource.table.to_owned(), listing, why, unit.gid, unit.place, unit.since))
    }
}

impl TryFrom<Form> for Unit {
    type Error = String;

    fn try_from(Form((table, listing, why, gid, place, since)): Form) -> Result<Self, String> {
        let resource = resources::by_table(&table).ok_or_else(|| format!("no table is called {table}"))?;
        let ask = match (listing.and_then(|number| resource.listings.get(number)), why) {
            (Some(listing), None) => Ask::Listing(listing),
            (None, Some(why)) => Ask::Single(why),
            _ => return Err(format!("{table} has no such listing")),
        };
        Ok(Self { resource, ask, gid, place, since })
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        let same = match (self.ask, other.ask) {
            (Ask::Listing(one), Ask::Listing(two)) => std::ptr::eq(one, two),
            (Ask::Single(_), Ask::Single(_)) => true,
            _ => false,
        };
        same && self.gid == other.gid && self.resource == other.resource && self.since == other.since
    }
}

/// A request: operation, path, query without `opt_fields`.
pub(super) type Request = (&'static str, String, Vec<(String, String)>);

impl Unit {
    fn listing(resource: &'static Resource, listing: &'static Listing, gid: &str) -> Self {
        Self { resource, ask: Ask::Listing(listing), gid: gid.into(), place: None, since: None }
    }

    /// The question for one record.
    #[must_use]
    pub fn single(resource: &'static Resource, gid: &str, why: Why) -> Self {
        Self { resource, ask: Ask::Single(why), gid: gid.into(), place: None, since: None }
    }

    /// The listings that prove what hangs below one record.
    pub fn proving(resource: &'static Resource, gid: &str) -> impl Iterator<Item = Self> {
        let proving = |listing: &&Listing| listing.proves && listing.below != Below::Organization;
        resource.listings.iter().filter(proving).map(move |listing| Self::listing(resource, listing, gid))
    }

    /// The questions of `operation` about `gid`, of which one was asked: several where it lists below records of several
    /// tables, none where the gid alone does not say it.
    #[must_use]
    pub fn of_operation(resource: &'static Resource, operation: &str, gid: &str) -> Vec<Self> {
        if resource.single.is_some() && operation == resource.single_operation {
            return vec![Self::single(resource, gid, Why::Appeared)];
        }
        let asks = |listing: &&Listing| listing.operation == operation && placeholder(listing.path).is_none();
        resource.listings.iter().filter(asks).map(|listing| Self::listing(resource, listing, gid)).collect()
    }

    /// The listings of `resource` that hang below the record `gid` of `above` and answer only what changed `since`.
    pub fn changed_below(
        resource: &'static Resource,
        above: &'static Resource,
        gid: &str,
        since: DateTime<Utc>,
    ) -> impl Iterator<Item = Self> {
        let below =
            |listing: &&Listing| listing.below == Below::Table(above.table) && listing.filters_changes();
        resource
            .listings
            .iter()
            .filter(below)
            .map(move |listing| Self { since: Some(since), ..Self::listing(resource, listing, gid) })
    }

    /// The listings that hang below the organization, in the order of the tables.
    #[must_use]
    pub fn roots(organization: &str, scope: &Scope) -> Vec<Self> {
        of(Below::Organization, scope)
            .map(|(resource, listing)| Self::listing(resource, listing, organization))
            .collect()
    }

    /// The listings that hang below one record, and the resources of those that a count of zero spares.
    pub(super) fn below(
        resource: &Resource,
        gid: &str,
        record: &Value,
        scope: &Scope,
    ) -> (Vec<Self>, Vec<&'static Resource>) {
        let (mut units, mut none) = (Vec::new(), Vec::new());
        for (below, listing) in of(Below::Table(resource.table), scope) {
            if let When::Counts(count) = listing.when
                // A count that is missing is no proof of nothing.
                && encode::field(record, count).and_then(Value::as_i64) == Some(0)
            {
                none.push(below);
                continue;
            }
            let mut unit = Self::listing(below, listing, gid);
            if let Some(path) = placeholder(listing.path) {
                let Some(place) = encode::field(record, path).and_then(Value::as_str) else { continue };
                unit.place = Some(place.into());
            }
            units.push(unit);
        }
        (units, none)
    }

    /// The fields of a record of `resource` that the paths of listings below it are filled from.
    pub(super) fn fields_of_paths_below(resource: &Resource) -> Vec<&'static str> {
        let all = resources::ALL.iter().flat_map(|below| below.listings);
        let below = all.filter(|listing| listing.below == Below::Table(resource.table));
        below.filter_map(|listing| placeholder(listing.path)).collect()
    }

    /// Whether it asks by this listing.
    pub(super) fn lists_by(&self, listing: &Listing) -> bool {
        matches!(self.ask, Ask::Listing(own) if std::ptr::eq(own, listing))
    }

    /// Whether it is answered in pages.
    pub(super) fn is_paged(&self) -> bool {
        matches!(self.ask, Ask::Listing(listing) if listing.paged)
    }

    /// Whether a record of this key can be the answer: one that was asked for by itself is that one and no other.
    #[must_use]
    pub fn is_answered_by(&self, key: &str) -> bool {
        matches!(self.ask, Ask::Listing(_)) || *key == *self.gid
    }

    /// Whether its listing, read to its end, names everything that hangs there.
    #[must_use]
    pub fn proves(&self) -> bool {
        matches!(self.ask, Ask::Listing(listing) if listing.proves && self.since.is_none())
    }

    /// Whether it asks only for what changed, so that an answer says nothing of the rest.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it lists what the organization has.
    #[must_use]
    pub fn is_root(&self) -> bool {
        matches!(self.ask, Ask::Listing(listing) if listing.below == Below::Organization)
    }

    /// What the listing hangs below a record of.
    #[must_use]
    pub fn above(&self) -> Option<&'static Resource> {
        match self.ask {
            Ask::Listing(Listing { below: Below::Table(above), .. }) => resources::by_table(above),
            _ => None,
        }
    }

    /// The operation that asks it.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self.ask {
            Ask::Single(_) => self.resource.single_operation,
            Ask::Listing(listing) => listing.operation,
        }
    }

    /// The request that asks it.
    pub(super) fn request(&self, organization: &str) -> Request {
        let fill = |template: &str| {
            let filled = template.replace("{organization}", organization).replace("{gid}", &self.gid);
            match (placeholder(&filled), &self.place) {
                (Some(name), Some(place)) => filled.replace(&format!("{{{name}}}"), place),
                _ => filled,
            }
        };
        match self.ask {
            Ask::Single(_) => {
                let path = self.resource.single.expect("only asked where there is a single GET");
                (self.resource.single_operation, fill(path), Vec::new())
            }
            Ask::Listing(listing) => {
                let pairs = listing.query.iter().map(|(name, value)| ((*name).to_owned(), fill(value)));
                let since = self.since.map(|since| {
                    ("modified_since".to_owned(), since.to_rfc3339_opts(SecondsFormat::Millis, true))
                });
                (listing.operation, fill(listing.path), pairs.chain(since).collect())
            }
        }
    }
}

fn of(below: Below, scope: &Scope) -> impl Iterator<Item = (&'static Resource, &'static Listing)> {
    resources::ALL
        .iter()
        .filter(|resource| scope.reads(resource))
        .flat_map(|resource| resource.listings.iter().map(move |listing| (*resource, listing)))
        .filter(move |(_, listing)| listing.below == below)
}

/// The placeholder of `template` that a field of the record fills.
fn placeholder(template: &str) -> Option<&str> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if name != "gid" && name != "organization" {
            return Some(name);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn below(table: &str, record: &Value) -> Vec<String> {
        let resource = resources::by_table(table).expect("a table");
        let (units, _) = Unit::below(resource, "7", record, &Scope::new(&[]));
        units
            .iter()
            .map(|unit| {
                let (_, path, query) = unit.request("1");
                let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{path}?{}", query.join("&"))
            })
            .collect()
    }

    #[test]
    fn subtasks_are_listed_unless_there_are_none() {
        let subtasks = "/tasks/7/subtasks?".to_owned();
        assert!(below("tasks", &json!({"num_subtasks": 2})).contains(&subtasks));
        assert!(below("tasks", &json!({})).contains(&subtasks));
        assert!(!below("tasks", &json!({"num_subtasks": 0})).contains(&subtasks));
    }

    #[test]
    fn a_placeholder_is_filled_from_the_record() {
        let listings = below("workspace_memberships", &json!({"user_task_list": {"gid": "9"}}));
        assert_eq!(listings, ["/user_task_lists/9/tasks?"]);
        assert!(below("workspace_memberships", &json!({"user_task_list": null})).is_empty());
        assert_eq!(below("users", &json!({})), ["/tasks?assignee=7&workspace=1"]);
    }

    #[test]
    fn a_unit_reads_back_as_it_was_kept() {
        let tasks = resources::named("tasks");
        let projects = resources::named("projects");
        let memberships = resources::named("workspace_memberships");
        let lists = json!({"user_task_list": {"gid": "9"}});
        let (mut units, _) = Unit::below(memberships, "7", &lists, &Scope::new(&[]));
        units.push(Unit::single(tasks, "5", Why::Referred));
        units.extend(Unit::changed_below(tasks, projects, "3", DateTime::UNIX_EPOCH));
        assert_eq!(units.len(), 3);
        for unit in units {
            let kept = serde_json::to_string(&unit).expect("JSON");
            let back: Unit = serde_json::from_str(&kept).expect(&kept);
            assert_eq!(back, unit);
            assert_eq!(back.request("1"), unit.request("1"));
        }
    }
}
