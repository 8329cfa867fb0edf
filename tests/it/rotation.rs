//! A token that is replaced costs no run: neither while the old one is good for a while longer nor where it is refused at
//! once, however the file changes. And no snapshot says that one person read what another did.
//!
//! `ASANA_BACKUP_ROTATIONS=1000` tries more moments, `ASANA_BACKUP_SEED=17` one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use asana_backup::asana::Token;
use asana_backup::backup::Outcome;
use asana_backup::error::{ErrorKind, Result};
use asana_simulator::{Options, Size};
use tokio::time::sleep;

use crate::seeds::{Dice, paused, set, try_all};
use crate::world::World;

const MOMENTS: u64 = 12;
const OLD: &str = "canary-of-yesterday";
const NEW: &str = "canary-of-tomorrow-and-after";
/// The longest that a request takes on the line.
const LINE: u64 = 3_000;

/// A token file in a folder as Kubernetes mounts it: the file is a link through `..data`, which is a link.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(token: &str) -> Self {
        let mounted = Self(tempfile::tempdir().expect("a folder"));
        mounted.mount("..1", token);
        std::os::unix::fs::symlink("..data/token", mounted.file()).expect("a link");
        mounted
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("token")
    }

    /// As the kubelet does it: a new folder, and a link to it that takes the place of the old one.
    fn mount(&self, version: &str, token: &str) {
        let folder = self.0.path().join(version);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("token"), token).expect("a file");
        let link = self.0.path().join("..data_tmp");
        std::os::unix::fs::symlink(version, &link).expect("a link");
        std::fs::rename(link, self.0.path().join("..data")).expect("a link in its place");
    }
}

/// How a new token comes into the file.
#[derive(Clone, Copy, Debug)]
enum Way {
    Mount,
    Rename,
    Rewrite,
    /// Half of it, and the rest later.
    Halves,
    /// Nothing is there for a while.
    Missing,
}

const WAYS: [Way; 5] = [Way::Mount, Way::Rename, Way::Rewrite, Way::Halves, Way::Missing];

/// Brings `token` into the mounted file, and takes up to ten seconds for it.
async fn replace(mounted: &Mounted, way: Way, token: &str, dice: &mut Dice) {
    let file = mounted.file();
    let pause = Duration::from_millis(dice.below(10_000));
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    match way {
        Way::Mount => mounted.mount("..2", token),
        Way::Rename => {
            let aside = file.with_extension("new");
            std::fs::write(&aside, token).expect("written");
            std::fs::rename(aside, &file).expect("renamed");
        }
        Way::Rewrite => write(token),
        Way::Halves => {
            write(&token[..dice.below(token.len() as u64) as usize]);
            sleep(pause).await;
            write(token);
        }
        Way::Missing => {
            std::fs::remove_file(&file).expect("removed");
            sleep(pause).await;
            write(token);
        }
    }
}

fn world(seed: u64, file: &Path) -> World {
    let mut world = World::new(Options {
        size: Size::Tasks(4),
        seed,
        token: OLD.to_owned(),
        people: vec![("somebody-else".to_owned(), 1)],
        ..Options::default()
    });
    world.token = Token::from_file(file).expect("a token");
    world.line.live(Duration::from_millis(LINE), None);
    world
}

/// Requests that were refused by 401.
fn refused(world: &World) -> usize {
    world.simulator.log().iter().filter(|request| request.status == 401).count()
}

/// A moment of a run in this world, after the first answer: before it, nobody knows whether the token had ever been good.
async fn moment(seed: u64, dice: &mut Dice) -> Duration {
    let mounted = Mounted::new(OLD);
    let world = world(seed, &mounted.file());
    let began = world.clock.now();
    world.try_run_now().await.expect("nothing goes wrong");
    let length = (world.clock.now() - began).num_milliseconds().unsigned_abs();
    Duration::from_millis(LINE + dice.below(length - LINE))
}

fn seeds() -> Vec<u64> {
    match set("ASANA_BACKUP_SEED", 0) {
        0 => (1..=set("ASANA_BACKUP_ROTATIONS", MOMENTS)).collect(),
        one => vec![one],
    }
}

fn repeat(test: &str) -> impl Fn(&u64) -> String {
    move |seed| format!("ASANA_BACKUP_SEED={seed} cargo test --test it {test}")
}

#[test]
fn a_token_that_is_replaced_at_any_moment_costs_no_run() {
    let rotate = |seed: &u64| {
        paused(async {
            let mut dice = Dice::new(*seed, "rotation");
            let at = moment(*seed, &mut dice).await;
            let mounted = Mounted::new(OLD);
            let world = world(*seed, &mounted.file());
            world.simulator.issue_token(NEW);
            let way = WAYS[(*seed % 5) as usize];
            // Before the file changes, in the same moment, or after it.
            let revoked = dice.one_of(&[0, dice.clone().below(10_000), 10_000]);
            let changed = dice.one_of(&[0, 20_000 - revoked]);
            let rotation = async {
                sleep(at).await;
                let revoke = async {
                    sleep(Duration::from_millis(revoked)).await;
                    world.simulator.revoke_token(OLD);
                };
                let change = async {
                    sleep(Duration::from_millis(changed)).await;
                    replace(&mounted, way, NEW, &mut dice).await;
                };
                tokio::join!(revoke, change)
            };
            let (outcome, _) = tokio::join!(world.try_run_now(), rotation);
            let outcome = outcome.unwrap_or_else(|error| panic!("{way:?} at {at:?}: {error}"));
            assert!(outcome.complete, "{:?}", outcome.gaps);
            world.assert_equals_truth(outcome.snapshot.0).await;
            assert!(refused(&world) <= 3 * 50, "{} refused", refused(&world));
        });
    };
    try_all(&seeds(), rotate, repeat("a_token_that_is_replaced_at_any_moment_costs_no_run"));
}

#[test]
fn while_the_old_token_is_good_no_request_is_refused_and_a_second_later_the_new_one_asks() {
    let rotate = |seed: &u64| {
        paused(async {
            let mut dice = Dice::new(*seed, "overlap");
            let at = moment(*seed, &mut dice).await;
            let mounted = Mounted::new(OLD);
            let world = world(*seed, &mounted.file());
            world.simulator.issue_token(NEW);
            let rotation = async {
                sleep(at).await;
                let way = WAYS[(*seed % 3) as usize];
                replace(&mounted, way, NEW, &mut dice).await;
                // What left in the last moment of the second is still on the line.
                sleep(Duration::from_millis(1_000 + LINE)).await;
                world.simulator.revoke_token(OLD);
            };
            let (outcome, ()) = tokio::join!(world.try_run_now(), rotation);
            outcome.expect("a token is there at any moment");
            assert_eq!(refused(&world), 0, "seed {seed}");
        });
    };
    let test = "while_the_old_token_is_good_no_request_is_refused_and_a_second_later_the_new_one_asks";
    try_all(&seeds(), rotate, repeat(test));
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_new_token_asks_at_once() {
    let mounted = Mounted::new(OLD);
    let world = world(3, &mounted.file());
    world.line.rest();
    world.simulator.issue_token(NEW);
    let before = world.clock.now();
    // The file has changed in the second in which nobody looks.
    mounted.mount("..2", NEW);
    world.simulator.revoke_token(OLD);
    world.try_run_now().await.expect("the next token is there");
    let log = world.simulator.log();
    assert_eq!((log[0].status, log[1].status), (401, 200));
    assert!(log[1].at - before < chrono::Duration::milliseconds(100), "{}", log[1].at - before);
    assert_eq!(refused(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn two_organizations_that_share_a_file_share_the_new_token() {
    let mounted = Mounted::new(OLD);
    let (one, mut other) = (world(1, &mounted.file()), world(2, &mounted.file()));
    other.token = one.token.clone();
    for world in [&one, &other] {
        world.simulator.issue_token(NEW);
    }
    let rotation = async {
        sleep(Duration::from_millis(LINE)).await;
        one.simulator.revoke_token(OLD);
        other.simulator.revoke_token(OLD);
        sleep(Duration::from_secs(70)).await;
        mounted.mount("..2", NEW);
    };
    let (first, second, ()) = tokio::join!(one.try_run_now(), other.try_run_now(), rotation);
    assert!(first.expect("it goes on").complete && second.expect("it goes on").complete);
    one.assert_equals_truth(1).await;
    other.assert_equals_truth(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_stays_refused_is_denied_at_once_or_after_two_minutes_if_it_had_worked() {
    let mounted = Mounted::new("never-issued");
    let world = world(4, &mounted.file());
    world.line.rest();
    let began = world.clock.now();
    let error = world.try_run_now().await.expect_err("nobody's token");
    assert_eq!((error.kind(), refused(&world)), (ErrorKind::Denied, 2));
    assert!(world.clock.now() - began < chrono::Duration::seconds(1));

    mounted.mount("..2", OLD);
    world.line.live(Duration::from_millis(LINE), None);
    let revoke = async {
        sleep(Duration::from_millis(LINE)).await;
        world.simulator.revoke_token(OLD);
        world.clock.now()
    };
    let (outcome, revoked_at) = tokio::join!(world.try_run(), async {
        sleep(Duration::from_secs(120)).await;
        revoke.await
    });
    assert_eq!(outcome.expect_err("revoked for good").kind(), ErrorKind::Denied);
    let waited = world.clock.now() - revoked_at;
    assert!((120..=130).contains(&waited.num_seconds()), "{waited}");
    assert!(world.numbers().await.is_empty());
}

/// What a run came to during which somebody else's token took the place of the old one.
async fn usurped(world: &World, mounted: &Mounted, at: Duration) -> Result<Outcome> {
    let usurp = async {
        sleep(at).await;
        mounted.mount("..2", "somebody-else");
    };
    tokio::join!(world.try_run_now(), usurp).0
}

#[test]
fn a_token_of_somebody_else_ends_the_run_before_it_reads_a_single_row() {
    let usurp = |seed: &u64| {
        paused(async {
            let mut dice = Dice::new(*seed, "usurper");
            let at = moment(*seed, &mut dice).await;
            let mounted = Mounted::new(OLD);
            let mut world = world(*seed, &mounted.file());
            (world.full, world.accept_deletions) = (false, false);
            let begun = dice.once_in(2);
            if begun {
                world.try_run_now().await.expect("nothing goes wrong");
                world.simulator.advance(5);
                sleep(Duration::from_secs(120)).await;
                world.full = true;
            }
            let before = world.numbers().await;
            let outcome = usurped(&world, &mounted, at).await;
            let others = |world: &World| {
                let log = world.simulator.log().into_iter();
                log.filter(|request| request.token == "person")
                    .map(|request| request.operation)
                    .collect::<Vec<_>>()
            };
            match outcome {
                // It had asked its last question.
                Ok(outcome) => assert_eq!(world.numbers().await.last(), Some(&outcome.snapshot.0)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    assert!(error.to_string().contains("the token was"), "{error}");
                    assert_eq!(world.numbers().await, before);
                }
            }
            assert!(
                others(&world).iter().all(|operation| *operation == Some("getUser")),
                "{:?}",
                others(&world)
            );
            // The next run is the other's from its beginning, and takes nothing out that only the first one saw.
            world.full = false;
            let next = world.run().await;
            let (snapshot, reader) =
                (world.snapshot(next.snapshot.0).await, world.simulator.truth("users", None));
            assert_eq!(snapshot.token.gid, reader[0]["gid"].as_str().expect("a gid"));
            assert!(next.plan.contains("walk everything"), "{}", next.plan);
            let gone: u64 = next.tables.values().map(|table| table.counts.gone).sum();
            assert_eq!(gone, 0, "{:?}", next.tables);
            world.assert_verifies().await;
        });
    };
    try_all(&seeds(), usurp, repeat("a_token_of_somebody_else_ends_the_run_before_it_reads_a_single_row"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_somebody_elses_token_ended_goes_on_when_the_right_one_is_back() {
    let mounted = Mounted::new(OLD);
    let world = world(5, &mounted.file());
    let at = Duration::from_millis(LINE);
    assert_eq!(usurped(&world, &mounted, at).await.expect_err("another").kind(), ErrorKind::Conflict);
    mounted.mount("..3", OLD);
    let outcome = world.run().await;
    assert!(outcome.complete, "{:?}", outcome.gaps);
    world.assert_equals_truth(1).await;
}
