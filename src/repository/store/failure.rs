//! What to do about each failure of a store.
//!
//! Rule: the kind of the store's error decides, and where it says nothing, the I/O error below it, then what a server
//! answered: a refusal (4xx) is a setting, unless it is known to pass. Credentials that never
//! worked are a setting; those that did, and have ended without others to follow, may come back. A server's answer is
//! repeated in one line of bounded length; what signs a request is in none of them.

use std::error::Error as StdError;

use super::network::{ELSEWHERE, METADATA, UNTRUSTED};
use super::source::NotGiven;
use crate::error::{Error, ErrorKind};

/// How much of a server's answer an error repeats.
const ANSWER_CHARS: usize = 500;

pub(super) fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .remedy("run `verify` to see all that is damaged, then restore the object from the bucket's versions or a copy")
}

impl From<object_store::Error> for Error {
    /// Says by its kind what to do about a failure of the store.
    fn from(cause: object_store::Error) -> Self {
        use object_store::Error as Cause;
        match &cause {
            Cause::NotFound { .. } => corrupt("it is not there".to_owned()),
            Cause::AlreadyExists { .. } | Cause::Precondition { .. } | Cause::NotModified { .. } => {
                Self::new(ErrorKind::Conflict, "something is there already")
            }
            Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
                Self::new(ErrorKind::Config, plain(&cause)).remedy(
                    "check the store's credentials, what its policy allows them, and this machine's clock",
                )
            }
            Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
                Self::new(ErrorKind::Unfit, plain(&cause))
                    .remedy("use a store with atomic conditional create")
            }
            Cause::InvalidPath { .. } | Cause::UnknownConfigurationKey { .. } => {
                Self::new(ErrorKind::Config, plain(&cause))
                    .remedy("correct the repository's URL or the store's settings")
            }
            _ => generic(&cause),
        }
    }
}

/// The same, where it is known whether the store `has_worked` with our credentials before.
pub(super) fn judged(cause: object_store::Error, has_worked: bool) -> Error {
    if !(has_worked && is_of_credentials(&cause)) {
        return cause.into();
    }
    Error::new(ErrorKind::Unavailable, plain(&cause))
        .remedy("see why the credentials, which worked before, are not followed by others, then run again")
}

/// Whether nothing is wrong but that credentials have ended, or that nobody gives any.
fn is_of_credentials(cause: &object_store::Error) -> bool {
    use object_store::Error as Cause;
    let says = |words: &[&str]| {
        let text = plain(cause);
        words.iter().any(|word| text.contains(word))
    };
    match cause {
        Cause::Unauthenticated { .. } => true,
        // What a policy denies stays denied.
        Cause::PermissionDenied { .. } => says(ENDED),
        Cause::Generic { .. } => {
            says(ENDED) || says(NOT_GIVEN) || says(&METADATA) || below::<NotGiven>(cause).is_some()
        }
        _ => false,
    }
}

fn generic(cause: &object_store::Error) -> Error {
    let text = plain(cause);
    if let Some(nobody) = below::<NotGiven>(cause) {
        return Error::new(ErrorKind::Config, text).remedy(nobody.remedy);
    }
    match below::<std::io::Error>(cause).map(std::io::Error::kind) {
        Some(std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem) => {
            return Error::new(ErrorKind::Config, text)
                .remedy("let this user write to the repository's folder");
        }
        Some(std::io::ErrorKind::NotADirectory) => {
            return Error::new(ErrorKind::Config, text)
                .remedy("choose a folder, not a file, for the repository");
        }
        Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
            return Error::new(ErrorKind::Unavailable, text).remedy("free some space, then run again");
        }
        _ => {}
    }
    let passes = PASSING.iter().any(|word| text.contains(word));
    if let Some((_, remedy)) =
        SETTINGS.iter().filter(|_| !passes).find(|(words, _)| words.iter().any(|word| text.contains(word)))
    {
        return Error::new(ErrorKind::Config, text).remedy(*remedy);
    }
    if !passes
        && status(&text).is_some_and(|status| (400..500).contains(&status) && !MAY_PASS.contains(&status))
    {
        return Error::new(ErrorKind::Config, text).remedy(
            "correct the store's settings, or what else the answer names: it refuses this, and will again",
        );
    }
    Error::new(ErrorKind::Unavailable, text).remedy("see whether the store answers, then run again")
}

/// The status that a server answered, if the text of a failure tells of one.
pub(super) fn status(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once(" status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// Refusals that are none of settings: too slow, at the same time as another, too early, too often; and a range that is
/// not there, which says something of the object.
const MAY_PASS: &[u16] = &[408, 409, 412, 416, 425, 429];

/// The same in the words of S3, which says 400 to all sorts of things. A body that was altered on its way, or did not
/// arrive, is sent again.
const PASSING: &[&str] = &[
    "<Code>RequestTimeout<",
    "<Code>IncompleteBody<",
    "<Code>OperationAborted<",
    "<Code>InvalidRange<",
    "<Code>SlowDown",
    "<Code>InternalError<",
    "<Code>ServiceUnavailable<",
    "Throttl",
    "<Code>BadDigest<",
    "<Code>InvalidDigest<",
    "<Code>XAmzContentSHA256Mismatch<",
    "<Code>XAmzContentChecksumMismatch<",
];

/// What in the text of a failure tells that a setting is wrong, where the store's client takes it for any failure: it has
/// no kind for what S3 refuses with 400, nor for what a token service or the machine's own metadata says.
const SETTINGS: &[(&[&str], &str)] = &[
    (&[UNTRUSTED], "name the certificates of the store's own authority in `ca_file`, or correct its address"),
    (&["AuthorizationHeaderMalformed"], "set `region` to the region that the bucket is in"),
    (
        &[ELSEWHERE],
        "set `region` to the region that the bucket is in, and `endpoint` to its server's own address, if that is not AWS",
    ),
    (&["InvalidStorageClass"], "set `storage_class` to one that this store has"),
    (&["<Code>KMS."], "see whether the key of `kms_key_id` is there, and may be used with these credentials"),
    (ENDED, OF_ROLES),
    (NOT_GIVEN, OF_ROLES),
    (&METADATA, "give this machine the role that the profile asks it for, or name another profile"),
];

const OF_ROLES: &str = "check the role, its trust, and the token file that the environment names";

/// What S3 says of credentials that are no longer good.
const ENDED: &[&str] = &["<Code>ExpiredToken", "<Code>InvalidToken", "<Code>InvalidAccessKeyId"];

/// What is said where a token service gives none. Where the store itself denies access, its client has a kind for it.
const NOT_GIVEN: &[&str] =
    &["<Code>InvalidIdentityToken", "<Code>IDPRejectedClaim", "<Code>AccessDenied", "token file '"];

/// The first `T` among the causes of `error`.
fn below<T: StdError + 'static>(error: &object_store::Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// One line, however much the server answered.
fn plain(cause: &object_store::Error) -> String {
    let line = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(ANSWER_CHARS).collect()
}
