//! Compaction: small parts become larger ones, and many small files of position deletes become one.
//!
//! Rule: nothing is altered, rows move as they are. It belongs to the commit that makes it worth while, and reads at
//! most [`INPUT_BYTES`]: a run never pays for years of small ones at once. Parts that leave stay in the store, for the
//! snapshots that name them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::backup::stage::{Ready, Stage, blocking};
use crate::encode;
use crate::error::Result;
use crate::model::Part;
use crate::repository::StagedPart;
use crate::resources::Resource;

/// So many parts of one tier are merged, and so many files of deletes.
const MANY: usize = 8;
/// What one merge reads at most: it is in memory, packed.
const INPUT_BYTES: u64 = 24 << 20;
/// What a merged part holds at most, packed.
const TARGET_BYTES: usize = 32 << 20;
/// Sizes below which parts count as small, each tier eight times the one before: a row is merged once a tier.
const TIERS: [u64; 3] = [64 << 10, 512 << 10, 4 << 20];
/// A part of which one row in so many is deleted is written anew, and so many at least: fewer cost readers nothing.
const DELETED_SHARE: u64 = 3;
const DELETED_LEAST: u64 = 1_000;

/// A live part, as far as the choice goes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    number: u32,
    bytes: u64,
    rows: u64,
    deleted: u64,
}

/// The parts that one merge takes: a full tier of small ones, and those with many deleted rows.
fn choose(candidates: &[Candidate]) -> BTreeSet<u32> {
    let mut chosen: Vec<Candidate> = Vec::new();
    for tier in 0..TIERS.len() {
        let of_tier = |one: &&Candidate| TIERS.iter().position(|limit| one.bytes < *limit) == Some(tier);
        let small: Vec<_> = candidates.iter().filter(of_tier).collect();
        if small.len() >= MANY {
            chosen.extend(small);
        }
    }
    let is_hollow = |one: &&Candidate| one.deleted >= DELETED_LEAST && one.deleted * DELETED_SHARE > one.rows;
    chosen.extend(candidates.iter().filter(is_hollow));
    chosen.sort_by_key(|one| (one.bytes, one.number));
    chosen.dedup_by_key(|one| one.number);
    let mut input = 0;
    let within = |one: &Candidate| {
        input += one.bytes;
        input <= INPUT_BYTES
    };
    chosen.into_iter().take_while(within).map(|one| one.number).collect()
}

/// What one merge takes of the parts of a table without deletes, by number.
pub(in crate::backup) fn full_tiers(parts: &[Part]) -> BTreeSet<u32> {
    let candidate =
        |(number, part): (u32, &Part)| Candidate { number, bytes: part.bytes, rows: part.rows, deleted: 0 };
    choose(&(0..).zip(parts).map(candidate).collect::<Vec<_>>())
}

impl Stage {
    /// What a table's commit needs, with its parts merged where that is due. To be called last: the stage does not know
    /// afterwards where the rows are.
    pub(super) async fn compacted(&mut self, resource: &'static Resource, ready: Ready) -> Result<Ready> {
        let place = resource.place();
        self.read_deletes(place).await?;
        let mut positions = self.tables[place].deleted.clone().unwrap_or_default();
        for at in &self.tables[place].deletes {
            positions.entry(at.part).or_default().insert(at.row);
        }
        let chosen = choose(&self.candidates(place, &positions));
        let files = self.tables[place].delete_parts.len() + ready.deletes.len();
        if chosen.is_empty() && files < MANY {
            return Ok(ready);
        }
        let merged = self.merge(place, &chosen, &positions).await?;
        let table = &self.tables[place];
        let mut removed: Vec<String> =
            chosen.iter().map(|number| table.parts[*number as usize].key.clone()).collect();
        removed.extend(table.delete_parts.iter().map(|part| part.key.clone()));
        let deletes = self.put_left(place, &chosen, &positions).await?;
        tracing::debug!(table = resource.table, parts = chosen.len(), files, "compacted");
        let added = ready.added.into_iter().chain(merged).collect();
        Ok(Ready { added, deletes, removed, counts: ready.counts })
    }

    fn candidates(&self, place: usize, positions: &HashMap<u32, HashSet<u32>>) -> Vec<Candidate> {
        let table = &self.tables[place];
        let candidate = |(number, part): (u32, &Part)| Candidate {
            number,
            bytes: part.bytes,
            rows: part.rows,
            deleted: positions.get(&number).map_or(0, |positions| positions.len() as u64),
        };
        (0..).zip(&table.parts[..table.live]).map(candidate).collect()
    }

    /// Writes the live rows of the chosen parts as new ones.
    async fn merge(
        &self,
        place: usize,
        chosen: &BTreeSet<u32>,
        positions: &HashMap<u32, HashSet<u32>>,
    ) -> Result<Vec<StagedPart>> {
        let table = &self.tables[place];
        let mut inputs = Vec::new();
        for number in chosen {
            let bytes = self.repository.read_part(&table.parts[*number as usize]).await?;
            let deleted = positions.get(number).map(|positions| positions.iter().copied().collect());
            inputs.push((bytes, deleted.unwrap_or_default()));
        }
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let (resource, ids) = (table.resource, Arc::clone(&table.ids));
        let merged = blocking(move || encode::merge(resource, &ids, inputs, TARGET_BYTES)).await?;
        let mut parts = Vec::with_capacity(merged.len());
        for encoded in merged {
            let part = self.repository.put_part(table.resource.table, &self.run, &encoded).await?;
            parts.push(StagedPart::new(part, &encoded));
        }
        Ok(parts)
    }

    /// Writes the deletes of the parts that stay as one file.
    async fn put_left(
        &self,
        place: usize,
        chosen: &BTreeSet<u32>,
        positions: &HashMap<u32, HashSet<u32>>,
    ) -> Result<Vec<StagedPart>> {
        let table = &self.tables[place];
        let mut left: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (number, positions) in positions.iter().filter(|(number, _)| !chosen.contains(number)) {
            let url = self.repository.url_of(&table.parts[*number as usize].key);
            left.entry(url).or_default().extend(positions);
        }
        let mut gone = Vec::new();
        for (url, mut positions) in left {
            positions.sort_unstable();
            gone.extend(positions.into_iter().map(|position| (url.clone(), i64::from(position))));
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = blocking(move || encode::encode_deletes(gone)).await?;
        let part = self.repository.put_part(table.resource.table, &self.run, &encoded).await?;
        Ok(vec![StagedPart::new(part, &encoded)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[(u64, u64, u64)], expected: &[u32]) {
        let candidates: Vec<_> = (0..)
            .zip(parts)
            .map(|(number, (bytes, rows, deleted))| Candidate {
                number,
                bytes: *bytes,
                rows: *rows,
                deleted: *deleted,
            })
            .collect();
        assert_eq!(choose(&candidates).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_full_tier_of_small_parts_is_merged() {
        check(&[(1_000, 10, 0); 7], &[]);
        check(&[(1_000, 10, 0); 8], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let tiers = [[(1_000, 10, 0); 7], [(100_000, 10, 0); 7], [(1 << 20, 10, 0); 7]].concat();
        check(&tiers, &[]);
        check(&[(5 << 20, 10, 0); 20], &[]);
    }

    #[test]
    fn a_part_with_many_deleted_rows_is_written_anew() {
        check(&[(5 << 20, 3_000, 1_000), (5 << 20, 3_000, 1_001), (5 << 20, 3, 3)], &[1]);
    }

    #[test]
    fn one_merge_reads_no_more_than_its_budget() {
        let hollow = |mib: u64| (mib << 20, 3_000, 2_000);
        check(&[hollow(10), hollow(9), hollow(8)], &[1, 2]);
        check(&[hollow(30)], &[]);
    }
}
