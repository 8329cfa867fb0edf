//! Whether the daemon is alive and ready, as the system that runs it asks.
//!
//! Rule: alive means that the daemon's loop has turned lately, whatever its runs meet: a restart would mend nothing else.
//! Ready means that the token and the store of every organization were tried, and were good when they last were.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What the daemon says of itself.
#[derive(Debug)]
pub struct Health {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    turned_at: Instant,
    /// Whether it was good, by organization.
    tried: BTreeMap<String, bool>,
}

impl Health {
    /// Not ready yet, and alive for as long as it turns at least every `patience`.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::new(State { turned_at: Instant::now(), tried: BTreeMap::new() }) }
    }

    fn open(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves facts behind, not a broken invariant.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop has turned.
    pub fn turned(&self) {
        self.open().turned_at = Instant::now();
    }

    /// The token and the store of an organization were tried, and are good or not.
    pub fn tried(&self, organization: &str, is_good: bool) {
        self.open().tried.insert(organization.to_owned(), is_good);
    }

    /// There are no organizations but these. One that is new was not tried yet, and is not good until then.
    pub fn only(&self, organizations: &[&str]) {
        let tried = &mut self.open().tried;
        tried.retain(|name, _| organizations.contains(&name.as_str()));
        for name in organizations {
            tried.entry((*name).to_owned()).or_insert(false);
        }
    }

    /// Whether the loop has turned lately.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.open().turned_at.elapsed() <= self.patience
    }

    /// Whether everything was tried and is good.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.open();
        !state.tried.is_empty() && state.tried.values().all(|is_good| *is_good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_not_alive() {
        let health = Health::new(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(health.is_alive());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.is_alive());
        health.turned();
        assert!(health.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn ready_is_when_every_organization_is_good() {
        let health = Health::new(Duration::from_secs(60));
        assert!(!health.is_ready());
        health.tried("acme", true);
        assert!(health.is_ready());
        health.tried("other", false);
        assert!(!health.is_ready());
        health.only(&["acme"]);
        assert!(health.is_ready());
        // One that is new waits for its trial, and so does readiness.
        health.only(&["acme", "hooli"]);
        assert!(!health.is_ready());
        health.tried("hooli", true);
        assert!(health.is_ready());
    }
}
