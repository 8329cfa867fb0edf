//! Units: one listing below one record, or one record by itself.

use serde_json::Value;

use crate::crawl::Scope;
use crate::encode;
use crate::resources::{self, Below, Listing, Resource, When};

/// What a unit asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// A listing.
    Listing(&'static Listing),
    /// One record.
    Single,
}

/// A question to Asana that is not asked yet. Small, since there is one for each listing of each task.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// What the answer is made of.
    pub(super) resource: &'static Resource,
    pub(super) ask: Ask,
    /// The gid of what the listing hangs below, or of the record itself.
    pub(super) gid: Box<str>,
    /// What a placeholder other than `{gid}` and `{organization}` stands for.
    place: Option<Box<str>>,
}

/// A request: operation, path, query without `opt_fields`.
pub(super) type Request = (&'static str, String, Vec<(String, String)>);

impl Unit {
    /// The question for one record.
    pub(super) fn single(resource: &'static Resource, gid: &str) -> Self {
        Self { resource, ask: Ask::Single, gid: gid.into(), place: None }
    }

    /// The listings that hang below the organization.
    pub(super) fn roots(organization: &str, scope: &Scope) -> Vec<Self> {
        of(Below::Organization, scope)
            .map(|(resource, listing)| Self {
                resource,
                ask: Ask::Listing(listing),
                gid: organization.into(),
                place: None,
            })
            .collect()
    }

    /// The listings that hang below one record.
    pub(super) fn below(resource: &Resource, gid: &str, record: &Value, scope: &Scope) -> Vec<Self> {
        of(Below::Table(resource.table), scope)
            .filter(|(_, listing)| match listing.when {
                When::Always => true,
                // A count that is missing is no proof of nothing.
                When::Counts(count) => encode::field(record, count).and_then(Value::as_i64) != Some(0),
            })
            .filter_map(|(resource, listing)| {
                let place = match placeholder(listing.path) {
                    Some(path) => Some(encode::field(record, path)?.as_str()?.into()),
                    None => None,
                };
                Some(Self { resource, ask: Ask::Listing(listing), gid: gid.into(), place })
            })
            .collect()
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
            Ask::Single => {
                let path = self.resource.single.expect("only asked where there is a single GET");
                (self.resource.single_operation, fill(path), Vec::new())
            }
            Ask::Listing(listing) => {
                let query =
                    listing.query.iter().map(|(name, value)| ((*name).to_owned(), fill(value))).collect();
                (listing.operation, fill(listing.path), query)
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
        let units = Unit::below(resource, "7", record, &Scope::new(&[]));
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
}
