//! Where all chance comes from: the seed, and nothing else.
//!
//! Rule: whatever is drawn here depends on the seed and on what it is drawn for, never on what was drawn before
//! for something else. So a task can be made out of nothing each time it is read, and is the same each time.

/// A well mixed number for one thing: the seed, what it is for (`salt`), and which one.
pub(crate) fn mix(seed: u64, salt: u64, which: u64) -> u64 {
    let mut state =
        seed ^ salt.wrapping_mul(0xa076_1d64_78bd_642f) ^ which.wrapping_mul(0xe703_7ed1_a0b4_28db);
    state = step(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
    step(state ^ which.rotate_left(32))
}

/// The finisher of splitmix64.
fn step(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// A stream of numbers from one start.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream for one thing.
    pub(crate) fn new(seed: u64, salt: u64, which: u64) -> Self {
        Self(mix(seed, salt, which))
    }

    /// The stream that starts at `state`.
    pub(crate) fn from_state(state: u64) -> Self {
        Self(state)
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        step(self.0)
    }

    /// A number below `limit`; 0 when there is nothing below.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // No division, and the bias is far below what anyone could notice.
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// An index below `len`.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of `count` things by their number.
    pub(crate) fn id(&mut self, count: u32) -> u32 {
        self.below(u64::from(count)) as u32
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of the choices.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.index(choices.len())]
    }

    /// A number from 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
