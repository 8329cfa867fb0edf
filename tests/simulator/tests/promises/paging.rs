//! Pages and their offset tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use asana_simulator::Size;
use axum::http::StatusCode;

use crate::ask::{all, ask, gid, message, simulator};

#[tokio::test(start_paused = true)]
async fn pages_together_are_the_list_and_its_end_is_null() {
    let simulator = simulator(Size::Tiny);
    let list = format!("/users?workspace={}", simulator.organization());
    let whole = all(&simulator, &list).await;
    for limit in [1, 5, 100] {
        assert_eq!(all(&simulator, &format!("{list}&limit={limit}")).await, whole, "{limit}");
    }
    let last = ask(&simulator, &format!("{list}&limit=100")).await;
    assert!(last.body["next_page"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_limit_outside_1_to_100_is_refused() {
    let simulator = simulator(Size::Tiny);
    for limit in ["0", "101", "-1", "many"] {
        let answer = ask(&simulator, &format!("/users?limit={limit}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_and_belongs_to_its_query() {
    let simulator = simulator(Size::Tiny);
    let first = ask(&simulator, "/users?limit=2").await;
    let token = first.body["next_page"]["offset"].as_str().expect("a token").to_owned();
    let path = first.body["next_page"]["path"].as_str().expect("a path").to_owned();
    assert_eq!(first.body["next_page"]["uri"], format!("https://app.asana.com/api/1.0{path}"));
    let other = format!("/users?limit=2&workspace={}&offset={token}", simulator.organization());
    for stranger in [other, format!("/tags?limit=2&offset={token}"), "/users?limit=2&offset=eyJ0.x.y".into()]
    {
        let answer = ask(&simulator, &stranger).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{stranger}");
        assert!(message(&answer).contains("invalid"), "{stranger}");
    }
    assert_eq!(ask(&simulator, &path).await.status, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(601)).await;
    let late = ask(&simulator, &path).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST);
    assert_eq!(message(&late), "offset: Your pagination token has expired.");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shrinks_between_pages_skips_a_row() {
    let simulator = simulator(Size::Tiny);
    let project = simulator.truth("projects", None)[0]["gid"].as_str().expect("a gid").to_owned();
    let list = format!("/projects/{project}/tasks?limit=3");
    let before: Vec<String> = all(&simulator, &list).await.iter().map(gid).collect();
    let first = ask(&simulator, &list).await;
    simulator.delete_task(&before[0]);
    let next = first.body["next_page"]["path"].as_str().expect("a second page").to_owned();
    let rest: BTreeSet<String> = all(&simulator, &next).await.iter().map(gid).collect();
    assert!(!rest.contains(&before[3]), "the fourth task moved to the first page and is never seen");
    let again: Vec<String> = all(&simulator, &list).await.iter().map(gid).collect();
    assert!(again.contains(&before[3]) && !again.contains(&before[0]));
}

#[tokio::test(start_paused = true)]
async fn the_listings_without_pages_stop_at_2000_users_without_a_word() {
    let simulator = simulator(Size::Medium);
    let organization = simulator.organization();
    let answer = ask(&simulator, &format!("/workspaces/{organization}/users")).await;
    assert_eq!(answer.body["data"].as_array().expect("a list").len(), 2_000);
    assert!(answer.body.get("next_page").is_none());
    let paged = all(&simulator, &format!("/users?workspace={organization}&limit=100")).await;
    assert_eq!(paged.len() as u64, simulator.counts()["users"]);
    assert!(paged.len() > 2_000);
}
