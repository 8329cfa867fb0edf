//! What ships beside the program speaks of metrics that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use asana_backup::telemetry::table::{self, PREFIX};

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is shipped")
}

/// Everything in a text that looks like a metric of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with(PREFIX) && *word != PREFIX).map(ToOwned::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_exist() {
    let known: BTreeSet<String> = table::ALL.iter().map(|metric| metric.full_name()).collect();
    let mut used = BTreeSet::new();
    for path in [
        "deploy/prometheus/alerts.yaml",
        "deploy/prometheus/alerts.test.yaml",
        "deploy/prometheus/alerts.days.test.yaml",
        "deploy/grafana/dashboard.json",
    ] {
        let found = named(&shipped(path));
        let unknown: Vec<_> = found.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
        used.extend(found);
    }
    // What nobody looks at need not be counted.
    let unused: Vec<_> = known.difference(&used).collect();
    assert!(unused.is_empty(), "nothing shows {unused:?}");
}

#[test]
fn every_alert_has_an_entry_in_the_runbook_and_a_test() {
    let (alerts, runbook) = (shipped("deploy/prometheus/alerts.yaml"), shipped("docs/operations.md"));
    let tests =
        shipped("deploy/prometheus/alerts.test.yaml") + &shipped("deploy/prometheus/alerts.days.test.yaml");
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(runbook.contains(&format!("\n### {name}\n")), "{name} has no entry in docs/operations.md");
        let anchor = format!("runbook: docs/operations.md#{}", name.to_lowercase());
        assert!(alerts.contains(&anchor), "{name} does not name its entry");
        assert!(tests.contains(name), "{name} has no test");
    }
}

#[test]
fn the_dashboard_is_valid() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&shipped("deploy/grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one number");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(targets.iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
    }
}
