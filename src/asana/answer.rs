//! What Asana answered: records byte for byte, or a refusal.
//!
//! Rule: an answer is strict. An envelope without `data`, or with `data` of the wrong kind, was cut or altered on its
//! way and is worth another try; it is never an empty list. Of `next_page` only `offset` is used: following its `uri`
//! could carry the token to another host.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};

/// Longest phrase of a refusal, in characters: it comes from outside and is stored in gaps.
const PHRASE_CHARACTERS: usize = 300;
/// Longest token that says where a listing or an event stream goes on, in bytes: it is kept, and sent back. Asana's have
/// a few hundred.
const LONGEST_TOKEN: usize = 8 << 10;

/// What came of asking for one object.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Asana has it.
    Found(Found),
    /// Asana does not give it, or gave no usable answer although asked again.
    Refused(Refusal),
}

/// The `data` of one answer.
#[derive(Clone, Debug)]
pub struct Found {
    /// An object, or for a listing that has no pages a list, byte for byte as received.
    pub data: Box<RawValue>,
    /// When the request began, after it had waited for its turn.
    pub began_at: DateTime<Utc>,
    /// When the answer was there to its last byte.
    pub seen_at: DateTime<Utc>,
}

impl Found {
    /// The records of a listing that has no pages: every element of a list, or the one object itself.
    #[must_use]
    pub fn records(self) -> Vec<Box<RawValue>> {
        match serde_json::from_str(self.data.get()) {
            Ok(records) => records,
            Err(_) => vec![self.data],
        }
    }
}

/// Why there is no answer: the status and the words of Asana, as a gap keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, or 0 where no usable answer came.
    pub status: u16,
    /// Asana's message, its error phrase for a 500, or what was wrong with the connection.
    pub phrase: String,
    /// Asana's advice, if it gave some.
    pub help: Option<String>,
    /// With a 412: the fresh sync token that comes with it.
    pub sync: Option<String>,
}

/// What to do where Asana has not said anything.
const UNREACHED: &str = "see whether Asana can be reached from here: a proxy is named by HTTPS_PROXY, an authority of your \
                         own by `[network] ca_file`";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => write!(f, "no answer: {}", self.phrase),
            status => write!(f, "{status} {}", self.phrase),
        }
    }
}

impl Refusal {
    /// Whether Asana could not answer, so that nothing is known of what was asked.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.status == 0 || self.status >= 500
    }

    /// The error of whoever cannot go on without this answer: `kind` and `remedy` are for what Asana said itself.
    #[must_use]
    pub fn error(&self, kind: ErrorKind, remedy: &str) -> Error {
        if let Some(error) = self.redirected() {
            return error;
        }
        let (kind, remedy) =
            if self.is_unanswered() { (ErrorKind::Unavailable, UNREACHED) } else { (kind, remedy) };
        Error::new(kind, self.to_string()).remedy(remedy)
    }

    /// The same of a refusal to say who the token is.
    #[must_use]
    pub fn of_token(&self) -> Error {
        self.error(ErrorKind::Denied, "use the token of a service account of this organization")
            .doing("ask who the token is")
    }

    /// A refusal that no status of Asana explains.
    pub(super) fn without_answer(phrase: impl Into<String>) -> Self {
        Self { status: 0, phrase: phrase.into(), help: None, sync: None }
    }

    /// Reads Asana's `errors`; falls back on the name of the status.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let errors = serde_json::from_slice::<Errors>(body).ok();
        let (first, sync) = errors.map_or((None, None), |body| (body.errors.into_iter().next(), body.sync));
        let (said, help) = first.map_or((None, None), |first| match status {
            StatusCode::INTERNAL_SERVER_ERROR => (first.phrase.or(first.message), first.help),
            _ => (first.message.or(first.phrase), first.help),
        });
        let name = || status.canonical_reason().unwrap_or("no reason given").to_owned();
        let (phrase, help) = (plain(&said.unwrap_or_else(name)), help.as_deref().map(plain));
        let sync = sync.filter(|sync| (1..=LONGEST_TOKEN).contains(&sync.len()));
        Self { status: status.as_u16(), phrase, help, sync }
    }

    /// The error of what nothing can be read without, where Asana's address redirects.
    #[must_use]
    pub fn redirected(&self) -> Option<Error> {
        (300..400).contains(&self.status).then(|| {
            Error::new(ErrorKind::Config, format!("Asana's address {}", self.phrase))
                .remedy("use the address of the API itself, and no proxy that redirects")
        })
    }

    /// Whether Asana says that this was too much to ask for at once.
    pub(super) fn is_too_much(&self) -> bool {
        let phrase = || self.phrase.to_lowercase();
        self.status == 413 || (self.status == 400 && phrase().contains("too large"))
    }
}

/// What of a text from outside goes into gaps, logs and terminals.
fn plain(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(PHRASE_CHARACTERS).collect()
}

/// What [`Pages::next`](super::Pages::next) brings.
#[derive(Clone, Debug)]
pub enum Page {
    /// Some of the records.
    Found(Records),
    /// The listing ends here, unfinished.
    Refused(Refusal),
}

/// The records of one page.
#[derive(Clone, Debug)]
pub struct Records {
    /// The records, byte for byte as received.
    pub records: Vec<Box<RawValue>>,
    /// When the request began, after it had waited for its turn.
    pub began_at: DateTime<Utc>,
    /// When the answer was there to its last byte.
    pub seen_at: DateTime<Utc>,
    /// Where the listing goes on; none where it ends with this page.
    pub next_offset: Option<String>,
    /// Whether this is the first page once more, because the listing had to start again: records repeat from here.
    pub restarted: bool,
}

/// What came of asking an event stream.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The events since the token that was sent.
    Found(Events),
    /// The token was missing, too old or already left behind: what happened until `sync` was given is not told.
    Expired {
        /// The token to go on with.
        sync: String,
    },
    /// This token has no such stream, or there was no usable answer.
    Refused(Refusal),
}

/// One answer of an event stream.
#[derive(Clone, Debug)]
pub struct Events {
    /// The events, byte for byte as received.
    pub events: Vec<Box<RawValue>>,
    /// The token to go on with. Once it was used, the one before may be refused.
    pub sync: String,
    /// Whether more events wait already.
    pub has_more: bool,
}

/// The envelope of every good answer.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub data: &'a RawValue,
    pub next_offset: Option<String>,
    pub sync: Option<String>,
    pub has_more: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of an object or a list; the error says in a few words what is wrong with it.
    pub(super) fn read(body: &'a Bytes) -> Result<Self, &'static str> {
        let Ok(wire) = serde_json::from_slice::<WireEnvelope<'a>>(body) else {
            return Err("the answer is not the JSON of an answer");
        };
        if !wire.data.get().starts_with(['{', '[']) {
            return Err("the answer's data is neither an object nor a list");
        }
        match wire.next_page {
            Some(next) if next.offset.is_empty() => Err("the answer's next page has no offset"),
            Some(next) if next.offset.len() > LONGEST_TOKEN => Err("the answer's offset has no end"),
            next => Ok(Self {
                data: wire.data,
                next_offset: next.map(|next| next.offset),
                sync: wire.sync.filter(|sync| !sync.is_empty()),
                has_more: wire.has_more.unwrap_or(false),
            }),
        }
    }

    /// Reads the records of a page.
    pub(super) fn records(&self) -> Result<Vec<Box<RawValue>>, &'static str> {
        serde_json::from_str(self.data.get()).map_err(|_| "the answer's data is not a list")
    }

    /// Reads the answer of an event stream.
    pub(super) fn events(&self) -> Result<Events, &'static str> {
        let sync = self.sync.clone().filter(|sync| sync.len() <= LONGEST_TOKEN);
        let sync = sync.ok_or("the answer of the event stream has no token to go on with")?;
        Ok(Events { events: self.records()?, sync, has_more: self.has_more })
    }
}

#[derive(Deserialize)]
struct WireEnvelope<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    next_page: Option<WireNextPage>,
    sync: Option<String>,
    has_more: Option<bool>,
}

#[derive(Deserialize)]
struct WireNextPage {
    offset: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<WireError>,
    sync: Option<String>,
}

#[derive(Deserialize)]
struct WireError {
    message: Option<String>,
    help: Option<String>,
    phrase: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).expect("a valid status");
        Refusal::read(status, body.as_bytes()).phrase
    }

    #[test]
    fn a_refusal_keeps_what_asana_said() {
        assert_eq!(
            refused(404, r#"{"errors":[{"message":"task: Unknown object","help":"h"}]}"#),
            "task: Unknown object"
        );
        assert_eq!(
            refused(500, r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid"}]}"#),
            "6 sad squid"
        );
        assert_eq!(refused(502, "<html>"), "Bad Gateway");
        assert_eq!(refused(403, r#"{"errors":[]}"#), "Forbidden");
        assert_eq!(
            refused(403, &format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "é".repeat(999))),
            "é".repeat(300)
        );
        assert_eq!(refused(403, r#"{"errors":[{"message":"\u001b[2Jno\n\u009b"}]}"#), " [2Jno  ");
    }

    #[test]
    fn what_says_where_to_go_on_has_an_end() {
        let long = "x".repeat(LONGEST_TOKEN + 1);
        let body = Bytes::from(format!(r#"{{"data":[],"next_page":{{"offset":"{long}"}}}}"#));
        assert_eq!(Envelope::read(&body).expect_err("too long"), "the answer's offset has no end");
        let body = Bytes::from(format!(r#"{{"data":[],"sync":"{long}"}}"#));
        Envelope::read(&body).expect("an envelope").events().expect_err("too long");
        let expired = format!(r#"{{"errors":[{{"message":"no","help":"{long}"}}],"sync":"{long}"}}"#);
        let refusal = Refusal::read(StatusCode::PRECONDITION_FAILED, expired.as_bytes());
        assert_eq!((refusal.sync, refusal.help.map(|help| help.len())), (None, Some(PHRASE_CHARACTERS)));
    }

    #[test]
    fn data_is_kept_byte_for_byte() {
        let body = Bytes::from(r#"{"data": {"gid" : "1",  "n":1.0e1,"s":"\u00e9\/"} , "next_page":null}"#);
        let envelope = Envelope::read(&body).expect("a good envelope");
        assert_eq!(envelope.data.get(), r#"{"gid" : "1",  "n":1.0e1,"s":"\u00e9\/"}"#);
        assert_eq!(envelope.next_offset, None);
    }

    #[test]
    fn an_envelope_that_is_not_whole_is_no_answer() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"data":null}"#,
            r#"{"data":"x"}"#,
            r#"{"data":[1}"#,
            r#"{"data":[{"gid":"1"}]"#,
            r#"{"data":[],"next_page":{}}"#,
            r#"{"data":[],"next_page":{"offset":""}}"#,
            r#"{"data":[],"next_page":7}"#,
            "{\"data\":[\"\u{0}\"]}",
        ] {
            assert!(Envelope::read(&Bytes::from(body)).is_err(), "{body}");
        }
        let object = Bytes::from(r#"{"data":{}}"#);
        assert!(Envelope::read(&object).expect("a good envelope").records().is_err());
    }

    #[test]
    fn a_listing_without_pages_is_a_list_or_one_record() {
        let found = |data: &str| Found {
            data: RawValue::from_string(data.to_owned()).expect("JSON"),
            began_at: DateTime::UNIX_EPOCH,
            seen_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(found(r#"[{"gid":"1"}, {"gid":"2"}]"#).records()[1].get(), r#"{"gid":"2"}"#);
        assert_eq!(found(r#"{"gid":"1"}"#).records()[0].get(), r#"{"gid":"1"}"#);
    }
}
