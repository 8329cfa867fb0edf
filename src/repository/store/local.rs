//! A local folder as a store.
//!
//! Rule: every write is on the disk before it is answered, its folder's entry too. A folder is made when something is
//! first written into it.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::Store;
use crate::error::{Error, ErrorKind, Result};

/// The store in the folder at `path`, which need not be there yet.
pub(super) fn open(path: &str) -> Result<Store> {
    let path = canonical(path)?;
    let url = path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Config, "the path is not UTF-8").remedy("choose another folder")
    })?;
    let prefix = Path::from_absolute_path(&path).map_err(object_store::Error::from)?;
    let objects = Arc::new(LocalFileSystem::new().with_fsync(true));
    Ok(Store { prefix, ..Store::from_object_store(objects, "", url)? })
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
