//! The journal: what a run has read, so that a crash costs the questions in flight and no more.
//!
//! Segments `runs/<run>/<k>.journal.zst` are created one after the other, each complete in itself: what a crash leaves
//! is a run as it was at some moment. Records that the repository has already are kept by key alone. Rule: what an
//! event stream said is in a segment before its next token is used. A segment that is there already was written by
//! another process that goes on with the same run: then this one has lost it, and says so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::backup::Walk;
use crate::backup::stage::blocking;
use crate::crawl::{Backfill, End, Lead, Search, Slices, Step, StreamAnswer, Unit, plan::Source};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Hash, Lane, RunId, SnapshotNumber};
use crate::repository::Repository;
use crate::resources::Resource;

/// The version of the journal's format.
const FORMAT: u32 = 2;
/// How long what was read may be in memory alone.
pub(super) const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// How much may be, in bytes of JSON.
const FLUSH_BYTES: usize = 8 << 20;
const ZSTD_LEVEL: i32 = 3;
const SUFFIX: &str = ".journal.zst";

/// What a journal is good for: the next run goes on with it only where all of this fits, see [`Terms::go_on_with`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) format: u32,
    /// The digest of the filters.
    pub(super) filters: Hash,
    /// The version of the resources.
    pub(super) resources: u32,
    /// Who the token is.
    pub(super) token: String,
    /// How much was asked to be walked.
    pub(super) walk: Walk,
}

impl Terms {
    pub(super) fn new(filters: Hash, resources: u32, token: &str, walk: Walk) -> Self {
        Self { format: FORMAT, filters, resources, token: token.to_owned(), walk }
    }

    /// Whether a run of these terms may go on with what one of the terms `begun` has read.
    pub(super) fn go_on_with(&self, begun: &Self) -> bool {
        let same = Self { walk: begun.walk.clone(), ..self.clone() } == *begun;
        same && self.walk.goes_on_with(&begun.walk)
    }
}

/// How a run began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Began {
    pub(super) terms: Terms,
    /// The snapshot it builds on.
    pub(super) base: Option<(SnapshotNumber, Hash)>,
    pub(super) started_at: DateTime<Utc>,
}

/// What a run set out to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Planned {
    /// Why everything is walked, if it is.
    pub(super) everything: Option<String>,
    /// What is read again, if it is less than everything.
    pub(super) again: Option<Backfill>,
    pub(super) slices: Slices,
    pub(super) sweep: bool,
    pub(super) changes: Source,
}

impl Planned {
    /// Whether the run walks at all, and so meets most of what there is.
    pub(super) fn walks(&self) -> bool {
        self.everything.is_some() || !self.slices.is_empty()
    }

    /// Whether it meets every row of a table, be it in a walk or because that was asked for.
    pub(super) fn meets_all_of(&self, resource: &Resource) -> bool {
        self.everything.is_some() || self.again.as_ref().is_some_and(|again| again.meets_all_of(resource))
    }
}

/// One thing that happened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    Began(Began),
    Planned(Planned),
    Page(Box<Kept>),
    Hits {
        of: Search,
        next: Option<DateTime<Utc>>,
        wanted: Vec<Unit>,
    },
    Step(Step),
    Streams(Vec<StreamAnswer>),
    /// The segment ends here; the last sign of life.
    At(DateTime<Utc>),
    /// The run stopped by itself, and lives no more.
    Ended,
}

/// An answer, as far as it is needed to go on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) unit: Unit,
    pub(super) lane: Lane,
    pub(super) began_at: DateTime<Utc>,
    pub(super) seen_at: DateTime<Utc>,
    pub(super) rows: Vec<Read>,
    /// What is wrong with a record of which nothing could be kept.
    pub(super) odd: Option<String>,
    pub(super) end: End,
    /// Units that are wanted because what was read differs.
    pub(super) wanted: Vec<Unit>,
}

/// A record that was read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Read {
    /// Where the key is more than the gid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Box<str>>,
    pub(super) lead: Lead,
    /// The JSON, where the repository has not the same already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<Box<RawValue>>,
}

/// The journal of one run, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    repository: Repository,
    run: RunId,
    /// Segments that are written.
    written: u64,
    buffer: Vec<u8>,
    /// A segment on its way: tried again, it must be the same to the byte.
    sealed: Option<Bytes>,
    flushed_at: Instant,
}

impl Journal {
    /// A journal that goes on after `written` segments.
    pub(super) fn new(repository: Repository, run: RunId, written: u64) -> Self {
        let flushed_at = Instant::now();
        Self { repository, run, written, buffer: Vec::new(), sealed: None, flushed_at }
    }

    /// Adds an entry; nothing is written yet.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        serde_json::to_writer(&mut self.buffer, entry)
            .map_err(|cause| Error::new(ErrorKind::Bug, format!("write the journal: {cause}")))?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// When what is in memory must be written.
    pub(super) fn due_at(&self) -> Instant {
        self.flushed_at + FLUSH_EVERY
    }

    /// Whether there is so much in memory that it must be written now.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FLUSH_BYTES
    }

    /// Segments that are written.
    pub(super) fn segments(&self) -> u64 {
        self.written
    }

    /// Writes what is in memory as the next segments; an empty one is a sign of life.
    pub(super) async fn flush(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.sealed.is_some() {
            self.put().await?;
        }
        self.add(&Entry::At(now))?;
        let buffer = std::mem::take(&mut self.buffer);
        let (packed, buffer) = blocking(move || Ok((pack(&buffer), buffer))).await?;
        match packed {
            Ok(packed) => self.sealed = Some(packed),
            Err(error) => {
                self.buffer = buffer;
                return Err(error);
            }
        }
        self.put().await
    }

    async fn put(&mut self) -> Result<()> {
        let Some(bytes) = self.sealed.clone() else { return Ok(()) };
        let name = name(self.written + 1);
        self.repository
            .put_run_file(&self.run, &name, bytes)
            .await
            .map_err(|error| error.doing("write the journal"))?;
        self.sealed = None;
        self.written += 1;
        self.flushed_at = Instant::now();
        Ok(())
    }
}

fn name(segment: u64) -> String {
    format!("{segment:010}{SUFFIX}")
}

fn pack(plain: &[u8]) -> Result<Bytes> {
    let bug = |cause: std::io::Error| Error::new(ErrorKind::Bug, format!("pack the journal: {cause}"));
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(bug)?;
    encoder.include_checksum(true).map_err(bug)?;
    std::io::Write::write_all(&mut encoder, plain).map_err(bug)?;
    encoder.finish().map(Bytes::from).map_err(bug)
}

/// The segments of a run, in their order: 1, 2, 3, ... up to the first that is not there.
pub(super) async fn segments(repository: &Repository, run: &RunId) -> Result<u64> {
    let files = repository.run_files(run).await?;
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.key.rsplit('/').next()).collect();
    Ok((1..).take_while(|number| names.contains(&*name(*number))).count() as u64)
}

/// The entries of one segment.
pub(super) async fn read(repository: &Repository, run: &RunId, segment: u64) -> Result<Vec<Entry>> {
    let name = name(segment);
    let bytes = repository.read_run_file(run, &name).await?;
    blocking(move || unpack(&bytes)).await.map_err(|error| error.doing(format!("read runs/{run}/{name}")))
}

fn unpack(bytes: &[u8]) -> Result<Vec<Entry>> {
    let garbled = |cause: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Corrupt, format!("the journal is garbled: {cause}"))
            .remedy("`run --full` starts anew, without it")
    };
    let plain = zstd::stream::decode_all(bytes).map_err(|cause| garbled(&cause))?;
    let entries = serde_json::Deserializer::from_slice(&plain).into_iter();
    entries.collect::<std::result::Result<_, _>>().map_err(|cause| garbled(&cause))
}

/// What an answer's circumstances were.
pub(super) fn reading(
    fields: &Arc<str>,
    lane: Lane,
    began_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
) -> Arc<crate::model::Reading> {
    Arc::new(crate::model::Reading { lane, fields: Arc::clone(fields), began_at, seen_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_byte_for_byte() {
        let raw = r#"{"gid" : "1",  "n":1.0e1,"s":"\u00e9\/"}"#;
        let unit = Unit::single(crate::resources::ALL[0], "1", crate::crawl::Why::Changed);
        let lead = Lead { gid: "1".into(), below: vec![unit.clone()], refers: Vec::new(), none: vec![3] };
        let raw = RawValue::from_string(raw.to_owned()).expect("JSON");
        let rows = vec![Read { key: None, lead, raw: Some(raw) }];
        let at = DateTime::UNIX_EPOCH;
        let page = Kept {
            unit,
            lane: Lane::Walk,
            began_at: at,
            seen_at: at,
            rows,
            odd: None,
            end: End::Whole,
            wanted: Vec::new(),
        };
        let plain: Vec<u8> = [Entry::Page(Box::new(page)), Entry::At(at)]
            .iter()
            .flat_map(|entry| [serde_json::to_vec(entry).expect("JSON"), b"\n".to_vec()].concat())
            .collect();
        let packed = pack(&plain).expect("packed");
        let entries = unpack(&packed).expect("unpacked");
        let [Entry::Page(page), Entry::At(_)] = &entries[..] else { panic!("{entries:?}") };
        let kept = page.rows[0].raw.as_ref().expect("kept").get();
        assert_eq!(kept, r#"{"gid" : "1",  "n":1.0e1,"s":"\u00e9\/"}"#);
        let mut damaged = packed.to_vec();
        damaged[packed.len() / 2] ^= 1;
        assert!(unpack(&damaged).is_err());
    }
}
