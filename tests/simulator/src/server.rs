//! Answers requests: faults first, then the token, the limits, the operation, and the log.
//!
//! Rule: the control API under `/_sim` needs no token, knows no limits and no faults, and is not logged.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use crate::api::access::Who;
use crate::api::query::Query;
use crate::api::{Call, Refusal, routes};
use crate::control;
use crate::faults::{Fault, FaultKind};
use crate::log::LoggedRequest;
use crate::random::mix;
use crate::records::View;
use crate::serve::{self, Severed};
use crate::simulator::Simulator;
use crate::time::LATEST;

/// Where the API lives.
pub(crate) const BASE: &str = "/api/1.0";

/// The phrases of Asana's errors on its own side.
const PHRASES: &[&str] =
    &["6 sad squid snuggle softly", "13 hungry otters hum loudly", "4 red pandas argue politely"];

/// Everything under one roof.
pub(crate) fn router(simulator: Simulator) -> Router {
    Router::new().fallback(answer).with_state(simulator)
}

async fn answer(State(simulator): State<Simulator>, request: Request) -> Response {
    if request.uri().path().starts_with(control::BASE) {
        return control::answer(&simulator, request).await;
    }
    let (parts, _) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let path = parts.uri.path().strip_prefix(BASE).unwrap_or_default();
    let fault = simulator.desk().faults.strike(simulator.shared().options.seed, parts.method.as_str(), path);
    let delay = Duration::from_millis(fault.as_ref().map_or(0, |fault| fault.delay_ms));
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let who = bearer(&parts.headers).and_then(|token| simulator.who(token));
    let route = routes::find(path);
    let operation = route.as_ref().map(|(route, _)| route.operation);
    let outcome = match fault.as_ref().map(|fault| &fault.kind) {
        Some(FaultKind::Status { status, retry_after }) => Err(Box::new(broken(*status, *retry_after))),
        Some(FaultKind::Reset) => Err(Box::new(reset(&parts))),
        _ => let_in(&simulator, &parts, who).await,
    };
    let response = match outcome {
        Ok(body) => wreck(fault.as_ref(), body),
        Err(response) => *response,
    };
    let severed = response.extensions().get::<Severed>().is_some();
    log(
        &simulator,
        &parts.method,
        target,
        operation,
        if severed { 0 } else { response.status().as_u16() },
        who,
    );
    stamp(&simulator, response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn log(
    simulator: &Simulator,
    method: &Method,
    target: String,
    operation: Option<&'static str>,
    status: u16,
    who: Option<Who>,
) {
    let request = LoggedRequest {
        at: simulator.now(),
        method: method.to_string(),
        target,
        operation,
        status,
        token: who.map_or("none", Who::name),
    };
    simulator.desk().log.add(request);
}

/// Everything between the token and the body.
async fn let_in(
    simulator: &Simulator,
    parts: &axum::http::request::Parts,
    who: Option<Who>,
) -> Result<Vec<u8>, Box<Response>> {
    let Some(who) = who else { return Err(Box::new(refuse(&Refusal::not_authorized(), None))) };
    let _place = Place::take(simulator, parts).map_err(|wait| Box::new(broken(429, Some(wait))))?;
    let latency = simulator.shared().options.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    operate(simulator, parts, who).map_err(|refusal| Box::new(refuse(&refusal, None)))
}

/// A request's place among those in flight; given back when it has its answer or its caller went away.
struct Place {
    simulator: Simulator,
    token: Option<String>,
}

impl Place {
    fn take(simulator: &Simulator, parts: &axum::http::request::Parts) -> Result<Self, u64> {
        let token = match &simulator.shared().options.limits {
            None => None,
            Some(limits) => {
                let token = bearer(&parts.headers).unwrap_or_default();
                let seconds = simulator.shared().clock.elapsed().as_secs_f64();
                let search = parts.uri.path().ends_with("/tasks/search");
                simulator.desk().meter.enter(limits, token, search, seconds)?;
                Some(token.to_owned())
            }
        };
        Ok(Self { simulator: simulator.clone(), token })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.simulator.desk().meter.leave(token);
        }
    }
}

/// Runs the operation.
fn operate(simulator: &Simulator, parts: &axum::http::request::Parts, who: Who) -> Result<Vec<u8>, Refusal> {
    let path = parts.uri.path().strip_prefix(BASE).unwrap_or_default();
    if parts.method != Method::GET {
        let message = "This simulator plays the reading half of the API; its control API changes things.";
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let Some((route, args)) = routes::find(path) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "No matching route for request"));
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let (serial, offsets) = {
        let mut desk = simulator.desk();
        desk.serial += 1;
        (desk.serial, desk.offsets)
    };
    let shared = simulator.shared();
    let nature = simulator.nature();
    let world = &nature.world;
    let me = match who {
        Who::Service => world.robot,
        Who::Person(user) => user,
    };
    let view = View { world, at: LATEST, me, signature: Some(mix(world.seed, 0x51c7, serial)) };
    let base = base(&parts.headers);
    let now = shared.clock.now();
    let (rules, streams, query) = (&shared.rules, &shared.streams, &query);
    let call = Call { view, who, rules, now, serial, streams, offsets, args, query, path, base: &base };
    call.query.limit()?;
    call.write(&(route.answer)(&call)?)
}

/// Where the caller reaches the API.
fn base(headers: &HeaderMap) -> String {
    match headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("http://{host}{BASE}"),
        None => format!("https://app.asana.com{BASE}"),
    }
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn refuse(refusal: &Refusal, phrase: Option<&str>) -> Response {
    json(refusal.status, refusal.body(phrase))
}

/// A refusal by status alone.
fn broken(status: u16, retry_after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = match status.as_u16() {
        401 => "Not Authorized".to_owned(),
        429 => format!(
            "You have made too many requests recently. Please, be chill. Retry after {} seconds.",
            retry_after.unwrap_or(1)
        ),
        500 => "Server Error".to_owned(),
        _ => status.canonical_reason().unwrap_or("Error").to_owned(),
    };
    let phrase = PHRASES[usize::from(status.as_u16()) % PHRASES.len()];
    let mut response = refuse(&Refusal::new(status, message), (status.as_u16() == 500).then_some(phrase));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer that never comes: the connection is reset.
fn reset(parts: &axum::http::request::Parts) -> Response {
    serve::sever(&parts.extensions);
    let mut response = json(StatusCode::OK, serve::cut(Vec::new()));
    response.extensions_mut().insert(Severed);
    response
}

/// The answer, whole or as a fault leaves it.
fn wreck(fault: Option<&Fault>, body: Vec<u8>) -> Response {
    match fault.map(|fault| &fault.kind) {
        Some(FaultKind::CutBody) => {
            let length = HeaderValue::from(body.len());
            let half = body[..body.len() / 2].to_vec();
            let mut response = json(StatusCode::OK, serve::cut(half));
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            response
        }
        Some(FaultKind::WrongJson) => json(StatusCode::OK, "{\"data\":[{\"gid\":\"12"),
        _ => json(StatusCode::OK, body),
    }
}

/// The date is the simulator's, not the machine's.
pub(crate) fn stamp(simulator: &Simulator, mut response: Response) -> Response {
    let date = simulator.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}
