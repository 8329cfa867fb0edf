//! What a daemon remembers on its own disk: when it last verified.
//!
//! Rule: everything else is in the repository. The file is replaced whole, so a crash leaves the one before or the new
//! one. Without it, or where it cannot be read, verifying is due at the next tick and not at once: a machine that loses
//! its disk, or a container without one, must not read the whole repository at each start.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The name of the file.
const FILE: &str = "daemon.json";
/// The version of its format.
const FORMAT: u32 = 1;

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// When verifying last began, by gid.
    verify: BTreeMap<String, DateTime<Utc>>,
}

/// The file, and what it holds.
#[derive(Debug)]
pub struct State {
    folder: Option<PathBuf>,
    verify: BTreeMap<String, DateTime<Utc>>,
}

impl State {
    /// Remembers in `folder`; nothing, without one.
    #[must_use]
    pub fn open(folder: Option<PathBuf>) -> Self {
        let verify = folder.as_deref().map_or_else(BTreeMap::new, |folder| match read(&folder.join(FILE)) {
            Ok(verify) => verify,
            Err(error) => {
                tracing::warn!(%error, "what the daemon remembered cannot be read: verifying waits for its next tick");
                BTreeMap::new()
            }
        });
        Self { folder, verify }
    }

    /// When verifying an organization last began, as far as is remembered.
    #[must_use]
    pub fn verified(&self, gid: &str) -> Option<DateTime<Utc>> {
        self.verify.get(gid).copied()
    }

    /// Remembers that it begins now. That it cannot be written is no reason not to verify.
    pub fn verifies(&mut self, gid: &str, at: DateTime<Utc>) {
        self.verify.insert(gid.to_owned(), at);
        let Some(folder) = &self.folder else { return };
        if let Err(error) = write(folder, &self.verify) {
            tracing::warn!(%error, "when verifying began is not remembered over a restart");
        }
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, DateTime<Utc>>> {
    let wrong = |cause: String| Error::new(ErrorKind::Config, format!("read {}: {cause}", path.display()));
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let content: Content = serde_json::from_slice(&text).map_err(|cause| wrong(cause.to_string()))?;
    if content.format != FORMAT {
        return Err(wrong(format!("its format is {}, and this program knows {FORMAT}", content.format)));
    }
    Ok(content.verify)
}

fn write(folder: &Path, verify: &BTreeMap<String, DateTime<Utc>>) -> Result<()> {
    let failed = |cause: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("write {}: {cause}", folder.join(FILE).display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let content = Content { format: FORMAT, verify: verify.clone() };
    let text = serde_json::to_vec(&content).map_err(|cause| failed(cause.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(folder.join(FILE)).map_err(|cause| failed(cause.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_there_after_a_restart_and_damage_is_as_good_as_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Some(place.path().join("state"));
        let at = DateTime::from_timestamp(1_780_000_000, 0).expect("a moment");
        let mut state = State::open(folder.clone());
        assert_eq!(state.verified("1"), None);
        state.verifies("1", at);
        assert_eq!(State::open(folder.clone()).verified("1"), Some(at));
        std::fs::write(place.path().join("state").join(FILE), "{\"format\":1,\"ver").expect("writable");
        assert_eq!(State::open(folder).verified("1"), None);
        let mut nowhere = State::open(None);
        nowhere.verifies("1", at);
        assert_eq!(nowhere.verified("1"), Some(at));
    }
}
