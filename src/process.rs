//! This process, and what others on the machine can see of it.
//!
//! Rule: its memory holds the token and the keys of the store, and is nobody's to read: not that of another program of
//! the same user, and not from a core dump. A crash leaves none.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getuid, set_dumpable_behavior, setrlimit};

use crate::error::{Error, ErrorKind, Result};

/// Keeps the memory of this process to itself. Belongs before the first secret is read.
///
/// From here on `/proc/self` is root's, and only root can attach a debugger.
pub fn keep_to_itself() -> Result<()> {
    let failed = |cause: rustix::io::Errno| {
        Error::new(ErrorKind::Unavailable, cause.to_string()).doing("keep this process's memory to itself")
    };
    // Both: a limit of zero does not stop a core that is piped to a program, which not being dumpable does.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none).map_err(failed);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    limited
}

/// The number of the user who runs this.
#[must_use]
pub fn user() -> u32 {
    getuid().as_raw()
}
