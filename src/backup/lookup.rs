//! Lookups: single rows of live parts, by reading only the pages that may hold them.
//!
//! Rule: the end of a part is read once a run, and of the rest what its bounds do not rule out. What is read by ranges
//! is not covered by the part's digest, so every row is checked against what it was looked up for. Memory: a layout of
//! each part met, some ten KiB, and the pages of [`PARTS_AT_ONCE`] parts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::backup::stage::blocking;
use crate::encode::{KeyRow, Layout, Pages, ReadLayout, Row, TAIL_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Part;
use crate::repository::Repository;

/// Parts read side by side.
const PARTS_AT_ONCE: usize = 8;

/// What a lookup is by.
#[derive(Clone, Copy)]
enum By {
    Key,
    Parent,
}

/// Looks up rows, and remembers where things are in the parts it met.
#[derive(Debug)]
pub(super) struct Lookup {
    repository: Repository,
    layouts: HashMap<String, Arc<Layout>>,
}

impl Lookup {
    /// A lookup that has met no part yet.
    pub(super) fn new(repository: Repository) -> Self {
        Self { repository, layouts: HashMap::new() }
    }

    /// The rows with these keys, each with the number of its part, in the order of parts and positions. Deleted rows
    /// are among them.
    pub(super) async fn find(
        &mut self,
        parts: &[Part],
        keys: &BTreeSet<Box<str>>,
    ) -> Result<Vec<(u32, KeyRow)>> {
        self.select(parts, By::Key, keys.clone()).await
    }

    /// The rows right below these parents, each with the number of its part, in the order of parts and positions.
    /// Deleted rows are among them.
    pub(super) async fn below(
        &mut self,
        parts: &[Part],
        parents: &HashSet<Box<str>>,
    ) -> Result<Vec<(u32, KeyRow)>> {
        self.select(parts, By::Parent, parents.iter().cloned().collect()).await
    }

    /// The rows of `part` at these positions, with their JSON.
    pub(super) async fn rows(&mut self, part: &Part, positions: &BTreeSet<u32>) -> Result<Vec<Row>> {
        let doing = |error: Error| error.doing(format!("look up rows of {}", part.key));
        self.learn(std::slice::from_ref(part)).await?;
        let layout = self.layout(part).map_err(doing)?;
        let pages = layout.rows(positions).map_err(doing)?;
        let fetched = self.fetch(part, &pages).await?;
        blocking(move || layout.read_rows(&pages, fetched)).await.map_err(doing)
    }

    async fn select(
        &mut self,
        parts: &[Part],
        by: By,
        wanted: BTreeSet<Box<str>>,
    ) -> Result<Vec<(u32, KeyRow)>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.learn(parts).await?;
        let wanted = Arc::new(wanted);
        let each = (0_u32..).zip(parts).map(|(number, part)| {
            let found = self.select_in(part, by, Arc::clone(&wanted));
            async move {
                let rows =
                    found.await.map_err(|error| error.doing(format!("look up rows of {}", part.key)))?;
                Ok::<_, Error>(rows.into_iter().map(move |row| (number, row)).collect::<Vec<_>>())
            }
        });
        let found: Vec<Vec<_>> = stream::iter(each).buffered(PARTS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn select_in(&self, part: &Part, by: By, wanted: Arc<BTreeSet<Box<str>>>) -> Result<Vec<KeyRow>> {
        let layout = self.layout(part)?;
        let pages = match by {
            By::Key => layout.keys(&wanted)?,
            By::Parent => layout.below(&wanted)?,
        };
        let fetched = self.fetch(part, &pages).await?;
        let (known, sought) = (Arc::clone(&layout), Arc::clone(&wanted));
        let positions = blocking(move || known.found(&pages, fetched, &sought)).await?;
        let pages = layout.heads(&positions)?;
        let fetched = self.fetch(part, &pages).await?;
        blocking(move || {
            let rows = layout.read_keys(&pages, fetched)?;
            let sought = |row: &KeyRow| match by {
                By::Key => wanted.contains(&row.key),
                By::Parent => row.parent.as_ref().is_some_and(|parent| wanted.contains(parent)),
            };
            if rows.iter().all(sought) {
                return Ok(rows);
            }
            Err(Error::new(ErrorKind::Corrupt, "two readings of a row contradict each other"))
        })
        .await
    }

    /// Reads the ends of the parts that were not met before.
    async fn learn(&mut self, parts: &[Part]) -> Result<()> {
        let unknown = parts.iter().filter(|part| !self.layouts.contains_key(&part.key));
        let each = unknown.map(|part| read_layout(&self.repository, part));
        let learnt: Vec<_> = stream::iter(each).buffered(PARTS_AT_ONCE).try_collect().await?;
        self.layouts.extend(learnt);
        Ok(())
    }

    fn layout(&self, part: &Part) -> Result<Arc<Layout>> {
        let layout = self.layouts.get(&part.key).map(Arc::clone);
        layout.ok_or_else(|| Error::new(ErrorKind::Bug, "its layout was not read"))
    }

    async fn fetch(&self, part: &Part, pages: &Pages) -> Result<Vec<Bytes>> {
        match pages.ranges() {
            [] => Ok(Vec::new()),
            ranges => self.repository.read_ranges(part, ranges).await,
        }
    }
}

/// Reads the end of a part, and what lies before it if that is not enough.
async fn read_layout(repository: &Repository, part: &Part) -> Result<(String, Arc<Layout>)> {
    let doing = |error: Error| error.doing(format!("read the end of {}", part.key));
    let (mut tail, mut wants) = (Bytes::new(), TAIL_BYTES.min(part.bytes));
    loop {
        let ahead = part.bytes - wants..part.bytes - tail.len() as u64;
        let mut longer = BytesMut::new();
        for bytes in repository.read_ranges(part, &[ahead]).await? {
            longer.extend_from_slice(&bytes);
        }
        longer.extend_from_slice(&tail);
        tail = longer.freeze();
        let (length, end) = (part.bytes, tail.clone());
        match blocking(move || Layout::of(length, &end)).await.map_err(doing)? {
            ReadLayout::Wants(more) => wants = more,
            ReadLayout::Known(layout) if layout.row_count() == part.rows => {
                return Ok((part.key.clone(), Arc::new(layout)));
            }
            ReadLayout::Known(layout) => {
                let (found, rows) = (layout.row_count(), part.rows);
                let cause = format!("it has {found} rows, and was written with {rows}");
                return Err(doing(Error::new(ErrorKind::Corrupt, cause)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::json;

    use super::*;
    use crate::encode;
    use crate::model::{Lane, Reading, RunId, field_ids, table_columns};
    use crate::repository::fixtures::repository;
    use crate::resources;

    fn moment() -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time")
    }

    /// Stores a part of stories with these keys, each below the parent that its last digit names.
    async fn part(repository: &Repository, keys: impl IntoIterator<Item = u32>) -> Part {
        let resource = resources::named("stories");
        let reading = Reading { lane: Lane::Walk, fields: "f".into(), began_at: moment(), seen_at: moment() };
        let (ids, run, reading) =
            (field_ids(&table_columns(resource)), RunId(ulid::Ulid(7)), Arc::new(reading));
        let records = keys.into_iter().map(|key| {
            let raw = json!({"gid": format!("{key:05}"), "resource_type": "story"}).to_string();
            let parent = format!("p{}", key % 10);
            encode::record(resource, &raw, Some(&parent), &reading).expect("a story").record
        });
        let encoded = encode::encode_part(resource, &ids, &run, records.collect()).expect("a part");
        repository.put_part("stories", &run, &encoded).await.expect("stored")
    }

    fn told(rows: &[(u32, KeyRow)]) -> Vec<(u32, &str, u64)> {
        rows.iter().map(|(part, row)| (*part, &*row.key, row.position)).collect()
    }

    fn set(keys: &[&str]) -> BTreeSet<Box<str>> {
        keys.iter().copied().map(Box::from).collect()
    }

    #[tokio::test]
    async fn rows_are_found_in_whatever_part_they_are() {
        let repository = repository().await;
        let even = part(&repository, (0..3000).map(|n| n * 2)).await;
        let odd = part(&repository, [1, 3, 17, 4001]).await;
        let again = part(&repository, [2, 17]).await;
        let parts = [even, odd, again];
        let mut lookup = Lookup::new(repository);
        let found = lookup.find(&parts, &set(&["00017", "00002", "04001", "05998", "07000"])).await;
        assert_eq!(
            told(&found.expect("found")),
            [
                (0, "00002", 1),
                (0, "05998", 2999),
                (1, "00017", 2),
                (1, "04001", 3),
                (2, "00002", 0),
                (2, "00017", 1)
            ]
        );
        assert_eq!(lookup.find(&parts, &set(&[])).await.expect("nothing"), []);

        let below = lookup.below(&parts, &HashSet::from(["p7".into(), "p3".into()])).await.expect("found");
        assert_eq!(told(&below), [(1, "00003", 1), (1, "00017", 2), (2, "00017", 1)]);
        let below = lookup.below(&parts[..1], &HashSet::from(["p4".into()])).await.expect("found");
        assert_eq!(below.len(), 600);

        let rows = lookup.rows(&parts[1], &BTreeSet::from([0, 3])).await.expect("rows");
        assert_eq!(rows.iter().map(|row| &*row.head.key).collect::<Vec<_>>(), ["00001", "04001"]);
        assert!(rows[1].raw.contains("04001"));
    }

    #[tokio::test]
    async fn the_end_of_a_part_is_read_once() {
        let repository = repository().await;
        let parts = [part(&repository, 0..3000).await];
        let mut lookup = Lookup::new(repository);
        lookup.find(&parts, &set(&["zzz"])).await.expect("nothing");
        let layout = Arc::clone(&lookup.layouts[&parts[0].key]);
        lookup.find(&parts, &set(&["00017"])).await.expect("found");
        assert!(Arc::ptr_eq(&layout, &lookup.layouts[&parts[0].key]));
    }

    #[tokio::test]
    async fn a_part_that_is_not_what_its_snapshot_says_is_corrupt() {
        let repository = repository().await;
        let sound = part(&repository, 0..3000).await;
        let wrong = [
            Part { rows: 2999, ..sound.clone() },
            Part { bytes: sound.bytes - 1, ..sound.clone() },
            Part { bytes: sound.bytes + 1, ..sound.clone() },
            Part { key: "tables/stories/data/none.parquet".into(), ..sound },
        ];
        for part in wrong {
            let mut lookup = Lookup::new(repository.clone());
            let error =
                lookup.find(std::slice::from_ref(&part), &set(&["00017"])).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(&part.key), "{error}");
        }
    }
}
