//! The verb `daemon`: begins jobs when they are due, until it is stopped.
//!
//! Rule: it ends by itself only where the settings are unusable at its start. A refused token, an outage, a job that
//! fails or panics are the next tick's business, and what one organization meets is no other's. What it needs to know is
//! in the repositories, so it may be killed at any moment, and be started on another machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Organization};
use crate::daemon::agenda::Agenda;
use crate::daemon::jobs::{self, Begun, Done, Due, JobId, Jobs, Means};
use crate::daemon::notify::{Notify, Pulse};
use crate::daemon::schedule::Kind;
use crate::daemon::state::State;
use crate::daemon::status::{Board, Ended, Running};
use crate::daemon::trial::Tried;
use crate::daemon::wake::Call;
use crate::daemon::{Outside, Wanted, Watch, tell, trial};
use crate::error::{Error, Result};

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

/// What the loop works with.
struct Turn {
    daemon: Daemon,
    config: Arc<Config>,
    agendas: BTreeMap<String, Agenda>,
    jobs: Jobs,
    trials: FuturesUnordered<LocalBoxFuture<'static, Tried>>,
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
        jobs: Jobs::default(),
        trials: FuturesUnordered::new(),
        pulse: daemon.notify.watchdog().map(|watchdog| Pulse::new(watchdog / 2)),
        daemon,
    };
    turn.daemon.board.open().started_at = Some(started_at);
    turn.adopt(chosen)?;
    turn.try_new();
    let stop = turn.daemon.stop.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            tried = turn.trials.next() => match tried {
                Some(tried) => turn.tried(tried),
                None => break,
            },
        }
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
                Some((id, begun, done)) = self.jobs.next() => self.ended(id, &begun, done),
                Some(tried) = self.trials.next() => self.tried(tried),
                call = self.daemon.calls.recv(), if is_called => match call {
                    Some(Call::Look) => {}
                    Some(Call::Reload) => self.reload(),
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
            let agenda = Agenda::new(&config, &name, organization, remembered)?;
            if let Some(warning) = agenda.warning(now) {
                tracing::warn!(organization = %name, "{warning}");
            }
            agendas.insert(name, agenda);
        }
        let mut new: BTreeSet<String> = agendas.keys().cloned().collect();
        for (name, before) in std::mem::take(&mut self.agendas) {
            match agendas.get_mut(&name) {
                Some(agenda) if agenda.is_of(&before.organization) => {
                    agenda.take_over(before);
                    new.remove(&name);
                }
                // What was told is of another repository, or of none any more.
                other => {
                    tell::forgets(&self.daemon.outside, &name);
                    other.into_iter().for_each(|agenda| agenda.wanted = before.wanted);
                }
            }
        }
        for (name, agenda) in &agendas {
            tell::expects(&self.daemon.outside, &config, name, &agenda.organization);
        }
        self.jobs.stop_unless(|id| agendas.values().any(|agenda| agenda.holds(id)));
        self.daemon.board.health().only(&agendas.keys().map(String::as_str).collect::<Vec<_>>());
        (self.agendas, self.config) = (agendas, Arc::new(config));
        // Of the others, a job that ends just now may have told more than is remembered.
        new.iter().for_each(|name| self.tell_what_is_known(name));
        Ok(())
    }

    /// Tells of an organization what the disk says, and then the repository, which knows better.
    fn tell_what_is_known(&mut self, name: &str) {
        let Daemon { outside, state, .. } = &mut self.daemon;
        let Some(agenda) = self.agendas.get(name) else { return };
        let remembered = state.of(&agenda.organization.repository, outside.clock().now());
        tell::remembers(outside, name, &remembered.told);
        agenda.last().into_iter().for_each(|last| tell::knows(outside, name, last));
    }

    fn reload(&mut self) {
        self.daemon.notify.reloading();
        let adopted = (self.daemon.settings)().and_then(|chosen| self.adopt(chosen));
        let wrong = match adopted {
            Ok(()) => {
                tracing::info!(organizations = self.agendas.len(), "the settings were read again");
                self.try_new();
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

    /// Begins to try the tokens and stores of organizations that nothing is known of. Their jobs wait for it, the loop
    /// does not.
    fn try_new(&mut self) {
        for (name, agenda) in
            self.agendas.iter_mut().filter(|(_, agenda)| agenda.is_new() && !agenda.is_tried)
        {
            agenda.is_tried = true;
            let (outside, config) = (self.daemon.outside.clone(), Arc::clone(&self.config));
            let trial = trial::all(outside, config, name.clone(), Arc::clone(&agenda.organization));
            self.trials.push(Box::pin(trial));
        }
    }

    fn tried(&mut self, Tried { name, organization, token, last }: Tried) {
        let agenda = self.agendas.get_mut(&name).filter(|agenda| agenda.is_of(&organization));
        // Another reload took it out meanwhile.
        let Some(agenda) = agenda else { return };
        agenda.is_tried = false;
        let is_good = token.is_ok() && last.is_ok();
        if let Err(error) = token {
            let remedy = error.remedy_text().unwrap_or_default();
            tracing::error!(organization = %name, %error, remedy, "the token was tried");
        }
        match last {
            Ok(last) => {
                tell::knows(&self.daemon.outside, &name, &last);
                agenda.note(last);
            }
            Err(error) => {
                let remedy = error.remedy_text().unwrap_or_default();
                tracing::error!(organization = %name, %error, remedy, "the repository was tried");
            }
        }
        // Last of all: whoever is told that it is ready may ask for its metrics.
        self.daemon.board.health().tried(&name, is_good);
    }

    fn begin_what_is_due(&mut self) {
        let now = self.daemon.outside.clock().now();
        let mut all: Vec<Due> = Vec::new();
        for (name, agenda) in &mut self.agendas {
            let due = agenda.due(now).into_iter().map(|(since, kind)| Due {
                since,
                kind,
                name: name.clone(),
                repository: agenda.organization.repository.clone(),
                is_first_copy: agenda.is_first_copy(),
            });
            all.extend(due);
        }
        all.sort();
        for due in all {
            let others =
                self.agendas.iter().any(|(name, agenda)| *name != due.name && !agenda.is_first_copy());
            if self.jobs.have_room_for(&due, self.config.daemon.at_once.get(), others) {
                self.begin(due, now);
            }
        }
    }

    fn begin(&mut self, due: Due, now: DateTime<Utc>) {
        let Some(agenda) = self.agendas.get_mut(&due.name) else { return };
        let (id, watch) = (self.jobs.id(), Watch::default());
        let means = Means {
            outside: self.daemon.outside.clone(),
            config: Arc::clone(&self.config),
            organization: Arc::clone(&agenda.organization),
            wanted: Wanted {
                // Whoever asked for it is told of it, whatever was told before.
                failing: agenda.failing().filter(|_| !agenda.wanted).cloned(),
                ..jobs::wanted(due.kind, agenda.backups_walk(now))
            },
            is_known: agenda.last().is_some(),
        };
        agenda.begin(Running::new(id, due.kind, now, watch.clone()));
        let verifies = due.kind == Kind::Verify;
        let before = if verifies {
            self.daemon.state.verify_begins(&due.repository, now)
        } else {
            tell::attempts(&self.daemon.outside, &due.name, now);
            self.remember(&due);
            None
        };
        let stop = self.daemon.stop.child_token();
        self.jobs.begin(id, Begun { due, began_at: now, watch, stop, before }, means);
    }

    fn ended(&mut self, id: JobId, begun: &Begun, done: Done) {
        let Begun { due, began_at, before, .. } = begun;
        if done.error.is_none() {
            self.daemon.state.succeeded(&due.repository, due.kind, *began_at);
        } else if due.kind == Kind::Verify && done.is_stopped() {
            self.daemon.state.verify_was_stopped(&due.repository, *began_at, *before);
        }
        let agenda = self.agendas.get_mut(&due.name);
        let Some(agenda) = agenda.filter(|agenda| agenda.holds(id)) else { return self.disown(&due.name) };
        done.last.iter().for_each(|last| tell::knows(&self.daemon.outside, &due.name, last));
        tell::tried(self.daemon.board.health(), &due.name, done.exit_code);
        let ended = Ended {
            began_at: *began_at,
            ended_at: self.daemon.outside.clock().now(),
            exit_code: done.exit_code,
            error: done.error.as_ref().map(ToString::to_string),
            remedy: done.error.as_ref().and_then(Error::remedy_text).map(ToOwned::to_owned),
            snapshot: done.outcome.as_ref().map(|outcome| outcome.snapshot.0),
            new_gaps: done.outcome.as_ref().map_or(0, |outcome| outcome.new_gaps),
        };
        agenda.end(id, ended, done.last);
        self.remember(due);
    }

    /// Keeps what was told of an organization: the next process tells it before its first job ends.
    fn remember(&mut self, due: &Due) {
        let Daemon { outside, state, .. } = &mut self.daemon;
        state.told(&due.repository, outside.clock().now(), tell::remembered(outside, &due.name));
    }

    /// Takes back what a job told that nobody holds any more: its name is another repository's by now, or nobody's.
    fn disown(&mut self, name: &str) {
        tell::forgets(&self.daemon.outside, name);
        if let Some(agenda) = self.agendas.get(name) {
            tell::expects(&self.daemon.outside, &self.config, name, &agenda.organization);
        }
        self.tell_what_is_known(name);
    }

    /// Says that the daemon lives, if its jobs get on.
    fn beat(&mut self) {
        let Some(pulse) = &mut self.pulse else { return };
        if pulse.beats(self.jobs.watched()) {
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
        let mut running = self.agendas.iter().flat_map(|(name, agenda)| {
            let doing = |running: &Running| {
                format!("{name}: {}: {}", running.job, running.watch.progress().doing_now())
            };
            agenda.running().map(doing).collect::<Vec<_>>()
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
        while let Some((id, begun, done)) = self.jobs.next().await {
            self.ended(id, &begun, done);
        }
        tracing::info!("the daemon stops");
    }
}
