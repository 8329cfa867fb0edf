//! What is refused, and in which words.

use asana_simulator::{Options, Simulator, Size};
use axum::http::StatusCode;

use crate::ask::{all, ask, data, gid, message, simulator, with_token};

#[tokio::test(start_paused = true)]
async fn refusals_have_asanas_statuses_and_body() {
    let simulator = Simulator::new(Options { search: false, ..Options::default() });
    let organization = simulator.organization();
    let task = gid(&simulator.truth("tasks", None)[0]);
    let user = gid(&simulator.truth("users", None)[0]);
    for (target, status) in [
        ("/tasks/1".to_owned(), StatusCode::NOT_FOUND),
        (format!("/tasks/{user}"), StatusCode::NOT_FOUND),
        ("/tasks/abc".to_owned(), StatusCode::BAD_REQUEST),
        ("/nowhere".to_owned(), StatusCode::NOT_FOUND),
        ("/tasks?limit=5".to_owned(), StatusCode::BAD_REQUEST),
        (format!("/tasks?assignee={user}"), StatusCode::BAD_REQUEST),
        ("/portfolios".to_owned(), StatusCode::BAD_REQUEST),
        ("/attachments".to_owned(), StatusCode::BAD_REQUEST),
        (format!("/workspaces/{organization}/tasks/search"), StatusCode::PAYMENT_REQUIRED),
    ] {
        let answer = ask(&simulator, &target).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(!message(&answer).is_empty() && answer.body["errors"][0]["help"].is_string());
    }
    let stranger = with_token(&simulator, "wrong", &format!("/tasks/{task}")).await;
    assert_eq!((stranger.status, message(&stranger)), (StatusCode::UNAUTHORIZED, "Not Authorized"));
}

#[tokio::test(start_paused = true)]
async fn a_person_sees_less_than_the_service_account() {
    let people = vec![("person".to_owned(), 5)];
    let simulator = Simulator::new(Options { size: Size::Small, people, ..Options::default() });
    let organization = simulator.organization();
    let me = data(with_token(&simulator, "person", "/users/me").await);
    let mut refused = 0;
    for project in all(&simulator, &format!("/projects?workspace={organization}&limit=100")).await {
        let answer = with_token(&simulator, "person", &format!("/projects/{}", gid(&project))).await;
        refused += u32::from(answer.status == StatusCode::FORBIDDEN);
    }
    assert!(refused > 0, "private projects are refused, not hidden");
    let list = format!("/portfolios?workspace={organization}&opt_fields=owner");
    let mine = data(with_token(&simulator, "person", &list).await);
    assert!(mine.as_array().expect("a list").iter().all(|row| row["owner"]["gid"] == me["gid"]));
    assert!(all(&simulator, &list).await.len() > mine.as_array().expect("a list").len());
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_is_for_the_service_account_of_a_plan_that_has_it() {
    for audit_log in [true, false] {
        let people = vec![("person".to_owned(), 5)];
        let simulator = Simulator::new(Options { people, audit_log, ..Options::default() });
        let target = format!("/workspaces/{}/audit_log_events?limit=1", simulator.organization());
        let answer = ask(&simulator, &target).await;
        let status = if audit_log { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(answer.status, status);
        assert!(!audit_log || answer.body["next_page"].is_null());
        assert_eq!(with_token(&simulator, "person", &target).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_organization_is_in_the_truth_although_the_token_sees_more() {
    let simulator = simulator(Size::Tiny);
    assert_eq!(all(&simulator, "/workspaces").await.len(), 2);
    assert_eq!(simulator.truth("workspaces", None).len(), 1);
    let seen = all(&simulator, "/projects?limit=100").await.len();
    assert_eq!(seen, simulator.truth("projects", None).len() + 1);
}
