//! What a person chose: settings, organizations, repositories.

use std::collections::BTreeMap;

use tracing::Instrument;

use crate::cli::arguments::Arguments;
use crate::cli::show;
use crate::config::{Config, Organization, ScheduleSettings, StoreSettings};
use crate::daemon::State;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{self, Metrics, Outlets, table};

/// The settings, and the organizations to work on.
pub(super) fn settings(arguments: &Arguments) -> Result<(Config, Vec<(String, Organization)>)> {
    let config = Config::find(arguments.config.as_deref())?;
    let chosen = config.chosen(&arguments.overrides())?;
    Ok((config, chosen))
}

/// Does something with each repository. One that fails does not stop the others; the first failure is the one reported.
pub(super) async fn each(
    arguments: &Arguments,
    mut work: impl AsyncFnMut(&str, &str, &StoreSettings) -> Result<()>,
) -> Result<()> {
    let (repositories, mut failed) = (repositories(arguments)?, Ok(()));
    for (name, url, settings) in &repositories {
        let span = tracing::info_span!("repository", organization = name);
        match work(name, url, settings).instrument(span.clone()).await {
            // Nobody wants the others either.
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                if failed.is_err() || show::logs_errors() {
                    let (exit_code, remedy) =
                        (error.kind().exit_code(), error.remedy_text().unwrap_or_default());
                    span.in_scope(|| tracing::error!(exit_code, %error, remedy, "failed"));
                }
                let error = if repositories.len() > 1 { error.doing(name.clone()) } else { error };
                failed = failed.and(Err(error.logged()));
            }
            Ok(()) => {}
        }
    }
    failed
}

/// Refuses to give somebody's word for several organizations at once.
pub(super) fn one_only(count: usize, what: &str) -> Result<()> {
    if count <= 1 {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Config, format!("{what} are accepted of one organization at a time"));
    Err(error.remedy("say which with --organization"))
}

/// Whether these are the settings of a file: a repository alone, named by hand, has none.
fn has_settings(arguments: &Arguments) -> bool {
    arguments.repository.is_none()
        || arguments.organization.is_some()
        || arguments.organization_index.is_some()
}

/// The schedule of an organization of the settings; of one that they do not name, the usual one.
pub(super) fn schedule(arguments: &Arguments, name: &str) -> Result<ScheduleSettings> {
    if !has_settings(arguments) {
        return Ok(ScheduleSettings::default());
    }
    let config = Config::find(arguments.config.as_deref())?;
    Ok(match config.organizations.get(name) {
        Some(organization) => config.schedule.with(&organization.schedule),
        None => config.schedule,
    })
}

/// What was told last of an organization's runs on this machine, by the names of metrics: in the file that the settings name,
/// or by its daemon. Of one that the settings do not name, the daemon alone may know.
pub(super) fn told(arguments: &Arguments, name: &str, url: &str) -> Result<BTreeMap<String, f64>> {
    let mut told = State::usual_folder().map(|folder| State::told_of(&folder, url)).unwrap_or_default();
    let file = if has_settings(arguments) {
        Config::find(arguments.config.as_deref())?.metrics.textfile
    } else {
        None
    };
    let at = |told: &BTreeMap<String, f64>| told.get(table::LAST_ATTEMPT.name).copied().unwrap_or_default();
    // Whoever looks on need not be able to read it.
    let samples = file.and_then(|path| telemetry::read_file(&path).ok()).unwrap_or_default().into_iter();
    let filed: BTreeMap<_, _> = samples
        .filter(|one| one.labels == [name])
        .map(|one| (one.metric.name.to_owned(), one.value))
        .collect();
    if at(&filed) > at(&told) {
        told = filed;
    }
    Ok(told)
}

/// Where to tell how a repository of the settings was found; nobody is told of one that they do not name.
pub(super) fn outlets(arguments: &Arguments, metrics: &Metrics) -> Result<Option<Outlets>> {
    if !has_settings(arguments) {
        return Ok(None);
    }
    let config = Config::find(arguments.config.as_deref())?;
    Outlets::new(&config.metrics, metrics.clone()).map(Some)
}

/// The repositories to read, with a name for each: for what needs no Asana, a repository alone is enough.
pub(super) fn repositories(arguments: &Arguments) -> Result<Vec<(String, String, StoreSettings)>> {
    if let Some(repository) = arguments.repository.as_ref().filter(|_| !has_settings(arguments)) {
        return Ok(vec![(repository.clone(), repository.clone(), StoreSettings::default())]);
    }
    let (_, chosen) = settings(arguments)?;
    Ok(chosen.into_iter().map(|(name, one)| (name, one.repository, one.store)).collect())
}
