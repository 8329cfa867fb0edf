//! What a run keeps of its work until its snapshot is committed: checkpoints, segments of the journal, answers.
//!
//! Rule: a file of a run is created once and never changed; what it means is the business of who wrote it. The same
//! bytes again are a success, so a lost answer does no harm; other bytes mean that another process goes on with this run.
//! A crash leaves files of a run that is not finished, which whoever goes on with it reads.

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::model::RunId;
use crate::repository::keys::{Key, run_folder};
use crate::repository::{Listed, Repository};

impl Repository {
    /// Stores a file of `run`, or finds the same there. Another content under its name is a Conflict.
    pub async fn put_run_file(&self, run: &RunId, name: &str, bytes: Bytes) -> Result<()> {
        let outcome = self.store().create(&run_file(run, name)?, bytes).await;
        outcome.map_err(|error| match error.kind() {
            ErrorKind::Conflict => {
                Error::new(ErrorKind::Conflict, format!("another writer goes on with run {run}: {error}"))
                    .remedy("let the other process finish, and see that only one writes to this repository")
            }
            _ => error,
        })
    }

    /// The files of `run`, in the order of their keys.
    pub async fn run_files(&self, run: &RunId) -> Result<Vec<Listed>> {
        self.store().list_folder(&run_folder(run)).await
    }

    /// Whether `run` has a file of that name.
    pub async fn has_run_file(&self, run: &RunId, name: &str) -> Result<bool> {
        Ok(self.store().try_length(&run_file(run, name)?).await?.is_some())
    }

    /// The bytes of a file of `run`; its absence is Corrupt.
    pub async fn read_run_file(&self, run: &RunId, name: &str) -> Result<Bytes> {
        self.store().read(&run_file(run, name)?).await
    }
}

fn run_file(run: &RunId, name: &str) -> Result<String> {
    Ok(Key::RunFile { run: *run, name: name.to_owned() }.checked()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{repository, run};

    #[tokio::test]
    async fn a_file_of_a_run_reads_back_and_never_changes() {
        let repository = repository().await;
        assert_eq!(repository.run_files(&run(1)).await.expect("listed"), []);
        for name in ["2.journal", "1.checkpoint.json"] {
            for _ in 0..2 {
                repository.put_run_file(&run(1), name, "abc".into()).await.expect("stored");
            }
        }
        repository.put_run_file(&run(2), "1.checkpoint.json", "of another".into()).await.expect("stored");
        let error = repository.put_run_file(&run(1), "2.journal", "abd".into()).await.expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(
            error.to_string().contains(&format!("another writer goes on with run {}", run(1))),
            "{error}"
        );
        assert_eq!(repository.read_run_file(&run(1), "2.journal").await.expect("there"), "abc");
        assert!(repository.has_run_file(&run(1), "2.journal").await.expect("readable"));
        assert!(!repository.has_run_file(&run(2), "2.journal").await.expect("readable"));
        let listed = repository.run_files(&run(1)).await.expect("listed");
        let shown: Vec<(&str, u64)> = listed.iter().map(|one| (one.key.as_str(), one.bytes)).collect();
        let folder = "runs/00000000000000000000000001";
        assert_eq!(
            shown,
            [(&*format!("{folder}/1.checkpoint.json"), 3), (&*format!("{folder}/2.journal"), 3)]
        );
        let lost = repository.read_run_file(&run(1), "3.journal").await.expect_err("absent");
        assert_eq!(lost.kind(), ErrorKind::Corrupt);
        let hostile = repository.put_run_file(&run(1), "../x", "x".into()).await.expect_err("refused");
        assert_eq!(hostile.kind(), ErrorKind::Bug);
    }
}
