//! Where settings are read from: one file, and a folder `conf.d` beside it.
//!
//! Rule: files of `conf.d` hold organizations alone, so that what counts for all is said in one place; a name that two
//! files give is refused, and both are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Config, Organization, misread};
use crate::error::{Error, ErrorKind, Result};

/// The folder beside the config file.
const FOLDER: &str = "conf.d";

/// What a file of `conf.d` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    organizations: BTreeMap<String, Organization>,
}

impl Config {
    /// Reads the settings at `path`, and the organizations of `conf.d` beside it.
    pub fn read(path: &Path) -> Result<Self> {
        let mut config = Self::parse(&text(path)?).map_err(|error| doing(error, path))?;
        let mut origins: BTreeMap<String, PathBuf> =
            config.organizations.keys().map(|name| (name.clone(), path.to_owned())).collect();
        for file in parts(path)? {
            let text = text(&file)?;
            let part: Part = toml::from_str(&text).map_err(|cause| {
                let error = misread(&cause, &text);
                doing(error.remedy(format!("a file of {FOLDER} holds [organizations.<name>] alone")), &file)
            })?;
            for (name, organization) in part.organizations {
                organization.check(&name).map_err(|error| doing(error, &file))?;
                if let Some(other) = origins.insert(name.clone(), file.clone()) {
                    let (one, other) = (other.display(), file.display());
                    let twice = format!("organizations.{name} is in {one} and in {other}");
                    return Err(Error::new(ErrorKind::Config, twice).remedy("rename or remove one of them"));
                }
                config.organizations.insert(name, organization);
            }
        }
        Ok(config)
    }
}

fn doing(error: Error, path: &Path) -> Error {
    error.doing(format!("read {}", path.display()))
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|cause| {
        Error::new(ErrorKind::Config, format!("read {}: {cause}", path.display()))
            .remedy("name an existing file with --config or ASANA_BACKUP_CONFIG")
    })
}

/// The files of the folder beside `path`, by name. None where there is no folder.
fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.with_file_name(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |cause: std::io::Error| {
        Error::new(ErrorKind::Config, format!("list {}: {cause}", folder.display()))
            .remedy("let this user read the folder")
    };
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}
