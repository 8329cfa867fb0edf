//! Reading: bytes, ranges, lengths and listings.
//!
//! Rule: what somebody relies on and what is not there is Corrupt, and so is what is not as it was written; what may be
//! there or not is asked for by the `try_` of the name.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::Store;
use super::failure::corrupt;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

/// Ranges of one object that are asked for at once.
const RANGES_AT_ONCE: usize = 8;

/// An object that a listing showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its key, relative to the repository.
    pub key: String,
    /// Its length.
    pub bytes: u64,
}

impl Store {
    /// The bytes of `key`, which somebody relies on: its absence is Corrupt.
    pub async fn read(&self, key: &str) -> Result<Bytes> {
        self.get(key).await.map_err(|error| error.doing(format!("read {key}")))
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        let found = self.told(self.objects.get(&self.path(key)?).await)?;
        self.told(found.bytes().await)
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
        let read = self.told(stream::iter(each).buffered(RANGES_AT_ONCE).try_collect::<Vec<_>>().await);
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
        let Some(found) = self.if_there(self.objects.get(&self.path(key)?).await).map_err(doing)? else {
            return Ok(None);
        };
        self.told(found.bytes().await).map(Some).map_err(doing)
    }

    /// The length of `key`, which somebody relies on: its absence is Corrupt.
    pub async fn length(&self, key: &str) -> Result<u64> {
        let meta = self.told(self.objects.head(&self.path(key)?).await);
        meta.map(|meta| meta.size).map_err(|error| error.doing(format!("look at {key}")))
    }

    pub(in crate::repository) async fn try_length(&self, key: &str) -> Result<Option<u64>> {
        let meta = self.if_there(self.objects.head(&self.path(key)?).await);
        meta.map(|meta| meta.map(|meta| meta.size)).map_err(|error| error.doing(format!("look at {key}")))
    }

    /// What the store answered, if it is not that nothing is there.
    fn if_there<T>(&self, answer: object_store::Result<T>) -> Result<Option<T>> {
        let is_absent = matches!(answer, Err(object_store::Error::NotFound { .. }));
        match self.told(answer) {
            Err(_) if is_absent => Ok(None),
            answer => answer.map(Some),
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
            other => self.told(other).map_err(doing),
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
}
