//! The verb `daemon`: begins jobs when they are due, until SIGTERM or SIGINT.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::arguments::{Arguments, DaemonArguments};
use crate::cli::chosen;
use crate::config::Config;
use crate::daemon::{self, Board, Daemon, Notify, Outside, State, Waker};
use crate::error::Result;
use crate::telemetry::{Metrics, Outlets, StatusServer, Told};

/// Serves until it is stopped; ends by itself only where the settings are unusable, or somebody else listens where its
/// status server should.
pub(super) async fn serve(
    arguments: &Arguments,
    typed: &DaemonArguments,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<u8> {
    // From here on SIGHUP does not end the process.
    let (waker, calls) = Waker::start().await?;
    let config = Config::find(arguments.config.as_deref())?;
    let outside = Outside::real().telling(Outlets::new(&config.metrics, metrics.clone())?);
    let board = Board::new(outside.clock().clone());
    let mut server = JoinSet::new();
    if let Some(status) = StatusServer::bind(&config.status, told(metrics, &board)).await? {
        tracing::info!(address = status.address().map(tracing::field::display), "the status server listens");
        server.spawn(status.serve(stop.clone()));
    }
    let folder = typed.state.clone().or_else(State::usual_folder);
    if folder.is_none() {
        tracing::warn!("no folder for state is named: verifying begins anew with each start; set --state");
    }
    let (again, holder) = (arguments.clone(), typed.holder.clone());
    let done = daemon::run(Daemon {
        outside,
        settings: Box::new(move || {
            let (mut config, chosen) = chosen::settings(&again)?;
            config.run.holder = holder.clone().or(config.run.holder);
            Ok((config, chosen))
        }),
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

/// What the status server tells.
fn told(metrics: &Metrics, board: &Board) -> Told {
    let (health, board) = (Arc::clone(board.health()), board.clone());
    let describe = Arc::new(move || serde_json::to_value(board.status()).unwrap_or_default());
    Told { metrics: metrics.clone(), health, describe }
}
