//! What a store is tried with, and a repository never does: bodies that are not what was signed, writing over an object,
//! deleting one.
//!
//! Rule: only [`crate::repository::probe()`] calls this, and only for keys below its own `probes/<probe>/`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Extensions, ObjectStoreExt as _, PutMode, PutOptions};

use super::Store;
use super::network::Instead;
use crate::error::{ErrorKind, Result};
use crate::repository::keys::Key;

/// How the store's client tells of an answer of 400, for which it has no kind.
const REFUSED: &str = "status code: 4";

/// What became of an attempt that a careful store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::repository) enum Attempt {
    /// It was refused.
    Refused,
    /// It took effect.
    Allowed,
}

impl Store {
    /// Whether there is a server to try, rather than a folder.
    pub(in crate::repository) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Whether bodies are signed, and checked by the server.
    pub(in crate::repository) fn signs_bodies(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.s3.is_some())
    }

    /// The time that the server's last answer told.
    pub(in crate::repository) fn told_time(&self) -> Option<DateTime<Utc>> {
        self.remote.as_ref()?.witness.told()
    }

    /// Creates a probe with `signed` as its signed and checksummed body, and sends `sent` instead, which is as long.
    pub(in crate::repository) async fn create_altered(
        &self,
        key: &Key,
        signed: &Bytes,
        sent: Bytes,
    ) -> Result<Attempt> {
        let mut extensions = Extensions::new();
        extensions.insert(Instead(sent));
        let how = PutOptions { mode: PutMode::Create, extensions, ..PutOptions::default() };
        let put = self.put(&key.to_string(), signed, how).await;
        match (put, self.try_read(&key.to_string()).await?) {
            (_, Some(_)) => Ok(Attempt::Allowed),
            // That nothing is there proves a refusal only where there was an answer.
            (Err(lost), None)
                if lost.kind() == ErrorKind::Unavailable && !lost.to_string().contains(REFUSED) =>
            {
                Err(lost)
            }
            (_, None) => Ok(Attempt::Refused),
        }
    }

    /// Writes over a probe that is there.
    pub(in crate::repository) async fn overwrite_probe(&self, key: &Key, bytes: Bytes) -> Result<Attempt> {
        attempt(self.put(&key.to_string(), &bytes, PutMode::Overwrite.into()).await)
    }

    /// Deletes a probe.
    pub(in crate::repository) async fn delete_probe(&self, key: &Key) -> Result<Attempt> {
        let deleted = self.objects.delete(&self.path(&key.to_string())?).await;
        attempt(self.told(deleted))
    }
}

fn attempt(outcome: Result<()>) -> Result<Attempt> {
    match outcome {
        Ok(()) => Ok(Attempt::Allowed),
        Err(error) if error.kind() == ErrorKind::Config => Ok(Attempt::Refused),
        Err(error) => Err(error),
    }
}
