//! Who may write, and where to go on.
//!
//! Rule: a run begins by its claim on the snapshot that it builds on; two processes never hold the same one. A holder
//! takes over its own claim at once: whoever starts it has made sure that the process which took it is no more.
//! Anybody else waits until there was no sign of life for [`PATIENCE`]. A holder that slept and woke finds the next
//! segment of its journal written by another, or the snapshot committed: the store decides, not the clock.

use chrono::{DateTime, Duration, Utc};

use crate::backup::Run;
use crate::backup::journal::{self, Began, Entry, Terms};
use crate::crawl::{Questions, StreamAnswer};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{FORMAT_VERSION, RunId, SnapshotNumber};
use crate::repository::{Claim, Committed, Repository};

/// How long a claim is good without a sign of life. Its holder gives one a minute.
pub const PATIENCE: Duration = Duration::minutes(15);

/// The right to write.
#[derive(Debug)]
pub(super) struct Tenure {
    /// The run that is carried out: this process's, or one that goes on.
    pub(super) run: RunId,
    /// Segments of its journal so far.
    pub(super) segments: u64,
    /// How it began, if it goes on.
    pub(super) resumed: Option<Began>,
    /// What event streams told a run that does not go on: its tokens are spent.
    pub(super) heard: Vec<StreamAnswer>,
}

/// Takes the claim on `base`.
pub(super) async fn begin(run: &Run, base: Option<&Committed>, terms: &Terms) -> Result<Tenure> {
    let number = base.map_or(SnapshotNumber(0), |base| base.snapshot.number);
    let claims = run.repository.claims(number).await?;
    let now = run.clock.now();
    if let Some(last) = claims.last() {
        wait_your_turn(run, last, now).await?;
    }
    let unfinished = base.filter(|base| base.snapshot.continues.is_some()).map(|base| base.snapshot.run);
    let mut tenure = Tenure { run: run.id, segments: 0, resumed: None, heard: Vec::new() };
    for before in claims.iter().rev().map(|claim| claim.run).chain(unfinished) {
        // One that died before it had kept anything took nothing over from those before it either.
        let segments = journal::segments(&run.repository, &before).await?;
        if segments > 0 {
            tenure = look_back(run, base, terms, before, segments).await?;
            break;
        }
    }
    let attempt = u32::try_from(claims.len() + 1)
        .map_err(|_| Error::new(ErrorKind::Corrupt, format!("snapshot {number} was claimed too often")))?;
    claim(run, tenure.run, number, attempt).await?;
    if tenure.resumed.is_some() {
        tracing::info!(run = %tenure.run, segments = tenure.segments, "going on with an unfinished run");
    }
    Ok(tenure)
}

/// Claims the snapshot that the run itself has just committed.
pub(super) async fn renew(run: &Run, carried_out: RunId, base: SnapshotNumber) -> Result<()> {
    claim(run, carried_out, base, 1).await
}

async fn claim(run: &Run, carried_out: RunId, base: SnapshotNumber, attempt: u32) -> Result<()> {
    let claim = Claim {
        format: FORMAT_VERSION,
        base,
        attempt,
        run: carried_out,
        writer: run.id,
        holder: run.holder.clone(),
        at: run.clock.now(),
    };
    run.repository.claim(&claim).await
}

/// Refuses while somebody else is at work.
async fn wait_your_turn(run: &Run, last: &Claim, now: DateTime<Utc>) -> Result<()> {
    if last.holder == run.holder {
        return Ok(());
    }
    let Some(alive_at) = sign_of_life(&run.repository, last).await? else { return Ok(()) };
    if now - alive_at >= PATIENCE {
        tracing::warn!(holder = last.holder, run = %last.run, %alive_at, "taking over a claim without a sign of life");
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("{} holds the claim with run {}, last seen at {alive_at}", last.holder, last.run),
    )
    .remedy(format!(
        "let it finish; if it is dead, its claim can be taken over from {} on, or at once with --holder {}",
        alive_at + PATIENCE,
        last.holder
    )))
}

/// When the run of a claim last gave a sign of life; none once it has ended by itself.
pub async fn sign_of_life(repository: &Repository, claim: &Claim) -> Result<Option<DateTime<Utc>>> {
    let segments = journal::segments(repository, &claim.run).await?;
    let (mut alive_at, mut has_ended) = (claim.at, false);
    if segments > 0 {
        for entry in journal::read(repository, &claim.run, segments).await? {
            match entry {
                Entry::Ended => has_ended = true,
                // An end before the claim is that of the process before.
                Entry::At(at) if has_ended && at >= claim.at => return Ok(None),
                Entry::At(at) => alive_at = alive_at.max(at),
                _ => {}
            }
        }
    }
    Ok(Some(alive_at))
}

/// Whether the run `before` can go on, and what its event streams said if not.
async fn look_back(
    run: &Run,
    base: Option<&Committed>,
    terms: &Terms,
    before: RunId,
    segments: u64,
) -> Result<Tenure> {
    let same_base = |began: &Began| {
        let own = base.is_some_and(|base| base.snapshot.run == before);
        own || began.base == base.map(|base| (base.snapshot.number, base.sha256))
    };
    match journal::read(&run.repository, &before, 1).await {
        Ok(entries) => match entries.into_iter().next() {
            Some(Entry::Began(began)) if terms.go_on_with(&began.terms) && same_base(&began) => {
                return Ok(Tenure { run: before, segments, resumed: Some(began), heard: Vec::new() });
            }
            Some(Entry::Began(_)) => {
                tracing::info!(run = %before, "its terms are no longer ours: starting anew")
            }
            _ => tracing::warn!(run = %before, "its journal has no beginning: starting anew"),
        },
        Err(error) => tracing::warn!(run = %before, %error, "its journal cannot be read: starting anew"),
    }
    let (mut heard, mut questions) = (Vec::new(), Questions::default());
    for segment in 1..=segments {
        let Ok(entries) = journal::read(&run.repository, &before, segment).await else { break };
        for entry in entries {
            let Entry::Streams(answers) = entry else { continue };
            heard.extend(answers.into_iter().map(|mut answer| {
                // What only says again what is known to be asked for would be held for nothing.
                answer.events.retain(|event| questions.take(event));
                answer
            }));
        }
    }
    Ok(Tenure { run: run.id, segments: 0, resumed: None, heard })
}
