//! The one error of the program.
//!
//! Rule: the kind says what the caller should do, never which library failed; each kind has one exit code and one
//! entry in the runbook. The message names the thing, the remedy says what to do about it.

use std::fmt;

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

impl ErrorKind {
    /// Every kind with its exit code: the one table for the docs, systemd and Kubernetes.
    pub const EXIT_CODES: &[(ErrorKind, u8)] = &[
        (ErrorKind::Config, 10),
        (ErrorKind::Conflict, 11),
        (ErrorKind::Denied, 12),
        (ErrorKind::Unavailable, 13),
        (ErrorKind::Unfit, 14),
        (ErrorKind::Corrupt, 20),
        (ErrorKind::Newer, 21),
        (ErrorKind::Bug, 70),
        (ErrorKind::Throttled, 75),
        (ErrorKind::Cancelled, 130),
    ];

    /// The process exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        Self::EXIT_CODES.iter().find(|(kind, _)| *kind == self).map_or(70, |(_, code)| *code)
    }
}

/// An error with its kind, what was being done, and what a person can do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    doing: Vec<String>,
    remedy: Option<String>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), doing: Vec::new(), remedy: None }
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
    use super::*;

    #[test]
    fn an_error_reads_from_the_outermost_act_to_the_cause() {
        let error =
            Error::new(ErrorKind::Unavailable, "503").doing("read page 7 of tasks").doing("back up acme");
        assert_eq!(error.to_string(), "back up acme: read page 7 of tasks: 503");
    }

    #[test]
    fn every_kind_has_an_exit_code_of_its_own() {
        let mut codes: Vec<u8> = ErrorKind::EXIT_CODES.iter().map(|(_, code)| *code).collect();
        codes.dedup();
        assert_eq!(codes.len(), 10);
        assert_eq!(ErrorKind::Corrupt.exit_code(), 20);
    }
}
