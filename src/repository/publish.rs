//! Shows what was committed to readers without a catalog.
//!
//! Rule: only what a snapshot names is published. First the metadata under the name `v<k>.metadata.json`, where no two
//! contents ever share a `k`, then the hint that points at it: the one object that is ever overwritten, and never back
//! to an older version.
//! A crash leaves a hint behind its time, or a version that no hint points at yet; publishing the latest snapshot again
//! sets both right.

use futures_util::StreamExt;
use futures_util::stream;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Snapshot, TableState};
use crate::repository::Repository;
use crate::repository::keys::Key;

/// How many tables are published at once: each is a few small requests, one after the other.
const AT_ONCE: usize = 8;

impl Repository {
    /// Publishes every table of `snapshot`, which must be committed. Does nothing where that is done already.
    pub async fn publish(&self, snapshot: &Snapshot) -> Result<()> {
        let doing = |error: Error| error.doing(format!("publish snapshot {}", snapshot.number));
        let tables: Vec<_> = snapshot.tables.clone().into_iter().collect();
        let mut tables = stream::iter(tables)
            .map(|(table, state)| {
                let repository = self.clone();
                async move { repository.publish_table(&table, &state).await }
            })
            .buffered(AT_ONCE);
        let mut outcome = Ok(());
        // The tables after one that failed are published too.
        while let Some(published) = tables.next().await {
            outcome = outcome.and(published);
        }
        outcome.map_err(doing)
    }

    async fn publish_table(&self, table: &str, state: &TableState) -> Result<()> {
        let hint_key = Key::VersionHint { table: table.to_owned() }.checked()?.to_string();
        let hinted = self.hinted(&hint_key).await?;
        if hinted == Some(state.published_as) {
            return Ok(());
        }
        let metadata = self.metadata(state).await?;
        let key = Key::Published { table: table.to_owned(), version: state.published_as }.to_string();
        self.store().create(&key, metadata).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => error
                .remedy("another program wrote to this table: move its metadata away, and let it only read"),
            _ => error,
        })?;
        if hinted.is_some_and(|version| version > state.published_as) {
            return Ok(());
        }
        self.store().put_hint(&hint_key, state.published_as.to_string().into()).await
    }

    /// The version that the hint `key` points at; none where there is no hint, or one that makes no sense.
    pub(super) async fn hinted(&self, key: &str) -> Result<Option<u64>> {
        let hint = self.store().try_read(key).await?;
        Ok(hint.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{Flaw, commit, flawed, history, remove, repository, stage};

    const HINT: &str = "tables/tags/metadata/version-hint.text";

    async fn hint(repository: &Repository) -> Option<u64> {
        repository.hinted(HINT).await.expect("readable")
    }

    #[tokio::test]
    async fn readers_find_the_latest_state_by_the_hint() {
        let repository = history().await;
        assert_eq!(hint(&repository).await, Some(1_000_000_003));
        let latest = repository.latest().await.expect("readable").expect("some").snapshot;
        let published = repository.store().read("tables/tags/metadata/v1000000003.metadata.json").await;
        let staged = repository.metadata(&latest.tables["tags"]).await.expect("readable");
        assert_eq!(published.expect("there"), staged);
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_set_right() {
        let repository = history().await;
        let latest = repository.latest().await.expect("readable").expect("some").snapshot;
        for lost in [&[HINT][..], &[HINT, "tables/tags/metadata/v1000000003.metadata.json"]] {
            for key in lost {
                remove(repository.store(), key).await;
            }
            repository.publish(&latest).await.expect("published");
            repository.publish(&latest).await.expect("published again");
            assert_eq!(hint(&repository).await, Some(1_000_000_003));
        }
    }

    #[tokio::test]
    async fn a_hint_never_goes_back() {
        let repository = history().await;
        let first = repository.snapshot(crate::model::SnapshotNumber(1)).await.expect("readable").snapshot;
        repository.publish(&first).await.expect("nothing to do");
        assert_eq!(hint(&repository).await, Some(1_000_000_003));
    }

    #[tokio::test]
    async fn a_version_that_somebody_else_wrote_is_a_conflict() {
        let repository = history().await;
        let latest = repository.latest().await.expect("readable").expect("some");
        let foreign = "tables/tags/metadata/v1000000004.metadata.json";
        repository.store().create(foreign, "{}".into()).await.expect("put");
        let state = stage(&repository, 5, Some(&latest.snapshot.tables["tags"]), 1, 0).await;
        let mut next = latest.snapshot.clone();
        next.tables.insert("tags".to_owned(), state);
        let error = repository.publish(&next).await.expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_answers_change_nothing() {
        let plain = repository().await;
        let flaws = [Flaw::Unanswered, Flaw::Lost, Flaw::Repeated].repeat(6);
        let repository = Repository::open(flawed(plain.store(), &flaws)).await.expect("opened");
        let state = stage(&repository, 1, None, 5, 0).await;
        commit(&repository, 1, &state).await;
        assert_eq!(hint(&plain).await, Some(1_000_000_001));
        assert!(plain.latest().await.expect("readable").is_some());
    }
}
