//! Lets writers race for snapshots, and says who was told that they won.
//!
//! `cargo run --example race -- <repository> <writers> <rounds>`: a folder or an `s3://` URL that holds no repository
//! yet; the store's address and keys are taken from the usual `AWS_*` variables. Each writer has a client of its own and
//! commits a snapshot of no tables; a round begins when all know how the one before it ended. Prints one line of JSON:
//! for each round who was told that it won, whose snapshot is there, and how many were told that they lost. Whatever
//! else a writer is told is printed as well. `race.py` judges it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use asana_backup::config::StoreSettings;
use asana_backup::error::ErrorKind;
use asana_backup::model::{FORMAT_VERSION, Gap, Hash, RunId, Snapshot, SnapshotNumber, TokenIdentity};
use asana_backup::repository::{Repository, Store};
use asana_backup::resources;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::Barrier;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, writers, rounds] = arguments.as_slice() else {
        return Err(
            "say where the repository shall be, how many writers there are, and how many rounds".into()
        );
    };
    let told = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(race(
        url,
        writers.parse()?,
        rounds.parse()?,
    ))?;
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// What one writer was told in one round.
enum Told {
    Won,
    Lost,
    Other(String),
}

async fn open(url: &str) -> Outcome<Repository> {
    Ok(Repository::open_or_create(Store::open(url, &StoreSettings::default())?, "12", moment(0)).await?)
}

async fn race(url: &str, writers: usize, rounds: u64) -> Outcome<serde_json::Value> {
    let gaps = open(url).await?.put_list::<[Gap]>(&[]).await?;
    let gate = Arc::new(Barrier::new(writers));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let (repository, gate) = (open(url).await?, Arc::clone(&gate));
        running.spawn(write(repository, gaps, rounds, gate));
    }
    let mut rounds: BTreeMap<u64, Vec<(RunId, Told)>> = BTreeMap::new();
    while let Some(writer) = running.join_next().await {
        for (number, who, told) in writer?? {
            rounds.entry(number).or_default().push((who, told));
        }
    }
    let repository = open(url).await?;
    let mut report = Vec::new();
    for (number, told) in rounds {
        let of = |wanted: fn(&Told) -> bool| told.iter().filter(move |(_, told)| wanted(told));
        report.push(json!({
            "number": number,
            "there": repository.snapshot(SnapshotNumber(number)).await?.snapshot.writer,
            "won": of(|told| matches!(told, Told::Won)).map(|(who, _)| who).collect::<Vec<_>>(),
            "lost": of(|told| matches!(told, Told::Lost)).count(),
            "other": told.iter().filter_map(|(_, told)| match told {
                Told::Other(what) => Some(what),
                _ => None,
            }).collect::<Vec<_>>(),
        }));
    }
    Ok(json!({"writers": writers, "rounds": report}))
}

async fn write(
    repository: Repository,
    gaps: Hash,
    rounds: u64,
    gate: Arc<Barrier>,
) -> Outcome<Vec<(u64, RunId, Told)>> {
    let (mut previous, mut told) = (None, Vec::new());
    for number in 1..=rounds {
        let run = RunId(ulid::Ulid::generate());
        let mine = snapshot(number, previous, run, gaps)?;
        gate.wait().await;
        let outcome = repository.commit(&mine).await;
        gate.wait().await;
        told.push((
            number,
            run,
            match outcome {
                Ok(_) => Told::Won,
                Err(error) if error.kind() == ErrorKind::Conflict => Told::Lost,
                Err(error) => Told::Other(error.to_string()),
            },
        ));
        previous = Some(repository.snapshot(SnapshotNumber(number)).await?.sha256);
    }
    Ok(told)
}

fn snapshot(number: u64, previous: Option<Hash>, run: RunId, gaps: Hash) -> Outcome<Snapshot> {
    Ok(Snapshot {
        format: FORMAT_VERSION,
        number: SnapshotNumber(number),
        previous,
        run,
        writer: run,
        organization: "12".to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        resources: resources::VERSION,
        started_at: moment(0),
        committed_at: moment(i64::try_from(number)?),
        complete: true,
        continues: None,
        plan: String::new(),
        changed_until: moment(0),
        cursors: gaps,
        coverage: gaps,
        lacks: BTreeMap::new(),
        held_count: 0,
        held: gaps,
        token: TokenIdentity { gid: "1".to_owned(), name: "Ada".to_owned(), probes: BTreeMap::new() },
        filters: BTreeMap::new(),
        tables: BTreeMap::new(),
        gap_count: 0,
        gaps,
        requests: BTreeMap::new(),
    })
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_780_000_000 + seconds)
}
