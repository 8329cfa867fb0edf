//! The door to the place where a repository lives: a bucket or a local folder.
//!
//! In reading order: [`Store`] opens a URL, as a folder (`local`) or a bucket (`s3`, `gcs`), reached over the `network` with
//! the `credentials` of a profile, or of whatever other `source` there is; `write` and `read` are what a repository is made
//! with, `trial` what a store is tried with, and `bucket` asks what is no object; `failure` says of every answer what to do.
//!
//! Rule: nothing is overwritten but a version hint, and the outcome of a write is never guessed. Whatever the answer to
//! a put, the object is read back (of a part, its length): the same bytes mean it worked, others mean somebody else was
//! there first, none mean to try again, unless it was refused for good. Only a store that cannot be read leaves the
//! question open: Unavailable, and the next run sees. A success that wrote nothing, an "is there already" to our own
//! repeated request, and a refusal after the write are all of them answers that real servers and clients give.
//! A crash leaves an object whole or absent: a bucket's puts are atomic, and a local file is written aside, synced, linked
//! under its name, and its folder synced. A local crash may leave a file `<name>#<n>` behind, which no listing shows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore};

use crate::config::StoreSettings;
use crate::config::address::shown;
use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod answers;
mod bucket;
mod credentials;
mod failure;
mod gcs;
mod local;
mod network;
mod read;
mod s3;
mod source;
#[cfg(test)]
pub(super) mod tests;
mod trial;
mod write;

pub(super) use bucket::{Lock, Versioning};
pub use read::Listed;
pub(super) use trial::Attempt;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// The pause before the second try of a write; it doubles.
    pause: Duration,
    /// How long one request may take.
    request: Duration,
    /// How long there may be none who gives credentials, before it is said that nobody does.
    credentials: Duration,
    /// How long the store's own client repeats a request. Below the five minutes after which S3 refuses a signature
    /// (`RetryConfig`'s own documentation, `object_store` 0.14).
    repeat: Duration,
    /// The client's first pause between repetitions. With its own, which begin at 100 ms and hardly grow, ten
    /// repetitions were over after four seconds; with these they ride out about a minute.
    first: Duration,
    /// The client's longest pause.
    longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(200),
            request: Duration::from_secs(120),
            credentials: Duration::from_secs(25),
            repeat: Duration::from_secs(240),
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
        }
    }
}

/// A bucket's prefix or a local folder. The keys of a bucket are the crate's to hold; it does not wipe them.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Arc<str>,
    patience: Patience,
    /// What parts are given beside their bytes: their storage class.
    of_parts: Attributes,
    /// What a folder has not.
    remote: Option<bucket::Remote>,
    /// Whether it has taken our credentials since it was opened; clones know it too.
    has_worked: Arc<AtomicBool>,
    allow_unfit: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `s3://bucket/prefix`, `gs://bucket/prefix`, `file:///folder` or a plain path. Reads and writes nothing yet.
    pub fn open(url: &str, settings: &StoreSettings) -> Result<Self> {
        let request = Duration::from_secs(settings.request_timeout_seconds.get().into());
        let patience = Patience { request, ..Patience::default() };
        // The URL is named in no error before it is known to hold no secret.
        settings.check(url).map_err(|error| error.doing("open the store"))?;
        let opened = match url.split_once("://") {
            Some(("s3", rest)) => s3::open(rest, settings, AmazonS3Builder::from_env(), patience),
            Some(("gs", rest)) => gcs::open(rest, settings, GoogleCloudStorageBuilder::from_env(), patience),
            Some(("file", path)) if path.starts_with('/') => local::open(path),
            Some(_) => Err(Error::new(
                ErrorKind::Config,
                "neither s3://bucket/prefix, gs://bucket/prefix nor a local path",
            )
            .remedy("write `s3://bucket/prefix`, `gs://bucket/prefix`, `file:///folder` or a path")),
            None => local::open(url),
        };
        let store = opened.map_err(|error| error.doing(format!("open the store `{}`", shown(url))))?;
        Ok(Self { allow_unfit: settings.allow_unfit, ..store })
    }

    /// A store that is already open: `prefix` is where in `objects` the repository lies, `url` what others call that
    /// place.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>, prefix: &str, url: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(object_store::Error::from)?;
        Ok(Self {
            objects,
            prefix,
            url: url.trim_end_matches('/').into(),
            patience: Patience::default(),
            of_parts: Attributes::new(),
            remote: None,
            has_worked: Arc::default(),
            allow_unfit: false,
        })
    }

    /// A prefix of the bucket behind `objects`; `place` is its URL's `bucket/prefix`.
    fn of_bucket(
        objects: Arc<dyn ObjectStore>,
        (scheme, bucket, prefix): (&str, &str, &str),
        settings: &StoreSettings,
        (patience, remote): (Patience, bucket::Remote),
    ) -> Result<Self> {
        let url = if prefix.is_empty() {
            format!("{scheme}://{bucket}")
        } else {
            format!("{scheme}://{bucket}/{prefix}")
        };
        let class = settings.storage_class.as_ref().map(|class| class.as_str().to_owned());
        Ok(Self {
            patience,
            of_parts: class.into_iter().map(|class| (Attribute::StorageClass, class)).collect(),
            remote: Some(remote),
            ..Self::from_object_store(objects, prefix, &url)?
        })
    }

    /// What others call this place: `s3://bucket/prefix`, or an absolute path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What others call the object `key`.
    #[must_use]
    pub fn url_of(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// Whether a repository may begin here although the store gives one name twice.
    pub(super) fn allows_unfit(&self) -> bool {
        self.allow_unfit
    }

    /// An answer of the store, whose failures are judged by whether it has worked before.
    fn told<T>(&self, answer: object_store::Result<T>) -> Result<T> {
        use object_store::Error::{AlreadyExists, NotFound, Precondition};
        match answer {
            Ok(_) | Err(NotFound { .. } | AlreadyExists { .. } | Precondition { .. }) => {
                self.has_worked.store(true, Ordering::Relaxed);
                answer.map_err(Error::from)
            }
            Err(cause) => Err(failure::judged(cause, self.has_worked.load(Ordering::Relaxed))),
        }
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(format!("{}/{key}", self.prefix)).map_err(|cause| object_store::Error::from(cause).into())
    }
}

/// The bucket and the prefix of a URL without its scheme.
fn bucket_and_prefix(rest: &str) -> Result<(&str, &str)> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::new(ErrorKind::Config, "no bucket is named").remedy("write `s3://bucket/prefix`"));
    }
    Ok((bucket, prefix.trim_matches('/')))
}
