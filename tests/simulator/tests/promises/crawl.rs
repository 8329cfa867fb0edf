//! The lists and the truth tell the same story.

use std::collections::{BTreeMap, BTreeSet};

use asana_simulator::{Options, Simulator, Size};
use serde_json::Value;

use crate::ask::{all, ask, data, gid, simulator};

/// The gids of a table of the truth.
fn truth(simulator: &Simulator, table: &str) -> BTreeSet<String> {
    simulator.truth(table, None).iter().map(gid).collect()
}

/// Every task that can be reached by lists and subtasks.
async fn reachable(simulator: &Simulator) -> BTreeMap<String, usize> {
    let organization = simulator.organization();
    let mut places = Vec::new();
    for project in all(simulator, &format!("/workspaces/{organization}/projects?limit=100")).await {
        places.push(format!("/projects/{}/tasks?limit=100", gid(&project)));
    }
    // By the memberships, since those who left still have a list although their user may answer 404.
    let members =
        format!("/workspaces/{organization}/workspace_memberships?opt_fields=user_task_list&limit=100");
    for member in all(simulator, &members).await {
        places.push(format!("/user_task_lists/{}/tasks?limit=100", gid(&member["user_task_list"])));
    }
    for tag in all(simulator, &format!("/workspaces/{organization}/tags?limit=100")).await {
        places.push(format!("/tags/{}/tasks?limit=100", gid(&tag)));
    }
    let mut found = BTreeMap::new();
    while let Some(place) = places.pop() {
        for task in all(simulator, &place).await {
            let times = found.entry(gid(&task)).or_insert(0);
            *times += 1;
            if *times == 1 {
                places.push(format!("/tasks/{}/subtasks?limit=100", gid(&task)));
            }
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn what_no_list_leads_to_is_in_no_project_unassigned_and_nobodys_subtask() {
    for edits in [0, 600] {
        let simulator = simulator(Size::Tiny);
        simulator.advance(edits);
        let found = reachable(&simulator).await;
        let tasks = simulator.truth("tasks", None);
        let names: BTreeSet<String> = tasks.iter().map(gid).collect();
        for task in found.keys() {
            assert!(names.contains(task), "{task} is listed and not true");
        }
        let loose: Vec<&Value> = tasks.iter().filter(|task| !found.contains_key(&gid(task))).collect();
        assert!(!loose.is_empty(), "a world without lost tasks is too kind");
        let lost: BTreeSet<String> = loose.iter().map(|task| gid(task)).collect();
        for task in loose {
            let below_lost = task["parent"]["gid"].as_str().is_some_and(|parent| lost.contains(parent));
            let nowhere =
                task["memberships"] == Value::Array(Vec::new()) && task["tags"] == Value::Array(Vec::new());
            assert!(
                nowhere && task["assignee"].is_null() && (task["parent"].is_null() || below_lost),
                "{task:#}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stories_and_attachments_of_lists_are_those_of_the_truth() {
    let simulator = simulator(Size::Tiny);
    simulator.advance(500);
    let (mut stories, mut attachments) = (BTreeSet::new(), BTreeSet::new());
    let tasks = simulator.truth("tasks", None);
    let projects = simulator.truth("projects", None);
    for task in &tasks {
        stories.extend(
            all(&simulator, &format!("/tasks/{}/stories?limit=100", gid(task))).await.iter().map(gid),
        );
    }
    for parent in tasks.iter().chain(&projects) {
        let found = all(&simulator, &format!("/attachments?parent={}&limit=100", gid(parent))).await;
        attachments.extend(found.iter().map(gid));
    }
    assert_eq!(stories, truth(&simulator, "stories"));
    assert_eq!(attachments, truth(&simulator, "attachments"));
}

#[tokio::test(start_paused = true)]
async fn the_other_lists_are_those_of_the_truth_too() {
    let simulator = simulator(Size::Tiny);
    simulator.advance(700);
    let organization = simulator.organization();
    for (table, list) in [
        ("users", format!("/users?workspace={organization}")),
        ("users", format!("/workspaces/{organization}/users")),
        ("workspace_memberships", format!("/workspaces/{organization}/workspace_memberships?limit=7")),
        ("teams", format!("/workspaces/{organization}/teams?limit=3")),
        ("projects", format!("/projects?workspace={organization}&limit=4")),
        ("tags", format!("/tags?workspace={organization}&limit=4")),
        ("custom_fields", format!("/workspaces/{organization}/custom_fields?limit=5")),
        ("portfolios", format!("/portfolios?workspace={organization}&limit=2")),
    ] {
        let found: BTreeSet<String> = all(&simulator, &list).await.iter().map(gid).collect();
        assert_eq!(found, truth(&simulator, table), "{list}");
    }
    let (mut sections, mut settings) = (BTreeSet::new(), BTreeSet::new());
    for project in simulator.truth("projects", None) {
        let project = gid(&project);
        sections.extend(all(&simulator, &format!("/projects/{project}/sections")).await.iter().map(gid));
        let list = format!("/projects/{project}/custom_field_settings");
        settings.extend(all(&simulator, &list).await.iter().map(gid));
    }
    assert_eq!(sections, truth(&simulator, "sections"));
    assert_eq!(settings, truth(&simulator, "custom_field_settings"));
}

/// Whether the truth says all that an answer says; of what a record's own values are made of, it says more.
fn holds(truth: &Value, answer: &Value) -> bool {
    match (truth, answer) {
        (Value::Object(truth), Value::Object(answer)) => {
            answer.iter().all(|(name, value)| truth.get(name).is_some_and(|truth| holds(truth, value)))
        }
        (Value::Array(truth), Value::Array(answer)) => {
            truth.len() == answer.len()
                && truth.iter().zip(answer).all(|(truth, answer)| holds(truth, answer))
        }
        _ => truth == answer,
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_served_is_what_the_truth_says_of_that_moment() {
    let simulator = simulator(Size::Tiny);
    simulator.advance(300);
    let at = simulator.now();
    let mut served = Vec::new();
    for (table, row) in ["tasks", "projects", "stories", "users", "tags"]
        .into_iter()
        .flat_map(|table| simulator.truth(table, None).into_iter().map(move |row| (table, row)))
    {
        let Value::Object(fields) = &row else { panic!("a record") };
        let names: Vec<&str> =
            fields.keys().map(String::as_str).filter(|name| !name.contains("status")).collect();
        if names.contains(&"custom_fields") && table == "tasks" {
            continue;
        }
        let answer =
            data(ask(&simulator, &format!("/{table}/{}?opt_fields={}", gid(&row), names.join(","))).await);
        served.push((table, gid(&row), answer));
    }
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    simulator.advance(800);
    let mut then = BTreeMap::new();
    for table in ["projects", "stories", "users", "tags"] {
        then.extend(simulator.truth(table, Some(at)).into_iter().map(|row| (gid(&row), row)));
    }
    for (table, gid, answer) in served {
        for (name, value) in answer.as_object().expect("a record") {
            if name != "custom_field_settings" && name != "html_text" {
                assert!(holds(&then[&gid][name], value), "{table} {gid} {name}: {value}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_answers_and_another_one_others() {
    let (one, two) = (simulator(Size::Tiny), simulator(Size::Tiny));
    let other = Simulator::new(asana_simulator::Options { seed: 8, ..Default::default() });
    assert_eq!(one.advance(400), two.advance(400));
    assert_ne!(one.advance(1), other.advance(1));
    for table in ["users", "projects", "tasks", "stories", "portfolio_items"] {
        assert!(table == "users" || one.truth(table, None) != other.truth(table, None), "{table}");
    }
    two.advance(1);
    for table in ["users", "projects", "tasks", "stories", "portfolio_items"] {
        assert_eq!(one.truth(table, None), two.truth(table, None), "{table}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_world_of_few_things_is_whole() {
    for count in [1, 2, 6, 20] {
        let simulator = simulator(Size::Tasks(count));
        let counts = simulator.counts();
        assert_eq!(counts["tasks"], u64::from(count));
        for table in ["users", "teams", "projects", "sections", "tags", "custom_fields", "portfolios"] {
            assert!(counts[table] > 0, "{count} {table}");
        }
        simulator.advance(300);
        reachable(&simulator).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_seed_makes_a_world_that_breaks() {
    for seed in 0..20 {
        for size in [Size::Tasks(1 + seed as u32 % 9), Size::Tasks(70)] {
            let simulator = Simulator::new(asana_simulator::Options { size, seed, ..Default::default() });
            simulator.advance(200);
            for (table, count) in simulator.counts() {
                assert_eq!(simulator.truth(&table, None).len() as u64, count, "{seed} {size} {table}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_smallest_world_has_something_in_every_table_whatever_the_seed() {
    for seed in 0..50 {
        let simulator = Simulator::new(Options { size: Size::Mini, seed, ..Options::default() });
        let counts = simulator.counts();
        assert!(counts.values().all(|count| *count > 0), "{seed}: {counts:?}");
        assert!(counts.values().sum::<u64>() < 30, "{seed}: {counts:?}");
        let tasks = simulator.truth("tasks", None);
        assert!(tasks.iter().any(|task| !task["parent"].is_null()), "{seed}: a subtask");
        simulator.advance(200);
    }
}
