//! Where settings are read from: one file, and a folder `conf.d` beside it.
//!
//! Rule: files of `conf.d` hold organizations alone, so that what counts for all is said in one place; a name that two
//! files give is refused, and both are named. What may not be read is an error that says so, and never as good as nothing.

use std::collections::BTreeMap;
use std::io;
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

/// Whether somebody has put settings at one of the usual places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Empty,
    Taken,
    /// What the place is in is closed, as a home is to a service: nobody can tell.
    Closed,
}

impl Config {
    /// Reads the settings of the first of these places, each the path of a config file, that has some, be it `conf.d`
    /// alone; the defaults where none has. One that is there and cannot be read is never passed over.
    pub(super) fn first(places: &[PathBuf]) -> Result<Self> {
        let mut closed = None;
        for path in places {
            match place(path)? {
                Place::Taken => return Self::read_with(path, optional(path)?.as_deref().unwrap_or_default()),
                Place::Closed => closed = closed.or(Some(path)),
                Place::Empty => {}
            }
        }
        if let Some(path) = closed {
            tracing::warn!(path = %path.display(), "whether there are settings cannot be seen: permission denied");
        }
        Ok(Self::default())
    }

    /// Reads the settings at `path`, and the organizations of `conf.d` beside it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, &text(path)?)
    }

    fn read_with(path: &Path, text_of_all: &str) -> Result<Self> {
        let mut config = Self::parse(text_of_all).map_err(|error| doing(error, path))?;
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

/// What `cause` says of a file or a folder of settings, and what to do about it.
fn unread(verb: &str, path: &Path, cause: &io::Error) -> Error {
    let error = Error::new(ErrorKind::Config, format!("{verb} {}: {cause}", path.display()));
    error.remedy(match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "run it as the user that the settings are for, or let this user read the file and its folders"
        }
        _ => "name an existing file with --config or ASANA_BACKUP_CONFIG",
    })
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|cause| unread("read", path, &cause))
}

/// The same of a file that need not be there.
fn optional(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(unread("read", path, &cause)),
    }
}

/// Whether the folder of `path`, which is this program's own, has settings.
fn place(path: &Path) -> Result<Place> {
    let own = path.parent().unwrap_or(path);
    match own.try_exists() {
        Ok(true) => {}
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => return Ok(Place::Closed),
        // Such as a home that is no folder.
        Ok(false) | Err(_) => return Ok(Place::Empty),
    }
    for name in [path.to_owned(), path.with_file_name(FOLDER)] {
        if name.try_exists().map_err(|cause| unread("read", &name, &cause))? {
            return Ok(Place::Taken);
        }
    }
    Ok(Place::Empty)
}

/// The files of the folder beside `path`, by name. None where there is no folder.
fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.with_file_name(FOLDER);
    let failed = |cause: io::Error| unread("list", &folder, &cause);
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(cause) => return Err(failed(cause)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        // What begins with a dot is an editor's.
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && file.extension().is_some_and(|extension| extension == "toml") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}
