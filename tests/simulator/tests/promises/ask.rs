//! Asks the simulator as a client would.

use asana_simulator::{Options, Simulator, Size};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A simulator of this size.
pub(crate) fn simulator(size: Size) -> Simulator {
    Simulator::new(Options { size, ..Options::default() })
}

/// Sends a request with a token.
pub(crate) async fn with_token(simulator: &Simulator, token: &str, target: &str) -> Answer {
    let uri = if target.starts_with("/_sim") { target.to_owned() } else { format!("/api/1.0{target}") };
    let request = Request::builder().uri(uri).header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::empty()).expect("a request");
    let response = simulator.router().oneshot(request).await.expect("the router never fails");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    let body = serde_json::from_slice(&bytes).expect("JSON");
    Answer { status, headers, body }
}

/// Sends a request with the service account's token.
pub(crate) async fn ask(simulator: &Simulator, target: &str) -> Answer {
    with_token(simulator, "t", target).await
}

/// The `data` of an answer that must be a 200.
#[track_caller]
pub(crate) fn data(answer: Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["data"].clone()
}

/// All rows of a paged list.
pub(crate) async fn all(simulator: &Simulator, target: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next.take() {
        let answer = ask(simulator, &target).await;
        assert_eq!(answer.status, StatusCode::OK, "{target}: {}", answer.body);
        rows.extend(answer.body["data"].as_array().expect("a list").clone());
        next = answer.body["next_page"]["path"].as_str().map(str::to_owned);
    }
    rows
}

/// The gid of a record.
pub(crate) fn gid(row: &Value) -> String {
    row["gid"].as_str().expect("a gid").to_owned()
}

/// The message of a refusal.
pub(crate) fn message(answer: &Answer) -> &str {
    answer.body["errors"][0]["message"].as_str().expect("Asana's error body")
}
