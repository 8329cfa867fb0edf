//! What a repository is: its format, its organization, and the URL it was written under.
//!
//! Rule: `repository.json` is created once and never changed. Nothing is read or written for another organization,
//! in a newer format, or, for writers, under another URL: Iceberg's files hold absolute URLs, and a repository that was
//! moved stays readable only as long as all of them are of one mind.
//! A crash leaves either no repository or a whole one.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{FORMAT_VERSION, Hash};
use crate::repository::keys::Key;
use crate::repository::probe;
use crate::repository::store::Store;

/// The content of `repository.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u32,
    id: Hash,
    organization: String,
    url: String,
    created_at: DateTime<Utc>,
    program: String,
}

/// The version tag that every one of our own files begins with, whatever else it holds.
#[derive(Deserialize)]
struct Tag {
    format: u32,
}

/// The place where the backup of one organization lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Store,
    identity: Arc<Identity>,
}

impl Repository {
    /// Opens what is there, to read it; none, where the store answers that nothing is. It may have been copied or moved
    /// since it was written.
    pub async fn find(store: Store) -> Result<Option<Self>> {
        let doing = |error: Error| error.doing(opening(&store));
        let bytes = store.try_read(&Key::Repository.to_string()).await.map_err(doing)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let identity =
            tagged::<Identity>(&bytes).map_err(|error| doing(error.doing("read repository.json")))?;
        Ok(Some(Self { store, identity: Arc::new(identity) }))
    }

    /// Opens what has to be there, to read it.
    pub async fn open(store: Store) -> Result<Self> {
        let doing = opening(&store);
        Self::find(store).await?.ok_or_else(|| {
            Error::new(ErrorKind::Config, "there is no repository here")
                .remedy("correct the repository's URL, or create it with `asana-backup run`")
                .doing(doing)
        })
    }

    /// Opens the repository of `organization` to write to it, and creates it where there is none. A store that gives one
    /// name twice is then refused, unless its settings say to live with that.
    pub async fn open_or_create(store: Store, organization: &str, now: DateTime<Utc>) -> Result<Self> {
        if store.try_read(&Key::Repository.to_string()).await?.is_none() {
            let (id, probe) = new_id(&store, organization, now);
            prove_fit(&store, probe).await?;
            create(&store, organization, now, id).await?;
        }
        let repository = Self::open(store).await?;
        let Identity { organization: theirs, url, .. } = &*repository.identity;
        if theirs != organization {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{} holds organization {theirs}, not {organization}", repository.store.url()),
            )
            .remedy("give every organization a repository URL of its own"));
        }
        if url != repository.store.url() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("this repository was written under {url}, and is now at {}", repository.store.url()),
            )
            .remedy("a moved repository can be read and restored, not continued: use its first URL, or begin another"));
        }
        Ok(repository)
    }

    /// The organization's gid.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.identity.organization
    }

    /// When it was created.
    #[must_use]
    pub fn created_at(&self) -> DateTime<Utc> {
        self.identity.created_at
    }

    /// Where it lies.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The URL of `key` as Iceberg's files name it: under the URL the repository was written under.
    #[must_use]
    pub fn url_of(&self, key: &str) -> String {
        format!("{}/{key}", self.identity.url)
    }

    /// The key of `url`, as one of Iceberg's files names it; none if it lies outside of this repository.
    #[must_use]
    pub fn key_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(&*self.identity.url)?.strip_prefix('/')
    }

    /// Distinguishes this repository from all others.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.identity.id
    }
}

fn opening(store: &Store) -> String {
    format!("open the repository {}", store.url())
}

/// The id of a new repository, and the probe that goes before it. Nothing here is left to chance: whoever creates the
/// same repository at the same moment writes the same bytes.
fn new_id(store: &Store, organization: &str, now: DateTime<Utc>) -> (Hash, Ulid) {
    let id = Hash::of(format!("{}\n{organization}\n{}", store.url(), now.to_rfc3339()).as_bytes());
    let random = id.bytes().iter().take(10).fold(0, |random, byte| random << 8 | u128::from(*byte));
    (id, Ulid::from_parts(now.timestamp_millis().unsigned_abs(), random))
}

async fn prove_fit(store: &Store, probe: Ulid) -> Result<()> {
    match probe::prove(store, probe).await {
        Err(error) if error.kind() == ErrorKind::Unfit && store.allows_unfit() => {
            tracing::error!(store = store.url(), %error, "unfit store used as told: two runs at once may damage it");
            Ok(())
        }
        verdict => verdict.map_err(|error| error.doing(format!("try the store {}", store.url()))),
    }
}

async fn create(store: &Store, organization: &str, now: DateTime<Utc>, id: Hash) -> Result<()> {
    let identity = Identity {
        format: FORMAT_VERSION,
        id,
        organization: organization.to_owned(),
        url: store.url().to_owned(),
        created_at: now,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    match store.create(&Key::Repository.to_string(), json(&identity)?).await {
        // Somebody else was first: whose it is now is asked of the file itself.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        outcome => outcome,
    }
}

/// `value` as the JSON that is stored: indented, because people read it, and ending in a line feed.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Bytes> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|cause| Error::new(ErrorKind::Bug, format!("write JSON: {cause}")))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// Reads a file of our own that says its format's version.
pub(super) fn tagged<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    let garbled =
        |cause: serde_json::Error| Error::new(ErrorKind::Corrupt, format!("it is garbled: {cause}"));
    let Tag { format } = serde_json::from_slice(bytes).map_err(garbled)?;
    if format > FORMAT_VERSION {
        return Err(Error::new(
            ErrorKind::Newer,
            format!("its format is {format}, and this program knows {FORMAT_VERSION}"),
        )
        .remedy("upgrade this program"));
    }
    serde_json::from_slice(bytes).map_err(garbled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{Flaw, flawed, memory, moment, moved, unfit_allowed};

    #[tokio::test]
    async fn no_repository_begins_in_a_store_that_gives_one_name_twice() {
        let (store, careless) = (memory(), [Flaw::Careless; 20]);
        let error =
            Repository::open_or_create(flawed(&store, &careless), "12", moment(0)).await.expect_err("unfit");
        assert_eq!(error.kind(), ErrorKind::Unfit);
        assert_eq!(store.try_read("repository.json").await.expect("readable"), None);
        let lenient = unfit_allowed(&flawed(&store, &careless));
        Repository::open_or_create(lenient, "12", moment(0)).await.expect("as told");
    }

    #[tokio::test]
    async fn a_repository_belongs_to_one_organization() {
        let store = memory();
        let made = Repository::open_or_create(store.clone(), "12", moment(0)).await.expect("made");
        let again = Repository::open_or_create(store.clone(), "12", moment(60)).await.expect("opened");
        assert_eq!(made.id(), again.id());
        let error = Repository::open_or_create(store, "13", moment(0)).await.expect_err("foreign");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("12") && error.to_string().contains("13"), "{error}");
    }

    #[tokio::test]
    async fn where_there_is_no_repository_the_error_says_what_to_do() {
        let error = Repository::open(memory()).await.expect_err("nothing there");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("`asana-backup run`")), "{error}");
        assert!(Repository::find(memory()).await.expect("it answers").is_none());
    }

    #[tokio::test]
    async fn a_newer_format_is_refused_whatever_it_holds() {
        let store = memory();
        store
            .create("repository.json", br#"{"format":2,"shape":"round"}"#.as_slice().into())
            .await
            .expect("put");
        let error = Repository::open(store).await.expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::Newer);
    }

    #[tokio::test]
    async fn a_moved_repository_is_read_and_not_written() {
        let store = memory();
        let moved = moved(&store, "memory:///elsewhere");
        let written = Repository::open_or_create(store, "12", moment(0)).await.expect("made");
        let read = Repository::open(moved.clone()).await.expect("readable");
        assert_eq!(read.url_of("a/b"), written.url_of("a/b"));
        assert_eq!(read.key_of(&written.url_of("a/b")), Some("a/b"));
        assert_eq!(read.key_of("memory:///repository-of-others/a"), None);
        let error = Repository::open_or_create(moved, "12", moment(0)).await.expect_err("not writable");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
