//! The client: what the rest of the program asks Asana with.
//!
//! Rule: a client holds the token, so it speaks to one base URL only, encrypted unless that is this very machine.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;
use url::{Host, Url};

use crate::asana::answer::{Answer, Found, Heard, Page, Records};
use crate::asana::http::{self, Ask, Reply, RetryOptions};
use crate::asana::identity::{self, Identity};
use crate::asana::network::Transport;
use crate::asana::pace::{Pacer, Queue};
use crate::asana::pages::Pages;
use crate::asana::statistics::{Books, Statistics};
use crate::asana::token::Token;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// What a client is made of.
#[derive(Debug)]
pub struct ClientOptions {
    /// Where the API begins: `https://app.asana.com/api/1.0`.
    pub base_url: Url,
    /// Who asks.
    pub token: Token,
    /// How requests travel.
    pub transport: Transport,
    /// When they leave; shared by all clients with the same token.
    pub pacer: Pacer,
    /// Tells when an answer came.
    pub clock: Clock,
    /// How often, and how patiently, to ask again.
    pub retry: RetryOptions,
    /// Decides the jitter of waits.
    pub seed: u64,
}

/// Reads from Asana. Clones share the statistics.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub(super) struct Inner {
    pub options: ClientOptions,
    pub books: Books,
    pub identity: Identity,
}

/// What a client is doing right now, for a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Requests this client has sent.
    pub requests: u64,
    /// Requests in flight, of all clients that share the pacer.
    pub in_flight: u32,
    /// Requests sent in the last minute by all clients that share the pacer.
    pub last_minute: usize,
    /// Requests a minute that are believed to be allowed.
    pub limit: u32,
    /// How long no request may leave from now on, because Asana asked for patience.
    pub stands_still: Option<Duration>,
}

impl Client {
    /// A client. Refuses a base URL to which the token would travel in clear.
    pub fn new(mut options: ClientOptions) -> Result<Self> {
        let base = &mut options.base_url;
        if base.scheme() != "https" && !(base.scheme() == "http" && is_loopback(base)) {
            return Err(Error::new(ErrorKind::Config, "the token would travel unencrypted")
                .doing(format!("use {} as the address of Asana", base.origin().ascii_serialization()))
                .remedy("use an address that begins with https://"));
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self(Arc::new(Inner { options, books: Books::default(), identity: Identity::default() })))
    }

    /// Asks who the token is (`/users/me`), and holds every later request to that: a token of somebody else that takes
    /// its place meanwhile ends them with Conflict.
    pub async fn identify(&self) -> Result<Answer> {
        identity::identify(&self.0).await
    }

    /// Asks for one object, or for a listing that has no pages.
    pub async fn get(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Answer> {
        let ask = Ask {
            operation,
            path,
            query,
            queue: Queue::All,
            can_shrink: false,
            is_heavy: false,
            identifies: false,
        };
        Ok(match self.send(&ask, |envelope| Ok(envelope.data.to_owned())).await? {
            Reply::Read(reading) => Answer::Found(Found {
                data: reading.data,
                began_at: reading.began_at,
                seen_at: reading.seen_at,
            }),
            Reply::Refused(refusal) | Reply::TooMuch(refusal) => Answer::Refused(refusal),
        })
    }

    /// Asks for one page of a search, which has a limit of its own and no further pages.
    pub async fn search(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Page> {
        let ask = Ask {
            operation,
            path,
            query,
            queue: Queue::Search,
            can_shrink: false,
            is_heavy: false,
            identifies: false,
        };
        Ok(match self.send(&ask, |envelope| envelope.records()).await? {
            Reply::Read(reading) => Page::Found(Records {
                records: reading.data,
                began_at: reading.began_at,
                seen_at: reading.seen_at,
                next_offset: None,
                restarted: false,
            }),
            Reply::Refused(refusal) | Reply::TooMuch(refusal) => Page::Refused(refusal),
        })
    }

    /// Asks an event stream what happened since `sync`; without it, for the first token.
    pub async fn events(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(String, String)],
        sync: Option<&str>,
    ) -> Result<Heard> {
        let mut query = query.to_vec();
        query.extend(sync.map(|sync| ("sync".to_owned(), sync.to_owned())));
        let ask = Ask {
            operation,
            path,
            query: &query,
            queue: Queue::All,
            can_shrink: false,
            is_heavy: false,
            identifies: false,
        };
        Ok(match self.send(&ask, |envelope| envelope.events()).await? {
            Reply::Read(reading) => Heard::Found(reading.data),
            Reply::Refused(refusal) | Reply::TooMuch(refusal) => match refusal.sync {
                Some(sync) if refusal.status == 412 => Heard::Expired { sync },
                _ => Heard::Refused(refusal),
            },
        })
    }

    /// A whole listing, page by page. Adds `limit` where the query has none.
    #[must_use]
    pub fn pages(&self, operation: &'static str, path: String, query: Vec<(String, String)>) -> Pages {
        Pages::new(self.clone(), operation, path, query)
    }

    /// What this client has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.books.open().clone()
    }

    /// What this client is doing right now.
    #[must_use]
    pub fn live(&self) -> Live {
        let gauge = self.0.options.pacer.gauge();
        Live {
            requests: self.0.books.open().requests(),
            in_flight: gauge.in_flight,
            last_minute: gauge.last_minute,
            limit: gauge.limit,
            stands_still: gauge.stands_still,
        }
    }

    pub(super) async fn send<T>(&self, ask: &Ask<'_>, decode: http::Decode<T>) -> Result<Reply<T>> {
        let doing = |error: Error| error.doing(format!("ask Asana for {} ({})", ask.path, ask.operation));
        let span = tracing::debug_span!("request", operation = ask.operation, path = ask.path);
        http::send(&self.0, ask, decode).instrument(span).await.map_err(doing)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base_url", &self.0.options.base_url.as_str()).finish_non_exhaustive()
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
        None => false,
    }
}
