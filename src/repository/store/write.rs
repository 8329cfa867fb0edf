//! Writing: an object is created once, and the outcome is read back.
//!
//! Rule: each put but that of a version hint asks for its own condition (`If-None-Match: *`, or what Google calls it), in
//! every repetition too. What else there is to say is the room's rule, beside [`Store`].

use bytes::Bytes;
use object_store::{Attributes, ObjectStore as _, PutMode, PutOptions, PutPayload};

use super::Store;
use super::failure::corrupt;
use crate::error::{Error, ErrorKind, Result};

/// How often a write is tried whose outcome could be read back as "not there". The store's own client has retried each
/// of them already; this is about answers that got lost.
const ATTEMPTS: u32 = 4;

/// What is created, and so what tells that it is there already.
#[derive(Clone, Copy)]
enum Sort {
    /// Something whose name says nothing of it: its bytes tell.
    Plain,
    /// Something that is named by its content: its length tells.
    Named,
    /// The same, and kept in the storage class of parts.
    Part,
}

/// What of a store's answers to a put is believed.
#[derive(Clone, Copy)]
enum Trust {
    /// None: what is there decides. Some servers answer 200 before they fail.
    Nothing,
    /// That it worked.
    Success,
}

impl Store {
    /// Creates `key`, or finds it there with exactly these bytes. Anything else there is a Conflict.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Sort::Plain, Trust::Nothing).await
    }

    /// Creates `key`, whose name says its content, or finds it there with the same length.
    pub async fn create_named(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Sort::Named, Trust::Nothing).await
    }

    /// [`Self::create_named`] of a part, in the storage class of parts.
    pub async fn create_part(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Sort::Part, Trust::Nothing).await
    }

    /// [`Self::create`] that believes a success: what a store claims is all that a trial of it wants to know.
    pub(in crate::repository) async fn create_trusting(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.create_unless(key, &bytes, Sort::Plain, Trust::Success).await
    }

    /// Tries to create `key` until it is there.
    async fn create_unless(&self, key: &str, bytes: &Bytes, sort: Sort, trust: Trust) -> Result<()> {
        let doing = |error: Error| error.doing(format!("create {key}"));
        let mut attempt = 1;
        loop {
            let put = self.put(key, bytes, self.creating(sort)).await;
            if put.is_ok() && matches!(trust, Trust::Success) {
                return Ok(());
            }
            // Also after a refusal: the client may have written it in a try whose answer it did not pass on.
            match (put, self.is_there(key, bytes, sort).await) {
                (_, Ok(true)) => return Ok(()),
                (_, Err(taken)) if matches!(taken.kind(), ErrorKind::Conflict | ErrorKind::Corrupt) => {
                    return Err(doing(taken));
                }
                (Err(lasting), _) | (_, Err(lasting)) if is_lasting(&lasting) => return Err(doing(lasting)),
                (put, there) if attempt == ATTEMPTS => return Err(doing(unsettled(put, there.map(drop)))),
                _ => {}
            }
            self.pause(attempt).await;
            attempt += 1;
        }
    }

    async fn pause(&self, attempt: u32) {
        tokio::time::sleep(self.patience.pause * 2_u32.pow(attempt - 1)).await;
    }

    /// Whether `key` is there as it should be; something else in its place is an error.
    async fn is_there(&self, key: &str, bytes: &Bytes, sort: Sort) -> Result<bool> {
        match sort {
            Sort::Plain => match self.try_read(key).await? {
                None => Ok(false),
                Some(there) if there == bytes => Ok(true),
                Some(_) => Err(Error::new(ErrorKind::Conflict, "another content is there already")),
            },
            Sort::Named | Sort::Part => match self.try_length(key).await? {
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
            match self.put(key, &bytes, PutMode::Overwrite.into()).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Unavailable && attempt < ATTEMPTS => {
                    self.pause(attempt).await;
                }
                Err(error) => return Err(error.doing(format!("write {key}"))),
            }
            attempt += 1;
        }
    }

    /// How an object is created.
    fn creating(&self, sort: Sort) -> PutOptions {
        let attributes = match sort {
            Sort::Plain | Sort::Named => Attributes::new(),
            Sort::Part => self.of_parts.clone(),
        };
        PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() }
    }

    /// Puts `key` once: what comes of it is the server's word.
    pub(super) async fn put(&self, key: &str, bytes: &Bytes, how: PutOptions) -> Result<()> {
        match self.objects.put_opts(&self.path(key)?, PutPayload::from(bytes.clone()), how).await {
            // A put needs nothing to be there but the bucket.
            Err(object_store::Error::NotFound { source, .. }) => {
                Err(Error::new(ErrorKind::Config, format!("the store is not there: {source}"))
                    .remedy("create the bucket, or correct the repository's URL"))
            }
            answer => self.told(answer).map(drop),
        }
    }
}

/// Whether trying again mends nothing.
fn is_lasting(failure: &Error) -> bool {
    matches!(failure.kind(), ErrorKind::Config | ErrorKind::Unfit)
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
