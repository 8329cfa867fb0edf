//! Being the only one of a name: who holds a claim, and that nobody else on this machine does.
//!
//! Rule: a claim of the same name is taken over at once, so whoever has a name first locks a file of this machine. The
//! system lets go of it when the process ends, however it ends: nothing to clean up after a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::repository::Repository;

/// The lock of a repository on this machine, for as long as it is not dropped.
#[derive(Debug)]
pub(crate) struct Alone(#[expect(dead_code, reason = "held, not used")] File);

/// The name of whoever runs this: user, host, and the folder whose lock tells that nobody else has the name, where that is
/// not the usual one. A name that another lock vouches for is another's: its claim is not taken over at once.
pub(crate) fn name() -> String {
    let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.unwrap_or_default().trim().to_owned();
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    named(&user(), &host, &std::env::temp_dir())
}

fn named(user: &str, host: &str, locks: &Path) -> String {
    if locks == Path::new("/tmp") {
        format!("{user}@{host}")
    } else {
        format!("{user}@{host}:{}", locks.display())
    }
}

fn user() -> String {
    let named = std::env::var("USER").ok().filter(|user| !user.is_empty());
    named.unwrap_or_else(|| format!("uid{}", process::user()))
}

/// Makes sure that nobody else called `name` works on `repository` on this machine.
pub(crate) fn alone(repository: &Repository, name: &str) -> Result<Alone> {
    let plain: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let path = std::env::temp_dir().join(format!("asana-backup-{}-{plain}.lock", repository.id()));
    let shown = path.display();
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|cause| {
        Error::new(ErrorKind::Config, format!("open the lock {shown}: {cause}"))
            .remedy("set TMPDIR to a folder this user may write to, or give another --holder")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Alone(file)),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Conflict,
            format!("another run of {name} works on this repository, and locks {shown}"),
        )
        .remedy("let it finish")),
        Err(TryLockError::Error(cause)) => {
            Err(Error::new(ErrorKind::Unavailable, format!("lock {shown}: {cause}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_whose_locks_are_not_the_same_do_not_share_a_name() {
        let own = named("backup", "host", Path::new("/tmp"));
        assert_eq!(own, "backup@host");
        assert_eq!(named("backup", "host", Path::new("/var/cache/backup")), "backup@host:/var/cache/backup");
    }
}
