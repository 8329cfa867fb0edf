//! The life of the organization, and the oracle that remembers it.

use std::time::Duration;

use asana_simulator::{Options, Simulator, Size, Versions};
use serde_json::Value;

use crate::ask::{all, ask, data, gid, simulator};

fn assigned(simulator: &Simulator) -> Value {
    simulator
        .truth("tasks", None)
        .into_iter()
        .find(|task| !task["assignee"].is_null())
        .expect("an assigned task")
}

#[tokio::test(start_paused = true)]
async fn renaming_the_assignee_changes_every_fresh_answer_and_modifies_nothing() {
    let simulator = simulator(Size::Tiny);
    let before = assigned(&simulator);
    simulator.rename_user(before["assignee"]["gid"].as_str().expect("a gid"), "Somebody Else");
    let after = data(ask(&simulator, &format!("/tasks/{}", gid(&before))).await);
    assert_eq!(after["assignee"]["name"], "Somebody Else");
    assert_eq!(after["modified_at"], before["modified_at"]);
}

#[tokio::test(start_paused = true)]
async fn every_version_can_be_asked_for_again() {
    let simulator = simulator(Size::Tiny);
    let task = gid(&assigned(&simulator));
    let mut moments = Vec::new();
    for name in ["one", "two", "three"] {
        tokio::time::advance(Duration::from_secs(10)).await;
        simulator.rename_task(&task, name);
        moments.push((name, simulator.now()));
    }
    simulator.delete_task(&task);
    for (name, at) in &moments[..2] {
        let truth = simulator.truth("tasks", Some(*at));
        let row = truth.iter().find(|row| row["gid"] == task.as_str()).expect("it lived");
        assert_eq!(row["name"], *name);
    }
    assert!(simulator.truth("tasks", None).iter().all(|row| row["gid"] != task.as_str()));
    assert_eq!(ask(&simulator, &format!("/tasks/{task}")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_comment_moves_modified_at_and_an_edit_writes_its_story() {
    let simulator = simulator(Size::Tiny);
    let task = gid(&assigned(&simulator));
    tokio::time::advance(Duration::from_secs(5)).await;
    simulator.add_comment(&task, "a word");
    let row = data(ask(&simulator, &format!("/tasks/{task}")).await);
    assert_eq!(row["modified_at"], "2026-07-01T00:00:05.000Z");
    simulator.rename_task(&task, "another name");
    let stories = all(&simulator, &format!("/tasks/{task}/stories")).await;
    let kinds: Vec<&Value> = stories.iter().rev().take(2).map(|story| &story["resource_subtype"]).collect();
    assert_eq!(kinds, ["name_changed", "comment_added"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_task_takes_its_subtasks_stories_and_attachments_along() {
    let simulator = simulator(Size::Tiny);
    let tasks = simulator.truth("tasks", None);
    let child = tasks.iter().find(|task| !task["parent"].is_null()).expect("a subtask");
    let parent = child["parent"]["gid"].as_str().expect("a gid").to_owned();
    simulator.delete_task(&parent);
    for table in ["tasks", "stories", "attachments"] {
        for row in simulator.truth(table, None) {
            for name in ["target", "parent"] {
                assert_ne!(row[name]["gid"].as_str(), Some(parent.as_str()), "{table}: {row}");
            }
            assert_ne!(row["gid"], child["gid"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn life_at_a_rate_happens_between_two_looks() {
    let simulator = Simulator::new(Options { life: Some(2.0), ..Options::default() });
    let start = simulator.now();
    let before = simulator.truth("stories", None);
    tokio::time::advance(Duration::from_secs(120)).await;
    assert_ne!(simulator.truth("stories", None), before);
    assert_eq!(simulator.truth("stories", Some(start)), before);
    let quiet = Simulator::new(Options::default());
    let edits = quiet.advance(240);
    assert_eq!(edits.len(), 240);
    assert_eq!(quiet.counts(), simulator.counts(), "the edits depend on the seed, not on when they happen");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_project_leaves_its_tasks_in_one_project_less() {
    let simulator = simulator(Size::Tiny);
    let project = gid(&simulator.truth("projects", None)[0]);
    let tasks = all(&simulator, &format!("/projects/{project}/tasks?limit=100")).await;
    simulator.edit("delete_project", &project, "").expect("it lives");
    assert_eq!(ask(&simulator, &format!("/projects/{project}")).await.status, 404);
    let task = data(ask(&simulator, &format!("/tasks/{}", gid(&tasks[0]))).await);
    assert!(task["projects"].as_array().expect("a list").iter().all(|row| row["gid"] != project.as_str()));
    assert!(simulator.truth("sections", None).iter().all(|row| row["project"]["gid"] != project.as_str()));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_served_while_life_goes_on_is_the_truth_of_its_moment() {
    let simulator =
        Simulator::new(Options { size: Size::Tasks(20), life: Some(130.0), ..Options::default() });
    let list =
        format!("/workspaces/{}/projects?opt_fields=name,members,owner.name", simulator.organization());
    let mut served = Vec::new();
    for step in 0..200 {
        tokio::time::advance(Duration::from_millis(step % 17)).await;
        served.push((simulator.now(), all(&simulator, &list).await));
    }
    for (at, rows) in served {
        let truth = simulator.truth("projects", Some(at));
        assert_eq!(rows.len(), truth.len(), "{at}");
        for (row, truth) in rows.iter().zip(&truth) {
            assert_eq!((&row["gid"], &row["name"]), (&truth["gid"], &truth["name"]), "{at}");
            assert_eq!(
                (&row["members"], &row["owner"]["name"]),
                (&truth["members"], &truth["owner"]["name"]),
                "{at}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn versions_are_all_that_was_true_in_between_and_nothing_else() {
    let simulator = simulator(Size::Mini);
    let task = gid(&simulator.truth("tasks", None)[0]);
    simulator.rename_task(&task, "before");
    tokio::time::advance(Duration::from_millis(1)).await;
    let from = simulator.now();
    for name in ["one", "two", "one"] {
        tokio::time::advance(Duration::from_millis(1)).await;
        simulator.rename_task(&task, name);
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    let born = simulator.add_comment(&task, "a word").gid;
    let to = simulator.now();
    tokio::time::advance(Duration::from_millis(1)).await;
    simulator.rename_task(&task, "after");
    let find = |table: &str, key: &str| -> Versions {
        let all = simulator.versions(table, from, to);
        all.into_iter().find(|one| one.key == key).expect("it lived")
    };
    let found = find("tasks", &task);
    let names: Vec<&str> = found.versions.iter().filter_map(|row| row["name"].as_str()).collect();
    // The comment moved its `modified_at`: one more version of the same name.
    assert_eq!(names, ["before", "one", "two", "one", "one"]);
    assert!(found.throughout);
    assert!(!find("stories", &born).throughout);
    assert_eq!(simulator.edit_moments(from, to).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn versions_hold_whatever_was_served_in_between() {
    for seed in 1..4 {
        let simulator = Simulator::new(Options { size: Size::Mini, seed, ..Options::default() });
        let from = simulator.now();
        let mut served = Vec::new();
        for _ in 0..60 {
            tokio::time::advance(Duration::from_millis(1)).await;
            simulator.advance(1);
            for table in ["projects", "users", "tasks", "portfolio_items"] {
                served.extend(simulator.truth(table, None).into_iter().map(|row| (table, row)));
            }
        }
        for table in ["projects", "users", "tasks", "portfolio_items"] {
            let versions = simulator.versions(table, from, simulator.now());
            let known: Vec<&Value> = versions.iter().flat_map(|one| &one.versions).collect();
            assert!(served.iter().filter(|(of, _)| *of == table).all(|(_, row)| known.contains(&row)));
            let still = versions.iter().filter(|one| one.throughout).count();
            assert!(still <= simulator.truth(table, None).len());
        }
    }
}
