//! The verb `status`: how current a copy is, what it grew by, what it lacks, and who works on it.
//!
//! Rule: it reads the repository and asks Asana nothing, so it may be run at any time, from anywhere; where runs were told of
//! on this machine, it says how the last one failed as well.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::backup;
use crate::cli::arguments::Arguments;
use crate::cli::{chosen, show};
use crate::clock::Clock;
use crate::config::ScheduleSettings;
use crate::daemon::{Last, leading, open};
use crate::error::{EXITS, Result};
use crate::model::{Hash, Snapshot, SnapshotNumber, TableState};
use crate::repository::{Repository, Store, TableObjects, commit_time};
use crate::telemetry::table::{self, Metric};

/// The exit code of a late copy, where it was asked for.
const LATE: u8 = 1;
/// How many of the last runs are told.
const RUNS: usize = 10;

/// What is told of one repository.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The organization's name, or the repository's URL.
    pub(super) name: String,
    pub(super) repository: String,
    /// Its gid; none where there is no repository yet.
    pub(super) organization: Option<String>,
    /// The newest snapshot; none before the first.
    pub(super) snapshot: Option<SnapshotNumber>,
    pub(super) committed_at: Option<DateTime<Utc>>,
    /// The moment up to which the copy speaks for what changed.
    pub(super) changed_until: Option<DateTime<Utc>>,
    /// Seconds since then.
    pub(super) age_seconds: Option<i64>,
    /// Whether a first copy, or another long run, has committed a part of what it reads.
    pub(super) unfinished: bool,
    /// The newest snapshot in which every table is proven complete.
    pub(super) complete_snapshot: Option<SnapshotNumber>,
    /// When the job is scheduled that keeps the copy current; none where nothing makes snapshots by itself.
    pub(super) schedule: Option<String>,
    pub(super) late_from: Option<DateTime<Utc>>,
    pub(super) late: bool,
    /// Whether the copy is from a time that has not come by this machine's clock: no run begins until it has.
    pub(super) ahead: bool,
    pub(super) gaps: u64,
    pub(super) accepted_gaps: u64,
    pub(super) held_deletions: u64,
    pub(super) claim: Option<Held>,
    /// The last runs that made a snapshot, the newest first.
    pub(super) runs: Vec<Run>,
    /// How the last attempt ended that made none, as far as this machine knows.
    pub(super) failed: Option<Failed>,
}

/// An attempt that made no snapshot.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) began_at: DateTime<Utc>,
    pub(super) exit_code: u8,
    pub(super) meaning: &'static str,
}

impl Failed {
    /// What was told last of an organization, if it is an attempt that failed after `newest`.
    fn of(told: &BTreeMap<String, f64>, newest: Option<DateTime<Utc>>) -> Option<Self> {
        let of = |metric: &Metric| told.get(metric.name).copied();
        let (at, code) = (of(&table::LAST_ATTEMPT)?, of(&table::LAST_EXIT_CODE)?);
        let began_at = DateTime::from_timestamp_millis((at * 1_000.0) as i64)?;
        let exit = EXITS.iter().find(|exit| exit.codes.iter().any(|known| f64::from(*known) == code))?;
        let made_one = exit.kind.is_none() || newest.is_some_and(|newest| newest > began_at);
        (!made_one).then_some(Self { began_at, exit_code: code as u8, meaning: exit.meaning })
    }
}

/// Who works on the repository, or did and left no snapshot.
#[derive(Debug, Serialize)]
pub(super) struct Held {
    pub(super) holder: String,
    pub(super) run: String,
    pub(super) claimed_at: DateTime<Utc>,
    pub(super) alive_at: DateTime<Utc>,
    /// Whether that is too long ago for a run that lives.
    pub(super) dead: bool,
}

/// One run that committed, and what the copy grew by.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) snapshot: SnapshotNumber,
    pub(super) run: String,
    pub(super) plan: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) committed_at: DateTime<Utc>,
    pub(super) complete: bool,
    pub(super) gaps: u64,
    pub(super) requests: u64,
    pub(super) rows: u64,
    pub(super) parts: u64,
    pub(super) bytes: u64,
    /// Against the snapshot before; none for the first that is told.
    pub(super) rows_grown: Option<i64>,
    pub(super) bytes_grown: Option<i64>,
}

/// Tells the state of each repository.
pub(super) async fn status(arguments: &Arguments, fail_if_late: bool) -> Result<u8> {
    let clock = Clock::wall();
    let mut code = 0;
    chosen::each(arguments, async |name, url, settings| {
        let repository = match Repository::find(Store::open(url, settings)?).await? {
            // Nothing has ever succeeded there, be it for a wrong URL: whoever asks to fail shall not take that for good.
            None if fail_if_late => None,
            None => Some(open::repository(url, settings).await?),
            found => found,
        };
        let mut report = match repository {
            Some(repository) => {
                report(name, &repository, &chosen::schedule(arguments, name)?, clock.now()).await?
            }
            None => {
                Report { name: name.to_owned(), repository: url.to_owned(), late: true, ..Report::default() }
            }
        };
        // One that is at work has not ended.
        if report.claim.as_ref().is_none_or(|claim| claim.dead) {
            report.failed = Failed::of(&chosen::told(arguments, name, url)?, report.committed_at);
        }
        if report.late && fail_if_late {
            code = LATE;
        }
        if arguments.json() {
            show::json(&report)
        } else {
            show::line(report.text());
            Ok(())
        }
    })
    .await?;
    Ok(code)
}

async fn report(
    name: &str,
    repository: &Repository,
    schedule: &ScheduleSettings,
    now: DateTime<Utc>,
) -> Result<Report> {
    let times = leading(schedule, repository.organization())?;
    let last = Last::of(repository).await?;
    let newest = last.snapshot.as_ref();
    // A first copy is late as well: nobody else says that it never came to its end.
    let since = last.backup.unwrap_or(repository.created_at());
    let late_from = times.as_ref().and_then(|times| times.late_from(since));
    let ahead = commit_time(now, newest).is_err();
    Ok(Report {
        name: name.to_owned(),
        repository: repository.store().url().to_owned(),
        organization: Some(repository.organization().to_owned()),
        snapshot: newest.map(|snapshot| snapshot.number),
        committed_at: newest.map(|snapshot| snapshot.committed_at),
        changed_until: last.backup,
        age_seconds: last.backup.map(|until| (now - until).num_seconds()),
        unfinished: last.unfinished,
        complete_snapshot: repository.latest_complete().await?.map(|one| one.snapshot.number),
        schedule: times.map(|times| format!("{} {}", times.expression(), schedule.timezone)),
        late_from,
        late: ahead || late_from.is_some_and(|from| from <= now),
        ahead,
        gaps: last.gaps.len() as u64,
        accepted_gaps: last.gaps.iter().filter(|gap| gap.is_accepted(now)).count() as u64,
        held_deletions: newest.map_or(0, |snapshot| snapshot.held_count),
        claim: held(repository, newest, now).await?,
        runs: runs(repository).await?,
        failed: None,
    })
}

/// The claim on the newest snapshot, unless its run has ended.
async fn held(
    repository: &Repository,
    newest: Option<&Snapshot>,
    now: DateTime<Utc>,
) -> Result<Option<Held>> {
    let base = newest.map_or(SnapshotNumber(0), |snapshot| snapshot.number);
    let Some(claim) = repository.claims(base).await?.pop() else { return Ok(None) };
    let Some(alive_at) = backup::sign_of_life(repository, &claim).await? else { return Ok(None) };
    Ok(Some(Held {
        holder: claim.holder,
        run: claim.run.to_string(),
        claimed_at: claim.at,
        alive_at,
        dead: now - alive_at >= backup::PATIENCE,
    }))
}

async fn runs(repository: &Repository) -> Result<Vec<Run>> {
    let numbers = repository.snapshots().await?;
    let mut known = HashMap::new();
    let mut runs: Vec<Run> = Vec::new();
    // One more than is told, to see what the oldest of them grew by.
    let first = numbers.len().saturating_sub(RUNS + 1);
    for number in numbers[first..].iter().copied() {
        let snapshot = repository.snapshot(number).await?.snapshot;
        let mut run = run(repository, &snapshot, &mut known).await?;
        if let Some(before) = runs.last() {
            let grown = |now: u64, before: u64| i64::try_from(i128::from(now) - i128::from(before)).ok();
            run.rows_grown = grown(run.rows, before.rows);
            run.bytes_grown = grown(run.bytes, before.bytes);
        }
        runs.push(run);
    }
    runs.reverse();
    runs.truncate(RUNS);
    Ok(runs)
}

/// Counts what a snapshot names. Lists that several name are read once.
async fn run(
    repository: &Repository,
    snapshot: &Snapshot,
    known: &mut HashMap<Hash, (u64, u64)>,
) -> Result<Run> {
    let (mut parts, mut bytes) = (0, 0);
    for state in snapshot.tables.values() {
        let (count, size) = match known.get(&state.objects) {
            Some(sums) => *sums,
            None => sums(repository, state).await?,
        };
        known.insert(state.objects, (count, size));
        parts += count;
        bytes += size;
    }
    let of_asana = snapshot.tables.iter().filter(|(name, _)| !name.starts_with('_'));
    Ok(Run {
        snapshot: snapshot.number,
        run: snapshot.run.to_string(),
        plan: snapshot.plan.clone(),
        started_at: snapshot.started_at,
        committed_at: snapshot.committed_at,
        complete: snapshot.complete,
        gaps: snapshot.gap_count,
        requests: snapshot.requests.values().sum(),
        rows: of_asana.map(|(_, state)| state.counts.rows).sum(),
        parts,
        bytes,
        rows_grown: None,
        bytes_grown: None,
    })
}

async fn sums(repository: &Repository, state: &TableState) -> Result<(u64, u64)> {
    let TableObjects { parts, deletes, .. } = repository.objects(state).await?;
    let files = parts.iter().chain(&deletes);
    Ok(files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes)))
}

impl Report {
    fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.name, self.currency())];
        if let Some(number) = self.complete_snapshot.filter(|complete| Some(*complete) != self.snapshot) {
            lines.push(format!("  the newest complete snapshot is {number}"));
        }
        if self.snapshot.is_some() && self.complete_snapshot.is_none() {
            lines.push("  no snapshot is complete yet".to_owned());
        }
        if self.gaps > 0 {
            let (gaps, new) = (self.gaps, self.gaps - self.accepted_gaps);
            lines.push(format!("  {gaps} gaps, {new} of them not accepted; `asana-backup gaps` names each"));
        }
        if self.held_deletions > 0 {
            let held = self.held_deletions;
            lines
                .push(format!("  {held} deletions are held back; `run --accept-deletions` lets them happen"));
        }
        if let Some(claim) = &self.claim {
            let life = if claim.dead { "died" } else { "was last seen" };
            let (holder, run, at) = (&claim.holder, &claim.run, show::moment(claim.alive_at));
            lines.push(format!("  {holder} holds the claim with run {run}, which {life} at {at}"));
        }
        if let Some(failed) = &self.failed {
            let (at, code, meaning) = (show::moment(failed.began_at), failed.exit_code, failed.meaning);
            lines.push(format!("  the last attempt, at {at}, ended with {code}: {meaning}"));
        }
        if !self.runs.is_empty() {
            lines.push(format!("\n{}", show::runs(&self.runs)));
        }
        lines.join("\n")
    }

    /// How current the copy is.
    fn currency(&self) -> String {
        if self.organization.is_none() {
            return format!("LATE: there is no repository at {} yet", self.repository);
        }
        let against = match (&self.schedule, self.late_from) {
            _ if self.ahead => {
                "LATE: this machine's clock is behind it, and no run begins before it is right".to_owned()
            }
            (None, _) => "backups are not scheduled".to_owned(),
            (Some(schedule), Some(from)) if self.late => {
                format!("LATE since {} by the schedule {schedule}", show::moment(from))
            }
            (Some(schedule), _) => format!("in time by the schedule {schedule}"),
        };
        let (Some(number), Some(at), Some(age)) = (self.snapshot, self.changed_until, self.age_seconds)
        else {
            return format!("there is no snapshot yet: {against}");
        };
        let side = if age < 0 { "ahead" } else { "ago" };
        let minutes = age.unsigned_abs() / 60;
        let age = match minutes {
            0..=119 => format!("{minutes} minutes"),
            120..=2_879 => format!("{} hours", minutes / 60),
            _ => format!("{} days", minutes / 1_440),
        };
        let unfinished = if self.unfinished { ", of a run that goes on" } else { "" };
        format!("snapshot {number}{unfinished} shows {}, {age} {side}: {against}", show::moment(at))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::repository::fixtures::history;

    #[test]
    fn an_attempt_that_made_no_snapshot_is_told_until_one_does() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a moment");
        let told = |code: f64| {
            [(&table::LAST_ATTEMPT, 100.0), (&table::LAST_EXIT_CODE, code)]
                .map(|(metric, value)| (metric.name.to_owned(), value))
                .into()
        };
        let code =
            |told: &BTreeMap<String, f64>, newest| Failed::of(told, newest).map(|failed| failed.exit_code);
        assert_eq!(code(&told(12.0), None), Some(12));
        assert_eq!(code(&told(13.0), Some(at(99))), Some(13));
        assert_eq!(code(&told(13.0), Some(at(101))), None);
        assert_eq!((code(&told(0.0), Some(at(99))), code(&told(3.0), Some(at(99)))), (None, None));
        assert_eq!(code(&BTreeMap::new(), None), None);
    }

    #[tokio::test]
    async fn a_copy_from_a_time_that_has_not_come_is_late_and_not_the_newest_there_could_be() {
        let repository = history().await;
        let latest = repository.latest().await.expect("readable").expect("there").snapshot;
        let schedule = ScheduleSettings::default();
        for (ahead, is_late) in [(TimeDelta::minutes(4), false), (TimeDelta::days(40), true)] {
            let now = latest.committed_at - ahead;
            let report = report("acme", &repository, &schedule, now).await.expect("readable");
            assert_eq!((report.ahead, report.late), (is_late, is_late), "{ahead}");
            assert_eq!(report.text().contains("LATE: this machine's clock"), is_late, "{}", report.text());
            assert!(!report.text().contains("in time") || !is_late, "{}", report.text());
        }
    }
}
