//! The network: it delays, loses, doubles, reorders and parts.

use crate::chance::Chance;

/// How a network behaves.
#[derive(Debug, Clone)]
pub struct Network {
    /// Longest delay in nanoseconds.
    pub delay_ns_max: i64,
    /// How many of a hundred messages are lost.
    pub lost_percent: u64,
    /// How many of a hundred come twice.
    pub doubled_percent: u64,
    /// The side of each node, while the network is parted.
    pub sides: Option<Vec<bool>>,
}

/// Shortest delay in nanoseconds. Chosen: a cable in a laboratory.
const DELAY_NS_MIN: i64 = 200_000;

impl Network {
    /// Everything arrives once.
    pub fn good() -> Network {
        Network {
            delay_ns_max: 5_000_000,
            lost_percent: 0,
            doubled_percent: 0,
            sides: None,
        }
    }

    /// A bad one.
    pub fn bad(chance: &mut Chance) -> Network {
        Network {
            delay_ns_max: 1_000_000 * chance.between(2, 400),
            lost_percent: chance.below(30),
            doubled_percent: chance.below(30),
            sides: None,
        }
    }

    /// After which times a message arrives: none, one or two.
    pub fn delays_ns(&self, chance: &mut Chance, from: usize, to: usize) -> Vec<i64> {
        let is_cut = self.sides.as_ref().is_some_and(|s| s[from] != s[to]);
        if is_cut || chance.percent(self.lost_percent) {
            return vec![];
        }
        let copies = 1 + usize::from(chance.percent(self.doubled_percent));
        let delay = |_| chance.between(DELAY_NS_MIN, self.delay_ns_max);
        (0..copies).map(delay).collect()
    }
}
