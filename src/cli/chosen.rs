//! What a person chose: settings, organizations, repositories.

use crate::cli::arguments::Arguments;
use crate::config::{Config, Organization, StoreSettings};
use crate::error::Result;
use crate::telemetry::{Metrics, Outlets};

/// The settings, and the organizations to work on.
pub(super) fn settings(arguments: &Arguments) -> Result<(Config, Vec<(String, Organization)>)> {
    let config = Config::find(arguments.config.as_deref())?;
    let chosen = config.chosen(&arguments.overrides())?;
    Ok((config, chosen))
}

/// Where to tell how a repository of the settings was found; nobody is told of one that they do not name.
pub(super) fn outlets(arguments: &Arguments, metrics: &Metrics) -> Result<Option<Outlets>> {
    if arguments.repository.is_some() {
        return Ok(None);
    }
    let config = Config::find(arguments.config.as_deref())?;
    Outlets::new(&config.metrics, metrics.clone()).map(Some)
}

/// The repositories to read, with a name for each: for what needs no Asana, a repository alone is enough.
pub(super) fn repositories(arguments: &Arguments) -> Result<Vec<(String, String, StoreSettings)>> {
    if let (Some(repository), None) = (&arguments.repository, &arguments.organization) {
        return Ok(vec![(repository.clone(), repository.clone(), StoreSettings::default())]);
    }
    let (_, chosen) = settings(arguments)?;
    Ok(chosen.into_iter().map(|(name, one)| (name, one.repository, one.store)).collect())
}
