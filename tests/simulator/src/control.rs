//! The control API under `/_sim`: the truth, the log, the life, the faults and the clock.
//!
//! Rule: it needs no token and no client of Asana ever calls it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};

use crate::api::query::Query;
use crate::faults::Fault;
use crate::server::stamp;
use crate::simulator::{Simulator, oracle};
use crate::time::{self, LATEST, Ms};
use crate::truth::{self, Row};

/// Where it lives.
pub(crate) const BASE: &str = "/_sim";

/// The most bytes a fault may be described in.
const FAULT_BYTES: usize = 64 * 1_024;

/// Rows of the truth that are written at once, so that nobody waits long for the world.
const ROWS: usize = 500;

type Answered = Result<Response, (StatusCode, String)>;

/// Answers a request to the control API.
pub(crate) async fn answer(simulator: &Simulator, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, FAULT_BYTES).await.unwrap_or_default();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let path = parts.uri.path().strip_prefix(BASE).unwrap_or_default().trim_end_matches('/');
    let answered = match (&parts.method, path) {
        (&Method::GET, "") => Ok(value(index())),
        (&Method::GET, "/clock") => Ok(value(clock(simulator))),
        (&Method::GET, "/counts") => Ok(value(json!(simulator.counts()))),
        (&Method::GET, "/requests") => Ok(value(requests(simulator))),
        (&Method::GET, "/log") => Ok(value(json!(simulator.log()))),
        (&Method::DELETE, "/log") => {
            simulator.desk().log = Default::default();
            Ok(value(json!({})))
        }
        (&Method::POST, "/advance") => advance(simulator, &query),
        (&Method::POST, "/life") => life(simulator, &query),
        (&Method::POST, "/edit") => edit(simulator, &query),
        (&Method::POST, "/events") => events(simulator, &query),
        (&Method::POST, "/offsets") => offsets(simulator, &query),
        (&Method::POST, "/tokens") => Ok(tokens(simulator, &query)),
        (&Method::GET, "/faults") => Ok(value(json!(simulator.desk().faults.list()))),
        (&Method::POST, "/faults") => fault(simulator, &body),
        (&Method::DELETE, "/faults") => {
            simulator.clear_faults();
            Ok(value(json!({})))
        }
        (&Method::GET, path) => match path.strip_prefix("/truth/") {
            Some(table) => truth(simulator, table, &query),
            None => Err((StatusCode::NOT_FOUND, format!("no such thing: {path}"))),
        },
        (method, path) => Err((StatusCode::NOT_FOUND, format!("no such thing: {method} {path}"))),
    };
    let response = answered.unwrap_or_else(|(status, message)| {
        let mut response = value(json!({ "error": message }));
        *response.status_mut() = status;
        response
    });
    stamp(simulator, response)
}

fn value(value: Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn bad(message: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.into())
}

fn index() -> Value {
    json!({
        "GET /_sim/clock": "the simulated time",
        "GET /_sim/counts": "live records of each table",
        "GET /_sim/truth/{table}?at=&format=lines|envelope": "every live record of a table, with all fields",
        "GET /_sim/requests": "requests by operation, by status and by method",
        "GET /_sim/log": "the last requests; DELETE forgets them",
        "POST /_sim/advance?edits=": "makes edits and says what was done",
        "POST /_sim/life?rate=": "edits a second from now on; 0 stops",
        "POST /_sim/edit?kind=&gid=&text=":
            "one edit: rename_user, rename_project, rename_tag, rename_task, touch_task, delete_task, undelete_task, archive_project, delete_project, comment, delete_story",
        "POST /_sim/events?lose=&expire=": "the share of events that are lost from now on; 1 expires all sync tokens",
        "POST /_sim/offsets?expire=": "1 expires all offset tokens",
        "POST /_sim/tokens?issue=&revoke=": "one more token of the service account; one that is good no more",
        "GET, POST, DELETE /_sim/faults": "what goes wrong",
        "tables": truth::TABLES,
    })
}

fn clock(simulator: &Simulator) -> Value {
    let shared = simulator.shared();
    json!({
        "now": time::moment(shared.clock.now()),
        "epoch": time::moment(shared.clock.epoch()),
        "seed": shared.options.seed,
        "size": shared.options.size.to_string(),
        "organization": simulator.organization(),
    })
}

fn requests(simulator: &Simulator) -> Value {
    let desk = simulator.desk();
    json!({ "operations": desk.log.operations, "statuses": desk.log.statuses, "methods": desk.log.methods })
}

fn advance(simulator: &Simulator, query: &Query) -> Answered {
    let edits = query.get("edits").unwrap_or("1").parse().map_err(|_| bad("edits: not a number"))?;
    Ok(value(json!(simulator.advance(edits))))
}

fn life(simulator: &Simulator, query: &Query) -> Answered {
    let rate: f64 = query.get("rate").unwrap_or("0").parse().map_err(|_| bad("rate: not a number"))?;
    simulator.live_at(Some(rate));
    Ok(value(json!({ "rate": rate })))
}

fn events(simulator: &Simulator, query: &Query) -> Answered {
    let lose: Option<f64> =
        query.get("lose").map(str::parse).transpose().map_err(|_| bad("lose: not a number"))?;
    if lose.is_some() {
        simulator.lose_events(lose);
    }
    if query.flag("expire").map_err(|refusal| bad(refusal.message))?.unwrap_or_default() {
        simulator.expire_sync_tokens();
    }
    Ok(value(json!({})))
}

fn offsets(simulator: &Simulator, query: &Query) -> Answered {
    if query.flag("expire").map_err(|refusal| bad(refusal.message))?.unwrap_or_default() {
        simulator.expire_offsets();
    }
    Ok(value(json!({})))
}

fn tokens(simulator: &Simulator, query: &Query) -> Response {
    if let Some(token) = query.get("issue") {
        simulator.issue_token(token);
    }
    if let Some(token) = query.get("revoke") {
        simulator.revoke_token(token);
    }
    value(json!({}))
}

fn edit(simulator: &Simulator, query: &Query) -> Answered {
    let text = query.get("text").unwrap_or_default();
    let (kind, gid) = (query.get("kind").unwrap_or_default(), query.get("gid").unwrap_or_default());
    match simulator.edit(kind, gid, text) {
        Some(edit) => Ok(value(json!(edit))),
        None => Err(bad(format!("no such edit or no such live record: {kind} {gid}"))),
    }
}

fn fault(simulator: &Simulator, body: &[u8]) -> Answered {
    let fault: Fault = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let id = simulator.desk().faults.add(fault);
    Ok(value(json!({ "id": id })))
}

fn truth(simulator: &Simulator, table: &str, query: &Query) -> Answered {
    if !truth::TABLES.contains(&table) {
        return Err((StatusCode::NOT_FOUND, format!("no such table: {table}")));
    }
    let at = match query.get("at") {
        Some(text) => time::parse(text).ok_or_else(|| bad(format!("at: not a moment: {text}")))?,
        None => LATEST,
    };
    let envelope = query.get("format") == Some("envelope");
    let rows = truth::rows(&simulator.nature().world, table, at);
    let truth = Truth { simulator: simulator.clone(), at, rows, next: 0, envelope, ended: false };
    let mut response = Response::new(Body::from_stream(truth));
    let kind = if envelope { "application/json" } else { "application/x-ndjson" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// The truth of a table, written bit by bit.
struct Truth {
    simulator: Simulator,
    at: Ms,
    rows: Vec<Row>,
    next: usize,
    envelope: bool,
    ended: bool,
}

impl Stream for Truth {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut out = Vec::new();
        let (from, to) = (self.next, self.rows.len().min(self.next + ROWS));
        if self.envelope && from == 0 {
            out.extend_from_slice(b"{\"data\":[");
        }
        {
            let nature = self.simulator.nature();
            let view = oracle(&nature.world, self.at);
            for (place, row) in self.rows[from..to].iter().enumerate() {
                if self.envelope && from + place > 0 {
                    out.push(b',');
                }
                truth::write(&view, *row, &mut out);
                if !self.envelope {
                    out.push(b'\n');
                }
            }
        }
        self.next = to;
        if to == self.rows.len() {
            self.ended = true;
            if self.envelope {
                out.extend_from_slice(b"]}");
            }
        }
        Poll::Ready(Some(Ok(out.into())))
    }
}
