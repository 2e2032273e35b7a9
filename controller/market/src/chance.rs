//! Numbers that look drawn and follow from a seed alone, the same everywhere.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014): a counter and a mixer, so that any
//! two seeds give unrelated streams. Not for secrets.

/// The mixer of SplitMix64, with the constants of its reference.
#[must_use]
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A stream of numbers from a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// The stream of that seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        let word = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word
    }

    /// A number from `low` to `high`, both included; `low` when they are not in order.
    /// The bias is below 2^-64 per value and of no matter here.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        let span = i128::from(high) - i128::from(low) + 1;
        if span <= 1 {
            return low;
        }
        // Both factors are at most 2^64 and the first is below it.
        let up = (u128::from(self.word()) * span.unsigned_abs()) >> 64;
        // At most high - low above low.
        (i128::from(low) + up as i128) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_reference() {
        // First outputs of the reference implementation for the seed 1234567.
        let mut chance = Chance::seeded(1_234_567);
        for expected in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973] {
            assert_eq!(chance.word(), expected);
        }
    }

    #[test]
    fn every_value_of_a_range_comes_and_none_outside() {
        let mut chance = Chance::seeded(3);
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(chance.within(-2, 2) + 2).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| (150..250).contains(&n)), "{seen:?}");
        assert_eq!(chance.within(7, 7), 7);
        assert_eq!(chance.within(7, 3), 7);
        assert!((i64::MIN..=i64::MAX).contains(&chance.within(i64::MIN, i64::MAX)));
    }
}
