//! Some ranges of a file, read as if the file were there.
//!
//! Rule: what was not fetched cannot be read; it is an error and never a zero.

use std::ops::Range;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use crate::encode::read::corrupt;
use crate::error::Result;

/// Some ranges of a file.
pub(super) struct Sparse {
    length: u64,
    /// Where each begins, ascending, and its bytes.
    pieces: Vec<(u64, Bytes)>,
}

impl Sparse {
    /// Of a file of `length` bytes, `ranges`, which ascend, and what was fetched for each.
    pub(super) fn new(length: u64, ranges: &[Range<u64>], fetched: Vec<Bytes>) -> Result<Self> {
        let fits = |(range, bytes): (&Range<u64>, &Bytes)| range.end - range.start == bytes.len() as u64;
        if ranges.len() != fetched.len() || !ranges.iter().zip(&fetched).all(fits) {
            return Err(corrupt("other bytes were read than are needed"));
        }
        let pieces = ranges.iter().map(|range| range.start).zip(fetched).collect();
        Ok(Self { length, pieces })
    }

    /// What was fetched from `start` on.
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let absent = || ParquetError::EOF(format!("byte {start} was not fetched"));
        let after = self.pieces.partition_point(|(first, _)| *first <= start);
        let (first, bytes) = after.checked_sub(1).map(|at| &self.pieces[at]).ok_or_else(absent)?;
        let skip = usize::try_from(start - first).ok().filter(|skip| *skip < bytes.len());
        Ok(bytes.slice(skip.ok_or_else(absent)?..))
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Sparse {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} were not fetched")));
        }
        Ok(bytes.slice(..length))
    }
}
