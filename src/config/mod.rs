//! Settings: plain data, checked once, without handles or clocks.
//!
//! Rule: unknown keys are refused by name; every default sits in an `impl Default`, with its reason in the field's
//! doc; `config/example.toml` equals the defaults (tested). Secrets are named here by file or variable and never
//! held in anything that prints.

pub mod address;
mod files;
mod schedule;
mod store;
mod telemetry;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::resources;

pub use schedule::{DaemonSettings, OwnSchedule, ScheduleSettings};
pub use store::{Checksum, Sse, StorageClass, StoreSettings};
pub use telemetry::{HeartbeatSettings, Listen, MetricsSettings, SecretUrl, StatusSettings};

/// Where Asana answers.
pub const ASANA: &str = "https://app.asana.com/api/1.0";

/// The variable that holds the token itself, where no file does.
pub const TOKEN_VARIABLE: &str = "ASANA_TOKEN";

/// The name of the credential that systemd loads for the program (`LoadCredential=`).
pub const CREDENTIAL: &str = "asana-token";

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What to back up, by a name of your choice.
    pub organizations: BTreeMap<String, Organization>,
    /// How runs go.
    pub run: RunSettings,
    /// When jobs begin by themselves.
    pub schedule: ScheduleSettings,
    /// How the daemon works.
    pub daemon: DaemonSettings,
    /// How fast to ask.
    pub pace: Pace,
    /// How much to hold in memory.
    pub memory: Memory,
    /// Where metrics go.
    pub metrics: MetricsSettings,
    /// Where the daemon tells how it is.
    pub status: StatusSettings,
    /// How to reach Asana.
    pub network: Network,
}

/// One organization and its repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Its gid: the number in the address of the admin console, or `asana-backup check` lists what a token sees.
    pub gid: String,
    /// The file that holds the token of a service account. Without it, what systemd loaded, else `ASANA_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Where the backup lives: a folder, `file://`, `s3://bucket/prefix` or `gs://bucket/prefix`.
    pub repository: String,
    /// Where Asana answers. Another than the default is for tests.
    #[serde(default = "asana")]
    pub base_url: String,
    /// What to leave out.
    #[serde(default)]
    pub filters: Filters,
    /// How to reach a bucket; the usual variables of AWS and Google count too.
    #[serde(default)]
    pub store: StoreSettings,
    /// What its schedule says instead of the one of all.
    #[serde(default)]
    pub schedule: OwnSchedule,
    /// The address to ping when a run starts and ends. It is a secret: better in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_url: Option<SecretUrl>,
    /// The file that holds that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_url_file: Option<PathBuf>,
}

fn asana() -> String {
    ASANA.to_owned()
}

/// What is read. A snapshot names the filters it was read with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// The tables to keep; empty keeps all. What leads to them is read all the same.
    pub tables: Vec<String>,
}

/// How runs go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSettings {
    /// How long it may take until everything was walked again, a share of it each day: `daily`, `weekly` or `monthly`.
    /// A change that no lane reported lives in the copy at most that long.
    pub reconcile: Reconcile,
    /// How often a first copy commits what it has so far, in minutes. An hour of reading is 90,000 requests.
    pub commit_every_minutes: NonZeroU32,
    /// The name that claims are held in; if not set, user, host, and a word that is kept in the lock of this machine.
    /// Give one to a job that runs on changing hosts, and never runs twice at once: it then takes over at once what a
    /// dead predecessor held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl Default for RunSettings {
    fn default() -> Self {
        let commit_every_minutes = NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN);
        Self { reconcile: Reconcile::Weekly, commit_every_minutes, holder: None }
    }
}

/// How often everything is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reconcile {
    /// All of it each day.
    Daily,
    /// A seventh each day.
    Weekly,
    /// A thirtieth each day.
    Monthly,
}

impl Reconcile {
    /// The time in which everything is walked.
    #[must_use]
    pub fn interval(self) -> chrono::Duration {
        chrono::Duration::days(match self {
            Self::Daily => 1,
            Self::Weekly => 7,
            Self::Monthly => 30,
        })
    }
}

/// How fast to ask. All organizations that use one token share its pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// Requests a minute. Asana allows a token 1,500 on paid plans and 150 on free ones (its page "Rate limits",
    /// read 2026-11); a refusal lowers the pace by itself.
    pub requests_per_minute: NonZeroU32,
    /// Requests in flight at once. Asana allows 50 reads.
    pub in_flight: NonZeroU32,
    /// Searches a minute. Asana allows 60.
    pub searches_per_minute: NonZeroU32,
}

impl Default for Pace {
    fn default() -> Self {
        let number = |value| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
        Self { requests_per_minute: number(1500), in_flight: number(50), searches_per_minute: number(60) }
    }
}

/// How to reach Asana. A proxy is named by the usual `HTTPS_PROXY` and `NO_PROXY`: it sees no token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Certificates, in PEM, of authorities to trust beside those of the system: for a proxy that opens what is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// How much to hold in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Records of all open parts together, in MiB of JSON. When it is full the largest part is sealed. The program
    /// needs about seven times this in all: a part is encoded while the next records arrive.
    pub open_parts_mib: NonZeroUsize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { open_parts_mib: NonZeroUsize::new(24).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// What a person typed or the environment says, laid over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A name of the file's, or a gid.
    pub organization: Option<String>,
    /// A place in the file's names, sorted, from 0.
    pub organization_index: Option<usize>,
    /// Where the backup lives.
    pub repository: Option<String>,
    /// Where Asana answers.
    pub base_url: Option<String>,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
}

/// What is wrong with the text of a file, and where. Not what stands there: an address that is a secret may.
fn misread(cause: &toml::de::Error, text: &str) -> Error {
    let message = cause.message().trim_end();
    let before = cause.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else { return Error::new(ErrorKind::Config, message) };
    let line = before.matches('\n').count();
    let said = text.lines().nth(line).and_then(|line| line.split_once('='));
    // An equals sign may also be part of an address.
    let is_bare = |key: &&str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let key = said.map(|(key, _)| key.trim()).filter(is_bare);
    let key = key.map(|key| format!(", `{key}`")).unwrap_or_default();
    Error::new(ErrorKind::Config, format!("line {}{key}: {message}", line + 1))
}

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file, read again when Asana refuses the token.
    File(PathBuf),
    /// The environment.
    Text(SecretString),
}

impl Config {
    /// Reads settings from the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|cause| misread(&cause, text))?;
        config.organizations.iter().try_for_each(|(name, organization)| organization.check(name))?;
        config.status.check()?;
        Ok(config)
    }

    /// The settings of `explicit`, else of the first of the usual places that has some, else the defaults.
    pub fn find(explicit: Option<&Path>) -> Result<Self> {
        match explicit {
            Some(path) => Self::read(path),
            None => Self::first(&usual_places()),
        }
    }

    /// The organizations to work on: the one that `overrides` name, or all of the file's.
    pub fn chosen(&self, overrides: &Overrides) -> Result<Vec<(String, Organization)>> {
        let mut chosen = match (&overrides.organization, overrides.organization_index) {
            (Some(wanted), _) => vec![self.named(wanted, overrides)?],
            (None, Some(index)) => vec![self.at(index)?],
            (None, None) => self.organizations.clone().into_iter().collect(),
        };
        if chosen.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no organization is named").remedy(
                "set ASANA_ORGANIZATION and ASANA_BACKUP_REPOSITORY, or write a config file (config/example.toml)",
            ));
        }
        // Whoever gives an index starts one job for each organization of the file.
        let by_index = overrides.organization.is_none() && overrides.organization_index.is_some();
        let several = if by_index { self.organizations.len() } else { chosen.len() };
        if several > 1 && overrides.repository.is_some() {
            return Err(Error::new(ErrorKind::Config, "one repository cannot hold several organizations")
                .remedy("say which with --organization, or name a repository for each in the config file"));
        }
        for (name, organization) in &mut chosen {
            organization.lay_over(overrides);
            organization.check(name)?;
        }
        Ok(chosen)
    }

    fn at(&self, index: usize) -> Result<(String, Organization)> {
        let found = self.organizations.iter().nth(index);
        found.map(|(name, one)| (name.clone(), one.clone())).ok_or_else(|| {
            let count = self.organizations.len();
            Error::new(
                ErrorKind::Config,
                format!("there is no organization {index}, counted from 0, of {count}"),
            )
            .remedy("start as many jobs as the config file has organizations")
        })
    }

    fn named(&self, wanted: &str, overrides: &Overrides) -> Result<(String, Organization)> {
        let found = self.organizations.iter().find(|(name, one)| *name == wanted || one.gid == wanted);
        if let Some((name, organization)) = found {
            return Ok((name.clone(), organization.clone()));
        }
        let repository = overrides.repository.clone().filter(|_| is_gid(wanted)).ok_or_else(|| {
            let known: Vec<_> = self.organizations.keys().map(String::as_str).collect();
            Error::new(
                ErrorKind::Config,
                format!("no organization is called `{wanted}` (known: {})", known.join(", ")),
            )
            .remedy("name one of the config file, or give a gid together with --repository")
        })?;
        Ok((wanted.to_owned(), Organization::new(wanted, &repository)))
    }
}

impl Organization {
    /// The organization `gid`, backed up to `repository`; all else by default.
    #[must_use]
    pub fn new(gid: &str, repository: &str) -> Self {
        Self {
            gid: gid.to_owned(),
            token_file: None,
            repository: repository.to_owned(),
            base_url: asana(),
            filters: Filters::default(),
            store: StoreSettings::default(),
            schedule: OwnSchedule::default(),
            heartbeat_url: None,
            heartbeat_url_file: None,
        }
    }

    fn lay_over(&mut self, overrides: &Overrides) {
        if let Some(repository) = &overrides.repository {
            self.repository.clone_from(repository);
        }
        if let Some(base_url) = &overrides.base_url {
            self.base_url.clone_from(base_url);
        }
        if overrides.token_file.is_some() {
            self.token_file.clone_from(&overrides.token_file);
        }
    }

    fn check(&self, name: &str) -> Result<()> {
        let refuse = |what: String, remedy: &str| Err(Error::new(ErrorKind::Config, what).remedy(remedy));
        if !is_gid(&self.gid) {
            return refuse(
                format!("organizations.{name}.gid: `{}` is not a gid", self.gid),
                "a gid is a number, as in https://app.asana.com/admin/<gid>",
            );
        }
        if self.repository.is_empty() {
            return refuse(
                format!("organizations.{name}.repository is empty"),
                "name a folder or s3://bucket/prefix",
            );
        }
        self.store.check(&self.repository).map_err(|error| error.doing(format!("organizations.{name}")))?;
        if let Some(table) = self.filters.tables.iter().find(|table| resources::by_table(table).is_none()) {
            let known: Vec<_> = resources::ALL.iter().map(|resource| resource.table).collect();
            return refuse(
                format!("organizations.{name}.filters.tables: no table is called `{table}`"),
                &format!("the tables are {}", known.join(", ")),
            );
        }
        Ok(())
    }

    /// Where to ping when a run starts and ends.
    #[must_use]
    pub fn heartbeat(&self) -> HeartbeatSettings<'_> {
        HeartbeatSettings { url: self.heartbeat_url.as_ref(), file: self.heartbeat_url_file.as_deref() }
    }

    /// Where the token of this organization comes from: the file that is named, what systemd loaded, the environment.
    pub fn token(&self) -> Result<TokenSource> {
        let credential =
            || std::env::var_os("CREDENTIALS_DIRECTORY").map(|at| Path::new(&at).join(CREDENTIAL));
        if let Some(path) = self.token_file.clone().or_else(|| credential().filter(|path| path.exists())) {
            return Ok(TokenSource::File(path));
        }
        match std::env::var(TOKEN_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => Ok(TokenSource::Text(SecretString::from(text))),
            _ => Err(Error::new(ErrorKind::Config, "no token is named")
                .remedy("set ASANA_TOKEN_FILE to a file that holds the token of a service account")),
        }
    }
}

fn is_gid(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where a config file is looked for when none is named.
fn usual_places() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    user.into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|place| place.join("asana-backup").join("config.toml"))
        .collect()
}

#[cfg(test)]
mod tests;
