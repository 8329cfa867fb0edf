//! Being the only one of a name: who holds a claim, and that nobody else on this machine does.
//!
//! Rule: a claim of the same name is taken over at once, so whoever has a name first locks a file of this machine. The
//! system lets go of it when the process ends, however it ends: nothing to clean up after a crash. A name that nobody
//! gave ends with a word that is kept in that file: hosts in different containers may be called the same, and files in
//! different mounts too, but those who share the word share the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::repository::Repository;

/// The lock of a repository on this machine, for as long as it is not dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    _lock: File,
    name: String,
}

impl Alone {
    /// The name that nobody else has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Whoever runs this: user and host.
pub(crate) fn who() -> String {
    let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.unwrap_or_default().trim().to_owned();
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    format!("{}@{host}", user())
}

fn user() -> String {
    let named = std::env::var("USER").ok().filter(|user| !user.is_empty());
    named.unwrap_or_else(|| format!("uid{}", process::user()))
}

/// Makes sure that nobody else of the name `given`, or else of this user and host, works on `repository` on this machine.
pub(crate) fn alone(repository: &Repository, given: Option<String>) -> Result<Alone> {
    alone_in(&std::env::temp_dir(), repository, given)
}

fn alone_in(folder: &Path, repository: &Repository, given: Option<String>) -> Result<Alone> {
    let name = given.clone().unwrap_or_else(who);
    let plain: String = without_word(&name)
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let path = folder.join(format!("asana-backup-{}-{plain}.lock", repository.id()));
    let shown = path.display();
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = opened.map_err(|cause| {
        Error::new(ErrorKind::Config, format!("open the lock {shown}: {cause}"))
            .remedy("set TMPDIR to a folder this user may write to, or give another --holder")
    })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("another run of {name} works on this repository, and locks {shown}"),
            )
            .remedy("let it finish"));
        }
        Err(TryLockError::Error(cause)) => {
            return Err(Error::new(ErrorKind::Unavailable, format!("lock {shown}: {cause}")));
        }
    }
    let word = word(&mut file)
        .map_err(|cause| Error::new(ErrorKind::Unavailable, format!("keep a word in {shown}: {cause}")))?;
    Ok(Alone { _lock: file, name: given.unwrap_or_else(|| format!("{name}:{word}")) })
}

/// The word in a lock; a new one, where a crash left none or half of it.
fn word(file: &mut File) -> std::io::Result<Ulid> {
    let mut kept = Vec::new();
    file.take(64).read_to_end(&mut kept)?;
    if let Some(word) = std::str::from_utf8(&kept).ok().and_then(|kept| kept.parse().ok()) {
        return Ok(word);
    }
    let word = Ulid::generate();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(word.to_string().as_bytes())?;
    Ok(word)
}

/// A name without the word of a lock: whoever types the whole name of another on this machine meets that one's lock.
fn without_word(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, word)) if word.parse::<Ulid>().is_ok() => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::repository;

    #[tokio::test]
    async fn only_those_who_share_the_lock_share_a_name() {
        let (repository, [here, there]) =
            (repository().await, [(); 2].map(|()| tempfile::tempdir().expect("a folder")));
        let enter = |folder: &tempfile::TempDir, given: Option<&str>| {
            alone_in(folder.path(), &repository, given.map(str::to_owned))
        };
        let first = enter(&here, None).expect("it is alone");
        let name = first.name().to_owned();
        assert!(name.starts_with(&format!("{}:", who())), "{name}");
        // As in another container, whose host is called the same.
        let other = enter(&there, None).expect("it is alone there");
        assert_ne!(other.name(), name);
        for given in [None, Some(&*name)] {
            assert_eq!(enter(&here, given).expect_err("it is locked").kind(), ErrorKind::Conflict);
        }
        drop(first);
        assert_eq!(enter(&here, None).expect("it is alone again").name(), name);
        assert_eq!(enter(&here, Some(&name)).expect("it is alone").name(), name);
        // A name that somebody gave is what it is, wherever.
        for folder in [&here, &there] {
            assert_eq!(enter(folder, Some("nightly")).expect("it is alone").name(), "nightly");
        }
    }

    #[tokio::test]
    async fn half_a_word_is_none() {
        let (repository, folder) = (repository().await, tempfile::tempdir().expect("a folder"));
        let name = || alone_in(folder.path(), &repository, None).map(|alone| alone.name().to_owned());
        let first = name().expect("a name");
        let lock =
            std::fs::read_dir(folder.path()).expect("a folder").next().expect("a lock").expect("a lock");
        std::fs::write(lock.path(), "01K").expect("written");
        let second = name().expect("a name");
        assert!(second != first && !second.ends_with(":01K"), "{second}");
        assert_eq!(name().expect("a name"), second);
    }
}
