//! Tries whether a store keeps what a repository relies on.
//!
//! Rule: what a store promises is not believed but tried: some accept a conditional create and ignore the condition,
//! others honour it only while nobody else writes. Such a store would let two runs commit the same snapshot.
//! What is written for it lies below `probes/`, is named by nothing, and a crash leaves it there.

use bytes::Bytes;
use futures_util::future::join_all;
use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::repository::keys::Key;
use crate::repository::store::Store;

/// How many writers race for one name. Of stores that are not atomic, each let several of eight win in seven races of ten.
const WRITERS: usize = 16;
/// How many races are run.
const RACES: usize = 3;

/// Writes below `probes/<probe>/`, reads it back, and sees that no name is ever given twice; Unfit if one is.
pub async fn probe(store: &Store, probe: Ulid) -> Result<()> {
    let doing = |error: Error| error.doing(format!("try the store {}", store.url()));
    create_twice(store, &key(probe, "create")?).await.map_err(doing)?;
    for race in 1..=RACES {
        run_race(store, &key(probe, &format!("race-{race}"))?).await.map_err(doing)?;
    }
    Ok(())
}

async fn create_twice(store: &Store, key: &str) -> Result<()> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    store.create(key, first.clone()).await?;
    match store.create_trusting(key, second).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => return Err(error),
        Ok(()) => return Err(unfit("it accepts a conditional create of what is there already")),
    }
    if store.read(key).await? != first {
        return Err(unfit("a conditional create that it refused took effect"));
    }
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !store.list_folder(folder).await?.iter().any(|listed| listed.key == key) {
        return Err(unfit("a listing does not show what was just written"));
    }
    Ok(())
}

async fn run_race(store: &Store, key: &str) -> Result<()> {
    let writers = (0..WRITERS)
        .map(|writer| async move { store.create_trusting(key, format!("writer {writer}").into()).await });
    let (mut won, mut failed) = (0, None);
    for outcome in join_all(writers).await {
        match outcome {
            Ok(()) => won += 1,
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => failed = Some(error),
        }
    }
    match (won, failed) {
        (_, Some(error)) => Err(error),
        (1, None) => Ok(()),
        (won, None) => {
            Err(unfit(&format!("{won} of {WRITERS} writers were told that they created the same name")))
        }
    }
}

fn key(probe: Ulid, name: &str) -> Result<String> {
    Ok(Key::Probe { probe, name: name.to_owned() }.checked()?.to_string())
}

fn unfit(what: &str) -> Error {
    Error::new(ErrorKind::Unfit, what).remedy("use a store with atomic conditional create (If-None-Match)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{Flaw, flawed, memory};

    #[tokio::test]
    async fn a_store_that_keeps_its_promises_is_fit() {
        let store = memory();
        probe(&store, Ulid(1)).await.expect("fit");
        assert_eq!(store.list("probes").await.expect("listed").len(), 1 + RACES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_ignores_the_condition_is_unfit() {
        for honest in [0, 1, 2, 10] {
            let flaws: Vec<Flaw> =
                (0..100).map(|put| if put < honest { Flaw::None } else { Flaw::Careless }).collect();
            let error = probe(&flawed(&memory(), &flaws), Ulid(1)).await.expect_err("unfit");
            assert_eq!(error.kind(), ErrorKind::Unfit, "{honest}: {error}");
        }
    }
}
