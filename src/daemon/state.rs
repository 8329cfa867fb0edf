//! What a daemon remembers on its own disk: since when it knows a repository, when it last verified it, when each job last
//! succeeded, and what it told of it last.
//!
//! Rule: what a repository says of its runs counts for more; this is for what no repository says, and for when none
//! answers. The file is replaced whole, so a crash leaves the one before or the new one. Without it, or where it cannot be
//! read, verifying is due at the next tick and not at once: a machine that loses its disk, or a container without one,
//! must not read the whole repository at each start.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::daemon::schedule::Kind;
use crate::error::{Error, ErrorKind, Result};

/// The name of the file.
const FILE: &str = "daemon.json";
/// The version of its format.
const FORMAT: u32 = 3;
/// The oldest that can be read: what is missing in it is not known.
const OLDEST: u32 = 2;

type Repositories = BTreeMap<String, Remembered>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// By URL: two organizations of the settings may be one of Asana's, with a repository each.
    repositories: Repositories,
}

/// What is remembered of one repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    /// Since when the settings name it: nothing was missed or late before.
    pub(super) since: DateTime<Utc>,
    /// When verifying last began, unless it was stopped.
    pub(super) verify_began: Option<DateTime<Utc>>,
    /// When those jobs began that last succeeded.
    pub(super) succeeded: BTreeMap<Kind, DateTime<Utc>>,
    /// What metrics said last, by their names. Since format 3.
    #[serde(default)]
    pub(super) told: BTreeMap<String, f64>,
}

impl Remembered {
    /// Nothing, from `now` on.
    pub(super) fn nothing(now: DateTime<Utc>) -> Self {
        Self { since: now, verify_began: None, succeeded: BTreeMap::new(), told: BTreeMap::new() }
    }
}

/// The file, and what it holds.
#[derive(Debug)]
pub struct State {
    folder: Option<PathBuf>,
    repositories: Repositories,
}

impl State {
    /// Where it is, unless somebody says so: systemd's folder, else the user's.
    #[must_use]
    pub fn usual_folder() -> Option<PathBuf> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| text.starts_with('/'));
        // systemd may name several, with colons between them.
        let of_systemd =
            variable("STATE_DIRECTORY").and_then(|text| text.split(':').next().map(PathBuf::from));
        let of_user = || {
            let base = variable("XDG_STATE_HOME").map(PathBuf::from);
            let base = base.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/state")));
            base.map(|base| base.join("asana-backup"))
        };
        of_systemd.or_else(of_user)
    }

    /// What the daemon of this machine told of a repository last, by the names of metrics; nothing where that cannot be read.
    #[must_use]
    pub fn told_of(folder: &Path, repository: &str) -> BTreeMap<String, f64> {
        let mut repositories = read(&folder.join(FILE)).unwrap_or_default();
        repositories.remove(repository).map(|remembered| remembered.told).unwrap_or_default()
    }

    /// Remembers in `folder`; only for as long as the process lives, without one.
    #[must_use]
    pub fn open(folder: Option<PathBuf>) -> Self {
        let repositories = folder.as_deref().map_or_else(Repositories::new, |folder| match read(&folder.join(FILE)) {
            Ok(repositories) => repositories,
            Err(error) => {
                tracing::warn!(%error, "what the daemon remembered cannot be read: verifying waits for its next tick");
                Repositories::new()
            }
        });
        Self { folder, repositories }
    }

    /// What is remembered of a repository. The first look at it is remembered, too: a tick that comes while the machine is
    /// off is then made up for, although there was never another.
    pub(super) fn of(&mut self, repository: &str, now: DateTime<Utc>) -> Remembered {
        match self.repositories.get(repository) {
            Some(remembered) => remembered.clone(),
            None => self.change(repository, now, |_| {}),
        }
    }

    /// Remembers that verifying begins; says when it began before.
    pub(super) fn verify_begins(&mut self, repository: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut before = None;
        self.change(repository, now, |remembered| before = remembered.verify_began.replace(now));
        before
    }

    /// Remembers that the verifying that began at `began` was stopped: it is due as if it had never begun.
    pub(super) fn verify_was_stopped(
        &mut self,
        repository: &str,
        began: DateTime<Utc>,
        before: Option<DateTime<Utc>>,
    ) {
        self.change(repository, began, |remembered| remembered.verify_began = before);
    }

    /// Remembers that a job succeeded that began at `began`.
    pub(super) fn succeeded(&mut self, repository: &str, kind: Kind, began: DateTime<Utc>) {
        self.change(repository, began, |remembered| {
            remembered.succeeded.insert(kind, began);
        });
    }

    /// Remembers what was told.
    pub(super) fn told(&mut self, repository: &str, now: DateTime<Utc>, told: BTreeMap<String, f64>) {
        self.change(repository, now, |remembered| remembered.told = told);
    }

    /// That it cannot be written is no reason not to work.
    fn change(
        &mut self,
        repository: &str,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Remembered),
    ) -> Remembered {
        let remembered =
            self.repositories.entry(repository.to_owned()).or_insert_with(|| Remembered::nothing(now));
        change(remembered);
        let changed = remembered.clone();
        if let Some(folder) = &self.folder
            && let Err(error) = write(folder, &self.repositories)
        {
            tracing::warn!(%error, "what the daemon did is not remembered over a restart");
        }
        changed
    }
}

fn read(path: &Path) -> Result<Repositories> {
    let wrong = |cause: String| Error::new(ErrorKind::Config, format!("read {}: {cause}", path.display()));
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Repositories::new()),
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let content: Content = serde_json::from_slice(&text).map_err(|cause| wrong(cause.to_string()))?;
    if !(OLDEST..=FORMAT).contains(&content.format) {
        return Err(wrong(format!("its format is {}, and this program knows {FORMAT}", content.format)));
    }
    Ok(content.repositories)
}

fn write(folder: &Path, repositories: &Repositories) -> Result<()> {
    let failed = |cause: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("write {}: {cause}", folder.join(FILE).display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let content = Content { format: FORMAT, repositories: repositories.clone() };
    let text = serde_json::to_vec(&content).map_err(|cause| failed(cause.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(folder.join(FILE)).map_err(|cause| failed(cause.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a moment")
    }

    #[test]
    fn what_is_remembered_is_there_after_a_restart_and_damage_is_as_good_as_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Some(place.path().join("state"));
        let mut state = State::open(folder.clone());
        assert_eq!(state.of("s3://one", at(0)), Remembered::nothing(at(0)));
        state.verify_begins("s3://one", at(1));
        state.succeeded("s3://one", Kind::Verify, at(1));
        let remembered = State::open(folder.clone()).of("s3://one", at(2));
        assert_eq!((remembered.since, remembered.verify_began), (at(0), Some(at(1))));
        assert_eq!(remembered.succeeded, BTreeMap::from([(Kind::Verify, at(1))]));
        std::fs::write(place.path().join("state").join(FILE), "{\"format\":3,\"rep").expect("writable");
        assert_eq!(State::open(folder).of("s3://one", at(3)), Remembered::nothing(at(3)));
        let mut nowhere = State::open(None);
        nowhere.verify_begins("s3://one", at(1));
        assert_eq!(nowhere.of("s3://one", at(2)).verify_began, Some(at(1)));
    }

    #[test]
    fn the_format_before_is_read_and_a_newer_one_is_as_good_as_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let since = at(0).to_rfc3339();
        let remembered = format!(r#"{{"since":"{since}","verify_began":null,"succeeded":{{}}}}"#);
        for (format, expected) in [(2, at(0)), (4, at(9))] {
            let text = format!(r#"{{"format":{format},"repositories":{{"s3://one":{remembered}}}}}"#);
            std::fs::write(place.path().join(FILE), text).expect("writable");
            let mut state = State::open(Some(place.path().to_owned()));
            assert_eq!(state.of("s3://one", at(9)), Remembered::nothing(expected), "{format}");
        }
    }

    #[test]
    fn a_verify_that_was_stopped_did_not_begin_and_repositories_are_not_mixed_up() {
        let mut state = State::open(None);
        state.verify_begins("s3://other", at(5));
        for before in [None, Some(at(1))] {
            assert_eq!(state.verify_begins("s3://one", at(7)), before);
            state.verify_was_stopped("s3://one", at(7), before);
            assert_eq!(state.of("s3://one", at(8)).verify_began, before);
            state.verify_begins("s3://one", at(1));
        }
        assert_eq!(state.of("s3://other", at(8)).verify_began, Some(at(5)));
    }
}
