//! What is found of stores that keep their promises, and of those that do not.

use std::time::Duration;

use super::*;
use crate::repository::Repository;
use crate::repository::fixtures::{Flaw, flawed, memory, moment, s3, unfit_allowed};
use crate::repository::stub::{Request, Stub};

async fn tried(store: &Store) -> Vec<Trial> {
    probe(store, Ulid(1), &Clock::wall()).await
}

#[tokio::test]
async fn a_store_that_keeps_its_promises_is_fit() {
    let store = memory();
    for trial in tried(&store).await {
        assert_eq!(trial.found.unwrap_or_else(|error| panic!("{}: {error}", trial.what)).better, None);
    }
    assert_eq!(store.list("probes").await.expect("listed").len(), 2 + RACES);
    prove(&store, Ulid(2)).await.expect("fit");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_the_condition_is_unfit() {
    for honest in [0, 1, 2, 3, 11] {
        let flaws: Vec<Flaw> =
            (0..100).map(|put| if put < honest { Flaw::None } else { Flaw::Careless }).collect();
        let trials = tried(&flawed(&memory(), &flaws)).await;
        let errors: Vec<_> = trials.iter().filter_map(|trial| trial.found.as_ref().err()).collect();
        assert!(matches!(&errors[..], [one] if one.kind() == ErrorKind::Unfit), "{honest}: {errors:?}");
        let lenient = unfit_allowed(&flawed(&memory(), &flaws));
        assert!(tried(&lenient).await.iter().all(|trial| trial.found.is_ok()), "{honest}");
    }
}

#[tokio::test]
async fn no_repository_begins_where_only_a_lone_writer_is_safe() {
    let hasty = flawed(&memory(), &[Flaw::Hasty; 100]);
    let probe = Probe { store: &hasty, ulid: Ulid(1) };
    probe.create_twice().await.expect("whoever is alone sees nothing");
    let refused = Repository::open_or_create(hasty.clone(), "12", moment(0)).await.expect_err("unfit");
    assert_eq!(refused.kind(), ErrorKind::Unfit, "{refused}");
    assert_eq!(hasty.try_read("repository.json").await.expect("readable"), None);
    let store = memory();
    Repository::open_or_create(store.clone(), "12", moment(0)).await.expect("begun");
    let hasty = flawed(&store, &[Flaw::Hasty; 100]);
    Repository::open_or_create(hasty, "12", moment(1)).await.expect("what is there is not tried again");
}

#[tokio::test]
async fn a_store_that_looks_before_it_writes_is_unfit_however_long_connections_take() {
    for latency in [0, 50, 300] {
        let window = Duration::from_millis(20);
        let hasty = Stub::hasty(Duration::from_millis(latency), window).await;
        let refused = prove(&s3(&hasty.endpoint), Ulid(1)).await.expect_err("unfit");
        assert_eq!(refused.kind(), ErrorKind::Unfit, "{latency} ms: {refused}");
        assert!(hasty.seen().iter().any(|one| one.key.ends_with("/race-1")), "found without a race");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_to_is_tried_no_further() {
    let trials = tried(&flawed(&memory(), &[Flaw::Lost; 100])).await;
    assert_eq!(trials.len(), 1);
    assert_eq!(trials[0].found.as_ref().expect_err("lost").kind(), ErrorKind::Unavailable);
}

#[test]
fn a_lock_that_can_be_bypassed_is_on_and_could_be_better() {
    let better = |rule: &str| locked(&Lock::Default(rule.to_owned())).better;
    assert_eq!(better("COMPLIANCE for 30 days"), None);
    assert!(better("GOVERNANCE for 30 days").is_some_and(|better| better.contains("COMPLIANCE")));
}

/// A bucket that keeps versions, and answers `status` to whoever deletes one.
async fn versioned(status: u16) -> Stub {
    Stub::start(Duration::ZERO, move |Request { method, query, .. }| async move {
        let (status, body) = match (method.as_str(), query.as_str()) {
            ("GET", query) if query.contains("versioning") => {
                (200, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
            }
            ("DELETE", query) if query.contains("versionId=v1") => {
                (status, "<Error><Code>ToldSo</Code></Error>")
            }
            ("PUT", _) => (200, ""),
            _ => (404, "<Error><Code>NoSuchKey</Code></Error>"),
        };
        let head = format!("HTTP/1.1 {status} As Told\r\netag: \"1\"\r\nx-amz-version-id: v1\r\n");
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await
}

#[tokio::test]
async fn whether_the_history_can_be_destroyed_is_tried_on_a_version_of_the_probe() {
    for (status, says, better) in
        [(200, "allowed", true), (403, "refused", false), (409, "409 ToldSo", false)]
    {
        let bucket = versioned(status).await;
        let store = s3(&bucket.endpoint);
        let trials = Probe { store: &store, ulid: Ulid(1) }.protection().await;
        let trial = trials.into_iter().find(|trial| trial.what == "deleting a version").expect("tried");
        let found = trial.found.expect("no failure");
        assert!(found.says.contains(says), "{found:?}");
        assert_eq!(found.better.is_some(), better, "{found:?}");
        let deleted: Vec<_> = bucket.seen().into_iter().filter(|one| one.method == "DELETE").collect();
        assert!(
            deleted.iter().all(|one| one.key.contains("probes/00000000000000000000000001/")),
            "{deleted:?}"
        );
    }
}

#[test]
fn five_minutes_are_too_far_apart() {
    for (seconds, good) in [(0, true), (299, true), (-299, true), (301, false), (-3600, false)] {
        assert_eq!(clocks(moment(0), moment(seconds)).is_ok(), good, "{seconds}");
    }
}
