//! Races: of all who write under one name at once one wins, and everybody is told the truth.
//!
//! On a real folder with real syncs, because what is tried is that folder's conditional create. An exception, as
//! `outcomes` is: no other test of this room touches a disk.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::config::StoreSettings;
use crate::error::ErrorKind;
use crate::model::SnapshotNumber;
use crate::repository::fixtures::{moment, run, snapshot};
use crate::repository::{Repository, Store};

const WRITERS: u64 = 64;
/// How many numbers they race for.
const ROUNDS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn writers_racing_for_one_snapshot_number_have_one_winner() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("repository").to_str().expect("UTF-8").to_owned();
    let (gate, mut writers) =
        (Arc::new(Barrier::new(usize::try_from(WRITERS).expect("few"))), JoinSet::new());
    for writer in 0..WRITERS {
        let (path, gate) = (path.clone(), Arc::clone(&gate));
        writers.spawn(async move { race(&path, writer, &gate).await });
    }
    let mut won = 0;
    while let Some(writer) = writers.join_next().await {
        won += writer.expect("it ends");
    }
    assert_eq!(won, ROUNDS, "{WRITERS} writers");
    let repository = open(&path).await;
    let numbers = repository.snapshots().await.expect("a chain without a hole");
    assert_eq!(numbers.len(), usize::try_from(ROUNDS).expect("few"));
}

async fn open(path: &str) -> Repository {
    let store = Store::open(path, &StoreSettings::default()).expect("a folder");
    Repository::open_or_create(store, "12", moment(0)).await.expect("a repository")
}

/// How many rounds this writer won. Each begins when all have seen how the one before it ended.
async fn race(path: &str, writer: u64, gate: &Barrier) -> u64 {
    let repository = open(path).await;
    let (mut won, mut previous) = (0, None);
    for number in 1..=ROUNDS {
        let me = run(u128::from(number * WRITERS + writer));
        let mine = snapshot(number, previous, me);
        gate.wait().await;
        let outcome = repository.commit(&mine).await;
        gate.wait().await;
        let there = repository.snapshot(SnapshotNumber(number)).await.expect("somebody won");
        match outcome {
            Ok(committed) => {
                assert_eq!(committed, there, "who is told that it won is the one that is there");
                assert_eq!(there.snapshot.writer, me);
                won += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                let winner = there.snapshot.run;
                assert!(winner != me && error.to_string().contains(&winner.to_string()), "{error}");
            }
        }
        previous = Some(there.sha256);
    }
    won
}
