//! What a store is tried with, and a repository never does: bodies that are not what was signed, writing over an object,
//! deleting one, or a version of it.
//!
//! Rule: only [`crate::repository::probe()`] calls this, and only for keys below its own `probes/<probe>/`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Extensions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions};

use super::Store;
use super::failure::status;
use super::network::Instead;
use crate::error::{ErrorKind, Result};
use crate::repository::keys::Key;

/// How S3 says that a body is not what was signed or checksummed. (Amazon S3, "Error responses", read 2026-11: the first
/// four. SeaweedFS, R2 and Ceph answer with one of them too.)
const ALTERED: &[&str] = &[
    "<Code>BadDigest<",
    "<Code>InvalidDigest<",
    "<Code>XAmzContentSHA256Mismatch<",
    "<Code>XAmzContentChecksumMismatch<",
];

/// What became of an attempt that a careful store refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::repository) enum Attempt {
    /// It was refused.
    Refused,
    /// It took effect.
    Allowed,
    /// It took no effect, and for what reason is not known: what was answered.
    Unclear(String),
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

    /// The same place over a connection of its own, which is open.
    pub(in crate::repository) async fn apart(&self, key: &Key) -> Result<Self> {
        let objects = match &self.remote {
            Some(remote) => (remote.again)()?,
            None => self.objects.clone(),
        };
        let apart = Self { objects, ..self.clone() };
        apart.try_read(&key.to_string()).await?;
        Ok(apart)
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
        match self.try_read(&key.to_string()).await? {
            Some(_) => Ok(Attempt::Allowed),
            None => unwritten(put),
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

    /// Creates a probe in a bucket that keeps versions, and deletes that version itself, after which nothing is left of it;
    /// none where the store names no version.
    pub(in crate::repository) async fn delete_probe_version(&self, key: &Key) -> Result<Option<Attempt>> {
        let path = self.path(&key.to_string())?;
        let put = self.objects.put_opts(&path, "a version".into(), PutMode::Create.into()).await;
        let Some(version) = self.told(put)?.version else { return Ok(None) };
        Ok(self.delete_version(&path, &version).await.map(|answer| match answer {
            Ok((200..300, _)) => Attempt::Allowed,
            Ok((401 | 403 | 405, _)) => Attempt::Refused,
            Ok((_, said)) | Err(said) => Attempt::Unclear(said),
        }))
    }
}

/// What it means how an attempt to take or replace something ended: who is answered is never in error.
fn attempt(outcome: Result<()>) -> Result<Attempt> {
    let Err(failure) = outcome else { return Ok(Attempt::Allowed) };
    let said = failure.to_string();
    match (status(&said), failure.kind()) {
        (Some(401 | 403 | 405), _) | (None, ErrorKind::Config) => Ok(Attempt::Refused),
        (Some(400..500), _) | (_, ErrorKind::Conflict | ErrorKind::Corrupt) => Ok(Attempt::Unclear(said)),
        _ => Err(failure),
    }
}

/// What it means that an altered body is not there.
fn unwritten(put: Result<()>) -> Result<Attempt> {
    let Err(failure) = put else {
        return Ok(Attempt::Unclear("the store says it is written, and nothing is there".to_owned()));
    };
    let said = failure.to_string();
    let of_a_checksum = said.contains("<Code>InvalidRequest<") && said.to_lowercase().contains("checksum");
    if of_a_checksum || ALTERED.iter().any(|code| said.contains(code)) {
        return Ok(Attempt::Refused);
    }
    // That nothing is there says something only where there was an answer.
    if failure.kind() == ErrorKind::Unavailable && status(&said).is_none_or(|status| status / 100 != 4) {
        return Err(failure);
    }
    Ok(Attempt::Unclear(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn only_a_word_of_the_checksum_proves_that_it_is_checked() {
        let answer = |status: u16, code: &str, message: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            let source = format!("Server returned non-2xx status code: {status} As Told: {body}").into();
            let path = String::new();
            let refused = match status {
                403 => object_store::Error::PermissionDenied { path, source },
                _ => object_store::Error::Generic { store: "S3", source },
            };
            unwritten(Err(Error::from(refused)))
        };
        for code in ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"]
        {
            assert_eq!(answer(400, code, "").expect(code), Attempt::Refused);
        }
        let checksum = "Value for x-amz-checksum-sha256 header is invalid.";
        assert_eq!(answer(400, "InvalidRequest", checksum).expect("answered"), Attempt::Refused);
        for (status, code) in [
            (400, "InvalidRequest"),
            (403, "AccessDenied"),
            (400, "ExpiredToken"),
            (411, "MissingContentLength"),
            (400, "InvalidStorageClass"),
        ] {
            let Attempt::Unclear(said) = answer(status, code, "").expect(code) else { panic!("{code}") };
            assert!(said.contains(code) && said.contains(&status.to_string()), "{said}");
        }
        assert!(matches!(unwritten(Ok(())), Ok(Attempt::Unclear(_))));
        answer(503, "SlowDown", "").expect_err("no answer to the question");
    }
}
