//! Things that go wrong on purpose.
//!
//! Rule: which request fails is drawn from the seed and from how many the rule has seen, so a run can be repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::mix;

/// A rule: which requests fail, how, and how often.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// The paths it applies to, below `/api/1.0`: `*` stands for anything, `/tasks/*/stories`.
    pub path: String,
    /// The method it applies to.
    pub method: String,
    /// What happens.
    pub kind: FaultKind,
    /// Every how manieth matching request fails; 1 is all of them.
    pub every: u64,
    /// How likely each of those is to fail, from 0 to 1.
    pub probability: f64,
    /// Matching requests to let pass first.
    pub after: u64,
    /// How often it happens at most.
    pub times: Option<u64>,
    /// How long to wait first, in milliseconds.
    pub delay_ms: u64,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            path: "*".into(),
            method: "GET".into(),
            kind: FaultKind::Delay,
            every: 1,
            probability: 1.0,
            after: 0,
            times: None,
            delay_ms: 0,
        }
    }
}

/// What happens to a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It only takes longer.
    Delay,
    /// It is answered with this status and Asana's error body.
    Status {
        /// The status.
        status: u16,
        /// What `Retry-After` says, if anything.
        retry_after: Option<u64>,
    },
    /// The body ends halfway: `Content-Length` promises more than comes.
    CutBody,
    /// The body is no JSON although the status is 200.
    WrongJson,
    /// The connection is reset without an answer.
    Reset,
}

impl Fault {
    /// Requests whose path matches are answered with this status.
    pub fn status(path: &str, status: u16) -> Self {
        Self { path: path.into(), kind: FaultKind::Status { status, retry_after: None }, ..Self::default() }
    }

    /// Another kind of fault on this path.
    pub fn on(path: &str, kind: FaultKind) -> Self {
        Self { path: path.into(), kind, ..Self::default() }
    }

    /// At most so often.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only every so manieth matching request.
    pub fn every(mut self, every: u64) -> Self {
        self.every = every;
        self
    }

    /// Waits first.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = delay.as_millis() as u64;
        self
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: BTreeMap<u64, (Fault, u64, u64)>,
    next: u64,
}

impl Faults {
    /// Adds a rule and says its number.
    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        self.next += 1;
        self.rules.insert(self.next, (fault, 0, 0));
        self.next
    }

    /// Drops all rules.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules, and how often each matched and struck.
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let line = |(id, (fault, seen, struck)): (&u64, &(Fault, u64, u64))| serde_json::json!({ "id": id, "fault": fault, "seen": seen, "struck": struck });
        self.rules.iter().map(line).collect()
    }

    /// What happens to this request: the first rule that strikes.
    pub(crate) fn strike(&mut self, seed: u64, method: &str, path: &str) -> Option<Fault> {
        for (id, (fault, seen, struck)) in &mut self.rules {
            if !fault.method.eq_ignore_ascii_case(method) || !glob(&fault.path, path) {
                continue;
            }
            *seen += 1;
            let due = *seen > fault.after && (*seen - fault.after) % fault.every.max(1) == 0;
            let left = fault.times.is_none_or(|times| *struck < times);
            let drawn = (mix(seed, 0xfa17 + *id, *seen) >> 11) as f64 / (1_u64 << 53) as f64;
            if due && left && drawn < fault.probability {
                *struck += 1;
                return Some(fault.clone());
            }
        }
        None
    }
}

/// Whether a pattern with `*` matches the whole text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            rest.is_empty()
                || (0..=tail.len())
                    .filter(|cut| tail.is_char_boundary(*cut))
                    .any(|cut| glob(rest, &tail[cut..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "/tasks/1", true),
            ("/tasks/*/stories", "/tasks/12/stories", true),
            ("/tasks/*/stories", "/tasks/12/subtasks", false),
            ("/tasks", "/tasks/12", false),
            ("*stories", "/tasks/12/stories", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
