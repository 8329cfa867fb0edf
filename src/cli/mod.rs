//! The command line: what a person types, and what they are told.
//!
//! Rule: results go to standard output, as text or as one JSON object a line; everything else goes to standard
//! error. The exit code is the error kind's, 3 for a snapshot with new gaps, 0 otherwise.

mod arguments;
mod check;
mod chosen;
#[cfg(feature = "demo")]
mod demo;
mod gaps;
mod manual;
mod serve;
mod show;
mod status;
mod verbs;

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::telemetry::{self, Metrics};
use arguments::{Arguments, Command};

/// How long what writes may take to lay down its work when it is asked to stop; a kill is safe at any moment.
const GRACE: Duration = Duration::from_secs(5);

/// Does what the arguments of this process say.
#[must_use]
pub fn main() -> ExitCode {
    let kept = process::keep_to_itself();
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error = Error::new(ErrorKind::Unavailable, format!("start the runtime: {cause}"));
            return show::failure(&error);
        }
    };
    let metrics = Metrics::default();
    let otlp = telemetry::start(arguments.verbose, runtime.handle(), &metrics);
    if let Err(error) = kept {
        // Where a sandbox forbids even this, a backup is worth more than the last lock on its door.
        tracing::warn!(%error, "others may read this process's memory");
    }
    let code = runtime.block_on(async {
        let (stop, stopped) = (CancellationToken::new(), stopped());
        let mut work = std::pin::pin!(dispatch(&arguments, &metrics, &stop));
        let code = tokio::select! {
            biased;
            done = &mut work => return ended(done),
            code = stopped => code,
        };
        // For a server that is the usual end.
        let code = if arguments.command.serves() { 0 } else { code };
        stop.cancel();
        let stopping = arguments.command.stopping();
        let grace = if stopping.lays_down { GRACE } else { Duration::ZERO };
        match tokio::time::timeout(grace, work).await {
            // What was being finished is done: a commit, or something that took no time.
            Ok(Ok(code)) => return ExitCode::from(code),
            Ok(Err(error)) if error.kind() == ErrorKind::Cancelled => tracing::warn!("{}", stopping.in_time),
            Ok(Err(error)) => return show::failure(&error),
            Err(_) => tracing::warn!("{}", stopping.too_late),
        }
        ExitCode::from(code)
    });
    runtime.block_on(otlp.end());
    // Answers that nobody waits for any more need not be waited for either.
    runtime.shutdown_background();
    code
}

fn ended(done: Result<u8>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => show::failure(&error),
    }
}

async fn dispatch(arguments: &Arguments, metrics: &Metrics, stop: &CancellationToken) -> Result<u8> {
    match &arguments.command {
        Command::Run(run) => verbs::run(arguments, &run.walk(), &run.how, metrics, stop).await,
        Command::Backfill(backfill) => {
            verbs::run(arguments, &backfill.walk(), &backfill.how, metrics, stop).await
        }
        Command::Gaps { command } => gaps::gaps(arguments, command.as_ref(), stop).await,
        Command::Daemon(daemon) => serve::serve(arguments, daemon, metrics, stop).await,
        Command::Status { fail_if_late } => status::status(arguments, *fail_if_late).await,
        Command::Snapshots => verbs::snapshots(arguments).await,
        Command::Verify { snapshot, deep } => verbs::verify(arguments, metrics, *snapshot, *deep).await,
        Command::Check => check::check(arguments).await,
        Command::Resources => show::resources().map(|()| 0),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { folder } => manual::man(folder.as_deref()),
        Command::Exits => manual::exits(arguments),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo::demo(arguments, demo, stop).await,
        #[cfg(feature = "demo")]
        Command::Simulate(simulate) => demo::simulate(simulate.clone(), stop).await,
    }
}

/// Waits for a person or the system to ask for an end: 130 for SIGINT, 143 for SIGTERM. It listens before it is waited for:
/// the work may have begun by then.
fn stopped() -> impl Future<Output = u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let asked = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = asked else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        }
    }
}
