//! The two operations that tell events, and how an event looks.
//!
//! Rule: a first call, and every call with a token that is no longer good, is refused with 412 and a token whose
//! stream begins now. What happened in between is told to nobody.

use axum::http::StatusCode;
use serde_json::json;

use super::{Act, Change, Note, Place, Thing};
use crate::api::access::Who;
use crate::api::singles::lives;
use crate::api::{Answer, Call, Refusal};
use crate::events::sync::Token;
use crate::gid::{self, Kind};
use crate::json::{self, C, COMPACT, Object, Select};
use crate::options::EventsPlan;
use crate::random::mix;
use crate::records::{Ref, View};
use crate::time::LATEST;
use crate::world::rows::ORGANIZATION;

/// "Asana limits a single sync token to 100 events."
const OF_RESOURCE: usize = 100;
/// "Asana limits a single sync token to 1000 events."
const OF_WORKSPACE: usize = 1_000;
const STALE: &str = "Sync token invalid or too old. If you are attempting to keep resources in sync, you must fetch \
                     the full dataset for this query now and use the new sync token for the next sync.";

/// Some events, and where their stream goes on.
#[derive(Debug)]
pub(crate) struct Told {
    places: Vec<Place>,
    sync: String,
    more: bool,
}

/// `GET /events`.
pub(crate) fn of_resource(call: &Call<'_>) -> Result<Answer, Refusal> {
    if call.rules.events == EventsPlan::None {
        return Err(Refusal::forbidden("events"));
    }
    let Some(text) = call.query.get("resource") else { return Err(Refusal::bad("resource: Missing input")) };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::bad(format!("resource: Not a Long: {text}")));
    }
    let kind = match gid::read(call.view.world.seed, text) {
        Some((kind @ (Kind::Task | Kind::Project), _)) => kind,
        Some((kind, id)) if lives(call.view.world, kind, id as u32, LATEST) => {
            let message = format!("resource: Events are not available for a {}", kind.resource_type());
            return Err(Refusal::bad(message));
        }
        _ => return Err(Refusal::missing("resource", text)),
    };
    let id = call.find(kind, text)?;
    tell(call, Some((kind, id)), OF_RESOURCE)
}

/// `GET /workspaces/{gid}/events`: for the service account of a plan that has it.
pub(crate) fn of_workspace(call: &Call<'_>) -> Result<Answer, Refusal> {
    let workspace = call.found(Kind::Workspace)?;
    if call.who != Who::Service || workspace != ORGANIZATION {
        return Err(Refusal::forbidden("workspace"));
    }
    if call.rules.events != EventsPlan::Workspace {
        // Asana lists no 402 for this operation, and says everywhere else that it means a plan without something.
        let paid = mix(call.view.world.seed, 0x402, 0).is_multiple_of(2);
        let status = if paid { StatusCode::PAYMENT_REQUIRED } else { StatusCode::FORBIDDEN };
        return Err(Refusal::new(
            status,
            "Workspace events are only available to Enterprise+ organizations.",
        ));
    }
    tell(call, None, OF_WORKSPACE)
}

fn tell(call: &Call<'_>, scope: Option<Thing>, most: usize) -> Result<Answer, Refusal> {
    let log = &call.view.world.events;
    let key = key(call, scope);
    let mut streams = call.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = call.query.get("sync");
    let Some(token) = given.and_then(|text| streams.take(key, text, call.now, call.rules.sync_ttl)) else {
        let fresh = Token::first(log.count, call.serial, call.now);
        let refusal = Refusal::new(StatusCode::PRECONDITION_FAILED, STALE);
        return Err(Refusal { sync: Some(streams.write(key, &fresh)), ..refusal });
    };
    let mut rest = log.after(scope, token.from, token.stream.0, call.now);
    let places: Vec<Place> = rest.by_ref().take(most).collect();
    let next = token.next(places.last().copied().unwrap_or(token.from), call.now);
    Ok(Answer::Events(Told { sync: streams.write(key, &next), more: rest.next().is_some(), places }))
}

/// What a token is good for: one caller, and one stream.
fn key(call: &Call<'_>, scope: Option<Thing>) -> u64 {
    let who = match call.who {
        Who::Service => 0,
        Who::Person(user) => 1 + u64::from(user),
    };
    let what = scope.map_or(0, |(kind, id)| call.view.gid(kind, id));
    mix(mix(call.view.world.seed, 0x57e4, who), 0x57e5, what)
}

/// Writes the answer, but for the outermost braces.
pub(crate) fn write(view: &View<'_>, told: &Told, select: &Select, out: &mut Vec<u8>) {
    let notes = told.places.iter().filter_map(|place| view.world.events.note(place));
    json::array(out, notes, |out, note| event(view, note, select, out));
    let rest = json!({ "sync": told.sync, "has_more": told.more }).to_string();
    out.push(b',');
    out.extend_from_slice(&rest.as_bytes()[1..rest.len() - 1]);
}

fn event(view: &View<'_>, note: &Note, select: &Select, out: &mut Vec<u8>) {
    let (action, parent) = match &note.act {
        Act::Changed(..) => ("changed", None),
        Act::Added(parent) => ("added", *parent),
        Act::Removed(parent) => ("removed", Some(*parent)),
        Act::Deleted => ("deleted", None),
        Act::Undeleted => ("undeleted", None),
    };
    let mut object = Object::plain(out, select);
    let user = note.by.map(|user| (Kind::User, user));
    object.nested(C, "user", COMPACT, |out, select| maybe(view, user, select, out));
    object.moment(C, "created_at", note.at);
    object.text(C, "action", action);
    object.text(C, "type", note.of.0.resource_type());
    object.nested(C, "resource", COMPACT, |out, select| thing(view, note.of, select, out));
    object.nested(C, "parent", COMPACT, |out, select| maybe(view, parent, select, out));
    if let Act::Changed(field, change) = &note.act {
        object.nested(C, "change", COMPACT, |out, select| changed(view, field, change, select, out));
    }
    object.end();
}

fn changed(view: &View<'_>, field: &str, change: &Change, select: &Select, out: &mut Vec<u8>) {
    let (action, name, value) = match change {
        Change::Changed(value) => ("changed", "new_value", value),
        Change::Added(value) => ("added", "added_value", value),
        Change::Removed(value) => ("removed", "removed_value", value),
    };
    let mut object = Object::plain(out, select);
    object.text(C, "field", field);
    object.text(C, "action", action);
    if let Some(value) = value {
        object.nested(C, name, COMPACT, |out, select| thing(view, *value, select, out));
    }
    object.end();
}

fn maybe(view: &View<'_>, what: Option<Thing>, select: &Select, out: &mut Vec<u8>) {
    match what {
        Some(what) => thing(view, what, select, out),
        None => json::null(out),
    }
}

/// Writes what an event names: fields that were asked for as long as it lives, and of what is gone no name any more.
fn thing(view: &View<'_>, (kind, id): Thing, select: &Select, out: &mut Vec<u8>) {
    let known = lives(view.world, kind, id, LATEST) || kind == Kind::User;
    if known && !select.is_within(&["gid", "resource_type", "name"]) {
        return view.record(Ref { kind, id }, select, out);
    }
    let name = if known { name(view, (kind, id)) } else { String::new() };
    view.named(kind, id, &name, select, out);
}

fn name(view: &View<'_>, (kind, id): Thing) -> String {
    let (world, at) = (view.world, LATEST);
    let name = match kind {
        Kind::Workspace => world.workspaces.known(id, at).map(|row| row.name.clone()),
        Kind::User => world.users.known(id, at).map(|row| row.name.clone()),
        Kind::Team => world.teams.known(id, at).map(|row| row.name.clone()),
        Kind::Project => world.projects.known(id, at).map(|row| row.name.clone()),
        Kind::Section => world.sections.known(id, at).map(|row| row.name.clone()),
        Kind::Tag => world.tags.known(id, at).map(|row| row.name.clone()),
        Kind::CustomField => world.fields.known(id, at).map(|row| row.name.clone()),
        Kind::Portfolio => world.portfolios.known(id, at).map(|row| row.name.clone()),
        Kind::Task => world.known_task(id, at).map(|row| row.name.read().into_owned()),
        Kind::Attachment => world.attachment(id, at).map(|row| row.name.clone()),
        _ => None,
    };
    name.unwrap_or_default()
}
