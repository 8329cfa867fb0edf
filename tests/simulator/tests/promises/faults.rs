//! Faults on purpose, the log, and the control API.

use std::time::Duration;

use asana_simulator::{Fault, FaultKind, Severed, Size};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::ask::{ask, simulator};

#[tokio::test(start_paused = true)]
async fn a_rule_strikes_every_so_manieth_time_and_no_more_often_than_told() {
    let simulator = simulator(Size::Tiny);
    simulator.fault(Fault::status("/users/*", 503).every(2).times(2));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(ask(&simulator, "/users/me").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 503, 200, 503, 200, 200]);
    simulator.fault(Fault::status("*", 500));
    let answer = ask(&simulator, "/tags").await;
    assert!(
        answer.status == StatusCode::INTERNAL_SERVER_ERROR && answer.body["errors"][0]["phrase"].is_string()
    );
    simulator.clear_faults();
    assert_eq!(ask(&simulator, "/tags").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_cut_garbled_late_or_never_come() {
    let simulator = simulator(Size::Tiny);
    let request = || {
        let request = Request::builder().uri("/api/1.0/users/me").header("authorization", "Bearer t");
        request.body(Body::empty()).expect("a request")
    };
    let send = || async { simulator.router().oneshot(request()).await.expect("the router never fails") };
    simulator.fault(Fault::on("*", FaultKind::CutBody).times(1));
    let cut = send().await;
    assert!(cut.headers().contains_key("content-length") && cut.into_body().collect().await.is_err());
    simulator.fault(Fault::on("*", FaultKind::WrongJson).times(1));
    let wrong = send().await.into_body().collect().await.expect("whole").to_bytes();
    assert!(serde_json::from_slice::<serde_json::Value>(&wrong).is_err());
    simulator.fault(Fault::on("*", FaultKind::Reset).times(1));
    let reset = send().await;
    assert!(reset.extensions().get::<Severed>().is_some() && reset.into_body().collect().await.is_err());
    simulator.fault(Fault::on("*", FaultKind::Delay).times(1).delay(Duration::from_secs(30)));
    let before = tokio::time::Instant::now();
    assert_eq!(send().await.status(), StatusCode::OK);
    assert_eq!(before.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_operation_and_remembered() {
    let simulator = simulator(Size::Tiny);
    ask(&simulator, "/users/me?opt_fields=name").await;
    ask(&simulator, "/tasks/1").await;
    ask(&simulator, "/_sim/clock").await;
    assert_eq!(
        simulator.requests().into_iter().collect::<Vec<_>>(),
        [("getTask".into(), 1), ("getUser".into(), 1)]
    );
    let log = simulator.log();
    assert_eq!(log[0].target, "/api/1.0/users/me?opt_fields=name");
    assert_eq!((log[1].status, log[1].token), (404, "service"));
}

#[tokio::test(start_paused = true)]
async fn answers_are_dated_by_the_simulated_clock() {
    let simulator = simulator(Size::Tiny);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(ask(&simulator, "/users/me").await.headers["date"], "Wed, 01 Jul 2026 00:01:01 GMT");
}

#[tokio::test(start_paused = true)]
async fn the_control_api_tells_the_truth() {
    let simulator = simulator(Size::Tiny);
    let answer = ask(&simulator, "/_sim/truth/tasks?format=envelope").await;
    assert_eq!(answer.body["data"].as_array().expect("a list"), &simulator.truth("tasks", None));
    assert_eq!(ask(&simulator, "/_sim/truth/nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&simulator, "/_sim/counts").await.body["tasks"], 100);
}
