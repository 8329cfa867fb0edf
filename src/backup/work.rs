//! A run at work: the crawl and the staging of what it tells, side by side, and the journal of it all.
//!
//! Rule: what is told is staged and noted in the journal in one go, so that the journal is always the run as it was at
//! some moment. Replaying it brings a new process to that moment: nothing is asked again but what was in flight.
//! A crash leaves the journal and sealed parts; nothing else of a run counts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::backup::gaps::Gaps;
use crate::backup::journal::{Entry, Journal, Planned};
use crate::backup::stage::Stage;
use crate::backup::{self, Run};
use crate::crawl::{Hit, Search, Step, Told, Unit, Walk, Why};
use crate::error::{Error, Result};
use crate::model::{Gap, RunId, TokenIdentity};
use crate::repository::Committed;
use crate::resources::{self, Resource};

/// Answers that wait for staging: at most a hundred records each, a few MiB in all.
const QUEUED_PAGES: usize = 8;

/// A run at work.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) run: &'a Run,
    /// The run that is carried out: this process's own, or one that it goes on with.
    pub(super) id: RunId,
    pub(super) base: Option<Committed>,
    /// When the run began, be it in this process or in the one before it.
    pub(super) started_at: DateTime<Utc>,
    /// How much it was asked to walk when it began: by this process, or by the one before it.
    pub(super) asked: backup::Walk,
    /// When this process took it up.
    pub(super) opened_at: DateTime<Utc>,
    pub(super) token: TokenIdentity,
    pub(super) walk: Walk,
    pub(super) stage: Stage,
    pub(super) journal: Journal,
    pub(super) planned: Option<Planned>,
    /// The gaps of the base that somebody was told of, and those of now.
    pub(super) known_gaps: Gaps,
    pub(super) gaps: Gaps,
    /// Listings that were read to their end: what is listed, and the number of what it hangs below.
    pub(super) listed: HashSet<(usize, u64)>,
    /// The same by gid, for tables that are not loaded: there only a few are read.
    pub(super) listed_names: Vec<HashSet<Box<str>>>,
    /// Listings of which a page held a record that could not be kept: what they lack is not absent.
    pub(super) odd: HashSet<(usize, &'static str, Box<str>)>,
    /// Listings of the organization that took several pages.
    pub(super) paged: Vec<Unit>,
    /// Tables of which Asana says nothing but that the plan does not have them, with its words; known at the end.
    pub(super) unavailable: BTreeMap<String, String>,
    /// Tasks that a search found and that wait to be read: its windows overlap, and name them again.
    pub(super) sought: HashSet<Box<str>>,
    /// When what was read is committed next, although the run goes on.
    pub(super) commit_at: Option<Instant>,
    /// Taken by what must not end in its middle when somebody asks to stop: it knows itself how to.
    pub(super) whole: Arc<Semaphore>,
}

/// What a [`Work`] begins with.
pub(super) struct Beginning<'a> {
    pub(super) run: &'a Run,
    pub(super) id: RunId,
    pub(super) base: Option<Committed>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) asked: backup::Walk,
    pub(super) token: TokenIdentity,
    pub(super) walk: Walk,
    pub(super) stage: Stage,
    pub(super) segments: u64,
    pub(super) gaps: Vec<Gap>,
    pub(super) known_gaps: Gaps,
}

impl<'a> Work<'a> {
    pub(super) fn new(beginning: Beginning<'a>) -> Self {
        let Beginning { run, id, base, started_at, asked, token, walk, stage, segments, gaps, known_gaps } =
            beginning;
        Self {
            run,
            id,
            base,
            started_at,
            asked,
            opened_at: run.clock.now(),
            token,
            walk,
            stage,
            journal: Journal::new(run.repository.clone(), id, segments),
            planned: None,
            known_gaps,
            gaps: Gaps::new(gaps),
            listed: HashSet::new(),
            listed_names: resources::ALL.iter().map(|_| HashSet::new()).collect(),
            odd: HashSet::new(),
            paged: Vec::new(),
            unavailable: BTreeMap::new(),
            sought: HashSet::new(),
            commit_at: None,
            whole: Arc::new(Semaphore::new(1)),
        }
    }

    /// Runs a crawl and takes what it tells. The first failure ends both and is the one reported; whoever then finds its
    /// queue closed says so quietly. Asked to stop, the crawl ends at once, and what it told is still taken.
    pub(super) async fn go<F, T>(&mut self, crawl: impl FnOnce(mpsc::Sender<Told>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let whole = Arc::clone(&self.whole);
        let _whole = whole.acquire().await;
        let (told, events) = mpsc::channel(QUEUED_PAGES);
        let stop = self.run.stop.clone();
        let crawl = crawl(told);
        let crawl = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(backup::stopped()),
                crawled = crawl => crawled,
            }
        };
        let (crawled, taken) = tokio::join!(crawl, self.take(events));
        match (crawled, taken) {
            (_, Err(error)) => Err(error),
            (crawled, Ok(())) => crawled,
        }
    }

    /// Takes what the crawl tells, until it tells nothing more.
    async fn take(&mut self, mut events: mpsc::Receiver<Told>) -> Result<()> {
        loop {
            let due = self.journal.due_at();
            tokio::select! {
                biased;
                told = events.recv() => match told {
                    Some(told) => self.take_one(told).await?,
                    None => return Ok(()),
                },
                () = sleep_until(due) => self.flush().await?,
            }
            if self.journal.is_full() || Instant::now() >= self.journal.due_at() {
                self.flush().await?;
            }
            if self.commit_at.is_some_and(|at| Instant::now() >= at) {
                self.commit_so_far().await?;
            }
        }
    }

    pub(super) async fn flush(&mut self) -> Result<()> {
        self.journal.flush(self.run.clock.now()).await?;
        self.run.progress.kept();
        Ok(())
    }

    async fn take_one(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Page(page) => self.take_page(*page).await,
            Told::Step(step) => self.journal.add(&Entry::Step(step)),
            Told::Hits { of, hits, next } => {
                let wanted = self.wanted_of(of, &hits).await?;
                self.walk.push(wanted.clone());
                self.walk.restore_search(of, next);
                self.journal.add(&Entry::Hits { of, next, wanted })
            }
            Told::Streams { answers, kept } => {
                self.journal.add(&Entry::Streams(answers))?;
                self.flush().await?;
                // Whoever went away meanwhile needs no word.
                _ = kept.send(());
                Ok(())
            }
        }
    }

    /// The tasks among `hits` that must be read.
    async fn wanted_of(&mut self, of: Search, hits: &[Hit]) -> Result<Vec<Unit>> {
        let tasks = resources::named("tasks");
        self.stage.fetch(tasks, hits.iter().map(|hit| &*hit.gid)).await?;
        let mut wanted = Vec::new();
        for hit in hits.iter().filter(|hit| !self.stage.is_gone(tasks, &hit.gid)) {
            let why = match (of, self.stage.modified(tasks, &hit.gid)?) {
                (_, None) => Why::Appeared,
                (Search::Again, Some(_)) => Why::Changed,
                (Search::Changes, Some(at)) if at != hit.modified_at.timestamp_micros() => Why::Changed,
                _ => continue,
            };
            if !self.sought.insert(hit.gid.clone()) {
                continue;
            }
            wanted.push(Unit::single(tasks, &hit.gid, why));
        }
        Ok(wanted)
    }

    /// Reads the live rows of a table.
    pub(super) async fn load(&mut self, resource: &'static Resource) -> Result<()> {
        let doing = |error: Error| error.doing(format!("read the live rows of {}", resource.table));
        self.stage.load(resource).await.map_err(doing)
    }

    /// Reads the live rows of all tables, for a run that meets most of them.
    pub(super) async fn load_what_is_read(&mut self) -> Result<()> {
        let Some(planned) = self.planned.clone() else { return Ok(()) };
        let meets = |resource: &&&Resource| planned.walks() || planned.meets_all_of(resource);
        let loaded: Vec<_> = resources::ALL.iter().filter(meets).collect();
        if !loaded.is_empty() {
            self.run.progress.doing("compare with what is there");
        }
        for resource in loaded {
            self.load(resource).await?;
        }
        Ok(())
    }

    pub(super) fn fields(&self, resource: &Resource) -> Arc<str> {
        self.walk.fields(resource)
    }

    /// Reads until nothing is pending and nothing is referred to that the repository lacks.
    pub(super) async fn drain(&mut self) -> Result<()> {
        loop {
            while self.walk.has_pending() {
                let walk = self.walk.clone();
                self.go(|told| async move { walk.drain(&told).await }).await?;
            }
            let units = self.referred().await?;
            if units.is_empty() {
                return Ok(());
            }
            self.want(units).await?;
        }
    }

    pub(super) async fn want(&mut self, units: Vec<Unit>) -> Result<()> {
        let walk = self.walk.clone();
        self.go(|told| async move { walk.want(units, &told).await }).await
    }

    /// The single questions for what is referred to and lacking.
    async fn referred(&mut self) -> Result<Vec<Unit>> {
        let referred = self.walk.take_referred();
        let everything = self.walks_everything();
        let mut units = Vec::new();
        for chunk in referred.chunk_by(|(one, _), (other, _)| one == other) {
            let resource = chunk[0].0;
            if !everything {
                self.stage.fetch(resource, chunk.iter().map(|(_, gid)| &**gid)).await?;
            }
            for (_, gid) in chunk {
                // A walk of everything asks for what it did not meet, although the repository has it: it may be gone.
                if everything || self.stage.modified(resource, gid)?.is_none() {
                    units.push(Unit::single(resource, gid, Why::Referred));
                }
            }
        }
        Ok(units)
    }

    /// Notes that the run begins with these words.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<()> {
        self.journal.add(entry)
    }

    /// Notes a step of the run's own.
    pub(super) fn step(&mut self, step: Step) -> Result<()> {
        self.walk.restore_step(&step);
        self.journal.add(&Entry::Step(step))
    }
}
