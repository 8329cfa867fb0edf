//! `opt_fields` and the forms of a record.

use asana_simulator::Size;
use serde_json::{Value, json};

use crate::ask::{all, ask, data, gid, simulator};

fn names(row: &Value) -> Vec<&str> {
    row.as_object().expect("a record").keys().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_answers_compact_records_and_a_single_get_full_ones() {
    let simulator = simulator(Size::Tiny);
    let task = gid(&simulator.truth("tasks", None)[0]);
    let list = format!("/workspaces/{}/projects?limit=1", simulator.organization());
    assert_eq!(names(&all(&simulator, &list).await[0]), ["gid", "resource_type", "name"]);
    let full = data(ask(&simulator, &format!("/tasks/{task}")).await);
    assert!(names(&full).contains(&"modified_at"));
    for opt_in in
        ["html_notes", "created_by", "dependencies", "num_subtasks", "is_rendered_as_separator", "external"]
    {
        assert!(!names(&full).contains(&opt_in), "{opt_in}");
    }
}

#[tokio::test(start_paused = true)]
async fn opt_fields_name_exactly_what_comes_besides_the_gid() {
    let simulator = simulator(Size::Tiny);
    let task = simulator
        .truth("tasks", None)
        .into_iter()
        .find(|task| !task["assignee"].is_null() && task["memberships"][0].is_object())
        .expect("an assigned task in a project");
    let path = format!("/tasks/{}", gid(&task));
    for (fields, expected) in [
        ("name", json!({ "gid": task["gid"], "name": task["name"] })),
        ("name,no_such_thing", json!({ "gid": task["gid"], "name": task["name"] })),
        ("assignee.name", {
            json!({ "gid": task["gid"], "assignee": { "gid": task["assignee"]["gid"], "name": task["assignee"]["name"] } })
        }),
        ("assignee", json!({ "gid": task["gid"], "assignee": task["assignee"] })),
        ("memberships", json!({ "gid": task["gid"], "memberships": task["memberships"] })),
        ("html_notes", json!({ "gid": task["gid"], "html_notes": task["html_notes"] })),
        ("memberships.section.name,memberships.project.gid", {
            let places = task["memberships"].as_array().expect("a list").iter().map(|place| {
                let (project, section) = (&place["project"], &place["section"]);
                json!({
                    "project": { "gid": project["gid"] },
                    "section": { "gid": section["gid"], "name": section["name"] },
                })
            });
            json!({ "gid": task["gid"], "memberships": places.collect::<Vec<_>>() })
        }),
        ("", data(ask(&simulator, &path).await)),
    ] {
        let target = if fields.is_empty() { path.clone() } else { format!("{path}?opt_fields={fields}") };
        assert_eq!(data(ask(&simulator, &target).await), expected, "{fields}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_nested_path_reaches_fields_of_fields() {
    let simulator = simulator(Size::Tiny);
    let list = format!(
        "/workspaces/{}/projects?opt_fields=owner.email,team.organization.name",
        simulator.organization()
    );
    let rows = all(&simulator, &list).await;
    let owned = rows.iter().find(|row| !row["owner"].is_null()).expect("an owned project");
    assert_eq!(names(owned), ["gid", "owner", "team"]);
    assert_eq!(names(&owned["owner"]), ["gid", "email"]);
    assert_eq!(names(&owned["team"]["organization"]), ["gid", "name"]);
}

#[tokio::test(start_paused = true)]
async fn a_download_url_is_another_one_in_every_answer() {
    let simulator = simulator(Size::Tiny);
    let stored = simulator.truth("attachments", None);
    let asana = stored.iter().find(|row| row["host"] == "asana").expect("an attachment at Asana");
    let path = format!("/attachments/{}", gid(asana));
    let (one, two) = (data(ask(&simulator, &path).await), data(ask(&simulator, &path).await));
    assert_ne!(one["download_url"], two["download_url"]);
    let vimeo = stored.iter().find(|row| row["host"] == "vimeo").expect("an attachment at Vimeo");
    assert!(vimeo["download_url"].is_null() && vimeo.get("size").is_none());
}

#[tokio::test(start_paused = true)]
async fn every_type_of_custom_field_is_seen_on_some_task() {
    let simulator = simulator(Size::Small);
    let mut seen = std::collections::BTreeSet::new();
    let list = format!("/workspaces/{}/projects?limit=30", simulator.organization());
    let fields = "opt_fields=custom_fields.representation_type,custom_fields.display_value";
    for project in all(&simulator, &list).await.iter().take(30) {
        for task in all(&simulator, &format!("/projects/{}/tasks?limit=100&{fields}", gid(project))).await {
            for field in task["custom_fields"].as_array().expect("a list") {
                let filled = if field["display_value"].is_null() { "empty" } else { "filled" };
                seen.insert(format!("{} {filled}", field["representation_type"].as_str().expect("a type")));
            }
        }
    }
    for kind in ["text", "number", "enum", "multi_enum", "date", "people", "reference"] {
        assert!(
            seen.contains(&format!("{kind} filled")) && seen.contains(&format!("{kind} empty")),
            "{kind}"
        );
    }
    assert!(seen.contains("formula filled") && seen.contains("custom_id filled"));
}

#[tokio::test(start_paused = true)]
async fn a_small_world_holds_what_breaks_careless_readers() {
    let simulator = simulator(Size::Tasks(2_000));
    let tasks = simulator.truth("tasks", None);
    let has = |test: &dyn Fn(&Value) -> bool| tasks.iter().any(test);
    let text = |row: &Value| {
        row["notes"].as_str().unwrap_or_default().to_owned() + row["name"].as_str().unwrap_or_default()
    };
    assert!(has(&|row| row["notes"].as_str().is_some_and(|notes| notes.len() > 60_000)));
    assert!(has(&|row| text(row).contains('🚀')) && has(&|row| text(row).contains('ש')));
    assert!(has(&|row| row["name"] == ""));
    for subtype in ["default_task", "milestone", "approval", "custom"] {
        assert!(has(&|row| row["resource_subtype"] == subtype), "{subtype}");
    }
    assert!(has(&|row| row["projects"].as_array().is_some_and(|projects| projects.len() > 1)));
    for field in ["external", "start_at", "due_at", "actual_time_minutes", "completed_by", "custom_type"] {
        assert!(has(&|row| !row[field].is_null()), "{field}");
    }
}
