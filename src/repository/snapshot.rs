//! Reading and committing snapshots.
//!
//! Rule: a commit is one conditional create, and its outcome is never guessed: the file is read back, and only if it is
//! ours to the byte, and so names our process as its writer, was it us. Every snapshot names the digest of the one
//! before it.
//! A crash leaves the snapshot committed or not; a run that comes later sees which.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::FAR_OFF;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Hash, Snapshot, SnapshotNumber};
use crate::repository::Repository;
use crate::repository::identity::{json, tagged};
use crate::repository::keys::{Key, SNAPSHOTS};

/// How long a snapshot file may get: long lists go into objects of their own.
const SNAPSHOT_BYTES: usize = 1 << 20;
/// zstd's own default: lists are small, and JSON shrinks well at any level.
const ZSTD_LEVEL: i32 = 3;

/// A snapshot in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What it says.
    pub snapshot: Snapshot,
    /// The digest of its file.
    pub sha256: Hash,
}

/// The time to commit at: now, and later than the previous snapshot.
pub fn commit_time(now: DateTime<Utc>, previous: Option<&Snapshot>) -> Result<DateTime<Utc>> {
    let Some(previous) = previous else { return Ok(now) };
    if previous.committed_at > now + FAR_OFF {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "this machine's clock is far off: it is {now} here, and snapshot {} was committed at {}",
                previous.number, previous.committed_at
            ),
        )
        .remedy("set the clock; if it is right, wait until that time has come"));
    }
    // Iceberg counts milliseconds.
    Ok(now.max(previous.committed_at + TimeDelta::milliseconds(1)))
}

impl Repository {
    /// The numbers of all snapshots: 1, 2, 3, ... without a hole, or the repository is Corrupt.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotNumber>> {
        let listed = self.store().list_folder(SNAPSHOTS).await?;
        let mut numbers = Vec::with_capacity(listed.len());
        for object in &listed {
            if let Ok(Key::Snapshot(number)) = object.key.parse() {
                numbers.push(number);
            }
        }
        match (1..).zip(&numbers).find(|(expected, number)| number.0 != *expected) {
            None => Ok(numbers),
            Some((expected, number)) => Err(Error::new(
                ErrorKind::Corrupt,
                format!("snapshot {expected} is missing, and {number} is there"),
            )
            .remedy("restore the file of the missing snapshot from the bucket's versions or a copy")
            .doing("list the snapshots")),
        }
    }

    /// The latest snapshot, if there is any.
    pub async fn latest(&self) -> Result<Option<Committed>> {
        match self.snapshots().await?.last() {
            Some(number) => self.snapshot(*number).await.map(Some),
            None => Ok(None),
        }
    }

    /// The latest snapshot that is complete, if there is any.
    pub async fn latest_complete(&self) -> Result<Option<Committed>> {
        for number in self.snapshots().await?.into_iter().rev() {
            let committed = self.snapshot(number).await?;
            if committed.snapshot.complete {
                return Ok(Some(committed));
            }
        }
        Ok(None)
    }

    /// Snapshot `number`.
    pub async fn snapshot(&self, number: SnapshotNumber) -> Result<Committed> {
        let bytes = self.store().read(&Key::Snapshot(number).to_string()).await?;
        self.committed(number, &bytes)
    }

    fn committed(&self, number: SnapshotNumber, bytes: &Bytes) -> Result<Committed> {
        let doing = |error: Error| error.doing(format!("read {}", Key::Snapshot(number)));
        let snapshot: Snapshot = tagged(bytes).map_err(doing)?;
        if snapshot.number != number || snapshot.organization != self.organization() {
            let (number, organization) = (snapshot.number, &snapshot.organization);
            return Err(doing(Error::new(
                ErrorKind::Corrupt,
                format!("it says it is snapshot {number} of organization {organization}"),
            )));
        }
        Ok(Committed { snapshot, sha256: Hash::of(bytes) })
    }

    /// Stores a long list under the digest of its bytes.
    pub async fn put_list<T: Serialize + ?Sized>(&self, items: &T) -> Result<Hash> {
        let bug =
            |cause: &dyn std::fmt::Display| Error::new(ErrorKind::Bug, format!("write a list: {cause}"));
        let plain = serde_json::to_vec(items).map_err(|cause| bug(&cause))?;
        let bytes = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|cause| bug(&cause))?;
        let sha256 = Hash::of(&bytes);
        self.store().create_named(&Key::List(sha256).to_string(), bytes.into()).await?;
        Ok(sha256)
    }

    /// Reads a list that [`Self::put_list`] stored.
    pub async fn list<T: DeserializeOwned>(&self, sha256: Hash) -> Result<T> {
        let key = Key::List(sha256).to_string();
        let bytes = self.store().read(&key).await?;
        let garbled = |what: String| Error::new(ErrorKind::Corrupt, what).doing(format!("read {key}"));
        if Hash::of(&bytes) != sha256 {
            return Err(garbled(format!("its SHA-256 is {}", Hash::of(&bytes))));
        }
        let plain =
            zstd::stream::decode_all(&*bytes).map_err(|cause| garbled(format!("it is garbled: {cause}")))?;
        serde_json::from_slice(&plain).map_err(|cause| garbled(format!("it is garbled: {cause}")))
    }

    /// Commits `snapshot`: everything it names must be in the store.
    pub async fn commit(&self, snapshot: &Snapshot) -> Result<Committed> {
        self.commit_file(snapshot)
            .await
            .map_err(|error| error.doing(format!("commit snapshot {}", snapshot.number)))
    }

    async fn commit_file(&self, snapshot: &Snapshot) -> Result<Committed> {
        self.check_place(snapshot).await?;
        let bytes = json(snapshot)?;
        if bytes.len() > SNAPSHOT_BYTES {
            let found = format!("a snapshot file of {} bytes is too long", bytes.len());
            return Err(Error::new(ErrorKind::Bug, found));
        }
        let key = Key::Snapshot(snapshot.number).to_string();
        let Err(error) = self.store().create(&key, bytes.clone()).await else {
            return self.committed(snapshot.number, &bytes);
        };
        if error.kind() != ErrorKind::Conflict {
            return Err(error);
        }
        let there = self.snapshot(snapshot.number).await?.snapshot;
        if there.writer == snapshot.writer {
            return Err(Error::new(
                ErrorKind::Bug,
                "it was committed by this very process with another content",
            ));
        }
        let holder =
            self.holder(&there).await?.map_or_else(String::new, |holder| format!(" (holder {holder})"));
        Err(Error::new(ErrorKind::Conflict, format!("run {}{holder} committed it first", there.run))
            .remedy("let the other run finish, and see that only one writes to this repository"))
    }

    /// Who committed `snapshot`, as its claim says; none where it claimed nothing.
    async fn holder(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        let claims = self.claims(SnapshotNumber(snapshot.number.0 - 1)).await?;
        Ok(claims.into_iter().find(|claim| claim.writer == snapshot.writer).map(|claim| claim.holder))
    }

    /// Refuses a snapshot that does not continue the one before it: the chain would be broken for ever.
    async fn check_place(&self, snapshot: &Snapshot) -> Result<()> {
        let previous = match snapshot.number.0 {
            0 => return Err(Error::new(ErrorKind::Bug, "snapshots are numbered from 1")),
            1 => None,
            number => Some(self.snapshot(SnapshotNumber(number - 1)).await?),
        };
        let continues = snapshot.previous == previous.as_ref().map(|committed| committed.sha256)
            && snapshot.organization == self.organization()
            && previous.is_none_or(|committed| committed.snapshot.committed_at < snapshot.committed_at);
        if continues {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Bug, "it does not continue the snapshot before it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{claim, memory, moment, repository, run, snapshot};

    #[tokio::test]
    async fn snapshots_are_committed_in_a_chain() {
        let repository = repository().await;
        assert_eq!(repository.latest().await.expect("readable"), None);
        let first = repository.commit(&snapshot(1, None, run(1))).await.expect("committed");
        let second = repository.commit(&snapshot(2, Some(first.sha256), run(2))).await.expect("committed");
        assert_eq!(repository.latest().await.expect("readable"), Some(second));
        assert_eq!(repository.snapshot(SnapshotNumber(1)).await.expect("readable"), first);
    }

    #[tokio::test]
    async fn the_second_of_two_committers_loses_and_a_repetition_wins() {
        let repository = repository().await;
        let mine = repository.commit(&snapshot(1, None, run(1))).await.expect("committed");
        let error = repository.commit(&snapshot(1, None, run(2))).await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&run(1).to_string()), "{error}");
        assert_eq!(repository.commit(&snapshot(1, None, run(1))).await.expect("ours"), mine);
    }

    #[tokio::test]
    async fn another_writer_of_the_same_run_is_another() {
        let repository = repository().await;
        let claim = claim(0, 1, run(1), run(7));
        repository.claim(&claim).await.expect("claimed");
        let by = |writer| Snapshot { writer, ..snapshot(1, None, run(1)) };
        repository.commit(&by(run(7))).await.expect("committed");
        let error = repository.commit(&by(run(8))).await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let told = format!("run {} (holder {}) committed it first", run(1), claim.holder);
        assert!(error.to_string().ends_with(&told), "{error}");
        let other = Snapshot { gap_count: 5, ..by(run(7)) };
        assert_eq!(repository.commit(&other).await.expect_err("not what is there").kind(), ErrorKind::Bug);
    }

    #[tokio::test]
    async fn the_latest_complete_snapshot_may_be_an_older_one() {
        let repository = repository().await;
        assert_eq!(repository.latest_complete().await.expect("readable"), None);
        let mut last = None;
        let mut complete = Vec::new();
        for (number, is_complete) in [(1, false), (2, true), (3, true), (4, false)] {
            let next = Snapshot { complete: is_complete, ..snapshot(number, last, run(number.into())) };
            let committed = repository.commit(&next).await.expect("committed");
            last = Some(committed.sha256);
            complete.extend(is_complete.then_some(committed));
            assert_eq!(repository.latest_complete().await.expect("readable").as_ref(), complete.last());
        }
    }

    #[test]
    fn the_golden_snapshot_reads_and_is_written_the_same() {
        let golden = include_bytes!("golden/snapshot.1.json");
        let read: Snapshot = tagged(golden).expect("format 1 reads");
        assert_eq!(json(&read).expect("JSON"), golden.as_slice());
    }

    #[tokio::test]
    async fn a_snapshot_that_continues_nothing_is_refused() {
        let repository = repository().await;
        let first = repository.commit(&snapshot(1, None, run(1))).await.expect("committed");
        for wrong in [snapshot(2, None, run(2)), snapshot(2, Some(Hash::of(b"x")), run(2))] {
            assert_eq!(repository.commit(&wrong).await.expect_err("refused").kind(), ErrorKind::Bug);
        }
        let gap = repository.commit(&snapshot(3, Some(first.sha256), run(2))).await.expect_err("refused");
        assert_eq!(gap.kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_hole_in_the_chain_is_corrupt() {
        let repository = repository().await;
        let file = json(&snapshot(2, None, run(1))).expect("JSON");
        repository.store().create("snapshots/00000000000000000002.json", file).await.expect("put");
        assert_eq!(repository.latest().await.expect_err("a hole").kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_list_reads_back_and_is_checked() {
        let repository = repository().await;
        let items = vec!["a".repeat(1000), "b".to_owned()];
        let hash = repository.put_list(&items).await.expect("stored");
        assert_eq!(repository.put_list(&items).await.expect("stored again"), hash);
        assert_eq!(repository.list::<Vec<String>>(hash).await.expect("readable"), items);
        assert_eq!(repository.snapshots().await.expect("lists are no snapshots"), []);
        let other = Repository::open_or_create(memory(), "12", moment(0)).await.expect("made");
        other.store().create(&Key::List(hash).to_string(), b"x".as_slice().into()).await.expect("put");
        assert_eq!(other.list::<Vec<String>>(hash).await.expect_err("damaged").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_commit_is_later_than_the_one_before_it() {
        let mut previous = snapshot(1, None, run(1));
        let at = |now, previous: &Snapshot| commit_time(now, Some(previous)).expect("a time");
        assert_eq!(commit_time(moment(9), None).expect("a time"), moment(9));
        previous.committed_at = moment(10);
        assert_eq!(at(moment(20), &previous), moment(20));
        assert_eq!(at(moment(10), &previous), moment(10) + TimeDelta::milliseconds(1));
        assert_eq!(at(moment(5), &previous), moment(10) + TimeDelta::milliseconds(1));
        previous.committed_at = moment(300);
        assert_eq!(at(moment(0), &previous), moment(300) + TimeDelta::milliseconds(1));
        previous.committed_at = moment(301);
        let error = commit_time(moment(0), Some(&previous)).expect_err("far off");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
