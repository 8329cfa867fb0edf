//! What a client counts.
//!
//! Rule: every request that was sent is counted once by its operation and once by how it ended, also the refused ones:
//! Asana counts them too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Offset;

/// What a client has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests sent, by the operation's id in Asana's description.
    pub by_operation: BTreeMap<&'static str, u64>,
    /// Requests that ended, by status; 0 where no usable answer came.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests that ended, by operation and status.
    pub by_operation_and_status: BTreeMap<(&'static str, u16), u64>,
    /// Requests that had to be sent once more.
    pub retries: u64,
    /// Time that requests waited for their turn, summed over all of them.
    pub waited: Duration,
    /// Bytes of answers, after decompression.
    pub bytes: u64,
    /// Objects in a row, up to now, of which nothing could be read although asked again and again. One is a bad
    /// object; many mean that the service is down.
    pub unreadable_in_a_row: u64,
    /// How far the local clock is ahead of Asana's, as the last answer that told a time had it.
    pub clock_offset: Option<Offset>,
}

impl Statistics {
    /// Requests sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_operation.values().sum()
    }
}

/// Statistics that many requests write.
#[derive(Debug, Default)]
pub(super) struct Books(Mutex<Statistics>);

impl Books {
    pub(super) fn open(&self) -> MutexGuard<'_, Statistics> {
        // A panic elsewhere leaves numbers behind, not a broken invariant.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
