//! A set of small numbers whose least, greatest, next and previous member are found
//! in three steps: words of bits, and words that say which words are not empty.

/// Tiers above the members. Three tiers of 64 bits reach 2^18 numbers.
const TIERS: usize = 3;

/// A set of numbers below the one it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    tiers: [Vec<u64>; TIERS],
}

impl Bits {
    /// An empty set of numbers below `count`, at most 2^18.
    pub(super) fn new(count: usize) -> Self {
        let mut words = count;
        let tiers = [(); TIERS].map(|()| {
            words = words.div_ceil(64).max(1);
            vec![0; words]
        });
        Self { tiers }
    }

    pub(super) fn set(&mut self, number: usize) {
        let mut index = number;
        for tier in &mut self.tiers {
            tier[index / 64] |= 1 << (index % 64);
            index /= 64;
        }
    }

    pub(super) fn clear(&mut self, number: usize) {
        let mut index = number;
        for tier in &mut self.tiers {
            let word = &mut tier[index / 64];
            *word &= !(1 << (index % 64));
            if *word != 0 {
                return;
            }
            index /= 64;
        }
    }

    /// The least member.
    pub(super) fn first(&self) -> Option<usize> {
        self.descend(TIERS - 1, 0, |word| word.trailing_zeros())
    }

    /// The greatest member.
    pub(super) fn last(&self) -> Option<usize> {
        self.descend(TIERS - 1, 0, |word| 63 - word.leading_zeros())
    }

    /// Down from a word of a tier to the member that `pick` leads to.
    fn descend(&self, tier: usize, word: usize, pick: impl Fn(u64) -> u32) -> Option<usize> {
        let mut index = word;
        for tier in self.tiers[..=tier].iter().rev() {
            let word = tier[index];
            if word == 0 {
                return None;
            }
            index = index * 64 + pick(word) as usize;
        }
        Some(index)
    }

    /// The least member above `number`.
    pub(super) fn next_after(&self, number: usize) -> Option<usize> {
        let mut index = number;
        for (height, tier) in self.tiers.iter().enumerate() {
            let (at, bit) = (index / 64, index % 64);
            // Two shifts, because one of 64 is none.
            let above = tier[at] & (u64::MAX << bit << 1);
            if above != 0 {
                let found = at * 64 + above.trailing_zeros() as usize;
                return match height {
                    0 => Some(found),
                    _ => self.descend(height - 1, found, |word| word.trailing_zeros()),
                };
            }
            index = at;
        }
        None
    }

    /// The greatest member below `number`.
    pub(super) fn last_before(&self, number: usize) -> Option<usize> {
        let mut index = number;
        for (height, tier) in self.tiers.iter().enumerate() {
            let (at, bit) = (index / 64, index % 64);
            let below = tier[at] & !(u64::MAX << bit);
            if below != 0 {
                let found = at * 64 + 63 - below.leading_zeros() as usize;
                return match height {
                    0 => Some(found),
                    _ => self.descend(height - 1, found, |word| 63 - word.leading_zeros()),
                };
            }
            index = at;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use std::collections::BTreeSet;

    #[test]
    fn the_set_agrees_with_a_tree_whatever_is_set_and_cleared() {
        for count in [1, 63, 64, 65, 4_096, 4_097, 1 << 18] {
            let (mut bits, mut tree) = (Bits::new(count), BTreeSet::new());
            let mut chance = Chance::seeded(count as u64);
            for _ in 0..2_000 {
                let number = chance.within(0, count as i64 - 1) as usize;
                if chance.within(0, 2) == 0 && tree.insert(number) {
                    bits.set(number);
                } else if tree.remove(&number) {
                    bits.clear(number);
                }
                assert_eq!(bits.first(), tree.first().copied());
                assert_eq!(bits.last(), tree.last().copied());
                assert_eq!(
                    bits.next_after(number),
                    tree.range(number + 1..).next().copied()
                );
                assert_eq!(
                    bits.last_before(number),
                    tree.range(..number).next_back().copied()
                );
            }
        }
    }
}
