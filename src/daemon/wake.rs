//! What wakes the daemon: the wall clock, and signals.
//!
//! Rule: a waking says that something may be due, never what. The scheduler goes by the wall clock, and so also wakes a
//! machine's daemon that was asleep; a clock that is set back puts the scheduler to sleep, and the daemon's own heartbeat
//! takes over.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::error::{Error, ErrorKind, Result};

/// How often the daemon looks whether something is due: a tick is at most so late.
const EVERY: &str = "*/5 * * * * *";

/// What the daemon is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Look at the time.
    Look,
    /// Read the settings again.
    Reload,
    /// Back up every organization now.
    BackUp,
}

/// Keeps the daemon awake for as long as it is not dropped.
pub struct Waker {
    scheduler: JobScheduler,
    listeners: tokio::task::JoinSet<()>,
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl Waker {
    /// Wakes by the wall clock, SIGHUP and SIGUSR1.
    pub async fn start() -> Result<(Self, mpsc::Receiver<Call>)> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Unavailable, format!("start the scheduler: {cause}"))
        };
        // From here on a signal is a call, and not the end of the process.
        let signals = [(SignalKind::hangup(), Call::Reload), (SignalKind::user_defined1(), Call::BackUp)];
        let signals = signals.map(|(kind, call)| (signal(kind), call));
        // One call waiting is as good as many.
        let (calls, called) = mpsc::channel(8);
        let scheduler = JobScheduler::new().await.map_err(|cause| failed(&cause))?;
        let looks = calls.clone();
        let job = Job::new(EVERY, move |_, _| {
            // Somebody is awake already.
            _ = looks.try_send(Call::Look);
        });
        scheduler.add(job.map_err(|cause| failed(&cause))?).await.map_err(|cause| failed(&cause))?;
        scheduler.start().await.map_err(|cause| failed(&cause))?;
        let mut listeners = tokio::task::JoinSet::new();
        for (signal, call) in signals {
            listeners.spawn(pass_on(signal.map_err(|cause| failed(&cause))?, call, calls.clone()));
        }
        Ok((Self { scheduler, listeners }, called))
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        if let Err(cause) = self.scheduler.shutdown().await {
            tracing::debug!(%cause, "the scheduler did not end by itself");
        }
    }
}

/// Passes on what a signal asks for.
async fn pass_on(mut signal: Signal, call: Call, calls: mpsc::Sender<Call>) {
    while let Some(()) = signal.recv().await {
        if calls.send(call).await.is_err() {
            return;
        }
    }
}
