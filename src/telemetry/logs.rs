//! Logs: human on a terminal, JSON otherwise, always on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Starts logging. `verbose` shows what is done, not only what changed; `ASANA_BACKUP_LOG` overrides it with
/// tracing's own filter language.
pub fn start(verbose: bool) {
    let usual = if verbose { "warn,asana_backup=debug" } else { "warn,asana_backup=info" };
    let filter = EnvFilter::try_from_env("ASANA_BACKUP_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    let started = if stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
