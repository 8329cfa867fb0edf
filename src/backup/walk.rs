//! How much a run is asked to walk.
//!
//! Rule: what is asked for is part of the terms of a run: an unfinished run goes on only for somebody who asks for no more
//! than it does. And nobody can ask for so little that the walk stands still for ever: what was not walked for
//! [`PATIENCE`] intervals is walked even by a run that was asked to walk nothing.

use serde::{Deserialize, Serialize};

/// Intervals until a run that was asked to walk nothing walks what nobody else did.
pub(super) const PATIENCE: i32 = 2;

/// How much a run walks, beside reading what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Walk {
    /// A day's share of the slices, once a day: for runs that nobody else reconciles.
    #[default]
    WhenDue,
    /// Nothing, as long as others walk the shares.
    Nothing,
    /// The share of the slices that the time since the last one stands for: asked for again at once, it is none.
    Share,
    /// Everything, whatever was walked lately.
    Everything,
}

impl Walk {
    /// Whether somebody who asks for this is served by going on with an unfinished run that was asked for `begun`. What a
    /// share has read so far is not thrown away because the next run wants changes only.
    pub(super) fn goes_on_with(&self, begun: &Self) -> bool {
        match (self, begun) {
            (Self::WhenDue | Self::Nothing, Self::WhenDue | Self::Nothing | Self::Share) => true,
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_run_goes_on_for_whoever_asks_for_no_more() {
        use Walk::{Everything, Nothing, Share, WhenDue};
        let all = [WhenDue, Nothing, Share, Everything];
        let served: Vec<_> = all
            .iter()
            .flat_map(|one| all.iter().filter(|begun| one.goes_on_with(begun)).map(move |begun| (one, begun)))
            .collect();
        let expected = [
            (&WhenDue, &WhenDue),
            (&WhenDue, &Nothing),
            (&WhenDue, &Share),
            (&Nothing, &WhenDue),
            (&Nothing, &Nothing),
            (&Nothing, &Share),
            (&Share, &Share),
            (&Everything, &Everything),
        ];
        assert_eq!(served, expected);
    }
}
