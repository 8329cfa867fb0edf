//! The door to the place where a repository lives: a bucket or a local folder.
//!
//! Rule: nothing is overwritten but a version hint, and the outcome of a write is never guessed. Whatever the answer to
//! a put, the object is read back (of a part, its length): the same bytes mean it worked, others mean somebody else was
//! there first, none mean to try again. Only a store that cannot be read leaves the question open: Unavailable, and the
//! next run sees. A success that wrote nothing, an "is there already" to our own repeated request, and a refusal after the
//! write are all of them answers that real servers and clients give.
//! A crash leaves an object whole or absent: S3 puts are atomic, and a local file is written aside, synced, linked
//! under its name, and its folder synced. A local crash may leave a file `<name>#<n>` behind, which no listing shows.

use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

/// How often a write is tried whose outcome could be read back as "not there". The store's own client has retried each
/// of them already; this is about answers that got lost.
const ATTEMPTS: u32 = 4;
/// Ranges of one object that are asked for at once.
const RANGES_AT_ONCE: usize = 8;
/// How much of a server's answer an error repeats.
const ANSWER_CHARS: usize = 500;

/// How to reach an S3-compatible store. What is not set is taken from the usual `AWS_*` variables.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// The address of an S3-compatible server; AWS itself without.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Whether the bucket goes into the path of the request rather than into the host name.
    pub path_style: Option<bool>,
    /// Whether plain HTTP will do.
    pub allow_http: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// The pause before the second try of a write; it doubles.
    pause: Duration,
    /// How long one request may take: a part of 32 MiB at 2.2 Mbit/s.
    request: Duration,
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
            repeat: Duration::from_secs(240),
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
        }
    }
}

/// What tells that an object that is there already is the one to be created.
#[derive(Clone, Copy)]
enum Same {
    Bytes,
    Length,
}

/// What of a store's answers to a put is believed.
#[derive(Clone, Copy)]
enum Trust {
    /// None: what is there decides. Some servers answer 200 before they fail.
    Nothing,
    /// That it worked.
    Success,
}

/// An object that a listing showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its key, relative to the repository.
    pub key: String,
    /// Its length.
    pub bytes: u64,
}

/// A bucket's prefix or a local folder. The keys of a bucket are the crate's to hold; it does not wipe them.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Arc<str>,
    patience: Patience,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `s3://bucket/prefix`, `file:///folder` or a plain path. Reads and writes nothing yet.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        let opened = match url.split_once("://") {
            Some(("s3", rest)) => Self::s3(rest, options, AmazonS3Builder::from_env(), Patience::default()),
            Some(("file", path)) if path.starts_with('/') => Self::local(path),
            Some(_) => Err(Error::new(ErrorKind::Config, "neither s3://bucket/prefix nor a local path")
                .remedy("write `s3://bucket/prefix`, `file:///folder` or a path")),
            None => Self::local(url),
        };
        opened.map_err(|error| error.doing(format!("open the store `{url}`")))
    }

    /// A store that is already open: `prefix` is where in `objects` the repository lies, `url` what others call that
    /// place.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>, prefix: &str, url: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(object_store::Error::from)?;
        Ok(Self { objects, prefix, url: url.trim_end_matches('/').into(), patience: Patience::default() })
    }

    fn s3(rest: &str, options: &StoreOptions, builder: AmazonS3Builder, patience: Patience) -> Result<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(
                Error::new(ErrorKind::Config, "no bucket is named").remedy("write `s3://bucket/prefix`")
            );
        }
        let Patience { request, repeat, first, longest, .. } = patience;
        let timeout = format!("{} ms", request.as_millis());
        let mut builder = builder
            .with_bucket_name(bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), timeout)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: first, max_backoff: longest, base: 3.0 },
                retry_timeout: repeat,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(path_style) = options.path_style {
            builder = builder.with_virtual_hosted_style_request(!path_style);
        }
        if options.allow_http {
            builder = builder.with_allow_http(true);
        }
        let url =
            if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
        Ok(Self { patience, ..Self::from_object_store(Arc::new(builder.build()?), prefix, &url)? })
    }

    fn local(path: &str) -> Result<Self> {
        let path = canonical(path)?;
        let url = path.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the path is not UTF-8").remedy("choose another folder")
        })?;
        let prefix = Path::from_absolute_path(&path).map_err(object_store::Error::from)?;
        let objects = LocalFileSystem::new().with_fsync(true);
        let url = url.trim_end_matches('/').into();
        Ok(Self { objects: Arc::new(objects), prefix, url, patience: Patience::default() })
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

    /// Creates `key`, or finds it there with exactly these bytes. Anything else there is a Conflict.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Same::Bytes, Trust::Nothing).await
    }

    /// Creates `key`, whose name says its content, or finds it there with the same length.
    pub async fn create_part(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Same::Length, Trust::Nothing).await
    }

    /// [`Self::create`] that believes a success: what a store claims is all that a trial of it wants to know.
    pub(super) async fn create_trusting(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Same::Bytes, Trust::Success).await
    }

    /// Tries to create `key` until it is there.
    async fn create_unless(&self, key: &str, bytes: &Bytes, same: Same, trust: Trust) -> Result<()> {
        let doing = |error: Error| error.doing(format!("create {key}"));
        let mut attempt = 1;
        loop {
            let put = self.put(key, bytes, PutMode::Create).await;
            match &put {
                Ok(()) if matches!(trust, Trust::Success) => return Ok(()),
                Err(failure) if matches!(failure.kind(), ErrorKind::Config | ErrorKind::Unfit) => {
                    return put.map_err(doing);
                }
                _ => {}
            }
            let there = match self.is_there(key, bytes, same).await {
                Ok(true) => return Ok(()),
                Ok(false) => Ok(()),
                Err(unread) if unread.kind() == ErrorKind::Unavailable => Err(unread),
                Err(verdict) => return Err(doing(verdict)),
            };
            if attempt == ATTEMPTS {
                return Err(doing(unsettled(put, there)));
            }
            self.pause(attempt).await;
            attempt += 1;
        }
    }

    async fn pause(&self, attempt: u32) {
        tokio::time::sleep(self.patience.pause * 2_u32.pow(attempt - 1)).await;
    }

    /// Whether `key` is there as it should be; something else in its place is an error.
    async fn is_there(&self, key: &str, bytes: &Bytes, same: Same) -> Result<bool> {
        match same {
            Same::Bytes => match self.try_read(key).await? {
                None => Ok(false),
                Some(there) if there == bytes => Ok(true),
                Some(_) => Err(Error::new(ErrorKind::Conflict, "another content is there already")),
            },
            Same::Length => match self.try_length(key).await? {
                None => Ok(false),
                Some(length) if length == bytes.len() as u64 => Ok(true),
                Some(length) => {
                    let expected = bytes.len();
                    Err(corrupt(format!("{length} bytes are there, and {expected} belong under this name")))
                }
            },
        }
    }

    /// Writes `key`, whatever is there: for version hints alone.
    pub async fn put_hint(&self, key: &str, bytes: Bytes) -> Result<()> {
        let mut attempt = 1;
        loop {
            match self.put(key, &bytes, PutMode::Overwrite).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Unavailable && attempt < ATTEMPTS => {
                    self.pause(attempt).await;
                }
                Err(error) => return Err(error.doing(format!("write {key}"))),
            }
            attempt += 1;
        }
    }

    async fn put(&self, key: &str, bytes: &Bytes, mode: PutMode) -> Result<()> {
        match self.objects.put_opts(&self.path(key)?, PutPayload::from(bytes.clone()), mode.into()).await {
            Ok(_) => Ok(()),
            // A put needs nothing to be there but the bucket.
            Err(object_store::Error::NotFound { source, .. }) => {
                Err(Error::new(ErrorKind::Config, format!("the store is not there: {source}"))
                    .remedy("create the bucket, or correct the repository's URL"))
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The bytes of `key`, which somebody relies on: its absence is Corrupt.
    pub async fn read(&self, key: &str) -> Result<Bytes> {
        self.get(key).await.map_err(|error| error.doing(format!("read {key}")))
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        Ok(self.objects.get(&self.path(key)?).await?.bytes().await?)
    }

    /// The bytes of `key`, checked against the length and the digest it was written with.
    pub async fn read_verified(&self, key: &str, length: u64, sha256: Hash) -> Result<Bytes> {
        let bytes = self.read(key).await?;
        let complain = |what: String| Err(corrupt(what).doing(format!("read {key}")));
        if bytes.len() as u64 != length {
            return complain(format!("it has {} bytes, and was written with {length}", bytes.len()));
        }
        let digest = Hash::of(&bytes);
        if digest != sha256 {
            return complain(format!("its SHA-256 is {digest}, and was written as {sha256}"));
        }
        Ok(bytes)
    }

    /// The bytes of `ranges` of `key`, which somebody relies on and which has `length` bytes. No digest covers them.
    pub async fn read_ranges(&self, key: &str, length: u64, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let doing = |error: Error| error.doing(format!("read {key}"));
        let path = self.path(key)?;
        // Not the crate's `get_ranges`: it reads gaps of up to 1 MiB along, more than most lookups need in all.
        let each = ranges.iter().map(|range| self.objects.get_range(&path, range.clone()));
        let read: Result<Vec<Bytes>> =
            stream::iter(each).buffered(RANGES_AT_ONCE).map_err(Error::from).try_collect().await;
        let whole = |bytes: &[Bytes]| {
            bytes.iter().zip(ranges).all(|(bytes, range)| bytes.len() as u64 == range.end - range.start)
        };
        match read {
            Ok(bytes) if whole(&bytes) => Ok(bytes),
            Err(error) if error.kind() != ErrorKind::Unavailable => Err(doing(error)),
            // A range beyond the end of an object is to some stores a failure as any other.
            failed => match (self.length(key).await?, failed) {
                (found, Err(error)) if found == length => Err(doing(error)),
                (found, _) => {
                    Err(doing(corrupt(format!("it has {found} bytes, and was written with {length}"))))
                }
            },
        }
    }

    /// The bytes of `key`, if it is there.
    pub async fn try_read(&self, key: &str) -> Result<Option<Bytes>> {
        let doing = |error: Error| error.doing(format!("read {key}"));
        match self.objects.get(&self.path(key)?).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|cause| doing(cause.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(doing(cause.into())),
        }
    }

    /// The length of `key`, which somebody relies on: its absence is Corrupt.
    pub async fn length(&self, key: &str) -> Result<u64> {
        let meta = self.objects.head(&self.path(key)?).await;
        meta.map(|meta| meta.size).map_err(|cause| Error::from(cause).doing(format!("look at {key}")))
    }

    async fn try_length(&self, key: &str) -> Result<Option<u64>> {
        match self.objects.head(&self.path(key)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(Error::from(cause).doing(format!("look at {key}"))),
        }
    }

    /// Everything below the folder `prefix`, at any depth, in the order of the keys.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let found = self.objects.list(Some(&self.path(prefix)?)).try_collect::<Vec<_>>().await;
        self.listed(found, prefix)
    }

    /// The objects right in the folder `prefix`, in the order of the keys.
    pub async fn list_folder(&self, prefix: &str) -> Result<Vec<Listed>> {
        let found = self.objects.list_with_delimiter(Some(&self.path(prefix)?)).await;
        self.listed(found.map(|result| result.objects), prefix)
    }

    fn listed(
        &self,
        found: object_store::Result<Vec<object_store::ObjectMeta>>,
        prefix: &str,
    ) -> Result<Vec<Listed>> {
        let doing = |error: Error| error.doing(format!("list {prefix}/"));
        let found = match found {
            Err(object_store::Error::NotFound { source, .. }) => {
                Err(doing(Error::new(ErrorKind::Config, format!("the store is not there: {source}"))))
            }
            other => other.map_err(|cause| doing(cause.into())),
        }?;
        let skip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let key_of = |location: &Path| location.as_ref().get(skip..).map(str::to_owned);
        let mut listed: Vec<Listed> = found
            .iter()
            .filter_map(|meta| key_of(&meta.location).map(|key| Listed { key, bytes: meta.size }))
            .collect();
        listed.sort();
        Ok(listed)
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(format!("{}/{key}", self.prefix)).map_err(|cause| object_store::Error::from(cause).into())
    }
}

/// `path` made absolute, its links resolved as far as it exists: the same before and after the folder is made.
fn canonical(path: &str) -> Result<PathBuf> {
    let refuse =
        |cause: std::io::Error| Error::new(ErrorKind::Config, cause.to_string()).remedy("correct the path");
    let absolute = std::path::absolute(path).map_err(refuse)?;
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match std::fs::canonicalize(there) {
            Ok(found) => return Ok(missing.iter().rev().fold(found, |path, name| path.join(name))),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(refuse(cause)),
        }
        match (there.components().next_back(), there.parent()) {
            (Some(Component::Normal(name)), Some(parent)) => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("`{path}` climbs out of a folder that is not there"),
                )
                .remedy("write the path without `..`"));
            }
        }
    }
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .remedy("run `verify` to see all that is damaged, then restore the object from the bucket's versions or a copy")
}

/// What is left when every try to write failed, and reading back showed nothing, or failed too.
fn unsettled(put: Result<()>, there: Result<()>) -> Error {
    match (put, there) {
        (Err(failure), Ok(())) if failure.kind() == ErrorKind::Unavailable => failure,
        (Err(failure), Ok(())) => {
            Error::new(ErrorKind::Unavailable, format!("{failure}, and yet nothing is there"))
        }
        (Ok(()), Ok(())) => {
            Error::new(ErrorKind::Unavailable, "the store says it is written, and nothing is there")
        }
        (Ok(()), Err(unread)) => unread,
        (Err(failure), Err(unread)) => Error::new(
            ErrorKind::Unavailable,
            format!("{failure}; whether it was written is not known: {unread}"),
        ),
    }
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

fn generic(cause: &object_store::Error) -> Error {
    let text = plain(cause);
    match io_kind(cause) {
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
    // The address of the machine's own metadata, asked when no credentials are set.
    if text.contains("169.254.169.254") {
        return Error::new(ErrorKind::Config, text).remedy("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    Error::new(ErrorKind::Unavailable, text).remedy("see whether the store answers, then run again")
}

/// The first I/O error among the causes of `error`.
fn io_kind(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
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

#[cfg(test)]
pub(super) mod tests {
    use std::ops::Range;
    use std::pin::Pin;
    use std::sync::Mutex;

    use futures_util::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutOptions, PutResult,
    };

    use super::*;

    #[test]
    fn a_store_does_not_print_its_keys() {
        let builder = AmazonS3Builder::new().with_access_key_id("canary-id").with_secret_access_key("canary");
        let builder = builder.with_token("canary-of-a-session").with_region("us-east-1");
        let store =
            Store::s3("b/p", &StoreOptions::default(), builder, Patience::default()).expect("a store");
        assert_eq!(format!("{store:?}"), r#"Store { url: "s3://b/p", .. }"#);
    }

    /// An empty store in memory.
    pub(in crate::repository) fn memory() -> Store {
        Store::from_object_store(Arc::new(InMemory::new()), "", "memory:///repository").expect("a store")
    }

    /// A store on the S3 server at `endpoint`, reached as in earnest, but without patience.
    pub(in crate::repository) fn s3(endpoint: &str) -> Store {
        let options = StoreOptions {
            endpoint: Some(endpoint.to_owned()),
            region: Some("us-east-1".to_owned()),
            path_style: Some(true),
            allow_http: true,
        };
        let builder = AmazonS3Builder::new().with_access_key_id("key").with_secret_access_key("secret");
        let patience = Patience {
            pause: Duration::from_millis(1),
            request: Duration::from_millis(400),
            repeat: Duration::from_secs(5),
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
        };
        Store::s3("bucket/repository", &options, builder, patience).expect("a store")
    }

    /// The same objects, at another place.
    pub(in crate::repository) fn moved(store: &Store, url: &str) -> Store {
        Store { url: url.into(), ..store.clone() }
    }

    /// Takes an object away.
    pub(in crate::repository) async fn remove(store: &Store, key: &str) {
        store.objects.delete(&store.path(key).expect("a key")).await.expect("deleted");
    }

    /// What goes wrong with one put.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::repository) enum Flaw {
        /// It never arrives.
        Lost,
        /// It takes effect, and the answer is lost.
        Unanswered,
        /// It takes effect, and a repetition inside of the client says that it was there already.
        Repeated,
        /// It overwrites, whatever it was told.
        Careless,
        /// Nothing.
        None,
    }

    /// The same objects, behind a store that spoils its first puts, one flaw each.
    pub(in crate::repository) fn flawed(store: &Store, flaws: &[Flaw]) -> Store {
        let flaws = Mutex::new(flaws.iter().rev().copied().collect());
        Store { objects: Arc::new(Flawed { inner: store.objects.clone(), flaws }), ..store.clone() }
    }

    #[derive(Debug)]
    struct Flawed {
        inner: Arc<dyn ObjectStore>,
        flaws: Mutex<Vec<Flaw>>,
    }

    impl std::fmt::Display for Flawed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("flawed")
        }
    }

    type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

    impl ObjectStore for Flawed {
        fn put_opts<'s, 'p, 'a>(
            &'s self,
            at: &'p Path,
            payload: PutPayload,
            how: PutOptions,
        ) -> Answer<'a, PutResult>
        where
            's: 'a,
            'p: 'a,
        {
            Box::pin(async move {
                let cut =
                    || object_store::Error::Generic { store: "flawed", source: "connection cut".into() };
                let flaw = self.flaws.lock().expect("not poisoned").pop();
                match flaw {
                    Some(Flaw::Lost) => Err(cut()),
                    Some(Flaw::Unanswered) => self.inner.put_opts(at, payload, how).await.and(Err(cut())),
                    Some(Flaw::Repeated) => {
                        self.inner.put_opts(at, payload.clone(), how.clone()).await?;
                        self.inner.put_opts(at, payload, how).await
                    }
                    Some(Flaw::Careless) => self.inner.put_opts(at, payload, PutOptions::default()).await,
                    Some(Flaw::None) | None => self.inner.put_opts(at, payload, how).await,
                }
            })
        }

        fn put_multipart_opts<'s, 'p, 'a>(
            &'s self,
            at: &'p Path,
            how: PutMultipartOptions,
        ) -> Answer<'a, Box<dyn MultipartUpload>>
        where
            's: 'a,
            'p: 'a,
        {
            self.inner.put_multipart_opts(at, how)
        }

        fn get_opts<'s, 'p, 'a>(&'s self, at: &'p Path, how: GetOptions) -> Answer<'a, GetResult>
        where
            's: 'a,
            'p: 'a,
        {
            self.inner.get_opts(at, how)
        }

        fn get_ranges<'s, 'p, 'r, 'a>(
            &'s self,
            at: &'p Path,
            ranges: &'r [Range<u64>],
        ) -> Answer<'a, Vec<Bytes>>
        where
            's: 'a,
            'p: 'a,
            'r: 'a,
        {
            self.inner.get_ranges(at, ranges)
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.inner.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        fn list_with_delimiter<'s, 'p, 'a>(&'s self, prefix: Option<&'p Path>) -> Answer<'a, ListResult>
        where
            's: 'a,
            'p: 'a,
        {
            self.inner.list_with_delimiter(prefix)
        }

        fn copy_opts<'s, 'f, 't, 'a>(
            &'s self,
            from: &'f Path,
            to: &'t Path,
            how: CopyOptions,
        ) -> Answer<'a, ()>
        where
            's: 'a,
            'f: 'a,
            't: 'a,
        {
            self.inner.copy_opts(from, to, how)
        }
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_is_settled_by_what_is_there() {
        use Flaw::{Lost, Repeated, Unanswered};
        for flaws in [&[][..], &[Lost], &[Unanswered], &[Repeated], &[Lost, Lost, Unanswered]] {
            let store = flawed(&memory(), flaws);
            store.create("a", bytes("x")).await.unwrap_or_else(|error| panic!("{flaws:?}: {error}"));
            assert_eq!(store.read("a").await.expect("there"), bytes("x"));
            let store = flawed(&memory(), flaws);
            store.create_part("a", bytes("x")).await.unwrap_or_else(|error| panic!("{flaws:?}: {error}"));
        }
        let error = flawed(&memory(), &[Lost; 4]).create("a", bytes("x")).await.expect_err("four times");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn ranges_come_in_their_order_and_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let local = Store::open(folder.path().to_str().expect("UTF-8"), &StoreOptions::default());
        for store in [memory(), local.expect("a store")] {
            store.create("a", bytes("0123456789")).await.expect("created");
            let read = store.read_ranges("a", 10, &[7..10, 0..1, 2..5]).await.expect("read");
            assert_eq!(read, [bytes("789"), bytes("0"), bytes("234")]);
            assert_eq!(store.read_ranges("a", 10, &[]).await.expect("nothing"), Vec::<Bytes>::new());
            for ranges in [[0..1, 8..12], [0..1, 11..12], [0..1, 200..300]] {
                let error = store.read_ranges("a", 300, &ranges).await.expect_err("too short");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{ranges:?}: {error}");
            }
            let error = store.read_ranges("b", 10, &[0..1, 1..2]).await.expect_err("not there");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_content_is_a_conflict_and_stays() {
        let store = memory();
        store.create("a", bytes("x")).await.expect("created");
        store.create("a", bytes("x")).await.expect("the same again");
        for flaws in [&[][..], &[Flaw::Lost], &[Flaw::Lost, Flaw::Lost]] {
            let error = flawed(&store, flaws).create("a", bytes("y")).await.expect_err("different");
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
        assert_eq!(store.create_part("a", bytes("yy")).await.expect_err("longer").kind(), ErrorKind::Corrupt);
        assert_eq!(store.read("a").await.expect("there"), bytes("x"));
    }

    #[tokio::test]
    async fn what_is_missing_or_damaged_is_corrupt_and_named() {
        let store = memory();
        store.create("a", bytes("x")).await.expect("created");
        store.read_verified("a", 1, Hash::of(b"x")).await.expect("sound");
        for (key, length, sha256) in
            [("a", 2, Hash::of(b"x")), ("a", 1, Hash::of(b"y")), ("b", 1, Hash::of(b"x"))]
        {
            let error = store.read_verified(key, length, sha256).await.expect_err("damaged");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().starts_with(&format!("read {key}: ")), "{error}");
        }
        assert_eq!(store.try_read("b").await.expect("absent"), None);
        assert_eq!(store.length("b").await.expect_err("absent").kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_local_folder_is_made_listed_and_named_by_its_absolute_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a #1 b/ü/repository");
        let open = || Store::open(path.to_str().expect("UTF-8"), &StoreOptions::default()).expect("opened");
        let before = open();
        assert_eq!(before.list("x").await.expect("nothing yet"), []);
        assert_eq!(before.list_folder("x").await.expect("nothing yet"), []);
        before.create("x/b/c", bytes("1")).await.expect("created");
        before.create("x/a", bytes("22")).await.expect("created");
        before.put_hint("x/hint", bytes("3")).await.expect("written");
        before.put_hint("x/hint", bytes("44")).await.expect("overwritten");
        let store = open();
        assert_eq!(store.url(), before.url(), "the same before and after the folder is made");
        let shown = |listed: Vec<Listed>| listed.into_iter().map(|l| (l.key, l.bytes)).collect::<Vec<_>>();
        let flat = [("x/a".to_owned(), 2), ("x/hint".to_owned(), 2)];
        assert_eq!(shown(store.list_folder("x").await.expect("listed")), flat);
        assert_eq!(store.list("x").await.expect("listed").len(), 3);
        assert_eq!(std::fs::read(store.url_of("x/hint")).expect("a file"), b"44");
        assert_eq!(store.create("x/a", bytes("z")).await.expect_err("there").kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_place_that_makes_no_sense_is_refused() {
        for url in ["", "ftp://a/b", "s3://", "s3:///b", "file://a/b", "no-such-folder/../b"] {
            let error = Store::open(url, &StoreOptions::default()).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
        }
    }

    #[test]
    fn a_failure_says_by_its_kind_what_to_do() {
        let io = |kind: std::io::ErrorKind| object_store::Error::Generic {
            store: "local",
            source: std::io::Error::from(kind).into(),
        };
        for (cause, kind) in [
            (io(std::io::ErrorKind::PermissionDenied), ErrorKind::Config),
            (io(std::io::ErrorKind::StorageFull), ErrorKind::Unavailable),
            (io(std::io::ErrorKind::TimedOut), ErrorKind::Unavailable),
            (object_store::Error::NotFound { path: "a".into(), source: "404".into() }, ErrorKind::Corrupt),
            (
                object_store::Error::PermissionDenied { path: "a".into(), source: "403".into() },
                ErrorKind::Config,
            ),
            (object_store::Error::NotSupported { source: "no".into() }, ErrorKind::Unfit),
            (
                object_store::Error::AlreadyExists { path: "a".into(), source: "412".into() },
                ErrorKind::Conflict,
            ),
        ] {
            assert_eq!(Error::from(cause).kind(), kind);
        }
    }
}
