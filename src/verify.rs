//! The verb `verify`: compares what snapshots name with what is really in the store.
//!
//! Rule: every finding names its object and what is wrong with it, and none stops the search for more. Reads only.

use std::collections::HashSet;

use serde::Serialize;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{FieldIds, Hash, Part, SnapshotNumber, table_columns};
use crate::repository::{Checked, Committed, Finding, Repository, check_snapshot};
use crate::resources::{self, Resource};
use crate::telemetry::Progress;

/// Parts that are read at once: each is held in memory whole.
const AT_ONCE: usize = 2;

/// What to verify.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    /// One snapshot; all, where none is named.
    pub snapshot: Option<SnapshotNumber>,
    /// Whether every row is read and, where the table is Asana's, its digest and columns are compared with its JSON.
    pub deep: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The organization's gid.
    pub organization: String,
    /// The snapshots that were verified.
    pub snapshots: Vec<SnapshotNumber>,
    /// Different objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were read, and compared with their JSON where the table is Asana's; none without `--deep`.
    pub rows_compared: u64,
    /// What is wrong, each once, however many snapshots name it.
    pub findings: Vec<Finding>,
}

impl Report {
    fn take(&mut self, finding: Finding) {
        match self.findings.iter_mut().find(|known| known.is_like(&finding)) {
            Some(known) => known.snapshots.extend(finding.snapshots),
            None => self.findings.push(finding),
        }
    }

    /// The error that a report of damage is; what the next run sets right is none.
    pub fn result(&self) -> Result<()> {
        let damage: Vec<&Finding> = self.findings.iter().filter(|finding| !finding.heals).collect();
        let Some(first) = damage.first() else { return Ok(()) };
        let count = damage.len();
        Err(Error::new(ErrorKind::Corrupt, format!("{count} findings, the first: {first}"))
            .doing(format!("verify {}", self.organization))
            .remedy("restore the named objects from another copy of the bucket, or start a new repository"))
    }
}

/// Verifies snapshots of `repository`.
pub async fn verify(repository: &Repository, scope: Scope) -> Result<Report> {
    verify_watched(repository, scope, &Progress::default()).await
}

/// Verifies snapshots of `repository`, and counts its steps, for whoever watches whether it gets on.
pub async fn verify_watched(repository: &Repository, scope: Scope, progress: &Progress) -> Result<Report> {
    let all = repository.snapshots().await?;
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the repository has no snapshot yet")
            .remedy("back up first: `asana-backup run`"));
    }
    if let Some(wanted) = scope.snapshot.filter(|wanted| !all.contains(wanted)) {
        return Err(Error::new(ErrorKind::Config, format!("there is no snapshot {wanted}"))
            .remedy("`asana-backup snapshots` lists them"));
    }
    let mut report = Report { organization: repository.organization().to_owned(), ..Report::default() };
    let mut checked = Checked::counting(progress.steps());
    let mut compared = Compared::default();
    let mut previous: Option<Committed> = None;
    for number in all.iter().copied() {
        progress.step();
        let committed = match repository.snapshot(number).await {
            Ok(committed) => committed,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                report.findings.push(Finding::damage(format!("snapshot {number}"), error.to_string()));
                previous = None;
                continue;
            }
            Err(error) => return Err(error),
        };
        if scope.snapshot.is_none_or(|wanted| wanted == number) {
            let found = check_snapshot(repository, &committed, previous.as_ref(), &mut checked).await?;
            found.into_iter().for_each(|finding| report.take(finding));
            if scope.deep {
                compare(repository, &committed, &mut compared, &mut report).await?;
            }
            report.snapshots.push(number);
        }
        previous = Some(committed);
    }
    report.objects = checked.count;
    report.bytes = checked.bytes;
    Ok(report)
}

/// What was compared already: snapshots share most of their parts, and most leave most tables as they are.
#[derive(Default)]
struct Compared {
    objects: HashSet<Hash>,
    parts: HashSet<String>,
}

/// Reads every row of the parts that no earlier snapshot named.
async fn compare(
    repository: &Repository,
    committed: &Committed,
    compared: &mut Compared,
    report: &mut Report,
) -> Result<()> {
    let same_resources = committed.snapshot.resources == resources::VERSION;
    if !same_resources {
        let wrong = format!(
            "its rows were read with version {} of the resources, this program knows version {}",
            committed.snapshot.resources,
            resources::VERSION
        );
        report.findings.push(Finding::damage(format!("snapshot {}", committed.snapshot.number), wrong));
    }
    let mut running: JoinSet<(String, Result<u64>)> = JoinSet::new();
    for (table, state) in &committed.snapshot.tables {
        if compared.objects.contains(&state.objects) {
            continue;
        }
        let definition = match resources::by_table(table) {
            Some(_) if !same_resources => continue,
            Some(resource) => {
                let ids = repository.field_ids(table, &table_columns(resource), Some(state)).await?;
                Some((resource, ids))
            }
            None => None,
        };
        // A list that cannot be read is a finding already.
        let Ok(objects) = repository.objects(state).await else { continue };
        compared.objects.insert(state.objects);
        for part in objects.parts.into_iter().filter(|part| compared.parts.insert(part.key.clone())) {
            if running.len() >= AT_ONCE {
                collect(running.join_next().await, report)?;
            }
            running.spawn(rows(repository.clone(), definition.clone(), part).in_current_span());
        }
    }
    while let Some(done) = running.join_next().await {
        collect(Some(done), report)?;
    }
    Ok(())
}

/// Compares every row of `part` with its JSON; in the table of no resource, reads and counts them.
async fn rows(
    repository: Repository,
    definition: Option<(&'static Resource, FieldIds)>,
    part: Part,
) -> (String, Result<u64>) {
    let checked = async {
        let bytes = repository.read_part(&part).await?;
        let ended = |cause| Error::new(ErrorKind::Bug, format!("a check ended: {cause}"));
        let counted = tokio::task::spawn_blocking(move || match definition {
            Some((resource, ids)) => encode::check_rows(resource, &ids, bytes),
            None => encode::count_rows(bytes),
        });
        let rows = counted.await.map_err(ended)??;
        if rows == part.rows {
            return Ok(rows);
        }
        let found = format!("it has {rows} rows, and the snapshot says {}", part.rows);
        Err(Error::new(ErrorKind::Corrupt, found))
    };
    let result = checked.await;
    (part.key, result)
}

fn collect(
    done: Option<std::result::Result<(String, Result<u64>), tokio::task::JoinError>>,
    report: &mut Report,
) -> Result<()> {
    let Some(done) = done else { return Ok(()) };
    let (object, result) =
        done.map_err(|cause| Error::new(ErrorKind::Bug, format!("a check ended: {cause}")))?;
    match result {
        Ok(rows) => report.rows_compared += rows,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            report.take(Finding::damage(object, error.to_string()));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::history;

    #[tokio::test]
    async fn damage_is_one_finding_however_many_snapshots_name_it() {
        let repository = history().await;
        let all = repository.snapshots().await.expect("listed");
        let listed = repository.store().list("tables").await.expect("listed");
        let part = listed.iter().find(|object| object.key.ends_with(".parquet")).expect("a part");
        repository.store().put_hint(&part.key, b"1".to_vec().into()).await.expect("overwritten");
        let report = verify(&repository, Scope::default()).await.expect("verified");
        let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
        assert_eq!((&*finding.object, &finding.snapshots[..]), (&*part.key, &all[..3]));
        assert!(finding.snapshots.len() > 1 && finding.to_string().contains(" snapshots, "), "{finding}");
    }
}
