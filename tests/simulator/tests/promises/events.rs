//! The streams of events.

use std::collections::BTreeMap;
use std::time::Duration;

use asana_simulator::{EventsPlan, Options, Simulator, Size};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::ask::{Answer, all, ask, data, gid, message, with_token};

/// A world whose events are visible at once.
fn prompt(size: Size, seed: u64) -> Simulator {
    Simulator::new(Options { size, seed, event_delay: Duration::ZERO, ..Options::default() })
}

fn of_workspace(simulator: &Simulator) -> String {
    format!("/workspaces/{}/events?x=", simulator.organization())
}

#[track_caller]
fn sync(answer: &Answer) -> String {
    answer.body["sync"].as_str().expect("a sync token").to_owned()
}

/// The token of a new stream.
async fn begin(simulator: &Simulator, stream: &str) -> String {
    let first = ask(simulator, stream).await;
    assert_eq!(first.status, StatusCode::PRECONDITION_FAILED, "{}", first.body);
    assert!(message(&first).starts_with("Sync token invalid or too old"), "{}", first.body);
    sync(&first)
}

async fn pull(simulator: &Simulator, stream: &str, token: &str) -> Answer {
    ask(simulator, &format!("{stream}&sync={token}")).await
}

/// All events that are visible, and the token after them.
async fn drain(simulator: &Simulator, stream: &str, token: &str) -> (Vec<Value>, String) {
    let (mut events, mut token) = (Vec::new(), token.to_owned());
    loop {
        let answer = pull(simulator, stream, &token).await;
        token = sync(&answer);
        let more = answer.body["has_more"].as_bool().expect("has_more");
        events.extend(data(answer).as_array().expect("a list").clone());
        if !more {
            return (events, token);
        }
    }
}

fn some_task(simulator: &Simulator) -> String {
    gid(&simulator.truth("tasks", None)[0])
}

fn names(events: &[Value], gid: &str) -> bool {
    events.iter().any(|event| event["resource"]["gid"] == gid)
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_412_and_tells_what_came_after() {
    let simulator = prompt(Size::Tiny, 7);
    let task = some_task(&simulator);
    simulator.rename_task(&task, "before");
    for stream in [of_workspace(&simulator), format!("/events?resource={task}")] {
        let token = begin(&simulator, &stream).await;
        let (events, token) = drain(&simulator, &stream, &token).await;
        assert!(events.is_empty(), "{events:?}");
        simulator.rename_task(&task, "after");
        let (events, _) = drain(&simulator, &stream, &token).await;
        let renamed = events.iter().find(|event| event["action"] == "changed").expect("it was renamed");
        assert_eq!(renamed["change"]["field"], "name");
        assert_eq!((&renamed["type"], &renamed["parent"]), (&"task".into(), &Value::Null));
        assert_eq!(renamed["resource"]["name"], "after");
        let story = events.iter().find(|event| event["type"] == "story").expect("its story");
        assert_eq!((&story["action"], &story["parent"]["gid"]), (&"added".into(), &task.clone().into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_superseded_token_is_refused() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let first = begin(&simulator, &stream).await;
    simulator.advance(3);
    let second = sync(&pull(&simulator, &stream, &first).await);
    assert_eq!(pull(&simulator, &stream, &first).await.status, StatusCode::OK, "the second was never used");
    assert_eq!(pull(&simulator, &stream, &second).await.status, StatusCode::OK);
    let refused = pull(&simulator, &stream, &first).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let (events, _) = drain(&simulator, &stream, &sync(&refused)).await;
    assert!(events.is_empty(), "a fresh token begins now: {events:?}");
    assert_eq!(pull(&simulator, &stream, &second).await.status, StatusCode::OK, "a refusal spoils nothing");
}

#[tokio::test(start_paused = true)]
async fn the_current_token_may_be_repeated() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    simulator.advance(5);
    let once = data(pull(&simulator, &stream, &token).await);
    tokio::time::advance(Duration::from_millis(1)).await;
    simulator.advance(5);
    let answer = pull(&simulator, &stream, &token).await;
    let next = sync(&answer);
    let (once, twice) = (once.as_array().expect("a list"), data(answer));
    let twice = twice.as_array().expect("a list");
    assert!(twice.len() > once.len());
    assert_eq!(twice[..once.len()], once[..]);
    assert!(drain(&simulator, &stream, &next).await.0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_after_a_day_or_on_demand() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    tokio::time::advance(Duration::from_secs(86_400)).await;
    let next = sync(&pull(&simulator, &stream, &token).await);
    tokio::time::advance(Duration::from_secs(86_401)).await;
    assert_eq!(pull(&simulator, &stream, &next).await.status, StatusCode::PRECONDITION_FAILED);
    let token = begin(&simulator, &stream).await;
    simulator.advance(3);
    simulator.expire_sync_tokens();
    let refused = pull(&simulator, &stream, &token).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let (events, _) = drain(&simulator, &stream, &sync(&refused)).await;
    assert!(events.is_empty(), "what happened in between is lost: {events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_belongs_to_its_stream_and_its_bearer() {
    let people = vec![("person".to_owned(), 1)];
    let simulator = Simulator::new(Options { people, ..Options::default() });
    let projects = simulator.truth("projects", None);
    let open = projects.iter().find(|row| row["privacy_setting"] == "public_to_workspace");
    let stream = format!("/events?resource={}", gid(open.expect("a public project")));
    let token = begin(&simulator, &stream).await;
    let other = format!("/events?resource={}", some_task(&simulator));
    for foreign in [
        pull(&simulator, &other, &token).await,
        pull(&simulator, &of_workspace(&simulator), &token).await,
        pull(&simulator, &stream, "de4774f6915eae04714ca93bb2f5ee81").await,
        with_token(&simulator, "person", &format!("{stream}&sync={token}")).await,
    ] {
        assert_eq!(foreign.status, StatusCode::PRECONDITION_FAILED);
    }
    assert_eq!(pull(&simulator, &stream, &token).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_never_comes() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    simulator.lose_events(Some(1.0));
    simulator.advance(50);
    simulator.lose_events(None);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    let (events, token) = drain(&simulator, &stream, &token).await;
    assert!(events.is_empty(), "{events:?}");
    let task = some_task(&simulator);
    simulator.rename_task(&task, "told again");
    assert!(names(&drain(&simulator, &stream, &token).await.0, &task));
    let some = Simulator::new(Options { lose_events: Some(0.3), ..Options::default() });
    let all = Simulator::new(Options::default());
    let mut counts = Vec::new();
    for simulator in [some, all] {
        let stream = of_workspace(&simulator);
        let token = begin(&simulator, &stream).await;
        simulator.advance(400);
        tokio::time::advance(Duration::from_secs(60)).await;
        counts.push(drain(&simulator, &stream, &token).await.0.len());
    }
    assert!(counts[0] * 10 > counts[1] * 6 && counts[0] * 10 < counts[1] * 8, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn events_come_late_in_another_order_and_once() {
    let simulator = Simulator::new(Options::default());
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    simulator.advance(100);
    let (soon, token) = drain(&simulator, &stream, &token).await;
    assert!(soon.is_empty(), "nothing is told within five seconds: {soon:?}");
    let (mut token, mut told, mut answers) = (token, Vec::new(), 0);
    for _ in 0..12 {
        tokio::time::advance(Duration::from_secs(5)).await;
        let (events, next) = drain(&simulator, &stream, &token).await;
        answers += u32::from(!events.is_empty());
        token = next;
        told.extend(events);
    }
    assert!(answers > 5, "they do not come all at once");
    let whole = prompt(Size::Tiny, 7);
    let stream = of_workspace(&whole);
    let token = begin(&whole, &stream).await;
    whole.advance(100);
    let (mut all, _) = drain(&whole, &stream, &token).await;
    assert_ne!(told, all, "the order is that of visibility");
    told.sort_by_key(Value::to_string);
    all.sort_by_key(Value::to_string);
    assert_eq!(told, all);
}

#[tokio::test(start_paused = true)]
async fn at_most_100_events_of_a_resource_and_1000_of_the_workspace_come_at_once() {
    let simulator = prompt(Size::Mini, 7);
    let project = gid(&simulator.truth("projects", None)[0]);
    let task = gid(&simulator
        .truth("tasks", None)
        .into_iter()
        .find(|task| task["projects"].as_array().is_some_and(|projects| !projects.is_empty()))
        .expect("a task in a project"));
    for (stream, most) in [(format!("/events?resource={project}"), 100), (of_workspace(&simulator), 1_000)] {
        let token = begin(&simulator, &stream).await;
        for word in 0..600 {
            simulator.rename_task(&task, &format!("word {word}"));
        }
        let answer = pull(&simulator, &stream, &token).await;
        assert_eq!(answer.body["has_more"], true);
        let token = sync(&answer);
        assert_eq!(data(answer).as_array().expect("a list").len(), most);
        let (rest, _) = drain(&simulator, &stream, &token).await;
        assert_eq!(rest.len(), 1_200 - most);
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_edit_of_a_task_is_told_to_the_workspace() {
    // What Asana's documents say nothing of, every seed may keep to itself.
    let silent = ["like_task", "like_comment", "add_or_remove_dependency", "move_task"];
    for seed in 1..6 {
        let simulator = prompt(Size::Tiny, seed);
        let stream = of_workspace(&simulator);
        let mut token = begin(&simulator, &stream).await;
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..700 {
            tokio::time::advance(Duration::from_millis(1)).await;
            let edit = simulator.advance(1).remove(0);
            let (events, next) = drain(&simulator, &stream, &token).await;
            token = next;
            if !["tasks", "stories", "attachments"].contains(&edit.table) {
                continue;
            }
            *kinds.entry(edit.kind).or_default() += 1;
            assert!(names(&events, &edit.gid) || silent.contains(&edit.kind), "{seed}: {edit:?}: {events:?}");
        }
        assert!(kinds.len() >= 20, "{kinds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn renaming_a_user_is_told_to_nobody() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    simulator.rename_user(&gid(&simulator.truth("users", None)[0]), "Somebody Else");
    assert!(drain(&simulator, &stream, &token).await.0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_project_hears_of_subtasks_and_stories_and_of_nothing_elsewhere() {
    let simulator = prompt(Size::Tiny, 7);
    let tasks = simulator.truth("tasks", None);
    let within = |task: &Value, project: &str| {
        task["projects"].as_array().is_some_and(|rows| rows.iter().any(|row| row["gid"] == project))
    };
    let child = tasks.iter().find(|task| {
        let parent = tasks.iter().find(|parent| parent["gid"] == task["parent"]["gid"]);
        parent.is_some_and(|parent| parent["projects"][0]["gid"].is_string()) && task["projects"][0].is_null()
    });
    let child = child.expect("a subtask in no project of its own");
    let parent = tasks.iter().find(|parent| parent["gid"] == child["parent"]["gid"]).expect("its parent");
    let project = parent["projects"][0]["gid"].as_str().expect("a gid");
    let other = tasks.iter().find(|task| !within(task, project) && task["parent"].is_null());
    let stream = format!("/events?resource={project}");
    let token = begin(&simulator, &stream).await;
    let story = simulator.add_comment(&gid(child), "a word").gid;
    simulator.rename_task(&gid(other.expect("a task elsewhere")), "not of this project");
    let (events, token) = drain(&simulator, &stream, &token).await;
    assert!(names(&events, &story) && events.len() == 1, "{events:?}");
    simulator.delete_task(&gid(parent));
    let (events, _) = drain(&simulator, &stream, &token).await;
    let gone = events.iter().find(|event| event["resource"]["gid"] == parent["gid"]).expect("it was deleted");
    assert_eq!(gone["action"], "deleted");
    assert!(gone["resource"].get("name").is_none(), "what is gone has no name any more");
}

#[tokio::test(start_paused = true)]
async fn a_plan_without_events_refuses_them_and_only_the_service_account_hears_the_workspace() {
    let people = vec![("person".to_owned(), 1)];
    for seed in 1..5 {
        for plan in [EventsPlan::Workspace, EventsPlan::Resources, EventsPlan::None] {
            let simulator =
                Simulator::new(Options { events: plan, seed, people: people.clone(), ..Options::default() });
            let whole = ask(&simulator, &of_workspace(&simulator)).await.status.as_u16();
            let task = some_task(&simulator);
            let one = ask(&simulator, &format!("/events?resource={task}")).await.status.as_u16();
            match plan {
                EventsPlan::Workspace => assert_eq!((whole, one), (412, 412)),
                EventsPlan::Resources => assert!([402, 403].contains(&whole) && one == 412),
                EventsPlan::None => assert!([402, 403].contains(&whole) && one == 403),
            }
            let person = with_token(&simulator, "person", &of_workspace(&simulator)).await;
            assert_eq!(person.status, StatusCode::FORBIDDEN);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_what_is_missing_or_has_no_stream_are_refused() {
    let simulator = prompt(Size::Tiny, 7);
    let user = gid(&simulator.truth("users", None)[0]);
    let task = some_task(&simulator);
    let stream = format!("/events?resource={task}");
    let token = begin(&simulator, &stream).await;
    for (target, status) in [
        ("/events".to_owned(), 400),
        ("/events?resource=abc".to_owned(), 400),
        ("/events?resource=1".to_owned(), 404),
        (format!("/events?resource={user}"), 400),
    ] {
        assert_eq!(ask(&simulator, &target).await.status.as_u16(), status, "{target}");
    }
    simulator.delete_task(&task);
    assert_eq!(pull(&simulator, &stream, &token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn opt_fields_names_what_an_event_shows() {
    let simulator = prompt(Size::Tiny, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    let task = some_task(&simulator);
    simulator.rename_task(&task, "shown");
    let shown = format!("{stream}&opt_fields=action,resource.name,resource.completed,change.field");
    let (events, _) = drain(&simulator, &shown, &token).await;
    let event = events.iter().find(|event| event["action"] == "changed").expect("it was renamed");
    let event = event.as_object().expect("an object");
    assert_eq!(event.len(), 3, "{event:?}");
    assert!(event["resource"]["completed"].is_boolean() && event["resource"]["name"] == "shown");
    assert_eq!(event["change"].as_object().expect("an object").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_offsets_are_refused() {
    let simulator = prompt(Size::Tiny, 7);
    let first = ask(&simulator, "/users?limit=2").await;
    let path = first.body["next_page"]["path"].as_str().expect("a second page").to_owned();
    simulator.expire_offsets();
    assert_eq!(ask(&simulator, &path).await.status, StatusCode::BAD_REQUEST);
    assert!(!all(&simulator, "/users?limit=2").await.is_empty(), "new ones are good");
}

#[tokio::test(start_paused = true)]
async fn what_asana_is_silent_about_the_seed_decides() {
    let silent = ["rename_team", "rename_custom_field", "like_task", "rename_portfolio", "add_team_member"];
    let mut told: BTreeMap<&str, [u32; 2]> = BTreeMap::new();
    for seed in 1..12 {
        let simulator = prompt(Size::Mini, seed);
        let stream = of_workspace(&simulator);
        let mut token = begin(&simulator, &stream).await;
        for _ in 0..400 {
            let edit = simulator.advance(1).remove(0);
            let (events, next) = drain(&simulator, &stream, &token).await;
            token = next;
            if silent.contains(&edit.kind) {
                told.entry(edit.kind).or_default()[usize::from(names(&events, &edit.gid))] += 1;
            }
        }
    }
    assert_eq!(told.len(), silent.len(), "{told:?}");
    assert!(told.values().all(|[untold, told]| *untold > 0 && *told > 0), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_control_api_loses_events_and_expires_tokens() {
    let simulator = prompt(Size::Mini, 7);
    let stream = of_workspace(&simulator);
    let token = begin(&simulator, &stream).await;
    let post = async |target: &str| {
        let request = Request::builder().method("POST").uri(format!("/_sim{target}"));
        let request = request.body(Body::empty()).expect("a request");
        simulator.router().oneshot(request).await.expect("the router never fails").status().as_u16()
    };
    assert_eq!(post("/events?lose=1").await, 200);
    simulator.advance(20);
    let (events, token) = drain(&simulator, &stream, &token).await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(post("/events?lose=often").await, 400);
    let page = ask(&simulator, "/tags?limit=1").await.body["next_page"]["path"].clone();
    assert_eq!(post("/events?expire=1").await, 200);
    assert_eq!(pull(&simulator, &stream, &token).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(post("/offsets?expire=1").await, 200);
    let page = page.as_str().expect("a second tag, of the other workspace");
    assert_eq!(ask(&simulator, page).await.status, StatusCode::BAD_REQUEST);
}
