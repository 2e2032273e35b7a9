//! What was taken in of each log, and how two nodes compare it.
//!
//! What stands at each place of a log is fixed by its root. Nodes that keep the same
//! shards can therefore differ in one thing only: at which places they have taken the
//! entry in. That is one bit for each place; a long range of them is compared by its
//! hash and divided into sixteen where that differs, a short one bit by bit.

use ledger_core::hash::{Tag, tagged};
use ledger_core::{Digest32, UniverseId};

/// Most places of one range.
/// Chosen: 128 KiB of bits, whose hash takes a millisecond. Most logs are one range;
/// of a longer one a range comes after the other.
pub const RANGE_PLACES_MAX: u64 = 1 << 20;

/// Most ranges in one message, and into how many one is divided that differs.
/// Chosen: three messages in each direction from the longest range to its bits.
pub const RANGES_MAX: usize = 16;

/// Most places of a range whose bits stand in a message themselves: as many as a hash.
pub const BITS_PLACES_MAX: u64 = 256;

/// Bytes of a range in a message: first and last clock, and the hash or the bits.
pub const RANGE_BYTES: usize = 8 + 8 + 32;

/// What a node has taken in of a range of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangePrint {
    /// Clock of the first entry.
    pub first: u64,
    /// Clock of the last entry.
    pub last: u64,
    /// One bit for each place, from the lowest of the first byte on; of more than
    /// [`BITS_PLACES_MAX`] places the hash of these.
    pub print: Digest32,
}

impl RangePrint {
    pub(crate) fn places(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether the places can be told apart.
    pub(crate) fn is_bits(&self) -> bool {
        self.places() <= BITS_PLACES_MAX
    }

    /// Whether the bit of a place is set.
    fn has(&self, clock: u64) -> bool {
        let place = (clock - self.first) as usize;
        let byte = self.print.get(place / 8).copied().unwrap_or(0);
        byte >> (place % 8) & 1 == 1
    }

    /// The places of the same range that the other has and this one lacks; both are bits.
    pub(crate) fn lacks_of(&self, other: &RangePrint) -> Vec<u64> {
        let places = self.first..=self.last;
        places
            .filter(|clock| other.has(*clock) && !self.has(*clock))
            .collect()
    }

    pub(crate) fn to_bytes(&self) -> [u8; RANGE_BYTES] {
        let mut bytes = [0; RANGE_BYTES];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.last.to_be_bytes());
        bytes[16..].copy_from_slice(&self.print);
        bytes
    }

    /// `None` for what is no range, or too long a one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<RangePrint> {
        let (first, rest) = bytes.split_first_chunk()?;
        let (last, print) = rest.split_first_chunk()?;
        let (first, last) = (u64::from_be_bytes(*first), u64::from_be_bytes(*last));
        let is_range = first > 0 && first <= last && last - first < RANGE_PLACES_MAX;
        is_range.then_some(RangePrint {
            first,
            last,
            print: print.try_into().ok()?,
        })
    }
}

/// Of each log one bit for each place whose entry was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Taken(Vec<Vec<u64>>);

impl Taken {
    pub(crate) fn new(nodes: usize) -> Taken {
        Taken(vec![vec![]; nodes])
    }

    /// Notes an entry that was taken in. Places follow each other, so the bits grow
    /// with the log and not with what somebody says.
    pub(crate) fn note(&mut self, node: usize, clock: u64) {
        let (Some(words), Some(place)) = (self.0.get_mut(node), clock.checked_sub(1)) else {
            return;
        };
        let word = (place / 64) as usize;
        if word >= words.len() {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (place % 64);
    }

    pub(crate) fn has(&self, node: usize, clock: u64) -> bool {
        let place = clock.wrapping_sub(1);
        self.word(node, place / 64) >> (place % 64) & 1 == 1
    }

    fn word(&self, node: usize, at: u64) -> u64 {
        let words = self.0.get(node).map_or(&[][..], Vec::as_slice);
        let at = usize::try_from(at).ok();
        at.and_then(|at| words.get(at)).copied().unwrap_or(0)
    }

    /// What was taken in from the entry `first` to the entry `last`.
    pub(crate) fn print(
        &self,
        universe: &UniverseId,
        node: usize,
        (first, last): (u64, u64),
    ) -> RangePrint {
        let (from, count) = (first - 1, last - first + 1);
        let mut bits = Vec::with_capacity((count / 8 + 8) as usize);
        for done in (0..count).step_by(64) {
            let (at, shift) = ((from + done) / 64, (from + done) % 64);
            let low = self.word(node, at) >> shift;
            let high = self.word(node, at + 1).checked_shl(64 - shift as u32);
            let word = low | high.unwrap_or(0);
            let left = count - done;
            let mask = if left < 64 { (1 << left) - 1 } else { u64::MAX };
            bits.extend_from_slice(&(word & mask).to_le_bytes());
        }
        let range = [node as u64, first, last].map(u64::to_be_bytes).concat();
        let mut print = [0; 32];
        match count <= BITS_PLACES_MAX {
            true => print[..bits.len()].copy_from_slice(&bits),
            false => print = tagged(Tag::Range, universe, &[&range, &bits]),
        }
        RangePrint { first, last, print }
    }

    /// The parts of a range, at most [`RANGES_MAX`] of them.
    pub(crate) fn parts(
        &self,
        universe: &UniverseId,
        node: usize,
        range: &RangePrint,
    ) -> Vec<RangePrint> {
        let length = range.places().div_ceil(RANGES_MAX as u64);
        let firsts = (range.first..=range.last).step_by(length as usize);
        let ends = firsts.map(|first| (first, (first + length - 1).min(range.last)));
        ends.map(|range| self.print(universe, node, range))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_differs_exactly_where_one_bit_of_it_does() {
        let id = UniverseId([3; 32]);
        let mut whole = Taken::new(2);
        (1..=9_000).for_each(|clock| whole.note(1, clock));
        for hole in [1, 63, 64, 65, 128, 200, 300, 5_000, 9_000] {
            let mut holed = Taken::new(2);
            let others = (1..=9_000).filter(|clock| *clock != hole);
            others.for_each(|clock| holed.note(1, clock));
            assert!(!holed.has(1, hole) && whole.has(1, hole));
            for (first, last) in [(1, 9_000), (2, 299), (60, 70), (64, 64), (65, 192)] {
                let differs =
                    whole.print(&id, 1, (first, last)) != holed.print(&id, 1, (first, last));
                let expected = (first..=last).contains(&hole);
                assert_eq!(differs, expected, "{hole} in {first}..={last}");
            }
            // Divided again and again, the range comes down to the place.
            let mut range = whole.print(&id, 1, (1, 9_000));
            while !range.is_bits() {
                let parts = whole.parts(&id, 1, &range);
                assert!(parts.len() <= RANGES_MAX);
                let covered: u64 = parts.iter().map(RangePrint::places).sum();
                assert_eq!(covered, range.places());
                let mut differ = parts
                    .into_iter()
                    .filter(|part| holed.print(&id, 1, (part.first, part.last)) != *part);
                range = differ.next().unwrap();
                assert_eq!(differ.next(), None);
            }
            let mine = holed.print(&id, 1, (range.first, range.last));
            assert_eq!(mine.lacks_of(&range), [hole]);
            assert_eq!(range.lacks_of(&mine), Vec::<u64>::new());
        }
    }

    #[test]
    fn no_bytes_are_a_range_that_is_none_or_too_long() {
        let read = |first: u64, last: u64| {
            let print = [7; 32];
            RangePrint::from_bytes(&RangePrint { first, last, print }.to_bytes()).is_some()
        };
        assert!(read(1, 1) && read(u64::MAX, u64::MAX) && read(5, 4 + RANGE_PLACES_MAX));
        assert!(!read(0, 4) && !read(4, 3) && !read(5, 5 + RANGE_PLACES_MAX));
        assert!(!read(1, u64::MAX));
    }
}
