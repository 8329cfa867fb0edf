//! From settings to things that work: clients, stores and repositories.
//!
//! Rule: clients with the same token share it and its pace, for as long as the process lives.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use url::Url;

use crate::asana::{
    Client, ClientOptions, NetworkOptions, PaceOptions, Pacer, RetryOptions, Token, transport_over_network,
};
use crate::clock::Clock;
use crate::config::address::{secret_of, shown};
use crate::config::{Config, Organization, Pace, StoreSettings, TokenSource};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::{Repository, Store};
use crate::telemetry::Outlets;

/// The repository at `url`, which must exist.
pub(crate) async fn repository(url: &str, settings: &StoreSettings) -> Result<Repository> {
    Repository::open(Store::open(url, settings)?).await
}

type OpensClient = dyn Fn(&Config, &Organization, &Clock) -> Result<Client> + Send + Sync;
type OpensStore = dyn for<'a> Fn(&'a Organization) -> BoxFuture<'a, Result<Store>> + Send + Sync;

/// What lies outside of the program: Asana, the stores, the time. Clones reach the same.
#[derive(Clone)]
pub struct Outside {
    clock: Clock,
    client: Arc<OpensClient>,
    store: Arc<OpensStore>,
    outlets: Option<Outlets>,
}

impl Outside {
    /// The world as it is, reached as the settings say.
    #[must_use]
    pub fn real() -> Self {
        let clients = Clients::default();
        Self::new(
            Clock::wall(),
            move |config, organization, clock| clients.open(config, organization, clock),
            |organization| Box::pin(async { Store::open(&organization.repository, &organization.store) }),
        )
    }

    /// A world of the caller's.
    pub fn new(
        clock: Clock,
        client: impl Fn(&Config, &Organization, &Clock) -> Result<Client> + Send + Sync + 'static,
        store: impl for<'a> Fn(&'a Organization) -> BoxFuture<'a, Result<Store>> + Send + Sync + 'static,
    ) -> Self {
        Self { clock, client: Arc::new(client), store: Arc::new(store), outlets: None }
    }

    /// The same world, which is told how jobs go.
    #[must_use]
    pub fn telling(self, outlets: Outlets) -> Self {
        Self { outlets: Some(outlets), ..self }
    }

    /// Where to tell how jobs go.
    #[must_use]
    pub fn outlets(&self) -> Option<&Outlets> {
        self.outlets.as_ref()
    }

    /// Tells the time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The client of one organization, which goes by `clock`.
    pub fn client(&self, config: &Config, organization: &Organization, clock: &Clock) -> Result<Client> {
        (self.client)(config, organization, clock)
    }

    /// The store of one organization.
    pub async fn store(&self, organization: &Organization) -> Result<Store> {
        (self.store)(organization).await
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// Clients, one for each organization; those with the same token share it, and its pace.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// By the file that the token comes from; none is the environment.
    known: Mutex<HashMap<Option<PathBuf>, Known>>,
}

/// A token, and what keeps its pace.
#[derive(Clone, Debug)]
struct Known {
    token: Token,
    pace: Pace,
    pacer: Pacer,
}

impl Clients {
    /// The client of one organization, which goes by `clock`.
    pub(crate) fn open(&self, config: &Config, organization: &Organization, clock: &Clock) -> Result<Client> {
        let base_url = base_url(&organization.base_url)?;
        let Known { token, pacer, .. } = self.known(&organization.token()?, &config.pace)?;
        let network = NetworkOptions { ca_file: config.network.ca_file.clone(), ..NetworkOptions::default() };
        Client::new(ClientOptions {
            base_url,
            token,
            transport: transport_over_network(&network)?,
            pacer,
            clock: clock.clone(),
            retry: RetryOptions::default(),
            seed: ulid::Ulid::generate().0 as u64,
        })
    }

    fn known(&self, source: &TokenSource, pace: &Pace) -> Result<Known> {
        let file = match source {
            TokenSource::File(path) => Some(path.clone()),
            TokenSource::Text(_) => None,
        };
        // A panic elsewhere leaves tokens and pacers behind, not a broken invariant.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let token = match (known.get(&file), source) {
            // Settings that say another pace get another pacer.
            (Some(known), _) if known.pace == *pace => return Ok(known.clone()),
            (Some(known), _) => known.token.clone(),
            (None, TokenSource::File(path)) => Token::from_file(path)?,
            (None, TokenSource::Text(text)) => Token::fixed(text)?,
        };
        let fresh = Known { token, pace: pace.clone(), pacer: pacer(pace) };
        known.insert(file, fresh.clone());
        Ok(fresh)
    }
}

/// Where Asana is. An address that may hold a secret is refused, and not repeated.
fn base_url(text: &str) -> Result<Url> {
    let refuse = |why: String| {
        Error::new(ErrorKind::Config, format!("base URL `{}`: {why}", shown(text)))
            .remedy("write it like https://app.asana.com/api/1.0")
    };
    let url = Url::parse(text).map_err(|cause| refuse(cause.to_string()))?;
    match secret_of(&url) {
        Some(secret) => Err(refuse(format!("it holds {secret}"))),
        None => Ok(url),
    }
}

fn pacer(pace: &Pace) -> Pacer {
    Pacer::new(PaceOptions {
        per_minute: pace.requests_per_minute,
        in_flight: pace.in_flight,
        searches_per_minute: pace.searches_per_minute,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_that_may_hold_a_secret_is_refused_and_not_repeated() {
        for text in [
            "https://me:canary@host/api/1.0",
            "https://canary@host/api/1.0",
            "https://host/api/1.0?key=canary",
            "https://host/api/1.0#canary",
            "https://me:canary@ho st/api/1.0",
        ] {
            let error = base_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
        base_url("https://app.asana.com/api/1.0").expect("Asana's own");
    }
}
