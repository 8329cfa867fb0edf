//! A whole listing, page by page.
//!
//! Rule: a listing is read to its end, or says that it was not: what stopped it comes as the last page. An offset that
//! expired starts the listing again, and the page says so. A page that is too much for Asana is asked for in halves.
//! Nothing here is endless: restarts, pages and halvings have limits.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::value::RawValue;
use tracing::warn;

use crate::asana::answer::{Page, Records, Refusal};
use crate::asana::client::Client;
use crate::asana::exchange::Reading;
use crate::asana::http::{Ask, Reply};
use crate::asana::pace::Queue;
use crate::error::Result;

/// Records on a page: the most Asana gives ("Pagination", read 2026-06).
const PAGE_SIZE: u32 = 100;
/// Below this a smaller page costs more requests than it spares.
const LEAST_PAGE_SIZE: u32 = 10;
/// How often a listing may start again: an offset lives long enough for a page, so more mean that it never ends.
const RESTARTS: u32 = 5;
/// Pages of one listing: ten million records, and more than a day of all requests.
const PAGES: u32 = 100_000;

type List = Vec<Box<RawValue>>;

/// Reads one listing. Dropping the future of [`Self::next`] loses no page: it is asked for again.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    operation: &'static str,
    path: String,
    query: Vec<(String, String)>,
    size: u32,
    halved: bool,
    offset: Option<String>,
    /// Digests of the offsets since the start: one that comes again would lead in a circle.
    seen: HashSet<u64>,
    pages: u32,
    restarts: u32,
    restarted: bool,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Reached,
    Refused(Refusal),
}

impl Pages {
    pub(super) fn new(
        client: Client,
        operation: &'static str,
        path: String,
        mut query: Vec<(String, String)>,
    ) -> Self {
        let asked = query.iter().position(|(name, _)| name == "limit").map(|at| query.swap_remove(at).1);
        let size = asked.and_then(|size| size.parse().ok()).unwrap_or(PAGE_SIZE);
        Self {
            client,
            operation,
            path,
            query,
            size,
            halved: false,
            offset: None,
            seen: HashSet::new(),
            pages: 0,
            restarts: 0,
            restarted: false,
            end: None,
        }
    }

    /// The same listing from `offset` on; should that have expired, from its beginning.
    #[must_use]
    pub fn from(mut self, offset: Option<String>) -> Self {
        self.offset = offset;
        self
    }

    /// The next page, or `None` after the last one or after a refusal.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        loop {
            match self.end.take() {
                None => {}
                Some(End::Refused(refusal)) => {
                    self.end = Some(End::Reached);
                    return Ok(Some(Page::Refused(refusal)));
                }
                reached => {
                    self.end = reached;
                    return Ok(None);
                }
            }
            match self.ask().await? {
                Reply::Read(reading) => return Ok(Some(self.turn(reading))),
                Reply::TooMuch(_) => self.halve(),
                Reply::Refused(refusal) if self.has_expired(&refusal) => self.restart(),
                Reply::Refused(refusal) => self.end = Some(End::Refused(refusal)),
            }
        }
    }

    async fn ask(&self) -> Result<Reply<List>> {
        let mut query = self.query.clone();
        query.push(("limit".to_owned(), self.size.to_string()));
        query.extend(self.offset.iter().map(|offset| ("offset".to_owned(), offset.clone())));
        let ask = Ask {
            operation: self.operation,
            path: &self.path,
            query: &query,
            queue: Queue::All,
            can_shrink: self.size > LEAST_PAGE_SIZE,
            is_heavy: self.halved,
            identifies: false,
        };
        self.client.send(&ask, |envelope| envelope.records()).await
    }

    fn turn(&mut self, reading: Reading<List>) -> Page {
        self.pages += 1;
        self.offset = reading.next_offset;
        self.end = match &self.offset {
            None => Some(End::Reached),
            Some(offset) if !self.seen.insert(digest(offset)) => {
                Some(End::Refused(Refusal::without_answer("the listing leads in a circle")))
            }
            Some(_) if self.pages >= PAGES => Some(End::Refused(Refusal::without_answer(format!(
                "the listing has more than {PAGES} pages"
            )))),
            Some(_) => None,
        };
        Page::Found(Records {
            records: reading.data,
            began_at: reading.began_at,
            seen_at: reading.seen_at,
            next_offset: self.offset.clone(),
            restarted: std::mem::take(&mut self.restarted),
        })
    }

    /// Whether the refusal means that the offset is too old, and the listing may start again.
    fn has_expired(&self, refusal: &Refusal) -> bool {
        refusal.status == 400 && self.offset.is_some() && self.restarts < RESTARTS
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.pages = 0;
        self.seen.clear();
        self.offset = None;
        self.restarted = true;
        warn!(
            operation = self.operation,
            path = self.path,
            restart = self.restarts,
            "offset expired, listing again"
        );
    }

    fn halve(&mut self) {
        self.size = (self.size / 2).max(LEAST_PAGE_SIZE);
        self.halved = true;
        // An offset may be refused under another limit; that is not the listing's fault.
        self.restarts = 0;
        warn!(
            operation = self.operation,
            path = self.path,
            limit = self.size,
            "page was too much, asking for less"
        );
    }
}

fn digest(offset: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    offset.hash(&mut hasher);
    hasher.finish()
}
