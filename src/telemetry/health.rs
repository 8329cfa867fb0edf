//! Whether the daemon is alive and ready, as the system that runs it asks.
//!
//! Rule: alive means that the daemon's loop has turned lately, whatever its runs meet: a restart would mend nothing else.
//! Ready means that settings, tokens and stores were tried, and found good.

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
    is_ready: bool,
}

impl Health {
    /// Not ready yet, and alive for as long as it turns at least every `patience`.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::new(State { turned_at: Instant::now(), is_ready: false }) }
    }

    fn open(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves facts behind, not a broken invariant.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop has turned.
    pub fn turned(&self) {
        self.open().turned_at = Instant::now();
    }

    /// Everything was tried, and is good or not.
    pub fn tried(&self, is_good: bool) {
        self.open().is_ready = is_good;
    }

    /// Whether the loop has turned lately.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.open().turned_at.elapsed() <= self.patience
    }

    /// Whether everything was tried and is good.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.open().is_ready
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
}
