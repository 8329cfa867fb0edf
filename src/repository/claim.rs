//! Claims: which process may build on a snapshot.
//!
//! Rule: a claim is one conditional create of `runs/<base>/<attempt>.json` and never changed, and its outcome is never
//! guessed: the file is read back, and whose writer it names decides. Attempts on one base are numbered 1, 2, 3, ...
//! without a hole; the latest one holds. When a holder counts as dead is decided by who reads them, not here.
//! A crash leaves a claim that nobody works on, or none.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{RunId, SnapshotNumber};
use crate::repository::Repository;
use crate::repository::identity::{json, tagged};
use crate::repository::keys::{Key, claim_folder};

/// A process's word that it builds on a snapshot: the content of `runs/<base>/<attempt>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The version of this format.
    pub format: u32,
    /// The snapshot it builds on; 0 before the first.
    pub base: SnapshotNumber,
    /// Counts the claims on that snapshot from 1.
    pub attempt: u32,
    /// The run that is begun, or gone on with.
    pub run: RunId,
    /// The process: the run's own id, or another where it goes on with the run of a dead one.
    pub writer: RunId,
    /// Names the process to people: host and process number.
    pub holder: String,
    /// When it was claimed.
    pub at: DateTime<Utc>,
}

impl Repository {
    /// The claims on snapshot `base`, in the order of their attempts.
    pub async fn claims(&self, base: SnapshotNumber) -> Result<Vec<Claim>> {
        let doing = |error: Error| error.doing(format!("read the claims on snapshot {base}"));
        let listed = self.store().list_folder(&claim_folder(base)).await.map_err(doing)?;
        let mut attempts: Vec<u32> = listed
            .iter()
            .filter_map(|object| match object.key.parse() {
                Ok(Key::Claim { attempt, .. }) => Some(attempt),
                _ => None,
            })
            .collect();
        attempts.sort_unstable();
        let mut claims = Vec::with_capacity(attempts.len());
        for (expected, attempt) in (1..).zip(attempts) {
            if attempt != expected {
                let found = format!("claim {expected} is missing, and {attempt} is there");
                return Err(doing(Error::new(ErrorKind::Corrupt, found).remedy(
                    "restore the file of the missing claim from the bucket's versions, or remove all claims on this snapshot while nothing runs",
                )));
            }
            claims.push(self.read_claim(base, attempt).await.map_err(doing)?);
        }
        Ok(claims)
    }

    /// Takes the right to build on `claim.base`, or finds that this very process has it. Who else has it is a Conflict.
    pub async fn claim(&self, claim: &Claim) -> Result<()> {
        self.take_claim(claim).await.map_err(|error| error.doing(format!("claim snapshot {}", claim.base)))
    }

    async fn take_claim(&self, claim: &Claim) -> Result<()> {
        let Claim { base, attempt, writer, .. } = *claim;
        // Attempts are never taken away while others come: what is there stays there.
        if attempt == 0 || (attempt > 1 && !self.is_claimed(base, attempt - 1).await?) {
            return Err(Error::new(
                ErrorKind::Bug,
                format!("claim {attempt} does not follow the one before it"),
            ));
        }
        let outcome = self.store().create(&Key::Claim { base, attempt }.to_string(), json(claim)?).await;
        let Err(error) = outcome else { return Ok(()) };
        if error.kind() != ErrorKind::Conflict {
            return Err(error);
        }
        let there = self.read_claim(base, attempt).await?;
        if there.writer == writer {
            return Ok(());
        }
        let Claim { run, holder, at, .. } = there;
        Err(Error::new(ErrorKind::Conflict, format!("run {run} (holder {holder}) claimed it at {at}"))
            .remedy("let it finish"))
    }

    async fn is_claimed(&self, base: SnapshotNumber, attempt: u32) -> Result<bool> {
        let claim = self.store().try_read(&Key::Claim { base, attempt }.to_string()).await?;
        Ok(claim.is_some())
    }

    async fn read_claim(&self, base: SnapshotNumber, attempt: u32) -> Result<Claim> {
        let key = Key::Claim { base, attempt }.to_string();
        let claim: Claim =
            tagged(&self.store().read(&key).await?).map_err(|error| error.doing(format!("read {key}")))?;
        if (claim.base, claim.attempt) == (base, attempt) {
            return Ok(claim);
        }
        let found = format!("it says it is claim {} on snapshot {}", claim.attempt, claim.base);
        Err(Error::new(ErrorKind::Corrupt, found).doing(format!("read {key}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{claim, remove, repository, run};

    const BASE: SnapshotNumber = SnapshotNumber(3);

    #[tokio::test]
    async fn claims_are_read_in_the_order_of_their_attempts() {
        let repository = repository().await;
        assert_eq!(repository.claims(BASE).await.expect("readable"), []);
        // The keys' own order is 1, 10, 11, 2, ...
        let made: Vec<Claim> = (1..=11).map(|n| claim(3, n, run(1), run(n.into()))).collect();
        for claim in &made {
            repository.claim(claim).await.expect("claimed");
        }
        repository.claim(&claim(4, 1, run(1), run(1))).await.expect("another base");
        repository.put_run_file(&run(1), "1.json", "{}".into()).await.expect("no claim");
        assert_eq!(repository.claims(BASE).await.expect("readable"), made);
        remove(repository.store(), "runs/00000000000000000003/4.json").await;
        assert_eq!(repository.claims(BASE).await.expect_err("a hole").kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_claim_belongs_to_the_process_that_made_it() {
        let repository = repository().await;
        let mine = claim(3, 1, run(1), run(5));
        repository.claim(&mine).await.expect("claimed");
        repository.claim(&mine).await.expect("ours already");
        let later = Claim { at: crate::repository::fixtures::moment(99), ..mine.clone() };
        repository.claim(&later).await.expect("ours, whatever else it says");
        let error =
            repository.claim(&claim(3, 1, run(1), run(6))).await.expect_err("the same run, another process");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.remedy_text(), Some("let it finish"));
        for told in [run(1).to_string(), mine.holder.clone(), mine.at.to_string()] {
            assert!(error.to_string().contains(&told), "{error}");
        }
        assert_eq!(repository.claims(BASE).await.expect("readable"), [mine]);
    }

    #[tokio::test]
    async fn a_claim_that_would_leave_a_hole_is_refused() {
        let repository = repository().await;
        for attempt in [0, 2] {
            let error = repository.claim(&claim(3, attempt, run(1), run(1))).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Bug);
        }
        assert_eq!(repository.claims(BASE).await.expect("readable"), []);
    }

    #[tokio::test]
    async fn a_claim_under_the_name_of_another_is_corrupt() {
        let repository = repository().await;
        let file = json(&claim(3, 2, run(1), run(1))).expect("JSON");
        repository.store().create("runs/00000000000000000003/1.json", file).await.expect("put");
        assert_eq!(repository.claims(BASE).await.expect_err("misplaced").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_golden_claim_reads_and_is_written_the_same() {
        let golden = include_bytes!("golden/claim.1.json");
        let read: Claim = tagged(golden).expect("format 1 reads");
        assert_eq!(json(&read).expect("JSON"), golden.as_slice());
    }
}
