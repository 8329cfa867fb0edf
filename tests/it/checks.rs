//! What `check` says of a token: whose kind it is, by which lane a run learns of changes, and what it may read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use asana_backup::resources;
use serde_json::Value;

use crate::program::{Served, ends};

/// Settings that spare a wait.
const FAST: &str = "[pace]\nrequests_per_minute = 1000000\nsearches_per_minute = 1000000\n";

/// The lines of `check`, by what they are about.
type Lines = BTreeMap<String, Value>;

fn config(served: &Served) -> PathBuf {
    served.folder.path().join("config.toml")
}

/// What a run says that goes by the settings of the last check.
fn run(served: &Served, more: &[&str], code: i32) -> String {
    let mut command = served.command(&[&["run"], more].concat());
    ends(&command.env("ASANA_BACKUP_CONFIG", config(served)).output().expect("it runs"), code)
}

/// All that is said, where it ends with `code`; `settings` are of the one organization that there is.
fn check(served: &Served, token: Option<&str>, settings: &str, code: i32) -> Lines {
    let config = config(served);
    let section = format!(
        "[organizations.acme]\ngid = '{}'\nrepository = '{}'\n{settings}{FAST}",
        served.organization,
        served.folder.path().join("repository").display()
    );
    std::fs::write(&config, section).expect("writable");
    let mut command = served.command(&["check", "--output", "json", "--config"]);
    command.arg(&config);
    if let Some(token) = token {
        command.env("ASANA_TOKEN", token);
    }
    let output = command.output().expect("it runs");
    ends(&output, code);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        (value["what"].as_str().expect("a text").to_owned(), value)
    };
    text.lines().map(line).collect()
}

fn says<'a>(lines: &'a Lines, what: &str) -> &'a str {
    lines.get(what).and_then(|line| line["says"].as_str()).unwrap_or_else(|| panic!("no {what}: {lines:?}"))
}

#[track_caller]
fn assert_better(lines: &Lines, what: &str, better: &str) {
    let line = &lines[what];
    assert_eq!(line["ok"], Value::from(true), "{line}");
    assert!(line["better"].as_str().is_some_and(|text| text.contains(better)), "{line}");
}

#[test]
fn check_says_whose_kind_a_token_is_as_far_as_asana_tells() {
    let plans = [
        (&[][..], "the organization's events"),
        (&["--no-workspace-events"], "the audit log"),
        (&["--no-workspace-events", "--no-audit-log"], "the portfolios of others"),
    ];
    for (plan, why) in plans {
        let served = Served::start(&[plan, &["--person", "somebody=5"]].concat());
        let lines = check(&served, None, "", 0);
        let account = says(&lines, "account");
        assert!(account.starts_with("it is a service account's: ") && account.contains(why), "{account}");
        let lines = check(&served, Some("somebody"), "", 0);
        assert!(
            says(&lines, "account").starts_with("it is a person's, or that of a service account"),
            "{lines:?}"
        );
        assert_better(&lines, "account", "use the token of a service account");
    }
}

#[test]
fn check_tries_each_lane_and_names_the_one_that_a_run_uses() {
    let plans = [
        (&[][..], ["allowed"; 4]),
        (&["--no-workspace-events"], ["refused: 40", "allowed", "allowed", "allowed"]),
        (&["--no-events"], ["refused: 40", "refused: 403", "allowed", "allowed"]),
        (&["--no-events", "--free-plan"], ["refused: 40", "refused: 403", "refused: 402", "allowed"]),
    ];
    for (plan, answers) in plans {
        let served = Served::start(plan);
        let lines = check(&served, None, "", 0);
        for (lane, answer) in
            ["workspace events", "project events", "search", "modified_since"].into_iter().zip(answers)
        {
            assert!(says(&lines, lane).starts_with(answer), "{lane}: {lines:?}");
        }
        // What a first run assumes of projects that it has not met, the second one knows.
        run(&served, &[], 0);
        let said = run(&served, &["--explain"], 0);
        let lane = says(&lines, "lane").strip_prefix("a run learns of changes by ").expect("a lane");
        assert!(said.contains(lane), "{lane}: {said}");
    }
}

/// What the requests to the simulated Asana were, by operation.
fn asked(served: &Served) -> BTreeMap<String, u64> {
    let answer = served.control("GET", "requests", "");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    serde_json::from_value(body["operations"].clone()).expect("counts")
}

fn refuse(served: &Served, path: &str, status: u16) {
    let fault =
        format!(r#"{{"path":"{path}","kind":{{"status":{{"status":{status},"retry_after":null}}}}}}"#);
    served.control("POST", "faults", &fault);
}

#[test]
fn check_asks_by_every_listing_that_a_run_uses_and_of_few_records() {
    let served = Served::start(&[]);
    let lines = check(&served, None, "", 0);
    for resource in resources::ALL {
        assert_eq!(says(&lines, resource.table), "may be listed");
    }
    let asked = asked(&served);
    for listing in resources::ALL.iter().flat_map(|resource| resource.listings) {
        assert!(asked.contains_key(listing.operation), "{} is not asked: {asked:?}", listing.operation);
    }
    let requests: u64 = asked.values().sum();
    assert!(requests < 60, "{asked:?}");
}

#[test]
fn check_tells_of_the_tables_that_the_filters_keep_and_of_what_no_run_leads_to_them_without() {
    let served = Served::start(&[]);
    let sections = "filters.tables = ['sections']\n";
    let tables = |lines: &Lines| -> Vec<_> {
        resources::ALL.iter().map(|one| one.table).filter(|table| lines.contains_key(*table)).collect()
    };
    assert_eq!(tables(&check(&served, None, sections, 0)), ["sections"]);
    refuse(&served, "/workspaces/*/projects", 403);
    let lines = check(&served, None, sections, 12);
    assert_eq!(tables(&lines), ["projects", "sections"]);
    assert!(!lines["projects"]["ok"].as_bool().expect("a truth") && lines["projects"]["remedy"].is_string());
    assert_eq!(says(&lines, "sections"), "there are no projects to ask below");
}

#[test]
fn what_is_refused_below_tasks_as_not_on_the_plan_is_called_the_gap_that_a_run_makes_of_it() {
    let served = Served::start(&[]);
    refuse(&served, "/tasks/*/stories", 402);
    refuse(&served, "/projects/*/custom_field_settings", 402);
    let lines = check(&served, None, "", 0);
    assert_better(&lines, "stories", "gaps accept --table stories");
    assert_better(&lines, "custom_field_settings", "snapshots say that");
    let said = run(&served, &["--output", "json"], 3);
    let outcome: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    let available = |table: &str| outcome["tables"][table]["proof"]["available"].as_bool();
    assert_eq!((available("stories"), available("custom_field_settings")), (Some(true), Some(false)));
}

#[test]
fn a_table_that_is_refused_is_said_and_is_wrong_only_where_no_run_can_do_without() {
    let served = Served::start(&[]);
    refuse(&served, "/tasks/*/stories", 403);
    refuse(&served, "/attachments", 451);
    refuse(&served, "/portfolios", 402);
    let lines = check(&served, None, "", 0);
    assert!(says(&lines, "stories").starts_with("refused: 403"), "{lines:?}");
    assert_better(&lines, "stories", "gaps accept --table stories");
    assert!(says(&lines, "attachments").starts_with("refused below tasks: 451"), "{lines:?}");
    assert!(says(&lines, "portfolios").starts_with("not on this plan: 402"), "{lines:?}");
    assert_better(&lines, "portfolios", "snapshots say that");
    assert_eq!(says(&lines, "portfolio_items"), "there are no portfolios to ask below");
    // A run says the same.
    run(&served, &[], 3);
    refuse(&served, "/users", 403);
    let lines = check(&served, None, "", 12);
    assert!(lines["users"]["remedy"].as_str().is_some_and(|remedy| remedy.contains("service account")));
    run(&served, &["--full"], 12);
}

#[test]
fn check_tries_the_files_by_which_runs_are_told_and_calls_wrong_what_keeps_a_daemon_from_starting() {
    let served = Served::start(&[]);
    let place = served.folder.path().join("told");
    let at = |name: &str| place.join(name).display().to_string();
    let settings = format!(
        "heartbeat_url_file = '{}'\n[metrics]\ntextfile = '{}'\npushgateway_url_file = '{}'\n\
         [status]\ntoken_file = '{}'\n",
        at("heartbeat"),
        at("metrics.prom"),
        at("push"),
        at("token")
    );
    let lines = check(&served, None, &settings, 10);
    for what in ["heartbeat", "pushgateway", "metrics file"] {
        assert_better(&lines, what, "the service's user");
    }
    assert!(lines["status token"]["remedy"].is_string(), "{lines:?}");
    std::fs::create_dir(&place).expect("a folder");
    for (name, text) in [("heartbeat", "https://ping/canary"), ("push", "https://push"), ("token", "a word")]
    {
        std::fs::write(place.join(name), text).expect("writable");
    }
    let lines = check(&served, None, &settings, 0);
    for what in ["heartbeat", "pushgateway", "metrics file", "status token"] {
        assert!(says(&lines, what).contains("can be ") && lines[what].get("better").is_none(), "{lines:?}");
    }
    // It only tried.
    assert_eq!(std::fs::read_dir(&place).expect("a folder").count(), 3);
    let none = check(&served, None, "", 0);
    assert_better(&none, "watch", "heartbeat_url_file");
    assert!(!lines.contains_key("watch"), "{lines:?}");
    assert!(says(&none, "scratch folder").contains("can be written"), "{none:?}");
    assert!(
        ["heartbeat", "pushgateway", "metrics file", "status token"]
            .iter()
            .all(|what| !none.contains_key(*what))
    );
}
