//! Seeds: what random tests draw from, and the runtimes they live in.
//!
//! Rule: whatever is random in a test depends on its seed alone. Each case has a runtime of its own, of one thread, with
//! paused time; a case that fails is named with the command that repeats it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Draws numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Those of a seed, for one purpose.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        purpose.bytes().fold(Self(seed), |dice, byte| Self(dice.clone().next() ^ u64::from(byte)))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Whether something happens that does once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn one_of<T: Clone>(&mut self, several: &[T]) -> T {
        several[self.below(several.len() as u64) as usize].clone()
    }

    /// `SplitMix64`, by Sebastiano Vigna.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A number that the environment may set.
pub(crate) fn set(name: &str, usual: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(usual, |said| said.parse().unwrap_or_else(|_| panic!("{name} is no number: {said}")))
}

/// How much is tried of what can be tried: 0 for a sample, 1 for everything, 2 for every pair as well.
pub(crate) fn full() -> u64 {
    set("ASANA_BACKUP_FULL", 0)
}

/// Does something in a runtime of its own, where time stands still until somebody waits for it.
pub(crate) fn paused<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(work)
}

/// Tries every case, two at a time, and names those that fail, each with how to repeat it.
pub(crate) fn try_all<C: Sync>(cases: &[C], work: impl Fn(&C) + Sync, repeat: impl Fn(&C) -> String + Sync) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| work(case))).is_err() {
                failed.lock().expect("no holder panics").push(repeat(case));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        worker();
    });
    let failed = failed.into_inner().expect("no holder panics");
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
