//! The one error of the program.
//!
//! Rule: the kind says what the caller should do, never which library failed; each kind has one exit code and one
//! entry in the runbook, and all of that is one table. The message names the thing, the remedy says what to do about it.

use std::fmt;

use serde::Serialize;

/// A result whose error is the program's own.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The settings, the organization or the repository's identity are wrong: change them.
    Config,
    /// Another run holds the claim or has committed first: let it finish.
    Conflict,
    /// The token is refused: replace it.
    Denied,
    /// A service or disk did not answer although retried: look at it, then run again.
    Unavailable,
    /// The store lacks what a repository needs, such as an atomic conditional create: use another.
    Unfit,
    /// Stored data is not what was written: run `verify`, then restore the object.
    Corrupt,
    /// The repository was written by a newer version: upgrade this program.
    Newer,
    /// The service asks for patience: run again later.
    Throttled,
    /// Somebody asked the program to stop.
    Cancelled,
    /// The program broke one of its own rules: report it.
    Bug,
}

/// The exit code of a run that committed, with gaps that the snapshot before did not have.
pub const NEW_GAPS: u8 = 3;

/// A way for the program to end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Exit {
    /// The exit codes: one, but where the signal decides.
    pub codes: &'static [u8],
    /// The kind of error that ends so; no error, if there is none.
    #[serde(skip)]
    pub kind: Option<ErrorKind>,
    /// What it means.
    pub meaning: &'static str,
    /// What a person does about it.
    pub remedy: &'static str,
    /// Whether trying again changes nothing before somebody has acted: who starts the program by itself stops here.
    pub lasting: bool,
}

/// Every way to end: the one table that the README, the manual, the systemd units and the Kubernetes manifests follow
/// (`tests/it/exits.rs` reads them).
pub const EXITS: &[Exit] = &[
    Exit {
        codes: &[0],
        kind: None,
        meaning: "complete, or only gaps that were there before",
        remedy: "",
        lasting: false,
    },
    Exit {
        codes: &[NEW_GAPS],
        kind: None,
        meaning: "committed, with new gaps, or some whose acceptance is over",
        remedy: "`gaps` names each; accept what may stay",
        lasting: false,
    },
    Exit {
        codes: &[10],
        kind: Some(ErrorKind::Config),
        meaning: "settings, organization, repository or credentials of the store are wrong",
        remedy: "follow the remedy printed with the error",
        lasting: true,
    },
    Exit {
        codes: &[11],
        kind: Some(ErrorKind::Conflict),
        meaning: "another run holds the claim, or has committed first",
        remedy: "let it finish",
        lasting: false,
    },
    Exit {
        codes: &[12],
        kind: Some(ErrorKind::Denied),
        meaning: "the token is refused",
        remedy: "replace it, or use that of a service account",
        lasting: true,
    },
    Exit {
        codes: &[13],
        kind: Some(ErrorKind::Unavailable),
        meaning: "a service or a disk did not answer, although retried",
        remedy: "look at it, run again",
        lasting: false,
    },
    Exit {
        codes: &[14],
        kind: Some(ErrorKind::Unfit),
        meaning: "the store gives one name twice",
        remedy: "use another store; `allow_unfit` if nothing ever runs twice at once",
        lasting: true,
    },
    Exit {
        codes: &[20],
        kind: Some(ErrorKind::Corrupt),
        meaning: "stored data is not what was written",
        remedy: "`verify` names the objects; restore them",
        lasting: true,
    },
    Exit {
        codes: &[21],
        kind: Some(ErrorKind::Newer),
        meaning: "the repository is of a newer version",
        remedy: "upgrade",
        lasting: true,
    },
    Exit { codes: &[70], kind: Some(ErrorKind::Bug), meaning: "a bug", remedy: "report it", lasting: false },
    Exit {
        codes: &[75],
        kind: Some(ErrorKind::Throttled),
        meaning: "Asana asks for patience",
        remedy: "run again later",
        lasting: false,
    },
    Exit {
        codes: &[130, 143],
        kind: Some(ErrorKind::Cancelled),
        meaning: "stopped by SIGINT, SIGTERM",
        remedy: "run again: it goes on from there",
        lasting: false,
    },
];

impl ErrorKind {
    /// The process exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        let own = EXITS.iter().find(|exit| exit.kind == Some(self));
        own.and_then(|exit| exit.codes.first()).copied().unwrap_or(70)
    }
}

/// An error with its kind, what was being done, and what a person can do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    doing: Vec<String>,
    remedy: Option<String>,
    logged: bool,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), doing: Vec::new(), remedy: None, logged: false }
    }

    /// Adds what was being done, outermost last: `e.doing("read page 7 of tasks")`.
    #[must_use]
    pub fn doing(mut self, what: impl Into<String>) -> Self {
        self.doing.push(what.into());
        self
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Notes that the log has it, with the organization that it is of: nobody need say it again there.
    #[must_use]
    pub fn logged(mut self) -> Self {
        self.logged = true;
        self
    }

    /// Whether the log has it.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.logged
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What a person can do about it, if that is known.
    #[must_use]
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in self.doing.iter().rev() {
            write!(f, "{what}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_error_reads_from_the_outermost_act_to_the_cause() {
        let error =
            Error::new(ErrorKind::Unavailable, "503").doing("read page 7 of tasks").doing("back up acme");
        assert_eq!(error.to_string(), "back up acme: read page 7 of tasks: 503");
    }

    #[test]
    fn every_kind_has_an_exit_code_of_its_own() {
        let mut codes: Vec<u8> = EXITS.iter().flat_map(|exit| exit.codes).copied().collect();
        assert!(codes.is_sorted(), "{codes:?}");
        codes.dedup();
        assert_eq!(codes.len(), EXITS.len() + 1);
        let kinds: HashSet<_> = EXITS.iter().filter_map(|exit| exit.kind).collect();
        assert_eq!(kinds.len(), 10);
        assert_eq!(ErrorKind::Corrupt.exit_code(), 20);
    }
}
