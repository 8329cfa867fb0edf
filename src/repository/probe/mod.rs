//! Tries whether a store keeps what a repository relies on.
//!
//! Rule: what a store promises is not believed but tried: some accept a conditional create and ignore the condition,
//! others honour it only while nobody else writes. Such a store would let two runs commit the same snapshot, so it is
//! Unfit. What would merely be better otherwise, such as deletes that are refused, is said and is no failure.
//! What is written for it lies below `probes/`, is named by nothing, and a crash leaves it there; nothing else is written
//! over or deleted.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::{join_all, try_join_all};
use ulid::Ulid;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::repository::keys::Key;
use crate::repository::store::{Attempt, Lock, Store, Versioning};

#[cfg(test)]
mod tests;

/// How many writers race for one name. Of stores that are not atomic, each let several of eight win in seven races of ten.
const WRITERS: usize = 16;
/// How many races there are, in `check` and before a repository begins: one that is not atomic may pass one of them.
const RACES: usize = 3;
/// How far the clocks may be apart, in seconds: S3 refuses a signature after fifteen minutes, and commit times are ours.
const APART: i64 = 300;

/// One trial of a store, and what came of it.
#[derive(Debug)]
pub struct Trial {
    /// What was tried.
    pub what: &'static str,
    /// What was found, or what is wrong.
    pub found: Result<Found>,
}

/// What a trial found that is no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What there is.
    pub says: String,
    /// What would be better.
    pub better: Option<String>,
}

/// One probe of one store.
struct Probe<'a> {
    store: &'a Store,
    ulid: Ulid,
}

/// Writes below `probes/<probe>/` and tries everything that a repository relies on. What cannot be written to at all is
/// tried no further.
pub async fn probe(store: &Store, probe: Ulid, clock: &Clock) -> Vec<Trial> {
    let probe = Probe { store, ulid: probe };
    let written = probe.write().await;
    let reached = written.is_ok();
    let mut trials = vec![Trial { what: "reading back", found: written }];
    if let Some(told) = store.told_time() {
        trials.push(Trial { what: "store's clock", found: clocks(told, clock.now()) });
    }
    if !reached {
        return trials;
    }
    let twice = probe.create_twice().await;
    let honoured = twice.is_ok();
    trials.push(Trial { what: "conditional create", found: probe.forgiven(twice) });
    if honoured {
        let raced = probe.races().await;
        trials.push(Trial { what: "races", found: probe.forgiven(raced) });
    }
    if store.is_remote() {
        trials.push(Trial { what: "checksum", found: probe.altered().await });
    }
    trials.extend(probe.protection().await);
    trials
}

/// Sees that a store does not give a name twice, not even to writers at once, before a repository begins there; Unfit if
/// it does.
pub(super) async fn prove(store: &Store, probe: Ulid) -> Result<()> {
    let probe = Probe { store, ulid: probe };
    probe.create_twice().await?;
    probe.races().await.map(drop)
}

impl Probe<'_> {
    fn key(&self, name: &str) -> Result<Key> {
        Key::Probe { probe: self.ulid, name: name.to_owned() }.checked()
    }

    async fn write(&self) -> Result<Found> {
        let key = self.key("write")?.to_string();
        let bytes = Bytes::from_static(b"read me back");
        self.store.create(&key, bytes.clone()).await?;
        if self.store.try_read(&key).await?.is_none_or(|there| there != bytes) {
            return Err(unfit("what was just written does not read back"));
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !self.store.list_folder(folder).await?.iter().any(|listed| listed.key == key) {
            return Err(unfit("a listing does not show what was just written"));
        }
        Ok(found("what is written is there at once, and listed"))
    }

    async fn create_twice(&self) -> Result<Found> {
        let key = self.key("create")?.to_string();
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        self.store.create(&key, first.clone()).await?;
        match self.store.create_trusting(&key, second).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(unfit("it accepts a conditional create of what is there already")),
        }
        if self.store.read(&key).await? != first {
            return Err(unfit("a conditional create that it refused took effect"));
        }
        Ok(found("a name that is taken is not given again"))
    }

    async fn races(&self) -> Result<Found> {
        // Each over a connection that is open: else the one that is would win before the others are at the start.
        let key = self.key("create")?;
        let writers = try_join_all((0..WRITERS).map(|_| self.store.apart(&key))).await?;
        for race in 1..=RACES {
            race_for(&self.key(&format!("race-{race}"))?.to_string(), &writers).await?;
        }
        Ok(found(&format!("of {WRITERS} writers at once one wins, {RACES} times of {RACES}")))
    }

    /// A verdict of Unfit that the settings say to live with.
    fn forgiven(&self, verdict: Result<Found>) -> Result<Found> {
        match verdict {
            Err(error) if error.kind() == ErrorKind::Unfit && self.store.allows_unfit() => Ok(Found {
                says: format!("{error}; `allow_unfit` is set"),
                better: Some(
                    "use a store with atomic conditional create: two runs at once may damage this one"
                        .to_owned(),
                ),
            }),
            verdict => verdict,
        }
    }

    async fn altered(&self) -> Result<Found> {
        if !self.store.signs_bodies() {
            return Ok(found(
                "none is sent to this kind of store; what is small is read back, and `verify` reads all",
            ));
        }
        let (signed, sent) = (Bytes::from_static(b"as it was sent"), Bytes::from_static(b"as it arrived!"));
        let attempt = self.store.create_altered(&self.key("altered")?, &signed, sent).await?;
        Ok(match attempt {
            Attempt::Refused => found("a body that was altered on its way is refused"),
            Attempt::Allowed => unchecked("a body that was altered on its way is accepted".to_owned()),
            Attempt::Unclear(answer) => unchecked(unproven(&answer)),
        })
    }

    /// What keeps the objects from whoever steals the credentials.
    async fn protection(&self) -> Vec<Trial> {
        let (versioning, lock) = (self.store.versioning().await, self.store.object_lock().await);
        let mut trials = Vec::new();
        if let Some(versioning) = &versioning {
            trials.push(Trial { what: "versioning", found: Ok(kept(versioning)) });
        }
        if let Some(lock) = &lock {
            trials.push(Trial { what: "object lock", found: Ok(locked(lock)) });
        }
        if self.store.is_remote() {
            let is_locked = matches!(lock, Some(Lock::Default(_)));
            trials.push(Trial { what: "overwriting", found: self.overwrites(is_locked).await });
            trials.push(Trial { what: "deleting", found: self.deletes(is_locked).await });
        }
        if versioning == Some(Versioning::On) {
            trials.push(Trial { what: "deleting a version", found: self.deletes_a_version().await });
        }
        trials
    }

    async fn overwrites(&self, is_locked: bool) -> Result<Found> {
        let attempt =
            self.store.overwrite_probe(&self.key("write")?, Bytes::from_static(b"overwritten")).await?;
        Ok(guarded(attempt, "writing over an object", is_locked))
    }

    async fn deletes(&self, is_locked: bool) -> Result<Found> {
        let attempt = self.store.delete_probe(&self.key("write")?).await?;
        Ok(guarded(attempt, "deleting an object", is_locked))
    }

    async fn deletes_a_version(&self) -> Result<Found> {
        Ok(match self.store.delete_probe_version(&self.key("version")?).await? {
            Some(Attempt::Refused) => found("deleting a version for good is refused: good"),
            Some(Attempt::Allowed) => Found {
                says: "deleting a version for good is allowed".to_owned(),
                better: Some(
                    "deny s3:DeleteObjectVersion (deploy/iam/writer.json), or lock versions: whoever has these credentials \
                     can destroy the history"
                        .to_owned(),
                ),
            },
            Some(Attempt::Unclear(answer)) => found(&unproven(&answer)),
            None => found(&unproven("the store names no version")),
        })
    }
}

/// Lets all `writers` at once create `key`, which one of them must do.
async fn race_for(key: &str, writers: &[Store]) -> Result<()> {
    let create = |(number, writer): (usize, &Store)| {
        let (writer, key) = (writer.clone(), key.to_owned());
        async move { writer.create_trusting(&key, format!("writer {number}").into()).await }
    };
    let (mut won, mut failed) = (0, None);
    for outcome in join_all(writers.iter().enumerate().map(create)).await {
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

fn found(says: &str) -> Found {
    Found { says: says.to_owned(), better: None }
}

fn unproven(answer: &str) -> String {
    format!("could not be proven: {answer}")
}

/// A store of which it is not known that it checks what arrives.
fn unchecked(says: String) -> Found {
    let better =
        "reach the store over TLS only; what is small is read back, and `verify` reads all".to_owned();
    Found { says, better: Some(better) }
}

fn guarded(attempt: Attempt, what: &str, is_locked: bool) -> Found {
    match (attempt, is_locked) {
        (Attempt::Refused, _) => found(&format!("{what} is refused: good")),
        (Attempt::Unclear(answer), _) => found(&unproven(&answer)),
        // Of either mode: what these credentials may do to the versions is tried by itself.
        (Attempt::Allowed, true) => {
            found(&format!("{what} is allowed, and what was there stays as a locked version"))
        }
        (Attempt::Allowed, false) => Found {
            says: format!("{what} is allowed"),
            better: Some("give the program credentials that may not: deploy/iam/writer.json".to_owned()),
        },
    }
}

fn kept(versioning: &Versioning) -> Found {
    match versioning {
        Versioning::On => found("on"),
        Versioning::Off => Found {
            says: "off".to_owned(),
            better: Some("switch it on: what is overwritten or deleted can then be had back".to_owned()),
        },
        Versioning::Unknown(why) => Found {
            says: format!("not told: {why}"),
            better: Some("allow s3:GetBucketVersioning to see it here".to_owned()),
        },
    }
}

fn locked(lock: &Lock) -> Found {
    let (says, better) = match lock {
        Lock::Default(rule) if rule.starts_with("GOVERNANCE") => (
            format!("on, {rule}"),
            "COMPLIANCE is better: under GOVERNANCE whoever may do s3:BypassGovernanceRetention deletes all the same",
        ),
        Lock::Default(rule) => return found(&format!("on, {rule}")),
        Lock::NoRule => {
            ("on, without a default".to_owned(), "give it a default retention: nobody locks each object")
        }
        Lock::Off => {
            ("off".to_owned(), "make the bucket with object lock: even its owner then deletes nothing early")
        }
        Lock::Unknown(why) => {
            (format!("not told: {why}"), "allow s3:GetBucketObjectLockConfiguration to see it here")
        }
    };
    Found { says, better: Some(better.to_owned()) }
}

fn clocks(told: DateTime<Utc>, now: DateTime<Utc>) -> Result<Found> {
    let apart = (now - told).num_seconds();
    if apart.abs() > APART {
        return Err(Error::new(
            ErrorKind::Config,
            format!("this machine's clock is {apart} s off the store's"),
        )
        .remedy("set the clock, for example by NTP"));
    }
    Ok(found(&format!("within {} s of this machine's", apart.abs().max(1))))
}

fn unfit(what: &str) -> Error {
    Error::new(ErrorKind::Unfit, what).remedy("use a store with atomic conditional create (If-None-Match)")
}
