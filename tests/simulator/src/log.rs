//! What was asked: the last requests, and how many there were of each operation.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The most requests that are remembered one by one.
const KEPT: usize = 20_000;

/// One request, after it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedRequest {
    /// When it was answered, by the simulated clock.
    pub at: DateTime<Utc>,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// The `operationId` of what it asked for, if the simulator plays it.
    pub operation: Option<&'static str>,
    /// The status it got; 0 when the connection was reset.
    pub status: u16,
    /// Whose token it carried: `service`, `person`, or `none`.
    pub token: &'static str,
}

/// The log and the counters.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) requests: VecDeque<LoggedRequest>,
    pub(crate) operations: BTreeMap<String, u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) methods: BTreeMap<String, u64>,
}

impl Log {
    /// Adds a request.
    pub(crate) fn add(&mut self, request: LoggedRequest) {
        // Looked up before it is inserted: a name is only copied the first time.
        let name = request.operation.unwrap_or("unknown");
        match self.operations.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.operations.insert(name.to_owned(), 1)),
        }
        match self.methods.get_mut(&request.method) {
            Some(count) => *count += 1,
            None => drop(self.methods.insert(request.method.clone(), 1)),
        }
        *self.statuses.entry(request.status).or_default() += 1;
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}
