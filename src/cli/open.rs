//! From settings to things that work: clients and repositories.

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::asana::{
    Client, ClientOptions, NetworkOptions, PaceOptions, Pacer, RetryOptions, Token, transport_over_network,
};
use crate::cli::arguments::Arguments;
use crate::clock::Clock;
use crate::config::{Config, Organization, StoreSettings, TokenSource};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::{Repository, Store};

/// The settings, and the organizations to work on.
pub(super) fn settings(arguments: &Arguments) -> Result<(Config, Vec<(String, Organization)>)> {
    let config = Config::find(arguments.config.as_deref())?;
    let chosen = config.chosen(&arguments.overrides())?;
    Ok((config, chosen))
}

/// The repositories to read, with a name for each: for what needs no Asana, a repository alone is enough.
pub(super) fn repositories(arguments: &Arguments) -> Result<Vec<(String, String, StoreSettings)>> {
    if let (Some(repository), None) = (&arguments.repository, &arguments.organization) {
        return Ok(vec![(repository.clone(), repository.clone(), StoreSettings::default())]);
    }
    let (_, chosen) = settings(arguments)?;
    Ok(chosen.into_iter().map(|(name, one)| (name, one.repository, one.store)).collect())
}

/// The store at `url`.
pub(super) fn store(url: &str, settings: &StoreSettings) -> Result<Store> {
    Store::open(url, settings)
}

/// The repository at `url`, which must exist.
pub(super) async fn repository(url: &str, settings: &StoreSettings) -> Result<Repository> {
    Repository::open(store(url, settings)?).await
}

/// Clients, one for each organization; those with the same token share its pace.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pacers: HashMap<String, Pacer>,
}

impl Clients {
    /// The client of one organization.
    pub(super) fn open(&mut self, config: &Config, organization: &Organization) -> Result<Client> {
        let source = organization.token()?;
        let token = match &source {
            TokenSource::File(path) => Token::from_file(path)?,
            TokenSource::Text(text) => Token::fixed(text)?,
        };
        let base_url = organization.base_url.parse().map_err(|cause| {
            Error::new(ErrorKind::Config, format!("base URL `{}`: {cause}", organization.base_url))
        })?;
        let shared = match source {
            TokenSource::File(path) => path.display().to_string(),
            TokenSource::Text(_) => String::new(),
        };
        let pacer = self.pacers.entry(shared).or_insert_with(|| pacer(config)).clone();
        Client::new(ClientOptions {
            base_url,
            token,
            transport: transport_over_network(&NetworkOptions::default())?,
            pacer,
            clock: Clock::wall(),
            retry: RetryOptions::default(),
            seed: ulid::Ulid::generate().0 as u64,
        })
    }
}

fn pacer(config: &Config) -> Pacer {
    let (in_flight, minute): (NonZeroU32, NonZeroU32) =
        (config.pace.in_flight, config.pace.requests_per_minute);
    Pacer::new(PaceOptions {
        per_minute: minute,
        in_flight,
        searches_per_minute: config.pace.searches_per_minute,
    })
}
