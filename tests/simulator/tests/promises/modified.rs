//! `modified_since`: the one filter there is for what changed.

use std::time::Duration;

use asana_simulator::{Options, Simulator, Size};
use serde_json::Value;

use crate::ask::{all, ask, gid};

/// Lists of tasks, each with a container of the task.
fn lists(simulator: &Simulator, task: &Value) -> Vec<String> {
    let workspace = simulator.organization();
    let of = |path: &str| task.pointer(path).and_then(Value::as_str).expect("it has one").to_owned();
    vec![
        format!("/tasks?limit=100&project={}", of("/memberships/0/project/gid")),
        format!("/tasks?limit=100&section={}", of("/memberships/0/section/gid")),
        format!("/tasks?limit=100&assignee={}&workspace={workspace}", of("/assignee/gid")),
    ]
}

/// A task that is in a project, assigned, and a parent.
fn parent(simulator: &Simulator) -> Value {
    let mut tasks = simulator.truth("tasks", None).into_iter();
    let fits = |task: &Value| {
        task["memberships"][0].is_object() && task["assignee"].is_object() && task["num_subtasks"] != 0
    };
    tasks.find(fits).expect("a parent in a project")
}

fn moment(simulator: &Simulator) -> String {
    simulator.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[tokio::test(start_paused = true)]
async fn modified_since_leaves_what_was_modified_by_project_section_and_assignee() {
    let simulator = crate::ask::simulator(Size::Tiny);
    let task = parent(&simulator);
    tokio::time::advance(Duration::from_secs(1)).await;
    let since = moment(&simulator);
    for list in lists(&simulator, &task) {
        assert!(all(&simulator, &format!("{list}&modified_since={since}")).await.is_empty(), "{list}");
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    simulator.add_comment(&gid(&task), "a word");
    for list in lists(&simulator, &task) {
        let found = all(&simulator, &format!("{list}&modified_since={since}")).await;
        assert_eq!(found.iter().map(gid).collect::<Vec<_>>(), [gid(&task)], "{list}");
    }
    let subtask = simulator.truth("tasks", None).into_iter().find(|row| row["parent"]["gid"] == task["gid"]);
    tokio::time::advance(Duration::from_secs(1)).await;
    let since = moment(&simulator);
    simulator.rename_task(&gid(&subtask.expect("a subtask")), "another name");
    for list in lists(&simulator, &task) {
        let found = all(&simulator, &format!("{list}&modified_since={since}")).await;
        assert!(
            found.iter().all(|row| row["gid"] != task["gid"]),
            "a task is not modified because its subtask is"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn modified_since_changes_nothing_on_other_lists_and_refuses_what_is_no_moment() {
    let simulator = crate::ask::simulator(Size::Tiny);
    let task = parent(&simulator);
    let project = task["memberships"][0]["project"]["gid"].as_str().expect("a gid");
    let since = moment(&simulator);
    let other = format!("/projects/{project}/tasks?limit=100");
    let whole = all(&simulator, &other).await;
    assert_eq!(all(&simulator, &format!("{other}&modified_since={since}")).await, whole);
    let bad = ask(&simulator, &format!("/tasks?project={project}&modified_since=lately")).await;
    assert_eq!(bad.status.as_u16(), 400);
}

#[tokio::test(start_paused = true)]
async fn whether_being_added_to_a_project_counts_the_seed_decides() {
    let mut counted = Vec::new();
    for seed in 1..9 {
        let simulator = Simulator::new(Options { seed, ..Options::default() });
        let edit = loop {
            tokio::time::advance(Duration::from_secs(1)).await;
            let edit = simulator.advance(1).remove(0);
            if edit.kind == "add_to_project" {
                break edit;
            }
        };
        let list = format!("/tasks?limit=100&project={}", edit.note);
        let listed = all(&simulator, &list).await;
        assert!(listed.iter().any(|row| row["gid"] == edit.gid.as_str()));
        let found = all(&simulator, &format!("{list}&modified_since={}", moment(&simulator))).await;
        counted.push(found.iter().any(|row| row["gid"] == edit.gid.as_str()));
    }
    assert!(counted.contains(&true) && counted.contains(&false), "{counted:?}");
}
