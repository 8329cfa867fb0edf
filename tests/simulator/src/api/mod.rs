//! Asana's API 1.0: the operations, what they answer, and how they refuse.
//!
//! Rule: an operation decides *which* records answer; [`crate::records`] decides how they look. Paging, `opt_fields`
//! and refusals are the same for all of them and live here once.

pub(crate) mod access;
pub(crate) mod lists;
pub(crate) mod offset;
pub(crate) mod query;
pub(crate) mod routes;
pub(crate) mod search;
pub(crate) mod singles;

use std::sync::Mutex;

use axum::http::StatusCode;
use serde_json::json;

use self::access::Who;
use self::query::Query;
use crate::events::answer::{self, Told};
use crate::events::sync::Streams;
use crate::gid::{self, Kind};
use crate::json::{self, COMPACT, FULL, Select};
use crate::options::Rules;
use crate::records::{Ref, View};
use crate::time::Ms;

/// The most rows a list answers that was asked for without `limit`.
const TRUNCATED_AT: usize = 1_000;

/// A refusal, in Asana's words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// A fresh sync token, with a 412.
    pub(crate) sync: Option<String>,
}

impl Refusal {
    /// A refusal with this status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), sync: None }
    }

    /// 400: malformed.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: a token that is unknown or revoked.
    pub(crate) fn not_authorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Not Authorized")
    }

    /// 404: gone, or never was.
    pub(crate) fn missing(what: &str, text: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what}: Unknown object: {text}"))
    }

    /// 403: there, but not for this token.
    pub(crate) fn forbidden(what: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("{what}: You do not have access to this object"))
    }

    /// The body Asana gives it.
    pub(crate) fn body(&self, phrase: Option<&str>) -> Vec<u8> {
        if let Some(sync) = &self.sync {
            return json!({ "errors": [{ "message": self.message }], "sync": sync }).to_string().into_bytes();
        }
        let mut error = json!({
            "message": self.message,
            "help": "For more information on API status codes and how to handle them, read the docs on errors: \
                     https://developers.asana.com/docs/errors",
        });
        if let Some(phrase) = phrase {
            error["phrase"] = phrase.into();
        }
        json!({ "errors": [error] }).to_string().into_bytes()
    }
}

/// What an operation answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One record, in full unless `opt_fields` says otherwise.
    One(Ref),
    /// A list in pages; compact unless `opt_fields` says otherwise.
    Paged(Kind, Vec<u32>),
    /// A list whose records are full without `opt_fields`.
    PagedFull(Kind, Vec<u32>),
    /// A list without pages.
    Whole(Kind, Vec<u32>),
    /// How many tasks a project has.
    TaskCounts(u32),
    /// Events, and the token that goes on after them.
    Events(Told),
}

/// One request to an operation.
pub(crate) struct Call<'a> {
    pub(crate) view: View<'a>,
    pub(crate) who: Who,
    pub(crate) rules: &'a Rules,
    pub(crate) now: Ms,
    /// The number of the request.
    pub(crate) serial: u64,
    /// The streams of events somebody follows.
    pub(crate) streams: &'a Mutex<Streams>,
    /// How often all offset tokens were declared expired.
    pub(crate) offsets: u64,
    /// What stood in the braces of the path.
    pub(crate) args: Vec<&'a str>,
    pub(crate) query: &'a Query,
    /// The path below `/api/1.0`.
    pub(crate) path: &'a str,
    /// Where the API is, as the caller wrote it.
    pub(crate) base: &'a str,
}

impl Call<'_> {
    /// The number of the thing of this kind that the text names.
    pub(crate) fn id(&self, kind: Kind, text: &str) -> Result<u32, Refusal> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::bad(format!("{}: Not a Long: {text}", kind.resource_type())));
        }
        match gid::read(self.view.world.seed, text) {
            Some((found, id)) if found == kind => Ok(id as u32),
            _ => Err(Refusal::missing(kind.resource_type(), text)),
        }
    }

    /// Writes the answer as the body of a 200.
    pub(crate) fn write(&self, answer: &Answer) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::with_capacity(4_096);
        out.extend_from_slice(b"{\"data\":");
        match answer {
            Answer::One(row) => self.view.record(*row, self.query.select(FULL), &mut out),
            Answer::TaskCounts(project) => {
                crate::records::task_counts(&self.view, *project, self.query.select(COMPACT), &mut out);
            }
            Answer::Whole(kind, ids) => {
                let limit = self.query.limit()?.unwrap_or(usize::MAX);
                self.rows(*kind, &ids[..ids.len().min(limit)], COMPACT, &mut out);
            }
            Answer::Events(told) => answer::write(&self.view, told, self.query.select(COMPACT), &mut out),
            Answer::Paged(kind, ids) => self.page(*kind, ids, COMPACT, &mut out)?,
            Answer::PagedFull(kind, ids) => self.page(*kind, ids, FULL, &mut out)?,
        }
        out.push(b'}');
        Ok(self.query.pretty(out))
    }

    fn rows(&self, kind: Kind, ids: &[u32], default: &'static Select, out: &mut Vec<u8>) {
        let select = self.query.select(default);
        json::array(out, ids, |out, id| self.view.record(Ref { kind, id: *id }, select, out));
    }

    /// One page of a list, and where the next one begins.
    fn page(
        &self,
        kind: Kind,
        ids: &[u32],
        default: &'static Select,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let limit = self.query.limit()?;
        let from = match self.query.get("offset") {
            Some(token) => offset::read(self, token)?,
            None => 0,
        };
        let size = match (limit, self.query.get("offset")) {
            (Some(limit), _) => limit,
            (None, Some(_)) => 100,
            (None, None) => TRUNCATED_AT,
        };
        let from = from.min(ids.len());
        let to = ids.len().min(from + size);
        self.rows(kind, &ids[from..to], default, out);
        if limit.is_none() && self.query.get("offset").is_none() {
            return Ok(());
        }
        out.extend_from_slice(b",\"next_page\":");
        if to == ids.len() {
            json::null(out);
            return Ok(());
        }
        let token = offset::write(self, to);
        let path = format!("{}?{}", self.path, self.query.with_offset(&token));
        let next = json!({ "offset": token, "path": path, "uri": format!("{}{path}", self.base) });
        out.extend_from_slice(next.to_string().as_bytes());
        Ok(())
    }
}
