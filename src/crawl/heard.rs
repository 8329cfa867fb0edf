//! What an event asks to be read.
//!
//! Rule: an event says that something happened, never what is true now: it leads to a question, and only the answer
//! counts. An event of a kind that is not known is no error; a walk will find what it was about. Memory: an entry for each
//! record that was told of, however often.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::crawl::Unit;
use crate::crawl::unit::Why;
use crate::resources::{self, Resource};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    action: Option<&'a str>,
    #[serde(borrow, default)]
    resource: Option<Named<'a>>,
    #[serde(borrow, default)]
    parent: Option<Named<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    gid: std::borrow::Cow<'a, str>,
    #[serde(default)]
    resource_type: Option<&'a str>,
}

impl Named<'_> {
    /// What can be asked for by itself.
    fn resource(&self) -> Option<&'static Resource> {
        resources::by_type(self.resource_type?).filter(|resource| resource.single.is_some())
    }
}

/// The single records to ask for because of events, each once, in the order of the tables.
#[derive(Debug, Default)]
pub(crate) struct Questions(BTreeMap<(usize, Box<str>), Why>);

impl Questions {
    /// Takes an event. Says whether it asks for more than those before it.
    pub(crate) fn take(&mut self, event: &RawValue) -> bool {
        let Ok(event) = serde_json::from_str::<Event<'_>>(event.get()) else { return false };
        let Some(about) = event.resource else { return false };
        let why = match event.action {
            Some("added" | "undeleted") => Why::Appeared,
            Some("deleted") => Why::Deleted,
            _ => Why::Changed,
        };
        let kind = about.resource_type.and_then(resources::by_type);
        // A story is told of by its task, a setting by its project: their listing brings it, and what else is new.
        let above = event.parent.filter(|_| kind.is_some_and(|kind| kind.goes_with_parent));
        let above = above.and_then(|above| Some((above.resource()?, above.gid)));
        let listed = above.is_some() && why == Why::Appeared;
        let above_is_more = above.is_some_and(|(resource, gid)| self.ask(resource, &gid, Why::Changed));
        let about_itself = about.resource().filter(|_| !listed);
        about_itself.is_some_and(|resource| self.ask(resource, &about.gid, why)) || above_is_more
    }

    /// What was deleted may be back, and the other way round: the last word counts, and that it changed is none.
    fn ask(&mut self, resource: &'static Resource, gid: &str, why: Why) -> bool {
        match self.0.entry((resource.place(), gid.into())) {
            Entry::Vacant(entry) => {
                entry.insert(why);
                true
            }
            Entry::Occupied(mut entry) => why != Why::Changed && entry.insert(why) != why,
        }
    }

    /// Whether nothing is to be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The questions.
    pub(super) fn units(self) -> Vec<Unit> {
        let unit =
            |((place, gid), why): ((usize, Box<str>), Why)| Unit::single(resources::ALL[place], &gid, why);
        self.0.into_iter().map(unit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(events: &[&str], expected: &[(&str, &str, Why)]) {
        let events: Vec<Box<RawValue>> =
            events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
        let mut questions = Questions::default();
        let telling: Vec<_> = events.iter().filter(|event| questions.take(event)).collect();
        // Those that ask for nothing more may be forgotten.
        let mut fewer = Questions::default();
        assert!(telling.iter().all(|event| fewer.take(event)));
        assert_eq!(fewer.0, questions.0);
        let units = questions.units();
        let found: Vec<_> = units
            .iter()
            .map(|unit| match unit.ask {
                crate::crawl::unit::Ask::Single(why) => (unit.resource.table, &*unit.gid, why),
                crate::crawl::unit::Ask::Listing(_) => panic!("an event leads to single records"),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_event_leads_to_what_it_is_about() {
        let task = r#"{"action":"changed","resource":{"gid":"1","resource_type":"task"},"parent":null}"#;
        check(&[task, task], &[("tasks", "1", Why::Changed)]);
        let added = r#"{"action":"added","resource":{"gid":"1","resource_type":"task"},"parent":{"gid":"2","resource_type":"project"}}"#;
        check(&[task, added], &[("tasks", "1", Why::Appeared)]);
        check(&[added, task, added], &[("tasks", "1", Why::Appeared)]);
    }

    #[test]
    fn a_new_story_leads_to_its_task_and_a_deleted_one_to_itself() {
        let added = r#"{"action":"added","resource":{"gid":"3","resource_type":"story"},"parent":{"gid":"1","resource_type":"task"}}"#;
        check(&[added], &[("tasks", "1", Why::Changed)]);
        let deleted = r#"{"action":"deleted","resource":{"gid":"3","resource_type":"story"},"parent":null}"#;
        check(&[deleted], &[("stories", "3", Why::Deleted)]);
    }

    #[test]
    fn of_deleted_and_undeleted_the_last_word_counts() {
        let event = |action: &str| {
            format!(r#"{{"action":"{action}","resource":{{"gid":"1","resource_type":"task"}}}}"#)
        };
        let (changed, deleted, undeleted) = (event("changed"), event("deleted"), event("undeleted"));
        check(&[&changed, &deleted, &changed], &[("tasks", "1", Why::Deleted)]);
        check(&[&deleted, &undeleted, &changed], &[("tasks", "1", Why::Appeared)]);
        check(&[&undeleted, &deleted], &[("tasks", "1", Why::Deleted)]);
    }

    #[test]
    fn what_is_not_known_leads_nowhere() {
        check(
            &[
                r#"{"action":"added","resource":{"gid":"3","resource_type":"goal"}}"#,
                r#"{"resource":null}"#,
                r#"[]"#,
                r#"{"action":7}"#,
                r#"{"action":"changed","resource":{"gid":"9","resource_type":"custom_field_setting"}}"#,
            ],
            &[],
        );
    }
}
