//! Rate limits.

use std::time::Duration;

use asana_simulator::{Limits, Options, Simulator};
use axum::http::StatusCode;

use crate::ask::{ask, message};

fn limited(limits: Limits, latency: Duration) -> Simulator {
    Simulator::new(Options { limits: Some(limits), latency, ..Options::default() })
}

/// How many requests in a row are let in.
async fn let_in(simulator: &Simulator, target: &str) -> u32 {
    for count in 0..10_000 {
        if ask(simulator, target).await.status == StatusCode::TOO_MANY_REQUESTS {
            return count;
        }
    }
    panic!("never refused");
}

#[tokio::test(start_paused = true)]
async fn a_minute_holds_1500_requests_and_a_burst_less() {
    let simulator = limited(Limits::paid(), Duration::ZERO);
    let mut total = let_in(&simulator, "/users/me").await;
    assert_eq!(total, 250);
    for _ in 0..30 {
        tokio::time::advance(Duration::from_secs(2)).await;
        total += let_in(&simulator, "/users/me").await;
    }
    assert!((1_650..=1_750).contains(&total), "{total}");
}

#[tokio::test(start_paused = true)]
async fn who_ignores_retry_after_starves_and_who_heeds_it_does_not() {
    let simulator = limited(Limits::free(), Duration::ZERO);
    let_in(&simulator, "/users/me").await;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(ask(&simulator, "/users/me").await.status, StatusCode::TOO_MANY_REQUESTS);
    }
    let refused = ask(&simulator, "/users/me").await;
    assert!(message(&refused).contains("too many requests"));
    let wait = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert_eq!(ask(&simulator, "/users/me").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn search_has_a_limit_of_its_own() {
    let simulator = limited(Limits::paid(), Duration::ZERO);
    let path = format!("/workspaces/{}/tasks/search", simulator.organization());
    assert_eq!(let_in(&simulator, &path).await, 10);
    assert_eq!(ask(&simulator, "/users/me").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_51st_read_in_flight_is_refused() {
    let simulator = limited(Limits::paid(), Duration::from_secs(1));
    let mut flights = tokio::task::JoinSet::new();
    for _ in 0..51 {
        let simulator = simulator.clone();
        flights.spawn(async move { ask(&simulator, "/users/me").await.status });
    }
    let answers = flights.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count(), 1);
    assert_eq!(ask(&simulator, "/users/me").await.status, StatusCode::OK, "the places are given back");
}
