//! The verb `daemon`: begins jobs when they are due, until SIGTERM or SIGINT.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::cli::arguments::{Arguments, DaemonArguments};
use crate::cli::chosen;
use crate::daemon::{self, Board, Daemon, Notify, Outside, State, Waker};
use crate::error::Result;

/// Serves until it is stopped; ends by itself only where the settings are unusable.
pub(super) async fn serve(
    arguments: &Arguments,
    typed: &DaemonArguments,
    stop: &CancellationToken,
) -> Result<u8> {
    // From here on SIGHUP does not end the process.
    let (waker, calls) = Waker::start().await?;
    let outside = Outside::real();
    let board = Board::new(outside.clock().clone());
    let folder = typed.state.clone().or_else(state_folder);
    if folder.is_none() {
        tracing::warn!("no folder for state is named: verifying begins anew with each start; set --state");
    }
    let again = arguments.clone();
    let done = daemon::run(Daemon {
        outside,
        settings: Box::new(move || chosen::settings(&again)),
        calls,
        stop: stop.clone(),
        notify: Notify::from_environment(),
        board,
        state: State::open(folder),
    })
    .await;
    waker.stop().await;
    done.map(|()| 0)
}

/// The folder for what is remembered on this machine: systemd's, else the user's.
fn state_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| text.starts_with('/'));
    // systemd may name several, with colons between them.
    let of_systemd = variable("STATE_DIRECTORY").and_then(|text| text.split(':').next().map(PathBuf::from));
    let of_user = || {
        let base = variable("XDG_STATE_HOME").map(PathBuf::from);
        let base = base.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        base.map(|base| base.join("asana-backup"))
    };
    of_systemd.or_else(of_user)
}
