//! The verb `daemon`: begins jobs when they are due, until it is stopped.
//!
//! Rule: it ends by itself only where the settings are unusable at its start. A refused token, an outage, a job that
//! fails or panics are the next tick's business, and what one organization meets is no other's. What it needs to know is
//! in the repositories, so it may be killed at any moment, and be started on another machine.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::{self, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::backup::{Outcome, Walk};
use crate::config::{Config, Organization};
use crate::daemon::agenda::Agenda;
use crate::daemon::last::Last;
use crate::daemon::notify::{Notify, Pulse};
use crate::daemon::schedule::Kind;
use crate::daemon::state::State;
use crate::daemon::status::{Board, Ended, Running};
use crate::daemon::wake::Call;
use crate::daemon::{Job, Outside, Wanted, Watch, job, tell, trial};
use crate::error::{Error, ErrorKind, Result};

/// How often the loop turns although nobody calls: a wall clock that is set back wakes nobody.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Settings, and the organizations to work on.
pub type Chosen = (Config, Vec<(String, Organization)>);

/// What a daemon is made of.
pub struct Daemon {
    /// Asana, the stores, the time.
    pub outside: Outside,
    /// Reads the settings, now and at each reload.
    pub settings: Box<dyn Fn() -> Result<Chosen> + Send + Sync>,
    /// What wakes it.
    pub calls: mpsc::Receiver<Call>,
    /// Ends it.
    pub stop: CancellationToken,
    /// Whom to tell that it lives.
    pub notify: Notify,
    /// Where it says what it does.
    pub board: Board,
    /// What it remembers on its own disk.
    pub state: State,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").finish_non_exhaustive()
    }
}

/// A job that has ended.
struct Done {
    /// Of a backup. A verification has none.
    outcome: Option<Outcome>,
    error: Option<Error>,
    exit_code: u8,
    last: Option<Last>,
}

/// What the loop works with.
struct Turn {
    daemon: Daemon,
    config: Arc<Config>,
    agendas: BTreeMap<String, Agenda>,
    /// Those that run, with whose they are. They share the loop's task, so that a sign of life speaks for them too; what
    /// takes the processor long has threads of its own.
    jobs: FuturesUnordered<LocalBoxFuture<'static, (String, Done)>>,
    pulse: Option<Pulse>,
}

/// Works until it is stopped.
pub async fn run(daemon: Daemon) -> Result<()> {
    let chosen = (daemon.settings)()?;
    let started_at = daemon.outside.clock().now();
    let every = daemon.notify.watchdog().map_or(HEARTBEAT, |watchdog| (watchdog / 4).min(HEARTBEAT));
    let mut turn = Turn {
        config: Arc::new(Config::default()),
        agendas: BTreeMap::new(),
        jobs: FuturesUnordered::new(),
        pulse: daemon.notify.watchdog().map(|watchdog| Pulse::new(watchdog / 2)),
        daemon,
    };
    turn.daemon.board.open().started_at = Some(started_at);
    turn.adopt(chosen)?;
    let stop = turn.daemon.stop.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        () = turn.try_new() => {}
    }
    turn.daemon.board.open().ready = true;
    turn.daemon.notify.ready();
    tracing::info!(organizations = turn.agendas.len(), "the daemon is ready");
    turn.work(every).await;
    turn.end().await;
    Ok(())
}

impl Turn {
    async fn work(&mut self, every: Duration) {
        let stop = self.daemon.stop.clone();
        let mut heartbeat = tokio::time::interval_at(Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_called = true;
        loop {
            self.begin_what_is_due();
            self.tell();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((name, done)) = self.jobs.next() => self.ended(&name, done),
                call = self.daemon.calls.recv(), if is_called => match call {
                    Some(Call::Look) => {}
                    Some(Call::Reload) => self.reload().await,
                    Some(Call::BackUp) => self.agendas.values_mut().for_each(|agenda| agenda.wanted = true),
                    None => is_called = false,
                },
                _ = heartbeat.tick() => self.beat(),
            }
        }
    }

    /// Takes these settings. What is wrong with them leaves those before in place.
    fn adopt(&mut self, (config, chosen): Chosen) -> Result<()> {
        let now = self.daemon.outside.clock().now();
        let mut agendas = BTreeMap::new();
        for (name, organization) in chosen {
            let remembered = self.daemon.state.of(&organization.repository, now);
            let agenda = Agenda::new(&config, &name, organization, remembered, now)?;
            if let Some(warning) = agenda.warning(now) {
                tracing::warn!(organization = %name, "{warning}");
            }
            agendas.insert(name, agenda);
        }
        for (name, before) in std::mem::take(&mut self.agendas) {
            if let Some(agenda) = agendas.get_mut(&name) {
                agenda.take_over(before);
            }
        }
        self.daemon.board.health().only(&agendas.keys().map(String::as_str).collect::<Vec<_>>());
        (self.agendas, self.config) = (agendas, Arc::new(config));
        Ok(())
    }

    async fn reload(&mut self) {
        self.daemon.notify.reloading();
        let adopted = (self.daemon.settings)().and_then(|chosen| self.adopt(chosen));
        let wrong = match adopted {
            Ok(()) => {
                tracing::info!(organizations = self.agendas.len(), "the settings were read again");
                self.try_new().await;
                None
            }
            Err(error) => {
                let remedy = error.remedy_text().unwrap_or_default();
                tracing::error!(%error, remedy, "the settings are wrong: those before hold");
                Some(error.to_string())
            }
        };
        self.daemon.board.open().settings_error = wrong;
        self.daemon.notify.ready();
    }

    /// Tries the tokens and stores of organizations that nothing is known of, and asks the repositories for earlier jobs.
    async fn try_new(&mut self) {
        let (outside, health) = (&self.daemon.outside, self.daemon.board.health());
        let fresh = self.agendas.iter_mut().filter(|(_, agenda)| agenda.is_new());
        let tried = fresh.map(|(name, agenda)| {
            let config = &self.config;
            async move {
                let organization = Arc::clone(&agenda.organization);
                let (token, last) = tokio::join!(
                    trial::token(outside, config, &organization),
                    trial::last(outside, &organization)
                );
                let token_is_good = token.is_ok();
                if let Err(error) = token {
                    let remedy = error.remedy_text().unwrap_or_default();
                    tracing::error!(organization = %name, %error, remedy, "the token was tried");
                }
                tell::expects(outside, config, name, &organization);
                health.tried(name, token_is_good && last.is_ok());
                match last {
                    Ok(last) => {
                        tell::knows(outside, name, &last);
                        agenda.note(last);
                    }
                    Err(error) => {
                        let remedy = error.remedy_text().unwrap_or_default();
                        tracing::error!(organization = %name, %error, remedy, "the repository was tried");
                    }
                }
            }
        });
        future::join_all(tried).await;
    }

    fn begin_what_is_due(&mut self) {
        let now = self.daemon.outside.clock().now();
        let mut due: Vec<(DateTime<Utc>, Kind, String)> = Vec::new();
        for (name, agenda) in &mut self.agendas {
            due.extend(agenda.due(now).map(|(since, kind)| (since, kind, name.clone())));
        }
        // Who has waited longest comes first, so that nobody waits for ever.
        due.sort();
        let free = self.config.daemon.at_once.get().saturating_sub(self.jobs.len());
        for (_, kind, name) in due.into_iter().take(free) {
            self.begin(kind, name, now);
        }
    }

    fn begin(&mut self, kind: Kind, name: String, now: DateTime<Utc>) {
        let Some(agenda) = self.agendas.get_mut(&name) else { return };
        let watch = Watch::default();
        let wanted = wanted(kind, agenda.backups_walk(now));
        agenda.begin(Running::new(kind, now, watch.clone()));
        let organization = Arc::clone(&agenda.organization);
        let (config, outside) = (Arc::clone(&self.config), self.daemon.outside.clone());
        let stop = self.daemon.stop.clone();
        if kind == Kind::Verify {
            self.daemon.state.verify_begins(&organization.repository, now);
        }
        self.jobs.push(Box::pin(async move {
            let carried_out = async {
                if kind == Kind::Verify {
                    return verified(&outside, &name, &organization, &stop).await;
                }
                let (organization, config) = (&*organization, &*config);
                let job = Job { name: &name, organization, config, wanted: &wanted, watch: &watch };
                backed_up(&outside, job, &stop).await
            };
            let done = AssertUnwindSafe(carried_out).catch_unwind().await.unwrap_or_else(|_| broke_off());
            (name, done)
        }));
    }

    fn ended(&mut self, name: &str, done: Done) {
        let Some(agenda) = self.agendas.get_mut(name) else { return };
        let Some(began_at) = agenda.running.as_ref().map(|running| running.began_at) else { return };
        tell::tried(self.daemon.board.health(), name, done.exit_code);
        let ended = Ended {
            began_at,
            ended_at: self.daemon.outside.clock().now(),
            exit_code: done.exit_code,
            error: done.error.as_ref().map(ToString::to_string),
            remedy: done.error.as_ref().and_then(Error::remedy_text).map(ToOwned::to_owned),
            snapshot: done.outcome.as_ref().map(|outcome| outcome.snapshot.0),
            new_gaps: done.outcome.as_ref().map_or(0, |outcome| outcome.new_gaps),
        };
        agenda.end(ended, done.last);
    }

    /// Says that the daemon lives, if its jobs get on.
    fn beat(&mut self) {
        let Some(pulse) = &mut self.pulse else { return };
        // What verifies counts nothing while it reads.
        let running = self.agendas.iter().filter_map(|(name, agenda)| {
            let running = agenda.running.as_ref().filter(|running| running.job != Kind::Verify)?;
            Some((name.as_str(), &running.watch))
        });
        if pulse.beats(running) {
            self.daemon.notify.alive();
        }
    }

    /// Says what is done, to the board and to systemd.
    fn tell(&mut self) {
        let now = self.daemon.outside.clock().now();
        self.daemon.board.health().turned();
        {
            let mut status = self.daemon.board.open();
            status.turned_at = Some(now);
            status.organizations =
                self.agendas.iter().map(|(name, agenda)| (name.clone(), agenda.status(now))).collect();
        }
        let text = self.in_words();
        self.daemon.notify.status(&text);
    }

    fn in_words(&self) -> String {
        let mut running = self.agendas.iter().filter_map(|(name, agenda)| {
            let running = agenda.running.as_ref()?;
            Some(format!("{name}: {}: {}", running.job, running.watch.progress().doing_now()))
        });
        if let Some(first) = running.next() {
            return running.fold(first, |all, one| format!("{all}; {one}"));
        }
        let next =
            self.agendas.iter().filter_map(|(name, agenda)| agenda.next().map(|(at, kind)| (at, kind, name)));
        next.min().map_or_else(
            || "nothing is scheduled".to_owned(),
            |(at, kind, name)| {
                format!("idle; next: {name}: {kind} at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true))
            },
        )
    }

    /// Waits until the running jobs have laid down their work.
    async fn end(&mut self) {
        self.daemon.board.open().stopping = true;
        self.daemon.notify.stopping();
        self.daemon.notify.status("laying down the work");
        while let Some((name, done)) = self.jobs.next().await {
            self.ended(&name, done);
        }
        tracing::info!("the daemon stops");
    }
}

/// How a job differs from a run that somebody types.
fn wanted(kind: Kind, backups_walk: bool) -> Wanted {
    let walk = match kind {
        Kind::Reconcile => Walk::Share,
        Kind::Backup if backups_walk => Walk::WhenDue,
        Kind::Backup | Kind::Verify => Walk::Nothing,
    };
    Wanted { walk, ..Wanted::default() }
}

async fn backed_up(outside: &Outside, job: Job<'_>, stop: &CancellationToken) -> Done {
    let result = job::back_up(outside, job, stop).await;
    let exit_code = job::exit_code(&result);
    match result {
        Ok(outcome) => {
            // What a snapshot says is told by the snapshot, also of those that others made meanwhile.
            let last = trial::last(outside, job.organization).await.ok();
            Done { outcome: Some(outcome), error: None, exit_code, last }
        }
        Err(error) => Done { outcome: None, error: Some(error), exit_code, last: None },
    }
}

async fn verified(
    outside: &Outside,
    name: &str,
    organization: &Organization,
    stop: &CancellationToken,
) -> Done {
    let error = job::verify(outside, name, organization, stop).await.err();
    let exit_code = error.as_ref().map_or(0, |error| error.kind().exit_code());
    Done { outcome: None, error, exit_code, last: None }
}

/// What comes of a job that panics: it was one organization's, and the others go on.
fn broke_off() -> Done {
    let error = Error::new(ErrorKind::Bug, "the job broke off").remedy("report it, with the lines before");
    tracing::error!(%error, "the job broke off");
    Done { outcome: None, error: Some(error), exit_code: ErrorKind::Bug.exit_code(), last: None }
}
