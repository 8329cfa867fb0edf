//! No silent hole: whatever somebody takes away by hand is found, by `verify` or by the next run that walks everything.

use std::collections::BTreeMap;

use asana_backup::encode;
use asana_backup::model::{Gap, RunId, Snapshot, SnapshotNumber, table_columns};
use asana_backup::repository::{StageTable, StagedPart};
use asana_backup::resources;
use asana_backup::verify::{self, verify};
use asana_simulator::{Fault, FaultKind, Options, Size};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::world::World;

fn mini() -> World {
    World::new(Options { size: Size::Mini, ..Options::default() })
}

/// The snapshot after the latest, as a forger would make it: everything about it fits together.
pub(crate) async fn forged(world: &World, forge: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let latest = world.repository().await.latest().await.expect("readable").expect("a snapshot");
    let mut next = latest.snapshot.clone();
    next.number = SnapshotNumber(next.number.0 + 1);
    next.previous = Some(latest.sha256);
    next.run = RunId(ulid::Ulid::from_parts(1, u128::from(next.number.0)));
    next.writer = next.run;
    next.committed_at += chrono::TimeDelta::milliseconds(1);
    forge(&mut next);
    next
}

pub(crate) async fn commit(world: &World, snapshot: &Snapshot) {
    let repository = world.repository().await;
    repository.commit(snapshot).await.expect("committed");
    repository.publish(snapshot).await.expect("published");
}

#[tokio::test(start_paused = true)]
async fn any_object_taken_away_is_found() {
    let world = mini();
    world.run().await;
    let repository = world.repository().await;
    for object in repository.store().list("").await.expect("a listing") {
        // What an unfinished run keeps of its work, and what tried the store, is named by no snapshot.
        let unnamed = ["runs/", "probes/"].iter().any(|folder| object.key.starts_with(folder));
        if unnamed || object.key == "repository.json" {
            continue;
        }
        let bytes = repository.store().read(&object.key).await.expect("readable");
        let path = Path::from(object.key.as_str());
        world.objects.delete(&path).await.expect("taken away");
        let scope = verify::Scope { snapshot: None, deep: false };
        let found = verify(&repository, scope).await;
        let is_found = found.map_or(true, |report| !report.findings.is_empty());
        assert!(is_found, "{} is missed by nobody", object.key);
        world.objects.put(&path, bytes.into()).await.expect("put back");
    }
    world.assert_verifies().await;
}

#[tokio::test(start_paused = true)]
async fn any_row_taken_out_by_hand_is_back_after_a_walk() {
    for resource in resources::ALL {
        let world = mini();
        world.run().await;
        let repository = world.repository().await;
        let before = world.snapshot(1).await.tables[resource.table].clone();
        let part = repository.objects(&before).await.expect("readable").parts[0].clone();
        let encoded = encode::encode_deletes(vec![(repository.url_of(&part.key), 0)]).expect("encoded");
        let mut next = forged(&world, |_| {}).await;
        let stored = repository.put_part(resource.table, &next.run, &encoded).await.expect("stored");
        let mut counts = before.counts;
        counts.rows -= 1;
        let columns = table_columns(resource);
        let state = repository.stage_table(StageTable {
            table: resource.table,
            columns: &columns,
            previous: Some(&before),
            number: next.number,
            committed_at: next.committed_at,
            writer: next.writer,
            added: Vec::new(),
            deletes: vec![StagedPart::new(stored, &encoded)],
            removed: Vec::new(),
            lane: before.lane,
            proof: before.proof.clone(),
            counts,
        });
        let state = state.await.expect("staged");
        next.tables.insert(resource.table.to_owned(), state);
        commit(&world, &next).await;
        assert_eq!(world.rows(2, resource.table).await.len() + 1, world.rows(1, resource.table).await.len());
        let outcome = world.run().await;
        world.assert_table_equals_truth(outcome.snapshot.0, resource.table).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_taken_away_by_hand_is_back_after_a_walk() {
    let world = mini();
    let task = world.simulator.truth("stories", None)[0]["target"]["gid"].as_str().expect("a gid").to_owned();
    world.simulator.fault(Fault {
        path: format!("/tasks/{task}/stories"),
        kind: FaultKind::Status { status: 403, retry_after: None },
        ..Fault::default()
    });
    let first = world.run().await;
    assert_eq!(first.gaps.len(), 1);
    let none = world.repository().await.put_list::<[Gap]>(&[]).await.expect("stored");
    let next = forged(&world, |snapshot| {
        (snapshot.gaps, snapshot.gap_count, snapshot.complete) = (none, 0, true);
        snapshot.requests = BTreeMap::new();
    })
    .await;
    commit(&world, &next).await;
    let outcome = world.run().await;
    assert_eq!(outcome.new_gaps, 1);
    assert!(!outcome.complete && !outcome.tables["stories"].proof.complete);
}
