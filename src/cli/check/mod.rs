//! The verb `check`: tries settings, token and repository, and says what is wrong in words a person can act on.
//!
//! Rule: wrong is what ends a run, or keeps a daemon from starting. What would merely be better, or will be a gap, is
//! said, and is not wrong. Asana is only read; the store gets one small probe below `probes/`, which nothing names.

mod access;
mod beside;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;

use crate::asana::{Answer, Client};
use crate::cli::arguments::Arguments;
use crate::cli::{chosen, show};
use crate::clock::Clock;
use crate::config::{Config, Organization};
use crate::daemon::{self, open};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::{Found, Repository, Store, commit_time, probe};

const SERVICE_ACCOUNT: &str = "use the token of a service account, which sees the whole organization";

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Line {
    organization: String,
    what: String,
    ok: bool,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    better: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

/// Tries everything and tells all of it; the first thing that is wrong is the exit code.
pub(super) async fn check(arguments: &Arguments) -> Result<u8> {
    let (config, chosen) = chosen::settings(arguments)?;
    let clients = open::Clients::default();
    let mut first = None;
    for (name, organization) in chosen {
        let mut lines = Vec::new();
        let tries = async {
            asana(&config, &clients, &organization, &mut lines).await;
            repository(&organization, &mut lines).await;
            lines.push(beside::scratch());
            lines.extend(beside::told(&config, &organization).await);
        };
        tries.instrument(tracing::info_span!("check", organization = name)).await;
        lines.push(tried("schedule", daemon::upcoming(&config, &organization, Clock::wall().now())));
        for mut line in lines {
            line.organization.clone_from(&name);
            first = first.or(line.kind);
            if arguments.json() { show::json(&line)? } else { show::line(line.text()) }
        }
    }
    Ok(first.map_or(0, ErrorKind::exit_code))
}

impl Line {
    fn text(&self) -> String {
        let sign = if self.ok { "ok     " } else { "WRONG  " };
        let below = |name: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!("\n         {name}: {text}")).unwrap_or_default()
        };
        let (remedy, better) = (below("remedy", &self.remedy), below("better", &self.better));
        format!("{sign}{} {}: {}{remedy}{better}", self.organization, self.what, self.says)
    }
}

fn tried(what: &str, result: Result<String>) -> Line {
    told(what, result.map(|says| Found { says, better: None }))
}

fn told(what: &str, result: Result<Found>) -> Line {
    let (organization, what) = (String::new(), what.to_owned());
    match result {
        Ok(Found { says, better }) => {
            Line { organization, what, ok: true, says, better, remedy: None, kind: None }
        }
        Err(error) => {
            let remedy = error.remedy_text().map(ToOwned::to_owned);
            let kind = Some(error.kind());
            Line { organization, what, ok: false, says: error.to_string(), better: None, remedy, kind }
        }
    }
}

async fn asana(config: &Config, clients: &open::Clients, organization: &Organization, lines: &mut Vec<Line>) {
    let client = match clients.open(config, organization, &Clock::wall()) {
        Ok(client) => client,
        Err(error) => return lines.push(tried("token", Err(error))),
    };
    let (says, me) = match token(&client).await {
        Ok(told) => told,
        Err(error) => return lines.push(tried("token", Err(error))),
    };
    lines.push(tried("token", Ok(says)));
    let known = tried("organization", belongs(&client, &organization.gid).await);
    let is_known = known.ok;
    lines.push(known);
    // Of one that is not there, every answer would say so again.
    if is_known {
        lines.extend(access::told(&client, organization, &me).await);
    }
    lines.push(tried("clock", clock(&client)));
}

fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Who the token is, in words and by gid.
async fn token(client: &Client) -> Result<(String, String)> {
    let fields = query(&[("opt_fields", "name,workspaces.name,workspaces.is_organization")]);
    let found = match client.get("getUser", "/users/me", &fields).await? {
        Answer::Found(found) => found,
        Answer::Refused(refusal) => return Err(refusal.error(ErrorKind::Denied, SERVICE_ACCOUNT)),
    };
    let me: Value = serde_json::from_str(found.data.get()).unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or("?").to_owned();
    let seen: Vec<_> = me["workspaces"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| format!("{} ({})", text(one, "name"), text(one, "gid")))
        .collect();
    let (name, gid) = (text(&me, "name"), text(&me, "gid"));
    Ok((format!("it is {name} ({gid}), and sees {}", seen.join(", ")), gid))
}

async fn belongs(client: &Client, gid: &str) -> Result<String> {
    let path = format!("/workspaces/{gid}");
    match client.get("getWorkspace", &path, &query(&[("opt_fields", "name,is_organization")])).await? {
        Answer::Found(found) => {
            let value: Value = serde_json::from_str(found.data.get()).unwrap_or_default();
            Ok(format!("{gid} is {}", value["name"].as_str().unwrap_or("nameless")))
        }
        Answer::Refused(refusal) => Err(refusal
            .error(
                ErrorKind::Config,
                "use the gid of a workspace that the token sees (the line above lists them)",
            )
            .doing(gid)),
    }
}

fn clock(client: &Client) -> Result<String> {
    let Some(offset) = client.statistics().clock_offset else { return Ok("Asana tells no time".to_owned()) };
    offset.judge()?;
    Ok(format!("within {} s of Asana's", offset.within_seconds()))
}

/// Whether the store can be written and keeps what it was given; whose repository it is, if there is one.
async fn repository(organization: &Organization, lines: &mut Vec<Line>) {
    let store = match Store::open(&organization.repository, &organization.store) {
        Ok(store) => store,
        Err(error) => return lines.push(tried("repository", Err(error))),
    };
    let trials = probe(&store, ulid::Ulid::generate(), &Clock::wall()).await;
    let reached = trials.first().is_none_or(|trial| trial.found.is_ok());
    lines.extend(trials.into_iter().map(|trial| told(trial.what, trial.found)));
    if reached {
        lines.push(tried("repository", whose(store, organization, Clock::wall().now()).await));
    }
}

async fn whose(store: Store, organization: &Organization, now: DateTime<Utc>) -> Result<String> {
    let url = store.url().to_owned();
    match Repository::find(store).await? {
        Some(repository) if repository.organization() == organization.gid => {
            let latest = repository.latest().await?.map(|committed| committed.snapshot);
            // By a clock that is behind it no run begins.
            commit_time(now, latest.as_ref())?;
            let snapshots = latest.map_or(0, |latest| latest.number.0);
            Ok(format!("{url} holds {snapshots} snapshots of this organization, and can be written"))
        }
        Some(repository) => Err(Error::new(
            ErrorKind::Config,
            format!("{url} is the repository of organization {}", repository.organization()),
        )
        .remedy("name another repository: each holds one organization")),
        None => Ok(format!("{url} is empty and can be written; the first run makes it a repository")),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::repository::fixtures::history;

    #[tokio::test]
    async fn a_clock_that_is_behind_the_last_snapshot_is_wrong_as_it_is_for_a_run() {
        let repository = history().await;
        let latest = repository.latest().await.expect("readable").expect("there").snapshot;
        let organization = Organization::new("12", repository.store().url());
        let says =
            async |ahead| whose(repository.store().clone(), &organization, latest.committed_at - ahead).await;
        assert!(says(TimeDelta::minutes(4)).await.is_ok());
        let error = says(TimeDelta::minutes(6)).await.expect_err("no run would begin");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("clock") && error.remedy_text().is_some(), "{error}");
    }
}
