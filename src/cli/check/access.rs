//! What the token may read: whose kind it is, by which lane a run learns of changes, and each table.

use std::sync::Arc;

use serde_json::Value;

use crate::asana::{Answer, Client, Refusal};
use crate::cli::check::{Line, SERVICE_ACCOUNT, query, told as line};
use crate::clock::Clock;
use crate::config::Organization;
use crate::crawl::plan::Source;
use crate::crawl::{Lanes, Probe, Probes, Scope, Walk};
use crate::error::Result;
use crate::repository::Found;
use crate::resources::{self, Below, Resource};

/// Asks for all of it. The tables come first, since a project that they bring is what the lanes are tried on.
pub(super) async fn told(client: &Client, organization: &Organization, me: &str) -> Vec<Line> {
    let scope = Scope::new(&organization.filters.tables);
    // One worker, since nothing is crawled.
    let (clock, workers) = (Clock::wall(), 1);
    let walk = Walk::new(client.clone(), clock, &organization.gid, scope.clone(), workers, Arc::default());
    let mut probes = Probes::new(walk);
    let mut tables = Vec::new();
    for resource in resources::ALL.iter().copied().filter(|resource| scope.reads(resource)) {
        let found = probes.table(resource).await.map(|found| table(resource, &found));
        // One that only leads to others is of interest where it does not.
        let is_told = scope.keeps(resource) || found.as_ref().map_or(true, |found| found.better.is_some());
        tables.extend(is_told.then(|| line(resource.table, found)));
    }
    let lanes = match probes.lanes().await {
        Ok(lanes) => lanes,
        Err(error) => return tables.into_iter().chain([line("lanes", Err(error))]).collect(),
    };
    let mut lines = vec![line("account", account(client, &organization.gid, me, &lanes).await)];
    lines.extend(of_lanes(&lanes));
    lines.extend(tables);
    lines
}

/// Whether a service account asks, as far as Asana tells: nothing says so of a user, but some things are answered to
/// service accounts alone.
async fn account(client: &Client, gid: &str, me: &str, lanes: &Lanes) -> Result<Found> {
    let a_service_accounts = |why: &str| {
        Ok(Found { says: format!("it is a service account's: Asana {why} nobody else"), better: None })
    };
    let no_events = match &lanes.workspace_events {
        Probe::Refused(refusal) => refusal,
        _ => return a_service_accounts("tells the organization's events to"),
    };
    let no_audit_log = match audit_log(client, gid).await? {
        None => return a_service_accounts("shows the audit log to"),
        Some(refusal) => refusal,
    };
    if sees_portfolios_of_others(client, gid, me).await? {
        return a_service_accounts("lists the portfolios of others for");
    }
    Ok(Found {
        says: format!(
            "it is a person's, or that of a service account whose plan has neither the organization's events \
             ({no_events}) nor the audit log ({no_audit_log}), and which sees no portfolio of somebody else"
        ),
        better: Some(format!(
            "a person's token sees what that person sees, and the copy has no more: {SERVICE_ACCOUNT}"
        )),
    })
}

/// How the audit log is refused, if it is. What it tells from now on is nothing yet.
async fn audit_log(client: &Client, gid: &str) -> Result<Option<Refusal>> {
    let path = format!("/workspaces/{gid}/audit_log_events");
    let now = Clock::wall().now().to_rfc3339();
    let answer =
        client.get("getAuditLogEvents", &path, &query(&[("start_at", &now), ("limit", "1")])).await?;
    Ok(match answer {
        Answer::Found(_) => None,
        Answer::Refused(refusal) => Some(refusal),
    })
}

/// Whether portfolios are listed that somebody else owns: to anyone but a service account, Asana lists their own.
async fn sees_portfolios_of_others(client: &Client, gid: &str, me: &str) -> Result<bool> {
    let fields = query(&[("workspace", gid), ("limit", "100"), ("opt_fields", "owner.gid")]);
    let Answer::Found(found) = client.get("getPortfolios", "/portfolios", &fields).await? else {
        return Ok(false);
    };
    let owner = |portfolio: &Value| portfolio["owner"]["gid"].as_str().map(str::to_owned);
    let portfolios: Vec<Value> = serde_json::from_str(found.data.get()).unwrap_or_default();
    Ok(portfolios.iter().filter_map(owner).any(|owner| owner != me))
}

/// Each lane, and the one that a run uses.
fn of_lanes(lanes: &Lanes) -> Vec<Line> {
    let says = |probe: &Probe| match probe {
        Probe::Allowed => "allowed".to_owned(),
        Probe::Refused(refusal) => format!("refused: {refusal}"),
        Probe::NothingAbove(table) => format!("not tried: there are no {table} to ask below"),
    };
    let of = |what: &str, says: String, better: Option<&str>| {
        line(what, Ok(Found { says, better: better.map(str::to_owned) }))
    };
    let no_search = (lanes.search != "allowed").then_some(
        "tasks in no project and assigned to nobody cannot be found without it, and snapshots will say so: paid plans \
         have it",
    );
    let chosen = lanes.chosen();
    let slow = (chosen != Source::WorkspaceEvents).then_some(
        "the organization's events cost the fewest requests: service accounts of Enterprise+ are told them",
    );
    vec![
        of("workspace events", says(&lanes.workspace_events), None),
        of("project events", says(&lanes.project_events), None),
        of("search", lanes.search.clone(), no_search),
        of("modified_since", says(&lanes.modified_since), None),
        of("lane", format!("a run learns of changes by {chosen}"), slow),
    ]
}

/// What the probes of one table found.
fn table(resource: &Resource, found: &[(Below, Probe)]) -> Found {
    let refused: Vec<_> = found
        .iter()
        .filter_map(|(_, probe)| match probe {
            Probe::Refused(refusal) => Some(refusal.status),
            _ => None,
        })
        .collect();
    // As a run sees it: what hangs below tasks is on every plan.
    let no_plan = !resource.swept_with_tasks()
        && refused.len() == found.len()
        && refused.iter().all(|status| *status == 402);
    let better = if refused.is_empty() {
        None
    } else if no_plan {
        Some("a plan that has it; until then snapshots say that the table is not part of it".to_owned())
    } else {
        Some(format!(
            "this will be a gap: let the service account see it, or accept it with `asana-backup gaps accept --table {}`",
            resource.table
        ))
    };
    let is_one = found.len() == 1;
    let words: Vec<_> = found.iter().map(|(below, probe)| in_words(*below, probe, is_one)).collect();
    let are_alike = found.iter().all(|(_, probe)| *probe == Probe::Allowed);
    Found { says: if are_alike { "may be listed".to_owned() } else { words.join("; ") }, better }
}

fn in_words(below: Below, probe: &Probe, is_one: bool) -> String {
    let place = match below {
        Below::Table(above) if !is_one => format!(" below {above}"),
        _ => String::new(),
    };
    match probe {
        Probe::Allowed => format!("may be listed{place}"),
        Probe::Refused(refusal) if refusal.status == 402 => format!("not on this plan{place}: {refusal}"),
        Probe::Refused(refusal) => format!("refused{place}: {refusal}"),
        Probe::NothingAbove(above) => format!("there are no {above} to ask below"),
    }
}
